"""The watermark: how far the journal is synced, in two slots written in turn, synced before anything is released.

A torn or zero-filled slot does not verify, and the other one still stands. Length 0 is invalid.
"""

from __future__ import annotations

import struct

import google_crc32c
import msgspec
from msgspec import Struct

from runtime.journal import GENESIS

NAME = "watermark"
SLOT = 512
_HEAD = struct.Struct("<II")


class Watermark(Struct, frozen=True, array_like=True):
    """`serial` grows with each write; (block, hash) is synced; `incarnation` is the highest that wrote anything."""

    serial: int
    incarnation: int
    block: int = 0
    hash: str = GENESIS


def slot_bytes(mark: Watermark) -> tuple[int, bytes]:
    """Where in the file, and the bytes."""
    body = msgspec.msgpack.encode(mark)
    data = _HEAD.pack(len(body), google_crc32c.value(body)) + body
    return mark.serial % 2 * SLOT, data.ljust(SLOT, b"\0")


def newest(data: bytes) -> Watermark | None:
    """The newest slot that verifies."""
    marks = [mark for start in (0, SLOT) if (mark := _slot(data[start : start + SLOT]))]
    return max(marks, key=lambda mark: mark.serial, default=None)


def damaged(data: bytes) -> list[int]:
    """The slots in which something stands that does not verify."""
    slots = [data[start : start + SLOT] for start in (0, SLOT)]
    return [number for number, slot in enumerate(slots) if any(slot) and _slot(slot) is None]


def _slot(data: bytes) -> Watermark | None:
    if len(data) < _HEAD.size:
        return None
    length, checksum = _HEAD.unpack_from(data)
    body = data[_HEAD.size : _HEAD.size + length]
    if not length or len(body) != length or google_crc32c.value(body) != checksum:
        return None
    try:
        return msgspec.msgpack.decode(body, type=Watermark)
    except msgspec.MsgspecError:
        return None
