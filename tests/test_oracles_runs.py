"""Oracles over whole runs: equal runs, liveness, containment, replays, the scenario's invariant."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from oracles_kit import (
    LEFT,
    MESSAGE,
    World,
    call,
    crossing,
    envelope,
    finding,
    inbox_of,
    record,
    refuses,
    step,
    world,
)

from faults.plan import Fault, Plan, parse_fault
from harness.check import Checker, read_of
from harness.history import History, Injection
from harness.oracles import Judged, Unjudged, Verdict, judge
from harness.oracles.supervision import supervised
from runtime.state import Decree
from scenarios import get


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


def test_a_loss_or_a_repair_that_no_fault_calls_for_is_named_here_and_in_the_twin() -> None:
    for kind in ("lost", "stale", "garbled", "repaired", "rewritten", "discarded"):
        made = world()
        made.trace.append(record(340, kind, 3, worker=11))
        refuses("I19", made, f"trace record {len(made.trace) - 1}: {kind} in tick 3, and no fault calls for it")
        refuses("I19", world(), f"twin's trace record {len(made.trace) - 1}: {kind}", twin=made.history())
        made.faults = (Fault(kind="worker.kill", at={"tick": 2, "worker": 0}),)
        assert finding("I19", made).verdict is Verdict.PASS
    made = world()
    made.trace.append(record(340, "stale", 3, worker=-1))  # a client that sends again what was seen
    assert finding("I19", made).verdict is Verdict.PASS


def test_more_blocks_than_may_wait_for_the_disk_are_named() -> None:
    made = world()
    ahead = next(i for i, r in enumerate(made.trace) if r.kind == "committed" and r.fields["block"] == 2)
    made.trace.insert(ahead, record(120, "durable", 1, block=1))
    last = len(made.trace) - 1
    made.trace[last] = replace(made.trace[last], fields={"block": 5})
    assert finding("I19", made).verdict is Verdict.PASS
    made.trace[last] = replace(made.trace[last], fields={"block": 6})
    refuses("I19", made, f"trace record {last}: block 6 is committed, 1 durable, 4 may be ahead")
    made.trace.insert(last, record(320, "recovered", 3, block=2, cut=0, folded=2))
    assert not any("may be ahead" in line for line in finding("I19", made).evidence)


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
    made.bodies[3]["events"][1] = ["lifecycle", 1, "backoff", "terminated"]
    made.mailboxes[2] = []
    made.seal()
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


def _decreed() -> World:
    """Agent 1's step in tick 2 is ended by decree, after four workers in slot 1 that had it alone."""
    made = world()
    made.bodies[2]["decrees"] = [{"agent": 1, "reason": "decree:lost_workers", "tick": 2}]
    made.step(3, 1).update(status="decree:lost_workers", effects=[])
    del made.guests[6]
    made.bodies[2]["events"] = [["failed", 1, "decree:lost_workers"], ["lifecycle", 1, "active", "backoff"]]
    made.bodies[3]["events"][1] = ["lifecycle", 1, "backoff", "terminated"]
    made.mailboxes[2] = []
    made.seal()
    made.deliver()
    for number in range(4):
        worker, at = 20 + number, 202 + 4 * number
        made.trace += [
            record(at, "spawned", 2, worker=worker, slot=1),
            record(at + 1, "sent", 2, worker=worker, lease=90 + number, orders=1),
            record(at + 3, "lost", 2, worker=worker, lease=90 + number, cause="exit"),
        ]
        made.guests.append(crossing(2, 1, worker=worker, at=at + 2, status="died"))
    return made


def _with_decrees(made: World) -> History:
    history = made.history()
    history.plan = replace(history.plan, decrees=(Decree(1, "decree:lost_workers", 2),))
    return history


def _unjustified(made: World) -> list[str]:
    return [line for line in judge(Judged(made.history()), ["I32"])["I32"].evidence if "by decree" in line]


def test_a_decree_after_as_many_lost_workers_as_it_needs_is_justified_and_one_after_fewer_is_named() -> None:
    assert _unjustified(_decreed()) == []
    made = _decreed()
    del made.trace[-1]
    assert _unjustified(made) == ["block 3: agent 1's step was ended by decree after 3 lost workers, not 4"]


@pytest.mark.parametrize(
    "changes",
    [{"orders": 2}, {"lease": 77}],
    ids=["it had other steps as well", "it is another lease"],
)
def test_a_worker_lost_with_other_work_justifies_no_decree(changes: dict[str, int]) -> None:
    made = _decreed()
    made.trace[-2] = replace(made.trace[-2], fields={**made.trace[-2].fields, **changes})
    assert _unjustified(made) == ["block 3: agent 1's step was ended by decree after 3 lost workers, not 4"]


def test_workers_lost_in_another_slot_with_another_step_or_to_another_incarnation_justify_no_decree() -> None:
    elsewhere, other, later = _decreed(), _decreed(), _decreed()
    elsewhere.trace[-3] = replace(elsewhere.trace[-3], fields={"worker": 23, "slot": 0})
    other.guests[-1] = replace(other.guests[-1], agent=3)
    later.trace[-3:] = [replace(each, incarnation=2) for each in later.trace[-3:]]
    for made in (elsewhere, other, later):
        assert _unjustified(made) == ["block 3: agent 1's step was ended by decree after 3 lost workers, not 4"]


def test_a_module_that_does_not_load_counts_as_a_worker_lost_to_its_step() -> None:
    made = _decreed()
    made.trace[-1] = record(217, "unable", 2, worker=23, agent=1)
    assert _unjustified(made) == []
    made.trace[-1] = record(217, "unable", 2, worker=23, agent=0)
    assert len(_unjustified(made)) == 1


