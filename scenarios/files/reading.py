"""A scenario from a folder of files, with everything that is wrong with it at once: key, what, what to do.

Guards against half a scenario: the tables, the names that they use and the files that they name are all judged before
anything is refused, and nothing outside of the folder is read. What is built is the same pure data as a built-in
scenario; its name carries a digest of what it means (`name@0123456789abcdef`), so no run of it passes for another's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError

from faults.profiles.reading import from_toml as profile_from_toml
from runtime.configuration import Configuration, configuration_from
from runtime.errors import Refused
from runtime.manifest import load_manifest
from runtime.state import Action, AgentSpec, BufferSpec, Config, Join, Limits, Operate, Publish, Schedule, Send
from runtime.validated import BYTES_MAX, problems, read_bytes, tree_of
from runtime.wasm.checks import MODULE_BYTES
from scenarios.base import Scenario
from scenarios.builder import Agent, agent, composed
from scenarios.files.tables import (
    ACTIONS_MAX,
    AGENTS_MAX,
    AgentTable,
    BufferTable,
    Description,
    Variation,
    WorkTable,
    inside,
)
from scenarios.files.variations import configured, named, stem_of

MAIN = "scenario.toml"
TODO = "see docs/scenarios.md"
SNAPSHOT_EVERY = 8


def unknown(name: str) -> Scenario:
    raise Refused(f"unknown scenario {name[:80]!r}", "", "give a .toml file of this folder")


class _Made(NamedTuple):
    """What one entry of `agents` made; `name` is None where nothing says it, `agents` () where a file is bad."""

    name: str | None
    agents: tuple[Agent, ...] = ()


class Folder:
    """The folder of a scenario: what was read from it, and what was wrong there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, bytes] = {}
        self.problems: list[str] = []

    def place(self, name: str) -> Path:
        """The path of a file; raises Refused for one outside, by a link neither."""
        try:
            path = self.root / inside(name)
            if path.resolve().is_relative_to(self.root.resolve()):
                return path
        except (ValueError, OSError):
            pass
        raise Refused("the file does not lie in the scenario's folder or below it", name, "put it there")

    def read(self, name: str, longest: int = BYTES_MAX) -> bytes:
        self.files[name] = read_bytes(self.place(name), longest)
        return self.files[name]


def read_scenario(path: Path, base: Callable[[str], Scenario] = unknown) -> Scenario:
    """The scenario in a file, or in the `scenario.toml` of a folder; raises Refused with all that is wrong.

    `base` gives the scenario of a name or a path, for a file that is a variation of one.
    """
    path = path / MAIN if path.is_dir() else path
    where = str(path)
    folder = Folder(path.parent)
    data = read_bytes(path, BYTES_MAX)
    tree = tree_of(data, where, TODO)
    configuration = _configuration(folder, tree.get("config"))
    profile = _profile(folder, tree.get("profile"))
    made = _varied(folder, tree, base) if "base" in tree else _described(folder, tree)
    if isinstance(made, Scenario) and not folder.problems:
        made = _under(folder, made, configuration, str(tree.get("config")))
    if not isinstance(made, Scenario) or folder.problems:
        raise Refused("; ".join(folder.problems), where, TODO)
    stem = tree.get("name") or stem_of(made.name)
    files = {MAIN: data, **folder.files}
    return named(dataclasses.replace(made, files=files, profile=profile or made.profile), stem)


def _under(folder: Folder, scenario: Scenario, configuration: Configuration | None, name: str) -> Scenario | None:
    if configuration is None:
        return scenario
    found = _try(folder, "config", lambda: configured(scenario, configuration, name))
    return found if isinstance(found, Scenario) else None


def _varied(folder: Folder, tree: dict[str, Any], base: Callable[[str], Scenario]) -> Scenario | None:
    """The scenario that the file names, with its own faults where it has any."""
    try:
        table = Variation.model_validate(tree)
    except ValidationError as error:
        folder.problems.insert(0, problems(error, Variation))
        return None
    name = table.base
    if name.endswith(".toml"):
        found = _try(folder, "base", lambda: read_scenario(folder.place(name), base))
        below = Path(name).parent
        for file, data in found.files.items() if isinstance(found, Scenario) else ():
            folder.files[(below / (Path(name).name if file == MAIN else file)).as_posix()] = data
    else:
        found = _try(folder, "base", lambda: base(name))
    if not isinstance(found, Scenario):
        return None
    return dataclasses.replace(found, faults=found.faults if table.faults is None else table.faults)


