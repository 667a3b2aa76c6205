"""One order for all, members only: hand-made histories, good ones and damaged ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from oracles_kit import TOPIC, World, b64, call, crossing, envelope, finding, refuses, step, world

from harness.oracles import Verdict

OUTSIDE, NO_MEMBER, REFUSED = 0xFFFFFFFF, 5, 5
ROOM = 1  # after the one topic
A = (1 << 32) + 5  # agent 0's fifth number, its first post
B, C = (2 << 32) + 2, (3 << 32) + 1  # agent 1's second, agent 2's first


def post(sender: int, number: int, payload: bytes) -> bytes:
    return envelope(TOPIC, sender, number, ROOM, payload)


def room(members: tuple[int, ...] = (0, 1, 2)) -> World:
    """In tick 2 all three post in a channel, agent 2 as no member where it is none; in tick 3 all read."""
    made = world()
    config = made.bodies[0]["inputs"][0]["action"]["config"]
    config |= {"last_tick": 4, "channels": [{"closed": False, "members": list(members), "name": "room"}]}
    made.mailboxes[2] = []
    posts = ((0, A, b"a"), (1, B, b"b"), (2, C, b"c"))
    for agent, _, payload in posts:
        made.step(3, agent)["effects"] = [*made.step(3, agent)["effects"], ["publish", ROOM, b64(payload)]]
        calls = [call("publish", ROOM, payload)]
        made.guest(2, agent, calls=tuple(([call("send", 2, b"left")] if agent == 1 else []) + calls))
    made.step(3, 0)["seq"] = A
    left = (2 << 32) + 1
    got = {n: [p for p in posts if p[0] != n and p[0] in members and n in members] for n in range(3)}
    inboxes = {n: [post(*one) for one in got[n]] for n in range(3)}
    numbers = {n: [one[1] for one in got[n]] for n in range(3)}
    inboxes[2].insert(sum(one[0] == 0 for one in got[2]), envelope(1, 1, left, 0, b"left"))
    numbers[2].insert(sum(one[0] == 0 for one in got[2]), left)
    events = []
    if 2 not in members:
        events = [["refused_message", C, 2, NO_MEMBER]]
        inboxes[2].append(envelope(REFUSED, OUTSIDE, C, NO_MEMBER, b"c"))
        numbers[2].append(C)
    made.bodies[2]["events"] = events
    seqs = {0: A + 1, 1: B + 1, 2: C + 1}
    reads = [step(n, 4 if n < 2 else 3, inbox=numbers[n], seq=seqs[n]) for n in range(3)]
    made.bodies.insert(3, {**made.bodies[2], "tick": 3, "steps": reads, "events": []})
    made.bodies[4]["tick"] = 4
    made.guests += [crossing(3, n, inbox=tuple(inboxes[n])) for n in range(3)]
    made.seal()
    return made


ALL = ["order", "I8", "I9", "I10", "I11", "I12", "I34"]


@pytest.mark.parametrize("oracle", ALL)
@pytest.mark.parametrize("members", [(0, 1, 2), (0, 1)], ids=["all are in", "one is not"])
def test_a_good_history_passes_and_one_without_a_guest_log_is_not_judged(oracle: str, members: tuple[int, ...]) -> None:
    made = room(members)
    assert finding(oracle, made, invariant=None).verdict is Verdict.PASS, finding(oracle, made)
    made.guests = []
    if oracle != "I12":
        assert finding(oracle, made).verdict is Verdict.UNKNOWN


def swapped(made: World) -> None:
    """Agent 2 has the posts of 0 and 1 the other way round."""
    made.step(4, 2)["inbox"] = [(2 << 32) + 1, B, A]
    made.guest(3, 2, inbox=(envelope(1, 1, (2 << 32) + 1, 0, b"left"), post(1, B, b"b"), post(0, A, b"a")))


def echoed(made: World) -> None:
    made.step(4, 0)["inbox"] = [A, B, C]
    made.guest(3, 0, inbox=(post(0, A, b"a"), post(1, B, b"b"), post(2, C, b"c")))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (swapped, f"agent 2 got number {A} after {B}, which was committed after it"),
        (echoed, f"agent 0 got number {A} of 1, which it posted itself"),
    ],
)
def test_another_order_and_an_own_post_are_named(damage: Callable[[World], None], told: str) -> None:
    made = room()
    damage(made)
    refuses("order", made, told)


def test_an_outsiders_post_that_passes_and_a_members_that_is_refused_are_named() -> None:
    made = room((0, 1))
    made.bodies[2]["events"] = []
    refuses("order", made, f"number {C} (guest event 7 call 0) is by no member of its channel, and was not refused so")
    made = room()
    made.bodies[2]["events"] = [["refused_message", C, 2, NO_MEMBER]]
    refuses("order", made, f"number {C} (guest event 7 call 0) was refused as no member's, which it is not")


def test_a_post_read_by_one_who_has_left_is_named() -> None:
    made = room()
    made.bodies[2]["inputs"] = [
        {"source": "bank", "n": 3, "tick": 2, "action": {"do": "leave", "agent": 1, "topic": 1}}
    ]
    refuses("order", made, f"agent 1 got number {A} of 1, of which guest event 5 call 0 made no copy for it")
