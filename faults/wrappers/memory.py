"""A worker's side of shared memory under fault: its death in the middle of a copy, and loads that are torn.

Guards the slot protocol: whatever is torn must be found by its reader and repaired before it is used.
"""

from __future__ import annotations

from faults.deaths import WorkerDied
from faults.injector import Fields, Injector
from faults.wrappers.guests import WorkerSite
from faults.wrappers.slots import FaultySlots
from runtime.ports import Memory


class TornMemory:
    """A worker's memory port: it dies once `byte` bytes of the addressed step are stored, the rest left as it was."""

    def __init__(self, inner: Memory, injector: Injector, site: WorkerSite, slots: FaultySlots | None = None) -> None:
        self._inner, self._injector, self._site, self._slots = inner, injector, site, slots

    def reserve(self, segment: int, size: int) -> None:
        self._inner.reserve(segment, size)

    def load(self, segment: int, offset: int, length: int) -> bytes:
        data = self._inner.load(segment, offset, length)
        slots = self._slots
        if slots is None or not self._injector.is_armed_kind("buffer.torn_read"):
            return data
        version = slots.version_at(segment, offset)
        occurrence = self._injector.count("load", segment, version)
        for index, fault in self._injector.armed("buffer.torn_read"):
            at = (fault.number("buffer"), fault.number("version"), fault.number("occurrence"))
            if at != (segment, version, occurrence):
                continue
            torn = slots.torn(segment, offset, fault, data)
            if torn != data:
                site = self._site
                fields: Fields = {"worker": site.worker, "buffer": segment, "version": version}
                self._injector.fire(index, {**fields, "occurrence": occurrence})
                data = torn
        return data

    def store(self, segment: int, offset: int, data: bytes) -> None:
        site = self._site
        for index, fault in self._injector.armed_at("worker.kill", site.tick, site.agent):
            byte = fault.number("byte")
            if byte < 0 or site.stored + len(data) < byte:
                continue
            if byte > site.stored:
                self._inner.store(segment, offset, data[: byte - site.stored])
            fields: Fields = {"worker": site.worker, "tick": site.tick, "agent": site.agent}
            self._injector.fire(index, {**fields, "byte": byte, "segment": segment})
            raise WorkerDied(site.worker)
        self._inner.store(segment, offset, data)
        site.stored += len(data)
