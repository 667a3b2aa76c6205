"""The names in a scenario's file, and its times: those that are there twice, that nothing has, that come too late.

Reads the tables as they were written, right or wrong, so that one bad value hides no bad name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from runtime.state import Task
from runtime.tasks import order
from runtime.wasm.abi import GROUPS
from scenarios.files.tables import ACTIONS_MAX, AGENTS_MAX

Tree = dict[str, Any]


def tables(tree: Tree, key: str) -> list[Tree]:
    """The tables under this key, whatever a user wrote there."""
    value = tree.get(key)
    return [one if isinstance(one, dict) else {} for one in value] if isinstance(value, list) else []


def texts(table: Tree, key: str) -> list[str]:
    """The texts in the list under this key."""
    value = table.get(key)
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def name_problems(tree: Tree, agents: list[str], groups: set[str], complete: bool) -> list[str]:
    """`agents` are the agents' names, `groups` those of the entries that made them; `complete`: no other is known."""
    buffers = [one["name"] for one in tables(tree, "buffers") if isinstance(one.get("name"), str)]
    channels = [one["name"] for one in tables(tree, "channels") if isinstance(one.get("name"), str)]
    topics = texts(tree, "topics")
    either = sorted({*agents, *groups})
    found = [*_twice("agents", agents), *_twice("buffers", buffers), *_twice("topics and channels", topics + channels)]
    plugins = [one["name"] for one in tables(tree, "plugins") if isinstance(one.get("name"), str)]
    found += _twice("plugins", plugins)
    for index, entry in enumerate(tables(tree, "agents")):
        found += _known(f"agents.{index}.capabilities", texts(entry, "capabilities"), [*GROUPS, *plugins], "capability")
    tenants = [one["name"] for one in tables(tree, "tenants") if isinstance(one.get("name"), str)]
    found += _twice("tenants", tenants)
    for index, entry in enumerate(tables(tree, "agents")):
        found += _known(f"agents.{index}.tenant", [entry.get("tenant")], tenants, "tenant")
    if len(agents) > AGENTS_MAX:
        found.append(f"agents: {len(agents)} of them, at most {AGENTS_MAX}")
    for index, entry in enumerate(tables(tree, "agents")):
        found += _known(f"agents.{index}.reads", texts(entry, "reads"), buffers, "buffer")
    if complete:
        for index, entry in enumerate(tables(tree, "buffers")):
            found += _known(f"buffers.{index}.writer", [entry.get("writer")], agents, "agent")
        for key, field in (("channels", "members"), ("groups", "agents")):
            for index, entry in enumerate(tables(tree, key)):
                found += _known(f"{key}.{index}.{field}", texts(entry, field), either, "agent")
        for index, entry in enumerate(tables(tree, "workload")):
            found += _known(f"workload.{index}.to", [entry.get("to")], either, "agent")
    for place, measure in _measures(tree):
        found += _known(f"{place}.agent", [measure.get("agent")], either, "agent") if complete else []
        found += _known(f"{place}.topic", [measure.get("topic")], topics + channels, "topic")
    found += _twice(
        "invariants", [one["name"] for one in tables(tree, "invariants") if isinstance(one.get("name"), str)]
    )
    for index, entry in enumerate(tables(tree, "workload")):
        places = topics if entry.get("do") == "publish" else topics + channels
        found += _known(f"workload.{index}.topic", [entry.get("topic")], places, "topic")
    return found + _graph(tree, agents if complete else None) + _times(tree)


def _measures(tree: Tree) -> list[tuple[str, Tree]]:
    """(place, table) of all that invariants measure."""
    keys = ("of", "at_least_of", "at_most_of", "equals_of")
    return [
        (f"invariants.{index}.{key}", entry[key])
        for index, entry in enumerate(tables(tree, "invariants"))
        for key in keys
        if isinstance(entry.get(key), dict)
    ]


def _graph(tree: Tree, agents: list[str] | None) -> list[str]:
    """Tasks that are there twice, for nobody, that need what nobody submits, or each other in a circle.

    `agents` is None where not all names are known.
    """
    found: list[str] = []
    ids = [task["id"] for _, task in _tasks(tree) if isinstance(task.get("id"), str)]
    for place, task in _tasks(tree):
        found += _known(f"{place}.to", [task.get("to")], agents, "agent") if agents is not None else []
        found += _known(f"{place}.needs", texts(task, "needs"), ids, "task")
    graph = {task["id"]: texts(task, "needs") for _, task in _tasks(tree) if isinstance(task.get("id"), str)}
    _, wrong = order([Task(agent=0, id=name, needs=tuple(needs)) for name, needs in graph.items()])
    if wrong:
        found.append(f"workload: tasks need each other in a circle, {' needs '.join(wrong[1:][:8])}")
    return [*found, *_twice("tasks", ids)]


def _tasks(tree: Tree) -> list[tuple[str, Tree]]:
    """(place, table) of every task."""
    return [
        (f"workload.{index}.tasks.{number}", task)
        for index, entry in enumerate(tables(tree, "workload"))
        for number, task in enumerate(tables(entry, "tasks"))
    ]


def _times(tree: Tree) -> list[str]:
    """Things that happen when the run is over, and too many of them."""
    last, found, count = tree.get("last_tick"), [], 0
    entries = tables(tree, "workload")
    for index, entry in enumerate(entries):
        numbers = [entry.get("tick", 1), entry.get("every", 1), entry.get("times", 1)]
        if not all(type(number) is int for number in numbers):
            continue
        ends = numbers[0] + numbers[1] * (numbers[2] - 1)
        count += numbers[2]
        if type(last) is int and ends >= last:
            found.append(f"workload.{index}: its last turn is at tick {ends}, and the workload ends before {last}")
    if entries and all(entry.get("fixed") is True for entry in entries):
        found.append("workload: all of it is fixed, and a campaign has nothing to draw; leave fixed out of one")
    if count > ACTIONS_MAX:
        found.append(f"workload: {count} turns in all, at most {ACTIONS_MAX}")
    return found


def _twice(what: str, names: list[str]) -> list[str]:
    return [f"{what}: the name {name!a} is there twice" for name, times in Counter(names).items() if times > 1]


def _known(place: str, given: Sequence[object], names: Sequence[str], what: str) -> list[str]:
    known = set(names)  # membership only
    missing = [name for name in given if isinstance(name, str) and name not in known]
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    use = f"use one of {shown}" if names else "declare it"
    return [f"{place}: there is no {what} {name[:40]!a}, {use}" for name in missing]
