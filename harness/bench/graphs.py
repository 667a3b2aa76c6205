"""What a graph of 10,000 tasks costs the scheduler: taken in, carried out tick by tick, and refused for a cycle.

CPU time of one thread; the fold alone (`begin` and `commit`), every step ending well with no effects, so no module, no
worker and no disk is in it. A block is made and its state encoded where a snapshot is due, as in any run.
"""

from __future__ import annotations

import time

from msgspec import Struct

from runtime import tasks
from runtime.fold import begin, commit, next_tick
from runtime.state import Action, AgentSpec, Config, Configure, Input, Outcome, Spawn, State, Submit, Task

LANES, DEPTH = 10, 1_000
CROSSING = 100  # every so many tasks of a lane, one that needs its neighbour's as well


class Graphs(Struct, frozen=True, kw_only=True):
    """A graph of `tasks` tasks, `depth` of them in a row, for `agents` agents; `ticks` it took to carry it out."""

    tasks: int
    depth: int
    agents: int
    ticks: int
    submit_ms: float
    us_per_task: float
    cycle_ms: float


def graph(lanes: int = LANES, depth: int = DEPTH) -> tuple[Task, ...]:
    """`lanes` chains of `depth` tasks, one lane for each agent, submitted last task first."""
    batch = []
    for level in range(depth):
        for lane in range(lanes):
            needs = [f"{lane}.{level - 1}"] if level else []
            if level and level % CROSSING == 0:
                needs.append(f"{(lane + 1) % lanes}.{level - 1}")
            batch.append(Task(agent=lane, id=f"{lane}.{level}", needs=tuple(needs), priority=lane % 3))
    return tuple(reversed(batch))


def graphs() -> Graphs:
    batch = graph()
    spec = AgentSpec(capabilities=(), module="0" * 64, name="a")
    genesis: list[Action] = [
        Configure(Config(last_tick=10 * DEPTH, policy="dag", seed=1)),
        *(Spawn(spec) for _ in range(LANES)),
    ]
    state = State()
    _tick(state, [Input(action, n, "genesis", 0) for n, action in enumerate(genesis, 1)])
    begun = time.process_time_ns()
    _tick(state, [Input(Submit(batch), 1, "bench", 1)])
    submitted = time.process_time_ns()
    ticks = 1
    while state.graph and len(state.graph.ended) < len(batch):
        _tick(state, [])
        ticks += 1
    done = time.process_time_ns()
    back = (*batch[:-1], Task(agent=0, id=batch[-1].id, needs=(batch[0].id,)))
    assert tasks.malformed(back)[0] == "cycle"
    refused = time.process_time_ns()
    return Graphs(
        tasks=len(batch),
        depth=DEPTH,
        agents=LANES,
        ticks=ticks,
        submit_ms=round((submitted - begun) / 1e6, 2),
        us_per_task=round((done - submitted) / 1e3 / len(batch), 2),
        cycle_ms=round((refused - done) / 1e6, 2),
    )


def _tick(state: State, inputs: list[Input]) -> None:
    opened = begin(state, next_tick(state, 1 if inputs else None), inputs)
    commit(state, opened, {record.agent: Outcome("ok", ()) for record in opened.records})


def line(measured: Graphs) -> str:
    """For people."""
    return (
        f"graph of {measured.tasks:,} tasks, {measured.depth:,} in a row: submitted in {measured.submit_ms:.0f} ms, "
        f"{measured.us_per_task:.1f} us per task in {measured.ticks:,} ticks of {measured.agents} agents, "
        f"a cycle refused in {measured.cycle_ms:.0f} ms"
    )
