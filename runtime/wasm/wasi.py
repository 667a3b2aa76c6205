"""WASI preview 1 for function modules, function by function (WAS-5): what is not granted is not there.

    with Wasi(arguments=("tool", "-v"), folders=(Folder("/data", "in"),)) as wasi:
        code = wasi.run(Engine().load("tool.wasm"))

Guarantees: time and randomness are given, no clock or device of this machine can be read; output goes to `stdout` and
`stderr`, bounded; files are reached in lent folders alone (`runtime.wasm.folders`), and every answer of theirs is in
`readings`, from which a call can be repeated without them (EXT-1). A function that is not offered, or imported with
another type, is refused before any code runs. A module's pointers are its own: a bad one is answered EFAULT. What it
asks of the host has a limit beside its fuel.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import msgspec

from runtime.errors import CallFailed, LimitExceeded, Refused
from runtime.wasm import folders as outside
from runtime.wasm.abi import I32, I64, Signature
from runtime.wasm.folders import Answer, Folder, Folders, Refusal
from runtime.wasm.functions import Module, ModuleLimits
from runtime.wasm.imports import WithMemory
from runtime.wasm.linear import Memory
from runtime.wasm.readings import Readings
from runtime.wasm.wasi_memory import Bytes, filestat

MODULE = "wasi_snapshot_preview1"
CALLS_MAX, MOVED_MAX = 10_000_000, 1 << 30  # calls, and bytes in either direction, of one Wasi
LOG_MAX = 1 << 20  # bytes of each of stdout and stderr; no more are taken
STEP_NS = 1_000  # a clock is this much later at each look
_NOSPC = 51
_M32 = 0xFFFFFFFF
_RIGHT_TO_WRITE = 1 << 6
_ALL_RIGHTS = (1 << 30) - 1
_TERMINAL = 2  # what stdin, stdout and stderr are


class Exited(CallFailed):
    """The module ended itself by `proc_exit`; `code` is what it said."""

    def __init__(self, code: int, where: str) -> None:
        self.code = code
        super().__init__(f"exit:{code}", "it ended itself", where, "its output says why")


class _File:
    """An open file, folder or stream, by WASI's number."""

    def __init__(self, kind: int, handle: int = 0, root: int = -1, path: str = "", append: bool = False) -> None:
        self.kind, self.handle, self.root, self.path, self.append = kind, handle, root, path, append
        self.at = 0