def _described(folder: Folder, tree: dict[str, Any]) -> Scenario | None:
    described: Description | None = None
    try:
        described = Description.model_validate(tree)
    except ValidationError as error:
        folder.problems.insert(0, problems(error, Description))
    made = [_made(folder, index, entry) for index, entry in enumerate(_list(tree, "agents"))]
    folder.problems += _names(tree, made)
    return _scenario(described, made) if described is not None and not folder.problems else None


def _configuration(folder: Folder, name: object) -> Configuration | None:
    if not isinstance(name, str) or not _is_inside(name):
        return None
    found = _try(folder, "config", lambda: configuration_from(folder.read(name), name))
    return found if isinstance(found, Configuration) else None


def _profile(folder: Folder, name: object) -> str:
    """The profile's name, or the path of its file, which is checked; "" where none is named."""
    if not isinstance(name, str) or not name.endswith(".toml"):
        return name if isinstance(name, str) else ""

    def check() -> str:
        profile_from_toml(folder.read(name), name)
        return str(folder.place(name))

    return str(_try(folder, "profile", check) or "")


def _list(tree: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The tables under this key, whatever a user wrote there."""
    value = tree.get(key)
    return [one if isinstance(one, dict) else {} for one in value] if isinstance(value, list) else []


def _made(folder: Folder, index: int, entry: dict[str, Any]) -> _Made:
    """The agents of an entry, as far as its table is one; what is wrong with its files is noted."""
    given = entry.get("name") if isinstance(entry.get("name"), str) else None
    key = "manifest" if "manifest" in entry else "module"
    try:
        table = AgentTable.model_validate(entry)
    except ValidationError:
        if isinstance(entry.get(key), str) and _is_inside(entry[key]):  # else the table is refused for that
            _try(folder, f"agents.{index}.{key}", lambda: folder.read(entry[key], MODULE_BYTES))
        return _Made(given)
    one = _try(folder, f"agents.{index}.{key}", lambda: _agent(folder, table))
    if not isinstance(one, Agent):
        return _Made(given)
    names = [one.spec.name]
    if table.count > 1:
        names = [f"{one.spec.name}-{number}" for number in range(table.count)]
    specs = (msgspec.structs.replace(one.spec, name=name, priority=table.priority) for name in names)
    return _Made(one.spec.name, tuple(Agent(spec, one.wasm) for spec in specs))


def _is_inside(name: str) -> bool:
    try:
        return bool(inside(name))
    except ValueError:
        return False


def _try(folder: Folder, place: str, make: Any) -> object:
    try:
        return make()
    except Refused as refused:
        folder.problems.append(f"{place}: {refused}")
        return None


def _agent(folder: Folder, table: AgentTable) -> Agent:
    if table.manifest is not None:
        folder.read(table.manifest)
        manifest, spec, wasm = load_manifest(folder.place(table.manifest))
        entry = (Path(table.manifest).parent / manifest.module.entry).as_posix()
        folder.read(entry, MODULE_BYTES)
        return Agent(msgspec.structs.replace(spec, name=table.name or spec.name), wasm)
    assert table.module is not None  # a table has one of the two
    name = table.name or Path(table.module).stem
    data: str | bytes = folder.read(table.module, MODULE_BYTES)
    if table.module.endswith(".wat"):
        try:
            data = str(data, "utf-8") if isinstance(data, bytes) else data
        except UnicodeDecodeError:
            raise Refused("not UTF-8", table.module, "save the text as utf-8") from None
    allowed = table.limits
    limits = Limits(fuel=allowed.fuel, memory=allowed.memory, table=allowed.table) if allowed else Limits()
    return agent(name, data, table.capabilities, limits)


def _names(tree: dict[str, Any], made: list[_Made]) -> list[str]:
    """Names that are there twice, and names that nothing has."""
    agents = [one.spec.name for each in made for one in each.agents]
    groups = {each.name for each in made if each.name}
    complete = all(each.agents or each.name for each in made)  # else some name is not known, and none is refused
    buffers = [one["name"] for one in _list(tree, "buffers") if isinstance(one.get("name"), str)]
    topics = [one for one in tree.get("topics", ()) if isinstance(one, str)] if _is_list(tree, "topics") else []
    found = [*_twice("agents", agents), *_twice("buffers", buffers), *_twice("topics", topics)]
    if len(agents) > AGENTS_MAX:
        found.append(f"agents: {len(agents)} of them, at most {AGENTS_MAX}")
    for index, entry in enumerate(_list(tree, "agents")):
        for name in entry.get("reads", ()) if _is_list(entry, "reads") else ():
            found += _known(f"agents.{index}.reads", name, buffers, "buffer")
    for index, entry in enumerate(_list(tree, "buffers")):
        if complete:
            found += _known(f"buffers.{index}.writer", entry.get("writer"), agents, "agent")
    for index, entry in enumerate(_list(tree, "workload")):
        if complete and "to" in entry:
            found += _known(f"workload.{index}.to", entry["to"], sorted({*agents, *groups}), "agent")
        if "topic" in entry:
            found += _known(f"workload.{index}.topic", entry["topic"], topics, "topic")
    return found + _times(tree)


def _times(tree: dict[str, Any]) -> list[str]:
    """Things that happen when the run is over, and too many of them."""
    last, found, count = tree.get("last_tick"), [], 0
    for index, entry in enumerate(_list(tree, "workload")):
        numbers = [entry.get("tick", 1), entry.get("every", 1), entry.get("times", 1)]
        if not all(type(number) is int for number in numbers):
            continue
        ends = numbers[0] + numbers[1] * (numbers[2] - 1)
        count += numbers[2]
        if type(last) is int and ends >= last:
            found.append(f"workload.{index}: its last turn is at tick {ends}, and the workload ends before {last}")
    entries = _list(tree, "workload")
    if entries and all(entry.get("fixed") is True for entry in entries):
        found.append("workload: all of it is fixed, and a campaign has nothing to draw; leave fixed out of one")
    if count > ACTIONS_MAX:
        found.append(f"workload: {count} turns in all, at most {ACTIONS_MAX}")
    return found


def _is_list(table: dict[str, Any], key: str) -> bool:
    return isinstance(table.get(key), list)


def _twice(what: str, names: list[str]) -> list[str]:
    return [f"{what}: the name {name!a} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]


def _known(place: str, name: object, names: list[str], what: str) -> list[str]:
    if not isinstance(name, str) or name in names:
        return []
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return [f"{place}: there is no {what} {name[:40]!a}, " + (f"use one of {shown}" if names else "declare it")]


def _scenario(described: Description, made: list[_Made]) -> Scenario:
    agents = [one for each in made for one in each.agents]
    ids = {one.spec.name: number for number, one in enumerate(agents)}
    groups = {each.name: [ids[one.spec.name] for one in each.agents] for each in made if each.name}
    groups |= {name: [number] for name, number in ids.items()}
    specs = _reading(described, agents, [len(each.agents) for each in made])
    config = Config(
        last_tick=described.last_tick,
        seed=0,
        snapshot_every=SNAPSHOT_EVERY,
        topics=described.topics,
        buffers=tuple(_buffer(buffer, ids) for buffer in described.buffers),
    )
    fixed, actions = _actions(described, groups)
    return composed(
        described.name,
        [Agent(spec, one.wasm) for spec, one in zip(specs, agents, strict=True)],
        actions,
        config=config,
        title=described.title or described.name,
        fixed=fixed,
        faults=described.faults,
    )


def _reading(described: Description, agents: list[Agent], counts: list[int]) -> list[AgentSpec]:
    """The agents' specs with the numbers of the buffers that they read."""
    number = {buffer.name: index for index, buffer in enumerate(described.buffers)}
    reads = [table.reads for table, count in zip(described.agents, counts, strict=True) for _ in range(count)]
    return [
        msgspec.structs.replace(one.spec, reads=tuple(number[name] for name in mine))
        for one, mine in zip(agents, reads, strict=True)
    ]


def _buffer(table: BufferTable, ids: dict[str, int]) -> BufferSpec:
    return BufferSpec(capacity=table.capacity, name=table.name, writer=ids[table.writer])


def _actions(
    described: Description, groups: dict[str, list[int]]
) -> tuple[list[tuple[int, Action]], list[tuple[int, Action]]]:
    """(fixed, drawn from), each (tick, action), in the file's order."""
    fixed: list[tuple[int, Action]] = []
    actions: list[tuple[int, Action]] = []
    topics = {name: index for index, name in enumerate(described.topics)}
    for table in described.workload:
        for turn in range(table.times):
            tick = table.tick + turn * table.every
            for target in groups[table.to] if table.to is not None else [0]:
                (fixed if table.fixed else actions).append((tick, _action(table, target, topics)))
    return fixed, actions


def _action(table: WorkTable, target: int, topics: dict[str, int]) -> Action:
    topic = topics[table.topic] if table.topic is not None else 0
    if table.do == "send":
        return Send(target, table.payload)
    if table.do == "publish":
        return Publish(table.payload, topic)
    if table.do == "schedule":
        return Schedule(target, table.payload, table.ticks or 1)
    if table.do == "join":
        return Join(target, topic)
    return Operate(table.do, target)
