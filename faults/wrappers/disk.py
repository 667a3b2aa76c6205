"""A disk that fails: full, slow, in error at a sync or a read, or writing and reading other places than it was told.

`seen` is what was read of each file last: it says what a recovery that stops had before it.

Guards the order of write, sync and release, and what recovery believes of a file. A fault names the file by what it is
for and the tick, or the crash after which a successor meets it. What a sync does to the medium is decided here and
carried out by the disk itself, as only it knows what is in its cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from faults.injector import Fields, Injector, Watch
from faults.plan import Fault
from runtime.errors import ReadFailed
from runtime.ports import Storage

SECTOR = 512
Change = tuple[int, bytes | None]  # (offset, bytes written there), or (length, None) for a truncation
KINDS = ("disk.full", "disk.slow", "disk.sync_error", "disk.read_error", "disk.misdirect")


def _as_told(changes: list[Change]) -> list[Change]:
    return changes


class Fate(NamedTuple):
    """How one sync ends: late, with an error, or with other changes on the medium than it was given."""

    delay_ns: int = 0
    fails: bool = False
    landing: Callable[[list[Change]], list[Change]] = _as_told


GOOD = Fate()


class Disk(Storage, Protocol):
    """A storage whose syncs can be given a fate."""

    def submit(self, name: str, fate: Fate) -> int:
        """As `sync`, or as `sync_dir` for the name ""."""
        ...


def role_of(name: str) -> str:
    """What a file is for, as faults name it; a file that is to take another's place counts as that one."""
    if not name:
        return "directory"
    return "snapshot" if name.startswith(("agent-", "state-")) else name.removesuffix(".new")


def sectors_of(content: bytes) -> int:
    return -(-len(content) // SECTOR)


class FaultyStorage:
    """The storage of one incarnation. `tick` says which one is open; how full the disk is outlives incarnations."""

    def __init__(
        self,
        inner: Disk,
        injector: Injector,
        tick: Callable[[], int],
        now: Callable[[], int],
        seen: dict[str, bytes] | None = None,
    ) -> None:
        self._inner, self._injector, self._tick, self._now = inner, injector, tick, now
        self._watch = Watch(injector, injector.faults(*KINDS))
        self._seen: dict[str, bytes] = {} if seen is None else seen

    def names(self) -> list[str]:
        return self._inner.names()

    def read(self, name: str) -> bytes:
        content = self._inner.read(name)
        for index, fault in self._due(name, "disk.read_error", "disk.misdirect", reading=True):
            at = fault.number("at") % len(content) // SECTOR * SECTOR if content else 0
            if fault.kind == "disk.read_error" and content:
                self._fire(index, name, at=at, size=len(content))
                self._seen[name] = content[:at]
                raise ReadFailed(name, content[:at])
            other = (at // SECTOR + fault.number("sectors")) % max(1, sectors_of(content)) * SECTOR
            wrong = _put(content, at, content[other : other + SECTOR])
            if fault.kind == "disk.misdirect" and wrong != content:
                self._fire(index, name, at=at, size=len(content))
                content = wrong
        self._seen[name] = content
        return content

    def write(self, name: str, offset: int, data: bytes) -> int:
        injector, now = self._injector, self._now()
        for index, fault in self._due(name, "disk.full"):
            if data and now >= injector.full_until:
                injector.full_until, injector.room = now + fault.number("for"), fault.number("fits")
                self._fire(index, name, **{"for": fault.number("for")})
        if now >= injector.full_until:
            return self._inner.write(name, offset, data)
        fitting = min(len(data), injector.room)
        injector.room -= fitting
        return self._inner.write(name, offset, data[:fitting]) if fitting or not data else 0

    def truncate(self, name: str, length: int) -> None:
        self._inner.truncate(name, length)

    def remove(self, name: str) -> None:
        self._inner.remove(name)

    def rename(self, old: str, new: str) -> None:
        self._inner.rename(old, new)

    def sync(self, name: str) -> int:
        return self._inner.submit(name, self._fate(name))

    def sync_dir(self) -> int:
        return self._inner.submit("", self._fate(""))

    def poll(self) -> list[int]:
        return self._inner.poll()

    def _fate(self, name: str) -> Fate:
        fate = GOOD
        for index, fault in self._due(name, "disk.slow", "disk.sync_error", "disk.misdirect"):
            if fault.kind == "disk.slow":
                fate = fate._replace(delay_ns=fate.delay_ns + fault.number("for"))
                self._fire(index, name, **{"for": fault.number("for")})
            elif fault.kind == "disk.sync_error":
                fate = fate._replace(fails=True)
                self._fire(index, name)
            else:
                fate = fate._replace(landing=_astray(fault))
                self._fire(index, name)
        return fate

    def _due(self, name: str, *kinds: str, reading: bool = False) -> list[tuple[int, Fault]]:
        """The armed faults of these kinds that address this call; those that come later are counted here too."""
        if self._watch.first > max(self._tick(), 0) or not self._injector.is_armed_kind(*kinds):
            return []
        role, found = role_of(name), []
        for index, fault in self._injector.armed(*kinds):
            if fault.get("file") != role or not self._is_time(fault, reading):
                continue
            if self._injector.count("disk", index) >= max(1, fault.number("occurrence")):
                found.append((index, fault))
        return found

    def _is_time(self, fault: Fault, reading: bool) -> bool:
        """A fault that is addressed by a crash and could be in a write is in a read, where a successor reads."""
        if "crash" in fault.at:
            reads = fault.kind in ("disk.read_error", "disk.misdirect")
            return self._injector.crashes == fault.number("crash") and reads == reading
        return not reading and max(self._tick(), 0) >= fault.number("tick")

    def _fire(self, index: int, name: str, **fields: int | str) -> None:
        told: Fields = {"name": name, **fields}
        self._injector.fire(index, told)


def _astray(fault: Fault) -> Callable[[list[Change]], list[Change]]:
    """The last write of a sync goes nowhere, or to another sector at or before its own."""

    def landing(changes: list[Change]) -> list[Change]:
        last = max((at for at, (_, data) in enumerate(changes) if data), default=-1)
        if last < 0:
            return changes
        offset, data = changes[last]
        end = offset + len(data or b"")
        moved: list[Change] = [((offset + fault.number("sectors") * SECTOR) % end, data)]
        return changes[:last] + (moved if fault.get("how") == "elsewhere" else []) + changes[last + 1 :]

    return landing


def _put(content: bytes, at: int, data: bytes) -> bytes:
    return content[:at] + data[: len(content) - at] + content[at + len(data) :]
