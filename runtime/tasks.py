"""Tasks that need each other: a graph, and which agent is given what of it when (SCH-3).

A task is given to its agent once all that it needs have ended well, one at a time for each agent. It ends with the step
that takes it or, where that asked for inference, with the step after which its agent waits for no answer. A task that
fails skips all that depend on it, each once and on record. Guards against cycles, names that nobody knows, graphs that
are deep or wide (nothing here is recursive), and tasks that would wait for ever: see `OVERTAKEN_MAX`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from heapq import heappop, heappush

from msgspec import UNSET

from runtime import broker, reads
from runtime.journal import Event
from runtime.state import (
    DONE,
    FAILED,
    GIVEN,
    GONE,
    OUTSIDE,
    READY,
    SKIPPED,
    TAKEN,
    TASK,
    WAITING,
    Graph,
    Message,
    Queue,
    State,
    Task,
    TaskState,
)

TASKS_MAX = 65_536  # that are known at once; those that have ended are forgotten first, the oldest before others
OVERTAKEN_MAX = 64  # tasks of the same agent that may be given before one that was ready earlier
PRIORITY_MAX = (1 << 31) - 1
NAME_MAX = 64
_NAME = re.compile(rf"[A-Za-z0-9_.:/-]{{1,{NAME_MAX}}}")
_ENDED = (DONE, FAILED, SKIPPED)

Why = tuple[str, ...]  # what is wrong, then the names it is about; empty where nothing is


def order(tasks: Sequence[Task]) -> tuple[list[Task], Why]:
    """The tasks so that each comes after those of them that it needs, first as given; and ("cycle", a, b, …, a).

    In a cycle each task needs the next one; it begins with the one that was submitted first.
    """
    place = {task.id: index for index, task in enumerate(tasks)}
    needs = [[place[name] for name in dict.fromkeys(task.needs) if name in place] for task in tasks]
    children: list[list[int]] = [[] for _ in tasks]
    for index, needed in enumerate(needs):
        for one in needed:
            children[one].append(index)
    waits = [len(needed) for needed in needs]
    free = [index for index, number in enumerate(waits) if not number]
    for index in free:  # grows while it is read
        for child in children[index]:
            waits[child] -= 1
            if not waits[child]:
                free.append(child)
    if len(free) == len(tasks):
        return [tasks[index] for index in free], ()
    at = next(index for index, number in enumerate(waits) if number)
    seen: dict[int, int] = {}
    while at not in seen:
        seen[at] = len(seen)
        at = next(one for one in needs[at] if waits[one])
    cycle = list(seen)[seen[at] :]
    first = cycle.index(min(cycle))
    cycle = cycle[first:] + cycle[: first + 1]
    return [], ("cycle", *(tasks[index].id for index in cycle))


def malformed(tasks: Sequence[Task]) -> Why:
    """What is wrong with tasks that are submitted together, whatever else is known."""
    names: set[str] = set()  # membership only
    for task in tasks:
        if not _NAME.fullmatch(task.id):
            return ("name", repr(task.id[:NAME_MAX]))
        if task.id in names:
            return ("twice", task.id)
        names.add(task.id)
        if task.id in task.needs:
            return ("itself", task.id)
        if abs(task.priority) > PRIORITY_MAX:
            return ("priority", task.id)
    return order(tasks)[1]


def explain(why: Why) -> str:
    """The same in words."""
    what, names = why[0], why[1:]
    texts = {
        "agent": "task {0} is for an agent that does not exist",
        "cycle": "the tasks need each other in a cycle: " + " needs ".join(names),
        "itself": "task {0} needs itself",
        "known": "task {0} was submitted before",
        "name": "{0} is no name of a task: letters, digits and _.:/-, " + f"1 to {NAME_MAX} of them",
        "payload": "the payload of task {0} is longer than max_payload",
        "priority": "the priority of task {0} is not within ±" + str(PRIORITY_MAX),
        "room": f"more than {TASKS_MAX} tasks would be known, and those that have not ended cannot be forgotten",
        "twice": "task {0} is submitted twice",
        "unknown": "task {0} needs {1}, which nobody knows",
    }
    text = texts[what]
    return text if what == "cycle" else text.format(*names)


def refusal(state: State, tasks: Sequence[Task]) -> Why:
    """What is wrong with these tasks in this state."""
    assert state.config is not None
    wrong = malformed(tasks)
    if wrong:
        return wrong
    known = {} if state.graph is UNSET else state.graph.tasks
    ended = 0 if state.graph is UNSET else len(state.graph.ended)
    inside = {task.id for task in tasks}  # membership only
    for task in tasks:
        if task.id in known:
            return ("known", task.id)
        if not 0 <= task.agent < len(state.agents):
            return ("agent", task.id)
        if len(task.payload) > state.config.max_payload:
            return ("payload", task.id)
        for need in task.needs:
            if need not in inside and need not in known:
                return ("unknown", task.id, need)
    if len(known) - ended + len(tasks) > TASKS_MAX:
        return ("room",)
    return ()


def submit(state: State, source: str, n: int, tasks: Sequence[Task], events: list[Event]) -> None:
    """Take the tasks of an input into the graph, or refuse all of them on record."""
    wrong = refusal(state, tasks)
    if wrong:
        events.append(("refused_tasks", source, n, *wrong))
        return
    if state.graph is UNSET:
        state.graph = Graph()
    graph = state.graph
    for task in tasks:
        graph.tasks[task.id] = TaskState(task.agent, 0, task.payload, task.priority, broker.take_sequence(state))
    for task in order(tasks)[0]:
        _attach(state, graph, task, events)
    _forget(graph)


def _attach(state: State, graph: Graph, task: Task, events: list[Event]) -> None:
    """One task whose needs are all attached: how many it waits for, or that it is skipped at once."""
    mine, lost = graph.tasks[task.id], ""
    for name in dict.fromkeys(task.needs):
        need = graph.tasks[name]
        mine.level = max(mine.level, need.level + 1)
        if need.phase not in _ENDED:
            mine.waits += 1
            need.children.append((mine.seq, task.id))
        elif need.phase != DONE:
            lost = lost or name
    if lost:
        _skip(graph, task.id, lost, events)
    elif not mine.waits:
        _ready(state, graph, task.id, events)


def _forget(graph: Graph) -> None:
    surplus = len(graph.tasks) - TASKS_MAX
    if surplus > 0:
        for name in graph.ended[:surplus]:
            del graph.tasks[name]
        del graph.ended[:surplus]


def _ready(state: State, graph: Graph, name: str, events: list[Event]) -> None:
    """All that it needs have ended well: it waits for its agent alone, and fails with one that is gone."""
    task = graph.tasks[name]
    task.phase = READY
    if state.agents[task.agent].phase in GONE:
        _never(graph, name, events)
        return
    queue = _queue(graph, task.agent)
    heappush(queue.ranked, (task.level, -task.priority, task.seq, name))
    heappush(queue.oldest, (queue.given, task.seq, name))


def _queue(graph: Graph, agent: int) -> Queue:
    while len(graph.queues) <= agent:
        graph.queues.append(Queue())
    return graph.queues[agent]


def give(state: State) -> None:
    """Give each agent that has no task the next one of its own, into room that is reserved for it."""
    if state.graph is UNSET:
        return
    graph = state.graph
    for index, queue in enumerate(graph.queues):
        if queue.current or not queue.ranked or state.agents[index].phase in GONE:
            continue
        name = _next(graph, queue)
        if name:
            task = graph.tasks[name]
            task.phase, queue.current = GIVEN, name
            queue.given += 1
            broker.deliver_control(state.agents[index], Message(task.seq, TASK, OUTSIDE, 0, task.payload))


def _next(graph: Graph, queue: Queue) -> str:
    """The first one by rank, unless one was overtaken as often as may be; "" when none is ready."""
    while queue.oldest and not _is(graph, *queue.oldest[0][1:], READY):
        heappop(queue.oldest)
    while queue.ranked and not _is(graph, *queue.ranked[0][2:], READY):
        heappop(queue.ranked)
    if not queue.ranked:
        return ""
    if queue.given - queue.oldest[0][0] >= OVERTAKEN_MAX:
        return heappop(queue.oldest)[2]
    return heappop(queue.ranked)[3]


def _is(graph: Graph, seq: int, name: str, phase: str) -> bool:
    """Whether the task that had this name is in this phase; names may come again, numbers do not."""
    task = graph.tasks.get(name)
    return task is not None and task.seq == seq and task.phase == phase


def stepped(state: State, agent: int, reason: str, events: list[Event]) -> None:
    """The agent's step has ended, with `reason` "ok" or as it failed; so may its task have."""
    if state.graph is UNSET or agent >= len(state.graph.queues):
        return
    graph = state.graph
    queue = graph.queues[agent]
    name = queue.current
    if not name:
        return
    graph.tasks[name].phase = TAKEN
    if reason != "ok":
        queue.current = ""
        _fail(graph, name, reason, events)
    elif not any(request.agent == agent for request in state.requests) and not reads.pending(state, agent):
        queue.current = ""
        _done(state, graph, name, events)


