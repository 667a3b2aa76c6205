"""The assistants: what their conversations contain in every default run, and that each kind of damage is noticed."""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from functools import cache

import msgspec
import pytest
from straight import run

from runtime.journal import BlobRef, Block, InferenceEntry
from runtime.state import E_FULL, E_SIZE, REFUSED, Input, Operate
from scenarios import Outcome, get
from scenarios.assistants import NUDGE, PROMPT, UTTERANCE
from scenarios.deliveries import Deliveries
from scenarios.models import SMALL

SEEDS = range(1, 7)


@cache
def played(seed: int = 1) -> Outcome:
    return run(get("assistants"), seed)


def judge(blocks: list[Block]) -> list[str]:
    return get("assistants").invariant(played()._replace(blocks=blocks))


def inferences(change: dict[str, object], place: int = 60) -> list[Block]:
    """The journal with the answer of this number changed."""
    counted, blocks = 0, []
    for block in played().blocks:
        entries = []
        for entry in block.inferences:
            entries.append(msgspec.structs.replace(entry, **change) if counted == place else entry)
            counted += 1
        blocks.append(msgspec.structs.replace(block, inferences=tuple(entries)))
    return blocks


def answer(place: int = 60) -> InferenceEntry:
    return [entry for block in played().blocks for entry in block.inferences][place]


def prompt(tokens: bytes, conversation: int = 0, hops: int = 0) -> bytes:
    return struct.pack("<III", PROMPT, conversation, hops) + tokens


