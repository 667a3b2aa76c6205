"""Recipes for faults of the workload: who can be flooded, where there are graphs, whom an operator reloads, and when.

Most floods are small, as a run with ten thousand messages takes as long as a hundred others; about one in thirty is of
that size. A pool is resized where it hurts: in a tick that loses a worker, or right after a recovery.
"""

from __future__ import annotations

from faults.plan import Fault
from faults.workload_kinds import BURST_MAX, FLOATS, FLOOD_MAX, FLOODS, GRAPHS, NAMES, POOL_MAX, STRUCK, VERSIONS_MAX
from harness.events import Chooser, Events, Recipe, at_step, step_of

_SIZES = ((2, 64),) * 6 + ((100, 1000),) * 3 + ((1025, 3000),)  # how many, with equal chances
_TASKS = ((2, 64),) * 2 + ((100, 1000),) * 8  # of which an agent carries out one in a tick
_NODES = ((2, 30),) * 6 + ((50, 400),) * 3 + ((1000, 3000),)
_HUGE = 32  # one flood in so many has ten thousand
SMALL_POOL = 8
PHASES = ("admit", "dispatch", "await", "commit", "sync", "release", "snapshot")


def _size(sizes: tuple[tuple[int, int], ...], chooser: Chooser) -> int:
    if chooser.below(_HUGE) == _HUGE - 1:
        return FLOOD_MAX
    low, high = sizes[chooser.below(len(sizes))]
    return low + chooser.below(high - low + 1)


def flood(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    agents = events.submitted if not events.addressed else events.addressed
    if not agents or not events.open:
        return None
    at: dict[str, int | str] = {
        "tick": events.open[chooser.below(len(events.open))],
        "agent": agents[chooser.below(len(agents))],
    }
    what = FLOODS[1] if not events.addressed else FLOODS[0]
    ticks = 1 + chooser.below(BURST_MAX) if chooser.below(2) else 1
    count = _size(_SIZES if events.addressed else _TASKS, chooser)
    return Fault(kind="agent.flood", at=at, with_={"what": what, "count": count, "ticks": ticks})


def edit_graph(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    if not events.submitted or not events.open:
        return None
    tick = events.open[chooser.below(len(events.open))]
    with_: dict[str, int | str] = {"what": GRAPHS[chooser.below(len(GRAPHS))], "size": _size(_NODES, chooser)}
    if with_["what"] == "failing":
        with_["percent"] = 1 + chooser.below(10)
    elif with_["what"] == "late":
        with_["ticks"] = 1 + chooser.below(BURST_MAX)
    return Fault(kind="dag.edit", at={"tick": tick}, with_=with_)


def reload(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """A reload, in most cases with a loss in its step: a worker, or the orchestrator in any phase of the tick."""
    step = step_of(events.calling, chooser) if events.reloaded else None
    if step is None:
        return None
    with_: dict[str, int | str] = {
        "version": 1 + chooser.below(VERSIONS_MAX),
        "struck": STRUCK[chooser.below(len(STRUCK))],
    }
    first = Fault(kind="agent.reload", at=at_step(step), with_=with_)
    way = chooser.below(4)
    if way == 0:
        return (first,)
    if way == 1:
        kill = Fault(kind="orchestrator.kill", at={"tick": step.tick, "phase": PHASES[chooser.below(len(PHASES))]})
        return (first, kill)
    places: tuple[dict[str, int | str], ...] = ({"point": "idle"}, {"point": "after"}, {"hostcall": 1})
    return (first, Fault(kind="worker.kill", at={**at_step(step), **places[chooser.below(len(places))]}))


def resize(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """Another size in a tick; in some cases beside the loss of a worker in it, or after the orchestrator's."""
    step = step_of(events.steps, chooser)
    if step is None:
        return None
    workers = 1 if chooser.below(4) == 0 else 1 + chooser.below(POOL_MAX if chooser.below(4) == 0 else SMALL_POOL)
    way = chooser.below(4)
    crashes = sum(fault.kind == "orchestrator.kill" for fault in so_far)
    if way == 0 and crashes:
        return (Fault(kind="pool.resize", at={"after": 1 + chooser.below(crashes)}, with_={"workers": workers}),)
    first = Fault(kind="pool.resize", at={"tick": step.tick}, with_={"workers": workers})
    if way == 1:
        kill = Fault(kind="worker.kill", at={**at_step(step), "point": ("idle", "after")[chooser.below(2)]})
        return (first, kill)
    if way == 2:
        phase = PHASES[chooser.below(len(PHASES))]
        return (first, Fault(kind="orchestrator.kill", at={"tick": step.tick + chooser.below(2), "phase": phase}))
    return (first,)


def cancel(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """A running step of who reads outside; in some cases the orchestrator dies in that tick, before or after."""
    step = step_of([one for one in events.steps if one.kind == "step" and one.agent in events.reading], chooser)
    if step is None:
        return None
    first = Fault(kind="step.cancel", at={"tick": step.tick, "agent": step.agent})
    if chooser.below(3):
        return (first,)
    phase = PHASES[chooser.below(len(PHASES))]
    return (first, Fault(kind="orchestrator.kill", at={"tick": step.tick, "phase": phase}))


def compute_floats(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of([one for one in events.steps if one.kind == "step"], chooser)
    if step is None:
        return None
    return Fault(kind="wasm.nan", at=at_step(step), with_={"what": FLOATS[chooser.below(len(FLOATS))]})


def misname(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of(events.steps, chooser)
    if step is None:
        return None
    what = NAMES[chooser.below(len(NAMES))]
    return Fault(kind="observer.hostile_text", at={"agent": step.agent}, with_={"what": what})


WORKLOAD_AIMS: dict[str, tuple[Recipe, ...]] = {
    "agent.flood": (flood,),
    "dag.edit": (edit_graph,),
    "agent.reload": (reload,),
    "pool.resize": (resize,),
    "step.cancel": (cancel,),
    "wasm.nan": (compute_floats,),
    "observer.hostile_text": (misname,),
}
