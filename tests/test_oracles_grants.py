"""Capability (I17) and quota (I18): what was granted against what was done; damage to either side is named."""

from __future__ import annotations

from typing import Any

import pytest
from oracles_kit import (
    BUFFER,
    CLIENT,
    FUEL,
    LONG,
    MEMORY,
    MESSAGE,
    REFUSED,
    WAKE,
    World,
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


def spec(made: World, agent: int) -> dict[str, Any]:
    found: dict[str, Any] = made.bodies[0]["inputs"][1 + agent]["action"]["spec"]
    return found


def config(made: World) -> dict[str, Any]:
    found: dict[str, Any] = made.bodies[0]["inputs"][0]["action"]["config"]
    return found


@pytest.mark.parametrize("oracle", ["I17", "I18"])
def test_a_good_history_passes_and_one_without_a_guest_log_is_not_judged(oracle: str) -> None:
    made = world()
    assert finding(oracle, made).verdict is Verdict.PASS
    made.guests = []
    assert finding(oracle, made).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("oracle", ["I17", "I18"])
def test_a_spec_without_limits_is_not_judged(oracle: str) -> None:
    made = world()
    made.bodies[0]["inputs"][1]["action"]["spec"] = {"name": "a0", "capabilities": []}
    assert finding(oracle, made).verdict is Verdict.UNKNOWN


# --- capability -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "missing", "op"),
    [
        (0, "messages", "send"),
        (0, "topics", "publish"),
        (0, "buffers", "buffer"),
        (0, "output", "output"),
        (1, "timers", "wake"),
        (2, "topics", "subscribe"),
    ],
)
def test_an_effect_without_its_capability_is_named_on_both_sides(agent: int, missing: str, op: str) -> None:
    made = world()
    capabilities = [name for name in spec(made, agent)["capabilities"] if name != missing]
    made.bodies[0]["inputs"][1 + agent]["action"]["spec"] = {**spec(made, agent), "capabilities": capabilities}
    refuses("I17", made, f"agent {agent} did {op}")
    sides = [line.split()[0] for line in finding("I17", made).evidence]
    assert "block" in sides and "guest" in sides


def test_a_call_that_the_journal_does_not_have_is_named_all_the_same() -> None:
    made = world()
    made.guest(2, 0, calls=(call("infer", 0, b"x"),))
    refuses("I17", made, "guest event 5 effect 0: agent 0 did infer")


def test_an_effect_that_the_module_did_not_have_is_named_all_the_same() -> None:
    made = world()
    made.step(3, 2)["effects"] = [["infer", 0, ""]]
    refuses("I17", made, "block 3 step 2 effect 0: agent 2 did infer")


def test_a_write_to_another_ones_buffer_is_named() -> None:
    made = world()
    config(made)["buffers"][0]["writer"] = 1
    refuses("I17", made, "agent 0 wrote buffer 0, of which it is no writer")


def test_what_a_failed_step_tried_is_no_effect() -> None:
    made = world()
    made.guest(2, 1, calls=(call("infer", 0, b"x"),))
    made.step(3, 1).update(status="not_writer", effects=[])
    assert finding("I17", made).verdict is Verdict.PASS


@pytest.mark.parametrize("phase", ["terminated", "quarantined"])
def test_a_step_after_an_agents_end_is_named_and_one_after_its_release_is_not(phase: str) -> None:
    made = world()
    made.bodies[1]["events"].append(["lifecycle", 1, "active", phase])
    refuses("I17", made, "block 3 step 1: a step of agent 1, which ended in block 2")
    made.bodies[2]["events"] = [["lifecycle", 1, "quarantined", "starting"]]
    assert finding("I17", made).verdict is Verdict.PASS


