"""Selection: one total order, and nobody starves (SCH-1, SCH-2)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime_kit import World, agent

from runtime import scheduler
from runtime.scheduler import POLICIES, wait_bound
from runtime.state import ACTIVE, STARTING, Operate, Send


def world_of(priorities: list[int], per_tick: int, policy: str) -> World:
    """All agents are active when it begins."""
    specs = [agent(f"a{n}", priority=priority) for n, priority in enumerate(priorities)]
    world = World(*specs, max_tasks_per_tick=per_tick, policy=policy)
    while any(a.phase == STARTING for a in world.state.agents):
        world.tick()
    return world


@given(
    st.sampled_from(POLICIES),
    st.lists(st.integers(-3, 12), min_size=1, max_size=6),
    st.integers(1, 4),
    st.lists(st.sets(st.integers(0, 5)), max_size=80),
)
def test_a_ready_agent_runs_within_the_stated_bound(
    policy: str, priorities: list[int], per_tick: int, floods: list[set[int]]
) -> None:
    """Whoever is flooded, however often: the wait of each is bounded by `wait_bound` ticks."""
    world = world_of(priorities, per_tick, policy)
    bound = wait_bound(len(priorities), per_tick, policy)
    waits = [0] * len(priorities)
    for flooded in floods:
        world.tick(*(Send(a, b"") for a in sorted(flooded) if a < len(priorities)), at=world.state.tick + 1)
        ran = world.ran()
        assert len(ran) <= per_tick and len(set(ran)) == len(ran)
        for index, state in enumerate(world.state.agents):
            waits[index] = waits[index] + 1 if scheduler.ready(state) and index not in ran else 0
            assert waits[index] < bound, (policy, index, waits)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("priority", [-1000, 0, 7, 1_000_000])
def test_no_agent_starves_beside_others_that_are_always_ready(policy: str, priority: int) -> None:
    world = world_of([7, priority, priority], 1, policy)
    bound = wait_bound(3, 1, policy)
    ran = []
    for _ in range(3 * bound):
        world.tick(Send(0, b""), Send(1, b""), Send(2, b""))
        ran += world.ran()
    for index in range(3):
        gaps = [place for place, who in enumerate(ran) if who == index]
        assert gaps[0] < bound and all(b - a <= bound for a, b in itertools.pairwise(gaps))


def test_round_robin_goes_on_after_the_one_that_ran_last() -> None:
    world = world_of([0] * 5, 2, "round_robin")
    order: list[int] = []
    for _ in range(10):
        world.tick(*(Send(a, b"") for a in range(5)))
        order += world.ran()
    assert order == [(order[0] + turn) % 5 for turn in range(20)]


def test_priority_runs_the_urgent_first_and_equals_by_number() -> None:
    world = world_of([3, 0, 3, 0], 4, "priority")
    world.tick(*(Send(a, b"") for a in range(4)))
    assert world.ran() == [1, 3, 0, 2]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_state_says_since_when_who_has_to_wait_has_been_ready_and_of_nobody_else(policy: str) -> None:
    """It is part of the root that a block carries, so it must not depend on how the selection is made."""
    world = world_of([0, 0, 0], 1, policy)
    world.tick(Send(0, b""), Send(1, b""), Send(2, b""))
    first = world.state.tick
    waiting = [agent.ready_since for agent in world.state.agents]
    assert sorted(waiting) == [-1, first, first]
    while any(scheduler.ready(agent) for agent in world.state.agents):
        world.tick()
    assert [agent.ready_since for agent in world.state.agents] == [-1, -1, -1]
    world.tick(Send(0, b""))
    assert [agent.ready_since for agent in world.state.agents] == [-1, -1, -1]


def test_waiting_makes_the_unimportant_urgent() -> None:
    world = world_of([0, 1], 1, "priority")
    order = []
    for _ in range(2 * scheduler.AGING):
        world.tick(Send(0, b""), Send(1, b""))
        order += world.ran()
    assert order.index(1) == scheduler.AGING + 1  # those that became ready together with it go first


def test_what_is_not_chosen_keeps_its_inbox() -> None:
    world = world_of([0, 0, 0], 1, "round_robin")
    world.tick(Send(0, b"0"), Send(1, b"1"), Send(2, b"2"))
    seen = {who: world.inbox(who) for who in world.ran()}
    while len(seen) < 3:
        world.tick()
        seen |= {who: world.inbox(who) for who in world.ran()}
    assert seen == {0: [b"0"], 1: [b"1"], 2: [b"2"]}


def test_agents_that_start_share_the_ticks_with_those_that_run() -> None:
    world = World(agents=5, max_tasks_per_tick=2)
    started = [world.ran()]
    while len(world.ran()) and any(a.phase == STARTING for a in world.state.agents):
        world.tick()
        started.append(world.ran())
    assert started == [[0, 1], [2, 3], [4]] and all(a.phase == ACTIVE for a in world.state.agents)


def test_paused_agents_are_not_chosen_and_hold_up_nobody() -> None:
    world = world_of([0, 0], 1, "round_robin")
    world.tick(Operate("pause", 0), Send(0, b"kept"), Send(1, b""))
    assert world.ran() == [1]
    world.tick(Operate("resume", 0))
    assert world.ran() == [0] and world.inbox(0) == [b"kept"]
