"""Boot: what a new incarnation does before it does anything else, in an order that survives a crash at any point.

Read; write what verifies into new files and sync them; put them in the old ones' places and sync the directory; then
the watermark, with a higher incarnation, in the same way. Only then may a worker hear of this incarnation. Always new
files: a sync of the old ones may have failed, and then their bytes can be read although they are not on the disk, and
no further sync of the same file would say so.
"""

from __future__ import annotations

from runtime import journal, recovery, watermark
from runtime.durability import BLOBS, JOURNAL, Durability
from runtime.guards import NONE, Guards
from runtime.ports import Hazard, Storage, never
from runtime.recovery import Recovered
from runtime.telemetry import Telemetry
from runtime.watermark import Watermark

NEW = ".new"  # ends the name of a file that is to take another one's place


class Boot:
    """`advance` takes the next step that is possible; `done` when all is durable. `found` is what the disk held."""

    def __init__(
        self, storage: Storage, telemetry: Telemetry, header: bytes, hazard: Hazard = never, guards: Guards = NONE
    ) -> None:
        self._storage, self._telemetry, self._header, self._hazard = storage, telemetry, header, hazard
        self._guards = guards
        self._tickets: list[int] = []
        self._steps = [self._read, self._write, self._settle_journal, self._raise_watermark]
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
        self.found = recovery.load(self._storage, self._telemetry, self._hazard, self._guards)
        return []

    def _write(self) -> list[int]:
        """All files anew, synced under other names; where there is none yet, under their own, and this is all."""
        found, storage = self.found, self._storage
        block, hash_ = (found.lines[-1].number, found.lines[-1].hash) if found.lines else (0, journal.GENESIS)
        mark = Watermark(found.mark.serial + 1, found.mark.incarnation + 1, block, hash_)
        self.durability = Durability(storage, mark, found.header or self._header)
        self.durability.resume(len(found.kept[JOURNAL]), len(found.kept[BLOBS]), found.blobs)
        self._telemetry.incarnation = mark.incarnation
        offset, data = watermark.slot_bytes(mark)
        fresh = not any(name in found.names for name in (*found.kept, watermark.NAME))
        suffix = "" if fresh else NEW
        for name, content in {**found.kept, watermark.NAME: data}.items():
            if name + suffix in found.names:
                storage.remove(name + suffix)  # left by a start that did not come to its end
            storage.write(name + suffix, offset if name == watermark.NAME else 0, content)
        if fresh:
            self._steps = []
            return [storage.sync(watermark.NAME), storage.sync_dir()]
        return [storage.sync(name + NEW) for name in (*found.kept, watermark.NAME)]

    def _settle_journal(self) -> list[int]:
        """What was kept may not have been synced before, and it is about to count."""
        for name in self.found.kept:
            self._storage.rename(name + NEW, name)
        return [self._storage.sync_dir()]

    def _raise_watermark(self) -> list[int]:
        self._storage.rename(watermark.NAME + NEW, watermark.NAME)
        return [self._storage.sync_dir()]
