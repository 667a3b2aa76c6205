"""Bounded wait (I12), on hand-made journals: mail, wakes, tasks and lives, each waited for too long, or not."""

from __future__ import annotations

from typing import Any

import pytest
from oracles_kit import FILL, World, b64, finding, refuses, step, world

from harness.oracles import Verdict
from harness.oracles.waiting import bound
from runtime.scheduler import POLICIES, wait_bound


def config(made: World) -> dict[str, Any]:
    found: dict[str, Any] = made.bodies[0]["inputs"][0]["action"]["config"]
    return found


def without(made: World, block: int, agent: int) -> None:
    """The agent is passed over in this block."""
    made.bodies[block - 1]["steps"] = [s for s in made.bodies[block - 1]["steps"] if s["agent"] != agent]


def test_a_good_history_passes_and_one_without_a_journal_is_not_judged() -> None:
    made = world()
    assert finding("I12", made).verdict is Verdict.PASS
    made.bodies[0]["inputs"] = made.bodies[0]["inputs"][1:]
    assert finding("I12", made).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("agents", "most"), [(1, 1), (7, 3), (9, 9), (100, 8)])
def test_the_oracles_bound_is_the_one_that_the_scheduler_promises(policy: str, agents: int, most: int) -> None:
    assert bound(agents, most, policy) == wait_bound(agents, most, policy)


@pytest.mark.parametrize(
    ("block", "agent", "named"),
    [
        (1, 2, "block 1: agent 2, ready since tick 0, does not run in tick 0, bound 1"),  # never started
        (2, 0, "block 2: agent 0, ready since tick 1, does not run in tick 1, bound 1"),  # an input, at its start
        (2, 1, "block 2: agent 1, ready since tick 1"),  # a task
        (3, 0, "block 3: agent 0, ready since tick 2"),  # a refusal that came back
        (3, 1, "block 3: agent 1, ready since tick 2"),  # messages, and a wake
        (3, 2, "block 3: agent 2, ready since tick 2"),  # a publication
    ],
)
def test_an_agent_that_is_passed_over_is_named(block: int, agent: int, named: str) -> None:
    made = world()
    without(made, block, agent)
    refuses("I12", made, named)


def test_a_wake_of_its_own_is_enough_to_be_ready_and_a_refused_one_is_not() -> None:
    made = world()
    made.step(2, 0)["effects"] = []
    made.bodies[1]["events"] = []
    without(made, 3, 0)
    without(made, 3, 2)
    assert finding("I12", made).verdict is Verdict.PASS
    without(made, 3, 1)
    refuses("I12", made, "block 3: agent 1, ready since tick 2")
    made.bodies[1]["events"] = [["refused_wake", 1, 2]]
    assert finding("I12", made).verdict is Verdict.PASS


def test_a_due_tick_that_is_left_out_is_named() -> None:
    made = world()
    config(made)["last_tick"] = 5
    made.bodies[3]["tick"] = 5
    made.step(3, 1)["effects"] = [["wake", 1, ""]]
    refuses("I12", made, "block 3: agent 1, ready since tick 3, does not run in tick 4, bound 1")
    made.step(3, 1)["effects"] = [["wake", 3, ""]]
    assert finding("I12", made).verdict is Verdict.PASS


def test_a_message_that_was_refused_makes_nobody_ready() -> None:
    made = world()
    made.step(3, 0)["effects"] = [["send", 2, b64(b"x")]]
    made.bodies[3]["tick"] = 4
    refuses("I12", made, "agent 2, ready since tick 3")
    made.step(3, 1)["effects"] = []
    made.bodies[2]["events"] = [["dropped", FILL + 1, 2]]
    assert finding("I12", made).verdict is Verdict.PASS


def test_in_turn_an_agent_waits_as_many_rounds_as_there_are_and_no_more() -> None:
    made = world()
    config(made)["max_tasks_per_tick"] = 2
    late = step(2, 1, "init")
    made.bodies[0]["steps"] = made.bodies[0]["steps"][:2]
    made.bodies[1]["steps"].append(late)
    made.bodies[1]["events"].append(made.bodies[0]["events"].pop())
    assert finding("I12", made).verdict is Verdict.PASS
    without(made, 2, 2)
    refuses("I12", made, "block 2: agent 2, ready since tick 0, does not run in tick 1, bound 2")


def test_who_is_paused_does_not_wait_and_who_goes_on_waits_from_then_on() -> None:
    made = world()
    made.bodies[2]["events"] = [["lifecycle", 1, "active", "paused"]]
    without(made, 3, 1)
    assert finding("I12", made).verdict is Verdict.PASS
    made.bodies[2]["events"].append(["lifecycle", 1, "paused", "active"])
    refuses("I12", made, "block 3: agent 1, ready since tick 2, does not run in tick 2")


def test_who_failed_forgets_its_wakes_and_who_is_gone_has_no_mail() -> None:
    made = world()
    made.step(2, 0)["effects"] = []
    made.bodies[1]["events"] = [["failed", 1, "trap:unreachable"], ["lifecycle", 1, "active", "backoff"]]
    made.bodies[2]["steps"] = []
    assert finding("I12", made).verdict is Verdict.PASS
    made.bodies[2]["events"] = [["lifecycle", 1, "backoff", "starting"], ["restart", 1, 1]]
    refuses("I12", made, "block 3: agent 1, ready since tick 2, does not run in tick 2")
    made.bodies[1]["events"][1][3] = "quarantined"
    made.bodies[1]["inputs"] += [{"source": "bank", "n": 3, "tick": 1, "action": {"do": "send", "agent": 1}}]
    made.bodies[2]["events"] = []
    assert finding("I12", made).verdict is Verdict.PASS
