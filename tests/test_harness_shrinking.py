"""Shrinking, on toy conditions: what is kept fails, and nothing of it can be left out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from faults.plan import Plan, parse_fault
from harness import golden
from harness.shrinking import Shrinker

FAULTS = tuple(parse_fault(f"worker.kill@tick:{tick},agent:0") for tick in range(1, 25))


def plan(faults: int = 24) -> Plan:
    return replace(golden.default_plan("ledger"), faults=FAULTS[:faults])


def needs(*ticks: int, inputs: int = 0) -> Callable[[Plan], bool]:
    """Fails with a fault at each of these ticks and this many inputs at least."""
    return lambda candidate: (
        set(ticks) <= {fault.number("tick") for fault in candidate.faults} and len(candidate.inputs) >= inputs
    )


@pytest.mark.parametrize("ticks", [(), (7,), (1, 24), (3, 4, 5), tuple(range(1, 25))])
def test_only_the_faults_that_matter_are_left(ticks: tuple[int, ...]) -> None:
    small = Shrinker(needs(*ticks), runs_max=1000).shrink(plan())
    assert tuple(fault.number("tick") for fault in small.faults) == ticks
    assert small.inputs == ()


@given(st.sets(st.integers(1, 24), max_size=5), st.integers(0, 40))
def test_what_is_kept_fails_and_every_fault_and_input_in_it_is_needed(ticks: set[int], inputs: int) -> None:
    fails = needs(*ticks, inputs=inputs)
    small = Shrinker(fails, runs_max=1000).shrink(plan())
    assert fails(small) and len(small.faults) == len(ticks) and len(small.inputs) == inputs
    assert small.inputs == plan().inputs[:inputs], "a prefix stays a valid workload"


def test_it_stops_at_its_limit_with_a_plan_that_fails() -> None:
    fails = needs(2, 20)
    shrinker = Shrinker(fails, runs_max=5)
    assert fails(shrinker.shrink(plan())) and shrinker.runs == 5


def test_a_failure_that_is_gone_leaves_the_plan_as_it_was() -> None:
    assert Shrinker(lambda candidate: False).shrink(plan()) == plan()
