"""The invariants hold for runs as they should be, failing steps included, and each kind of damage breaks one."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import pytest
from straight import run

from runtime.frames import Output
from runtime.journal import Block, StepEntry
from runtime.state import REFUSED, Input, Operate, Send
from scenarios import SCENARIOS, Outcome, get
from scenarios.deliveries import Deliveries, envelope
from scenarios.folds import fnv1a, fold_words
from scenarios.strategies import draft_from_seed

NAMES = [*SCENARIOS, "edges"]


@cache
def straight(name: str) -> Outcome:
    return run(get(name))


def judge(name: str, **damaged: Any) -> list[str]:
    return get(name).invariant(straight(name)._replace(**damaged))


def outputs(name: str, change: Callable[[int, Output], Output | None]) -> list[Output]:
    """The run's outputs, each one changed, or left out where the change is None."""
    changed = [change(place, output) for place, output in enumerate(straight(name).outputs)]
    return [output for output in changed if output is not None]


def steps(name: str, change: Callable[[Block, StepEntry], StepEntry | None]) -> list[Block]:
    """The run's blocks with each step changed, or left out where the change is None."""
    blocks = []
    for block in straight(name).blocks:
        changed = (change(block, step) for step in block.steps)
        blocks.append(msgspec.structs.replace(block, steps=tuple(step for step in changed if step)))
    return blocks


def payload(output: Output, at: int, layout: str, change: int) -> Output:
    """The output with one number changed by so much."""
    data = bytearray(output.payload)
    (value,) = struct.unpack_from(layout, data, at)
    struct.pack_into(layout, data, at, value + change)
    return msgspec.structs.replace(output, payload=bytes(data))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_straight_run_keeps_the_invariant(name: str, seed: int) -> None:
    assert get(name).invariant(run(get(name), seed)) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", range(4))
def test_drawn_workloads_with_failing_steps_keep_the_invariant(name: str, n: int) -> None:
    scenario, draft = get(name), draft_from_seed(name, 11, n)
    last = scenario.config(draft.seed).last_tick
    failing = {(pick[1] % (last + 1), pick[2] % len(scenario.agents)) for pick in draft.picks}
    outcome = run(scenario, draft.seed, draft.inputs, failing)
    assert scenario.invariant(outcome) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_same_run_gives_the_same_journal(name: str) -> None:
    assert run(get(name)) == straight(name)


def test_an_account_that_fails_takes_its_balance_out_of_the_sum_on_record() -> None:
    ledger = get("ledger")
    outcome = run(ledger, failing={(20, agent) for agent in range(16)})
    failed = {step.agent for block in outcome.blocks for step in block.steps if step.status != "ok"}
    assert failed
    assert ledger.invariant(outcome) == []
    without = [msgspec.structs.replace(b, steps=tuple(s for s in b.steps if s.status == "ok")) for b in outcome.blocks]
    assert ledger.invariant(outcome._replace(blocks=without))


def test_quarantined_accounts_lose_what_is_sent_to_them_on_record() -> None:
    ledger = get("ledger")
    outcome = run(ledger, failing={(tick, 3) for tick in range(1, 60)})
    events = [event for block in outcome.blocks for event in block.events]
    assert ("quarantined", 3) in events
    assert any(event[0] == "dropped" and event[2] == 3 for event in events)
    assert ledger.invariant(outcome) == []


def test_paused_and_terminated_accounts_keep_their_money_in_the_sum() -> None:
    ledger = get("ledger")
    actions = [Operate("pause", 3), Operate("terminate", 5), Operate("pause", 7), Operate("resume", 7)]
    operator = [Input(action, n, "operator", 20 + 5 * n) for n, action in enumerate(actions, 1)]
    outcome = run(ledger, inputs=[*ledger.workload(1), *operator])
    reported = {output.agent for output in outcome.outputs if output.payload[0] == 1}
    assert reported == set(range(16)) - {3, 5}
    assert any(outcome.mailboxes)
    assert ledger.invariant(outcome) == []


