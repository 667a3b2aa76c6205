"""What the workload faults of a plan add to its inputs, as data: floods, graphs of tasks, reloads; and hostile names.

All of it follows from the scenario, the seed and the fault alone, so twin and run are given the same, and so is a run
that is replayed. It comes from a source of its own beside the client's, in order of tick: what the plan's own inputs
are called does not change. A fault that the scenario has no target for adds nothing, and is then not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from faults.plan import Fault, Plan
from faults.streams import draw
from faults.workload_kinds import DEPTH_MAX
from faults.wrappers.arrivals import SOURCE
from runtime.state import Action, Input, Reload, Send, Spawn, Submit, Task
from scenarios.base import Order, Scenario

KINDS = ("agent.flood", "dag.edit", "agent.reload")
NUMBER = 1_000_000  # what is composed for faults is numbered from here: no plan has as many orders
NUMBERS = 20_000  # of one fault
DRAWS_MAX = 600  # orders that are drawn until one is for the agent
SORTS_MAX = 16  # different ones that a flood has
PRIORITY = 1000
NEEDS_MAX = 3
LONG = 100_000

_NAMES = {
    "html": "</script><img src=x onerror=alert(1)><b>&amp;\"'",
    "ansi": "\x1b[2J\x1b]0;title\x07\x1b[31mred\x9b0m",
    "lines": 'one\r\ntwo\n{"kind": "forged"}\n\u2028three\u2029',
    "bidi": "agent\u202e\u2066txt.exe\u2069\u200f",
    "quotes": "'; DROP TABLE agents; --\"`$(id)`${x}\\",
    "path": "../../../../etc/passwd",
    "formula": "=1+1|'cmd'!A0",
    "long": "n" * LONG,
    "empty": "",
    "null": "agent\x00\x7f\ufeff\ufffd",
}


class Added(NamedTuple):
    """One thing that a fault adds: when, what, and which fault of the plan it is of."""

    tick: int
    action: Action
    fault: int


class Work(NamedTuple):
    """All inputs of a run in order of tick; `owners` says of which fault input n of `SOURCE` is."""

    inputs: tuple[Input, ...]
    owners: dict[int, int]


def work_of(scenario: Scenario, plan: Plan) -> Work:
    """The plan's inputs and those that its faults add, none of them in the last tick or later: it is for endings."""
    mine = [(index, fault) for index, fault in enumerate(plan.faults) if fault.kind in KINDS]
    if not mine:
        return Work(plan.inputs, {})
    last = plan.last_tick or scenario.config(plan.seed).last_tick
    added: list[Added] = []
    for place, (index, fault) in enumerate(mine):
        number = NUMBER + place * NUMBERS
        actions = {"agent.flood": _flood, "dag.edit": _graph, "agent.reload": _reload}[fault.kind]
        found = actions(scenario, plan, fault, number)
        added += [Added(tick, action, index) for tick, action in found if tick < last]
    added.sort(key=lambda one: one.tick)
    extra = [Input(one.action, n, SOURCE, one.tick) for n, one in enumerate(added, 1)]
    inputs = sorted((*plan.inputs, *extra), key=lambda item: item.tick)
    return Work(tuple(inputs), {n: one.fault for n, one in enumerate(added, 1)})


def named(inputs: tuple[Input, ...], plan: Plan) -> tuple[Input, ...]:
    """The scenario's first inputs, with the names that faults give to agents; the first fault of an agent counts."""
    names: dict[int, str] = {}
    for fault in plan.faults:
        if fault.kind == "observer.hostile_text":
            names.setdefault(fault.number("agent"), _NAMES[str(fault.get("what"))])
    if not names:
        return inputs
    spawned, found = 0, list[Input]()
    for item in inputs:
        action = item.action
        if isinstance(action, Spawn):
            if spawned in names:
                action = Spawn(replace(action.spec, name=names[spawned]))
            spawned += 1
        found.append(replace(item, action=action))
    return tuple(found)


