"""A module's memory as WASI's functions use it: every range checked, every byte counted, layouts in one place."""

from __future__ import annotations

import struct
from collections.abc import Callable

from runtime.wasm.folders import INVAL, Refusal
from runtime.wasm.linear import Memory

_FAULT, _OVERFLOW = 21, 61
_VECTORS_MAX = 1_024
_M32 = 0xFFFFFFFF


class Bytes:
    """A range that is not inside ends the function with EFAULT; `moved` is told how many bytes are read."""

    def __init__(self, memory: Memory, moved: Callable[[int], None]) -> None:
        self._memory, self._moved = memory, moved

    def fits(self, at: int, length: int) -> None:
        if at + length > len(self._memory):
            raise Refusal(_FAULT)

    def get(self, at: int, length: int) -> bytes:
        self.fits(at, length)
        self._moved(length)
        return self._memory.read(at, length)

    def put(self, at: int, data: bytes) -> None:
        self.fits(at, len(data))
        self._memory.write(at, data)

    def vectors(self, at: int, count: int) -> list[tuple[int, int]]:
        """(pointer, length) of so many pieces, all of them inside."""
        if count > _VECTORS_MAX:
            raise Refusal(INVAL)
        words = struct.unpack(f"<{2 * count}I", self.get(at, 8 * count))
        found = list(zip(words[::2], words[1::2], strict=True))
        for pointer, length in found:
            self.fits(pointer, length)
        if sum(length for _, length in found) > _M32:
            raise Refusal(_OVERFLOW)
        return found


def filestat(kind: int, size: int) -> bytes:
    """No device, no number, no times: those are this machine's."""
    return struct.pack("<QQB7xQQQQQ", 0, 0, kind, 1, size, 0, 0, 0)
