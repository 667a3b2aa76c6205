"""Supervision of groups: strategies, intensity, escalation, quarantine and release (ORC-3)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime_kit import World, config, events, failed

from runtime import fold, state
from runtime.config import problems
from runtime.groups import STRATEGIES
from runtime.state import (
    ACTIVE,
    BACKOFF,
    PAUSED,
    QUARANTINED,
    STARTING,
    TERMINATED,
    Effect,
    Group,
    ModelSpec,
    Operate,
    Outcome,
    Send,
    Submit,
    Task,
)


def group(name: str, *agents: int, **options: Any) -> Group:
    return Group(name=name, agents=agents, **options)


def world_of(*groups: Group, agents: int = 4, **options: Any) -> World:
    world = World(agents=agents, groups=groups, **options)
    while any(one.phase == STARTING for one in world.state.agents):
        world.tick()
    return world


def fail(world: World, *indices: int, at: int | None = None) -> tuple[Any, ...]:
    """These agents' steps fail in the next tick; what its block says."""
    mail = [Send(index, b"x") for index in indices]
    return world.tick(*mail, outcomes={index: failed() for index in indices}, at=at).block.events


def phases(world: World) -> list[str]:
    return [one.phase for one in world.state.agents]


def settled(world: World) -> World:
    """Until nobody waits for a restart."""
    while any(phase in (BACKOFF, STARTING) for phase in phases(world)):
        world.tick()
    return world


# --- strategies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "restarted"), [("one_for_one", [1]), ("one_for_all", [2, 1, 0]), ("rest_for_one", [1, 0])]
)
def test_a_strategy_says_who_is_restarted_with_a_failed_agent_in_the_order_of_the_group(
    strategy: str, restarted: list[int]
) -> None:
    world = world_of(group("g", 2, 1, 0, strategy=strategy))
    seen = fail(world, 1)
    assert ("group_restart", "g", strategy, 1) in seen
    assert [event[1] for event in seen if event[0] == "lifecycle"] == restarted
    world.tick()
    assert sorted(event[1] for event in world.blocks[-1].events if event[0] == "restart") == sorted(restarted)
    assert [one.life for one in world.state.agents] == [int(index in restarted) for index in range(4)]
    assert phases(world) == [ACTIVE] * 4


def test_an_agent_in_no_group_is_supervised_alone_and_its_failure_reaches_nobody() -> None:
    world = world_of(group("g", 0, 1, strategy="one_for_all"))
    fail(world, 3)
    assert phases(world) == [ACTIVE, ACTIVE, ACTIVE, BACKOFF]


def test_siblings_are_restarted_after_all_steps_of_the_tick_whose_effects_stand() -> None:
    world = world_of(group("g", 0, 1, strategy="one_for_all"))
    sent = Outcome("ok", (Effect("send", 3, b"told"),))
    world.tick(Send(0, b"x"), Send(1, b"x"), outcomes={0: failed(), 1: sent})
    assert phases(world)[:2] == [BACKOFF, BACKOFF]
    world.tick()
    assert world.inbox(3) == [b"told"]


def test_two_failures_of_one_tick_that_one_restart_covers_count_once() -> None:
    world = world_of(group("g", 0, 1, strategy="one_for_all", max_restarts=1))
    fail(world, 0, 1)
    assert settled(world).state.restarts == [[1]]
    world = world_of(group("g", 0, 1, max_restarts=1))
    assert [event[0] for event in fail(world, 0, 1) if event[0] in ("group_restart", "escalated")] == [
        "group_restart",
        "escalated",
    ], "one_for_one covers only the one"


def test_the_back_off_is_the_groups_in_ticks_and_all_wait_for_the_last_failure() -> None:
    world = world_of(group("g", 0, 1, strategy="one_for_all", backoff_ticks=5))
    fail(world, 0, at=10)
    assert {one.restart_at for one in world.state.agents[:2]} == {15}
    world.tick()
    assert world.state.tick == 15 and phases(world)[:2] == [ACTIVE, ACTIVE]


def test_a_paused_sibling_is_restarted_and_a_terminated_one_is_left() -> None:
    world = world_of(group("g", 0, 1, 2, strategy="one_for_all"))
    world.tick(Operate("pause", 1), Operate("terminate", 2))
    assert phases(world)[1:3] == [PAUSED, TERMINATED]
    fail(world, 0)
    assert phases(world)[:3] == [BACKOFF, BACKOFF, TERMINATED]
    assert phases(settled(world))[:3] == [ACTIVE, ACTIVE, TERMINATED]


