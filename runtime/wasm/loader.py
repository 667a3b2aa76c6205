"""Files and bytes to modules: size, signature, format, in this order (WAS-3); nothing runs or is compiled here."""

from __future__ import annotations

import hashlib
import os
import stat

import wasmtime

from runtime.errors import ModuleRefused, Refused
from runtime.wasm.binary import Malformed, outline
from runtime.wasm.checks import MODULE_BYTES
from runtime.wasm.compiled import DEFAULT, ModuleCache
from runtime.wasm.engine import engine
from runtime.wasm.functions import Module, format_refused
from runtime.wasm.names import shown
from runtime.wasm.signatures import Demand
from runtime.wasm.text import assemble

MAGIC = b"\x00asm"


class Engine:
    """Loads modules. `max_module_bytes` bounds what the size check accepts; with a `demand` they must be signed.

    Compiled modules are kept in `cache`: the process's own, in memory alone, if none is given.
    """

    def __init__(
        self, max_module_bytes: int = MODULE_BYTES, demand: Demand | None = None, cache: ModuleCache = DEFAULT
    ) -> None:
        self._max, self._demand, self._cache = max_module_bytes, demand, cache

    def load(self, path: str | os.PathLike[str]) -> Module:
        """A module from a `.wasm` or `.wat` file; raises Refused for a file that cannot be read, else as
        `load_bytes`."""
        where = shown(str(path), 200)
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise Refused("it is no file", where, "give a .wasm or .wat file")
                data = file.read(self._max + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise Refused(f"cannot be read: {reason}", where, "give a .wasm or .wat file") from None
        return self.load_bytes(data, where)

    def load_bytes(self, data: bytes, name: str = "module") -> Module:
        """A module from the bytes of a binary module, or of its text.

        Raises ModuleRefused (check "size", "signature" or "format"), and Refused with line and column for text that
        does not assemble. Nothing of it runs.
        """
        name = shown(name, 200)
        self._small(data, name)
        if not data.startswith(MAGIC):
            data = assembled(data, name)
            self._small(data, name)
        if self._demand is not None:
            self._demand.check(data, hashlib.sha256(data).hexdigest(), name)
        try:
            parsed = outline(data)
            wasmtime.Module.validate(engine(), data)
        except (Malformed, wasmtime.WasmtimeError) as error:
            raise format_refused(error, name) from None
        return Module(data, parsed, name, self._cache)

    def _small(self, data: bytes, where: str) -> None:
        if len(data) > self._max:
            raise ModuleRefused("size", f"more than {self._max} bytes", where, "make the module smaller")


def assembled(data: bytes, where: str) -> bytes:
    """The text of a module as a binary one; raises Refused with line and column, ModuleRefused where it is no text."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text.lstrip().startswith(("(", ";;")):
        todo = "give a core module, binary or text"
        raise ModuleRefused("format", "it starts with neither the wasm magic number nor '('", where, todo)
    try:
        return assemble(text)
    except Refused as error:
        raise Refused(error.what, f"{where}, {error.where}", error.todo) from None


def _without_waiting(path: str, flags: int) -> int:
    """A named pipe is opened without waiting for its writer, and refused then."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
