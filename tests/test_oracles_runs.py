"""Oracles over whole runs: equal runs, liveness, containment, replays, the scenario's invariant."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from oracles_kit import (
    LEFT,
    MESSAGE,
    World,
    call,
    crossing,
    envelope,
    finding,
    record,
    refuses,
    world,
)

from faults.plan import Fault
from harness.history import Injection
from harness.oracles import Judged, Unjudged, Verdict, judge


@pytest.mark.parametrize("oracle", ["twin", "I1", "I3", "I19", "I20", "I32", "replay", "scenario"])
def test_a_good_history_passes(oracle: str) -> None:
    found = finding(oracle, world())
    assert (found.verdict, found.evidence) == (Verdict.PASS, ())


@pytest.mark.parametrize("oracle", ["twin", "I1", "I3", "I19", "I20", "scenario"])
def test_without_the_other_run_nothing_is_judged(oracle: str) -> None:
    assert judge(Judged(world().history()), [oracle])[oracle].verdict is Verdict.UNKNOWN


# --- equal runs -------------------------------------------------------------------------------------------------------

DIFFERENCES: list[tuple[Callable[[World], object], str]] = [
    (lambda w: w.step(3, 1)["inbox"].reverse(), "block 3 step 1: here"),
    (lambda w: w.bodies[1]["events"].pop(), "block 2 event 1: here"),
    (lambda w: w.bodies[1]["inputs"].clear(), "block 2 input 0: here"),
    (lambda w: w.bodies[2]["steps"].pop(), "block 3 step 2: here"),
    (lambda w: w.bodies[0].update(root="xx"), "block 1 root: here"),
    (lambda w: w.bodies[3].update(tick=5), "block 4 is tick 5"),
    (lambda w: w.bodies.pop(), "block 4 is only in"),
]


@pytest.mark.parametrize(("damage", "named"), DIFFERENCES)
def test_the_first_difference_of_two_journals_is_named_whichever_is_damaged(
    damage: Callable[[World], object], named: str
) -> None:
    made, good = world(), world()
    damage(made)
    other = made.history()
    sides = named.split(" is tick", maxsplit=1)[0]
    for oracle, against in (("twin", {"twin": other}), ("I1", {"repeat": other}), ("I3", {"others": {2: other}})):
        refuses(oracle, made, named)
        refuses(oracle, good, sides, **against)


@pytest.mark.parametrize("side", ["here", "there"])
def test_a_blob_on_one_side_only_is_named(side: str) -> None:
    made = world()
    made.blobs = {**made.blobs, "ab" * 32: b"more"}
    if side == "here":
        refuses("twin", made, "blob abababababababab is only in this run")
    else:
        refuses("twin", world(), "blob abababababababab is only in the twin", twin=made.history())


def test_a_blob_with_other_bytes_is_named() -> None:
    made = world()
    made.blobs = dict.fromkeys(made.blobs, b"other")
    refuses("twin", made, "holds other bytes than the twin's")


@pytest.mark.parametrize("side", ["here", "there"])
def test_the_first_different_trace_record_is_named(side: str) -> None:
    made = world()
    made.trace[3] = record(2, "sent", 0, worker=11, lease=1, orders=1)
    if side == "here":
        refuses("I1", made, "trace record 3: here")
    else:
        refuses("I1", world(), "trace record 3: here", repeat=made.history())


def test_a_recovery_that_ends_elsewhere_is_named() -> None:
    good = world().history().final_state
    refuses("I20", world(), "snapshot state-3:", replays=(("state-1", good), ("state-3", good[:-1])))
    made = world()
    made.mailboxes[2] = []
    refuses("I20", made, "snapshot state-1:")


# --- liveness ---------------------------------------------------------------------------------------------------------


def test_a_tick_that_stays_open_too_long_is_named_on_either_side() -> None:
    made = world()
    made.trace[-1] = record(5000, "committed", 3, block=4)
    refuses("I19", made, "tick 3 closed 4700 ns after it opened, the bound is 1000")
    refuses("I19", world(), "tick 0 closed 30 ns after", bound_ns=29)


def test_what_was_slow_before_healing_does_not_count() -> None:
    made = world()
    made.trace[-1] = record(5000, "committed", 3, block=4)
    history = made.history()
    history.healed_at = 4500
    assert judge(Judged(history, bound_ns=1000), ["I19"])["I19"].verdict is Verdict.PASS
    history.healed_at = 3500
    assert judge(Judged(history, bound_ns=1000), ["I19"])["I19"].verdict is Verdict.FAIL


def test_a_tick_that_never_closes_and_a_run_that_does_not_finish_are_named() -> None:
    made = world()
    made.trace.pop()
    made.finished = False
    refuses("I19", made, "tick 3, opened at 300, never closed")
    refuses("I19", made, "the run did not finish")


def test_a_tick_that_a_successor_opens_again_counts_from_its_first_opening() -> None:
    made = world()
    made.trace[-1:] = [record(1200, "opened", 3), record(1400, "committed", 3, block=4)]
    refuses("I19", made, "tick 3 closed 1100 ns after it opened")


def test_a_tick_whose_block_was_written_before_a_crash_is_closed_by_its_recovery() -> None:
    made = world()
    made.trace[-1:] = [record(900, "recovered", 3, block=4, cut=0, folded=4)]
    assert finding("I19", made).verdict is Verdict.PASS
    made.trace[-1] = record(900, "recovered", 2, block=3, cut=0, folded=3)
    refuses("I19", made, "tick 3, opened at 300, never closed")


# --- containment ------------------------------------------------------------------------------------------------------

TRAP = Fault(kind="agent.trap", at={"tick": 2, "agent": 1, "hostcall": 1})
POINTER = Fault(kind="agent.bad_pointer", at={"tick": 2, "agent": 1})


def struck(fault: Fault, status: str, guest_status: str, data: bytes | None) -> World:
    """Agent 1 fails in tick 2 before its message to agent 2 counts."""
    made = world()
    made.faults = (fault,)
    made.injections = [Injection(210, 0, {"worker": 12, "tick": 2, "agent": 1, "hostcall": 1})]
    made.step(3, 1).update(status=status, effects=[])
    calls = () if data == b"" else (call("send", 2, data),)
    made.guest(2, 1, status=guest_status, calls=calls)
    made.bodies[2]["events"] = [["failed", 1, status], ["lifecycle", 1, "active", "backoff"]]
    made.mailboxes[2] = []
    made.deliver()
    return made


def trapped() -> World:
    return struck(TRAP, "trap:injected", "trap:injected", b"")


@pytest.mark.parametrize("made", [trapped(), struck(POINTER, "bad_pointer", "ok", None)])
def test_a_contained_failure_passes_every_oracle_but_the_baselines(made: World) -> None:
    for oracle in ("I8", "I9", "I11", "I15", "I27", "I28", "I32", "I34", "replay", "ledger"):
        found = finding(oracle, made)
        assert (oracle, found.verdict, found.evidence) == (oracle, Verdict.PASS, ())


def test_a_fault_without_its_defined_effect_is_named() -> None:
    made = trapped()
    made.step(3, 1)["status"] = "ok"
    refuses("I32", made, "block 3 step 1: ok, fault 0 (agent.trap) defines trap:injected")


def test_a_fault_whose_step_is_in_no_block_is_named() -> None:
    made = trapped()
    made.injections = [Injection(210, 0, {"worker": 12, "tick": 7, "agent": 1})]
    refuses("I32", made, "fault 0 (agent.trap): no block holds a step of agent 1 in tick 7")


def test_a_range_outside_memory_that_did_not_fail_the_step_is_named() -> None:
    made = world()
    made.guest(2, 1, calls=(call("send", 2, None),))
    refuses("I32", made, "block 3 step 1: ok, guest event 6 call 0 was out of range")


def test_a_step_that_failed_on_one_side_only_is_named() -> None:
    made = world()
    made.guest(2, 0, status="trap:unreachable")
    refuses("I32", made, "block 3 step 0: ok, guest event 5 ended as trap:unreachable")
    made = world()
    made.step(3, 0)["status"] = "fuel"
    refuses("I32", made, "block 3 step 0: fuel, guest event 5 ended well")


def test_a_failure_that_reaches_who_does_not_depend_on_it_is_named_on_either_side() -> None:
    made = trapped()
    made.step(3, 0)["inbox"] = []
    refuses("I32", made, "block 3 step 0: agent 0, which nothing of a struck agent had reached, differs")
    other = world()
    other.step(3, 2)["views"] = []
    refuses("I32", trapped(), "block 3 step 2: agent 2", baseline=other.history())


def test_who_was_sent_something_by_the_struck_agent_may_differ_from_the_tick_after() -> None:
    made, good = trapped(), world()
    for each, payload in ((made, None), (good, b"left")):
        inbox = () if payload is None else (envelope(MESSAGE, 1, LEFT, 0, payload),)
        each.bodies.insert(3, {**each.bodies[3], "events": [], "root": ""})
        each.bodies[4]["tick"] = 4
        last = {**each.step(3, 2), "n": 3, "views": [], "inbox": [LEFT] if payload else []}
        each.bodies[3]["steps"] = [last]
        each.guests.append(crossing(3, 2, inbox=inbox))
        each.mailboxes[2] = []
    assert finding("I32", made, baseline=good.history()).evidence == ()
    made.bodies[2]["steps"][2]["n"] = 9
    refuses("I32", made, "agent 2", baseline=good.history())


def test_a_single_byte_of_another_agents_memory_shows_in_its_image() -> None:
    made, good = trapped(), world()
    made.step(3, 0)["image"] = good.step(3, 0)["image"] = "ab" * 32
    assert finding("I32", made, baseline=good.history()).verdict is Verdict.PASS
    made.step(3, 0)["image"] = "ab" * 31 + "ac"
    refuses("I32", made, "block 3 step 0: agent 0", baseline=good.history())


def test_visible_faults_without_a_baseline_are_not_judged() -> None:
    assert finding("I32", trapped(), baseline=None).verdict is Verdict.UNKNOWN


# --- replays and the invariant ----------------------------------------------------------------------------------------


def test_a_stop_that_no_fault_calls_for_is_named() -> None:
    made = world()
    made.failure = "watermark"
    refuses("replay", made, "stopped by check 'watermark'")


@pytest.mark.parametrize("first", [True, False])
def test_a_repeated_step_that_does_something_else_is_named(first: bool) -> None:
    made = world()
    inbox = made.guests[6].inbox
    other = crossing(2, 1, inbox=inbox, calls=(call("send", 2, b"else"),))
    made.guests.insert(6 if first else 8, other)
    refuses("replay", made, f"guest event {7 if first else 8}: agent 1 did other in tick 2 than in guest event 6")


def test_a_run_that_died_on_its_way_is_no_difference() -> None:
    made = world()
    made.guests.insert(6, crossing(2, 1, inbox=made.guests[6].inbox, status="died"))
    for oracle in ("replay", "I8", "I9", "I11", "I32", "I34"):
        assert finding(oracle, made).verdict is Verdict.PASS


def test_a_step_that_ran_and_is_in_no_block_is_named() -> None:
    made = world()
    made.guests.append(crossing(1, 2))
    refuses("replay", made, "guest event 8: agent 2 ran in tick 1; no block holds that step")


def test_a_violated_invariant_is_a_failure_and_one_that_raises_is_unknown() -> None:
    refuses("scenario", world(), "account 3", invariant=lambda history: ["account 3 is below zero"])

    def broken(history: object) -> list[str]:
        raise Unjudged("no outputs")

    assert finding("scenario", world(), invariant=broken).verdict is Verdict.UNKNOWN
