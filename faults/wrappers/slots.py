"""Slots of shared memory under fault: other versions, a second writer, stuck bytes, zeroed pages, torn reads.

Guards the slot protocol from below: whoever reads must find out that a slot is not, whole, the version of its handle.
What a fault stores here is in nobody's store log, as no worker of the runtime stored it.
"""

from __future__ import annotations

import struct

import google_crc32c
from msgspec import Struct

from faults.injector import Fields, Injector
from faults.memory_kinds import WRAP
from faults.plan import Fault
from runtime import buffers
from runtime.ports import Memory
from runtime.state import View

HEAD_VERIFIED = 24  # bytes of a slot's head that a reader verifies: mark, version, length, checksum
VIEWED = ("buffer.flip", "buffer.zero", "buffer.stuck", "buffer.stale_handle", "buffer.second_writer")
_WATCHED = ("buffer.torn_read", "buffer.stale_handle", "buffer.second_writer", "buffer.stuck")
_HEAD = struct.Struct("<QQII8x")
_OTHER = bytes(byte ^ 0xA5 for byte in range(256))


class _Stuck(Struct):
    """A byte that keeps its value for some more stores."""

    fault: int
    value: int
    stores: int


class FaultySlots:
    """The segments of one incarnation, below all who use them; called with each view that a worker is about to load."""

    def __init__(self, inner: Memory, injector: Injector, capacities: tuple[int, ...] = ()) -> None:
        self._inner, self._injector, self._capacities = inner, injector, capacities
        self._watched = {fault.number("buffer") for _, fault in injector.faults(*_WATCHED)}
        self._before: dict[tuple[int, int], bytes] = {}  # (segment, slot's offset) -> what the last version replaced
        self._stuck: dict[tuple[int, int], _Stuck] = {}  # (segment, offset of the byte)

    def reserve(self, segment: int, size: int) -> None:
        self._inner.reserve(segment, size)

    def load(self, segment: int, offset: int, length: int) -> bytes:
        return self._inner.load(segment, offset, length)

    def store(self, segment: int, offset: int, data: bytes) -> None:
        if segment not in self._watched or segment >= len(self._capacities):
            self._inner.store(segment, offset, data)
            return
        head = _head_of(data, offset, self._capacities[segment])
        if head is not None:
            self._remember(segment, offset, head[1])
        self._inner.store(segment, offset, data)
        self._keep_stuck(segment, offset, len(data))
        if head is not None and head[0] == 2 * head[1]:
            self._usurp(segment, offset, *head[1:])

    def __call__(self, view: View) -> None:
        for index, fault in self._injector.armed(*VIEWED):
            if (fault.number("buffer"), fault.number("version")) != (view.buffer, view.version):
                continue
            if fault.kind == "buffer.second_writer" and fault.get("when") != "published":
                continue
            fields = self._struck(index, fault, view)
            if fields:
                self._injector.fire(index, {"buffer": view.buffer, "version": view.version, **fields})

    def torn(self, segment: int, offset: int, fault: Fault, data: bytes) -> bytes:
        """What this load gets when it comes between two halves of the slot's last write."""
        start = buffers.offset_of(fault.number("version"), self._capacities[segment])
        old = self._before.get((segment, start), b"")[offset - start : offset - start + len(data)]
        place = fault.number("byte") % max(1, len(data))
        if len(old) != len(data):
            return data
        return data[:place] + old[place:] if fault.get("half") == "second" else old[:place] + data[place:]

    def version_at(self, segment: int, offset: int) -> int:
        """The version in the slot that holds this offset; 0 in a segment that is not known."""
        if segment >= len(self._capacities):
            return 0
        size = buffers.slot_size(self._capacities[segment])
        _, version, _, _ = _HEAD.unpack(self._inner.load(segment, offset - offset % size, buffers.HEAD))
        return int(version)

    def _remember(self, segment: int, offset: int, version: int) -> None:
        if self.version_at(segment, offset) != version:
            size = buffers.slot_size(self._capacities[segment])
            self._before[segment, offset] = self._inner.load(segment, offset, size)

    def _usurp(self, segment: int, offset: int, version: int, length: int, crc: int) -> None:
        """A second writer comes right behind the first one."""
        for index, fault in self._injector.armed("buffer.second_writer"):
            at = (fault.number("buffer"), fault.number("version"), fault.get("when"))
            if at == (segment, version, "private"):
                self._forge(segment, offset, version, length)
                self._injector.fire(index, {"buffer": segment, "version": version})

    def _forge(self, segment: int, offset: int, version: int, length: int) -> bool:
        """A whole, self-consistent version of other bytes; whether it differs from what was there."""
        data = self._inner.load(segment, offset + buffers.HEAD, length).translate(_OTHER)
        self._inner.store(segment, offset + buffers.HEAD, data)
        self._inner.store(segment, offset, _HEAD.pack(2 * version, version, length, google_crc32c.value(data)))
        return True

    def _struck(self, index: int, fault: Fault, view: View) -> Fields | None:
        """Carry out the fault at a published slot; None when nothing changed by it."""
        start = buffers.offset_of(view.version, view.capacity)
        if fault.kind == "buffer.flip":
            first, bits = fault.number("bit"), fault.number("bits")
            for bit in range(first, first + bits):
                byte, shift = divmod(bit % (8 * (view.length + HEAD_VERIFIED)), 8)
                self._change(view, byte, 1 << shift)
            return {"bit": first, "bits": bits}
        if fault.kind == "buffer.second_writer":
            return {"when": "published"} if self._forge(view.buffer, start, view.version, view.length) else None
        if fault.kind == "buffer.stale_handle":
            return self._other_version(str(fault.get("mode")), view, start)
        if fault.kind == "buffer.stuck":
            offset, value = self._change(view, fault.number("byte"), 0xFF)
            self._stuck[view.buffer, offset] = _Stuck(index, value, fault.number("stores"))
            return {"byte": offset - start, "value": value}
        first, length = fault.number("byte"), min(fault.number("length"), view.length + HEAD_VERIFIED)
        changed = [self._change(view, place, None) for place in range(first, first + length)]
        return {"byte": first, "length": length} if any(value for _, value in changed) else None

    def _other_version(self, mode: str, view: View, start: int) -> Fields | None:
        if mode != "previous":
            other = view.version + (buffers.SLOTS if mode == "next" else WRAP)
            self._forge(view.buffer, start, other, view.length)
            return {"holds": other}
        old = self._before.get((view.buffer, start))
        if old is None or old == self._inner.load(view.buffer, start, len(old)):
            return None
        self._inner.store(view.buffer, start, old)
        return {"holds": int(_HEAD.unpack_from(old)[1])}

    def _change(self, view: View, place: int, flip: int | None) -> tuple[int, int]:
        """XOR one byte with `flip`, or zero it: (its offset, its new value, or the old one of a zeroed byte).

        Bytes are counted through the payload, then through the head; there is always a head.
        """
        place %= view.length + HEAD_VERIFIED
        slot = buffers.offset_of(view.version, view.capacity)
        offset = slot + (buffers.HEAD + place if place < view.length else place - view.length)
        byte = self._inner.load(view.buffer, offset, 1)[0]
        value = 0 if flip is None else byte ^ flip
        self._inner.store(view.buffer, offset, bytes([value]))
        return offset, byte if flip is None else value

    def _keep_stuck(self, segment: int, offset: int, length: int) -> None:
        for (where, place), stuck in list(self._stuck.items()):
            if where == segment and offset <= place < offset + length:
                self._inner.store(segment, place, bytes([stuck.value]))
                self._injector.note(stuck.fault, {"buffer": segment, "outlasted": stuck.stores})
                stuck.stores -= 1
                if not stuck.stores:
                    del self._stuck[where, place]


def _head_of(data: bytes, offset: int, capacity: int) -> tuple[int, int, int, int] | None:
    """(mark, version, length, crc) of a store that is a slot's head."""
    if len(data) != buffers.HEAD or offset % buffers.slot_size(capacity):
        return None
    mark, version, length, crc = _HEAD.unpack(data)
    return mark, version, length, crc
