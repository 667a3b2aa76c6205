"""Recipes for the faults of workers that their address forms alone would aim badly.

Several deaths belong into one tick, a worker of a dead orchestrator writes only if the orchestrator died while it had a
step, and a second instance of an agent is made only after something took the first.
"""

from __future__ import annotations

from faults.plan import Fault
from faults.worker_kinds import ATTEMPTS_MAX, DEATHS_MAX, WRONG
from harness.events import Chooser, Events, step_of

EARLY = 3  # leases and workers count from 1 in each incarnation: those of the first ticks are alike
AWAIT_CALLS = 24
_ONE_IN = (10, 30, 100, 1000, 10_000)


def kill_together(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """Two workers in one tick, at least: their agents are neighbours, so no number of workers puts both on one."""
    step = step_of(events.steps, chooser)
    if step is None:
        return None
    others = [s for s in events.steps if s.tick == step.tick and (s.agent - step.agent) % 2]
    chosen = [step, others[chooser.below(len(others))]] if others else [step]
    point = ("idle", "after")[chooser.below(2)]
    return tuple(Fault(kind="worker.kill", at={"tick": s.tick, "agent": s.agent, "point": point}) for s in chosen)


def loop_workers(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of(events.steps, chooser)
    if step is None:
        return None
    calls = 1 + chooser.below(4)
    times = 2 + chooser.below(2 if calls == 1 else DEATHS_MAX - 1)
    at: dict[str, int | str] = {"tick": step.tick, "agent": step.agent}
    return Fault(kind="worker.crash_loop", at=at, with_={"times": times, "calls": calls})


def fail_starts(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """Workers are started at the beginning, and where one was lost: what is lost here is the one of a step."""
    attempts = {"attempts": 1 + chooser.below(ATTEMPTS_MAX)}
    step = step_of(events.steps, chooser)
    if step is None or chooser.below(3) == 0:
        return (Fault(kind="worker.spawn_fail", at={"tick": 0}, with_=dict(attempts)),)
    kill = Fault(kind="worker.kill", at={"tick": step.tick, "agent": step.agent})
    return (Fault(kind="worker.spawn_fail", at={"tick": step.tick}, with_=dict(attempts)), kill)


def end_for_memory(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """In a step, as an agent begins, or as it is restored after a death."""
    step = step_of(events.steps, chooser)
    if step is None:
        return None
    way = chooser.below(3)
    if way == 0:
        return (Fault(kind="worker.oom", at={"tick": step.tick, "agent": step.agent}),)
    if way == 1:
        return (Fault(kind="worker.oom", at={"agent": step.agent}),)
    again = Fault(kind="worker.oom", at={"agent": step.agent, "occurrence": 2})
    return (Fault(kind="worker.kill", at={"tick": step.tick, "agent": step.agent}), again)


def wake_late(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """A worker stopped with a step; in one of two it outlives the orchestrator that gave it the step."""
    outlives = chooser.below(2) == 0
    steps = [s for s in events.steps if s.tick < EARLY] if outlives and chooser.below(2) else list(events.steps)
    step = step_of(steps, chooser)
    if step is None:
        return None
    zombie = Fault(kind="worker.zombie", at={"tick": step.tick, "agent": step.agent})
    if not outlives:
        return (zombie,)
    at: dict[str, int | str] = {"tick": step.tick, "phase": "await", "occurrence": 4 + chooser.below(AWAIT_CALLS)}
    return (zombie, Fault(kind="orchestrator.kill", at=at))


def compute_wrong(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    """One step, or one worker's arithmetic from a tick on: once in ten steps to once in ten thousand."""
    step = step_of(events.calling, chooser)
    if step is None:
        return None
    what = WRONG[chooser.below(len(WRONG))]
    if chooser.below(2):
        return Fault(kind="worker.wrong", at={"tick": step.tick, "agent": step.agent}, with_={"what": what})
    one_in = _ONE_IN[chooser.below(len(_ONE_IN))]
    return Fault(kind="worker.wrong", at={"tick": step.tick}, with_={"what": what, "one_in": one_in})


WORKER_AIMS = {
    "worker.oom": (end_for_memory,),
    "worker.crash_loop": (loop_workers,),
    "worker.zombie": (wake_late,),
    "worker.spawn_fail": (fail_starts,),
    "worker.wrong": (compute_wrong,),
}
