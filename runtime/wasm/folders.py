"""Folders of this machine, lent to a module: nothing above them is reached, and nothing is written unless granted.

Every path is walked from the folder's own descriptor, one name at a time, no link followed: neither `..` nor a link nor
a race between a check and its use leads out. What is neither file nor folder (a device, a pipe) cannot be opened. What
happens is an answer with WASI's number of the error, never an exception.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from runtime.errors import Refused

BADF, ACCES, EXIST, INVAL, IO, ISDIR, LOOP, MFILE = 8, 2, 20, 28, 29, 31, 32, 33
NOENT, NOTCAPABLE, NOTDIR, ROFS = 44, 76, 54, 69
FILE, DIRECTORY = 4, 3
OPEN_MAX = 64
READ_MAX = 1 << 20  # bytes at once; more is read in several turns
CREATE, MUST_BE_DIRECTORY, EXCLUSIVE, TRUNCATE, WRITE = 1, 2, 4, 8, 16
_NUMBERS = {
    errno.EACCES: ACCES, errno.EPERM: 63, errno.EBADF: BADF, errno.EEXIST: EXIST, errno.EFBIG: 22, errno.EINVAL: INVAL,
    errno.EISDIR: ISDIR, errno.ELOOP: LOOP, errno.EMFILE: MFILE, errno.ENFILE: 41, errno.ENAMETOOLONG: 37,
    errno.ENOENT: NOENT, errno.ENOSPC: 51, errno.EDQUOT: 51, errno.ENOTDIR: NOTDIR, errno.ENOTEMPTY: 55,
    errno.EROFS: ROFS, errno.EXDEV: 75, errno.ESPIPE: 70, errno.ENXIO: ACCES,
}  # fmt: skip


class Folder(NamedTuple):
    """`path` of this machine, which the module knows as `name`; read only unless `writable`."""

    name: str
    path: str | os.PathLike[str]
    writable: bool = False


class Answer(NamedTuple):
    """`error` is WASI's errno, 0 for success; what `number` and `data` are depends on the question."""

    error: int
    number: int = 0
    data: bytes = b""


class Refusal(Exception):
    """Ends a question with this errno."""

    def __init__(self, error: int) -> None:
        self.error = error
        super().__init__(error)