def test_one_in_quarantine_may_be_given_another_module_and_one_that_was_terminated_may_not() -> None:
    made = world()
    made.bodies[1]["events"].append(["lifecycle", 1, "active", "quarantined"])
    made.step(3, 1)["kind"] = "reload"
    assert not [line for line in finding("I17", made).evidence if "which ended" in line]
    made.bodies[1]["events"][-1][-1] = "terminated"
    refuses("I17", made, "block 3 step 1: a step of agent 1, which ended in block 2")


# --- quota ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"granted": FUEL + 1}, f"was given {FUEL + 1} fuel, its limit is {FUEL}"),
        ({"used": FUEL + 1}, f"used {FUEL + 1} fuel of {FUEL}"),
        ({"memory": MEMORY + 65_536}, f"has {MEMORY + 65_536} bytes of memory, its limit is {MEMORY}"),
    ],
)
def test_fuel_and_memory_beyond_the_grant_are_named(changes: dict[str, int], named: str) -> None:
    made = world()
    made.guest(2, 1, **changes)
    refuses("I18", made, f"guest event 6: agent 1 {named}")


@pytest.mark.parametrize("limit", ["fuel", "memory"])
def test_a_smaller_grant_in_the_journal_is_as_bad(limit: str) -> None:
    made = world()
    spec(made, 1)["limits"] = {**spec(made, 1)["limits"], limit: 89}
    refuses("I18", made, "agent 1")


def test_a_repeated_crossing_has_its_limits_as_well() -> None:
    made = world()
    made.guests.append(changed(made.guests[6], granted=FUEL + 5))
    refuses("I18", made, "guest event 8: agent 1 was given")


@pytest.mark.parametrize("unknown", ["granted", "used", "memory"])
def test_a_crossing_without_a_record_of_its_use_is_not_judged(unknown: str) -> None:
    made = world()
    made.guest(2, 1, **{unknown: -1})
    assert finding("I18", made).verdict is Verdict.UNKNOWN


def test_a_crossing_that_died_has_none() -> None:
    made = world()
    made.guests.insert(0, crossing(0, 0, "init", status="died", used=-1, memory=-1))
    assert finding("I18", made).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("option", "bound", "named"),
    [
        ("send_limit", 5, "agent 0 has 6 calls with an effect, the bound is 5"),
        ("max_payload", len(LONG) - 1, "bytes in one call"),
        ("mailbox", 1, "agent 1 has 2 messages in its inbox, the bound is 1"),
        ("max_tasks_per_tick", 2, "3 steps, the bound is 2"),
    ],
)
def test_a_step_beyond_a_bound_of_the_configuration_is_named_and_one_at_it_is_not(
    option: str, bound: int, named: str
) -> None:
    made = world()
    config(made)[option] = bound
    refuses("I18", made, named)
    config(made)[option] = bound + 1
    assert finding("I18", made).verdict is Verdict.PASS


def test_refusals_results_and_wakes_do_not_count_as_messages_and_refusals_have_a_bound() -> None:
    made = world()
    config(made).update(mailbox=2, send_limit=6)
    one, two, wake = inbox_of(made.guests[6])
    back = tuple(envelope(REFUSED, 2, 9, 4, b"") for _ in range(6))
    version = envelope(BUFFER, 0, 1, 0, LONG)
    made.guest(2, 1, inbox=(one, two, wake, *back, version))
    assert finding("I18", made).verdict is Verdict.PASS
    made.guest(2, 1, inbox=(one, two, wake, *back, back[0]))
    refuses("I18", made, "7 refusals in its inbox")
    made.guest(2, 1, inbox=(one, two, envelope(WAKE, CLIENT, 0, 0, b"task"), version))
    refuses("I18", made, "3 messages in its inbox")
    made.guest(2, 1, inbox=(one, envelope(MESSAGE, 0, 77, 0, b""), two))
    refuses("I18", made, "3 messages in its inbox")


def test_a_step_that_never_crossed_is_left_to_others() -> None:
    made = world()
    made.bodies[2]["steps"].append(step(2, 9))
    assert finding("I17", made).verdict is Verdict.PASS
