"""The life of an agent: every transition, legal or not, at a tick boundary and on record (ORC-2, ORC-3, ORC-4)."""

from __future__ import annotations

import pytest
from runtime_kit import World, events, failed

from runtime.lifecycle import ACTIONS, ALLOWED
from runtime.state import (
    ACTIVE,
    BACKOFF,
    PAUSED,
    QUARANTINED,
    STARTING,
    TERMINATED,
    Effect,
    Outcome,
    Publish,
    Send,
)


def fail(world: World, index: int = 0, times: int = 1) -> None:
    """Let the agent fail, with the restarts between."""
    for _ in range(times):
        while world.agent(index).phase in (BACKOFF, STARTING):
            world.tick()
        world.tick(Send(index, b""), outcomes={index: failed()})


def in_phase(phase: str) -> World:
    """A world whose agent 0 is in this phase when the next tick begins."""
    world = World(agents=2, backoff_ticks=50, max_restarts=1, max_tasks_per_tick=1)
    while world.agent(1).phase == STARTING and phase != STARTING:
        world.tick()
    if phase == STARTING:
        world = World(agents=2, max_tasks_per_tick=1)
        assert world.agent(1).phase == STARTING
        world.state.agents.reverse()
        return world
    if phase == PAUSED:
        world.operate("pause", 0)
    elif phase == BACKOFF:
        fail(world)
    elif phase == QUARANTINED:
        fail(world, times=2)
    elif phase == TERMINATED:
        world.operate("terminate", 0)
    assert world.agent(0).phase == phase
    return world


LEGAL = {
    ("pause", ACTIVE): PAUSED,
    ("resume", PAUSED): ACTIVE,
    ("release", QUARANTINED): STARTING,
    **{("terminate", phase): TERMINATED for phase in (STARTING, ACTIVE, PAUSED, BACKOFF, QUARANTINED)},
}
PHASES = (STARTING, ACTIVE, PAUSED, BACKOFF, QUARANTINED, TERMINATED)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_an_operator_moves_an_agent_or_is_refused_by_name(action: str, phase: str) -> None:
    world = in_phase(phase)
    seen = [event for event in world.operate(action, 0) if event[1] == 0]
    target = LEGAL.get((action, phase))
    if target:
        assert seen[0] == ("lifecycle", 0, phase, target)
    else:
        assert seen[0] == ("illegal", 0, action, phase)


def test_every_transition_that_exists_is_allowed_and_no_other() -> None:
    assert {(a, b) for a, targets in ALLOWED.items() for b in targets} == {
        (STARTING, ACTIVE), (STARTING, BACKOFF), (STARTING, QUARANTINED), (STARTING, TERMINATED),
        (ACTIVE, PAUSED), (ACTIVE, BACKOFF), (ACTIVE, QUARANTINED), (ACTIVE, TERMINATED),
        (PAUSED, ACTIVE), (PAUSED, BACKOFF), (PAUSED, QUARANTINED), (PAUSED, TERMINATED),
        (BACKOFF, STARTING), (BACKOFF, QUARANTINED), (BACKOFF, TERMINATED),
        (QUARANTINED, STARTING), (QUARANTINED, TERMINATED),
    }  # fmt: skip


def test_a_life_is_initialise_activate_pause_resume_terminate_each_on_record() -> None:
    world = World(agents=1)
    assert world.blocks[0].events == (("lifecycle", 0, STARTING, ACTIVE),)
    assert world.records[0].kind == "init"
    assert world.operate("pause", 0) == (("lifecycle", 0, ACTIVE, PAUSED),)
    assert world.operate("resume", 0) == (("lifecycle", 0, PAUSED, ACTIVE),)
    assert world.operate("terminate", 0) == (("lifecycle", 0, ACTIVE, TERMINATED),)


def test_an_action_takes_effect_before_the_steps_of_its_tick_and_not_within_one() -> None:
    world = World(agents=2)
    world.operate("pause", 0)
    world.tick(Send(0, b"waits"), Send(1, b""))
    assert world.ran() == [1] and len(world.agent(0).mailbox) == 1


