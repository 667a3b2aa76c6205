"""The further runs that the oracles I2, I3, I4, I6, I7 and I33 compare a run with, made while a campaign goes on.

Those that need nothing but this process (speeds, idle faults, clocks) and those that need others (hash seeds,
observers) are made apart, as the second sort costs interpreters: two per campaign process, started when first needed
and kept. What this machine cannot do is left out, and so the oracle does not judge.
"""

from __future__ import annotations

import atexit
import contextlib
import tempfile
from pathlib import Path

import msgspec

from faults.plan import Plan, plan_to_json
from harness.adapters.workers import Timing
from harness.history import History
from harness.verification import surroundings
from harness.verification.idle import idle_plan
from harness.verification.interpreters import Host, Interpreter, Request
from harness.verification.variation import Variation, carry_out
from runtime.errors import Refused
from runtime.telemetry import Record
from scenarios import SCENARIOS
from scenarios.base import Scenario

Varied = dict[str, dict[str, History]]

HASH_SEEDS = ("0", "1")
SPEEDS = (7, 1)
RESIZED = (5, 1)  # workers after a third and after two thirds of the ticks
_RECORDS = msgspec.json.Decoder(Record)


def here(scenario: Scenario, plan: Plan, bare: Plan, timing: Timing) -> Varied:
    """Of I3, I4, I7 and I33: `bare` is the plan without its transparent faults."""
    varied: Varied = {}
    label = f"run with workers {' and '.join(map(str, SPEEDS))} times as slow"
    varied["I4"] = {label: carry_out(scenario, bare, Variation(slowness=SPEEDS), timing=timing)}
    last = plan.last_tick or scenario.config(plan.seed).last_tick
    resizes = ((last // 3, RESIZED[0]), (2 * last // 3, RESIZED[1]))
    varied["I3"] = {"run whose pool is resized": carry_out(scenario, bare, Variation(resizes=resizes), timing=timing)}
    idle = idle_plan(bare, scenario)
    if len(idle.faults) > len(bare.faults):
        history = carry_out(scenario, idle, Variation(hazards=False), timing=timing)
        varied["I7"] = {"run with faults that never strike": history}
    with surroundings.shifted():
        varied["I33"] = {"run more than a year ahead": carry_out(scenario, plan, Variation(), timing=timing)}
    return varied


def apart(scenario: Scenario, plan: Plan, timing: Timing) -> Varied:
    """Of I2 and I6. A scenario that is not built in, or other virtual costs, cannot be had in another interpreter."""
    varied: Varied = {}
    with contextlib.suppress(Refused), tempfile.TemporaryDirectory(prefix="wasm-engine-observed-") as folder:
        variation = Variation(observers=1)
        varied["I6"] = {"observed run": carry_out(scenario, plan, variation, Path(folder), timing=timing)}
    if SCENARIOS.get(scenario.name) is scenario and timing == Timing():
        varied["I2"] = {f"run with PYTHONHASHSEED={seed}": _helper(seed).history(plan) for seed in HASH_SEEDS}
    return varied


class _Helper:
    """One interpreter with its hash seed, for the whole life of this process."""

    def __init__(self, seed: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="wasm-engine-helper-")
        self._place = Path(self._folder.name)
        self._interpreter = Interpreter(Host(hash_seed=seed), self._place)
        self.usable = True

    def history(self, plan: Plan) -> History:
        """The journal and the trace of a run there; one that ended its interpreter has left neither."""
        file = self._place / "plan.json"
        file.write_text(plan_to_json(plan), "utf-8")
        files = self._interpreter.journal_and_trace(Request(plan=file))
        if files is None:
            self.usable = False
            return History(
                plan=plan, failure="process", failure_detail="the interpreter ended in the middle of the run"
            )
        return History(plan=plan, journal=files[0], trace=_RECORDS.decode_lines(files[1]))

    def close(self) -> None:
        self._interpreter.close()
        self._folder.cleanup()


_helpers: dict[str, _Helper] = {}


def _helper(seed: str) -> _Helper:
    found = _helpers.get(seed)
    if found is None or not found.usable:
        if found is not None:
            found.close()
        found = _helpers[seed] = _Helper(seed)
    return found


def close() -> None:
    """End the interpreters that are kept; at the end of this process it is done anyway."""
    while _helpers:
        _helpers.popitem()[1].close()


atexit.register(close)
