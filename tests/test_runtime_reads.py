"""Reads of the outside in the fold: asked with a number, answered in the promised tick, to one life (EXT-1)."""

from __future__ import annotations

from typing import Any

import pytest
from runtime_kit import OK, World, events, failed

from runtime import reads
from runtime.config import problems
from runtime.errors import FailStop
from runtime.fold import next_tick
from runtime.frames import Asking, Inputs, Release, pack, unpack
from runtime.intake import Intake
from runtime.journal import INLINE_MAX
from runtime.outside import Answer, SourceSpec
from runtime.reads import CANCELLED, END, FAILED, MORE
from runtime.recovery import release_of
from runtime.state import READING, REFUSED, Config, Effect, Input, Operate, Outcome, Send, sequence

SOURCES = (SourceSpec(name="dice", delay_ticks=3), SourceSpec(name="file", delay_ticks=1, readers=(1,)))


def read(source: int = 0, payload: bytes = b"?") -> Outcome:
    return Outcome("ok", (Effect("read", source, payload),))


def world(**options: Any) -> World:
    return World(agents=2, sources=SOURCES, **options)


def asked(outcome: Outcome = read(), who: int = 0, **options: Any) -> World:  # noqa: B008  # immutable
    """A world whose agent has done this in tick 1."""
    made = world(**options)
    made.tick(Send(who, b""), outcomes={who: outcome})
    return made


def answer(made: World, status: int = END, data: bytes = b"six", place: int = 0) -> Input:
    """What answers the open read at `place`."""
    assert made.state.reads
    one = made.state.reads.open[place]
    return Input(Answer(data, one.request, status), one.n, reads.PREFIX + SOURCES[one.source].name, one.due)


def told(made: World, who: int = 0) -> list[tuple[int, int, bytes]]:
    """(number, status, bytes) of the readings that its last step had in its inbox."""
    inbox = [m for record in made.records if record.agent == who for m in record.inbox if m.kind == READING]
    return [(m.seq, int.from_bytes(m.payload[:4], "little"), m.payload[4:]) for m in inbox]


def test_an_answer_reaches_who_asked_in_the_tick_that_was_promised() -> None:
    made = asked()
    assert reads.expected(made.state) == [("read:dice", 1, 4)] and next_tick(made.state, 4) == 4
    committed = made.admit([answer(made)], 4)
    assert told(made) == [(sequence(0, 1), END, b"six")] and reads.expected(made.state) == []
    assert committed.block.inputs[0].action == Answer(b"six", sequence(0, 1), END)


def test_a_read_leaves_with_its_block_long_payloads_and_all() -> None:
    payload = b"long" * INLINE_MAX
    made = asked(Outcome("ok", (Effect("send", 1, b"before"), Effect("read", 0, payload), Effect("output", 0, b"x"))))
    left = release_of(1, made.blocks[-1], made.blobs)
    assert isinstance(left, Asking) and isinstance(unpack(pack(left)), Asking)
    (ask,) = left.asks
    assert (ask.source, ask.n, ask.request, ask.first, ask.due) == ("read:dice", 1, sequence(0, 2), 1, 4)
    assert ask.payload == payload and [out.payload for out in left.outputs] == [b"x"]
    assert type(release_of(1, made.blocks[0], {})) is Release  # nothing is asked: the frame is what it always was


@pytest.mark.parametrize(("source", "status"), [(1, 2), (2, 2), (4_000_000_000, 2)])
def test_a_source_that_is_not_the_agents_is_refused_on_record_and_to_the_agent(source: int, status: int) -> None:
    made = asked(read(source))
    assert events(made_last(made), "refused_request") == [("refused_request", sequence(0, 1), 0, source, status)]
    (back,) = made.agent(0).mailbox
    assert (back.kind, back.channel, back.payload) == (REFUSED, status, b"?") and reads.expected(made.state) == []


def made_last(made: World) -> Any:
    class Last:
        block = made.blocks[-1]

    return Last


def test_a_source_is_read_by_an_agent_once_at_a_time() -> None:
    made = asked(Outcome("ok", (Effect("read", 0, b"1"), Effect("read", 0, b"2"))))
    assert [m.channel for m in made.agent(0).mailbox] == [4] and len(reads.expected(made.state)) == 1


def test_a_run_without_sources_refuses_every_read_and_holds_nothing_of_them() -> None:
    made = World(agents=1)
    made.tick(Send(0, b""), outcomes={0: read()})
    assert [m.channel for m in made.agent(0).mailbox] == [2] and not made.state.reads


def test_parts_go_on_with_the_call_until_it_ends() -> None:
    made = asked()
    made.admit([answer(made, MORE, b"a")], 4, {0: read(payload=b"")})
    assert made.state.reads
    assert [(r.n, r.first, r.due) for r in made.state.reads.open] == [(2, 1, 7)]
    made.admit([answer(made, END, b"b")], 7, {0: read()})
    assert [(r.n, r.first) for r in made.state.reads.open] == [(3, 3)] and told(made) == [(sequence(0, 2), END, b"b")]


