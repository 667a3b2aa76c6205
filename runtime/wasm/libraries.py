"""Libraries: function modules that agents import from by name (WAS-7), each beside its agent and in the same store.

Guarantees: a library has no state, so that the agent's memory and globals are all there is to snapshot, restore and
digest. It may be lent the agent's memory, under the agent's limits, and calls nothing but other libraries of the same
agent; fuel and stack are the agent's. Which module gives what, and under which type, is settled before any code runs.

An agent is instantiated before what is lent its memory, and needs what that gives: a module of ours stands between,
which calls through a table, and a second one fills the table once both are there.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import wasmtime

from runtime.errors import ModuleRefused
from runtime.wasm import raw
from runtime.wasm.abi import VALUE_NAMES, Signature
from runtime.wasm.binary import DATA, PAGES_MAX, Import, Parsed
from runtime.wasm.engine import engine
from runtime.wasm.imports import kind_of
from runtime.wasm.linking import Part, Source, planned
from runtime.wasm.names import shown
from runtime.wasm.text import assemble

AGENT = "agent"  # the module from which a library imports its agent's memory
LIBRARY_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
HOST_MODULES = (AGENT, "engine", "wasi_snapshot_preview1")  # names under which an agent or the runtime gives something
_FUNCTION, _MEMORY = 0, 2
_TODO = "a library has no state of its own (docs/modules.md)"


class Volume(NamedTuple):
    """One library as it was given. `where` is for who reads an error."""

    name: str
    where: str
    wasm: bytes
    parsed: Parsed


class _Linkable(NamedTuple):
    """What `linking` needs to know of one module: of its imports, only those that come from libraries."""

    name: str
    parsed: Parsed


class Shelf(NamedTuple):
    """An agent's libraries, linked: `volumes` in the order of their instantiation, with who gives their imports.

    `wanted` are those of the agent's own imports that libraries give: the place among all of its imports, the giver,
    the type. `modules` are the compiled volumes.
    """

    volumes: tuple[Volume, ...]
    parts: tuple[Part, ...]
    wanted: tuple[tuple[int, Source, Signature], ...]
    modules: tuple[wasmtime.Module, ...] = ()

    @property
    def signatures(self) -> tuple[Signature, ...]:
        return tuple(signature for _, _, signature in self.wanted)

    def front(self, store: wasmtime.Store) -> raw.Linked:
        """What the agent's imports are linked to; the n-th of `wanted` is its export `str(n)`."""
        return raw.Linked(store, _front(self.signatures), ())

    def put_behind(self, fronted: raw.Linked, agent: raw.Linked) -> None:
        """Instantiates the libraries, in the agent's store and over its memory, and puts them behind the front.

        Raises InstantiationTrap, Unavailable.
        """
        made: list[raw.Linked] = []
        for volume, part, module in zip(self.volumes, self.parts, self.modules, strict=True):
            sources = iter(part.sources)
            given = []
            for entry in volume.parsed.imports:
                if entry.module == AGENT:
                    given.append(agent.export("memory"))
                else:
                    source = next(sources)
                    given.append(made[source.part].export(source.name))
            made.append(raw.Linked(fronted.store, module, given))
        functions = [made[source.part].export(source.name) for _, source, _ in self.wanted]
        given_as = tuple(self._given_as(source) for _, source, _ in self.wanted)
        raw.Linked(fronted.store, _back(given_as), [fronted.export("table"), *functions])

    def _given_as(self, source: Source) -> Signature:
        """The type under which its library exports it, whatever the agent takes it for: the table compares the two."""
        parsed = self.volumes[source.part].parsed
        return parsed.functions[next(each.place for each in parsed.exports if each.name == source.name)]


def check_stateless(volume: Volume) -> None:
    """Raises ModuleRefused for a library that could remember, write into its agent's memory at its start, or ask the
    host for anything."""
    parsed, where = volume.parsed, volume.where
    kept = {
        "a memory of its own": bool(parsed.memories),
        "mutable globals": bool(parsed.mutable),
        "data segments": any(section.id == DATA for section in parsed.sections),
    }
    for what, there in kept.items():
        if there:
            raise ModuleRefused("format", f"it has {what}", where, _TODO)