class Folders:
    """The lent folders and the files that are open in them, by handles of our own.

    Closed by `close`, or when it is dropped. Raises Refused for a folder that is none.
    """

    def __init__(self, folders: Sequence[Folder]) -> None:
        self._roots: list[tuple[int, bool]] = []
        self._open: dict[int, tuple[int, bool]] = {}  # handle -> descriptor, whether it may be written to
        self._next = 0
        if folders and (os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW")):
            raise Refused("this system cannot open below a folder", "folders", "lend none")
        for folder in folders:
            try:
                descriptor = os.open(Path(folder.path), os.O_RDONLY | os.O_DIRECTORY)
            except (OSError, ValueError) as error:
                self.close()
                reason = error.strerror if isinstance(error, OSError) else str(error)
                raise Refused(f"cannot be lent: {reason}", str(folder.path), "give a folder") from None
            self._roots.append((descriptor, folder.writable))

    def close(self) -> None:
        for descriptor, _ in (*self._roots, *self._open.values()):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._roots.clear()
        self._open.clear()

    __del__ = close

    def ask(self, what: str, arguments: Sequence[int | str | bytes]) -> Answer:
        """The answer to one of `QUESTIONS`, whatever happens."""
        try:
            return QUESTIONS[what](self, *arguments)
        except Refusal as refusal:
            return Answer(refusal.error)
        except OSError as error:
            return Answer(_NUMBERS.get(error.errno or 0, IO))
        except ValueError:  # a NUL in a name, a number that no file has
            return Answer(INVAL)

    # --- questions ----------------------------------------------------------------------------------------------------

    def _opened(self, root: int, path: str, flags: int) -> Answer:
        """`number` is the handle; `data` one byte, what it is of."""
        if len(self._open) >= OPEN_MAX:
            raise Refusal(MFILE)
        writes = bool(flags & (CREATE | TRUNCATE | WRITE))
        self._writable(root, writes)
        how = os.O_RDWR if writes and not flags & MUST_BE_DIRECTORY else os.O_RDONLY
        how |= os.O_CREAT if flags & CREATE else 0
        how |= (os.O_EXCL if flags & EXCLUSIVE else 0) | (os.O_DIRECTORY if flags & MUST_BE_DIRECTORY else 0)
        how |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._parent(root, path) as (parent, name):
            descriptor = os.open(name or ".", how, 0o644, dir_fd=parent)
        kind = _kind(os.fstat(descriptor))
        if not kind:
            os.close(descriptor)
            raise Refusal(ACCES)
        self._next += 1
        self._open[self._next] = descriptor, writes
        if flags & TRUNCATE and kind == FILE:
            os.ftruncate(descriptor, 0)
        return Answer(0, self._next, bytes([kind]))

    def _closed(self, handle: int) -> Answer:
        os.close(self._descriptor(handle))
        del self._open[handle]
        return Answer(0)

    def _read(self, handle: int, offset: int, length: int) -> Answer:
        """`data` are the bytes: fewer than asked for at the end, or where more than READ_MAX are asked for."""
        return Answer(0, 0, os.pread(self._descriptor(handle), min(length, READ_MAX), offset))

    def _written(self, handle: int, offset: int, data: bytes) -> Answer:
        """`number` is how many bytes were written; at the end for an offset of -1, and `data` is where they begin."""
        descriptor, writable = self._open.get(handle, (-1, False))
        if not writable:
            raise Refusal(BADF)
        at = os.fstat(descriptor).st_size if offset < 0 else offset
        return Answer(0, os.pwrite(descriptor, data, at), at.to_bytes(8, "little"))

    def _size(self, handle: int) -> Answer:
        """`number` is the size, `data` one byte, what it is."""
        told = os.fstat(self._descriptor(handle))
        return Answer(0, told.st_size if _kind(told) == FILE else 0, bytes([_kind(told)]))

    def _resized(self, handle: int, size: int) -> Answer:
        descriptor, writable = self._open.get(handle, (-1, False))
        if not writable:
            raise Refusal(BADF)
        os.ftruncate(descriptor, size)
        return Answer(0)

    def _listed(self, handle: int) -> Answer:
        """`data` are (name, what it is) in the order of their names, as msgpack."""
        found = []
        with os.scandir(self._descriptor(handle)) as entries:
            for entry in entries:
                kind = DIRECTORY if entry.is_dir(follow_symlinks=False) else FILE
                found.append((entry.name, kind if entry.is_file(follow_symlinks=False) or kind == DIRECTORY else 0))
        return Answer(0, len(found), msgspec.msgpack.encode(sorted(found)))

    def _told(self, root: int, path: str) -> Answer:
        """As `size`, of a path."""
        with self._parent(root, path) as (parent, name):
            told = os.stat(name or ".", dir_fd=parent, follow_symlinks=False)
        return Answer(0, told.st_size if _kind(told) == FILE else 0, bytes([_kind(told)]))

    def _made(self, root: int, path: str) -> Answer:
        self._writable(root)
        with self._parent(root, path) as (parent, name):
            os.mkdir(name, 0o755, dir_fd=parent)
        return Answer(0)

    def _removed(self, root: int, path: str, directory: int) -> Answer:
        self._writable(root)
        with self._parent(root, path) as (parent, name):
            if directory:
                os.rmdir(name, dir_fd=parent)
            else:
                os.unlink(name, dir_fd=parent)
        return Answer(0)

    def _renamed(self, root: int, path: str, other: int, new: str) -> Answer:
        self._writable(root)
        self._writable(other)
        with self._parent(root, path) as (parent, name), self._parent(other, new) as (target, wanted):
            os.replace(name, wanted, src_dir_fd=parent, dst_dir_fd=target)
        return Answer(0)

    # --- the way there ------------------------------------------------------------------------------------------------

    def _descriptor(self, handle: int) -> int:
        if handle not in self._open:
            raise Refusal(BADF)
        return self._open[handle][0]

    def _writable(self, root: int, wanted: bool = True) -> None:
        if not 0 <= root < len(self._roots):
            raise Refusal(BADF)
        if wanted and not self._roots[root][1]:
            raise Refusal(ROFS)

    @contextlib.contextmanager
    def _parent(self, root: int, path: str) -> Iterator[tuple[int, str]]:
        """(descriptor of the folder that holds it, its name); the name is "" for the lent folder itself."""
        names = _names(path)
        if not 0 <= root < len(self._roots):
            raise Refusal(BADF)
        descriptor = os.dup(self._roots[root][0])
        try:
            for name in names[:-1]:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor, names[-1] if names else ""
        finally:
            os.close(descriptor)


QUESTIONS: dict[str, Callable[..., Answer]] = {
    "open": Folders._opened,
    "close": Folders._closed,
    "read": Folders._read,
    "write": Folders._written,
    "size": Folders._size,
    "resize": Folders._resized,
    "list": Folders._listed,
    "stat": Folders._told,
    "mkdir": Folders._made,
    "remove": Folders._removed,
    "rename": Folders._renamed,
}


def _names(path: str) -> list[str]:
    """The names on the way; `..` goes back along the path itself, and never above where it begins."""
    if path.startswith("/") or "\0" in path:
        raise Refusal(NOTCAPABLE)
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            if not names:
                raise Refusal(NOTCAPABLE)
            names.pop()
        elif name not in ("", "."):
            names.append(name)
    return names


def _kind(told: os.stat_result) -> int:
    return DIRECTORY if stat.S_ISDIR(told.st_mode) else FILE if stat.S_ISREG(told.st_mode) else 0