def test_a_restarted_sibling_loses_wakes_requests_and_sessions_and_keeps_its_mail() -> None:
    model = ModelSpec(context=8, digest="0" * 64, kv_bytes=0, name="m", vocabulary=4, delay_ticks=9)
    world = world_of(group("g", 0, 1, strategy="one_for_all"), models=(model,))
    asked = Outcome("ok", (Effect("infer", 0, b"\0\0\0\0\1\0\0\0"), Effect("wake", 50), Effect("send", 1, b"own")))
    world.tick(Send(1, b"x"), outcomes={1: asked})
    (request,) = world.state.requests
    seen = world.tick(
        Send(0, b"x"), outcomes={0: failed(), 1: Outcome("ok", (Effect("send", 1, b"kept"),))}
    ).block.events
    assert ("dropped_result", request.id, 1) in seen
    assert not world.state.requests and not world.state.sessions and not world.agent(1).wakes
    world.tick()
    world.tick()
    assert world.inbox(1) == [b"kept"]


def test_a_restarted_siblings_task_fails_if_it_had_taken_it_and_waits_if_not() -> None:
    model = ModelSpec(context=8, digest="0" * 64, kv_bytes=0, name="m", vocabulary=4, delay_ticks=9)
    world = world_of(group("g", 0, 1, 2, strategy="one_for_all"), models=(model,))
    asked = Outcome("ok", (Effect("infer", 0, b"\0\0\0\0\1\0\0\0"),))
    world.operate("pause", 2)
    tasks = tuple(Task(agent=index, id=f"t{index}") for index in (1, 2))
    world.tick(Submit(tasks), outcomes={1: asked})
    seen = fail(world, 0)
    assert [event[3:] for event in seen if event[0] == "task_failed"] == [("t1", "restarted")]
    settled(world)
    world.tick()
    assert [event[3] for block in world.blocks for event in block.events if event[0] == "task_done"] == ["t2"]


# --- intensity and escalation --------------------------------------------------------------------------------------


def test_beyond_its_restarts_in_the_window_a_group_is_quarantined_as_a_whole_on_record() -> None:
    world = world_of(group("g", 0, 1, max_restarts=2, window_ticks=10))
    for index in (0, 1):
        fail(settled(world), index)
    seen = fail(settled(world), 0)
    assert seen[-5:] == (
        ("escalated", "g", 0),
        ("lifecycle", 0, ACTIVE, QUARANTINED),
        ("quarantined", 0),
        ("lifecycle", 1, ACTIVE, QUARANTINED),
        ("quarantined", 1),
    )
    assert phases(world) == [QUARANTINED, QUARANTINED, ACTIVE, ACTIVE]


def test_failures_that_are_further_apart_than_the_window_never_end_a_group() -> None:
    world = world_of(group("g", 0, 1, max_restarts=1, window_ticks=10))
    for n in range(1, 6):
        fail(settled(world), n % 2, at=world.state.tick + 10)
    assert QUARANTINED not in phases(world)


def test_a_group_without_restarts_is_quarantined_at_once() -> None:
    world = world_of(group("g", 0, 1, max_restarts=0))
    fail(world, 1)
    assert phases(world)[:2] == [QUARANTINED, QUARANTINED]


def nested(outer: str, **options: Any) -> World:
    """Agent 0, the groups `in` of 1 and 2 and `on` of 3, all within `out`; agent 4 is in no group."""
    inside = group("in", 1, 2, within="out", max_restarts=1)
    return world_of(group("out", 0, strategy=outer, **options), inside, group("on", 3, within="out"), agents=5)


@pytest.mark.parametrize(
    ("outer", "restarted"),
    [("one_for_one", [1, 2]), ("one_for_all", [0, 1, 2, 3]), ("rest_for_one", [1, 2, 3])],
)
def test_a_group_that_fails_too_often_is_a_failed_child_of_the_one_around_it(outer: str, restarted: list[int]) -> None:
    world = nested(outer)
    fail(world, 1)
    assert phases(world) == [ACTIVE, BACKOFF, ACTIVE, ACTIVE, ACTIVE]
    seen = fail(settled(world), 2)
    assert [event for event in seen if event[0] in ("escalated", "group_restart")] == [
        ("escalated", "in", 2),
        ("group_restart", "out", outer, 2),
    ]
    assert [index for index, phase in enumerate(phases(world)) if phase == BACKOFF] == restarted
    assert world.state.restarts == [[world.state.tick], [], []], "the inner group begins anew"


def test_an_outermost_group_that_fails_takes_all_within_it_to_quarantine_and_nobody_else() -> None:
    world = nested("one_for_one", max_restarts=0)
    fail(world, 1)
    fail(settled(world), 1)
    assert phases(world) == [QUARANTINED] * 4 + [ACTIVE]