# --- damage on the client's side --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_single_lost_output_that_reports_is_noticed(name: str) -> None:
    reports = [place for place, o in enumerate(straight(name).outputs) if name != "ledger" or o.payload[0] == 1]
    for lost in reports[:: max(1, len(reports) // 10)]:
        assert judge(name, outputs=outputs(name, lambda place, o, lost=lost: None if place == lost else o))


@pytest.mark.parametrize("name", NAMES)
def test_a_repeated_report_is_noticed(name: str) -> None:
    assert judge(name, outputs=[*straight(name).outputs, straight(name).outputs[-1]])


@pytest.mark.parametrize("name", NAMES)
def test_an_output_of_a_foreign_shape_is_noticed(name: str) -> None:
    assert judge(name, outputs=[*straight(name).outputs, Output(3, 0, 0, 3, b"\7\0\0\0")])


@pytest.mark.parametrize("name", NAMES)
def test_a_single_altered_byte_in_a_report_is_noticed(name: str) -> None:
    last = straight(name).outputs[-1]
    padding = range(20, 24) if name == "frames" else ()
    for at in (at for at in range(len(last.payload)) if at not in padding):
        damaged = payload(last, at, "B", 1 if last.payload[at] < 255 else -1)
        assert judge(name, outputs=[*straight(name).outputs[:-1], damaged]), at


def test_an_answer_to_a_task_that_nobody_asked_is_noticed() -> None:
    answers = outputs("hello", lambda place, output: payload(output, 0, "<I", 100) if place == 0 else output)
    violations = judge("hello", outputs=answers)
    assert "task 100: answered, but never asked" in violations
    assert any(v.startswith("task 0, ") and v.endswith("no answer, and no step failed") for v in violations)


def test_a_rejection_that_the_balance_did_not_justify_is_noticed() -> None:
    def justify(place: int, output: Output) -> Output:
        return payload(output, 16, "<q", 10_000) if output.payload[0] == 2 else output

    assert "rejected with balance" in judge("ledger", outputs=outputs("ledger", justify))[0]


def test_money_made_from_nothing_is_noticed_by_the_sum() -> None:
    def enrich(place: int, output: Output) -> Output:
        return payload(output, 8, "<q", 1) if output.payload[0] == 1 and output.agent == 5 else output

    violations = judge("ledger", outputs=outputs("ledger", enrich))
    assert violations[0].startswith("agent 5: reports balance ")
    assert violations[1].startswith("money: ")


def test_a_balance_below_zero_is_noticed() -> None:
    def ruin(place: int, output: Output) -> Output:
        return payload(output, 8, "<q", -5000) if output.payload[0] == 1 and output.agent == 5 else output

    assert any(v.startswith("agent 5: ends with balance -") for v in judge("ledger", outputs=outputs("ledger", ruin)))


# --- damage on the journal's side -------------------------------------------------------------------------------------


def test_a_message_consumed_twice_or_left_out_is_noticed() -> None:
    place = next(
        (block.tick, step.agent) for block in straight("ledger").blocks for step in block.steps if len(step.inbox) > 1
    )

    def twice(block: Block, step: StepEntry) -> StepEntry:
        hit = (block.tick, step.agent) == place
        return msgspec.structs.replace(step, inbox=(step.inbox[0], *step.inbox)) if hit else step

    def never(block: Block, step: StepEntry) -> StepEntry:
        hit = (block.tick, step.agent) == place
        return msgspec.structs.replace(step, inbox=step.inbox[1:]) if hit else step

    assert any("consumed message" in violation for violation in judge("ledger", blocks=steps("ledger", twice)))
    assert any("consumed message" in violation for violation in judge("ledger", blocks=steps("ledger", never)))


def test_an_effect_applied_twice_is_noticed() -> None:
    def twice(block: Block, step: StepEntry) -> StepEntry:
        return msgspec.structs.replace(step, effects=step.effects * 2) if block.tick == 30 else step

    assert judge("ledger", blocks=steps("ledger", twice))


def test_a_failed_step_with_effects_is_noticed() -> None:
    place = next(
        (block.tick, step.agent) for block in straight("ledger").blocks for step in block.steps if step.effects
    )

    def fail(block: Block, step: StepEntry) -> StepEntry:
        return msgspec.structs.replace(step, status="trap") if (block.tick, step.agent) == place else step

    assert any("a failed step has effects" in violation for violation in judge("ledger", blocks=steps("ledger", fail)))


def test_a_mailbox_that_lost_or_gained_a_message_is_noticed() -> None:
    ledger = get("ledger")
    late = [Input(Send(4, struct.pack("<IIq", 1, 0, 77)), 1, "late", 110)]
    outcome = run(ledger, inputs=late)
    assert [len(mailbox) for mailbox in outcome.mailboxes] == [0, 0, 0, 0, 1] + [0] * 11
    assert ledger.invariant(outcome) == []
    violations = ledger.invariant(outcome._replace(mailboxes=[[] for _ in range(16)]))
    assert violations == [
        "agent 4: 0 messages in its mailbox at the end, 1 by the journal",
        "money: 0 held + 0 in flight + 0 lost = 0, but 77 minted",
    ]


def test_one_flipped_bit_in_a_journaled_frame_is_noticed_by_the_reader_that_folded_it() -> None:
    blobs = dict(straight("frames").blobs)
    name = next(iter(blobs))
    blobs[name] = blobs[name][:-1] + bytes([blobs[name][-1] ^ 1])
    violations = judge("frames", blobs=blobs)
    assert violations and all("its fold differs" in violation for violation in violations)


def test_a_frame_with_another_time_than_its_ticks_is_noticed() -> None:
    blobs = {name: data[:8] + bytes([data[8] ^ 1]) + data[9:] for name, data in straight("frames").blobs.items()}
    assert any("the producer's time was 17000000000" in violation for violation in judge("frames", blobs=blobs))


def test_a_stale_version_and_one_from_the_future_are_noticed() -> None:
    def earlier(place: int, output: Output) -> Output:
        return payload(output, 24 + 8 * 3, "<I", -1) if output.payload[0] == 1 and output.agent == 3 else output

    def future(place: int, output: Output) -> Output:
        return payload(output, 24 + 8 * 3, "<I", 1) if output.payload[0] == 1 and output.agent == 3 else output

    assert any("a newer one was published" in v for v in judge("frames", outputs=outputs("frames", earlier)))
    assert any("before it was visible" in v for v in judge("frames", outputs=outputs("frames", future)))


def test_a_read_that_the_reader_does_not_report_is_noticed() -> None:
    def blind(block: Block, step: StepEntry) -> StepEntry:
        return msgspec.structs.replace(step, views=()) if step.agent == 2 and block.tick == 40 else step

    assert judge("frames", blocks=steps("frames", blind)) == ["reader 2: folded 39 versions, was given 38"]


def test_a_frame_of_another_tick_is_noticed() -> None:
    blocks = [msgspec.structs.replace(b, tick=b.tick + (b.tick > 70)) for b in straight("frames").blocks]
    assert any("a frame of another tick" in violation for violation in judge("frames", blocks=blocks))


def test_a_bad_step_that_passed_is_noticed() -> None:
    def forgive(block: Block, step: StepEntry) -> StepEntry:
        return msgspec.structs.replace(step, status="ok") if step.status == "bad_pointer" else step

    assert any("a bad step passed" in violation for violation in judge("edges", blocks=steps("edges", forgive)))


# --- what the edges do ------------------------------------------------------------------------------------------------


def test_the_edges_fail_as_they_should_and_nothing_of_a_failed_step_arrives() -> None:
    outcome = straight("edges")
    failed = [(b.tick, s.agent, s.status) for b in outcome.blocks for s in b.steps if s.status != "ok"]
    assert [(tick, agent, status.split(":")[0]) for tick, agent, status in failed] == [
        (8, 2, "bad_pointer"),
        (10, 4, "trap"),
        (13, 3, "agent_error"),
    ]
    sunk = [struct.unpack("<IIQQ", o.payload)[1:] for o in outcome.outputs if o.agent == 0]
    assert sunk == [(1, 3 + 4 + 2, sum(range(1, 8)) + 24 + 25), (2, 2, 14), (3, 3, 3 + 3 + 5), (4, 2, 22)]


def test_what_a_full_mailbox_refused_comes_back_whole_and_in_order() -> None:
    deliveries = Deliveries(straight("edges"))
    back = [m for step in deliveries.of(1) for m in step.inbox if m.kind == REFUSED]
    assert [int.from_bytes(m.payload, "little") for m in back] == list(range(8, 24))
    assert {(m.sender, m.channel) for m in back} == {(0, 4)}


@pytest.mark.parametrize("seed", range(4))
def test_the_ledger_is_busy_in_every_tick_of_its_orders_and_all_accounts_act_in_the_rush(seed: int) -> None:
    outcome = run(get("ledger"), seed)
    busy = {block.tick for block in outcome.blocks if any(step.effects for step in block.steps)}
    assert set(range(2, 101)) <= busy
    (rush,) = (block for block in outcome.blocks if block.tick == 41)
    assert {step.agent for step in rush.steps if len(step.effects) >= 2} == set(range(16))


def test_the_ledgers_rush_overflows_a_mailbox_in_every_default_run() -> None:
    refused = [e for block in straight("ledger").blocks for e in block.events if e[0] == "refused"]
    assert len(refused) >= 10


def test_every_group_of_host_functions_is_used_by_the_default_scenarios() -> None:
    groups = {c for scenario in SCENARIOS.values() for spec in scenario.agents for c in spec.capabilities}
    assert groups == {"messages", "topics", "timers", "buffers", "output", "time", "random", "inference"}


# --- the hashes -------------------------------------------------------------------------------------------------------


def test_fnv1a_gives_the_published_values() -> None:
    assert fnv1a(b"") == 0xCBF29CE484222325
    assert fnv1a(b"a") == 0xAF63DC4C8601EC8C
    assert fnv1a(b"foobar") == 0x85944171F73967E8


def test_the_fold_of_words_pads_the_last_one_and_sees_every_bit() -> None:
    data = bytes(range(20))
    assert fold_words(data) == fold_words(data + bytes(4))
    whole = int.from_bytes(data, "little")
    flipped = {(whole ^ 1 << a ^ 1 << b).to_bytes(20, "little") for a in range(160) for b in range(a, 160, 7)}
    assert len({fold_words(changed) for changed in flipped}) == len(flipped) > 1_700


def test_an_envelope_is_a_24_byte_header_and_the_payload() -> None:
    message = next(m for step in Deliveries(straight("hello")).of(0) for m in step.inbox)
    assert envelope(message)[:24] == struct.pack("<IIQII", 3, 0xFFFFFFFF, message.seq, 0, len(message.payload))
    assert envelope(message)[24:] == message.payload
