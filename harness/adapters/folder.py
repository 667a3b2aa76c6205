"""A folder of compiled modules in memory, and a compiler, both observed: which bytes went in, which came out.

The folder can be damaged as a disk can. The compiler hands to wasmtime only code that it gave itself: what else reaches
it is on record, and would end the process.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

import wasmtime

from runtime.wasm.artefacts import Entry
from runtime.wasm.compiled import Cranelift


class FolderEvent(NamedTuple):
    """`op` is "read", "written", "removed"; bytes of the file, of all files afterwards."""

    op: str
    name: str
    size: int
    held: int


class CompilerEvent(NamedTuple):
    """`op` is "compiled" (sha256 of the wasm and of its code) or "loaded" (of code that was handed in)."""

    op: str
    wasm: str
    code: str


Seen = list[object]  # the events of all sides in one order


class SimFolder:
    """`runtime.wasm.artefacts.Folder` in memory."""

    def __init__(self, seen: Seen) -> None:
        self.files: dict[str, bytes] = {}
        self._stamps: dict[str, int] = {}
        self._seen = seen

    def entries(self) -> list[Entry]:
        return [Entry(name, len(data), self._stamps[name]) for name, data in sorted(self.files.items())]

    def read(self, name: str, most: int) -> bytes:
        if name not in self.files:
            raise FileNotFoundError(name)
        self._saw("read", name, len(self.files[name]))
        return self.files[name][:most]

    def write(self, name: str, data: bytes, stamp: int) -> None:
        self.files[name], self._stamps[name] = data, stamp
        self._saw("written", name, len(data))

    def touch(self, name: str, stamp: int) -> None:
        self._stamps[name] = stamp

    def remove(self, name: str) -> None:
        size = len(self.files.pop(name))
        del self._stamps[name]
        self._saw("removed", name, size)

    def _saw(self, op: str, name: str, size: int) -> None:
        self._seen.append(FolderEvent(op, name, size, sum(len(data) for data in self.files.values())))


class ObservedCompiler:
    """`runtime.wasm.compiled.Compiler` over wasmtime's."""

    def __init__(self, seen: Seen) -> None:
        self._inner, self._seen = Cranelift(), seen
        self._own: set[str] = set()
        self._wasm = b""

    @property
    def fingerprint(self) -> str:
        return self._inner.fingerprint

    def compile(self, wasm: bytes) -> wasmtime.Module:
        self._wasm = wasm
        return _made(wasm)[0]

    def serialize(self, module: wasmtime.Module) -> bytes:
        code = _made(self._wasm)[1]
        self._own.add(digest(code))
        self._seen.append(CompilerEvent("compiled", digest(self._wasm), digest(code)))
        return code

    def deserialize(self, code: bytes) -> wasmtime.Module:
        self._seen.append(CompilerEvent("loaded", "", digest(code)))
        if digest(code) not in self._own:
            raise wasmtime.WasmtimeError("not handed on")
        return self._inner.deserialize(code)


@lru_cache(maxsize=32)
def _made(wasm: bytes) -> tuple[wasmtime.Module, bytes]:
    """Once per process: the compiler gives the same for the same."""
    module = Cranelift().compile(wasm)
    return module, Cranelift().serialize(module)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
