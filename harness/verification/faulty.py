"""Plans for `verify` that differ from a plain one in their faults alone.

Faulty plans are drawn as a campaign draws them, from transparent kinds at events of the plain run. One counts only if
its faults took effect and no decree was made, as a decree is part of the journal.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from faults.plan import Fault, Plan
from harness import expand
from harness.check import Checker
from runtime.telemetry import Record
from scenarios import get
from scenarios.strategies import draft_from_seed

PLANS, DRAWN_MAX = 3, 24


def faulty_plans(plain: Plan) -> Iterator[Plan]:
    """Up to `PLANS` plans whose faults take effect and leave no decree; the plain plan's inputs."""
    scenario = get(plain.scenario)
    checker = Checker(scenario)
    events = expand.events_of(checker.clean(plain))
    found = 0
    for number in range(DRAWN_MAX):
        picks = draft_from_seed(plain.scenario, plain.seed, number)
        drawn = expand.expand(
            replace(picks, seed=plain.seed, inputs=plain.inputs), events, plain.physical, expand.TRANSPARENT
        )
        checked = checker.check(drawn)
        broken = checked.history.failure  # a build that cannot recover has shown what the axis is there to show
        if not broken and (not any(checked.effective.values()) or "decreed" in _kinds(checked.history.trace)):
            continue
        yield drawn
        found += 1
        if found == PLANS:
            return


def _kinds(trace: list[Record]) -> set[str]:
    return {record.kind for record in trace}


def removal_plans(plain: Plan) -> Iterator[Plan]:
    """The accelerator gone at the first request, in the middle, at the last; nothing where no request is made."""
    events = expand.events_of(Checker(get(plain.scenario)).clean(plain))
    requests = [event.request for event in events.requests]
    for place in (0, len(requests) // 2, len(requests) - 1) if requests else ():
        yield replace(plain, faults=(Fault(kind="gpu.remove", at={"request": requests[place]}),))
