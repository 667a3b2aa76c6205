"""What becomes of files while the orchestrator is down: rot, old chunks, forged journals, damaged snapshots.

Guards recovery: what was synced must be found as it was, or the runtime stops and names the first bad block; a
snapshot that is not what it should be is thrown away. Each fault alters one file, and tells where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from faults.injector import Injector
from faults.plan import Fault
from faults.streams import draw
from faults.wrappers.disk import role_of
from faults.wrappers.forgery import forged
from runtime import snapshot, watermark

CHUNK = 4096
EVERY = 5
AHEAD = 1000  # blocks

Alter = Callable[[Fault, int], tuple[str, bytes] | None]  # (fault, index) -> a file and what it holds from now on


class Medium(Protocol):
    """The disk between two incarnations."""

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...

    def alter(self, name: str, content: bytes) -> None:
        """Also makes a file that there was not."""
        ...


def damage_at_crash(injector: Injector, disk: Medium) -> None:
    """Carry out what the plan says of the crash that has just happened; what changes no byte does not fire."""
    damage = _Damage(injector.seed, disk)
    ways: dict[str, Alter] = {
        "disk.rot": damage.rot,
        "disk.rollback": damage.roll_back,
        "journal.forge": damage.forge,
        "snapshot.damage": damage.spoil,
    }
    for index, fault in injector.armed(*ways):
        if fault.number("crash") != injector.crashes:
            continue
        altered = ways[fault.kind](fault, index)
        if altered is None:
            continue
        name, content = altered
        before = disk.read(name) if name in disk.names() else b""
        if content == before:
            continue
        disk.alter(name, content)
        injector.fire(index, {"name": name, "at": _first_difference(before, content), "size": len(content)})


class _Damage:
    def __init__(self, seed: int, disk: Medium) -> None:
        self._seed, self._disk = seed, disk

    def rot(self, fault: Fault, index: int) -> tuple[str, bytes] | None:
        names = [name for name in self._disk.names() if role_of(name) == fault.get("file") and self._disk.read(name)]
        if not names:
            return None
        content = bytearray(self._disk.read(names[-1]))
        start = fault.number("at") % len(content)
        for place in range(start, min(start + fault.number("bytes"), len(content))):
            bits = [draw(self._seed, "disk.rot", index, place, turn) for turn in range(3)]
            content[place] ^= bits[0] & bits[1] & bits[2] & 0xFF or (place == start)
        return names[-1], bytes(content)

    def roll_back(self, fault: Fault, index: int) -> tuple[str, bytes] | None:
        name = str(fault.get("file"))
        if name not in self._disk.names():
            return None
        content = bytearray(self._disk.read(name))
        old = len(content) * fault.number("share") // 100
        for start in range(fault.number("chunk") * CHUNK, len(content), EVERY * CHUNK):
            end = min(start + CHUNK, len(content))
            keep = min(max(old, start), end)
            content[keep:end] = bytes(end - keep)
        return name, bytes(content)

    def forge(self, fault: Fault, index: int) -> tuple[str, bytes] | None:
        names = self._disk.names()
        mark = watermark.newest(self._disk.read(watermark.NAME)) if watermark.NAME in names else None
        if mark is None or "journal" not in names:
            return None
        content = forged(self._disk.read("journal"), mark.block, str(fault.get("how")), fault.number("block"))
        return None if content is None else ("journal", content)

    def spoil(self, fault: Fault, index: int) -> tuple[str, bytes] | None:
        what, how = str(fault.get("what")), str(fault.get("how"))
        names = [name for name in self._disk.names() if name.startswith(what + "-")]
        if not names:
            return None
        place = len(names) - 1 - fault.number("pick") % len(names)
        name, content = names[place], self._disk.read(names[place])
        if how == "flip" and content:
            at = draw(self._seed, "snapshot.damage", index) % (8 * len(content))
            return name, content[: at // 8] + bytes([content[at // 8] ^ 1 << at % 8]) + content[at // 8 + 1 :]
        if how == "cut":
            return name, content[: len(content) * 2 // 3]
        if how == "stale":
            return (name, self._disk.read(names[place - 1])) if place else None
        if how == "ahead":
            return self._ahead(content) if what == "state" else None
        return _of_version(name, content, 1 if how == "future" else -1)

    def _ahead(self, content: bytes) -> tuple[str, bytes] | None:
        """The same state under the name of a block that the journal does not have."""
        held = snapshot.unpack_state(content)
        if isinstance(held, str):
            return None
        block = held.block + AHEAD
        return snapshot.state_name(block), snapshot.pack_file(snapshot.StateFile(block, held.state))


def _of_version(name: str, content: bytes, by: int) -> tuple[str, bytes] | None:
    """The same snapshot, checksummed, as another version of the runtime would have written it."""
    held = snapshot.unpack_state(content) if name.startswith("state-") else snapshot.unpack_agent(content)
    if isinstance(held, str):
        return None
    return name, snapshot.pack_file(msgspec.structs.replace(held, version=held.version + by))


def _first_difference(before: bytes, after: bytes) -> int:
    size = min(len(before), len(after))
    return next((at for at in range(size) if before[at] != after[at]), size)
