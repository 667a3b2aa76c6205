"""A scenario from a folder of files, with everything that is wrong with it at once: key, what, what to do.

Guards against half a scenario: the tables, the names that they use and the files that they name are all judged before
anything is refused, and nothing outside of the folder is read. What is built is the same pure data as a built-in
scenario; its name carries a digest of what it means (`name@0123456789abcdef`), so no run of it passes for another's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from faults.profiles.reading import from_toml as profile_from_toml
from runtime.configuration import Configuration, configuration_from
from runtime.errors import Refused
from runtime.manifest import load_package
from runtime.state import Limits
from runtime.validated import BYTES_MAX, problems, read_bytes, tree_of
from runtime.validators import Validator
from runtime.wasm import Engine, plugin
from runtime.wasm.capabilities import Capability
from runtime.wasm.checks import MODULE_BYTES
from scenarios.base import Scenario
from scenarios.builder import Agent, agent
from scenarios.files.building import Files, Made, built
from scenarios.files.folder import Folder, is_inside
from scenarios.files.names import name_problems, tables
from scenarios.files.tables import (
    AgentTable,
    Description,
    PluginTable,
    Variation,
)
from scenarios.files.variations import configured, named, stem_of

MAIN = "scenario.toml"
TODO = "see docs/scenarios.md"
MODEL_BYTES = 1 << 26


def unknown(name: str) -> Scenario:
    raise Refused(f"unknown scenario {name[:80]!r}", "", "give a .toml file of this folder")


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
    if made is not None and not folder.problems:
        made = _under(folder, made, configuration, str(tree.get("config")))
    if made is None or folder.problems:
        raise Refused("; ".join(folder.problems), where, TODO)
    stem = tree.get("name") or stem_of(made.name)
    files = {MAIN: data, **folder.files}
    return named(dataclasses.replace(made, files=files, profile=profile or made.profile), stem)


def _under(folder: Folder, scenario: Scenario, configuration: Configuration | None, name: str) -> Scenario | None:
    if configuration is None:
        return scenario
    return folder.attempt("config", lambda: configured(scenario, configuration, name))


def _varied(folder: Folder, tree: dict[str, Any], base: Callable[[str], Scenario]) -> Scenario | None:
    """The scenario that the file names, with its own faults where it has any."""
    try:
        table = Variation.model_validate(tree)
    except ValidationError as error:
        folder.problems.insert(0, problems(error, Variation))
        return None
    name = table.base
    if name.endswith(".toml"):
        found = folder.attempt("base", lambda: read_scenario(folder.place(name), base))
        below = Path(name).parent
        for file, data in found.files.items() if found is not None else ():
            folder.files[(below / (Path(name).name if file == MAIN else file)).as_posix()] = data
    else:
        found = folder.attempt("base", lambda: base(name))
    if found is None:
        return None
    return dataclasses.replace(found, faults=found.faults if table.faults is None else table.faults)


def _described(folder: Folder, tree: dict[str, Any]) -> Scenario | None:
    described: Description | None = None
    try:
        described = Description.model_validate(tree)
    except ValidationError as error:
        folder.problems.insert(0, problems(error, Description))
    plugins = _plugins(folder, tree)
    made = [_made(folder, index, entry, plugins) for index, entry in enumerate(tables(tree, "agents"))]
    agents = [one.spec.name for each in made for one in each.agents]
    complete = all(each.agents or each.name for each in made)
    files = _files(folder, tree)
    folder.problems += name_problems(tree, agents, {each.name for each in made if each.name}, complete)
    if described is None or folder.problems:
        return None
    return dataclasses.replace(built(described, made, files), capabilities=lambda: plugins)


def _plugins(folder: Folder, tree: dict[str, Any]) -> tuple[Capability, ...]:
    """The capabilities that the tables describe; what cannot be one is noted."""
    found: list[Capability] = []
    for index, entry in enumerate(tables(tree, "plugins")):
        try:
            table = PluginTable.model_validate(entry)
        except ValidationError:
            continue  # the table is refused for that
        made = folder.attempt(f"plugins.{index}", partial(_plugin, folder, table))
        if made is not None and made.name not in {each.name for each in found}:  # names that are there twice are told
            found.append(made)
    return tuple(found)


def _plugin(folder: Folder, table: PluginTable) -> Capability:
    module = Engine().load_bytes(folder.read(table.file, MODULE_BYTES), table.file)
    return plugin(table.name, module, *table.exports)


def _files(folder: Folder, tree: dict[str, Any]) -> Files:
    """The models' and validators' bytes; what cannot be one is noted."""
    models = []
    for index, entry in enumerate(tables(tree, "models")):
        name = entry.get("file")
        if isinstance(name, str) and is_inside(name):
            models.append(folder.attempt(f"models.{index}.file", partial(folder.read, name, MODEL_BYTES)) or b"")
    guards: dict[str, bytes] = {}
    asked = [("guard", tree), *((f"agents.{i}.guard", entry) for i, entry in enumerate(tables(tree, "agents")))]
    for place, table in asked:
        name = table.get("guard")
        if isinstance(name, str) and is_inside(name):
            guards[name] = folder.attempt(place, partial(_validator, folder, name)) or b""
    return Files(tuple(models), guards)


def _validator(folder: Folder, name: str) -> bytes:
    """A validator's module; raises Refused for one that is none."""
    module = Engine().load_bytes(folder.read(name, MODULE_BYTES), name)
    Validator(module)
    return module.wasm


