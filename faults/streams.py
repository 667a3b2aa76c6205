"""Counter-based randomness of the fault layer: a draw depends on its seed, its stream's name and its key, on nothing
that happened before, and never on the runtime's own streams.
"""

from __future__ import annotations

import hashlib


def draw(seed: int, name: str, *key: int | str) -> int:
    """64 bits for this key: sha256 over `seed / name / key`, first 8 bytes, big-endian."""
    text = "/".join(["faults", str(seed), name, *map(str, key)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
