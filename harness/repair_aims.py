"""Recipes for faults inside the handling of faults: a first loss, and a second one at its repair."""

from __future__ import annotations

from faults.plan import Fault
from faults.repair_kinds import OF_WORKERS
from harness.events import Chooser, Events, Recipe, step_of


def kill_repairer(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """A worker lost at a step, and the one that has the step after it."""
    step = step_of([step for step in events.steps if step.kind == "step"], chooser)
    if step is None:
        return None
    at: dict[str, int | str] = {"tick": step.tick, "agent": step.agent}
    during = OF_WORKERS[chooser.below(2)]
    first = Fault(kind="worker.kill", at={**at, "point": ("idle", "after")[chooser.below(2)]})
    return (first, Fault(kind="repair.kill", at={**at, "during": during}))


def kill_successor(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """A device lost with a request, and the one that is given it again, or the same one when it is tried again."""
    if not events.requests:
        return kill_repairer(events, chooser, so_far)
    one = events.requests[chooser.below(len(events.requests))]
    if chooser.below(2):
        first = Fault(kind="gpu.remove", at={"tick": one.tick}, with_={"for": 0})
        return (first, Fault(kind="repair.kill", at={"tick": one.tick, "during": "probe"}))
    first = Fault(kind="gpu.remove", at={"request": one.request})
    return (first, Fault(kind="repair.kill", at={"request": one.request, "during": "failover"}))


REPAIR_AIMS: dict[str, tuple[Recipe, ...]] = {"repair.kill": (kill_repairer, kill_repairer, kill_successor)}
