"""The hashes that the agents compute, once more in Python, so that a judge can recompute what they report."""

from __future__ import annotations

import struct
from functools import cache

OFFSET = 0xCBF29CE484222325
PRIME = 0x100000001B3
MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that multiplying is a bijection
OTHER_MULTIPLIER = 0xD6E8FEB86659FD93  # odd as well
_MASK = (1 << 64) - 1


def fnv1a(data: bytes, value: int = OFFSET) -> int:
    """FNV-1a, 64 bits, byte by byte (http://www.isthe.com/chongo/tech/comp/fnv/)."""
    for byte in data:
        value = (value ^ byte) * PRIME & _MASK
    return value


def mix(value: int, word: int, multiplier: int = MULTIPLIER) -> int:
    """One 64-bit word folded into `value`.

    A bijection of each, and the shift brings high bits back down: a multiplication alone carries them only upwards,
    and two changed top bits would cancel.
    """
    value = (value ^ word) * multiplier & _MASK
    return value ^ value >> 32


@cache
def _words(number: int) -> struct.Struct:
    return struct.Struct(f"<{number}Q")


def fold_words(data: bytes, value: int = OFFSET) -> int:
    """`mix` over 64-bit little-endian words, the last one padded with zeros."""
    padded = data + bytes(-len(data) % 8) if len(data) % 8 else data
    for word in _words(len(padded) // 8).unpack(padded):
        value = (value ^ word) * MULTIPLIER & _MASK
        value ^= value >> 32
    return value
