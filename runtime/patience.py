"""Storage as the runtime uses it: what the disk has no room for waits, and everything behind it, in order.

Guards against a full disk and short writes: nothing is dropped or half done. A sync submitted behind a write that
waits is submitted when that write is whole, so nothing counts as durable before all of it is written; and as ticks
run only so far ahead of the sync, a full disk holds the tick open until it has room.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from runtime.errors import SyncFailed
from runtime.ports import Storage
from runtime.telemetry import Telemetry


class PatientStorage:
    """A `Storage` whose writes are always whole in the end; `poll` tries again what waits, every `retry_ns`."""

    def __init__(self, inner: Storage, now: Callable[[], int], telemetry: Telemetry, retry_ns: int) -> None:
        self._inner, self._now, self._telemetry, self._retry_ns = inner, now, telemetry, retry_ns
        self._waiting: deque[Callable[[], bool]] = deque()  # each says whether it could be done in full
        self._retry_at = 0
        self._submitted = 0
        self._tickets: dict[int, int] = {}  # of the disk -> of ours

    def deadline(self) -> int | None:
        """When what waits is tried again (ns); None when nothing does."""
        return self._retry_at if self._waiting else None

    def names(self) -> list[str]:
        return self._inner.names()

    def read(self, name: str) -> bytes:
        return self._inner.read(name)

    def write(self, name: str, offset: int, data: bytes) -> int:
        if self._waiting:
            self._waiting.append(lambda: self._put(name, offset, data))
        elif not self._put(name, offset, data):
            self._retry_at = self._now() + self._retry_ns
            self._telemetry.emit("full", file=name)
        return len(data)

    def truncate(self, name: str, length: int) -> None:
        self._in_turn(lambda: self._inner.truncate(name, length))

    def remove(self, name: str) -> None:
        self._in_turn(lambda: self._inner.remove(name))

    def rename(self, old: str, new: str) -> None:
        self._in_turn(lambda: self._inner.rename(old, new))

    def sync(self, name: str) -> int:
        return self._submit(self._inner.sync, name)

    def sync_dir(self) -> int:
        return self._submit(self._inner.sync_dir)

    def poll(self) -> list[int]:
        """As the port's; raises SyncFailed with our ticket."""
        if self._waiting and self._now() >= self._retry_at:
            self._again()
        try:
            completed = self._inner.poll()
        except SyncFailed as failed:
            raise SyncFailed(self._tickets.pop(failed.ticket), failed.file) from None
        return [self._tickets.pop(ticket) for ticket in completed] if completed else completed

    def _submit(self, submit: Callable[..., int], *names: str) -> int:
        self._submitted += 1
        ours = self._submitted
        if not self._waiting:
            self._tickets[submit(*names)] = ours
            return ours

        def submitted() -> None:
            self._tickets[submit(*names)] = ours

        self._in_turn(submitted)
        return ours

    def _in_turn(self, action: Callable[[], None]) -> None:
        if not self._waiting:
            action()
            return

        def done() -> bool:
            action()
            return True

        self._waiting.append(done)

    def _put(self, name: str, offset: int, data: bytes) -> bool:
        """Whether all of it was written; else the rest is the next to be tried."""
        written = self._inner.write(name, offset, data)
        if written < len(data):
            self._waiting.appendleft(lambda: self._put(name, offset + written, data[written:]))
            return False
        return True

    def _again(self) -> None:
        while self._waiting:
            if not self._waiting.popleft()():
                self._retry_at = self._now() + self._retry_ns
                return
        self._telemetry.emit("room")
