"""The failures of a campaign: the first of each kind is shrunk and becomes a case; every row names its replay."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec

from faults.plan import Plan, plan_from_json
from harness import builds, cases
from harness.campaign import Ended
from harness.check import DEEP, Checked, Checker
from harness.fingerprint import primary
from harness.runner import DEFAULT_PROFILE
from harness.shrinking import Shrinker
from harness.trial import soundly
from harness.trials import Good
from reports import RunRow
from scenarios import get
from scenarios.files import known

CASES_MAX = 5


class Shrinking(NamedTuple):
    """How many runs a shrink may take, the oracle that it should keep failing, and a build that is right, if known."""

    runs_max: int
    prefer: str
    good: str


class Repeat(NamedTuple):
    """What a run's number means: the campaign's seed, its profile, and whether it is one over pairs."""

    seed: int
    profile: str
    pairs: bool

    def command(self, row: RunRow) -> str:
        command = f"wasm-engine stress {known.typed(row.scenario)} --seed {self.seed} --only {row.run}"
        if self.pairs:
            command += " --pairs"
        if self.profile != DEFAULT_PROFILE:
            command += f" --profile {shlex.quote(self.profile)}"
        if row.workers != 2:
            command += f" --workers {row.workers}"
        return command


def with_cases(ended: list[Ended], folder: Path, shrinking: Shrinking, repeat: Repeat) -> list[RunRow]:
    """The rows with their replay commands and cases."""
    rows = []
    known: dict[tuple[str, tuple[str, ...]], str] = {}
    for one in ended:
        row = one.row
        command, case = repeat.command(row), ""
        if one.plan:
            plan = plan_from_json(one.plan)
            key = (row.scenario, row.failed_oracles or row.unknown_oracles)
            if key not in known and len(known) < CASES_MAX:
                known[key] = str(_case(plan, row, folder, shrinking))
            case = known.get(key, "")
            if case:
                command = f"wasm-engine replay {case}"
        if builds.current():
            command += f" --build {builds.current()}"
        rows.append(msgspec.structs.replace(row, replay=command, case=case))
    return rows


def _case(plan: Plan, row: RunRow, folder: Path, shrinking: Shrinking) -> Path:
    scenario = get(plan.scenario)
    checker = Checker(scenario)
    deep = not set(row.failed_oracles).isdisjoint(DEEP)
    oracle = shrinking.prefer if shrinking.prefer in row.failed_oracles else primary(row.failed_oracles)

    def check(candidate: Plan) -> Checked:
        return checker.check(candidate, row.run, deep=deep)

    small = plan
    if oracle:
        print(f"shrinking run {row.run} of {row.scenario} ({', '.join(row.failed_oracles)})", file=sys.stderr)
        with Good(shrinking.good) if shrinking.good else contextlib.nullcontext() as good:
            known = good if good is not None and good.passes(plan) else None

            def fails(candidate: Plan) -> bool:
                if known is not None:
                    return oracle in check(candidate).failed and known.passes(candidate)
                found = (candidate.inputs, candidate.last_tick) == (plan.inputs, plan.last_tick)
                return soundly(checker, check(candidate), oracle, found)

            small = Shrinker(fails, shrinking.runs_max).shrink(plan)
    return cases.write(check(small), scenario, folder / "cases")