def bound(
    agent: Parsed, where: str, volumes: Sequence[Volume], offered: Sequence[str], memory: tuple[int, int]
) -> Shelf:
    """The libraries that the agent needs, linked by name and type; raises ModuleRefused, and runs and compiles nothing.

    `offered` are the modules that the host gives; `memory` is (pages at the start, pages at most) of the agent's.
    """
    names = {volume.name: volume for volume in volumes}
    if len(names) < len(volumes):
        raise ModuleRefused("import", "two libraries have the same name", where, "give each its own")
    for volume in volumes:
        if volume.name in (*HOST_MODULES, *offered):
            what = f"{shown(volume.name)} is given by a library and by the host"
            raise ModuleRefused("import", what, where, "give the library another name")
        check_imports(volume, names, memory)
    own = [(place, entry) for place, entry in enumerate(agent.imports) if entry.module in names]
    for _, entry in own:
        _check_function(entry, where)
    main = _Linkable(where, agent._replace(imports=tuple(entry for _, entry in own)))
    linkable = {name: _Linkable(volume.where, _lessened(volume.parsed)) for name, volume in names.items()}
    *parts, last = planned(main, linkable, {})
    wanted = tuple(
        (place, source, entry.signature)
        for (place, entry), source in zip(own, last.sources, strict=True)
        if entry.signature is not None
    )
    return Shelf(tuple(names[part.name] for part in parts), tuple(parts), wanted)


def check_imports(volume: Volume, names: Mapping[str, Volume], memory: tuple[int, int] | None = None) -> None:
    """Raises ModuleRefused for an import that is neither of a library of these `names` nor of the agent's memory."""
    for entry in volume.parsed.imports:
        name = f"{shown(entry.module)}.{shown(entry.name)}"
        if entry.module in names:
            _check_function(entry, volume.where)
        elif (entry.module, entry.name, entry.kind) != (AGENT, "memory", _MEMORY):
            todo = "it may import agent.memory, and functions of the agent's other libraries"
            raise ModuleRefused("import", f"{name} is not offered to a library", volume.where, todo)
        elif entry.limits is not None and memory is not None:
            least, most = entry.limits
            if memory[0] < least or (most is not None and most < memory[1]):
                what = f"{name} is imported as {least} to {'any number of' if most is None else most} pages"
                raise ModuleRefused("import", what, volume.where, f"the agent's has {memory[0]} to {memory[1]}")


def _check_function(entry: Import, where: str) -> None:
    if entry.kind != _FUNCTION:
        what = f"{shown(entry.module)}.{shown(entry.name)} is a {kind_of(entry)}"
        raise ModuleRefused("import", what, where, "libraries give functions alone")


def _lessened(parsed: Parsed) -> Parsed:
    """Without the imports that the agent itself gives."""
    return parsed._replace(imports=tuple(entry for entry in parsed.imports if entry.module != AGENT))


def pages(parsed: Parsed, most: int) -> tuple[int, int]:
    """What the agent's memory is when it is compiled for a limit of `most` pages (`binary.rewrite`)."""
    least, maximum = parsed.memories[0]
    return least, max(least, min(most, PAGES_MAX if maximum is None else maximum))


def _type(signature: Signature) -> str:
    taken, given = (" ".join(VALUE_NAMES[kind] for kind in side) for side in signature)
    return f"(param {taken}) (result {given})"


@functools.lru_cache(maxsize=256)
def _front(signatures: tuple[Signature, ...]) -> wasmtime.Module:
    parts = [f'(table (export "table") {len(signatures)} funcref)']
    for place, signature in enumerate(signatures):
        kind = _type(signature)
        gets = " ".join(f"(local.get {at})" for at in range(len(signature.parameters)))
        parts.append(f'(func (export "{place}") {kind} (call_indirect {kind} {gets} (i32.const {place})))')
    return wasmtime.Module(engine(), assemble(f"(module {' '.join(parts)})"))


@functools.lru_cache(maxsize=256)
def _back(signatures: tuple[Signature, ...]) -> wasmtime.Module:
    """Imports the front's table and the functions, and puts these into that."""
    imports = [f'(import "library" "{place}" (func $f{place} {_type(each)}))' for place, each in enumerate(signatures)]
    places = " ".join(f"$f{place}" for place in range(len(signatures)))
    text = f"""(module (import "front" "table" (table {len(signatures)} funcref)) {" ".join(imports)}
      (elem (i32.const 0) {places}))"""
    return wasmtime.Module(engine(), assemble(text))
