"""Shrinking, on toy conditions whose smallest plan is known: what is kept fails, and nothing of it can be left out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from faults.plan import Plan, parse_fault
from harness import golden
from harness.plans import accept
from harness.shrinking import Shrinker, earlier, ending, fewest
from harness.simulation import simulate
from scenarios import get

FAULTS = tuple(parse_fault(f"worker.kill@tick:{tick},agent:{tick % 7}") for tick in range(1, 25))
LEDGER = golden.default_plan("ledger")

# The shrinker asks Hypothesis for values, so that a drawn test of it draws within a draw.
nested = settings(suppress_health_check=[HealthCheck.nested_given], max_examples=4)


def plan(faults: int = 24) -> Plan:
    return replace(LEDGER, faults=FAULTS[:faults])


def ticks_of(candidate: Plan) -> list[int]:
    return [fault.number("tick") for fault in candidate.faults]


def needs(*ticks: int, inputs: int = 0) -> Callable[[Plan], bool]:
    """Fails with a fault at each of these ticks and this many inputs at least."""
    return lambda candidate: set(ticks) <= set(ticks_of(candidate)) and len(candidate.inputs) >= inputs


@pytest.mark.parametrize("ticks", [(), (7,), (1, 24), (3, 4, 5), tuple(range(1, 25))])
def test_only_the_faults_that_matter_are_left(ticks: tuple[int, ...]) -> None:
    small = Shrinker(needs(*ticks), runs_max=5000).shrink(plan())
    assert tuple(ticks_of(small)) == ticks
    assert small.inputs == () and small.last_tick == 1


@nested
@given(st.sets(st.integers(1, 24), max_size=5), st.integers(0, 40))
def test_what_is_kept_fails_and_every_fault_and_input_in_it_is_needed(ticks: set[int], inputs: int) -> None:
    fails = needs(*ticks, inputs=inputs)
    small = Shrinker(fails, runs_max=2000).shrink(plan())
    assert fails(small) and len(small.faults) == len(ticks) and len(small.inputs) == inputs
    assert accept(small, "") == small, "a workload that a client can have"


@nested
@given(st.sets(st.integers(0, len(LEDGER.inputs) - 1), min_size=1, max_size=3))
def test_any_inputs_can_be_the_ones_that_matter_and_are_numbered_anew(places: set[int]) -> None:
    wanted = [LEDGER.inputs[place].action for place in sorted(places)]
    small = Shrinker(
        lambda candidate: all(action in [item.action for item in candidate.inputs] for action in wanted), runs_max=5000
    ).shrink(LEDGER)
    assert [item.action for item in small.inputs] == wanted
    assert [item.n for item in small.inputs] == list(range(1, len(wanted) + 1))


@nested
@given(st.integers(1, 41), st.integers(0, 3), st.integers(1, 9))
def test_numbers_go_down_to_the_least_that_fails(tick: int, agent: int, hostcall: int) -> None:
    first = replace(plan(0), inputs=(), faults=(parse_fault("worker.kill@tick:41,agent:3,hostcall:9"),))

    def fails(candidate: Plan) -> bool:
        least = {"tick": tick, "agent": agent, "hostcall": hostcall}
        return any(all(fault.number(name) >= low for name, low in least.items()) for fault in candidate.faults)

    [fault] = Shrinker(fails, runs_max=5000).shrink(first).faults
    assert fault == parse_fault(f"worker.kill@tick:{tick},agent:{agent},hostcall:{hostcall}")


def test_words_go_to_the_first_that_fails_and_what_cannot_change_stays() -> None:
    first = replace(plan(0), faults=(parse_fault("orchestrator.kill@tick:60,phase:release,point:after,occurrence:3"),))
    small = Shrinker(lambda c: any(f.get("phase") not in ("boot", "admit") for f in c.faults), runs_max=500)
    assert str(small.shrink(first).faults[0]) == "orchestrator.kill@tick:0,phase:dispatch"
    exact = Shrinker(lambda candidate: first.faults[0] in candidate.faults, runs_max=500)
    assert exact.shrink(first).faults == first.faults


@nested
@given(st.integers(1, 60))
def test_the_run_ends_as_soon_as_it_still_fails(last: int) -> None:
    small = Shrinker(lambda candidate: not 0 < candidate.last_tick < last, runs_max=500).shrink(plan())
    assert small.last_tick == last and small.inputs == small.faults == ()


def test_a_failure_late_in_the_run_is_moved_to_its_beginning() -> None:
    fault = parse_fault("worker.kill@tick:70,agent:3")
    late = [item for item in LEDGER.inputs if item.tick == 69][:1]
    assert late, "the workload has an input at that tick"

    def fails(candidate: Plan) -> bool:
        """One tick after an input."""
        return any(f.number("tick") == item.tick + 1 for f in candidate.faults for item in candidate.inputs)

    small = Shrinker(fails, runs_max=2000).shrink(replace(plan(0), faults=(fault,)))
    assert ticks_of(small) == [2] and [item.tick for item in small.inputs] == [1]


def test_orders_are_composed_anew_and_never_a_payload_that_no_order_gives() -> None:
    scenario = get("hello")
    first = golden.default_plan("hello")
    assert len(first.inputs) == 6

    def fails(candidate: Plan) -> bool:
        """Some text is longer than nine bytes."""
        return any(len(item.action.payload) > 4 + 9 for item in candidate.inputs)  # type: ignore[union-attr]

    small = Shrinker(fails, runs_max=2000).shrink(first)
    assert small.inputs == scenario.inputs(first.seed, [(1, 10, 0)])


def test_it_stops_at_its_limit_with_a_plan_that_fails() -> None:
    fails = needs(2, 20)
    shrinker = Shrinker(fails, runs_max=5)
    assert fails(shrinker.shrink(plan())) and shrinker.runs == 5 and shrinker.spent


def test_it_begins_no_run_after_its_time() -> None:
    shrinker = Shrinker(needs(2, 20), seconds_max=0.0)
    assert shrinker.shrink(plan()) == plan() and shrinker.runs == 0 and shrinker.spent


def test_a_failure_that_is_gone_leaves_the_plan_as_it_was() -> None:
    assert Shrinker(lambda candidate: False).shrink(plan()) == plan()


def test_no_plan_is_run_twice_and_each_better_one_is_told() -> None:
    ran: list[Plan] = []
    told: list[Plan] = []
    fails = needs(3, 9, inputs=2)

    def run(candidate: Plan) -> bool:
        ran.append(candidate)
        return fails(candidate)

    small = Shrinker(run, runs_max=2000, better=told.append).shrink(plan())
    assert len({str(candidate) for candidate in ran}) == len(ran)
    assert told[-1] == small and told == [candidate for candidate in ran if fails(candidate)]


def test_no_candidate_is_beyond_the_budget_or_asks_for_what_no_client_can_ask() -> None:
    kills = tuple(parse_fault(f"worker.kill@tick:{9 + n},agent:0") for n in range(4))

    def run(candidate: Plan) -> bool:
        assert accept(candidate, "") == candidate
        return len(candidate.faults) == 4

    small = Shrinker(run, runs_max=2000).shrink(replace(plan(0), faults=kills))
    assert len(small.faults) == 4


def test_leaving_out_is_not_fooled_by_parts_that_must_go_together() -> None:
    pairs = list(range(16))
    assert fewest(pairs, lambda rest: {2, 13} <= set(rest) and len(rest) % 2 == 0) == (2, 13)
    assert fewest([], lambda rest: True) == ()


def test_a_shorter_run_has_the_inputs_that_are_due_by_then_and_nothing_is_moved_before_tick_1() -> None:
    short = ending(LEDGER, 3)
    assert accept(short, "").last_tick == 3 and {item.tick for item in short.inputs} <= {0, 1, 2, 3}
    moved = earlier(plan(), 1000)
    assert set(ticks_of(moved)) == {1} and {item.tick for item in moved.inputs} <= {0, 1}


@pytest.mark.parametrize(
    "text", ["link.noise@tick:1,direction:work,verb=corrupt,percent=30,ticks=4", "link.clog@tick:3,percent=50,for=6ms"]
)
def test_what_a_fault_draws_does_not_change_when_another_one_is_left_out(text: str) -> None:
    """Or leaving out anything would change everything, and nothing could be left out."""
    drawn = parse_fault(text)
    late = parse_fault("worker.kill@tick:11,agent:3")
    alone, beside = (
        simulate(get("hello"), replace(golden.default_plan("hello"), faults=faults)).injections
        for faults in ((drawn,), (late, drawn))
    )
    did = [(one.at, one.fields) for one in alone]
    assert did and did == [(one.at, one.fields) for one in beside if one.fault == 1][: len(did)]
