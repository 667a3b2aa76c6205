"""Recipes for faults that mean something only together: one agent fails again and again, the orchestrator dies twice.

Drawn apart from each other they would hardly ever meet: an agent that is quarantined must fail more often than its
supervisor allows within a window, and a tick is short.
"""

from __future__ import annotations

from faults.plan import Fault
from harness.events import Chooser, Events, Recipe, at_step, step_of

OFTEN = 10  # an agent's next steps; those that its restarts leave out strike nothing
WITHIN = ("dispatch", "await", "commit")  # phases before the tick's block can be durable


def trap_often(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """One agent fails in step after step, until it is quarantined."""
    first = step_of(events.calling[: 1 + len(events.calling) // 2], chooser)
    if first is None:
        return None
    steps = [step for step in events.calling if step.agent == first.agent and step.tick >= first.tick][:OFTEN]
    ticks = range(first.tick, first.tick + OFTEN) if chooser.below(2) else [step.tick for step in steps]
    return tuple(Fault(kind="agent.trap", at={"tick": tick, "agent": first.agent, "hostcall": 1}) for tick in ticks)


def trap_together(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """Two agents fail in one tick."""
    step = step_of(events.calling, chooser)
    if step is None:
        return None
    others = [one for one in events.calling if one.tick == step.tick and one.agent != step.agent]
    chosen = [step, others[chooser.below(len(others))]] if others else [step]
    return tuple(Fault(kind="agent.trap", at={**at_step(one), "hostcall": 1}) for one in chosen)


def kill_twice(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """The orchestrator dies in a tick, and its successor in the same one."""
    if not events.ticks:
        return None
    tick = events.ticks[chooser.below(len(events.ticks))]
    phases = [WITHIN[chooser.below(len(WITHIN))] for _ in range(2)]
    points = [("before", "after")[chooser.below(2)] for _ in range(2)]
    return tuple(
        Fault(kind="orchestrator.kill", at={"tick": tick, "phase": phase, "point": point})
        for phase, point in zip(phases, points, strict=True)
    )


COMBINED_AIMS: dict[str, tuple[Recipe, ...]] = {
    "agent.trap": (trap_often, trap_together),
    "orchestrator.kill": (kill_twice,),
}