def test_quarantine_takes_who_was_paused_or_waiting_for_a_restart_as_well() -> None:
    world = world_of(group("g", 0, 1, 2, max_restarts=1, backoff_ticks=9))
    world.operate("pause", 1)
    fail(world, 2)
    assert phases(world)[:3] == [ACTIVE, PAUSED, BACKOFF]
    fail(world, 0)
    assert phases(world)[:3] == [QUARANTINED] * 3
    assert world.agent(2).restart_at == -1


def test_an_operator_releases_agents_of_a_quarantined_group_one_by_one_and_it_has_its_restarts_again() -> None:
    world = world_of(group("g", 0, 1, strategy="one_for_all", max_restarts=1))
    for _ in range(2):
        fail(settled(world), 0)
    assert phases(world)[:2] == [QUARANTINED, QUARANTINED]
    world.operate("release", 0)
    assert phases(settled(world))[:2] == [ACTIVE, QUARANTINED]
    seen = fail(world, 0)
    assert ("group_restart", "g", "one_for_all", 0) in seen
    assert phases(world)[:2] == [BACKOFF, QUARANTINED], "who is in quarantine stays there"


def test_mail_of_a_quarantined_group_is_dropped_on_record_and_its_tasks_fail() -> None:
    world = world_of(group("g", 0, 1, max_restarts=0))
    world.operate("pause", 1)
    world.tick(Send(1, b"lost"), Submit((Task(agent=1, id="t"),)))
    seen = fail(world, 0)
    assert [event[2] for event in seen if event[0] == "dropped"] == [1, 1]
    assert [event[3:] for event in seen if event[0] == "task_failed"] == [("t", "gone")]


# --- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "named"),
    [
        ((group("a", 0), group("a", 1)), "groups[1].name: 'a' is there twice"),
        ((group("", 0),), "groups[0].name: '' is no name"),
        ((group("a", 0, strategy="all"),), "groups[0].strategy: 'all' is unknown, use one of one_for_one"),
        ((group("a", 0, within="b"), group("b", 1)), "groups[0].within: no group 'b' is declared before this one"),
        ((group("a", 0, within="a"),), "groups[0].within: no group 'a'"),
        ((group("a", 0, 1), group("b", 1)), "groups[1].agents: agent 1 is in group 'a' already"),
        ((group("a", 0, 0),), "groups[0].agents: agent 0 is in group 'a' already"),
        ((group("a", -1),), "groups[0].agents: -1 is no agent's id"),
        ((group("a", 0, max_restarts=-1),), "groups[0].max_restarts: -1 is not from 0"),
        ((group("a", 0, window_ticks=0),), "groups[0].window_ticks: 0 is not from 1"),
    ],
)
def test_groups_that_cannot_be_are_refused_by_name(groups: tuple[Group, ...], named: str) -> None:
    found = problems(config(groups=groups))
    assert any(text.startswith(named) for text in found), found


def test_a_run_without_groups_and_tasks_is_encoded_as_it_always_was() -> None:
    plain = state.encode(World().state)
    assert b"groups" not in plain and b"graph" not in plain
    told = state.encode(world_of(group("g", 0)).state)
    assert b"groups" in told and state.encode(state.decode(told)) == told


@given(
    st.sampled_from(STRATEGIES),
    st.sampled_from(STRATEGIES),
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), max_size=30),
)
def test_however_agents_fail_no_group_restarts_more_often_than_it_may_and_the_state_goes_on(
    outer: str, inner: str, failures: list[tuple[int, int]]
) -> None:
    inside = group("in", 1, 2, strategy=inner, within="out", max_restarts=2, window_ticks=8)
    world = world_of(group("out", 0, 3, strategy=outer, max_restarts=1, window_ticks=12), inside, agents=5)
    restarts: dict[str, list[int]] = {"out": [], "in": []}
    for index, later in failures:
        for event in fail(world, index, at=world.state.tick + later):
            if event[0] == "group_restart":
                restarts[str(event[1])].append(world.state.tick)
        world.state = fold.copy_state(world.state)
    for name, most, window in (("out", 1, 12), ("in", 2, 8)):
        ticks = restarts[name]
        anew = restarts["out"] if name == "in" else []
        for tick in ticks:
            since = max([at for at in anew if at <= tick], default=-1)
            mine = [at for at in ticks if tick - window < at <= tick and at > since]
            assert len(mine) <= most
    assert events(world.tick(at=world.state.tick + 1), "failed") == []