def _configuration(folder: Folder, name: object) -> Configuration | None:
    if not isinstance(name, str) or not is_inside(name):
        return None
    return folder.attempt("config", lambda: configuration_from(folder.read(name), name))


def _profile(folder: Folder, name: object) -> str:
    """The profile's name, or the path of its file, which is checked; "" where none is named."""
    if not isinstance(name, str) or not name.endswith(".toml"):
        return name if isinstance(name, str) else ""

    def check() -> str:
        profile_from_toml(folder.read(name), name)
        return str(folder.place(name))

    return folder.attempt("profile", check) or ""


def _made(folder: Folder, index: int, entry: dict[str, Any], plugins: tuple[Capability, ...]) -> Made:
    """The agents of an entry, as far as its table is one; what is wrong with its files is noted."""
    given = entry.get("name") if isinstance(entry.get("name"), str) else None
    key = "manifest" if "manifest" in entry else "module"
    try:
        table = AgentTable.model_validate(entry)
    except ValidationError:
        if isinstance(entry.get(key), str) and is_inside(entry[key]):  # else the table is refused for that
            folder.attempt(f"agents.{index}.{key}", lambda: folder.read(entry[key], MODULE_BYTES))
        return Made(given)
    one = folder.attempt(f"agents.{index}.{key}", lambda: _agent(folder, table, plugins))
    if one is None:
        return Made(given)
    names = [one.spec.name]
    if table.count > 1:
        names = [f"{one.spec.name}-{number}" for number in range(table.count)]
    specs = (msgspec.structs.replace(one.spec, name=name, priority=table.priority) for name in names)
    return Made(one.spec.name, tuple(one._replace(spec=spec) for spec in specs))


def _agent(folder: Folder, table: AgentTable, plugins: tuple[Capability, ...]) -> Agent:
    if table.manifest is not None:
        folder.read(table.manifest)
        found = load_package(folder.place(table.manifest), capabilities=plugins)
        for file in (found.manifest.module.entry, *(each.file for each in found.manifest.libraries.values())):
            folder.read((Path(table.manifest).parent / file).as_posix(), MODULE_BYTES)
        spec = msgspec.structs.replace(found.spec, name=table.name or found.spec.name)
        return Agent(spec, found.wasm, found.libraries)
    assert table.module is not None  # a table has one of the two
    name = table.name or Path(table.module).stem
    allowed = table.limits
    limits = Limits(fuel=allowed.fuel, memory=allowed.memory, table=allowed.table) if allowed else Limits()
    libraries = {each: _module(folder, file) for each, file in sorted(table.libraries.items())}
    return agent(name, _module(folder, table.module), table.capabilities, limits, libraries=libraries, offered=plugins)


def _module(folder: Folder, file: str) -> str | bytes:
    """A module's bytes, or the text of a `.wat`."""
    data = folder.read(file, MODULE_BYTES)
    if not file.endswith(".wat"):
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("not UTF-8", file, "save the text as utf-8") from None
