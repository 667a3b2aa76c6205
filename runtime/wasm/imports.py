"""What a function module may import: number functions that its user gives, called through a trusted module of ours.

That module stands between: it keeps the arguments in a memory of its own, where Python reads them, and takes the
results from there, once Python has left a proof that the function ran to its end. A failure can therefore never look
like an answer, and the only callback from wasm into Python has neither arguments nor results (`raw.Crossing` says why).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import wasmtime

from runtime.errors import ModuleRefused, Refused
from runtime.wasm import raw
from runtime.wasm.abi import VALUE_NAMES, Signature
from runtime.wasm.binary import Import
from runtime.wasm.engine import engine
from runtime.wasm.names import shown
from runtime.wasm.text import assemble
from runtime.wasm.values import NUMBERS, from_bits, to_bits

HostCall = Callable[..., Any]
_NUMBER_AT, _PROOF_AT, _VALUES_AT = 0, 8, 16  # in the memory between; a value takes eight bytes
_NUMBER, _PROVED = struct.Struct("<I"), struct.Struct("<Q")
_PROOF = 0x7B1D_5A3C_90E4_2F68
_FUNCTION = 0
_KINDS = ("function", "table", "memory", "global")


class WithMemory:
    """A host function that is given the module's memory before its arguments (`with_memory` makes one).

    With a `signature` it is lent to imports of that type alone.
    """

    def __init__(self, function: HostCall, signature: Signature | None = None) -> None:
        if not callable(function):
            raise Refused(f"{type(function).__name__} is not a function", "with_memory", "give a function")
        self.function, self.signature = function, signature


class Typed:
    """A host function of numbers that is lent to imports of this type alone."""

    def __init__(self, function: HostCall, signature: Signature) -> None:
        if not callable(function):
            raise Refused(f"{type(function).__name__} is not a function", str(signature), "give a function")
        self.function, self.signature = function, signature

    def __call__(self, *arguments: int | float) -> Any:
        return self.function(*arguments)


def with_memory(function: HostCall) -> WithMemory:
    """Marks a host function that reads or writes the module's memory: it is called as `function(memory, *arguments)`.

    `memory` has `read(offset, length)` and `write(offset, data)`, both checked; it is valid while the instance is open.
    """
    return WithMemory(function)


class Imported(NamedTuple):
    """One import with who serves it."""

    name: str
    signature: Signature
    function: HostCall | WithMemory


def numbers_only(signature: Signature) -> bool:
    return all(kind in NUMBERS for kind in (*signature.parameters, *signature.results))


def kind_of(entry: Import) -> str:
    return _KINDS[entry.kind] if entry.kind < len(_KINDS) else "thing"


def is_wasi(module: str) -> bool:
    return module.startswith(("wasi_", "wasi:"))


def refusal(entry: Import, granted: bool, where: str) -> ModuleRefused | None:
    """Why an import cannot be served, or None. `granted`: a function of this name is given."""
    name = f"{shown(entry.module)}.{shown(entry.name)}"
    if entry.kind != _FUNCTION or entry.signature is None:
        todo = "let the module have its own, or give a module that exports it"
        return ModuleRefused("import", f"{name} is a {kind_of(entry)}", where, todo)
    if not numbers_only(entry.signature):
        todo = "only i32, i64, f32 and f64 cross to a host function"
        return ModuleRefused("import", f"{name} has type {entry.signature}", where, todo)
    if not granted:
        what = f"{name} {entry.signature} is {'a WASI function, not granted' if is_wasi(entry.module) else 'not given'}"
        return ModuleRefused("import", what, where, f'give it: host={{"{name}": function}}')
    return None


def matched(entries: Sequence[Import], host: Mapping[str, object], where: str) -> tuple[Imported, ...]:
    """These imports with the function given for each; raises ModuleRefused for the first that cannot be served."""
    found: list[Imported] = []
    for entry in entries:
        key = f"{entry.module}.{entry.name}"
        refused = refusal(entry, key in host, where)
        if refused is not None:
            raise refused
        function = host[key]
        if not isinstance(function, WithMemory) and not callable(function):
            what = f"what is given for {shown(key)} is a {type(function).__name__}"
            raise Refused(what, where, "give a function")
        offered = function.signature if isinstance(function, WithMemory | Typed) else None
        if offered is not None and entry.signature != offered:
            what = f"{shown(entry.module)}.{shown(entry.name)} is imported as {entry.signature}"
            raise ModuleRefused("import", what, where, f"its type is {offered}")
        assert entry.signature is not None
        found.append(Imported(key, entry.signature, function))
    return tuple(found)


class _Service:
    """What serves the calls of one instance. It does not know the callback that leads to it, so the two make no cycle,
    and an instance that is dropped is freed at once with its 4 GiB of address space."""

    def __init__(self, entries: tuple[Imported, ...], where: str) -> None:
        self.memory: object = None  # what host functions with memory are given; none until it is instantiated
        self.view = memoryview(b"")
        self._entries, self._where = entries, where

    def serve(self) -> None:
        """One call: arguments out of the memory between, checked results into it, the proof last."""
        view = self.view
        entry = self._entries[_NUMBER.unpack_from(view, _NUMBER_AT)[0]]
        parameters, results = entry.signature
        words = struct.unpack_from(f"<{len(parameters)}Q", view, _VALUES_AT)
        arguments = [from_bits(kind, bits) for kind, bits in zip(parameters, words, strict=True)]
        if isinstance(entry.function, WithMemory):
            if self.memory is None:
                raise Refused("its start function asks for its memory", self._where, "let it do that in an export")
            arguments.insert(0, self.memory)  # type: ignore[arg-type]  # the one argument that is no number
            given = entry.function.function(*arguments)
        else:
            given = entry.function(*arguments)
        what = f"the result of {shown(entry.name)}"
        values = _as_tuple(given, len(results), what, self._where)
        back = [to_bits(kind, value, what, self._where) for kind, value in zip(results, values, strict=True)]
        struct.pack_into(f"<{len(back)}Q", view, _VALUES_AT, *back)
        _PROVED.pack_into(view, _PROOF_AT, _PROOF)


class Served:
    """The imports of one instance. `externs` are in the order of the module's imports."""

    def __init__(self, store: wasmtime.Store, entries: tuple[Imported, ...], where: str) -> None:
        self.service = _Service(entries, where)
        self._crossing = raw.Crossing(store, self.service.serve)
        self.raised = self._crossing.raised
        signatures = tuple(entry.signature for entry in entries)
        between = raw.Linked(store, between_module(signatures), [self._crossing.extern])
        self.service.view = between.memory("memory").view()
        self.externs = [between.export(str(number)) for number in range(len(entries))]


