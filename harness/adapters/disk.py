"""The simulated disk: a page cache over a durable store, with syncs that take virtual time.

A write is visible at once and durable when a sync submitted after it completes; a name is durable when a directory
sync submitted after it completes. At a crash a policy decides, file by file, what is kept of the rest. A sync that
fails leaves its pages clean: readable, not on the disk, and no later sync of that file writes them. The log says of
each sync what it covered; a file keeps its number when it is renamed.
"""

from __future__ import annotations

from collections.abc import Callable

from faults.wrappers.disk import GOOD, Change, Fate
from faults.wrappers.storage import CrashPolicy
from harness.adapters.loop import Loop
from harness.history import SyncEvent
from runtime.errors import SyncFailed


class _File:
    """`pending` are the changes since the last submitted sync, `flying` those that a sync under way covers.

    `durable` is what is on the medium; `told` is what the disk says is there, where it was made to lie. `whole` is how
    many of the first bytes it says are there, up to a gap that a write beyond the end left.

    What it holds is put together when somebody looks: nobody looks at most of it, or once, at the end.
    """

    __slots__ = (
        "_durable", "_landed", "_made", "_written", "flying", "number", "pending", "size", "told", "whole",
    )  # fmt: skip  # thousands in a run

    def __init__(self, number: int, content: bytes = b"") -> None:
        self.number = number
        self.size = len(content)  # of what is written
        self._written = self._durable = content
        self._made: list[Change] = []  # and not yet in `_written`
        self._landed: list[Change] = []  # on the medium, and not yet in `_durable`
        self.told: bytearray | None = None
        self.pending: list[Change] = []
        self.flying: list[list[Change]] = []
        self.whole = len(content)

    @property
    def written(self) -> bytes:
        if self._made:
            self._written, self._made = _whole(self._written, self._made), []
        return self._written

    @property
    def durable(self) -> bytes:
        if self._landed:
            self._durable, self._landed = _whole(self._durable, self._landed), []
        return self._durable

    def change(self, offset: int, data: bytes | None) -> None:
        """A write, or with None a truncation; the medium has it when a sync has."""
        change = (offset, data)
        self._made.append(change)
        self.pending.append(change)
        self.size = min(self.size, offset) if data is None else max(self.size, offset + len(data))

    def alter(self, written: bytes, durable: bytes) -> None:
        """Not by a write: this is what it holds from now on."""
        self._written, self._durable, self._made, self._landed = written, durable, [], []
        self.size, self.whole = len(written), len(durable)

    def fly(self) -> tuple[list[Change], int]:
        """A sync is submitted: the changes that it covers, and the file's size in bytes."""
        changes, self.pending = self.pending, []
        self.flying.append(changes)
        return changes, self.size

    def ended(self, changes: list[Change], landed: list[Change] | None) -> int:
        """A sync has ended; the first byte that its changes touch, 0 for none.

        They are on the medium, it says; `landed` are those that are, None where it says that it failed.
        """
        self.flying = [other for other in self.flying if other is not changes] if len(self.flying) > 1 else []
        low = changes[0][0] if changes else 0
        if landed is not None and landed is not changes and self.told is None:
            self.told = bytearray(self.durable)
        for offset, data in changes:
            low = min(low, offset)
            if landed is None:
                continue
            if data is None:
                self.whole = min(self.whole, offset)
            elif offset <= self.whole:
                self.whole = max(self.whole, offset + len(data))
            if self.told is not None:
                _apply(self.told, offset, data)
        self._landed += landed or []
        return low