class Wasi:
    """What one call of a program is given, and what it leaves: `stdout`, `stderr`, `readings`.

    `now_ns` is what its clocks begin with (each look is a microsecond later), `seed` what its random bytes are drawn
    by, `only` names the functions that are granted (all of `FUNCTIONS` where it is None). With `readings` of an earlier
    call its files are those of the record, and the folders are not touched.
    """

    def __init__(
        self,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        folders: Sequence[Folder] = (),
        stdin: bytes = b"",
        now_ns: int = 0,
        seed: int = 0,
        only: Iterable[str] | None = None,
        readings: Readings | None = None,
    ) -> None:
        self._granted = sorted(FUNCTIONS if only is None else set(only))
        unknown = [name for name in self._granted if name not in FUNCTIONS]
        if unknown:
            raise Refused(f"no WASI function {unknown[0]!a}", "only", f"grant of {', '.join(sorted(FUNCTIONS))}")
        self._arguments = [_zero_ended(text, "arguments") for text in arguments]
        pairs = sorted((environment or {}).items())
        self._environment = [_zero_ended(f"{name}={value}", "environment") for name, value in pairs]
        self._names = [folder.name.encode() for folder in folders]
        self._stdin, self._now, self._seed, self._drawn = stdin, now_ns, seed & (1 << 64) - 1, 0
        self.readings = readings or Readings()
        self._outside = None if self.readings.repeats else Folders(folders)
        self._files = [_File(_TERMINAL), _File(_TERMINAL), _File(_TERMINAL)]
        self._files += [_File(outside.DIRECTORY, root=root) for root in range(len(folders))]
        self._open: dict[int, _File] = dict(enumerate(self._files))
        self._log = {1: bytearray(), 2: bytearray()}
        self._calls = self._moved = 0

    @property
    def stdout(self) -> bytes:
        return bytes(self._log[1])

    @property
    def stderr(self) -> bytes:
        return bytes(self._log[2])

    def functions(self) -> dict[str, WithMemory]:
        """What to instantiate with, as `host`."""
        return {f"{MODULE}.{name}": self._lent(name, *FUNCTIONS[name]) for name in self._granted}

    def run(self, module: Module, limits: ModuleLimits | None = None) -> int:
        """Instantiates the program and runs its `_start`; the code that it exits with, 0 where it returns."""
        try:
            with module.instantiate(self.functions(), limits) as instance:
                instance.call("_start")
        except Exited as exited:
            return exited.code
        return 0

    def close(self) -> None:
        if self._outside is not None:
            self._outside.close()

    def __enter__(self) -> Wasi:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lent(self, name: str, signature: Signature, function: Callable[..., int | None]) -> WithMemory:
        def served(memory: Memory, *arguments: int) -> int | None:
            self._calls += 1
            if self._calls > CALLS_MAX:
                raise LimitExceeded("wasi", f"more than {CALLS_MAX} calls of WASI", name, "call less")
            unsigned = [
                value & (_M32 if kind == I32 else (1 << 64) - 1)
                for kind, value in zip(signature.parameters, arguments, strict=True)
            ]
            try:
                return function(self, Bytes(memory, self.moved), *unsigned)
            except Refusal as refusal:
                return refusal.error

        return WithMemory(functools.wraps(function)(served), signature)

    def moved(self, count: int) -> None:
        """Counts bytes that cross; raises LimitExceeded beyond the limit."""
        self._moved += count
        if self._moved > MOVED_MAX:
            raise LimitExceeded("wasi", f"more than {MOVED_MAX} bytes through WASI", MODULE, "move less")

    def _asked(self, what: str, *arguments: int | str | bytes) -> Answer:
        """An answer from outside, or from the record; raises Refusal for an error."""

        def ask() -> bytes:
            assert self._outside is not None
            return msgspec.msgpack.encode(self._outside.ask(what, arguments))

        answer = msgspec.msgpack.decode(self.readings.read(what, arguments, ask), type=Answer)
        if answer.error:
            raise Refusal(answer.error)
        return answer

    def _file(self, number: int, *kinds: int) -> _File:
        file = self._open.get(number)
        if file is None or (kinds and file.kind not in kinds):
            raise Refusal(outside.BADF if file is None or _TERMINAL in kinds else outside.NOTDIR)
        return file

    def _folder(self, number: int, path: bytes) -> tuple[int, str]:
        """(lent folder, path in it) of a path that begins at an open folder."""
        file = self._file(number, outside.DIRECTORY)
        try:
            text = path.decode("utf-8")
        except UnicodeDecodeError:
            raise Refusal(outside.INVAL) from None
        if text.startswith("/"):
            raise Refusal(outside.NOTCAPABLE)
        return file.root, f"{file.path}/{text}" if file.path else text

    # --- arguments, time, randomness, the end -------------------------------------------------------------------------

    def _sizes(self, memory: Bytes, count: int, size: int, texts: list[bytes]) -> int:
        memory.put(count, struct.pack("<I", len(texts)))
        memory.put(size, struct.pack("<I", sum(map(len, texts))))
        return 0

    def _texts(self, memory: Bytes, pointers: int, buffer: int, texts: list[bytes]) -> int:
        for number, text in enumerate(texts):
            memory.put(pointers + 4 * number, struct.pack("<I", buffer & _M32))
            memory.put(buffer, text)
            buffer += len(text)
        return 0

    def _clock(self, memory: Bytes, clock: int, precision: int, out: int) -> int:
        if clock > 3:
            return outside.INVAL
        memory.put(out, struct.pack("<Q", self._now & (1 << 64) - 1))
        self._now += STEP_NS
        return 0

    def _random(self, memory: Bytes, out: int, length: int) -> int:
        """The n-th 64 bytes are BLAKE2b over (seed, n)."""
        memory.fits(out, length)
        self.moved(length)
        blocks = []
        for _ in range(-(-length // 64)):
            self._drawn += 1
            source = struct.pack("<QQ", self._seed, self._drawn)
            blocks.append(hashlib.blake2b(source, person=b"wasi").digest())
        memory.put(out, b"".join(blocks)[:length])
        return 0

    def _exit(self, memory: Bytes, code: int) -> None:
        raise Exited(code, "proc_exit")

    # --- streams and files --------------------------------------------------------------------------------------------

    def _fd_close(self, memory: Bytes, number: int) -> int:
        file = self._file(number)
        if file.handle:
            self._asked("close", file.handle)
        del self._open[number]
        return 0

    def _fd_fdstat(self, memory: Bytes, number: int, out: int) -> int:
        file = self._file(number)
        rights = _ALL_RIGHTS & ~((1 << 2) | (1 << 5)) if file.kind == _TERMINAL else _ALL_RIGHTS  # no seek, no tell
        memory.put(out, struct.pack("<BxHxxxxQQ", file.kind, int(file.append), rights, _ALL_RIGHTS))
        return 0

    def _fd_flags(self, memory: Bytes, number: int, flags: int) -> int:
        self._file(number).append = bool(flags & 1)
        return 0

    def _fd_filestat(self, memory: Bytes, number: int, out: int) -> int:
        file = self._file(number)
        size = self._asked("size", file.handle).number if file.handle else 0
        memory.put(out, filestat(file.kind, size))
        return 0

    def _fd_resize(self, memory: Bytes, number: int, size: int) -> int:
        self._asked("resize", self._file(number, outside.FILE).handle, size)
        return 0

    def _fd_prestat(self, memory: Bytes, number: int, out: int) -> int:
        memory.put(out, struct.pack("<II", 0, len(self._lent_name(number))))
        return 0

    def _fd_prestat_name(self, memory: Bytes, number: int, out: int, length: int) -> int:
        name = self._lent_name(number)
        memory.put(out, name[:length])
        return 0 if length >= len(name) else 37

    def _lent_name(self, number: int) -> bytes:
        file = self._open.get(number)
        if file is None or file.handle or file.kind != outside.DIRECTORY:
            raise Refusal(outside.BADF)
        return self._names[file.root]

    def _fd_read(self, memory: Bytes, number: int, vectors: int, count: int, out: int) -> int:
        file = self._file(number)
        done = 0
        for pointer, length in memory.vectors(vectors, count):
            data = self._read(file, file.at, length)
            memory.put(pointer, data)
            file.at += len(data)
            done += len(data)
            if len(data) < length:
                break
        memory.put(out, struct.pack("<I", done))
        return 0

    def _fd_pread(self, memory: Bytes, number: int, vectors: int, count: int, offset: int, out: int) -> int:
        file = self._file(number, outside.FILE)
        done = 0
        for pointer, length in memory.vectors(vectors, count):
            data = self._read(file, offset + done, length)
            memory.put(pointer, data)
            done += len(data)
            if len(data) < length:
                break
        memory.put(out, struct.pack("<I", done))
        return 0

    def _read(self, file: _File, offset: int, length: int) -> bytes:
        if file.kind == outside.DIRECTORY:
            raise Refusal(outside.ISDIR)
        if file.kind == _TERMINAL:
            data = self._stdin[offset : offset + length] if file is self._files[0] else b""
        else:
            data = self._asked("read", file.handle, offset, length).data if length else b""
        self.moved(len(data))
        return data

    def _fd_write(self, memory: Bytes, number: int, vectors: int, count: int, out: int) -> int:
        file = self._file(number)
        data = b"".join(memory.get(pointer, length) for pointer, length in memory.vectors(vectors, count))
        if file.kind == _TERMINAL:
            done = self._logged(file, data)
        elif file.kind == outside.DIRECTORY:
            return outside.ISDIR
        else:
            answer = self._asked("write", file.handle, -1 if file.append else file.at, data)
            done = answer.number
            file.at = int.from_bytes(answer.data, "little") + done
        memory.put(out, struct.pack("<I", done))
        return 0

    def _fd_pwrite(self, memory: Bytes, number: int, vectors: int, count: int, offset: int, out: int) -> int:
        file = self._file(number, outside.FILE)
        if offset >> 63:
            return outside.INVAL
        data = b"".join(memory.get(pointer, length) for pointer, length in memory.vectors(vectors, count))
        memory.put(out, struct.pack("<I", self._asked("write", file.handle, offset, data).number))
        return 0

    def _logged(self, file: _File, data: bytes) -> int:
        """A whole write, or as much of it as there is room for; ENOSPC where there is none."""
        log = next((self._log[number] for number in (1, 2) if file is self._files[number]), None)
        if log is None:
            raise Refusal(outside.BADF)
        room = LOG_MAX - len(log)
        if data and not room:
            raise Refusal(_NOSPC)
        log += data[:room]
        return min(len(data), room)

    def _fd_seek(self, memory: Bytes, number: int, offset: int, whence: int, out: int) -> int:
        file = self._file(number)
        if file.kind != outside.FILE:
            return 70
        offset -= 1 << 64 if offset >> 63 else 0
        if whence > 2:
            return outside.INVAL
        base = (0, file.at, self._asked("size", file.handle).number if whence == 2 else 0)[whence]
        if not 0 <= base + offset < 1 << 63:
            return outside.INVAL
        file.at = base + offset
        memory.put(out, struct.pack("<Q", file.at))
        return 0

    def _fd_readdir(self, memory: Bytes, number: int, out: int, length: int, cookie: int, used: int) -> int:
        file = self._file(number, outside.DIRECTORY)
        handle = file.handle
        if not handle:
            handle = self._asked("open", file.root, "", outside.MUST_BE_DIRECTORY).number
        try:
            found = msgspec.msgpack.decode(self._asked("list", handle).data, type=list[tuple[str, int]])
        finally:
            if not file.handle:
                self._asked("close", handle)
        data = bytearray()
        for at in range(cookie, len(found)):
            name = found[at][0].encode("utf-8", "surrogateescape")
            data += struct.pack("<QQIBxxx", at + 1, 0, len(name), found[at][1]) + name
            if len(data) >= length:
                break
        memory.put(out, bytes(data[:length]))
        memory.put(used, struct.pack("<I", min(len(data), length)))
        return 0

    def _path_open(self, memory: Bytes, number: int, _: int, path: int, length: int, flags: int, *rest: int) -> int:
        rights, _inherited, status, out = rest
        root, name = self._folder(number, memory.get(path, length))
        memory.fits(out, 4)
        wanted = flags & 0xF | (outside.WRITE if rights & _RIGHT_TO_WRITE and not flags & 2 else 0)
        answer = self._asked("open", root, name, wanted)
        file = _File(answer.data[0], answer.number, root, name, bool(status & 1))
        free = next(each for each in range(3, 3 + len(self._open) + 1) if each not in self._open)
        self._open[free] = file
        memory.put(out, struct.pack("<I", free))
        return 0

    def _path_filestat(self, memory: Bytes, number: int, _: int, path: int, length: int, out: int) -> int:
        answer = self._asked("stat", *self._folder(number, memory.get(path, length)))
        memory.put(out, filestat(answer.data[0], answer.number))
        return 0

    def _path_one(self, memory: Bytes, number: int, path: int, length: int, what: str, *more: int) -> int:
        self._asked(what, *self._folder(number, memory.get(path, length)), *more)
        return 0

    def _path_rename(self, memory: Bytes, number: int, path: int, length: int, *new: int) -> int:
        other = self._folder(new[0], memory.get(new[1], new[2]))
        self._asked("rename", *self._folder(number, memory.get(path, length)), *other)
        return 0


def _zero_ended(text: str, where: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise Refused("a text with a NUL in it", where, "leave it out")
    return data + b"\0"


def _type(parameters: str, results: str = "i") -> Signature:
    kinds = {"i": I32, "I": I64}
    return Signature(bytes(kinds[each] for each in parameters), bytes(kinds[each] for each in results))


def _nothing(wasi: Wasi, memory: Bytes, *arguments: int) -> int:
    return 0


def _on_file(wasi: Wasi, memory: Bytes, number: int, *arguments: int) -> int:
    """Advice, and syncs: of what is lent nothing is promised to last."""
    wasi._file(number)
    return 0


# Everything that is offered. Not here, and so refused by name: sockets, polling, signals, links, changes of times.
FUNCTIONS: dict[str, tuple[Signature, Callable[..., Any]]] = {
    "args_get": (_type("ii"), lambda w, m, p, b: w._texts(m, p, b, w._arguments)),
    "args_sizes_get": (_type("ii"), lambda w, m, c, s: w._sizes(m, c, s, w._arguments)),
    "environ_get": (_type("ii"), lambda w, m, p, b: w._texts(m, p, b, w._environment)),
    "environ_sizes_get": (_type("ii"), lambda w, m, c, s: w._sizes(m, c, s, w._environment)),
    "clock_res_get": (_type("ii"), lambda w, m, c, o: m.put(o, struct.pack("<Q", STEP_NS)) or 0),
    "clock_time_get": (_type("iIi"), Wasi._clock),
    "random_get": (_type("ii"), Wasi._random),
    "proc_exit": (_type("i", ""), Wasi._exit),
    "sched_yield": (_type(""), _nothing),
    "fd_advise": (_type("iIIi"), _on_file),
    "fd_datasync": (_type("i"), _on_file),
    "fd_sync": (_type("i"), _on_file),
    "fd_close": (_type("i"), Wasi._fd_close),
    "fd_fdstat_get": (_type("ii"), Wasi._fd_fdstat),
    "fd_fdstat_set_flags": (_type("ii"), Wasi._fd_flags),
    "fd_filestat_get": (_type("ii"), Wasi._fd_filestat),
    "fd_filestat_set_size": (_type("iI"), Wasi._fd_resize),
    "fd_prestat_get": (_type("ii"), Wasi._fd_prestat),
    "fd_prestat_dir_name": (_type("iii"), Wasi._fd_prestat_name),
    "fd_read": (_type("iiii"), Wasi._fd_read),
    "fd_pread": (_type("iiiIi"), Wasi._fd_pread),
    "fd_write": (_type("iiii"), Wasi._fd_write),
    "fd_pwrite": (_type("iiiIi"), Wasi._fd_pwrite),
    "fd_seek": (_type("iIii"), Wasi._fd_seek),
    "fd_tell": (_type("ii"), lambda w, m, n, o: w._fd_seek(m, n, 0, 1, o)),
    "fd_readdir": (_type("iiiIi"), Wasi._fd_readdir),
    "path_create_directory": (_type("iii"), lambda w, m, n, p, s: w._path_one(m, n, p, s, "mkdir")),
    "path_remove_directory": (_type("iii"), lambda w, m, n, p, s: w._path_one(m, n, p, s, "remove", 1)),
    "path_unlink_file": (_type("iii"), lambda w, m, n, p, s: w._path_one(m, n, p, s, "remove", 0)),
    "path_filestat_get": (_type("iiiii"), Wasi._path_filestat),
    "path_open": (_type("iiiiiIIii"), Wasi._path_open),
    "path_rename": (_type("iiiiii"), Wasi._path_rename),
}
