"""Named streams of numbers: counter-based sha256, so that a draw depends on (seed, name, position) and nothing else.

Adding a stream, or drawing more from one, changes no other; no global random state and no hash() is involved.
"""

from __future__ import annotations

import hashlib


class Stream:
    """The draws of `sha256(seed / name)`: draw k is eight bytes of `sha256(key, k // 4)`, little-endian."""

    def __init__(self, seed: int, name: str) -> None:
        self._key = hashlib.sha256(b"%d/%b" % (seed, name.encode())).digest()
        self._position = 0
        self._block = b""

    def u64(self) -> int:
        """The next number, 0 <= x < 2**64."""
        place = self._position % 4 * 8
        if not place:
            self._block = hashlib.sha256(self._key + (self._position // 4).to_bytes(8, "little")).digest()
        self._position += 1
        return int.from_bytes(self._block[place : place + 8], "little")

    def between(self, low: int, high: int) -> int:
        """The next number, low <= x <= high; the bias of the modulus is below (high - low + 1) / 2**64."""
        return low + self.u64() % (high - low + 1)

    def chance(self, numerator: int, denominator: int) -> bool:
        return self.u64() % denominator < numerator