def restarted(state: State, agent: int, events: list[Event]) -> None:
    """The agent's life ends without a failure of its own: a task that it has taken fails, one in its mailbox waits."""
    if state.graph is UNSET or agent >= len(state.graph.queues):
        return
    queue = state.graph.queues[agent]
    if queue.current and state.graph.tasks[queue.current].phase == TAKEN:
        name, queue.current = queue.current, ""
        _fail(state.graph, name, "restarted", events)


def gone(state: State, agent: int, events: list[Event]) -> None:
    """The agent is gone, and its mailbox was discarded: what it has and all that waits for it alone fails."""
    if state.graph is UNSET or agent >= len(state.graph.queues):
        return
    graph = state.graph
    queue = graph.queues[agent]
    if queue.current:
        name, queue.current = queue.current, ""
        _fail(graph, name, "gone", events)
    for _, _, seq, name in sorted(queue.ranked):
        if _is(graph, seq, name, READY):
            _never(graph, name, events)
    queue.ranked, queue.oldest = [], []


def _never(graph: Graph, name: str, events: list[Event]) -> None:
    """It fails before it was given: its message is dropped on record."""
    task = graph.tasks[name]
    events.append(("dropped", task.seq, task.agent))
    _fail(graph, name, "gone", events)


def _done(state: State, graph: Graph, name: str, events: list[Event]) -> None:
    task = graph.tasks[name]
    events.append(("task_done", task.seq, task.agent, name))
    for child in _end(graph, name, DONE):
        graph.tasks[child].waits -= 1
        if not graph.tasks[child].waits:
            _ready(state, graph, child, events)