def test_a_decree_that_the_plan_brings_needs_no_lost_worker() -> None:
    made = _decreed()
    made.trace = made.trace[:-12]
    assert len(_unjustified(made)) == 1
    assert not any("by decree" in line for line in judge(Judged(_with_decrees(made)), ["I32"])["I32"].evidence)


# --- supervision ------------------------------------------------------------------------------------------------------


def _configured(made: World, **options: int) -> World:
    made.bodies[0]["inputs"][0]["action"]["config"].update(options)
    return made


def _restarted() -> World:
    """Agent 1 fails in tick 2, restarts in tick 3 and ends in tick 4."""
    made = _configured(trapped(), backoff_ticks=1)
    again = [["lifecycle", 1, "backoff", "starting"], ["restart", 1, 1], ["lifecycle", 1, "starting", "active"]]
    middle = {**made.bodies[3], "events": again, "root": "", "steps": [step(1, 4, "init")]}
    made.bodies.insert(3, middle)
    made.bodies[4]["tick"] = 4
    made.bodies[4]["events"][1] = ["lifecycle", 1, "active", "terminated"]
    made.guests.append(crossing(3, 1, "init"))
    return made


def _supervised(made: World) -> list[str]:
    return supervised(Judged(made.history()))


def test_a_failed_agent_that_restarts_when_it_is_due_is_supervised_well() -> None:
    assert _supervised(_restarted()) == []
    assert _supervised(trapped()) == []
    assert finding("I32", _restarted(), baseline=world().history()).verdict is not Verdict.UNKNOWN


UNSUPERVISED: list[tuple[Callable[[World], object], str]] = [
    (lambda w: w.bodies[3]["events"].clear(), "block 4: agent 1 is due lifecycle 1 backoff starting, restart 1 1"),
    (lambda w: w.bodies[3]["events"].pop(1), "block 4: agent 1 is due"),
    (lambda w: w.bodies[3]["steps"].clear(), "block 4: agent 1 starts in tick 3 without an init step"),
    (lambda w: w.bodies[2]["events"].pop(0), "block 3: agent 1 is due failed 1 trap:injected"),
    (lambda w: w.bodies[3]["events"].append(["quarantined", 2]), "block 4: agent 2 is due nothing"),
    (lambda w: w.bodies[3]["events"].append(["quarantined", 9]), "event quarantined of agent 9, which does not exist"),
    (lambda w: w.bodies[3].update(tick=4), "block 4: agent 1 was to restart in tick 3, which has no block"),
    (lambda w: w.bodies[3]["steps"].append(step(2, 3, "init")), "agent 2 has an init step, and was not to start"),
    (lambda w: _configured(w, backoff_ticks=2), "block 4: agent 1 is due nothing; the journal has lifecycle 1 backoff"),
    (lambda w: _configured(w, max_restarts=0), "active quarantined, quarantined 1; the journal has failed 1"),
]


@pytest.mark.parametrize(("damage", "named"), UNSUPERVISED)
def test_a_restart_that_is_missing_early_late_or_too_many_is_named(
    damage: Callable[[World], object], named: str
) -> None:
    made = _restarted()
    damage(made)
    refuses("I32", made, named)


def test_a_quarantined_agent_takes_no_step_until_an_operator_releases_it() -> None:
    made = _configured(_restarted(), max_restarts=0)
    made.bodies[2]["events"][1:] = [["lifecycle", 1, "active", "quarantined"], ["quarantined", 1]]
    release = {"do": "operate", "agent": 1, "action": "release"}
    made.bodies[3]["inputs"] = [{"source": "operator", "n": 1, "tick": 3, "action": release}]
    made.bodies[3]["events"] = [["lifecycle", 1, "quarantined", "starting"], ["lifecycle", 1, "starting", "active"]]
    assert _supervised(made) == []
    made.bodies[3].update(inputs=[], events=[], steps=[step(1, 4)])
    assert _supervised(made) == ["block 4 step 0: agent 1 takes a step, and is not active"]


# --- replays and the invariant ----------------------------------------------------------------------------------------


def test_a_stop_that_no_fault_calls_for_is_named() -> None:
    made = world()
    made.failure = "watermark"
    refuses("replay", made, "stopped by check 'watermark'")


@pytest.mark.parametrize("first", [True, False])
def test_a_repeated_step_that_does_something_else_is_named(first: bool) -> None:
    made = world()
    inbox = inbox_of(made.guests[6])
    other = crossing(2, 1, inbox=inbox, calls=(call("send", 2, b"else"),))
    made.guests.insert(6 if first else 8, other)
    refuses("replay", made, f"guest event {7 if first else 8}: agent 1 did other in tick 2 than in guest event 6")


def test_a_run_that_died_on_its_way_is_no_difference() -> None:
    made = world()
    made.guests.insert(6, crossing(2, 1, inbox=inbox_of(made.guests[6]), status="died"))
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


def test_a_step_that_fails_by_itself_may_do_so_under_a_fault_that_would_fail_it_otherwise() -> None:
    scenario = get("edges")
    checker = Checker(scenario)
    plan = Plan(scenario="edges", seed=1, inputs=scenario.workload(1))
    statuses = read_of(checker.clean(plan).journal).statuses
    own = [place for place, status in statuses.items() if status == "bad_pointer"]
    assert own
    for tick, agent in own:
        misuse = parse_fault(f"agent.misuse@tick:{tick},agent:{agent},what=handle")
        assert "I32" not in checker.check(replace(plan, faults=(misuse,))).failed
