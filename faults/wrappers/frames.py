"""What faults do to one frame: lost, doubled, late, altered. Shared by the wrappers of both kinds of pipe."""

from __future__ import annotations

import struct

from faults.plan import Fault

Delivery = tuple[int, bytes]  # (ns from now, frame)
KINDS = ("frame.lose", "frame.duplicate", "frame.delay", "frame.corrupt")
_LENGTHS = (0, 2**31, 2**32 - 1)


def applied(fault: Fault, deliveries: list[Delivery]) -> list[Delivery]:
    """What becomes of a frame's deliveries under one frame fault."""
    later = fault.number("for") if fault.kind in ("frame.delay", "frame.duplicate") else 0
    if fault.kind == "frame.lose":
        return []
    if fault.kind == "frame.duplicate":
        return deliveries + [(delay + later, frame) for delay, frame in deliveries[:1]]
    if fault.kind == "frame.delay":
        return [(delay + later, frame) for delay, frame in deliveries]
    return [(delay, corrupted(frame, str(fault.get("mode")), fault.number("bit"))) for delay, frame in deliveries]


def corrupted(frame: bytes, mode: str, bit: int) -> bytes:
    """Other bytes: one bit flipped, cut short of the bit's byte, or a head whose length field lies."""
    if not frame:
        return frame
    place = bit % (8 * len(frame))
    if mode == "truncate":
        return frame[: place // 8]
    if mode == "length":
        told = struct.unpack_from("<I", frame)[0] if len(frame) >= 4 else 0
        lie = next(length for length in _LENGTHS[bit % 3 :] + _LENGTHS if length != told)
        return struct.pack("<I", lie) + frame[4:]
    changed = bytearray(frame)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)
