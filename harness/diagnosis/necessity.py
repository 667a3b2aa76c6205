"""Which faults a failure needs: each left out once, by the same oracle."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from faults.budget import check
from faults.plan import Plan
from harness.check import Checked
from runtime.errors import Refused

RUNS_MAX = 64


class Necessity(Struct, frozen=True, kw_only=True):
    """`necessary` and `needless` are faults' indices; `untried` those beyond the bound or whose removal is refused.

    `alone` says whether the necessary ones are enough (None: not tried, or there is none). `passing` are the plans that
    no longer fail, by the fault that was left out.
    """

    necessary: tuple[int, ...]
    needless: tuple[int, ...]
    untried: tuple[int, ...] = ()
    alone: bool | None = None
    runs: int = 0
    passing: dict[int, Plan] = {}


def necessity(plan: Plan, oracle: str, run: Callable[[Plan], Checked], runs_max: int = RUNS_MAX) -> Necessity:
    """Leave out each fault of a plan that fails by `oracle`; at most `runs_max` runs."""
    necessary: list[int] = []
    needless: list[int] = []
    untried: list[int] = []
    passing: dict[int, Plan] = {}
    for index in range(len(plan.faults)):
        candidate = replace(plan, faults=plan.faults[:index] + plan.faults[index + 1 :])
        if len(necessary) + len(needless) >= runs_max or not _allowed(candidate):
            untried.append(index)
        elif oracle in run(candidate).failed:
            needless.append(index)
        else:
            necessary.append(index)
            passing[index] = candidate
    alone = None
    runs = len(necessary) + len(needless)
    if needless or not necessary:
        kept = replace(plan, faults=tuple(plan.faults[index] for index in necessary))
        if plan.faults and _allowed(kept):
            alone = oracle in run(kept).failed
            runs += 1
    elif not untried:
        alone = True
    return Necessity(
        necessary=tuple(necessary),
        needless=tuple(needless),
        untried=tuple(untried),
        alone=alone,
        runs=runs,
        passing=passing,
    )


def _allowed(plan: Plan) -> bool:
    try:
        check(plan)
    except Refused:
        return False
    return True
