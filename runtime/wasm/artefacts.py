"""Compiled modules on disk: native code, so not a byte of it is used that was not written here, under our key.

A file holds its own name and an HMAC over both name and code, checked over the very bytes that are handed to wasmtime,
which verifies nothing and takes a flipped byte or another's settings as they come. So a file that is damaged, cut,
swapped with another, older than the format or written under another key is as good as none: it is removed, and the
module compiled again. The folder is bounded in bytes; the least recently used file leaves first.

Who can read the key and write to the folder can have any code run: keep the key elsewhere, and the folder private.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple, Protocol

from runtime.errors import Refused

MAGIC = b"wasm-engine.aot\x01"
KEY_MIN = 16  # bytes
BUDGET = 1 << 30
_TAG = 32  # bytes of the HMAC
_HEAD = len(MAGIC) + 32 + _TAG
_NAME = re.compile("[0-9a-f]{64}")
_STEP_NS = 2_000_000_000  # between two stamps: the coarsest file system keeps times of two seconds


class Entry(NamedTuple):
    """One file: its name, bytes, and the stamp that says when it was last used: a count, no time."""

    name: str
    size: int
    stamp: int


class Folder(Protocol):
    """Flat files; every method may raise OSError."""

    def entries(self) -> list[Entry]: ...

    def read(self, name: str, most: int) -> bytes:
        """The file, or its first `most` bytes."""
        ...

    def write(self, name: str, data: bytes, stamp: int) -> None:
        """The whole file at once, or nothing of it."""
        ...

    def touch(self, name: str, stamp: int) -> None: ...

    def remove(self, name: str) -> None: ...


class DiskFolder:
    """A folder of this machine; made, for its owner alone, if it is not there. Stamps are kept as times of change."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self._path, os.W_OK | os.X_OK):
                raise PermissionError(13, "not writable")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise Refused(f"cannot be used: {reason}", str(path), "give a folder for compiled modules") from None

    def entries(self) -> list[Entry]:
        found = []
        for name in sorted(os.listdir(self._path)):
            with contextlib.suppress(FileNotFoundError):
                told = os.lstat(self._path / name)
                if stat.S_ISREG(told.st_mode):
                    found.append(Entry(name, told.st_size, told.st_mtime_ns // _STEP_NS))
        return found

    def read(self, name: str, most: int) -> bytes:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(self._path / name, flags), "rb") as file:
            return file.read(most)

    def write(self, name: str, data: bytes, stamp: int) -> None:
        temporary = self._path / f"{name}.{os.getpid()}.new"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
            os.utime(temporary, ns=(stamp * _STEP_NS, stamp * _STEP_NS))
            os.replace(temporary, self._path / name)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def touch(self, name: str, stamp: int) -> None:
        os.utime(self._path / name, ns=(stamp * _STEP_NS, stamp * _STEP_NS))

    def remove(self, name: str) -> None:
        os.unlink(self._path / name)


class Artefacts:
    """The compiled modules of one folder, at most `budget` bytes of files, under `key` (at least 16 bytes).

    A disk that fails costs time, not results: what cannot be read is not there, what cannot be written is not kept.
    """

    def __init__(self, folder: Folder, key: bytes, budget: int = BUDGET) -> None:
        if len(key) < KEY_MIN:
            raise Refused("no key for compiled modules", "key", f"give at least {KEY_MIN} secret bytes")
        if budget < 0:
            raise Refused(f"a budget of {budget} bytes", "budget", "give 0 or more")
        self._folder, self._key, self._budget = folder, key, budget

    def get(self, name: str) -> bytes | None:
        """The code that was put under this name, byte for byte, or None."""
        try:
            data = self._folder.read(name, self._budget + 1)
            code = data[_HEAD:]
            if not hmac.compare_digest(data[:_HEAD], self._head(name, code)):
                self._folder.remove(name)
                return None
        except OSError:
            return None
        with contextlib.suppress(OSError):
            self._folder.touch(name, self._newest(self._folder.entries()) + 1)
        return code

    def put(self, name: str, code: bytes) -> bool:
        """Keeps it, if it fits; the least recently used make room before it is written."""
        size = _HEAD + len(code)
        if size > self._budget:
            return False
        try:
            entries = sorted(self._folder.entries(), key=lambda entry: (entry.stamp, entry.name))
            held = sum(entry.size for entry in entries if entry.name != name)
            for entry in entries:
                if held + size > self._budget and entry.name != name:
                    self._folder.remove(entry.name)
                    held -= entry.size
            self._folder.write(name, self._head(name, code) + code, self._newest(entries) + 1)
        except OSError:
            return False
        return True

    def _head(self, name: str, code: bytes) -> bytes:
        begins = MAGIC + bytes.fromhex(name)
        tag = hmac.new(self._key, begins, hashlib.sha256)
        tag.update(code)
        return begins + tag.digest()

    @staticmethod
    def _newest(entries: list[Entry]) -> int:
        return max((entry.stamp for entry in entries if _NAME.fullmatch(entry.name)), default=0)
