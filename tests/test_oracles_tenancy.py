"""Tenants' quotas in I18, and their agents' waits in I12: hand-made histories, good ones and damaged ones."""

from __future__ import annotations

from typing import Any

import pytest
from oracles_kit import FILL, FUEL, MEMORY, World, finding, refuses, world

from harness.oracles import Verdict
from harness.oracles.tenancy import Member, Tenants

OTHER = {"fuel": 0, "memory": 0, "messages": 0, "name": "b", "tasks": 0}


def of_tenants(*of: int, **quotas: int) -> World:
    """The kit's run with its three agents in tenants; the first tenant has these quotas, the second none."""
    made = world()
    first, *spawns = made.bodies[0]["inputs"]
    first["action"]["config"]["tenants"] = [{**OTHER, "name": "a", **quotas}, OTHER]
    for number, item in zip(of, spawns, strict=False):
        item["action"]["spec"]["tenant"] = number
    return made


def told(made: World, *event: Any) -> World:
    made.bodies[1]["events"] = [*made.bodies[1]["events"], list(event)]
    return made


@pytest.mark.parametrize("oracle", ["I18", "I12"])
@pytest.mark.parametrize(
    "quotas", [{}, {"tasks": 3}, {"fuel": 3 * FUEL}, {"messages": 4}, {"memory": 3 * MEMORY}], ids=str
)
def test_a_run_within_its_quotas_passes(oracle: str, quotas: dict[str, int]) -> None:
    made = of_tenants(0, 0, 0, **quotas)
    assert finding(oracle, made).verdict is Verdict.PASS, finding(oracle, made)
    assert finding(oracle, of_tenants(0, 1, **quotas)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("quotas", "line"),
    [
        ({"tasks": 2}, "block 1: tenant 0 has 3 tasks, its quota is 2"),
        ({"fuel": 2 * FUEL + 1}, f"block 1: tenant 0 has {3 * FUEL} fuel, its quota is {2 * FUEL + 1}"),
        ({"memory": 2 * MEMORY}, f"block 1: tenant 0 has {3 * MEMORY} memory, its quota is {2 * MEMORY}"),
        ({"messages": 3}, "tick 1: tenant 0 sent 4 messages, its quota is 3"),
    ],
    ids=str,
)
def test_what_is_beyond_a_quota_is_named(quotas: dict[str, int], line: str) -> None:
    refuses("I18", of_tenants(0, 0, 0, **quotas), line)


@pytest.mark.parametrize(
    ("quotas", "why", "line"),
    [
        ({"tasks": 3}, "tasks", "tenant 0 is deferred by its tasks, and took 2 steps of 3"),
        ({"fuel": 3 * FUEL}, "fuel", f"tenant 0 is deferred by its fuel, and was granted {2 * FUEL} of {3 * FUEL}"),
        ({}, "share", "tenant 0 is deferred by its share, in a tick of 2 steps of 9"),
    ],
    ids=str,
)
def test_a_deferral_without_a_cause_is_named(quotas: dict[str, int], why: str, line: str) -> None:
    refuses("I18", told(of_tenants(0, 0, 0, **quotas), "deferred", 0, why), f"block 2: {line}")


def test_turns_that_are_not_shared_alike_are_named() -> None:
    made = told(of_tenants(1, 1, 0), "deferred", 0, "share")
    made.bodies[0]["inputs"][0]["action"]["config"]["max_tasks_per_tick"] = 2
    refuses("I18", made, "tenant 0 is deferred by its share with 0 steps, while tenant 1 has 2")


def test_a_message_refused_for_a_quota_that_has_room_is_named() -> None:
    made = of_tenants(0, 0, 0, messages=4)
    made.bodies[1]["events"][0] = ["refused_message", FILL, 0, 6]
    refuses("I18", made, f"number {FILL} (guest event 3 call 3) was refused for a quota of 4, of which 3 were used")
    made.bodies[0]["inputs"][0]["action"]["config"]["tenants"][0]["messages"] = 3
    assert not [line for line in finding("I18", made).evidence if "refused for a quota" in line]


def test_more_than_an_equal_share_of_a_mailbox_is_named() -> None:
    made = of_tenants(0, 1, 1)
    made.bodies[0]["inputs"][0]["action"]["config"]["mailbox"] = 4
    line = "agent 1 has 2 messages of tenant 0 in its inbox, an equal share is 1"
    refuses("I18", made, f"guest event 6: {line}")


def test_a_wait_is_bounded_by_the_own_tenants_agents_and_quotas() -> None:
    members = [Member(0, 10, 0)] * 5 + [Member(1, 10, 0)] * 90 + [Member(2, 10, 0)]
    config: dict[str, Any] = {"max_tasks_per_tick": 12, "tenants": [{"tasks": 2}, {"fuel": 25}]}
    assert [Tenants(config).rounds(members, tenant) for tenant in range(3)] == [3, 45, 1]
    config |= {"max_tasks_per_tick": 1, "tenants": [{}, {}]}
    assert [Tenants(config).rounds(members, tenant) for tenant in range(3)] == [15, 270, 3]


def test_an_agent_that_waits_for_another_tenants_load_is_named() -> None:
    """Agent 2 starts a tick late: its tenant has room, and no other one's steps excuse it."""
    made = of_tenants(0, 0, 1, tasks=1)
    late = made.bodies[0]["steps"].pop()
    made.bodies[0]["events"].pop()
    made.bodies[1]["steps"].append(late)
    refuses("I12", made, "agent 2, ready since tick 0, does not run in tick 0, bound 1")
