"""Shrinking: the fewest faults, inputs and ticks with which a plan still fails by the same oracle, then small values.

Delta debugging leaves out faults, then inputs, then cuts the run's end; `harness.shrink_values` then lets Hypothesis
look for smaller addresses, parameters and orders; what became smaller is tried for leaving out once more. Every
candidate is run, and what is kept has failed, so a limit or an interruption at any moment leaves a plan that fails.
No candidate is kept that asks of a runtime what no correct one could do.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec.structs import replace

from faults.plan import Fault, Plan
from harness import shrink_values
from harness.plans import accept
from runtime.errors import Refused
from runtime.state import Input
from scenarios import get
from scenarios.base import Scenario

RUNS_MAX = 120
SECONDS_MAX = 300.0
ROUNDS = 3
PAIRS_MAX = 8  # of so few parts any two are left out together

Fails = Callable[[Plan], bool]
T = TypeVar("T")


class Shrinker:
    """`fails(plan)` runs a plan and says whether it fails by the oracle that matters; a plan is never run twice.

    At most `runs_max` runs, none begun after `seconds_max`; `better` is told of each smaller plan that failed.
    """

    def __init__(
        self,
        fails: Fails,
        runs_max: int = RUNS_MAX,
        seconds_max: float = SECONDS_MAX,
        better: Callable[[Plan], None] = lambda plan: None,
        scenario: Scenario | None = None,
    ) -> None:
        self._fails, self._left, self._better = fails, runs_max, better
        self._end = time.monotonic() + seconds_max
        self._scenario = scenario
        self._known: dict[tuple[object, ...], bool] = {}
        self.runs = 0

    def shrink(self, plan: Plan) -> Plan:
        """A smaller plan that fails, or the plan itself; never raises for a candidate that is refused."""
        scenario = self._scenario or get(plan.scenario)
        for _ in range(ROUNDS):
            before = plan
            plan = self._fewer_faults(plan)
            plan = self._first_inputs(plan)
            plan = self._fewer_ticks(plan, scenario)  # before single inputs: a short run has few, and costs little
            plan = self._fewer_inputs(plan)
            plan = self._sooner(plan)
            plan = self._fewer_ticks(plan, scenario)
            plan = shrink_values.smaller(plan, scenario, self._tried, lambda: self.spent)
            if plan == before or self.spent:
                break
        return plan

    @property
    def spent(self) -> bool:
        """Whether a limit is reached: then nothing more is run."""
        return self._left <= 0 or time.monotonic() >= self._end

    def _tried(self, plan: Plan) -> bool:
        """Whether this candidate was run and failed, now or before."""
        key = (plan.inputs, plan.last_tick, *map(str, plan.faults))
        if key in self._known or self.spent:
            return self._known.get(key, False)
        try:
            accept(plan, "", self._scenario)
        except Refused:
            return False
        self._left -= 1
        self.runs += 1
        failed = self._known[key] = self._fails(plan)
        if failed:
            self._better(plan)
        return failed

    def _fewer_faults(self, plan: Plan) -> Plan:
        def holds(faults: Sequence[Fault]) -> bool:
            return self._tried(replace(plan, faults=tuple(faults)))

        return replace(plan, faults=tuple(fewest(plan.faults, holds)))

    def _first_inputs(self, plan: Plan) -> Plan:
        """None, or a first part, by halves."""
        low, kept = 0, plan.inputs
        while low < len(kept):
            middle = (low + len(kept)) // 2
            if self._tried(replace(plan, inputs=kept[:middle])):
                kept = kept[:middle]
            else:
                low = middle + 1
        return replace(plan, inputs=kept)

    def _fewer_inputs(self, plan: Plan) -> Plan:
        """Any part of them; those that stay are numbered anew."""

        def holds(inputs: Sequence[Input]) -> bool:
            return self._tried(replace(plan, inputs=numbered(inputs)))

        return replace(plan, inputs=numbered(fewest(plan.inputs, holds)))

    def _sooner(self, plan: Plan) -> Plan:
        """Move all inputs and faults to earlier ticks together, by as much as still fails."""
        by = max([0, *(item.tick for item in plan.inputs), *(fault.number("tick") for fault in plan.faults)]) - 1
        while by > 0:
            moved = earlier(plan, by)
            if moved != plan and self._tried(moved):
                plan = moved
            by //= 2
        return plan

    def _fewer_ticks(self, plan: Plan, scenario: Scenario) -> Plan:
        """End the run sooner, by halves; inputs that are due later go with it."""
        low, high = 1, plan.last_tick or scenario.config(plan.seed).last_tick
        while low < high:
            middle = (low + high) // 2
            shorter = ending(plan, middle)
            if self._tried(shorter):
                plan, high = shorter, middle
            else:
                low = middle + 1
        return plan


def earlier(plan: Plan, by: int) -> Plan:
    """The plan with every tick of an input or a fault so much earlier, but no earlier than 1."""

    def moved(fault: Fault) -> Fault:
        if "tick" not in fault.at:
            return fault
        return replace(fault, at={**fault.at, "tick": max(min(1, fault.number("tick")), fault.number("tick") - by)})

    inputs = tuple(replace(item, tick=max(min(1, item.tick), item.tick - by)) for item in plan.inputs)
    return replace(plan, inputs=inputs, faults=tuple(moved(fault) for fault in plan.faults))


def ending(plan: Plan, last_tick: int) -> Plan:
    """The plan that ends after this tick: with the inputs that are due by then."""
    return replace(plan, last_tick=last_tick, inputs=tuple(item for item in plan.inputs if item.tick <= last_tick))


def numbered(inputs: Sequence[Input]) -> tuple[Input, ...]:
    """The same inputs numbered from 1 without gaps."""
    return tuple(replace(item, n=n) for n, item in enumerate(inputs, 1))


def fewest(parts: Sequence[T], holds: Callable[[Sequence[T]], bool]) -> tuple[T, ...]:
    """ddmin: leave out everything, halves, quarters, … and at last each part alone, as long as `holds` says so.

    Of the few that are left any two are left out as well: a kill and what the disk does at it go together.
    """
    kept = tuple(parts)
    if kept and holds(()):
        return ()
    pieces = 2
    while len(kept) > 1:
        size = -(-len(kept) // pieces)
        rests = (kept[:start] + kept[start + size :] for start in range(0, len(kept), size))
        smaller = next((rest for rest in rests if rest and holds(rest)), None)
        if smaller is not None:
            kept, pieces = smaller, max(2, pieces - 1)
        elif size > 1:
            pieces = min(len(kept), pieces * 2)
        else:
            smaller = _without_two(kept, holds)
            if smaller is None:
                break
            kept = smaller
    return kept


def _without_two(kept: tuple[T, ...], holds: Callable[[Sequence[T]], bool]) -> tuple[T, ...] | None:
    if not 2 < len(kept) <= PAIRS_MAX:
        return None
    for one, other in itertools.combinations(range(len(kept)), 2):
        rest = tuple(part for place, part in enumerate(kept) if place not in (one, other))
        if holds(rest):
            return rest
    return None
