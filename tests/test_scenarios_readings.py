"""`readings`: whoever dies, each source is asked once for a reading, and a step that runs again is told the same."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from msgspec.structs import replace

from faults.plan import parse_fault
from harness.history import History, WorldEvent
from harness.oracles import Judged, Verdict, judge, judgeable
from harness.oracles.recorded import recorded
from harness.plans import default_plan
from harness.simulation import journal_digest, simulate
from runtime import journal
from runtime.outside import Answer
from runtime.reads import END, FAILED, MORE, PREFIX
from runtime.state import Input, decode
from scenarios import get
from scenarios.base import Outcome
from scenarios.readings import AGENTS, NAMES, READINGS, STORY

FAULTS = (
    "orchestrator.kill@tick:8,phase:sync",
    "orchestrator.kill@tick:20,phase:commit,point:after",
    "worker.kill@tick:9,agent:0,point:after",
    "client.stall@block:6,for=30ms,how=away",
)


@cache
def history(*faults: str, seed: int = 1) -> History:
    plan = default_plan("readings", seed=seed)
    return simulate(READINGS, replace(plan, faults=tuple(parse_fault(text) for text in faults)))


def outcome_of(told: History) -> Outcome:
    outputs = [output for receipt in told.receipts for output in receipt.outputs]
    blocks = [line.block for line in journal.read(told.journal).lines]
    return Outcome(outputs, blocks, [agent.mailbox for agent in decode(told.final_state).agents], told.blobs)


def answers(told: History) -> list[Input]:
    lines = journal.read(told.journal).lines
    return [item for line in lines for item in line.block.inputs if isinstance(item.action, Answer)]


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_straight_run_keeps_the_invariant(seed: int) -> None:
    assert READINGS.invariant(outcome_of(history(seed=seed))) == []


def test_no_source_is_asked_twice_whoever_dies() -> None:
    plain, struck = history(), history(*FAULTS)
    assert len(struck.crashes) == 2 and journal_digest(struck) == journal_digest(plain)
    assert [(e.ask, e.status, e.data) for e in struck.asked] == [(e.ask, e.status, e.data) for e in plain.asked]
    assert max(Counter((e.ask.source, e.ask.n) for e in struck.asked).values()) == 1
    assert len(struck.guests) > len(plain.guests)  # steps did run again


def test_the_default_run_reads_every_source_in_every_way() -> None:
    told = history()
    assert {event.ask.source for event in told.asked} == {PREFIX + name for name in NAMES}
    assert {event.status for event in told.asked} == {END, MORE, FAILED}
    assert {event.ask.agent for event in told.asked} == set(range(AGENTS))
    events = {e[0] for line in journal.read(told.journal).lines for e in line.block.events}
    assert {"asked", "closed", "refused_request"} <= events
    ends = {
        e[0]
        for seed in (1, 2, 3, 4)
        for line in journal.read(history(seed=seed).journal).lines
        for e in line.block.events
    }
    assert {"cancelled", "dropped_result"} <= ends


def test_a_story_comes_in_parts_and_the_later_ones_are_asked_for_one_by_one() -> None:
    parts = Counter(event.ask.first for event in history().asked if event.ask.source == PREFIX + NAMES[STORY])
    assert max(parts.values()) >= 3
    dues = [e.ask.due for e in history().asked if e.ask.first == parts.most_common(1)[0][0] and "story" in e.ask.source]
    assert dues == sorted(set(dues))


def test_a_second_reading_of_the_world_breaks_the_invariant() -> None:
    outcome = outcome_of(history())
    place, item = next(
        (n, item)
        for n, block in enumerate(outcome.blocks)
        for item in block.inputs
        if item.source == PREFIX + "dice" and item.n == 2
    )
    assert isinstance(item.action, Answer)
    later = replace(item.action, data=(3).to_bytes(8, "little") + item.action.data[8:])
    violations = READINGS.invariant(changed(outcome, place, item, replace(item, action=later)))
    assert any("answer 2 of dice was its reading 3" in line for line in violations)


def test_parts_in_another_order_break_the_invariant() -> None:
    outcome = outcome_of(history())
    found = [
        (n, item)
        for n, block in enumerate(outcome.blocks)
        for item in block.inputs
        if item.source == PREFIX + NAMES[STORY] and isinstance(item.action, Answer) and item.action.status == MORE
    ]
    (place, item), (_, other) = found[:2]
    assert isinstance(item.action, Answer) and isinstance(other.action, Answer)
    wrong = replace(item, action=replace(item.action, data=b""))
    assert any("not what comes next" in line for line in READINGS.invariant(changed(outcome, place, item, wrong)))


def changed(outcome: Outcome, place: int, item: Input, other: Input) -> Outcome:
    block = outcome.blocks[place]
    inputs = tuple(other if one is item else one for one in block.inputs)
    blocks = [*outcome.blocks]
    blocks[place] = replace(block, inputs=inputs)
    return outcome._replace(blocks=blocks)


# --- the oracle -----------------------------------------------------------------------------------------------------


def damaged(*events: WorldEvent, **changes: object) -> list[str]:
    """What the oracle says of the run with another ledger of the world's."""
    told = history()
    made = replace(told, **{"asked": list(events) or told.asked, **changes})
    return recorded(Judged(made))


def test_a_run_whose_records_agree_passes_and_one_without_sources_is_not_judged() -> None:
    assert damaged() == [] and "reads" in judgeable(Judged(history()))
    other = Judged(simulate(get("hello"), default_plan("hello")))
    assert "reads" not in judgeable(other)
    assert judge(Judged(History(plan=default_plan("readings"))), ["reads"])["reads"].verdict is Verdict.UNKNOWN


def test_each_damage_to_the_worlds_ledger_is_found_and_named() -> None:
    first, *rest = history().asked
    again = first._replace(ask=replace(first.ask, request=rest[0].ask.request))
    for events, words in (
        ((first, *rest, first), "is asked again"),
        ((again, *rest), "is asked again"),
        (tuple(rest), "which the world did not give"),
        ((first._replace(data=b"other"), *rest), "is not what the world gave"),
        ((first._replace(ask=replace(first.ask, payload=b"other")), *rest), "passed other bytes"),
        ((first._replace(ask=replace(first.ask, agent=2)), *rest), "no read of agent 2"),
        ((first._replace(ask=replace(first.ask, due=30)), *rest), "is due in tick 30"),
        ((first, *rest, rest[-1]._replace(ask=replace(first.ask, n=99, request=5))), "in no block"),
    ):
        found = damaged(*events)
        assert any(words in line for line in found), (words, found)


def test_a_question_that_left_too_early_is_found() -> None:
    receipts = [receipt._replace(durable_bytes=0) for receipt in history().receipts]
    assert any("was not durable then" in line for line in damaged(receipts=receipts))


def test_the_effects_of_a_read_are_in_the_journal() -> None:
    steps = [step for line in journal.read(history().journal).lines for step in line.block.steps]
    ops = Counter(effect.op for step in steps for effect in step.effects)
    assert ops["read"] >= len(history().asked) and ops["cancel"]
