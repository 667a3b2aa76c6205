"""Oracles over runs in which only what must not matter is another (I2, I4, I6, I7, I33), and the barrier (I13).

Each accepts the hand-made history, refuses it damaged on either side, and judges nothing where a record is missing.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from oracles_kit import LEFT, World, crossing, finding, record, refuses, world

from faults.plan import Fault
from harness.history import History, Injection
from harness.oracles import Judged, Verdict, judge

VARIED = ("I2", "I4", "I6", "I7", "I33")
TRACED = ("I2", "I6", "I7", "I33")


def varied(oracle: str, other: History) -> dict[str, dict[str, dict[str, History]]]:
    return {"varied": {oracle: {"run of another kind": other}}}


def no_trace(history: History) -> History:
    history.trace = []
    return history


def other_trace(made: World) -> None:
    made.trace[3] = record(2, "sent", 0, worker=11, lease=1, orders=1)


@pytest.mark.parametrize("oracle", VARIED)
def test_equal_runs_pass(oracle: str) -> None:
    found = finding(oracle, world(), **varied(oracle, world().history()))
    assert (found.verdict, found.evidence) == (Verdict.PASS, ())


@pytest.mark.parametrize("oracle", VARIED)
def test_without_the_varied_run_nothing_is_judged(oracle: str) -> None:
    found = judge(Judged(world().history(), twin=world().history()), [oracle])[oracle]
    assert found.verdict is Verdict.UNKNOWN and "there is no run" in found.evidence[0]


@pytest.mark.parametrize("oracle", VARIED)
def test_a_journal_that_differs_is_refused_and_the_record_named(oracle: str) -> None:
    made = world(lambda w: w.step(3, 1)["inbox"].reverse())
    refuses(oracle, world(), "block 3 step 1: here", **varied(oracle, made.history()))
    good = world().history()
    refuses(oracle, made, "block 3 step 1: here", twin=made.history(), **varied(oracle, good))


@pytest.mark.parametrize("oracle", TRACED)
def test_a_trace_that_differs_is_refused_and_the_record_named(oracle: str) -> None:
    made = world(other_trace)
    refuses(oracle, world(), "trace record 3: here", **varied(oracle, made.history()))
    refuses(oracle, made, "trace record 3: here", twin=made.history(), **varied(oracle, world().history()))


def test_other_speeds_may_change_the_trace() -> None:
    found = finding("I4", world(), **varied("I4", world(other_trace).history()))
    assert found.verdict is Verdict.PASS


@pytest.mark.parametrize("oracle", TRACED)
def test_a_missing_trace_is_unknown_and_no_pass(oracle: str) -> None:
    found = finding(oracle, world(), **varied(oracle, no_trace(world().history())))
    assert found.verdict is Verdict.UNKNOWN


def test_an_interpreter_that_ended_leaves_no_journal_and_no_verdict() -> None:
    died = History(plan=world().history().plan, failure="process")
    assert finding("I2", world(), **varied("I2", died)).verdict is Verdict.UNKNOWN


def test_an_idle_plan_that_strikes_is_none_and_judges_nothing() -> None:
    struck = world(lambda w: w.injections.append(Injection(5, 0, {})))
    struck.faults = (Fault(kind="worker.kill", at={"tick": 1, "agent": 0}),)
    found = finding("I7", world(), **varied("I7", struck.history()))
    assert found.verdict is Verdict.UNKNOWN and "injects something" in found.evidence[0]


def test_ticks_that_do_not_grow_are_refused_by_time_and_by_the_barrier() -> None:
    made = world(lambda w: w.bodies[2].update(tick=1))
    refuses("I33", made, "block 3: tick 1 does not follow tick 1", **varied("I33", made.history()))
    refuses("I13", made, "block 3 is tick 1")


# --- the barrier ------------------------------------------------------------------------------------------------------


def test_the_barrier_accepts_the_good_history_and_one_with_a_recovery() -> None:
    assert finding("I13", world()).verdict is Verdict.PASS
    made = world()
    at = next(n for n, r in enumerate(made.trace) if (r.kind, r.tick) == ("opened", 2))
    again = [record(205, "started", 1, block=2), record(206, "opened", 2)]
    made.trace[at + 1 : at + 1] = again  # killed with tick 2 open, and started again behind block 2
    assert finding("I13", made).verdict is Verdict.PASS


def swap(made: World) -> None:
    """The commit of tick 1 comes after the opening of tick 2."""
    commit = next(r for r in made.trace if (r.kind, r.tick) == ("committed", 1))
    made.trace.remove(commit)
    at = next(n for n, r in enumerate(made.trace) if (r.kind, r.tick) == ("opened", 2))
    made.trace.insert(at + 1, commit)


def late(made: World) -> None:
    made.guest(2, 1, at=100 * 2 + 31)


BREACHES: list[tuple[Callable[[World], object], str]] = [
    (swap, "opens tick 2 while tick 1 is open"),
    (swap, "commits tick 1 while tick 2 is open"),
    (lambda w: w.guest(2, 0, at=199), "a crossing of tick 2 while tick 1 is the last opened"),
    (late, "block 3 step 1 was run at 231 ns, after tick 2 was committed"),
    (lambda w: w.trace.append(record(900, "opened", 1)), "opens tick 1, behind the closed tick 3"),
    (lambda w: w.step(2, 1).update(inbox=[0, (1 << 32) + 1]), "consumes in tick 1 what"),
]


@pytest.mark.parametrize(("breach", "named"), BREACHES)
def test_what_happens_on_the_wrong_side_of_the_barrier_is_refused_and_named(
    breach: Callable[[World], object], named: str
) -> None:
    refuses("I13", world(breach), named)


def test_a_message_that_arrives_in_the_tick_that_sent_it_is_refused() -> None:
    made = world()
    made.bodies[2]["steps"][2]["inbox"].append(LEFT)  # agent 1 sends it in this very tick
    refuses("I13", made, "consumes in tick 2 what guest event 6 call 0 sent in tick 2")


def test_a_stray_crossing_of_an_old_tick_does_not_matter() -> None:
    made = world()
    made.guests.append(msgspec.structs.replace(made.guests[3], at=390, worker=12))
    assert finding("I13", made).verdict is Verdict.PASS


@pytest.mark.parametrize("lacking", ["trace", "guests"])
def test_without_one_of_its_records_the_barrier_judges_nothing(lacking: str) -> None:
    history = world().history()
    setattr(history, lacking, [])
    assert judge(Judged(history), ["I13"])["I13"].verdict is Verdict.UNKNOWN


def test_a_crossing_before_anything_was_opened_is_refused() -> None:
    made = world()
    made.guests.insert(0, crossing(0, 0, "init", at=-1))
    refuses("I13", made, "guest event 0 is a crossing of tick 0 while tick -1 is the last opened")
