"""Mailboxes: what room there is, who is refused, and what becomes of mail that nobody will read (MSG-2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest
from runtime_kit import World, events, failed, sends

from runtime.state import (
    E_FULL,
    OUTSIDE,
    QUARANTINED,
    REFUSED,
    TERMINATED,
    Effect,
    Join,
    Message,
    Operate,
    Outcome,
    Publish,
    Schedule,
    Send,
    sequence,
)


def did(*effects: Effect) -> Outcome:
    return Outcome("ok", effects)


def named(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()[:16]


def full(who: Iterable[int], agents: int = 4, **options: int) -> World:
    """A world in which these agents are paused members of topic 0 and have no room left for messages."""
    world = World(agents=agents, mailbox=1, **options)
    world.tick(*[Join(n, 0) for n in range(1, agents)], *[Operate("pause", n) for n in who])
    world.tick(*[Send(n, b"full") for n in who])
    return world


# --- room -------------------------------------------------------------------------------------------------------------


def test_due_tasks_take_the_room_of_messages_and_are_refused_on_record() -> None:
    world = World(agents=1, mailbox=2)
    world.tick(*[Schedule(0, bytes([n]), 1) for n in range(4)])
    committed = world.tick(Send(0, b"message"))
    assert world.inbox(0) == [b"message", b"\0"]
    assert events(committed, "refused_task") == [("refused_task", 0, named(bytes([n]))) for n in (1, 2, 3)]
    assert world.agent(0).tasks == []


def test_a_publication_that_many_refuse_comes_back_once_and_each_copy_is_named() -> None:
    world = full((1, 3))
    committed = world.tick(Send(0, b"go"), outcomes={0: did(Effect("publish", 0, b"p"))})
    number = sequence(0, 1)
    assert events(committed, "refused") == [("refused", number, 0, 1), ("refused", number, 0, 3)]
    assert world.agent(0).mailbox == [Message(number, REFUSED, 1, E_FULL, b"p")] and world.agent(0).reserved == 1
    assert [m.payload for m in world.agent(2).mailbox] == [b"p"]


@pytest.mark.parametrize("op", ["publish", "send"])
def test_a_step_brings_at_most_send_limit_refusals(op: str) -> None:
    world = full((1, 2, 3), send_limit=5)
    target = 0 if op == "publish" else 1
    world.tick(Send(0, b"go"), outcomes={0: did(*[Effect(op, target, b"p")] * 5)})
    assert world.agent(0).reserved == len(world.agent(0).mailbox) == 5


def test_wakes_for_one_tick_are_one_and_no_more_than_a_mailbox_are_pending() -> None:
    world = World(agents=1, mailbox=2)
    committed = world.tick(Send(0, b""), outcomes={0: did(*[Effect("wake", at) for at in (5, 3, 5, 9, 3, 7)])})
    assert world.agent(0).wakes == [4, 6]
    assert events(committed, "refused_wake") == [("refused_wake", 0, 10), ("refused_wake", 0, 8)]


def test_an_agent_that_waits_for_its_turn_has_one_wake_in_its_mailbox() -> None:
    world = World(agents=2, max_tasks_per_tick=1)
    world.tick()
    world.state.cursor = 0
    wakes = did(*[Effect("wake", n) for n in range(1, 6)])
    world.tick(Send(1, b""), outcomes={1: wakes})
    seen = []
    for _ in range(4):
        world.state.cursor = 0
        world.tick(Send(0, b"first"))
        seen.append([(m.kind, m.payload) for m in world.agent(1).mailbox])
    assert world.ran() == [0] and [len(mailbox) for mailbox in seen] == [1, 1, 1, 1]
    assert world.agent(1).reserved == 1


@pytest.mark.parametrize(
    ("action", "record"),
    [
        (Send(1, b"12345"), [("refused", 1, OUTSIDE, 1)]),
        (Send(9, b"12345"), [("refused", 1, OUTSIDE, 9)]),
        (Publish(b"12345", 0), [("refused", 1, OUTSIDE, 1), ("refused", 1, OUTSIDE, 2)]),
        (Publish(b"12345", 1), [("refused", 1, OUTSIDE, 1)]),
        (Schedule(1, b"12345", 1), [("refused_task", 1, named(b"12345"))]),
    ],
    ids=str,
)
def test_an_input_that_is_too_long_is_refused_on_record_at_its_admission(
    action: Send | Publish | Schedule, record: list[tuple[str | int, ...]]
) -> None:
    world = World(agents=3, max_payload=4)
    world.tick(Join(1, 0), Join(2, 0))
    assert list(world.tick(action).block.events) == record
    assert world.ran() == [] and [world.agent(n).tasks for n in range(3)] == [[], [], []]
    world.tick(Send(1, b"1234"))
    assert world.inbox(1) == [b"1234"], "one that just fits"


# --- the mail of the dead ---------------------------------------------------------------------------------------------


def test_the_mail_of_a_terminated_agent_is_dropped_on_record_each_by_what_it_was() -> None:
    world = full((1, 2), agents=3)
    world.operate("resume", 1)
    world.tick(Operate("pause", 1))
    world.tick(Send(0, b"go"), outcomes={0: sends(1, payload=b"from 0")})
    world.tick(Operate("resume", 1), outcomes={1: did(Effect("send", 2, b"no room"))})
    world.tick(Operate("pause", 1), Send(1, b"late"))
    refusal = sequence(1, 1)
    late = world.agent(1).mailbox[-1].seq
    committed = world.tick(Operate("terminate", 1))
    assert list(committed.block.events) == [
        ("lifecycle", 1, "paused", "terminated"),
        ("dropped_refusal", refusal, 1),
        ("dropped", late, 1),
    ]
    assert world.agent(1).mailbox == [] and world.agent(1).reserved == 0


def test_a_task_that_was_due_and_is_not_read_is_dropped_on_record() -> None:
    world = World(agents=2, max_tasks_per_tick=1)
    world.tick()
    world.tick(Schedule(1, b"task", 1))
    world.state.cursor = 0
    world.tick(Send(0, b""))
    assert [m.payload for m in world.agent(1).mailbox] == [b"task"]
    committed = world.tick(Operate("terminate", 1))
    assert events(committed, "dropped_wake") == [("dropped_wake", 1, named(b"task"))]


def test_the_mail_of_a_quarantined_agent_is_dropped_when_it_is_and_not_for_its_next_life() -> None:
    world = World(agents=3, max_restarts=0)
    early = Outcome("ok", (Effect("send", 1, b"early"),))
    committed = world.tick(Send(0, b""), Send(1, b""), outcomes={0: early, 1: failed()})
    assert world.agent(1).phase == QUARANTINED and world.agent(1).mailbox == []
    assert events(committed, "dropped") == [("dropped", sequence(0, 1), 1)]
    world.operate("release", 1)
    world.tick(Send(1, b"new"))
    assert world.inbox(1) == [b"new"]


def test_what_is_in_mailboxes_at_the_last_tick_stays_there() -> None:
    world = World(agents=2, last_tick=5)
    world.tick(Operate("pause", 1), Send(1, b"unread"))
    committed = world.tick(at=5)
    assert world.state.finished and world.agent(1).phase == TERMINATED
    assert events(committed, "dropped") == [] and [m.kind for m in world.agent(1).mailbox] == [3]
