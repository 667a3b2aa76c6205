"""The slot protocol: shared buffers over raw memory (MEM-1, MEM-2).

Three slots per buffer, one segment per buffer. Version v lives in slot v mod 3, so a writer fills v+1 while v is read
and v-1 may still be. A slot carries a mark (odd while it is written), version, length and CRC-32C; a reader copies,
then checks, so a torn, stale or altered slot is never taken for its version. The version is the handle's generation.
"""

from __future__ import annotations

import struct

import google_crc32c

from runtime.ports import Memory
from runtime.state import View

SLOTS = 3
CHUNK = 1024
_HEAD = struct.Struct("<QQII8x")  # mark, version, length, crc
HEAD = _HEAD.size


def slot_size(capacity: int) -> int:
    return HEAD + (capacity + 63) // 64 * 64


def segment_size(capacity: int) -> int:
    return SLOTS * slot_size(capacity)


def offset_of(version: int, capacity: int) -> int:
    return version % SLOTS * slot_size(capacity)


def write(memory: Memory, buffer: int, capacity: int, version: int, data: bytes) -> int:
    """Fill the private slot of `version`; returns the CRC. A death at any store leaves a slot that does not verify."""
    offset = offset_of(version, capacity)
    crc = google_crc32c.value(data)
    memory.store(buffer, offset, _HEAD.pack(2 * version - 1, version, len(data), crc))
    for start in range(0, len(data), CHUNK):
        memory.store(buffer, offset + HEAD + start, data[start : start + CHUNK])
    memory.store(buffer, offset, _HEAD.pack(2 * version, version, len(data), crc))
    return int(crc)


def read(memory: Memory, capacity: int, view: View) -> bytes | None:
    """The bytes of exactly that version, or None when the slot holds anything else."""
    offset = offset_of(view.version, capacity)
    mark, version, length, crc = _HEAD.unpack(memory.load(view.buffer, offset, HEAD))
    if mark != 2 * view.version or version != view.version or (length, crc) != (view.length, view.crc):
        return None
    data = memory.load(view.buffer, offset + HEAD, view.length)
    if google_crc32c.value(data) != view.crc:
        return None
    return data
