"""Boot: what a new incarnation does before it does anything else, in an order that survives a crash at any point.

Read; cut the journal to what verifies and sync it; raise the watermark with a higher incarnation and sync it and the
directory. Only then may a worker hear of this incarnation.
"""

from __future__ import annotations

from runtime import journal, recovery, watermark
from runtime.durability import BLOBS, JOURNAL, Durability
from runtime.ports import Storage
from runtime.recovery import DECREES, Recovered
from runtime.telemetry import Telemetry
from runtime.watermark import Watermark


class Boot:
    """`advance` takes the next step that is possible; `done` when all is durable. `found` is what the disk held."""

    def __init__(self, storage: Storage, telemetry: Telemetry, header: bytes) -> None:
        self._storage, self._telemetry, self._header = storage, telemetry, header
        self._tickets: list[int] = []
        self._steps = [self._read, self._settle_journal, self._raise_watermark]
        self.found: Recovered
        self.durability: Durability

    @property
    def done(self) -> bool:
        return not self._steps and not self._tickets

    def completed(self, ticket: int) -> None:
        if ticket in self._tickets:
            self._tickets.remove(ticket)

    def advance(self) -> bool:
        """Whether a step was taken; raises FailStop when what was synced is not there."""
        if self._tickets or not self._steps:
            return False
        self._tickets = self._steps.pop(0)()
        return True

    def _read(self) -> list[int]:
        self.found = recovery.load(self._storage, self._telemetry)
        return []

    def _settle_journal(self) -> list[int]:
        """Cut what does not verify, and sync what does: it may not have been, and it is about to count."""
        if not self.found.lines:
            return []
        ends = {JOURNAL: self.found.journal_end, BLOBS: self.found.blob_end, DECREES: self.found.decree_end}
        for name, end in ends.items():
            self._storage.write(name, 0, b"")  # it may be gone, if no block needs it
            self._storage.truncate(name, end)
        return [self._storage.sync(name) for name in ends]

    def _raise_watermark(self) -> list[int]:
        found, storage = self.found, self._storage
        block, hash_ = (found.lines[-1].number, found.lines[-1].hash) if found.lines else (0, journal.GENESIS)
        mark = Watermark(found.mark.serial + 1, found.mark.incarnation + 1, block, hash_)
        offset, data = watermark.slot_bytes(mark)
        storage.write(watermark.NAME, offset, data)
        self.durability = Durability(storage, mark, found.header or self._header)
        self.durability.resume(found.journal_end, found.blob_end, found.blobs)
        self._telemetry.incarnation = mark.incarnation
        if not found.lines:
            for name, end in ((JOURNAL, 0), (BLOBS, 0), (DECREES, found.decree_end)):
                storage.write(name, 0, b"")
                storage.truncate(name, end)
        return [storage.sync(watermark.NAME), storage.sync_dir()]
