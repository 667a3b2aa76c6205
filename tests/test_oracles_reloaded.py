"""I36 over a history written by hand: a reload, a rollback, and every way in which one of them could be a half."""

from __future__ import annotations

from typing import Any

import pytest
from oracles_kit import MODULE, WASM, World, changed, crossing, finding, refuses, step, world

from harness.history import GuestEvent
from harness.oracles import Verdict

NEW, BAD = "a" * 64, "b" * 64
MODULES = {MODULE: WASM, NEW: b"a module without such an export", BAD: b"exports agent_migrate"}


def _asked(n: int, tick: int, module: str, version: int, agent: int = 0) -> dict[str, Any]:
    return {
        "source": "operator",
        "n": n,
        "tick": tick,
        "action": {"do": "reload", "agent": agent, "module": module, "version": version},
    }


def reloads() -> World:
    """Agent 0 gets version 2 in tick 1, which takes its state over as it is; version 3 fails in tick 3."""
    made = world()
    first, empty = made.bodies[0], {**made.bodies[2], "inputs": [], "steps": [], "events": []}
    first["inputs"] = first["inputs"][:4]
    made.bodies = [
        first,
        {
            **empty,
            "tick": 1,
            "inputs": [_asked(1, 1, NEW, 2)],
            "steps": [step(0, 2, "reload", image="i")],
            "events": [["reloaded", 0, 1, 2]],
        },
        {**empty, "tick": 2, "steps": [step(0, 3)]},
        {
            **empty,
            "tick": 3,
            "inputs": [_asked(2, 3, BAD, 3)],
            "steps": [step(0, 4, "reload", status="trap:unreachable")],
            "events": [["rolled_back", 0, 3, "trap:unreachable"]],
        },
        {**empty, "tick": 4, "steps": [step(0, 5)]},
    ]
    made.guests = [
        *(crossing(0, agent, "init", module=MODULE) for agent in (0, 1, 2)),
        crossing(1, 0, "reload", module=NEW, state="one", fresh=True),
        crossing(2, 0, module=NEW, state="one"),
        crossing(3, 0, "reload", module=BAD, state="two", status="trap:unreachable", fresh=True),
        crossing(4, 0, module=NEW, state="two"),
    ]
    return made


def with_guest(made: World, place: int, **changes: Any) -> World:
    made.guests[place] = changed(made.guests[place], **changes)
    return made


def judged(made: World, named: str) -> None:
    refuses("I36", made, named, modules=MODULES)


def test_a_reload_and_a_rollback_as_they_should_be_pass() -> None:
    assert finding("I36", reloads(), modules=MODULES).verdict is Verdict.PASS


def test_a_replay_of_an_old_step_by_the_old_version_passes() -> None:
    made = reloads()
    made.guests.insert(5, crossing(0, 0, "init", module=MODULE, worker=12))
    assert finding("I36", made, modules=MODULES).verdict is Verdict.PASS


def test_a_crossing_that_a_death_cut_short_says_nothing_of_the_state() -> None:
    made = with_guest(reloads(), 3, status="died", state="other")
    assert finding("I36", made, modules=MODULES).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("place", "module", "named"),
    [
        (4, MODULE, "guest event 4"),  # the old version goes on though the new one is on record
        (6, BAD, "guest event 6"),  # the new version goes on though it was rolled back
        (3, MODULE, "guest event 3"),  # a reload that is served by the old version
        (0, NEW, "guest event 0"),  # an old step replayed by the new version
    ],
)
def test_a_crossing_by_the_other_version_is_named(place: int, module: str, named: str) -> None:
    judged(with_guest(reloads(), place, module=module), named)


def test_a_rollback_that_leaves_another_state_is_named() -> None:
    judged(with_guest(reloads(), 6, state="three"), "guest event 6")


def test_a_state_that_was_carried_over_as_another_is_named() -> None:
    judged(with_guest(reloads(), 4, state="three"), "guest event 4")


def test_a_state_that_was_migrated_may_be_another() -> None:
    made = with_guest(reloads(), 4, state="three")
    modules = {**MODULES, NEW: b"exports agent_migrate"}
    assert finding("I36", made, modules=modules).verdict is Verdict.PASS


def test_a_reload_of_a_state_without_a_crossing_is_named() -> None:
    made = reloads()
    del made.guests[3]
    judged(made, "tick 1: agent 0 is reloaded")


def test_an_agent_without_a_state_needs_no_crossing() -> None:
    made = reloads()
    made.bodies[0]["steps"][0]["status"] = "trap:unreachable"
    del made.guests[3]
    assert finding("I36", with_guest(made, 3, state=""), modules=MODULES).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("block", "events"),
    [
        (2, []),
        (2, [["reloaded", 0, 1, 3]]),
        (2, [["rolled_back", 0, 2, "fuel"]]),
        (4, []),
        (4, [["reloaded", 0, 2, 3]]),
        (4, [["rolled_back", 0, 3, "fuel"]]),
    ],
)
def test_an_end_that_the_events_do_not_tell_is_named(block: int, events: list[Any]) -> None:
    made = reloads()
    made.bodies[block - 1]["events"] = events
    judged(made, f"block {block}")


def test_a_reload_that_nobody_asked_for_is_named() -> None:
    made = reloads()
    made.bodies[1]["inputs"] = []
    judged(made, "no input asks for")


def test_a_reload_that_was_neither_done_nor_refused_is_named() -> None:
    made = reloads()
    made.bodies[2]["inputs"] = [_asked(9, 2, NEW, 4, agent=1)]
    judged(made, "block 3: 1 reloads of agent 1 asked for, 0 done or rolled back, 0 refused")
    made.bodies[2]["events"] = [["illegal", 1, "reload", "terminated"]]
    assert finding("I36", made, modules=MODULES).verdict is Verdict.PASS


def test_a_guest_log_without_modules_leaves_it_unjudged() -> None:
    made = reloads()
    events: list[GuestEvent] = [changed(event, module="") for event in made.guests]
    made.guests = events
    assert finding("I36", made, modules=MODULES).verdict is Verdict.UNKNOWN
