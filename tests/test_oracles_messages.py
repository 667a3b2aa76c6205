"""Oracles over messages and shared buffers: a good history passes, damage to either record is named."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace
from oracles_kit import (
    BUFFER,
    CLIENT,
    FILL,
    GO,
    INPUT,
    LEFT,
    LONG,
    MESSAGE,
    NEWS,
    ONE,
    REFUSED,
    TOPIC,
    TWO,
    WAKE,
    b64,
    call,
    crossing,
    envelope,
    finding,
    record,
    refuses,
    world,
)

from harness.history import Crash, StoreEvent
from harness.oracles import Judged, Verdict, judge
from runtime.state import INFERENCE, Input, Message, Send

ORACLES = ("I8", "I9", "I11", "I14", "I15", "I34")
FIRST = envelope(MESSAGE, 0, ONE, 0, b"one")
SECOND = envelope(MESSAGE, 0, TWO, 0, LONG)
AWAKE = envelope(WAKE, CLIENT, 0, 0, b"")
TOLD = envelope(TOPIC, 0, NEWS, 0, b"news")
FRAME = envelope(BUFFER, 0, 1, 0, LONG)


@pytest.mark.parametrize("oracle", ORACLES)
def test_a_good_history_passes(oracle: str) -> None:
    found = finding(oracle, world())
    assert (found.verdict, found.evidence) == (Verdict.PASS, ())


@pytest.mark.parametrize("oracle", ORACLES)
def test_without_a_guest_log_or_a_trace_nothing_is_judged(oracle: str) -> None:
    made = world()
    made.guests, made.trace = [], []
    assert finding(oracle, made).verdict is Verdict.UNKNOWN


# --- exactly once -----------------------------------------------------------------------------------------------------


def test_an_input_in_two_blocks_is_named() -> None:
    made = world()
    made.bodies[2]["inputs"] = [made.bodies[1]["inputs"][0]]
    refuses("I8", made, "block 3 input 0: bank/2 is admitted again")


def test_an_input_that_nobody_sent_is_named() -> None:
    made = world()
    made.sent = made.sent[:1]
    refuses("I8", made, "block 2 input 0: bank/2 was never sent")


def test_an_acknowledged_input_that_no_block_admits_is_named() -> None:
    made = world()
    made.sent.insert(1, Input(Send(0, b"lost"), 2, "bank", 1))
    made.sent[2] = Input(made.sent[2].action, 3, "bank", 1)
    made.bodies[1]["inputs"][0]["n"] = 3
    made.deliver()
    refuses("I8", made, "input bank/2 was sent and bank/3 acknowledged")


def test_an_effect_applied_twice_shows_against_the_calls_made() -> None:
    made = world()
    effects = made.step(3, 1)["effects"]
    effects.append(effects[0])
    refuses("I8", made, "block 3 step 1: 2 effects, guest event 6 made 1 calls")


def test_an_effect_applied_twice_without_record_shows_in_the_numbers() -> None:
    made = world()
    made.step(3, 2)["seq"] += 1
    refuses("I8", made, f"block 3 step 2: its numbers begin at {(3 << 32) + 2}")


def test_a_number_consumed_twice_is_named() -> None:
    made = world()
    made.step(3, 1)["inbox"] = [ONE, ONE, TWO, 0]
    made.guest(2, 1, inbox=(FIRST, FIRST, SECOND, AWAKE))
    refuses("I8", made, f"number {ONE} (guest event 3 call 0) was consumed 2 times by agent 1")


def test_a_message_given_to_the_module_again_shows_against_the_journal() -> None:
    made = world()
    made.guest(2, 1, inbox=(FIRST, FIRST, SECOND, AWAKE))
    refuses("I8", made, f"block 3 step 1: consumed [{ONE}, {TWO}, 0], guest event 6 got [{ONE}, {ONE}, {TWO}, 0]")


def test_a_number_given_to_nothing_is_named() -> None:
    made = world()
    made.step(3, 1)["inbox"] = [ONE, 99, 0]
    refuses("I8", made, "block 3 step 1: consumed number 99")


def test_a_call_that_had_no_effect_is_named() -> None:
    made = world()
    made.guest(2, 1, calls=(call("send", 2, b"left"), call("send", 0, b"gone")))
    refuses("I8", made, "block 3 step 1: 1 effects, guest event 6 made 2 calls")


def test_a_committed_step_that_never_ran_is_named() -> None:
    made = world()
    del made.guests[7]
    refuses("I8", made, "block 3 step 2: no crossing of agent 2 in tick 2")


def test_a_step_that_a_decree_ended_before_it_ran_is_no_loss() -> None:
    made = world()
    del made.guests[7]
    made.step(3, 2)["status"] = "decree:lost_workers"
    made.bodies[2]["decrees"] = [{"agent": 2, "reason": "decree:lost_workers", "tick": 2}]
    for oracle in ("I8", "I9", "I11", "I34"):
        assert finding(oracle, made).verdict is Verdict.PASS


# --- order ------------------------------------------------------------------------------------------------------------


def test_messages_that_changed_places_are_named() -> None:
    made = world()
    made.guest(2, 1, inbox=(SECOND, FIRST, AWAKE))
    refuses("I9", made, f"guest event 6: agent 1 got number {ONE} of sender 0 (direct 0) after {TWO}")


def test_a_gap_without_a_record_is_named_and_with_one_is_not() -> None:
    made = world()
    made.guest(2, 1, inbox=(SECOND, AWAKE))
    refuses("I9", made, f"number {ONE} (guest event 3 call 0) never reached agent 1, which got {TWO} after it")
    made.bodies[1]["events"].append(["dropped", ONE, 1])
    assert finding("I9", made).verdict is Verdict.PASS


def test_a_message_that_its_sender_sent_to_another_is_named() -> None:
    made = world()
    calls = made.guests[3].calls
    made.guest(1, 0, calls=(call("send", 2, b"one"), *calls[1:]))
    refuses("I9", made, f"agent 1 got number {ONE} of sender 0 (direct 0) which guest event 3 call 0 sent to [2]")


# --- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tick", "agent", "inbox", "named"),
    [
        (1, 0, (envelope(INPUT, CLIENT, GO, 0, b"no"),), "guest event 3 message 0: number 1"),
        (2, 1, (envelope(MESSAGE, 0, ONE, 0, b"One"), SECOND, AWAKE), f"guest event 6 message 0: number {ONE}"),
        (2, 1, (envelope(MESSAGE, 2, ONE, 0, b"one"), SECOND, AWAKE), f"guest event 6 message 0: number {ONE}"),
        (2, 2, (envelope(TOPIC, 0, NEWS, 0, b"old"), FRAME), f"guest event 7 message 0: number {NEWS}"),
        (2, 0, (envelope(REFUSED, 2, FILL, 4, b"fill"),), f"guest event 5 message 0: number {FILL}"),
        (1, 1, (envelope(WAKE, CLIENT, 0, 0, b"tusk"),), "guest event 4 message 0: a wake"),
        (2, 1, (FIRST[:-1],), "guest event 6 message 0: 26 bytes that are no envelope"),
    ],
)
def test_altered_bytes_at_the_receiver_are_named(tick: int, agent: int, inbox: tuple[bytes, ...], named: str) -> None:
    made = world()
    made.guest(tick, agent, inbox=inbox)
    refuses("I11", made, named)


def test_other_bytes_at_the_sender_are_named() -> None:
    made = world()
    calls = made.guests[3].calls
    made.guest(1, 0, calls=(call("send", 1, b"ONE"), *calls[1:]))
    refuses("I11", made, f"guest event 6 message 0: number {ONE} of 0, 3 B 6f6e65; guest event 3 call 0")


def test_other_bytes_at_the_client_are_named() -> None:
    made = world()
    made.sent[0] = Input(Send(0, b"stop"), 1, "bank", 0)
    refuses("I11", made, "input bank/1")


def test_a_journaled_effect_with_other_bytes_is_named() -> None:
    made = world()
    made.step(2, 0)["effects"][1][2] = b64(LONG[:-1] + b"?")
    refuses("I11", made, "block 2 step 0 effect 1: not the bytes that guest event 3 call 1 passed")


def test_a_repeated_run_that_was_fed_something_else_is_named() -> None:
    made = world()
    made.guests.append(crossing(2, 1, status="died", inbox=(FIRST, AWAKE), calls=()))
    refuses("I11", made, "guest event 8: was fed another inbox than guest event 6 before it died")


# --- shared buffers ---------------------------------------------------------------------------------------------------


def test_a_store_by_a_reaped_worker_is_named() -> None:
    made = world()
    made.trace.append(record(105, "lost", 1, worker=11, lease=3, cause="lease"))
    refuses("I14", made, "store 0 (segment 0) by worker 11: it was reaped before")


def test_two_live_writers_of_one_segment_are_named() -> None:
    made = world()
    made.stores.append(StoreEvent(112, 12, 0, 0, 32))
    refuses("I14", made, "store 3 (segment 0) by worker 12: worker 11, which stored there before, is alive")


def test_a_writer_that_follows_a_reaped_one_is_fine() -> None:
    made = world()
    made.trace.append(record(111, "lost", 1, worker=11, lease=3, cause="exit"))
    made.deaths[11] = 111
    made.stores.append(StoreEvent(112, 12, 0, 0, 32))
    assert finding("I14", made).verdict is Verdict.PASS


def test_a_worker_that_answers_and_is_sent_more_in_one_moment_holds_its_new_lease() -> None:
    made = world()
    made.trace.append(record(120, "sent", 2, worker=12, lease=9, orders=1))
    made.stores.append(StoreEvent(130, 12, 0, 0, 32))
    made.deaths[11] = 125
    assert finding("I14", made).verdict is Verdict.PASS


def test_a_segment_taken_over_from_a_worker_that_lives_is_named_whatever_the_trace_says() -> None:
    made = world()
    made.trace.append(record(111, "lost", 1, worker=11, lease=3, cause="lease"))
    made.trace.append(record(112, "sent", 2, worker=12, lease=9, orders=1))
    made.stores.append(StoreEvent(130, 12, 0, 0, 32))
    refuses("I14", made, "store 3: segment 0 at worker 12, while worker 11 that had it lives")
    made.deaths[11] = 131
    refuses("I14", made, "store 3: segment 0 at worker 12, while worker 11 that had it lives")


def test_an_agent_at_two_workers_that_live_is_named() -> None:
    made = world()
    at = next(i for i, g in enumerate(made.guests) if g.agent == made.guests[-1].agent)
    made.guests[at] = replace(made.guests[at], worker=99)
    refuses("I14", made, "while worker 99 that had it lives")


def test_an_incarnation_with_an_old_number_is_named() -> None:
    made = world()
    made.trace += [record(300, "started", 2, block=2), record(301, "started", 2, block=2)]
    refuses("I14", made, "started after incarnation")


def test_a_late_store_over_a_newer_writers_is_named() -> None:
    made = world()
    made.stores += [StoreEvent(125, 12, 0, 0, 32), StoreEvent(202, 12, 0, 0, 32), StoreEvent(290, 11, 0, 0, 32)]
    refuses("I14", made, "store 5 (segment 0) by worker 11: it holds no lease")


def test_workers_of_a_dead_orchestrator_store_nothing() -> None:
    made = world()
    made.crashes.append(Crash(108, 1, 1, "await", b"", b""))
    refuses("I14", made, "store 0 (segment 0) by worker 11")


def test_a_published_version_without_any_store_is_named() -> None:
    made = world()
    made.stores = []
    refuses("I14", made, "block 2 event 1: version 1 was published; the store log is empty")


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (envelope(BUFFER, 0, 1, 0, LONG[:-1] + b"\0"), "guest event 7: version 1 of buffer 0 is not the 512 B"),
        (envelope(BUFFER, 0, 2, 0, LONG), "guest event 7: got version 2 of buffer 0, which was never published"),
    ],
)
def test_a_torn_or_stale_read_is_named(frame: bytes, named: str) -> None:
    made = world()
    made.guest(2, 2, inbox=(TOLD, frame))
    refuses("I15", made, named)


def test_a_torn_read_in_a_run_that_died_is_named() -> None:
    made = world()
    torn = envelope(BUFFER, 0, 1, 0, bytes(512))
    made.guests.insert(7, crossing(2, 2, status="died", inbox=(TOLD, torn)))
    refuses("I15", made, "guest event 7: version 1 of buffer 0 is not the 512 B")


def test_other_bytes_at_the_writer_are_named() -> None:
    made = world()
    calls = made.guests[3].calls
    made.guest(1, 0, calls=(*calls[:4], call("buffer", 0, bytes(512)), calls[5]))
    refuses("I15", made, "guest event 7: version 1 of buffer 0")


def test_a_read_that_the_journal_does_not_know_is_named() -> None:
    made = world()
    made.step(3, 2)["views"] = []
    refuses("I15", made, "block 3 step 2: reads ()")


# --- conservation -----------------------------------------------------------------------------------------------------


def test_a_message_that_vanished_from_the_end_is_named() -> None:
    made = world()
    made.mailboxes[2] = []
    refuses("I34", made, "at the end 1 copies of direct 0 are unaccounted for, 0 lie in mailboxes")


def test_a_message_that_appeared_at_the_end_is_named() -> None:
    made = world()
    made.mailboxes[0] = [Message(LEFT + 1, TOPIC, 1, 0, b"from nowhere")]
    refuses("I34", made, "at the end 0 copies of topic 0 are unaccounted for, 1 lie")


def test_a_copy_that_arrives_without_being_sent_is_named_with_its_tick() -> None:
    made = world()
    made.guest(1, 1, inbox=(envelope(TOPIC, 0, NEWS, 0, b"news"),))
    refuses("I34", made, "tick 1: 1 more copies of topic 0 arrived than were sent")


def test_a_refusal_that_never_came_back_is_named() -> None:
    made = world()
    made.guest(2, 0, inbox=())
    refuses("I34", made, "at the end 1 copies of refusal 0")
    made.mailboxes[0] = [Message(FILL, REFUSED, 2, 4, b"full")]
    made.seal()
    assert finding("I34", made).verdict is Verdict.PASS


def test_a_refusal_that_the_journal_does_not_record_is_named() -> None:
    made = world()
    del made.bodies[1]["events"][0]
    refuses("I34", made, "at the end 2 copies of direct 0 are unaccounted for, 1 lie in mailboxes")


def name_of(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()[:16]


def test_mail_that_was_dropped_unread_is_accounted_for_and_only_once() -> None:
    made = world()
    made.mailboxes[2] = []
    made.seal()
    made.bodies[3]["events"].append(["dropped", LEFT, 2])
    for oracle in ("I8", "I9", "I11", "I34"):
        assert finding(oracle, made).verdict is Verdict.PASS
    made.bodies[3]["events"].append(["dropped", LEFT, 2])
    refuses("I8", made, f"dropped number {LEFT} for agent 2, which has no copy of it")


def test_a_refusal_that_was_dropped_unread_is_accounted_for_and_nothing_else_is() -> None:
    made = world()
    made.guest(2, 0, inbox=())
    made.step(3, 0)["inbox"] = []
    made.bodies[3]["events"].append(["dropped_refusal", FILL, 0])
    for oracle in ("I8", "I9", "I11", "I34"):
        assert finding(oracle, made).verdict is Verdict.PASS
    made.bodies[3]["events"].append(["dropped_refusal", FILL, 0])
    refuses("I8", made, f"agent 0 is owed no refusal of {FILL}")


def test_a_final_state_that_is_not_the_one_of_the_last_root_is_named() -> None:
    made = world()
    made.bodies[3]["root"] = "ab" * 32
    refuses("I34", made, "block 4: its root is abababababababab, the final state's digest")
    made = world()
    made.mailboxes[2][0] = Message(LEFT, MESSAGE, 1, 0, b"felt")
    refuses("I34", made, "the final state's digest")


def test_a_mailbox_beyond_its_bound_or_its_reserved_room_is_named() -> None:
    made = world()
    made.mailboxes[2] += [Message(LEFT + n, MESSAGE, 1, 0, b"more") for n in range(1, 9)]
    refuses("I34", made, "agent 2's mailbox in the final state holds 9 messages, 8 is the most")
    made = world()
    made.mailboxes[0] = [Message(FILL, REFUSED, 2, 4, b"full")] * 65
    refuses("I34", made, "agent 0's mailbox in the final state holds 65 refusals, 64 is the most")
    made.mailboxes[0] = [Message(FILL, INFERENCE, CLIENT, 0, b"")]
    refuses("I34", made, "agent 0's mailbox in the final state holds 1 results, 0 is the most")


def test_refusals_and_a_wake_in_reserved_room_do_not_count_against_the_bound() -> None:
    made = world()
    made.mailboxes[2] += [Message(0, WAKE, CLIENT, 0, b""), Message(FILL, REFUSED, 2, 4, b"full")]
    made.mailboxes[2] += [Message(LEFT + n, MESSAGE, 1, 0, b"more") for n in range(1, 8)]
    assert not any("is the most" in line for line in finding("I34", made).evidence)


def test_a_refusal_that_was_read_and_then_dropped_is_named() -> None:
    made = world()
    made.bodies[3]["events"].append(["dropped_refusal", FILL, 0])
    refuses("I8", made, f"agent 0 consumed number {FILL}")
    refuses("I34", made, "1 more copies of refusal 0 arrived than were sent")


@pytest.mark.parametrize("op", ["refused_task", "dropped_wake"])
def test_a_task_that_nobody_scheduled_is_not_refused_or_dropped(op: str) -> None:
    made = world()
    made.bodies[3]["events"].append([op, 1, name_of(b"another")])
    refuses("I8", made, f"{op} {name_of(b'another')}, no task of agent 1")


@pytest.mark.parametrize("op", ["refused_task", "dropped_wake"])
def test_a_task_that_came_and_was_refused_or_dropped_as_well_is_named(op: str) -> None:
    made = world()
    made.bodies[3]["events"].append([op, 1, name_of(b"task")])
    refuses("I34", made, "1 more copies of task 0 arrived than were sent")
    refuses("I11", made, "a wake that agent 1 was never due")


def test_an_own_wake_that_was_dropped_is_nothing_that_was_sent() -> None:
    made = world()
    made.bodies[3]["events"].append(["dropped_wake", 1, name_of(b"")])
    assert finding("I8", made).verdict is finding("I34", made).verdict is Verdict.PASS


def test_a_plan_without_inputs_needs_no_clients_ledger_and_one_with_inputs_does() -> None:
    made = world()
    history = made.history()
    history.sent = []
    assert judge(Judged(history), ["I8"])["I8"].verdict is Verdict.UNKNOWN
    history.plan = replace(history.plan, inputs=())
    assert judge(Judged(history), ["I8"])["I8"].verdict is Verdict.FAIL  # the journal admits what nobody sent
    made.bodies = made.bodies[:1]
    made.bodies[0]["inputs"].pop()
    history.journal = made.history().journal
    assert judge(Judged(history), ["I8"])["I8"].verdict is Verdict.PASS