def _fail(graph: Graph, name: str, reason: str, events: list[Event]) -> None:
    """Skips what depends on it, nearest first."""
    task = graph.tasks[name]
    events.append(("task_failed", task.seq, task.agent, name, reason))
    lost = [(child, name) for child in _end(graph, name, FAILED)]
    for child, parent in lost:  # grows while it is read
        if graph.tasks[child].phase == WAITING:
            lost += [(one, child) for one in _skip(graph, child, parent, events)]


def _skip(graph: Graph, name: str, parent: str, events: list[Event]) -> list[str]:
    """One task; those that may have to be skipped with it."""
    task = graph.tasks[name]
    events.append(("task_skipped", task.seq, task.agent, name, parent))
    return _end(graph, name, SKIPPED)


def _end(graph: Graph, name: str, phase: str) -> list[str]:
    """The children that have not ended; one that has may be forgotten, and its name another's."""
    task = graph.tasks[name]
    children = task.children
    task.phase, task.payload, task.children = phase, b"", []
    graph.ended.append(name)
    return [child for seq, child in children if _is(graph, seq, child, WAITING)]


def rank(state: State, agent: int) -> tuple[int, int, int] | None:
    """Where the agent's task stands in the one order of policy `dag`: level, -priority, seq; None without a task."""
    if state.graph is UNSET or agent >= len(state.graph.queues):
        return None
    name = state.graph.queues[agent].current
    if not name:
        return None
    task = state.graph.tasks[name]
    return task.level, -task.priority, task.seq