class SimDisk:
    """One machine's disk; it outlives the orchestrators. `log` gets a record of each sync that ended."""

    def __init__(self, loop: Loop, sync_ns: int, wake: Callable[[], None]) -> None:
        self._loop, self._sync_ns, self._wake = loop, sync_ns, wake
        self.log: list[SyncEvent] = []
        self._files: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._completed: list[int] = []
        self._failures: dict[int, SyncFailed] = {}  # by those of the completed tickets that failed
        self._tickets = 0
        self._made = 0
        self._epoch = 0

    # --- the port -----------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        return self._files[name].written

    def write(self, name: str, offset: int, data: bytes) -> int:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = self._make()
        file.change(offset, data)
        return len(data)

    def truncate(self, name: str, length: int) -> None:
        self._files[name].change(length, None)

    def remove(self, name: str) -> None:
        del self._files[name]

    def rename(self, old: str, new: str) -> None:
        self._files[new] = self._files.pop(old)

    def sync(self, name: str) -> int:
        return self.submit(name, GOOD)

    def sync_dir(self) -> int:
        return self.submit("", GOOD)

    def poll(self) -> list[int]:
        completed = self._completed
        if not self._failures:
            self._completed = []
            return completed
        good = next(at for at, ticket in enumerate(completed) if ticket in self._failures)
        if not good:
            raise self._failures.pop(completed.pop(0))
        self._completed = completed[good:]
        return completed[:good]

    def submit(self, name: str, fate: Fate) -> int:
        """A sync of the file, or of the directory (""), that ends as `fate` says."""
        self._tickets += 1
        ticket, epoch = self._tickets, self._epoch
        file = self._files[name] if name else None
        names = {} if file else dict(self._files)
        changes, size = file.fly() if file else ([], 0)

        def done() -> None:
            if epoch != self._epoch:
                return
            number, low, failed = 0, 0, fate.fails
            if file is not None:
                number, low = file.number, file.ended(changes, None if failed else fate.landing(changes))
            elif not failed:
                self._durable_names = names
            self.log.append(SyncEvent(self._loop.time, name, number, not failed, low, size))
            self._completed.append(ticket)
            if failed:
                self._failures[ticket] = SyncFailed(ticket, name)
            self._wake()

        self._loop.later(self._sync_ns + fate.delay_ns, done)
        return ticket

    def _make(self, content: bytes = b"") -> _File:
        self._made += 1
        return _File(self._made, content)

    # --- the machine's side -------------------------------------------------------------------------------------

    def durable_length(self, name: str) -> int:
        """Bytes from the first on that no crash can take any more, it says; a gap that was never written ends them."""
        file = self._durable_names.get(name)
        return file.whole if file else 0

    def crash(self, policy: CrashPolicy) -> None:
        """A death: of the machine, when what is not durable is kept as the policy says, or of the process alone.

        Syncs under way never complete. After a process's death everything is there as it was written, and what was
        not durable is not durable yet: the successor has to sync it before it counts on it.
        """
        self._epoch += 1
        self._completed, self._failures = [], {}
        if not policy.machine_died:
            for survivor in self._files.values():
                survivor.pending = [change for changes in survivor.flying for change in changes] + survivor.pending
                survivor.flying = []
            return
        kept: dict[str, _File] = {}
        for name in sorted({**self._files, **self._durable_names}):
            file = self._files.get(name)
            if file is not self._durable_names.get(name) and not policy.keeps_entry(name):
                file = self._durable_names.get(name)
            if file is None:
                continue
            content = file.written
            if file.durable != content:
                content = policy(name, file.durable, content)
            kept[name] = self._make(content)
        self._files = kept
        self._durable_names = dict(kept)

    def durable_content(self, name: str) -> bytes:
        """The file as no crash can change it any more, it says; b"" for one that a crash may take."""
        file = self._durable_names.get(name)
        if file is None:
            return b""
        return file.durable if file.told is None else bytes(file.told)

    def load(self, files: dict[str, bytes]) -> None:
        """Put durable files there, before anything runs."""
        for name, content in files.items():
            self._files[name] = self._make(content)
        self._durable_names = dict(self._files)

    def alter(self, name: str, content: bytes) -> None:
        """The file holds this from now on, in the page cache and on the disk: rot, or another hand, at a crash.

        What was not synced before is not synced now: of those bytes the disk has as many as it had. A new file is.
        """
        if name not in self._files:
            self._files[name] = self._durable_names[name] = self._make()
        file = self._files[name]
        if file.pending and file.written.startswith(file.durable):
            size = len(file.durable)
            file.pending = [(size, content[size:])]
        else:
            size, file.pending = len(content), []
        file.alter(content, content[:size])

    def contents(self) -> dict[str, bytes]:
        return {name: self._files[name].written for name in self.names()}


def _whole(content: bytes, changes: list[Change]) -> bytes:
    """The content after these changes, most of which append to it."""
    appended, end = [content], len(content)
    for number, (offset, data) in enumerate(changes):
        if data is None or offset != end:
            whole = bytearray(b"".join(appended))
            for change in changes[number:]:
                _apply(whole, *change)
            return bytes(whole)
        appended.append(data)
        end += len(data)
    return b"".join(appended)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    if offset == len(content):
        content += data  # an assignment to a slice would copy the bytes once more
    else:
        content[offset : offset + len(data)] = data
