"""The simulated disk: a page cache over a durable store, with syncs that take virtual time.

A write is visible at once and durable when a sync submitted after it completes; a name is durable when a directory
sync submitted after it completes. At a crash a policy decides, file by file, what is kept of the rest.
"""

from __future__ import annotations

from collections.abc import Callable

from faults.wrappers.storage import CrashPolicy
from harness.adapters.loop import Loop


class _File:
    """`pending` are the changes since the last submitted sync: (offset, data), or (length, None) for a truncation."""

    def __init__(self, content: bytes = b"") -> None:
        self.written = bytearray(content)
        self.durable = bytearray(content)
        self.pending: list[tuple[int, bytes | None]] = []


class SimDisk:
    """One machine's disk; it outlives the orchestrators. `attach` gives the present one its completions."""

    def __init__(self, loop: Loop, sync_ns: int, wake: Callable[[], None]) -> None:
        self._loop, self._sync_ns, self._wake = loop, sync_ns, wake
        self._files: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._completed: list[int] = []
        self._tickets = 0
        self._epoch = 0

    # --- the port -----------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        return bytes(self._files[name].written)

    def write(self, name: str, offset: int, data: bytes) -> None:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = _File()
        _apply(file.written, offset, data)
        file.pending.append((offset, data))

    def truncate(self, name: str, length: int) -> None:
        file = self._files[name]
        _apply(file.written, length, None)
        file.pending.append((length, None))

    def remove(self, name: str) -> None:
        del self._files[name]

    def rename(self, old: str, new: str) -> None:
        self._files[new] = self._files.pop(old)

    def sync(self, name: str) -> int:
        file = self._files[name]
        changes, file.pending = file.pending, []

        def complete() -> None:
            for offset, data in changes:
                _apply(file.durable, offset, data)

        return self._submit(complete, changes, file)

    def sync_dir(self) -> int:
        names = dict(self._files)

        def complete() -> None:
            self._durable_names = names

        return self._submit(complete, [], None)

    def poll(self) -> list[int]:
        completed, self._completed = self._completed, []
        return completed

    def _submit(self, complete: Callable[[], None], changes: list[tuple[int, bytes | None]], file: _File | None) -> int:
        self._tickets += 1
        ticket, epoch = self._tickets, self._epoch

        def done() -> None:
            if epoch != self._epoch:
                return
            complete()
            self._completed.append(ticket)
            self._wake()

        self._loop.later(self._sync_ns, done)
        return ticket

    # --- the machine's side -------------------------------------------------------------------------------------

    def durable_length(self, name: str) -> int:
        """Bytes of the file that no crash can take any more."""
        file = self._durable_names.get(name)
        return len(file.durable) if file else 0

    def crash(self, policy: CrashPolicy) -> None:
        """A death: of the machine, when what is not durable is kept as the policy says, or of the process alone.

        Syncs under way never complete. After a process's death everything is there as it was written, and what was
        not durable is not durable yet: the successor has to sync it before it counts on it.
        """
        self._epoch += 1
        self._completed = []
        if not policy.machine_died:
            for survivor in self._files.values():
                if survivor.durable != survivor.written:
                    survivor.pending = [(0, None), (0, bytes(survivor.written))]
            return
        kept: dict[str, _File] = {}
        for name in sorted({**self._files, **self._durable_names}):
            file = self._files.get(name)
            if file is not self._durable_names.get(name) and not policy.keeps_entry(name):
                file = self._durable_names.get(name)
            if file is None:
                continue
            content = bytes(file.written)
            if file.durable != file.written:
                content = policy(name, bytes(file.durable), content)
            kept[name] = _File(content)
        self._files = kept
        self._durable_names = dict(kept)

    def durable_content(self, name: str) -> bytes:
        """The file as no crash can change it any more; b"" for one that a crash may take."""
        file = self._durable_names.get(name)
        return bytes(file.durable) if file else b""

    def load(self, files: dict[str, bytes]) -> None:
        """Put durable files there, before anything runs."""
        for name, content in files.items():
            self._files[name] = _File(content)
        self._durable_names = dict(self._files)

    def contents(self) -> dict[str, bytes]:
        return {name: bytes(self._files[name].written) for name in self.names()}


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data
