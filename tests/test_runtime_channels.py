"""Channels: members alone post and read, in one order for all, decided where the post stands in it (MSG-1, MSG-3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from runtime_kit import World, config, events, failed

from runtime.config import problems
from runtime.state import (
    E_FULL,
    E_MEMBER,
    OUTSIDE,
    REFUSED,
    TOPIC,
    ChannelSpec,
    Effect,
    Join,
    Leave,
    Message,
    Operate,
    Outcome,
    Publish,
    Send,
    encode,
    sequence,
)

ROOM, CLOSED = 2, 3  # numbers go on from the two topics of the kit


def world(*members: int, agents: int = 4, **options: Any) -> World:
    """Both channels begin with these members."""
    specs = (ChannelSpec(name="room", members=members), ChannelSpec(name="board", members=members, closed=True))
    return World(agents=agents, channels=specs, **options)


def did(*effects: Effect) -> Outcome:
    return Outcome("ok", effects)


def say(*payloads: bytes, channel: int = ROOM) -> Outcome:
    return did(*[Effect("publish", channel, payload) for payload in payloads])


def acting(made: World, outcomes: Mapping[int, Outcome], order: Sequence[int] = ()) -> Any:
    """One tick in which these agents take a step, in order of number."""
    return made.tick(*[Send(agent, b"go") for agent in order or sorted(outcomes)], outcomes=outcomes)


def mail(made: World, agent: int) -> list[bytes]:
    return [message.payload for message in made.agent(agent).mailbox]


def test_a_post_reaches_every_member_but_its_sender_and_nobody_else() -> None:
    made = world(0, 1, 2)
    acting(made, {1: say(b"hello")})
    number = sequence(1, 1)
    expected = [Message(number, TOPIC, 1, ROOM, b"hello")]
    assert [made.agent(n).mailbox for n in range(4)] == [expected, [], expected, []]


def test_all_members_see_one_order_of_posts() -> None:
    made = world(0, 1, 2, 3)
    acting(made, {0: say(b"a", b"b"), 1: say(b"c"), 2: say(b"d")})
    assert mail(made, 3) == [b"a", b"b", b"c", b"d"]
    assert mail(made, 0) == [b"c", b"d"] and mail(made, 1) == [b"a", b"b", b"d"] and mail(made, 2) == [b"a", b"b", b"c"]


def test_a_post_by_no_member_comes_back_with_a_status_and_reaches_nobody() -> None:
    made = world(0, 1)
    committed = acting(made, {3: say(b"let me in")})
    number = sequence(3, 1)
    assert events(committed, "refused_message") == [("refused_message", number, 3, E_MEMBER)]
    assert made.agent(3).mailbox == [Message(number, REFUSED, OUTSIDE, E_MEMBER, b"let me in")]
    assert made.agent(3).reserved == 1 and mail(made, 0) == mail(made, 1) == []


def test_nobody_outside_is_a_member() -> None:
    made = world(0, 1)
    committed = made.tick(Publish(b"news", ROOM))
    assert events(committed, "refused") == [("refused", 1, OUTSIDE, ROOM)] and mail(made, 0) == []


def test_membership_is_decided_at_the_place_of_the_post_in_the_order_of_commit() -> None:
    """In one tick: 0 posts, 1 leaves, 2 posts, 3 joins and posts, 0 is not there any more: all in task order."""
    made = world(0, 1, 2)
    acting(
        made,
        {
            0: did(Effect("publish", ROOM, b"first"), Effect("unsubscribe", ROOM)),
            1: did(Effect("unsubscribe", ROOM), Effect("publish", ROOM, b"too late")),
            2: say(b"second"),
            3: did(Effect("publish", ROOM, b"too early"), Effect("subscribe", ROOM), Effect("publish", ROOM, b"third")),
        },
    )
    assert mail(made, 0) == [] and mail(made, 1) == [b"first", b"too late"] and mail(made, 2) == [b"first", b"third"]
    assert mail(made, 3) == [b"too early"]
    assert made.state.subscribers[ROOM] == [2, 3]


def test_operators_let_agents_in_and_put_them_out_and_what_cannot_be_is_on_record() -> None:
    made = world(0, 1)
    committed = made.tick(Join(3, ROOM), Join(3, CLOSED), Leave(0, ROOM), Leave(2, ROOM), Join(9, ROOM), Leave(1, 9))
    assert made.state.subscribers[2:] == [[1, 3], [0, 1, 3]]
    assert events(committed, "illegal") == [
        ("illegal", 2, "leave", ROOM),
        ("illegal", 9, "join", ROOM),
        ("illegal", 1, "leave", 9),
    ]
    acting(made, {3: say(b"hello")})
    assert mail(made, 1) == [b"hello"] and mail(made, 0) == []


def test_a_closed_channel_is_joined_by_an_operator_alone_and_left_at_will() -> None:
    made = world(0, 1)
    join = did(Effect("subscribe", CLOSED), Effect("publish", CLOSED, b"x"))
    committed = acting(made, {0: did(Effect("unsubscribe", CLOSED)), 3: join})
    assert events(committed, "refused_join") == [("refused_join", 3, CLOSED)]
    assert made.state.subscribers[CLOSED] == [1] and made.agent(3).mailbox[0].channel == E_MEMBER
    assert not events(acting(made, {1: did(Effect("subscribe", CLOSED))}), "refused_join"), "who is in already"


def test_a_full_member_refuses_its_copy_and_the_sender_is_told_once() -> None:
    made = world(0, 1, 2, 3, mailbox=1)
    made.tick(Operate("pause", 1), Operate("pause", 3), Send(1, b"full"), Send(3, b"full"))
    committed = acting(made, {0: say(b"p")})
    number = sequence(0, 1)
    assert events(committed, "refused") == [("refused", number, 0, 1), ("refused", number, 0, 3)]
    assert made.agent(0).mailbox == [Message(number, REFUSED, 1, E_FULL, b"p")] and mail(made, 2) == [b"p"]


def test_a_membership_outlasts_a_failure_and_a_failed_step_neither_posts_nor_leaves() -> None:
    made = world(0, 1, 2)
    acting(made, {1: failed(), 0: say(b"p")})
    assert made.state.subscribers[ROOM] == [0, 1, 2] and mail(made, 1) == [b"p"]
    made.tick(Operate("terminate", 1))
    committed = acting(made, {0: say(b"q")})
    assert events(committed, "dropped") == [("dropped", sequence(0, 2), 1)], "the copy of who is gone is on record"


def test_agents_are_told_of_topics_and_channels_as_one_range_of_numbers() -> None:
    made = world(0)
    assert {record.topics for record in made.records} == {4}


def test_a_run_without_channels_says_nothing_of_them() -> None:
    plain, empty = config(), config(channels=())
    assert b"channels" not in encode(World(agents=1).state)
    assert plain != empty, "an option that is given stands in the journal, even an empty one"


@pytest.mark.parametrize(
    ("channels", "told"),
    [
        ((ChannelSpec(name="news"),), "channels: 'news' is there twice"),
        ((ChannelSpec(name="a"), ChannelSpec(name="a")), "channels: 'a' is there twice"),
        ((ChannelSpec(name="a", members=(1, 2, 1)),), "channels[0].members: 1 is there twice"),
        ((ChannelSpec(name="a", members=(-1,)),), "channels[0].members: -1 is not from 0 to 4294967294"),
        ((ChannelSpec(name="a", members=(0, 99)),), ""),
    ],
    ids=str,
)
def test_a_bad_channel_is_named(channels: tuple[ChannelSpec, ...], told: str) -> None:
    assert problems(config(channels=channels)) == ([told] if told else [])


def test_a_member_that_is_no_agent_refuses_its_copy_on_record() -> None:
    made = world(0, 1, 99)
    committed = acting(made, {0: say(b"p")})
    assert events(committed, "refused") == [("refused", sequence(0, 1), 0, 99)] and mail(made, 1) == [b"p"]
