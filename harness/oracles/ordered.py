"""I22, order of tasks that need each other: what guests were given and what became of it, against the client's batches.

Which task each agent must have in which step, and how each ends, follows from `graphs`: from what the client submitted
and how steps ended. Against: a child that starts before all its parents have ended well, a rank that is not kept,
descendants that are not skipped, or twice, cycles that are taken.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from harness.oracles.flows import Taken, place
from harness.oracles.graphs import Submitted, Tasks, journaled, rank
from harness.oracles.judged import Judged
from harness.oracles.reading import Block
from harness.oracles.verdict import Unjudged
from runtime.state import TASK, Submit

_ENDS = ("task_done", "task_failed", "task_skipped")


def in_order(run: Judged) -> list[str]:
    """I22: a guest gets a task once all that it needs have ended well, in the order of rank; each task ends once.

    Those that depend on a failed one are skipped; refusals are of batches that cannot be, for the reason given.
    """
    if not run.crossings:
        raise Unjudged("there is no guest log")
    return run.settled(_followed)


def _followed(run: Judged) -> list[str]:
    def submitted(item: dict[str, Any]) -> list[Submitted]:
        """The client's batch; the journal's where the client sent none."""
        ours = run.client.get((item["source"], item["n"]))
        if ours is None or not isinstance(ours.action, Submit):
            return journaled(item)
        return [Submitted(t.id, t.agent, t.needs, t.priority, len(t.payload)) for t in ours.action.tasks]

    tasks, found = Tasks(run.config, submitted), list[str]()
    steps = {taken[0].at: taken for taken in run.flows.taken}
    for block in run.journal.blocks:
        tasks.admit(block)
        taken = [steps[step.at] for step in block.steps]
        found += _started(run, tasks, taken) + _ranked(run, tasks, block, taken)
        tasks.commit(block)
        found += tasks.found + _ended(tasks, block)
        if found:  # what follows from the first difference is no second one
            break
    return found


def _started(run: Judged, tasks: Tasks, taken: list[Taken]) -> list[str]:
    """The tasks that the guests of a tick were given, against those that they must be given then."""
    found = []
    for step, execution in taken:
        if step.kind != "step":
            continue
        if execution is not None:
            numbers = [envelope[2] for envelope in execution.inbox if envelope[0] == TASK]
            where = f"guest event {execution.number}"
        else:  # ended by decree before any crossing
            numbers = [seq for seq in step.inbox if seq in run.flows.named]
            where = place(step.at)
        got = [run.flows.named.get(number, f"number {number}") for number in numbers]
        node = tasks.current.get(step.agent)
        due = [node.name] if node is not None and node.phase == "given" else []
        if got != due:
            text = "; ".join(_why(tasks, name) for name in got if name not in due)
            found.append(
                f"{where}: agent {step.agent} starts {', '.join(got) or 'no task'} where "
                f"{', '.join(due) or 'none'} is due{': ' + text if text else ''}"
            )
    return found


def _why(tasks: Tasks, name: str) -> str:
    node = tasks.nodes.get(name)
    if node is None:
        return f"{name} is no task"
    if node.phase != "waiting":
        return f"{name} is {node.phase}"
    open_ = [need for need in node.needs if need in tasks.nodes and tasks.nodes[need].phase != "done"]
    return f"{name} needs {', '.join(open_)}, which has not ended well"


def _ranked(run: Judged, tasks: Tasks, block: Block, taken: list[Taken]) -> list[str]:
    """Under policy `dag`, where no agent ever waits, a tick's steps are in the order of their tasks."""
    config = run.config
    enough = config["max_tasks_per_tick"] >= len(run.final.agents)
    if config["policy"] != "dag" or not enough or block.tick >= config["last_tick"]:
        return []

    def place_of(agent: int) -> tuple[int, ...]:
        node = tasks.current.get(agent)
        return (1, agent) if node is None else (0, *rank(node))

    agents = [step.agent for step, _ in taken]
    due = sorted(agents, key=place_of)
    if agents == due:
        return []
    return [f"block {block.block}: agents run in the order {agents}, by their tasks it is {due}"]


def _ended(tasks: Tasks, block: Block) -> list[str]:
    """What the block tells of tasks, against what it must tell."""
    told = Counter[tuple[Any, ...]]()
    found = []
    for event in block.events:
        if event[0] == "task_skipped":
            told[event[0], *event[2:4]] += 1
            parent = tasks.nodes.get(event[4])
            if parent is not None and parent.phase not in ("failed", "skipped"):
                found.append(f"block {block.block}: skips {event[3]} for {event[4]}, which is {parent.phase}")
        elif event[0] in _ENDS:
            told[event[0], *event[2:]] += 1
    owed = Counter(tasks.owed)
    for end in sorted(set(told) | set(owed), key=str):
        if told[end] != owed[end]:
            text = " ".join(map(str, (end[0], end[2], *end[3:])))
            found.append(f"block {block.block}: tells {told[end]} times {text} of agent {end[1]}, {owed[end]} is due")
    return found
