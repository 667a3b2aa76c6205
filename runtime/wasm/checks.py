"""The load checks (WAS-3): size, digest, signature, format, ABI, imports, limits; the first that fails is named.

Nothing of a module executes before all have passed. Its instantiation runs no code either, as it has no start function.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import wasmtime

from runtime.errors import ModuleRefused
from runtime.lru import Lru, Pin
from runtime.state import AgentSpec, Library, Limits
from runtime.wasm import agent_wasi, libraries, raw
from runtime.wasm.abi import EXPORTS, GROUPS, HOST, OPTIONAL, PAGE, RESERVED, SECTION, Signature, incompatible
from runtime.wasm.binary import CODE, Malformed, Parsed, bodies, parse, rewrite
from runtime.wasm.capabilities import Capability, matched_to
from runtime.wasm.compiled import DEFAULT, ModuleCache
from runtime.wasm.engine import engine, shim
from runtime.wasm.imports import Imported, Served
from runtime.wasm.libraries import Shelf, Volume
from runtime.wasm.names import shown
from runtime.wasm.scan import loops_within
from runtime.wasm.signatures import Demand
from runtime.wasm.spares import NoSpares, Spares

MODULE_BYTES = 16 << 20
FUEL_MAX = 1 << 62
# Elements, whatever the limits say: they are allocated at once, and wasmtime ends the process where that fails.
TABLE_MAX = 10_000_000
PAGES_MAX = 1 << 16
# What makes a module slow to compile out of proportion to its size: 100,000 functions in 0.4 MB took 5.6 s, 5,000
# loops within each other 0.6 s, and twice as many four times as long. No compiler that we know of comes near either.
FUNCTIONS_MAX = 50_000
LOOPS_MAX = 2_000  # within each other


class Loaded(NamedTuple):
    """A module that passed: compiled, with its imports' names in order, its mutable globals, and spare instances.

    `lent` are the functions of its user's host that it imports; their names have a dot. It is `plain` where it imports
    from the shim alone. `shelf` has the libraries that it imports from.
    """

    module: wasmtime.Module
    imports: tuple[str, ...]
    mutable: tuple[tuple[int, int], ...]
    spares: Spares
    lent: tuple[Imported, ...] = ()
    plain: bool = True
    shelf: Shelf | None = None

    @property
    def most(self) -> int:
        """Bytes that its memory can have."""
        kind = next(export.type for export in self.module.exports if export.name == "memory")
        assert isinstance(kind, wasmtime.MemoryType)
        return (kind.limits.max or PAGES_MAX) * PAGE


_parsed: Lru[Parsed] = Lru(64 << 20)  # bytes of wasm
_PARSING = threading.Lock()
_PASSED_MAX = 4096
# Digest, capabilities and limits of what has passed: nothing else decides the checks after the signature's.
_passed: set[tuple[str, tuple[str, ...], Limits]] = set()
_KEPT_TRIED = 256
_tried_with: set[tuple[str, int, tuple[Library, ...]]] = set()  # what has been instantiated once with its libraries


def check_module(
    spec: AgentSpec,
    wasm: bytes,
    max_bytes: int = MODULE_BYTES,
    demand: Demand | None = None,
    libraries: Sequence[bytes] = (),
    offered: Mapping[str, Capability] = MappingProxyType({}),
) -> None:
    """Runs the load checks alone; raises ModuleRefused, naming the check that failed."""
    load_pinned(spec, wasm, max_bytes, demand, offered=offered, given=libraries)


def load(spec: AgentSpec, wasm: bytes, max_bytes: int = MODULE_BYTES, demand: Demand | None = None) -> Loaded:
    """The module, checked for this spec and compiled for its limits; raises ModuleRefused."""
    return load_pinned(spec, wasm, max_bytes, demand)[0]


def load_pinned(
    spec: AgentSpec,
    wasm: bytes,
    max_bytes: int = MODULE_BYTES,
    demand: Demand | None = None,
    cache: ModuleCache = DEFAULT,
    offered: Mapping[str, Capability] = MappingProxyType({}),
    given: Sequence[bytes] = (),
) -> tuple[Loaded, Pin]:
    """As `load`, with a pin that keeps the module in the cache. `offered` are capabilities beside those of the ABI.

    With a `demand` it must be signed; what is verified, checked and compiled is the same bytes object. `given` are the
    bytes of the spec's libraries, in their order, of which the same is demanded.
    """
    where = f"agent {shown(spec.name)}"
    digest = _identified(spec.module, wasm, max_bytes, demand, where)
    declared = spec.libraries or ()
    if len(given) != len(declared):
        what = f"{len(given)} libraries are given, declared are {len(declared)}"
        raise ModuleRefused("digest", what, where, "give the bytes of each")
    for library, data in zip(declared, given, strict=True):
        _identified(library.module, data, max_bytes, demand, f"{where}, library {shown(library.name)}")
    what_passed = (digest, spec.capabilities, spec.limits)
    lent: tuple[Imported, ...] = ()
    shelf: Shelf | None = None
    if offered or declared or what_passed not in _passed:
        parsed = _parsed_once(digest, wasm, where)
        _check_abi(parsed, where)
        volumes = [_volume(library, data, where) for library, data in zip(declared, given, strict=True)]
        lent = _check_imports(parsed, spec, where, offered)
        if volumes:
            shelf = _bound(parsed, spec, where, volumes, offered)
        _check_limits(parsed, spec, where, volumes)
        if not offered and not declared:
            _remember(what_passed)
    pages = spec.limits.memory // PAGE
    try:
        shelf, pins = _compiled(shelf, cache)
        loaded, pin = cache.use(
            (digest, f"agent {pages}"),
            lambda: _compilable(wasm, _parsed_once(digest, wasm, where), pages, where),
            lambda module: _tried(_loaded(module, _parsed_once(digest, wasm, where), lent, shelf), where),
        )
    except wasmtime.WasmtimeError as error:
        what = shown(" ".join(str(error).split()), 300)
        raise ModuleRefused("format", what, where, "build it with another compiler") from None
    for each in pins:
        pin.take(each)
    if loaded.plain:
        return loaded, pin
    loaded = loaded._replace(lent=lent, shelf=shelf, spares=NoSpares())
    if shelf is not None:
        _try_with(loaded, (digest, pages, tuple(declared)), where)
    return loaded, pin


def _identified(declared: str, wasm: bytes, max_bytes: int, demand: Demand | None, where: str) -> str:
    """The bytes' digest, which is the declared one; they are small enough, and signed where that is demanded."""
    if len(wasm) > max_bytes:
        raise ModuleRefused("size", f"{len(wasm)} bytes, allowed are {max_bytes}", where, "make the module smaller")
    digest = hashlib.sha256(wasm).hexdigest()
    if digest != declared:
        what = f"its sha256 is {digest}, declared is {shown(declared)}"
        raise ModuleRefused("digest", what, where, "declare the digest of the module's own bytes")
    if demand is not None:
        demand.check(wasm, digest, where)
    return digest


