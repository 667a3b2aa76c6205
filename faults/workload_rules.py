"""Whether a workload fault took effect: the journal says that it was met, in its own records.

A flood counts when an agent has two of its messages at once or its mailbox refuses one; a graph when it is refused for
its cycle or one of its tasks ends; a reload by the step that it is. What was merely sent and admitted does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from faults.plan import Fault
from faults.wrappers.arrivals import SOURCE
from faults.wrappers.guests import endings
from runtime.journal import Block
from runtime.state import Reload, Send, Spawn, Submit

_ENDS = ("task_done", "task_failed", "task_skipped")


class Told(NamedTuple):
    """What the journal says, and which fault of the plan each input of `SOURCE` is of."""

    blocks: Sequence[Block]
    owners: Mapping[int, int]


NOTHING = Told((), {})
BlockRule = Callable[[Fault, int, Told], bool]


def _flooded(fault: Fault, index: int, told: Told) -> bool:
    if fault.get("what") == "tasks":
        return bool(_ended(index, told))
    agent, ticks = fault.number("agent"), list[int]()
    for block in told.blocks:
        mine = [item for item in block.inputs if item.source == SOURCE and told.owners.get(item.n) == index]
        if any(isinstance(item.action, Send) for item in mine):
            ticks.append(block.tick)
            if any(event[0] == "refused" and event[3] == agent for event in block.events):
                return True
        if ticks and any(step.agent == agent and len(step.inbox) > 1 for step in block.steps):
            return True
    return False


def _edited(fault: Fault, index: int, told: Told) -> bool:
    """Its own end: refused, a failure among its tasks, one of the second part; for the others, any task of it ended."""
    ends = _ended(index, told)
    what = fault.get("what")
    if what == "cycle":
        return any(why[:1] == ("cycle",) for _, why in _refused(index, told))
    if what == "failing":
        return "task_failed" in ends.values()
    return bool(ends)


def _refused(index: int, told: Told) -> list[tuple[int, tuple[str | int, ...]]]:
    """(number, why) of its submissions that were refused."""
    events = [event for block in told.blocks for event in block.events if event[:2] == ("refused_tasks", SOURCE)]
    return [(int(event[2]), tuple(event[3:])) for event in events if told.owners.get(int(event[2])) == index]


def _ended(index: int, told: Told) -> dict[str, str]:
    """Its tasks that have ended, by name: as what."""
    refused = {number for number, _ in _refused(index, told)}
    names: set[str] = set()  # membership only
    for block in told.blocks:
        for item in block.inputs:
            mine = item.source == SOURCE and told.owners.get(item.n) == index and item.n not in refused
            if mine and isinstance(item.action, Submit):
                names.update(task.id for task in item.action.tasks)
    ends = [event for block in told.blocks for event in block.events if event[0] in _ENDS]
    return {str(event[3]): str(event[0]) for event in ends if event[3] in names}


def _reloaded(fault: Fault, index: int, told: Told) -> bool:
    """A step of kind `reload` at that place; where it is struck, it ended for that."""
    struck = endings(fault)
    for block in told.blocks:
        if block.tick != fault.number("tick"):
            continue
        asked = [i for i in block.inputs if isinstance(i.action, Reload) and i.action.agent == fault.number("agent")]
        if not asked or asked[0].source != SOURCE or told.owners.get(asked[0].n) != index:
            continue  # another's comes first, and this one is refused
        for step in block.steps:
            if step.agent == fault.number("agent") and step.kind == "reload":
                return not struck or step.status in struck
    return False


def _named(fault: Fault, index: int, told: Told) -> bool:
    """It was spawned under a name, and took a step."""
    agent = fault.number("agent")
    spawned = [item for block in told.blocks for item in block.inputs if isinstance(item.action, Spawn)]
    return agent < len(spawned) and any(step.agent == agent for block in told.blocks for step in block.steps)


BLOCK_RULES: dict[str, BlockRule] = {
    "agent.flood": _flooded,
    "dag.edit": _edited,
    "agent.reload": _reloaded,
    "observer.hostile_text": _named,
}