@pytest.mark.parametrize("how", ["cancel", "trap", "terminate"])
def test_what_ends_with_its_agents_wish_or_life_is_admitted_and_told_to_nobody(how: str) -> None:
    made = asked()
    if how == "terminate":
        committed = made.tick(Operate("terminate", 0))
    else:
        ending = Outcome("ok", (Effect("cancel", 0),)) if how == "cancel" else failed()
        committed = made.tick(Send(0, b""), outcomes={0: ending})
    assert events(committed, "dropped_result") == [("dropped_result", sequence(0, 1), 0)]
    assert events(committed, "closed") == [("closed", "dice", 1, 0)]
    assert reads.expected(made.state) == [("read:dice", 1, 4)]  # it was asked, and its tick waits for it
    made.admit([answer(made)], 4)
    assert told(made) == [] and reads.expected(made.state) == []


def test_a_new_life_begins_a_call_of_its_own() -> None:
    made = asked(backoff_ticks=0)
    made.admit([answer(made, MORE, b"a")], 4, {0: failed()})
    made.tick()
    made.tick(Send(0, b""), outcomes={0: read()})
    assert made.state.reads and [(r.n, r.first) for r in made.state.reads.open] == [(2, 2)]


def test_an_operator_ends_a_read_and_its_agent_is_told_in_the_tick_that_was_promised() -> None:
    made = asked()
    committed = made.tick(Operate("cancel", 0))
    assert events(committed, "cancelled") == [("cancelled", sequence(0, 1), 0)]
    made.admit([answer(made, MORE, b"a")], 4, {0: OK})
    assert told(made) == [(sequence(0, 1), CANCELLED, b"")] and made.state.reads and made.state.reads.calls == []


def test_an_operator_ends_a_call_between_two_parts_and_the_next_read_is_told_so() -> None:
    made = asked(mailbox=1)
    made.tick(Operate("pause", 0))
    made.admit([answer(made, MORE, b"a")], 4)
    committed = made.tick(Operate("cancel", 0), Operate("resume", 0), outcomes={0: read()})
    assert told(made) == [(sequence(0, 1), MORE, b"a")]
    assert events(committed, "closed") == [("closed", "dice", 1, 0)]
    assert events(committed, "cancelled") == [("cancelled", sequence(0, 2), 0)] and reads.expected(made.state) == []
    made.tick(outcomes={0: read()})
    assert told(made) == [(sequence(0, 2), CANCELLED, b"")] and len(reads.expected(made.state)) == 1


def test_a_cancel_of_nothing_and_of_nobody_changes_nothing() -> None:
    made = world()
    before = made.blocks[-1].events
    made.tick(Send(0, b""), Operate("cancel", 1), outcomes={0: Outcome("ok", (Effect("cancel", 7),))})
    assert made.blocks[-1].events == () and before
    committed = made.tick(Operate("cancel", 9))
    assert events(committed, "illegal") == [("illegal", 9, "cancel", "unknown")]


def test_what_is_longer_than_a_payload_may_be_is_no_reading() -> None:
    made = asked(max_payload=8)
    made.admit([answer(made, MORE, b"12345")], 4)
    assert told(made) == [(sequence(0, 1), FAILED, b"")]


def test_an_answer_that_nobody_waits_for_stops_a_fold_and_never_gets_that_far_live() -> None:
    made = asked()
    good = answer(made)
    assert isinstance(good.action, Answer)
    wrong = [
        Input(good.action, 2, good.source, good.tick),
        Input(good.action, 1, "read:file", good.tick),
        Input(good.action, 1, good.source, good.tick + 1),
        Input(Answer(b"", good.action.request + 1, END), 1, good.source, good.tick),
        Input(Answer(b"", good.action.request, CANCELLED), 1, good.source, good.tick),
        Input(Send(0, b""), 1, good.source, good.tick),
    ]
    intake = Intake((), {})
    assert [intake.offer(item, made.state) for item in wrong] == [False] * len(wrong)
    assert intake.due_at(4, made.state) is None and intake.due_at(3, made.state) == []
    with pytest.raises(FailStop, match="nobody asked"):
        made.admit([wrong[0]], 4)


def test_the_first_answer_counts_and_a_second_reading_is_thrown_away() -> None:
    made = asked()
    first, second = answer(made), answer(made, data=b"two")
    intake = Intake((), {})
    assert intake.offer(first, made.state) and not intake.offer(second, made.state)
    assert intake.due_at(4, made.state) == [first] and intake.next_tick(made.state) == 4
    made.admit([first], 4)
    intake.admitted([first])
    assert not intake.offer(second, made.state) and unpack(pack(Inputs(0, (second,)))) == Inputs(0, (second,))


def test_sources_are_checked_before_a_run() -> None:
    bad = Config(
        last_tick=9,
        seed=1,
        sources=(SourceSpec(name="a", delay_ticks=0, readers=(-1, 1, 1)), SourceSpec(name="a")),
    )
    found = "; ".join(problems(bad))
    assert "sources[0].delay_ticks" in found and "sources[0].readers" in found and "'a' is there twice" in found
    assert problems(Config(last_tick=9, seed=1, sources=SOURCES)) == []
