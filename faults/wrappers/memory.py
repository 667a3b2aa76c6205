"""Shared memory under fault: a worker that dies in the middle of a copy, and bits of a published slot that flip.

Guards the slot protocol: whatever is torn or altered must be found by its reader and repaired before it is used.
"""

from __future__ import annotations

from faults.deaths import WorkerDied
from faults.injector import Fields, Injector
from faults.wrappers.guests import WorkerSite
from runtime import buffers
from runtime.ports import Memory
from runtime.state import View

_HEAD_VERIFIED = 24  # bytes of a slot's head that a reader verifies: mark, version, length, checksum


class TornMemory:
    """A worker's memory port: it dies once `byte` bytes of the addressed step are stored, the rest left as it was."""

    def __init__(self, inner: Memory, injector: Injector, site: WorkerSite) -> None:
        self._inner, self._injector, self._site = inner, injector, site

    def reserve(self, segment: int, size: int) -> None:
        self._inner.reserve(segment, size)

    def load(self, segment: int, offset: int, length: int) -> bytes:
        return self._inner.load(segment, offset, length)

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


class BufferFlips:
    """Flips bits of a published version; called with each view whose bytes a worker is about to load."""

    def __init__(self, memory: Memory, injector: Injector) -> None:
        self._memory, self._injector = memory, injector

    def __call__(self, view: View) -> None:
        for index, fault in self._injector.armed("buffer.flip"):
            if fault.number("buffer") != view.buffer or fault.number("version") != view.version:
                continue
            first = fault.number("bit")
            for bit in range(first, first + fault.number("bits")):
                self._flip(view, bit)
            flipped: Fields = {"bit": first, "bits": fault.number("bits")}
            self._injector.fire(index, {"buffer": view.buffer, "version": view.version, **flipped})

    def _flip(self, view: View, bit: int) -> None:
        """Bits are counted through the payload, then through the head; there is always a head."""
        place, shift = divmod(bit % (8 * (view.length + _HEAD_VERIFIED)), 8)
        slot = buffers.offset_of(view.version, view.capacity)
        offset = slot + (buffers.HEAD + place if place < view.length else place - view.length)
        byte = self._memory.load(view.buffer, offset, 1)[0]
        self._memory.store(view.buffer, offset, bytes([byte ^ 1 << shift]))
