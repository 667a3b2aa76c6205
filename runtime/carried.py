"""An agent's state as a new version of its module is given it: what docs/abi.md promises to `agent_migrate`.

Guarantees that all of the state is in it, and that it says of itself what it is: mutable globals with their types, and
the whole memory. All little-endian: globals u32, pages u32; for each global type u32 (0x7f i32, 0x7e i64, 0x7d f32,
0x7c f64), 0 u32, bits u64; then the pages of 64 KiB.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

PAGE = 65_536
_HEAD = struct.Struct("<II")
_GLOBAL = struct.Struct("<IIQ")


class Carried(NamedTuple):
    """What `pack` was given."""

    types: tuple[int, ...]
    globals: tuple[int, ...]
    memory: bytes


def pack(types: Sequence[int], global_bits: Sequence[int], memory: memoryview) -> bytes:
    head = _HEAD.pack(len(types), len(memory) // PAGE)
    cells = [_GLOBAL.pack(kind, 0, bits) for kind, bits in zip(types, global_bits, strict=True)]
    return b"".join((head, *cells, memory))


def unpack(data: bytes) -> Carried:
    """The inverse of `pack`."""
    count, _ = _HEAD.unpack_from(data)
    cells = [_GLOBAL.unpack_from(data, _HEAD.size + at * _GLOBAL.size) for at in range(count)]
    memory = data[_HEAD.size + count * _GLOBAL.size :]
    return Carried(tuple(kind for kind, _, _ in cells), tuple(bits for _, _, bits in cells), memory)