# --- what every default run contains ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_sessions_outgrow_the_context_with_a_prompt_and_in_mid_utterance(seed: int) -> None:
    refused = [message for step in Deliveries(played(seed)).steps for message in step.inbox if message.kind == REFUSED]
    lengths = {len(message.payload) // 4 - 1 for message in refused if message.channel == E_SIZE}
    assert 1 in lengths and max(lengths) >= UTTERANCE
    assert sum(message.channel == E_FULL for message in refused) >= 3
    assert {message.sender for message in refused} == {0xFFFFFFFF}


@pytest.mark.parametrize("seed", SEEDS)
def test_requests_of_four_agents_share_a_shape_and_other_ticks_have_several_shapes(seed: int) -> None:
    shapes: dict[int, Counter[tuple[int, int]]] = defaultdict(Counter)
    for turn in Deliveries(played(seed)).inference.turns:
        shapes[turn.tick][len(turn.asked.tokens), turn.asked.position] += 1
    sizes = Counter(size for tick in shapes.values() for size in tick.values())
    assert sizes[4] >= UTTERANCE and sizes[2] >= UTTERANCE
    assert sum(len(tick) > 1 for tick in shapes.values()) >= 10


@pytest.mark.parametrize("seed", SEEDS)
def test_every_agent_speaks_and_begins_anew_and_what_is_said_varies(seed: int) -> None:
    outcome = played(seed)
    said = [output.payload for output in outcome.outputs if output.payload[0] == 1]
    assert len(said) >= 20
    assert {payload[4] for payload in said} == {0, 1, 2, 3}
    assert len({payload[24:] for payload in said}) > len(said) // 2
    begun = Counter(t.asked.agent for t in Deliveries(outcome).inference.turns if not t.asked.position)
    assert min(begun[agent] for agent in range(4)) >= 2


def test_the_run_is_short_and_its_state_small() -> None:
    blocks = played().blocks
    assert 60 <= len(blocks) <= 100
    turns = Deliveries(played()).inference.turns
    assert len(turns) > 100
    assert {len(turn.kv) for turn in turns} >= {SMALL.kv_bytes, UTTERANCE * SMALL.kv_bytes}


# --- what the agents do with what they are given ----------------------------------------------------------------------


def assistants_given(*orders: tuple[int, ...]) -> Outcome:
    scenario = get("assistants")
    outcome = run(scenario, 1, scenario.inputs(1, orders))
    assert scenario.invariant(outcome) == []
    return outcome


def final(outcome: Outcome, agent: int) -> tuple[int, ...]:
    """Utterances, refused for length, refused as busy, lost."""
    (payload,) = [o.payload for o in outcome.outputs if o.payload[0] == 2 and o.agent == agent]
    return struct.unpack_from("<IIII", payload, 8)


def test_a_conversation_goes_round_until_its_hops_are_used_up() -> None:
    outcome = assistants_given((3, 1, 5, 5, 0))
    assert [(o.agent, o.payload[12]) for o in outcome.outputs if o.payload[0] == 1] == [
        (1, 5),
        (2, 4),
        (3, 3),
        (0, 2),
        (1, 1),
        (2, 0),
    ]


def test_more_than_the_queue_holds_is_lost_and_counted() -> None:
    outcome = assistants_given(*((5, 2, 3, 0, key) for key in range(12)))
    assert final(outcome, 2) == (7, 0, 0, 4)  # eight wait, of which one begins at once; no more fit into the run


def test_a_nudge_of_an_idle_agent_does_nothing_and_one_of_a_busy_agent_is_refused() -> None:
    outcome = assistants_given((2, 0, 0, 0, 0), (4, 1, 5, 0, 0), (5, 1, 0, 0, 1), (6, 1, 0, 0, 2))
    assert final(outcome, 0) == (0, 0, 0, 0)
    assert final(outcome, 1) == (1, 0, 2, 0)
    assert NUDGE == 2


def test_a_new_life_begins_without_a_session_and_what_was_asked_before_is_dropped() -> None:
    scenario = get("assistants")
    for tick in range(2, 20):
        outcome = run(scenario, 1, failing={(tick, agent) for agent in range(4)})
        assert scenario.invariant(outcome) == [], tick
    steps = Deliveries(played()).steps
    busy = next((s.tick, s.agent) for s in steps if any(m.kind == REFUSED and m.channel == E_FULL for m in s.inbox))
    outcome = run(scenario, 1, failing={busy})
    assert scenario.invariant(outcome) == []
    dropped = [(b.tick, e[2]) for b in outcome.blocks for e in b.events if e[0] == "dropped_result"]
    assert dropped == [busy]


def test_paused_and_terminated_agents_keep_the_invariant() -> None:
    scenario = get("assistants")
    actions = [Operate("terminate", 1), Operate("pause", 0), Operate("resume", 0), Operate("pause", 2)]
    operator = [Input(action, n, "operator", 8 + 5 * n) for n, action in enumerate(actions, 1)]
    outcome = run(scenario, 1, [*scenario.workload(1), *operator])
    assert scenario.invariant(outcome) == []
    assert any(event[0] == "dropped_result" for block in outcome.blocks for event in block.events)


# --- damage -----------------------------------------------------------------------------------------------------------


def test_another_token_is_noticed() -> None:
    assert any("is token" in violation for violation in judge(inferences({"token": answer().token ^ 1})))


def test_other_logits_with_the_right_token_are_noticed() -> None:
    violations = judge(inferences({"logits": "0" * 64}))
    assert len(violations) == 1 and violations[0].endswith("has other logits")


def test_another_kv_cache_is_noticed_though_no_token_differs() -> None:
    kv = answer().kv
    assert isinstance(kv, bytes)
    violations = judge(inferences({"kv": bytes([kv[0] ^ 1]) + kv[1:]}))
    assert len(violations) == 1 and violations[0].endswith("has another KV cache")


def test_a_damaged_blob_of_a_prompts_kv_cache_is_noticed() -> None:
    entry = next(e for b in played().blocks for e in b.inferences if isinstance(e.kv, BlobRef))
    assert isinstance(entry.kv, BlobRef)
    blobs = dict(played().blobs)
    blobs[entry.kv.sha256] = blobs[entry.kv.sha256][:-1] + b"\x7e"
    assert any("another KV cache" in v for v in get("assistants").invariant(played()._replace(blobs=blobs)))


def test_answers_of_two_requests_exchanged_are_noticed() -> None:
    (first, second) = next(b.inferences[:2] for b in played().blocks if len(b.inferences) >= 2 and b.tick > 20)
    exchanged = {
        first.request: msgspec.structs.replace(second, request=first.request),
        second.request: msgspec.structs.replace(first, request=second.request),
    }
    blocks = [
        msgspec.structs.replace(b, inferences=tuple(exchanged.get(e.request, e) for e in b.inferences))
        for b in played().blocks
    ]
    assert judge(blocks)


def test_an_answer_left_out_repeated_or_late_is_noticed() -> None:
    blocks = list(played().blocks)
    place = next(n for n, block in enumerate(blocks) if block.tick > 30 and block.inferences)
    whole, following = blocks[place], blocks[place + 1]

    def changed(*now: InferenceEntry, then: tuple[InferenceEntry, ...] = ()) -> list[str]:
        first = msgspec.structs.replace(whole, inferences=now)
        second = msgspec.structs.replace(following, inferences=(*then, *following.inferences))
        return judge([*blocks[:place], first, second, *blocks[place + 2 :]])

    entry, *others = whole.inferences
    assert any("was never answered" in v for v in changed(*others))
    assert any("which nobody waits for" in v for v in changed(entry, *whole.inferences))
    assert any("was due in tick" in v for v in changed(*others, then=(entry,)))


def test_a_refusal_that_nothing_justified_or_that_did_not_happen_is_noticed() -> None:
    kinds = {E_FULL: f"not {E_FULL}", E_SIZE: f"not {E_SIZE}"}
    for status, words in kinds.items():
        event = next(e for b in played().blocks for e in b.events if e[0] == "refused_request" and e[-1] == status)
        blocks = [msgspec.structs.replace(b, events=tuple(e for e in b.events if e != event)) for b in played().blocks]
        assert any(violation.endswith(words) for violation in judge(blocks))
    request = answer().request
    blocks = [
        msgspec.structs.replace(b, events=(*b.events, ("refused_request", request, 0, 0, E_SIZE)))
        if any(s.seq <= request < s.seq + len(s.effects) for s in b.steps)
        else b
        for b in played().blocks
    ]
    assert any(violation.endswith("not 0") for violation in judge(blocks))


def test_an_effect_that_the_agent_did_not_have_is_noticed() -> None:
    for op in ("infer", "send", "output"):
        block = next(b for b in played().blocks if any(e.op == op for s in b.steps for e in s.effects))
        (step, *_) = [s for s in block.steps if any(e.op == op for e in s.effects)]
        less = msgspec.structs.replace(step, effects=tuple(e for e in step.effects if e.op != op))
        changed = msgspec.structs.replace(block, steps=tuple(less if s is step else s for s in block.steps))
        assert any("its model" in v for v in judge([changed if b is block else b for b in played().blocks])), op
