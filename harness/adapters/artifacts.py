"""The observer between artefacts and who uses them: which bytes were given under which digest, and what they declare.

It hashes and reads the bytes itself, with nothing of the runtime's loader, and changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache

from harness.history import LoadEvent
from runtime.ports import Artifacts

_SECTION = b"wasm-engine.abi"
_KEPT = 64  # contents; a run has a handful


class ObservedArtifacts:
    """The `Artifacts` port of one worker or device process (`place`, `number`), observed."""

    def __init__(self, inner: Artifacts, place: str, number: int, now: Callable[[], int], log: list[LoadEvent]) -> None:
        self._inner, self._place, self._number = inner, place, number
        self._now, self._log = now, log

    def get(self, digest: str) -> bytes:
        data = self._inner.get(digest)
        self._log.append(load_event(self._now(), "given", self._place, self._number, -1, digest, data, ""))
        return data


def load_event(
    at: int, side: str, place: str, number: int, agent: int, name: str, data: bytes, refused: str
) -> LoadEvent:
    digest, abi = read(data)
    return LoadEvent(at, side, place, number, agent, name, digest, abi, refused)


@lru_cache(maxsize=_KEPT)
def read(data: bytes) -> tuple[str, tuple[str, ...]]:
    """sha256 (hex) of these bytes, and the ABI versions that a module's sections declare."""
    return hashlib.sha256(data).hexdigest(), tuple(_declared(data))


def _declared(data: bytes) -> list[str]:
    found: list[str] = []
    at = 8
    while data.startswith(b"\0asm") and at < len(data):
        kind, (size, start) = data[at], _leb(data, at + 1)
        length, name = _leb(data, start) if kind == 0 else (0, start)
        if kind == 0 and data[name : name + length] == _SECTION:
            found.append(data[name + length : start + size].decode("latin-1"))
        at = start + size
    return found


def _leb(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number in LEB128, and where it ends."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            break
    return value, at


def with_abi(data: bytes, version: str) -> bytes:
    """A module as it would be if it declared this ABI version, and no other."""
    content = bytes([len(_SECTION)]) + _SECTION + version.encode("latin-1")
    assert len(content) < 128
    parts, at = [data[:8]], 8
    while at < len(data):
        size, start = _leb(data, at + 1)
        length, name = _leb(data, start) if data[at] == 0 else (0, start)
        if data[at] != 0 or data[name : name + length] != _SECTION:
            parts.append(data[at : start + size])
        at = start + size
    return b"".join((*parts, b"\0", bytes([len(content)]), content))
