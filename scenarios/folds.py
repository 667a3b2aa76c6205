"""The hashes that the agents compute, once more in Python, so that a judge can recompute what they report."""

from __future__ import annotations

import struct

OFFSET = 0xCBF29CE484222325
PRIME = 0x100000001B3
_MASK = (1 << 64) - 1


def fnv1a(data: bytes, value: int = OFFSET) -> int:
    """FNV-1a, 64 bits, byte by byte (http://www.isthe.com/chongo/tech/comp/fnv/)."""
    for byte in data:
        value = (value ^ byte) * PRIME & _MASK
    return value


def fold_words(data: bytes, value: int = OFFSET) -> int:
    """FNV-1a over 64-bit little-endian words, the last one padded with zeros.

    Each step is a bijection of `value` and of the word, so any single changed word changes the result.
    """
    padded = data + bytes(-len(data) % 8)
    for word in struct.unpack(f"<{len(padded) // 8}Q", padded):
        value = (value ^ word) * PRIME & _MASK
    return value


def fold_number(value: int, number: int) -> int:
    """One more number, 0 <= number < 2**64, folded into `value`."""
    return (value ^ number) * PRIME & _MASK