def test_a_failed_step_backs_off_and_restarts_from_init_alone() -> None:
    """ORC-3: one_for_one."""
    world = World(agents=2, backoff_ticks=5)
    world.tick(Send(0, b""), Send(1, b""), outcomes={0: failed("agent_error:3")})
    assert world.blocks[-1].events == (("failed", 0, "agent_error:3"), ("lifecycle", 0, ACTIVE, BACKOFF))
    world.tick()
    assert world.state.tick == 6 and [(r.agent, r.kind, r.n) for r in world.records] == [(0, "init", 3)]
    assert world.blocks[-1].events[:2] == (("lifecycle", 0, BACKOFF, STARTING), ("restart", 0, 1))
    assert world.agent(0).phase == ACTIVE and world.agent(1).life == 0


def test_an_init_that_fails_counts_like_any_step() -> None:
    world = World(agents=1, started=False, max_restarts=2)
    world.tick(*world.genesis, source="genesis", outcomes={0: failed("refused:import")})
    assert world.agent(0).phase == BACKOFF
    for _ in range(2):
        world.tick(outcomes={0: failed("refused:import")})
    assert world.agent(0).phase == QUARANTINED
    assert world.blocks[-1].events[-2:] == (("lifecycle", 0, STARTING, QUARANTINED), ("quarantined", 0))


def test_too_many_restarts_within_the_window_quarantine() -> None:
    world = World(agents=1, max_restarts=3, window_ticks=100)
    fail(world, times=3)
    assert world.agent(0).phase == BACKOFF
    fail(world)
    assert world.agent(0).phase == QUARANTINED
    world.tick(Send(0, b"more"))
    assert world.ran() == []
    assert [e[0] for e in world.blocks[-1].events] == ["dropped"]


def test_restarts_that_have_left_the_window_count_no_more() -> None:
    world = World(agents=1, max_restarts=2, window_ticks=10)
    for _ in range(8):
        fail(world)
        assert world.agent(0).phase == BACKOFF
        world.tick(at=world.state.tick + 9)
    assert world.agent(0).life == 8


@pytest.mark.parametrize("gap", [9, 10])
def test_the_window_is_exact_to_the_tick(gap: int) -> None:
    world = World(agents=1, max_restarts=1, window_ticks=10, backoff_ticks=1)
    world.tick(Send(0, b""), at=10, outcomes={0: failed()})
    world.tick(at=11)
    world.tick(Send(0, b""), at=10 + gap, outcomes={0: failed()})
    assert world.agent(0).phase == (BACKOFF if gap == 10 else QUARANTINED)


def test_release_begins_a_new_life_with_a_clean_record() -> None:
    """ORC-4."""
    world = World(agents=1, max_restarts=1)
    fail(world, times=2)
    life = world.agent(0).life
    world.operate("release", 0)
    assert [(r.agent, r.kind) for r in world.records] == [(0, "init")]
    assert (world.agent(0).phase, world.agent(0).life, world.agent(0).restarts) == (ACTIVE, life + 1, [])
    fail(world)
    assert world.agent(0).phase == BACKOFF


def test_what_is_sent_to_a_quarantined_agent_is_dropped_on_record() -> None:
    world = World(agents=2, max_restarts=0)
    late = Outcome("ok", (Effect("send", 0, b"late"),))
    committed = world.tick(Send(0, b""), Send(1, b""), outcomes={0: failed(), 1: late})
    assert world.agent(0).phase == QUARANTINED and world.agent(0).mailbox == []
    assert len(events(committed, "dropped")) == 1


def test_what_a_failing_agent_was_sent_meanwhile_is_for_its_next_life() -> None:
    world = World(agents=2)
    early = Outcome("ok", (Effect("send", 0, b"early"),))
    world.tick(Send(0, b""), Send(1, b""), outcomes={0: failed(), 1: early})
    world.tick()
    world.tick()
    assert world.agent(0).life == 1 and world.inbox(0) == [b"early"]


def test_failing_agents_leave_the_others_alone() -> None:
    world = World(agents=3)
    for _ in range(6):
        world.tick(*(Send(n, b"") for n in range(3)), Publish(b"", 0), outcomes={1: failed()})
    assert [world.agent(n).life for n in (0, 2)] == [0, 0] and world.agent(1).life == 3
    assert world.agent(1).phase == QUARANTINED
