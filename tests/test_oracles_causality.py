"""Causal order (I10) and readers that never go back (I16): hand-made histories, good ones and damaged ones."""

from __future__ import annotations

from typing import Any

import pytest
from oracles_kit import (
    BUFFER,
    LEFT,
    LONG,
    MESSAGE,
    NEWS,
    ONE,
    TOPIC,
    TWO,
    World,
    b64,
    call,
    changed,
    crossing,
    envelope,
    finding,
    inbox_of,
    refuses,
    step,
    world,
)

from harness.oracles import Verdict

LATE = (1 << 32) + 5  # agent 0's fifth number
OLD, NEW = b"old" * 9, b"new" * 9


def relayed() -> World:
    """Agent 0 sends LATE to agent 2 in tick 2, agent 1 what it got of agent 0: agent 2 reads both in tick 3."""
    made = world()
    del made.bodies[1]["events"][0]  # FILL is not refused: agent 2 gets it
    made.bodies[2]["steps"][0]["inbox"] = []
    made.guest(2, 0, inbox=())
    made.bodies[2]["steps"][2]["inbox"] = [NEWS, (1 << 32) + 4]
    made.guest(
        2, 2, inbox=(envelope(TOPIC, 0, NEWS, 0, b"news"), envelope(MESSAGE, 0, (1 << 32) + 4, 0, b"full"),
                     envelope(BUFFER, 0, 1, 0, LONG)),
    )  # fmt: skip
    made.bodies.insert(3, {**made.bodies[2], "tick": 3, "steps": [step(2, 3, inbox=[LEFT], seq=(3 << 32) + 1)]})
    made.bodies[4]["tick"] = 4
    made.guests.append(crossing(3, 2, inbox=(envelope(MESSAGE, 1, LEFT, 0, b"left"),)))
    return made


@pytest.mark.parametrize("oracle", ["I10", "I16"])
def test_a_good_history_passes_and_one_without_a_guest_log_is_not_judged(oracle: str) -> None:
    for made in (world(), relayed()):
        assert finding(oracle, made).verdict is Verdict.PASS
    made.guests = []
    assert finding(oracle, made).verdict is Verdict.UNKNOWN


def test_a_message_that_comes_after_an_answer_to_it_is_named() -> None:
    """Agent 1 had ONE of the same step when it sent LEFT; agent 2 gets LEFT first, and NEWS in the next tick."""
    made = relayed()
    full = (1 << 32) + 4
    made.bodies[2]["steps"][2]["inbox"] = []
    made.guest(2, 2, inbox=(envelope(BUFFER, 0, 1, 0, LONG),))
    made.bodies[3]["steps"][0]["inbox"] = [LEFT, NEWS, full]
    left, news = envelope(MESSAGE, 1, LEFT, 0, b"left"), envelope(TOPIC, 0, NEWS, 0, b"news")
    rest = envelope(MESSAGE, 0, full, 0, b"full")
    made.guest(3, 2, inbox=(left, news, rest))
    refuses("I10", made, "guest event 8: agent 2 got number 4294967299 (guest event 3 call 2) after what guest event 6")
    made.guest(3, 2, inbox=(news, rest, left))
    assert finding("I10", made).verdict is Verdict.PASS


def test_two_messages_of_one_step_in_the_wrong_order_are_named() -> None:
    made = world()
    one, two, wake = inbox_of(made.guests[6])
    made.guest(2, 1, inbox=(two, one, wake))
    refuses("I10", made, f"agent 1 got number {ONE} (guest event 3 call 0) after what guest event 3 call 1")
    made.guest(2, 1, inbox=(one, two, wake))
    assert finding("I10", made).verdict is Verdict.PASS and TWO == ONE + 1


def test_messages_that_know_nothing_of_each_other_may_come_in_any_order() -> None:
    made = relayed()
    made.guest(2, 1, inbox=())  # agent 1 had nothing of agent 0 when it sent LEFT
    full = envelope(MESSAGE, 0, (1 << 32) + 4, 0, b"full")
    made.guest(2, 2, inbox=(envelope(BUFFER, 0, 1, 0, LONG),))
    made.guest(3, 2, inbox=(envelope(MESSAGE, 1, LEFT, 0, b"left"), envelope(TOPIC, 0, NEWS, 0, b"news"), full))
    assert finding("I10", made).verdict is Verdict.PASS


