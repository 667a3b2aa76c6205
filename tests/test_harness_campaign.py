"""How runs are spread, and what the n-th plan is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import expand
from harness.campaign import RANGE, tasks_of
from harness.check import Checker
from harness.plans import accept
from harness.runner import campaign_plan
from scenarios import SCENARIOS, get

VISIBLE = ("agent.trap", "agent.bad_pointer")


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, unique=True), st.integers(0, 200))
def test_runs_are_spread_evenly_and_each_is_there_once(names: list[str], runs: int) -> None:
    tasks = tasks_of(names, runs, 1, 2)
    numbers = {name: [n for task in tasks if task.scenario == name for n in task.runs] for name in names}
    counts = [len(found) for found in numbers.values()]
    assert sum(counts) == runs and max(counts) - min(counts) <= 1
    for found in numbers.values():
        assert sorted(found) == list(range(len(found)))
    assert all(len(task.runs) <= RANGE and task.runs[0] // RANGE == task.runs[-1] // RANGE for task in tasks)


@pytest.mark.parametrize("name", [*SCENARIOS, "edges"])
def test_each_plan_is_acceptable_and_a_function_of_seed_and_number(name: str) -> None:
    checker, again = Checker(get(name)), Checker(get(name))
    plans = [campaign_plan(checker, 3, n) for n in range(16)]
    assert plans == [campaign_plan(again, 3, n) for n in reversed(range(16))][::-1]
    assert all(accept(plan, "") is plan and plan.faults for plan in plans)
    assert len({" ".join(map(str, plan.faults)) for plan in plans}) == 16
    assert [plan.inputs for plan in plans[:8]] == [plans[0].inputs] * 8 and plans[8].inputs != plans[0].inputs
    assert campaign_plan(checker, 4, 0) != plans[0]


def test_visible_faults_are_in_about_one_plan_of_four() -> None:
    checker = Checker(get("ledger"))
    with_visible = [n for n in range(32) if any(f.kind in VISIBLE for f in campaign_plan(checker, 1, n).faults)]
    assert 3 <= len(with_visible) <= 13


def test_faults_are_addressed_at_events_of_the_twin() -> None:
    checker = Checker(get("ledger"))
    plan = campaign_plan(checker, 1, 1)
    bare = type(plan)(scenario=plan.scenario, seed=plan.seed, inputs=plan.inputs, physical=plan.physical)
    events = expand.events_of(checker.clean(bare))
    steps = {(step.tick, step.agent): step for step in events.steps}
    for fault in plan.faults:
        if "tick" in fault.at and "agent" in fault.at:
            step = steps[fault.number("tick"), fault.number("agent")]
            assert fault.number("hostcall") <= max(1, step.calls)
        if "block" in fault.at:
            assert 1 <= fault.number("block") <= events.blocks