def _volume(library: Library, data: bytes, agent: str) -> Volume:
    """The library, read and without a state; raises ModuleRefused."""
    where = f"{agent}, library {shown(library.name)}"
    volume = Volume(library.name, where, data, _parsed_once(library.module, data, where))
    libraries.check_stateless(volume)
    _check_versions(volume.parsed, where)
    return volume


def _bound(
    parsed: Parsed, spec: AgentSpec, where: str, volumes: Sequence[Volume], offered: Mapping[str, Capability]
) -> Shelf | None:
    """The libraries that it imports from; None where it does without them all."""
    pages = libraries.pages(parsed, spec.limits.memory // PAGE)
    shelf = libraries.bound(parsed, where, volumes, tuple(offered), pages)
    return shelf if shelf.volumes else None


def _compiled(shelf: Shelf | None, cache: ModuleCache) -> tuple[Shelf | None, list[Pin]]:
    """With its modules, and a pin for each. A library has no memory: it is the same for all limits."""
    if shelf is None:
        return None, []
    used = [
        cache.use((hashlib.sha256(each.wasm).hexdigest(), "library"), functools.partial(_source, each), _itself)
        for each in shelf.volumes
    ]
    return shelf._replace(modules=tuple(module for module, _ in used)), [pin for _, pin in used]


def _source(volume: Volume) -> bytes:
    _check_heavy(volume.wasm, volume.parsed, volume.where)
    return volume.wasm


def _itself(module: wasmtime.Module) -> wasmtime.Module:
    return module


def _try_with(loaded: Loaded, key: tuple[str, int, tuple[Library, ...]], where: str) -> None:
    """Once with its libraries: a segment that lies outside of one's table is found here and not in a worker."""
    if key in _tried_with:
        return
    _tried(loaded, where)
    if len(_tried_with) >= _KEPT_TRIED:
        _tried_with.clear()
    _tried_with.add(key)


def _remember(what_passed: tuple[str, tuple[str, ...], Limits]) -> None:
    if len(_passed) >= _PASSED_MAX:
        _passed.clear()
    _passed.add(what_passed)


def _loaded(module: wasmtime.Module, parsed: Parsed, lent: tuple[Imported, ...], shelf: Shelf | None = None) -> Loaded:
    names = tuple(each.name if each.module == "engine" else f"{each.module}.{each.name}" for each in parsed.imports)
    return Loaded(module, names, parsed.mutable, Spares(), lent, not any("." in name for name in names), shelf)


def _parsed_once(digest: str, wasm: bytes, where: str) -> Parsed:
    with _PARSING:
        parsed = _parsed.get((digest, ""))
        if parsed is None:
            parsed = _check_format(wasm, where)
            _parsed.put((digest, ""), parsed, len(wasm))
        return parsed


def _check_format(wasm: bytes, where: str) -> Parsed:
    todo = "build it as a core wasm module with one memory (docs/abi.md)"
    try:
        parsed = parse(wasm)
        wasmtime.Module.validate(engine(), wasm)
    except (Malformed, wasmtime.WasmtimeError) as error:
        raise ModuleRefused("format", shown(" ".join(str(error).split()), 300), where, todo) from None
    return parsed


def _check_versions(parsed: Parsed, where: str) -> None:
    if len(parsed.abi) > 1:
        raise ModuleRefused("abi", f"section {SECTION} occurs {len(parsed.abi)} times", where, "keep one")
    for text in parsed.abi:
        problem = incompatible(text)
        if problem:
            raise ModuleRefused("abi", f"section {SECTION}: {problem}", where, "")


def _check_abi(parsed: Parsed, where: str) -> None:
    def refused(what: str, todo: str) -> ModuleRefused:
        return ModuleRefused("abi", what, where, todo)

    _check_versions(parsed, where)
    exports = {export.name: export for export in parsed.exports}
    for name in exports:
        if name.startswith(RESERVED):
            raise refused(f"it exports {shown(name)}", f"names that begin with {RESERVED} are reserved")
    memory = exports.get("memory")
    if memory is None or memory.kind != 2:
        raise refused("it exports no memory under the name 'memory'", "export it")
    for name, signature in (EXPORTS | {name: OPTIONAL[name] for name in OPTIONAL if name in exports}).items():
        export = exports.get(name)
        if export is None or export.kind != 0:
            raise refused(f"it exports no function {name}", f"export {name}: {signature}")
        found = parsed.functions[export.place]
        if found != signature:
            raise refused(f"{name} has type {found}", f"give it type {signature}")


def _check_imports(
    parsed: Parsed, spec: AgentSpec, where: str, offered: Mapping[str, Capability]
) -> tuple[Imported, ...]:
    """What it imports from its user's host; raises ModuleRefused."""
    for group in spec.capabilities:
        if group not in GROUPS and group not in offered:
            some = ", ".join((*GROUPS, *offered))
            raise ModuleRefused("import", f"no capability {shown(group)}", where, f"grant one of {some}")
    lent: list[Imported] = []
    shelved = {library.name for library in spec.libraries or ()}
    for entry in parsed.imports:
        if entry.module in shelved:
            continue
        if entry.module in offered:
            lent += matched_to((entry,), offered[entry.module], entry.module in spec.capabilities, where)
            continue
        name = f"{shown(entry.module)}.{shown(entry.name)}"
        function = _OFFERED.get((entry.module, entry.name)) if entry.kind == 0 else None
        if function is None:
            todo = (
                "import only functions of 'engine', of declared libraries, or of WASI as agents have it (docs/abi.md)"
            )
            raise ModuleRefused("import", f"{name} is not offered", where, todo)
        if entry.signature != function.signature:
            raise ModuleRefused(
                "import", f"{name} is imported as {entry.signature}", where, f"its type is {function.signature}"
            )
        if function.group and function.group not in spec.capabilities:
            raise ModuleRefused(
                "import", f"{name} is not granted", where, f"grant the capability '{function.group}' or do without it"
            )
    return tuple(lent)


def _check_limits(parsed: Parsed, spec: AgentSpec, where: str, volumes: Sequence[Volume]) -> None:
    minimum = parsed.memories[0][0] * PAGE
    if minimum > spec.limits.memory:
        what = f"its memory begins with {minimum} bytes, its limit is {spec.limits.memory}"
        raise ModuleRefused("limit", what, where, "raise limits.memory")
    elements = sum(table[0] for each in (parsed, *(v.parsed for v in volumes)) for table in each.tables)
    allowed = min(spec.limits.table, TABLE_MAX)
    if elements > allowed:
        what = f"its tables{' and its libraries' if volumes else ''} have {elements} elements, its limit is {allowed}"
        raise ModuleRefused("limit", what, where, "raise limits.table")


def _compilable(wasm: bytes, parsed: Parsed, pages: int, where: str) -> bytes:
    """What is compiled of it."""
    _check_heavy(wasm, parsed, where)
    return rewrite(wasm, parsed, pages)


def _check_heavy(wasm: bytes, parsed: Parsed, where: str) -> None:
    """Raises ModuleRefused where compiling it would take a time out of proportion to its size."""
    if len(parsed.functions) > FUNCTIONS_MAX:
        what = f"it has {len(parsed.functions)} functions, allowed are {FUNCTIONS_MAX}"
        raise ModuleRefused("limit", what, where, "leave out what it does not use")
    for section in parsed.sections:
        for start, end in bodies(wasm, section) if section.id == CODE else ():
            if not loops_within(wasm, start, end, LOOPS_MAX):
                what = f"a function has more than {LOOPS_MAX} loops within each other"
                raise ModuleRefused("limit", what, where, "divide the function")


def _tried(loaded: Loaded, where: str) -> Loaded:
    """Itself, instantiated once: a segment that lies outside its memory is found here and not in a worker.

    Without its user's functions: it is kept for others too.
    """
    try:
        link(loaded)
    except raw.InstantiationTrap:
        raise ModuleRefused("format", "a segment lies outside its memory or table", where, "enlarge it") from None
    return loaded._replace(lent=(), shelf=None)


def link(loaded: Loaded) -> tuple[raw.Linked, raw.Linked]:
    """(shim, agent) in a store of their own; raises InstantiationTrap, Unavailable."""
    joined = join(loaded)
    return joined.host, joined.agent


class _Offered(NamedTuple):
    group: str
    signature: Signature
    op: str = ""


_OFFERED = {("engine", name): _Offered(each.group, each.signature, each.op) for name, each in HOST.items()} | {
    (agent_wasi.MODULE, name): _Offered(each.group, each.signature) for name, each in agent_wasi.FUNCTIONS.items()
}


class Joined(NamedTuple):
    """An agent with all that is linked beside it. `served` are the functions of its user's host, which must be kept as
    long as the agent; `log` is where WASI keeps what it writes."""

    host: raw.Linked
    agent: raw.Linked
    served: Served | None
    log: raw.Linear | None


def join(loaded: Loaded) -> Joined:
    """As `link`."""
    store = wasmtime.Store(engine())
    store.set_fuel(FUEL_MAX)  # constant expressions of globals and segments consume some; a step sets its own
    host = raw.Linked(store, shim(), ())
    if loaded.plain:
        return Joined(host, raw.Linked(store, loaded.module, [host.export(n) for n in loaded.imports]), None, None)
    served = Served(store, loaded.lent, "agent") if loaded.lent else None
    given = iter(served.externs if served else ())
    asks_wasi = any(name.startswith(f"{agent_wasi.MODULE}.") for name in loaded.imports)
    front = agent_wasi.front(store) if asks_wasi else None
    shelf = loaded.shelf
    shelved = {} if shelf is None else {place: str(number) for number, (place, _, _) in enumerate(shelf.wanted)}
    between = None if shelf is None else shelf.front(store)
    externs = []
    for place, name in enumerate(loaded.imports):
        module, dot, function = name.rpartition(".")
        if between is not None and place in shelved:
            externs.append(between.export(shelved[place]))
        elif front is not None and module == agent_wasi.MODULE:
            externs.append(front.export(function))
        else:
            externs.append(next(given) if dot else host.export(name))
    agent = raw.Linked(store, loaded.module, externs)
    if shelf is not None and between is not None:
        shelf.put_behind(between, agent)
    return Joined(host, agent, served, None if front is None else agent_wasi.back(front, host, agent))