def test_what_an_agent_read_from_a_buffer_is_in_its_past() -> None:
    """Agent 2 read agent 0's version and told agent 1, which must have agent 0's messages of that tick already."""
    made = relayed()
    told = (3 << 32) + 1
    made.bodies[2]["steps"][2]["effects"] = [["send", 1, b64(b"told")]]
    made.guest(2, 2, calls=(call("send", 1, b"told"),))
    one, two, wake = inbox_of(made.guests[6])
    made.guest(2, 1, inbox=(wake,))
    late = crossing(3, 1, inbox=(envelope(MESSAGE, 2, told, 0, b"told"), one, two))
    made.guests.append(late)
    made.bodies[3]["steps"].append(step(1, 4, inbox=[told, ONE, TWO], seq=LEFT + 1))
    refuses("I10", made, f"agent 1 got number {ONE}")
    made.guests[-1] = changed(late, inbox=(one, two, envelope(MESSAGE, 2, told, 0, b"told")))
    assert finding("I10", made).verdict is Verdict.PASS


# --- readers ----------------------------------------------------------------------------------------------------------


def versions() -> World:
    """Agent 0 writes version 2 in tick 2, agent 2 reads version 1 in tick 2 and version 2 in tick 3."""
    made = relayed()
    made.guest(1, 0, calls=(*made.guests[3].calls[:4], call("buffer", 0, OLD), made.guests[3].calls[5]))
    made.guest(2, 2, inbox=(*inbox_of(made.guests[7])[:2], envelope(BUFFER, 0, 1, 0, OLD)))
    made.bodies[1]["events"][-1][3] = len(OLD)
    made.guest(2, 0, calls=(call("buffer", 0, NEW),))
    made.bodies[2] = {**made.bodies[2], "events": [["published", 0, 2, len(NEW), 7, ""]]}
    made.guest(3, 2, inbox=(*inbox_of(made.guests[8]), envelope(BUFFER, 0, 2, 0, NEW)))
    made.bodies[3] = {**made.bodies[3], "events": []}
    return made


def read(made: World, *frames: tuple[int, bytes]) -> None:
    made.guest(3, 2, inbox=tuple(envelope(BUFFER, 0, version, 0, data) for version, data in frames))


def test_versions_that_rise_pass() -> None:
    assert finding("I16", versions()).verdict is Verdict.PASS


@pytest.mark.parametrize("version", [1, 0])
def test_a_version_that_was_read_before_or_is_older_is_named(version: int) -> None:
    made = versions()
    read(made, (version, OLD))
    refuses("I16", made, f"guest event 8: agent 2 got version {version} of buffer 0 after version 1")


def test_the_bytes_of_an_older_version_under_a_newer_handle_are_named() -> None:
    made = versions()
    read(made, (2, OLD))
    refuses("I16", made, "guest event 8: agent 2 got the bytes of version 1 of buffer 0 as version 2")


def test_bytes_that_nobody_passed_are_left_to_the_torn_read_oracle() -> None:
    made = versions()
    read(made, (2, b"neither" * 3))
    assert finding("I16", made).verdict is Verdict.PASS
    assert finding("I15", made).verdict is Verdict.FAIL


def test_the_writers_record_counts_as_much_as_the_readers() -> None:
    made = versions()
    made.guest(1, 0, calls=(*made.guests[3].calls[:4], call("buffer", 0, NEW), made.guests[3].calls[5]))
    made.guest(2, 0, calls=(call("buffer", 0, OLD),))
    read(made, (2, NEW))
    refuses("I16", made, "got the bytes of version 1 of buffer 0 as version 2")


def test_a_repeated_crossing_that_got_an_older_version_is_named() -> None:
    made = versions()
    good: Any = made.guests[8]
    made.guests.append(changed(good, inbox=(inbox_of(good)[0], envelope(BUFFER, 0, 2, 0, OLD))))
    refuses("I16", made, "guest event 9: agent 2 got the bytes of version 1")
