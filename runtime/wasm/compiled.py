"""Compiled modules, kept on two levels (WAS-6): in memory, and as machine code in a folder.

Guarantees: what is used was compiled from exactly these bytes by exactly this compiler, since both are in the key; what
comes from the folder is verified first (`runtime.wasm.artefacts`). Memory holds at most its budget of machine code, and
never lets go of a module that an instance uses. A cache is never what decides: without it, or with a damaged one, the
results are the same.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

import wasmtime

from runtime.errors import Refused
from runtime.lru import Key, Lru, Note, Pin
from runtime.wasm import raw
from runtime.wasm.artefacts import Artefacts
from runtime.wasm.engine import FINGERPRINT, engine

BUDGET = 256 << 20  # bytes of machine code, some five times those of wasm

T = TypeVar("T")


class Compiler(Protocol):
    """What makes machine code of a module. `fingerprint` names all that it depends on but the module."""

    @property
    def fingerprint(self) -> str: ...

    def compile(self, wasm: bytes) -> wasmtime.Module:
        """Raises wasmtime.WasmtimeError."""
        ...

    def serialize(self, module: wasmtime.Module) -> bytes: ...

    def deserialize(self, code: bytes) -> wasmtime.Module:
        """Only for bytes that `serialize` gave: they run as they are. Raises wasmtime.WasmtimeError."""
        ...


class Cranelift:
    """wasmtime's compiler, for this process's engine."""

    fingerprint = FINGERPRINT

    def compile(self, wasm: bytes) -> wasmtime.Module:
        return wasmtime.Module(engine(), wasm)

    def serialize(self, module: wasmtime.Module) -> bytes:
        return bytes(module.serialize())

    def deserialize(self, code: bytes) -> wasmtime.Module:
        return wasmtime.Module.deserialize(engine(), code)


class ModuleCache:
    """Two levels: `budget` bytes of machine code in memory, and `artefacts`, if given, on disk.

    A module that does not fit beside those in use is compiled, used, and not kept.
    """

    def __init__(
        self,
        budget: int = BUDGET,
        artefacts: Artefacts | None = None,
        *,
        compiler: Compiler | None = None,
        note: Note | None = None,
    ) -> None:
        if budget < 0:
            raise Refused(f"a budget of {budget} bytes", "budget", "give 0 or more")
        self._kept: Lru[object] = Lru(budget, note)
        self._artefacts = artefacts
        self._compiler = compiler or Cranelift()
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes of machine code in memory, at most the budget."""
        return self._kept.held

    def use(self, key: Key, source: Callable[[], bytes], finish: Callable[[wasmtime.Module], T]) -> tuple[T, Pin]:
        """What `finish` makes of the module compiled from `source()`, and a pin for as long as it is in use.

        `key` stands for the source and for what finish makes of it. Raises what both raise, and
        wasmtime.WasmtimeError where the compiler gives up; then nothing is kept.
        """
        with self._lock:
            known = self._kept.get(key)
            if known is None:
                module = self._compiled(source())
                known = finish(module)
                self._kept.put(key, known, raw.image_bytes(module))
            return cast(T, known), self._kept.pin(key)

    def _compiled(self, wasm: bytes) -> wasmtime.Module:
        """From the folder, where it is there and verifies; else compiled, and put there."""
        if self._artefacts is None:
            return self._compiler.compile(wasm)
        name = artefact_name(self._compiler.fingerprint, wasm)
        code = self._artefacts.get(name)
        if code is not None:
            try:
                return self._compiler.deserialize(code)
            except wasmtime.WasmtimeError:  # good bytes, and still not for this machine
                pass
        module = self._compiler.compile(wasm)
        self._artefacts.put(name, self._compiler.serialize(module))
        return module


def artefact_name(fingerprint: str, wasm: bytes) -> str:
    """The file of what this compiler makes of these bytes, which are those after any rewriting of ours."""
    return hashlib.sha256(fingerprint.encode() + b"\0" + hashlib.sha256(wasm).digest()).hexdigest()


DEFAULT = ModuleCache()  # what engines and guests of this process share, unless they are given another
