"""One run under a variation: the plan stays as it is, what must not matter is another.

The fields are all that `verify` varies inside a process; what is a matter of the whole interpreter (its hash seed, its
share of the processor, its clocks) is in `interpreters`. The default variation is a plain run.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from faults.plan import Plan
from harness.adapters.loop import Loop
from harness.adapters.workers import Timing
from harness.bounds import horizon_ns
from harness.history import History
from harness.simulation import Setting, Simulation
from harness.verification import surroundings
from harness.verification.loops import ShuffledLoop, StalledLoop
from harness.verification.observers import Observers, watched_disk
from scenarios.base import Scenario


class Variation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`slowness` per worker; `order` and `stalls` are seeds, 0 is: none; `observers` is how many tail the files.

    `resizes` are (tick, workers) at which the pool gets another size.
    """

    slowness: tuple[int, ...] = (1,)
    accelerator: bool = True
    order: int = 0
    stalls: int = 0
    hazards: bool = True
    observers: int = 0
    eager: bool = False
    resizes: tuple[tuple[int, int], ...] = ()


def carry_out(
    scenario: Scenario,
    plan: Plan,
    variation: Variation,
    folder: Path | None = None,
    told: list[str] | None = None,
    timing: Timing | None = None,
) -> History:
    """The run; with observers its files are in `folder` while it goes on, and what they say at the end in `told`.

    Raises Refused when an observer cannot attach.
    """
    timing = replace(timing or Timing(), slowness=variation.slowness)
    if not variation.accelerator:
        timing = replace(timing, devices=replace(timing.devices, accelerator=None))

    def loop() -> Loop:
        if variation.order:
            return ShuffledLoop(variation.order)
        return StalledLoop(variation.stalls) if variation.stalls else Loop()

    with contextlib.ExitStack() as stack:
        setting = Setting(loop, hazards=variation.hazards, resizes=variation.resizes)
        if variation.observers:
            assert folder is not None
            observers = stack.enter_context(Observers(folder, variation.observers))
            setting = setting._replace(disk=watched_disk(folder, observers.attached))
        stack.enter_context(surroundings.collecting(variation.eager))
        horizon = horizon_ns(scenario, plan, timing)
        history = Simulation(scenario, plan, timing, horizon_ns=horizon, setting=setting).run()
        if variation.observers and observers.refused is not None:
            raise observers.refused  # the run took it for an error of the build under test
    if told is not None and variation.observers:
        told += observers.told
    return history