def _as_tuple(given: object, count: int, what: str, where: str) -> tuple[object, ...]:
    values = () if given is None and not count else given if isinstance(given, tuple) and count != 1 else (given,)
    if len(values) != count:
        told = "nothing" if given is None else f"{len(values)} values"
        raise Refused(f"{what} is {told}, declared are {count}", where, "return a tuple, or None where there is none")
    return values


@functools.lru_cache(maxsize=256)
def between_module(signatures: tuple[Signature, ...]) -> wasmtime.Module:
    """The module that stands between; exports "0", "1", … for the imports in their order."""
    functions = []
    for number, (parameters, results) in enumerate(signatures):
        taken = [VALUE_NAMES[kind] for kind in parameters]
        back = [VALUE_NAMES[kind] for kind in results]
        stores = [f"({kind}.store (i32.const {_VALUES_AT + 8 * at}) (local.get {at}))" for at, kind in enumerate(taken)]
        loads = [f"({kind}.load (i32.const {_VALUES_AT + 8 * at}))" for at, kind in enumerate(back)]
        functions.append(
            f'(func (export "{number}") (param {" ".join(taken)}) (result {" ".join(back)})'
            f" (i32.store (i32.const {_NUMBER_AT}) (i32.const {number}))"
            f" (i64.store (i32.const {_PROOF_AT}) (i64.const 0)) {' '.join(stores)} (call $serve)"
            f" (if (i64.ne (i64.load (i32.const {_PROOF_AT})) (i64.const {_PROOF})) (then unreachable))"
            f" {' '.join(loads)})"
        )
    head = '(import "host" "serve" (func $serve)) (memory (export "memory") 1 1)'
    return wasmtime.Module(engine(), assemble(f"(module {head} {' '.join(functions)})"))
