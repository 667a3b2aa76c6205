"""Shrinking: the fewest faults with which a plan still fails by the same oracle, then the fewest inputs.

Delta debugging over the faults; then the workload's tail is cut, as inputs are numbered and a prefix stays valid.
Every candidate is run; what is kept has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from faults.budget import check
from faults.plan import Fault, Plan
from runtime.errors import Refused

RUNS_MAX = 80


class Shrinker:
    """`fails(plan)` runs a plan and says whether it fails by the oracle that matters."""

    def __init__(self, fails: Callable[[Plan], bool], runs_max: int = RUNS_MAX) -> None:
        self._fails, self._left = fails, runs_max
        self.runs = 0

    def shrink(self, plan: Plan) -> Plan:
        """A smaller plan that fails, or the plan itself; never raises for a candidate that is refused."""
        plan = replace(plan, faults=self._fewer(plan, plan.faults))
        return self._shorter(plan)

    def _try(self, plan: Plan) -> bool:
        if self._left <= 0:
            return False
        try:
            check(plan)
        except Refused:
            return False
        self._left -= 1
        self.runs += 1
        return self._fails(plan)

    def _fewer(self, plan: Plan, faults: Sequence[Fault]) -> tuple[Fault, ...]:
        """ddmin: leave out halves, quarters, … and at last each fault alone."""
        kept = tuple(faults)
        if kept and self._try(replace(plan, faults=())):
            return ()
        parts = 2
        while len(kept) > 1:
            size = -(-len(kept) // parts)
            for start in range(0, len(kept), size):
                rest = kept[:start] + kept[start + size :]
                if rest and self._try(replace(plan, faults=rest)):
                    kept, parts = rest, max(2, parts - 1)
                    break
            else:
                if size == 1 or self._left <= 0:
                    break
                parts = min(len(kept), parts * 2)
        return kept

    def _shorter(self, plan: Plan) -> Plan:
        """Cut the inputs' tail, by halves of what may still go."""
        low, high = 0, len(plan.inputs)
        while low < high and self._left > 0:
            middle = (low + high) // 2
            candidate = replace(plan, inputs=plan.inputs[:middle])
            if self._try(candidate):
                plan, high = candidate, middle
            else:
                low = middle + 1
        return plan
