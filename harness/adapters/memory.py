"""Simulated shared memory: segments as bytearrays; each worker's side keeps a log of its stores."""

from __future__ import annotations

from collections.abc import Callable

from harness.history import StoreEvent
from runtime.errors import FailStop
from runtime.ports import Memory


class SimMemory:
    """The segments of one incarnation, and the orchestrator's side of the `Memory` port."""

    def __init__(self) -> None:
        self._segments: dict[int, bytearray] = {}

    def segments(self) -> tuple[int, ...]:
        """The reserved ones, in order."""
        return tuple(sorted(self._segments))

    def reserve(self, segment: int, size: int) -> None:
        self._segments[segment] = bytearray(size)

    def store(self, segment: int, offset: int, data: bytes) -> None:
        area = self._segments[segment]
        if offset + len(data) > len(area):
            raise FailStop("segment", f"a store ends at {offset + len(data)} of {len(area)}", f"segment {segment}")
        area[offset : offset + len(data)] = data

    def load(self, segment: int, offset: int, length: int) -> bytes:
        return bytes(self._segments[segment][offset : offset + length])


class WorkerMemory:
    """One worker's side: the same segments, and a record of each store."""

    def __init__(self, shared: Memory, worker: int, now: Callable[[], int], log: list[StoreEvent]) -> None:
        self._shared, self._worker, self._now, self._log = shared, worker, now, log

    def reserve(self, segment: int, size: int) -> None:
        self._shared.reserve(segment, size)

    def store(self, segment: int, offset: int, data: bytes) -> None:
        self._log.append(StoreEvent(self._now(), self._worker, segment, offset, len(data)))
        self._shared.store(segment, offset, data)

    def load(self, segment: int, offset: int, length: int) -> bytes:
        return self._shared.load(segment, offset, length)
