"""Hot reload (WAS-7, ORC-4): a step of its own in the fold, in a worker, and under faults in the middle of it."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from runtime_kit import World, booted, events, failed, plan_of, play, sends, simulation

from harness.check import Checked, Checker
from harness.history import History
from runtime import journal, state
from runtime.errors import Refused
from runtime.state import (
    ACTIVE,
    BACKOFF,
    PAUSED,
    QUARANTINED,
    STARTING,
    TERMINATED,
    Outcome,
    Reload,
    Send,
)
from scenarios.upgrade import UPGRADE, ending

NEW = "1" * 64
IMAGED = Outcome("ok", (), "image")


def reload(index: int = 0, version: int = 2, module: str = NEW) -> Reload:
    return Reload(index, module, version)


def begun(**options: Any) -> World:
    world = World(agents=3, **options)
    assert all(one.phase == ACTIVE for one in world.state.agents)
    return world


# --- the fold ---------------------------------------------------------------------------------------------------------


def test_a_reload_is_a_step_in_its_agents_turn_and_its_mail_waits() -> None:
    world = begun()
    told = world.tick(Send(0, b"mail"), Send(1, b"other"), reload(), outcomes={0: IMAGED})
    first, second = world.records
    assert (first.agent, first.kind, first.inbox) == (0, "reload", ()) and (second.agent, second.kind) == (1, "step")
    assert world.records[0].snapshot and world.records[0].change is not None
    assert events(told, "reloaded") == [("reloaded", 0, 1, 2)]
    assert (world.agent(0).spec.module, world.agent(0).version) == (NEW, 2)
    world.tick()
    assert world.inbox(0) == [b"mail"] and world.records[0].change is None


def test_nothing_but_the_module_changes() -> None:
    world = begun()
    before = world.agent(0).spec
    world.tick(reload(), outcomes={0: IMAGED})
    after = world.agent(0)
    assert (after.phase, after.life, after.restarts) == (ACTIVE, 0, [])
    assert (after.spec.capabilities, after.spec.limits, after.spec.name) == (before.capabilities, before.limits, "a0")


@pytest.mark.parametrize("status", ["refused:abi", "layout", "trap:unreachable", "agent_error:7", "fuel"])
def test_a_reload_that_fails_leaves_the_agent_as_it_was_and_counts_for_nothing(status: str) -> None:
    world = begun(max_restarts=0)
    before = world.agent(0).spec
    told = world.tick(Send(0, b"mail"), reload(), outcomes={0: failed(status)})
    assert events(told, "rolled_back") == [("rolled_back", 0, 2, status)]
    assert not events(told, "failed") and not events(told, "lifecycle")
    after = world.agent(0)
    assert (after.spec, after.phase, after.restarts, after.version) == (before, ACTIVE, [], state.UNSET)
    world.tick()
    assert world.inbox(0) == [b"mail"]


def test_a_failed_reload_drops_its_effects_and_a_good_one_sends_them() -> None:
    world = begun()
    world.tick(reload(), outcomes={0: sends(1)})
    world.tick()
    assert world.inbox(1) == [b"x"]
    world.tick(reload(), outcomes={0: Outcome("fuel", sends(2).effects)})
    assert not any(one.mailbox for one in world.state.agents)


def test_the_version_before_is_the_one_that_the_last_reload_brought() -> None:
    world = begun()
    world.tick(reload(version=7), outcomes={0: IMAGED})
    world.tick(reload(version=3), outcomes={0: failed()})
    world.tick(reload(version=4), outcomes={0: IMAGED})
    change = world.records[0].change
    assert change is not None and (change.before, change.version) == (7, 4)


@pytest.mark.parametrize(
    ("phase", "why"),
    [(ACTIVE, ""), (PAUSED, ""), (STARTING, ""), (BACKOFF, ""), (QUARANTINED, ""), (TERMINATED, TERMINATED)],
)
def test_an_agent_is_reloaded_in_every_phase_but_the_last(phase: str, why: str) -> None:
    from test_runtime_lifecycle import in_phase

    world = in_phase(phase)
    told = world.tick(reload())
    if why:
        assert events(told, "illegal") == [("illegal", 0, "reload", why)]
        return
    (change,) = [record.change for record in world.records if record.kind == "reload"]
    assert change is not None and change.carried is (phase in (ACTIVE, PAUSED))
    assert world.agent(0).phase in (phase, STARTING) and world.agent(0).spec.module == NEW


@pytest.mark.parametrize(
    ("actions", "why"),
    [
        ([reload(9)], "unknown"),
        ([reload(), reload(version=3)], "reloading"),
        ([reload(version=-1)], "version"),
        ([reload(version=1 << 31)], "version"),
    ],
)
def test_what_cannot_be_reloaded_is_refused_on_record(actions: list[Reload], why: str) -> None:
    world = begun()
    told = world.tick(*actions, outcomes={0: IMAGED})
    assert [event[2:] for event in events(told, "illegal")] == [("reload", why)]


def test_a_termination_in_the_same_tick_takes_the_reload_with_it() -> None:
    world = begun()
    told = world.tick(reload(), state.Operate("terminate", 0))
    assert events(told, "illegal") == [("illegal", 0, "reload", TERMINATED)]
    assert not [record for record in world.records if record.kind == "reload"]


def test_the_last_tick_reloads_nobody() -> None:
    world = begun(last_tick=2)
    told = world.tick(reload(), at=2)
    assert events(told, "illegal") == [("illegal", 0, "reload", "closing")]


def test_a_failed_reload_is_no_failure_of_its_group() -> None:
    group = state.Group(name="g", agents=(0, 1), strategy="one_for_all")
    world = World(agents=2, groups=(group,))
    told = world.tick(reload(), outcomes={0: failed()})
    assert not events(told, "group_restart") and world.agent(1).phase == ACTIVE


def test_a_call_with_a_version_that_no_module_can_be_told_is_refused() -> None:
    run = simulation("upgrade")
    orchestrator = booted(run)
    with pytest.raises(Refused, match="version is -1"):
        orchestrator.reload(0, NEW, -1)


# --- under faults -----------------------------------------------------------------------------------------------------


@cache
def checker() -> Checker:
    return Checker(UPGRADE)


def checked(*faults: str, **options: Any) -> Checked:
    return checker().check(plan_of("upgrade", *faults, **options))


def statuses(history: History) -> dict[tuple[int, int], str]:
    """(tick, agent) -> how its reload ended."""
    blocks = [line.block for line in journal.read(history.journal).lines]
    return {(block.tick, step.agent): step.status for block in blocks for step in block.steps if step.kind == "reload"}


def test_every_way_in_which_a_reload_can_end_is_in_the_scenario() -> None:
    ends = statuses(play("upgrade"))
    assert {ends[12, 0], ends[14, 0], ends[25, 2], ends[28, 2]} == {"ok"}
    assert (ends[16, 0], ends[18, 0], ends[20, 1], ends[22, 1]) == (
        "trap:unreachable",
        "layout",
        "agent_error:7",
        "refused:digest",
    )
    assert ending(1, 2, True) == "ok" == ending(3, 4, False)


# Tick 25, agent 2: version 1 to 3, which migrates and says so in host call 1. Tick 20, agent 1: it fails by its code.
@pytest.mark.parametrize(
    "faults",
    [
        ("worker.kill@tick:25,agent:2,hostcall:1",),
        ("worker.kill@tick:25,agent:2,point:after",),
        ("worker.kill@tick:25,agent:2",),
        ("worker.kill@tick:20,agent:1,hostcall:1", "worker.kill@tick:21,agent:1"),
        ("worker.kill@tick:16,agent:0,hostcall:1",),
        ("worker.stall@tick:25,agent:2",),
        ("worker.oom@tick:25,agent:2",),
        ("worker.kill@tick:26,agent:2", "repair.kill@tick:26,agent:2,during:restore"),
        ("frame.lose@tick:25,agent:2,direction:done",),
        ("frame.duplicate@tick:25,agent:2,direction:work",),
        ("task.poison@tick:25,agent:2,hostcall:1",),
        ("task.hang@tick:25,agent:2,hostcall:1", "worker.kill@tick:27,agent:2"),
    ],
)
def test_a_fault_in_mid_migration_leaves_the_old_version_or_the_new_one(faults: tuple[str, ...]) -> None:
    found = checked(*faults)
    assert found.failed == () and found.row.verdict == "PASS", found.row
    decreed = faults[0].startswith("task")
    assert statuses(found.history)[25, 2].startswith("decree:" if decreed else "ok")


@pytest.mark.parametrize("phase", ["admit", "dispatch", "await", "commit", "sync", "release", "snapshot"])
@pytest.mark.parametrize("tick", [20, 25])
def test_an_orchestrator_that_dies_over_a_reload_goes_on_as_if_it_had_not(phase: str, tick: int) -> None:
    found = checked(f"orchestrator.kill@tick:{tick},phase:{phase}", "disk.lose@crash:1")
    assert found.failed == ()
    assert len(found.history.crashes) == 1


@pytest.mark.parametrize("keep", [1, 2])
def test_a_reload_whose_image_is_lost_is_done_again_by_the_next_incarnation(keep: int) -> None:
    """The block is durable, the image is not: recovery has the old module's image, and the reload among its steps."""
    faults = [f"orchestrator.kill@tick:25,phase:{phase},point:after" for phase in ("snapshot",)]
    found = checked(*faults, "disk.lose@crash:1", keep_snapshots=keep)
    assert found.failed == ()
    again = [event for event in found.history.guests if (event.tick, event.agent, event.kind) == (25, 2, "reload")]
    assert len(again) > 1


def test_a_rolled_back_migration_is_not_run_again_in_a_replay() -> None:
    found = checked("worker.kill@tick:24,agent:1,point:after")
    assert found.failed == ()
    tried = [event for event in found.history.guests if (event.tick, event.agent, event.kind) == (20, 1, "reload")]
    assert len(tried) == 1


def test_every_step_checked_a_second_time_gives_the_same_journal() -> None:
    plain = checked()
    twice = checked(check_ppm=1_000_000)
    assert twice.failed == () and twice.row.journal_digest == plain.row.journal_digest


def test_reloads_come_out_the_same_under_any_number_of_workers_and_from_every_snapshot() -> None:
    found = checker().check(plan_of("upgrade"), deep=True, apart=False)
    assert found.failed == () and {"I3", "I20", "I36"} <= set(found.row.judged)
