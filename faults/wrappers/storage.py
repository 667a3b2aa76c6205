"""What a crash leaves on the disk: everything, only what was synced, or a random part of what was not.

Guards the watermark, the journal's recovery to a prefix, and the discarding of damaged snapshots. Bytes that were
synced are never touched: that would be rot, another class of fault.
"""

from __future__ import annotations

from typing import Protocol

from faults.injector import Injector
from faults.streams import draw

SECTOR = 512


class CrashPolicy(Protocol):
    """Asked once for each file with unsynced bytes and for each unsynced change of a name.

    `machine_died` is False where the page cache survives: then nothing is asked, and nothing becomes durable by it.
    """

    machine_died: bool

    def __call__(self, name: str, synced: bytes, written: bytes) -> bytes:
        """What the file holds after the crash; `written` is the page cache, `synced` what is surely on the disk."""
        ...

    def keeps_entry(self, name: str) -> bool:
        """Whether an unsynced creation, removal or rename of this name survives."""
        ...


class Keep:
    """Only the process died: the page cache survives, and what was not synced still is not."""

    machine_died = False

    def __call__(self, name: str, synced: bytes, written: bytes) -> bytes:
        return written

    def keeps_entry(self, name: str) -> bool:
        return True


class Lose:
    """The machine died: nothing that was not synced survives."""

    machine_died = True

    def __call__(self, name: str, synced: bytes, written: bytes) -> bytes:
        return synced

    def keeps_entry(self, name: str) -> bool:
        return False


class Tear:
    """The machine died while it wrote: each unsynced sector survives or not, by a draw of its own."""

    machine_died = True

    def __init__(self, seed: int, crash: int) -> None:
        self._seed, self._crash = seed, crash

    def keeps_entry(self, name: str) -> bool:
        return self._draw(name, "entry") % 2 == 0

    def __call__(self, name: str, synced: bytes, written: bytes) -> bytes:
        size = max(len(synced), len(written))
        kept = bytearray(synced.ljust(size, b"\0"))
        pending = [at for at in range(0, size, SECTOR) if synced[at : at + SECTOR] != written[at : at + SECTOR]]
        cut = self._draw(name, "torn")
        torn = pending[cut // 8 % len(pending)] if pending and cut % 8 else -1  # 7 of 8 crashes tear one sector
        end = len(synced)
        for at in pending:
            upto = min(at + SECTOR, len(written))
            if at == torn:
                upto = min(upto, at + 1 + self._draw(name, "byte") % (SECTOR - 1))
            elif self._draw(name, "sector", at) % 2:
                continue
            if upto > at:
                kept[at:upto] = written[at:upto]
                end = max(end, upto)
        if len(written) < len(synced):
            return bytes(kept[: len(written) if self._draw(name, "truncated") % 2 else len(synced)])
        return bytes(kept[: end if self._draw(name, "length") % 2 else len(written)])

    def _draw(self, *key: int | str) -> int:
        return draw(self._seed, "disk.tear", self._crash, *key)


class _Counted:
    """A policy that tells what it took away; the fault fires with the first byte or name that is gone."""

    machine_died = True

    def __init__(self, inner: CrashPolicy, injector: Injector, fault: int, crash: int) -> None:
        self._inner, self._injector, self._fault, self._crash = inner, injector, fault, crash

    def __call__(self, name: str, synced: bytes, written: bytes) -> bytes:
        kept = self._inner(name, synced, written)
        self._count(name, lost_bytes(kept, written))
        return kept

    def keeps_entry(self, name: str) -> bool:
        keeps = self._inner.keeps_entry(name)
        self._count(name, 0 if keeps else 1)
        return keeps

    def _count(self, name: str, removed: int) -> None:
        if not removed:
            return
        tell = self._injector.fire if self._injector.is_armed(self._fault) else self._injector.note
        tell(self._fault, {"crash": self._crash, "name": name, "removed": removed})


def lost_bytes(kept: bytes, written: bytes) -> int:
    """In how many bytes the disk differs from what was written."""
    differing = abs(len(written) - len(kept))
    for at in range(0, min(len(kept), len(written)), SECTOR):
        one, other = kept[at : at + SECTOR], written[at : at + SECTOR]
        if one != other:
            differing += sum(a != b for a, b in zip(one, other, strict=False))
    return differing


def policy_at_crash(injector: Injector) -> CrashPolicy:
    """The policy for the crash that has just happened; call it once per death of the orchestrator."""
    injector.crashes += 1
    crash = injector.crashes
    for index, fault in injector.armed("disk.lose", "disk.tear"):
        if fault.number("crash") == crash:
            inner: CrashPolicy = Lose() if fault.kind == "disk.lose" else Tear(injector.seed, crash)
            return _Counted(inner, injector, index, crash)
    return Keep()