def _spread(fault: Fault, count: int) -> Iterator[int]:
    """The tick of each of so many, spread evenly over the burst."""
    ticks = fault.number("ticks")
    return (fault.number("tick") + place * ticks // count for place in range(count))


def _flood(scenario: Scenario, plan: Plan, fault: Fault, number: int) -> list[tuple[int, Action]]:
    count, agent = fault.number("count"), fault.number("agent")
    if fault.get("what") == "tasks":
        return _flood_of_tasks(scenario, plan, fault, number)
    orders = _orders_for(scenario, plan.seed, fault, number)
    if not orders:
        return []
    ticks = _spread(fault, count)  # none later than a client's order may be: its answer would come after the end
    made = [(tick, scenario.compose(plan.seed, number + n, orders[n % len(orders)])) for n, tick in enumerate(ticks)]
    last = scenario.bounds[0][1]
    made = [item for item in made if item[0] <= last]
    return [(tick, action) for tick, action in made if isinstance(action, Send) and action.agent == agent]


def _orders_for(scenario: Scenario, seed: int, fault: Fault, number: int) -> list[Order]:
    """Orders of the scenario, as a client could give them, each a message to the fault's agent."""
    found: list[Order] = []
    for attempt in range(DRAWS_MAX):
        drawn = tuple(
            low + draw(seed, "flood", str(fault), attempt, place) % (high - low + 1)
            for place, (low, high) in enumerate(scenario.bounds)
        )
        order = (fault.number("tick"), *drawn[1:])
        action = scenario.compose(seed, number, order)
        if isinstance(action, Send) and action.agent == fault.number("agent"):
            found.append(order)
        if len(found) == SORTS_MAX:
            break
    return found


def _flood_of_tasks(scenario: Scenario, plan: Plan, fault: Fault, number: int) -> list[tuple[int, Action]]:
    """One submission for each tick of the burst: tasks of one agent that are ready at once, before all others."""
    agent, count = fault.number("agent"), fault.number("count")
    if scenario.node is None or agent >= len(scenario.agents):
        return []
    batches: dict[int, list[Task]] = {}
    for n, tick in enumerate(_spread(fault, count)):
        task = scenario.node(plan.seed, number + n, agent, False)
        batches.setdefault(tick, []).append(replace(task, priority=PRIORITY))
    return [(tick, Submit(tuple(tasks))) for tick, tasks in batches.items()]


def _graph(scenario: Scenario, plan: Plan, fault: Fault, number: int) -> list[tuple[int, Action]]:
    """A graph of so many nodes, each of an agent in turn, and what is the matter with it."""
    if scenario.node is None:
        return []
    what, tick, seed = str(fault.get("what")), fault.number("tick"), plan.seed
    size = min(fault.number("size"), DEPTH_MAX) if what == "deep" else fault.number("size")
    percent = fault.number("percent") if what == "failing" else 0
    failing = {n for n in range(size) if draw(seed, "dag fails", str(fault), n) % 100 < percent}
    if percent:
        failing.add(draw(seed, "dag fails", str(fault)) % size)
    nodes = [scenario.node(seed, number + n, n % len(scenario.agents), n in failing) for n in range(size)]
    names = [node.id for node in nodes]
    needs: list[tuple[str, ...]]
    if what in ("cycle", "deep"):
        needs = [(names[n - 1],) if n else () for n in range(size)]
        if what == "cycle":
            back = draw(seed, "dag back edge", str(fault)) % size
            needs[back] = (*needs[back], names[-1])
    elif what == "wide":
        needs = [() for _ in range(size - 1)] + [tuple(names[:-1])]
    else:
        needs = [_some(seed, fault, names, n) for n in range(size)]
    tasks = tuple(replace(node, needs=need) for node, need in zip(nodes, needs, strict=True))
    if what != "late":
        return [(tick, Submit(tasks))]
    half = (size + 1) // 2
    return [(tick, Submit(tasks[:half])), (tick + fault.number("ticks"), Submit(tasks[half:]))]


def _some(seed: int, fault: Fault, names: list[str], n: int) -> tuple[str, ...]:
    """A few of the nodes before this one."""
    if not n:
        return ()
    count = draw(seed, "dag needs", str(fault), n) % (NEEDS_MAX + 1)
    return tuple(dict.fromkeys(names[draw(seed, "dag need", str(fault), n, k) % n] for k in range(count)))


def _reload(scenario: Scenario, plan: Plan, fault: Fault, number: int) -> list[tuple[int, Action]]:
    if not scenario.versions:
        return []
    numbers = sorted(scenario.versions)
    version = numbers[(fault.number("version") - 1) % len(numbers)]
    return [(fault.number("tick"), Reload(fault.number("agent"), scenario.versions[version], version))]
