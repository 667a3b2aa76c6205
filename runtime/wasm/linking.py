"""Which module gives what another imports (WAS-7): found, ordered and checked before any code of any of them runs.

Guards against a program that is half linked: a name that nobody gives, a circle of modules, another type than the
import's, a function that is given twice, and too many modules are each refused by name first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import wasmtime

from runtime.errors import ModuleRefused, Refused
from runtime.wasm import imports
from runtime.wasm.binary import Export, Import, Parsed
from runtime.wasm.imports import HostCall, Imported, WithMemory
from runtime.wasm.names import shown

PARTS_MAX = 16  # modules that are linked together
_FUNCTION = 0
_KINDS = ("function", "table", "memory", "global")


class Linkable(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def parsed(self) -> Parsed: ...


class Source(NamedTuple):
    """Where an import comes from: the export `name` of the part `part`, or -1: the next function of the host."""

    part: int
    name: str


class Part(NamedTuple):
    """One module with who serves its imports, in their order. `name` is "" for the one that is called."""

    name: str
    module: Linkable
    host: tuple[Imported, ...]
    sources: tuple[Source, ...]


def planned(
    main: Linkable, modules: Mapping[str, Linkable], host: Mapping[str, HostCall | WithMemory]
) -> tuple[Part, ...]:
    """The parts in the order of their instantiation, `main` last; modules that nobody imports are left out.

    Raises ModuleRefused ("import"); runs and compiles nothing.
    """
    places: dict[str, int] = {}
    parts: list[Part] = []
    waiting: list[tuple[str, Linkable]] = [("", main)]
    way: list[str] = []  # names of modules that wait for what they import
    while waiting:
        name, module = waiting[-1]
        if name in places:
            waiting.pop()
            continue
        missing = _missing(module, modules, places)
        if not missing:
            way = [each for each in way if each != name]
            waiting.pop()
            places[name] = len(parts)
            parts.append(_part(name, module, modules, places, parts, host))
            continue
        way = [*(each for each in way if each != name), name]
        if missing[0] in way:
            circle = " imports ".join(shown(each, 40) for each in (*way[way.index(missing[0]) :], missing[0]))
            raise ModuleRefused("import", f"a circle: {circle}", main.name, "let one of them do without")
        if len(places) + len(way) >= PARTS_MAX:
            what = f"it is linked of more than {PARTS_MAX} modules"
            raise ModuleRefused("import", what, main.name, "put some of them together")
        waiting.append((missing[0], modules[missing[0]]))
    return tuple(parts)


def _missing(module: Linkable, modules: Mapping[str, Linkable], places: Mapping[str, int]) -> list[str]:
    """Modules that it imports and that are not in their place yet."""
    return [entry.module for entry in module.parsed.imports if entry.module in modules and entry.module not in places]


def _part(
    name: str,
    module: Linkable,
    modules: Mapping[str, Linkable],
    places: Mapping[str, int],
    parts: Sequence[Part],
    host: Mapping[str, HostCall | WithMemory],
) -> Part:
    own = [entry for entry in module.parsed.imports if entry.module not in modules]
    matched = imports.matched(own, host, module.name)
    sources = []
    for entry in module.parsed.imports:
        if entry.module not in modules:
            sources.append(Source(-1, ""))
            continue
        if f"{entry.module}.{entry.name}" in host:
            what = f"{_called(entry)} is given by a module and by the host"
            raise ModuleRefused("import", what, module.name, "give it once")
        giver = parts[places[entry.module]]
        export = _export(entry, giver, module.name)
        if entry.kind == _FUNCTION:
            found = giver.module.parsed.functions[export.place]
            if found != entry.signature:
                what = f"{_called(entry)} is imported as {entry.signature}"
                raise ModuleRefused("import", what, module.name, f"its type is {found}")
        sources.append(Source(places[entry.module], entry.name))
    return Part(name, module, matched, tuple(sources))


def _called(entry: Import) -> str:
    return f"{shown(entry.module)}.{shown(entry.name)}"


def _export(entry: Import, giver: Part, where: str) -> Export:
    export = next((each for each in giver.module.parsed.exports if each.name == entry.name), None)
    if export is None:
        some = ", ".join(shown(each.name, 40) for each in giver.module.parsed.exports[:8]) or "nothing"
        raise ModuleRefused("import", f"{_called(entry)} is not exported", where, f"it exports {some}")
    if export.kind != entry.kind:
        what = f"{_called(entry)} is imported as a {imports.kind_of(entry)}"
        kind = _KINDS[export.kind] if export.kind < len(_KINDS) else "thing"
        raise ModuleRefused("import", what, where, f"it is a {kind}")
    return export


def check_types(parts: Sequence[Part], compiled: Sequence[wasmtime.Module]) -> None:
    """Memories, tables and globals that one part takes from another are of its type; raises ModuleRefused."""
    exports: dict[int, dict[str, object]] = {}
    for part, module in zip(parts, compiled, strict=True):
        if all(source.part < 0 or entry.kind == _FUNCTION for source, entry in _pairs(part)):
            continue
        for (source, entry), wanted in zip(_pairs(part), module.imports, strict=True):
            if source.part < 0 or entry.kind == _FUNCTION:
                continue
            giver = exports.setdefault(source.part, {e.name: e.type for e in compiled[source.part].exports})
            told = _differs(wanted.type, giver[source.name])
            if told:
                what = f"{_called(entry)} is imported as {told[0]}"
                raise ModuleRefused("import", what, part.module.name, f"it is {told[1]}")


def _pairs(part: Part) -> list[tuple[Source, Import]]:
    return list(zip(part.sources, part.module.parsed.imports, strict=True))


def _differs(wanted: object, given: object) -> tuple[str, str] | None:
    """Both in words, where what is given does not fit."""
    if isinstance(wanted, wasmtime.GlobalType) and isinstance(given, wasmtime.GlobalType):
        told = [f"{'a mutable' if each.mutable else 'a constant'} {each.content}" for each in (wanted, given)]
        return None if told[0] == told[1] else (told[0], told[1])
    if isinstance(wanted, wasmtime.TableType) and isinstance(given, wasmtime.TableType):
        told = [str(each.element).replace("anyref", "externref") for each in (wanted, given)]  # wasmtime's word for it
        if told[0] != told[1]:
            return f"a table of {told[0]}", f"one of {told[1]}"
        return _beyond(wanted.limits, given.limits, "elements")
    if isinstance(wanted, wasmtime.MemoryType) and isinstance(given, wasmtime.MemoryType):
        return _beyond(wanted.limits, given.limits, "pages")
    return "a thing", "another"


def _beyond(wanted: wasmtime.Limits, given: wasmtime.Limits, unit: str) -> tuple[str, str] | None:
    fits = given.min >= wanted.min and (wanted.max is None or (given.max is not None and given.max <= wanted.max))
    told = [f"of {each.min} to {'any number of' if each.max is None else each.max} {unit}" for each in (wanted, given)]
    return None if fits else (told[0], told[1])


def checked(modules: object, kind: type, where: str) -> None:
    """Raises Refused where `modules` are no modules by their names."""
    if not isinstance(modules, Mapping):
        raise Refused(f"modules is a {type(modules).__name__}", where, 'give {"name": module}')
    for name, module in modules.items():
        if not isinstance(name, str) or not name or not isinstance(module, kind):
            what = f"what is given as module {shown(str(name), 40)} is a {type(module).__name__}"
            raise Refused(what, where, "give what Engine().load gave, under the name that imports have")
