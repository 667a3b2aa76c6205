"""The Gateway port under fault: frames from and to the clients lost, doubled, late or altered.

Guards the admission table and the release cursor. What answers a lost frame is told too: the same (source, n) coming
again, the same block released again.
"""

from __future__ import annotations

from functools import partial

from faults.injector import Fields, Injector, Later
from faults.wrappers.frames import KINDS, Delivery, applied
from runtime.errors import FrameRefused
from runtime.frames import Inputs, Release, unpack
from runtime.ports import Gateway


class FaultyGateway:
    """A gateway with faults; one per incarnation."""

    def __init__(self, inner: Gateway, injector: Injector, later: Later) -> None:
        self._inner, self._injector, self._later = inner, injector, later
        frames = injector.faults(*KINDS)
        self._mine = [index for index, fault in frames if fault.get("direction") in ("inputs", "release")]
        self._ready: list[bytes] = []
        self._closed = False

    def close(self) -> None:
        """The incarnation is dead: what is still held back is never delivered."""
        self._closed = True
        self._ready.clear()

    def poll(self) -> list[bytes]:
        passed, self._ready = self._ready, []
        frames = self._inner.poll()
        if self._is_idle():
            return passed + frames if passed else frames
        for frame in frames:
            for delay, copy in self._poll_faults(frame):
                if delay:
                    self._later(delay, partial(self._arrive_late, copy))
                else:
                    passed.append(copy)
        return passed

    def send(self, frame: bytes) -> None:
        for delay, copy in [(0, frame)] if self._is_idle() else self._send_faults(frame):
            if delay:
                self._later(delay, partial(self._send_late, copy))
            else:
                self._inner.send(copy)

    def _is_idle(self) -> bool:
        """Whether no armed fault can concern a client's frame, and none that comes again is waited for."""
        injector = self._injector
        return not injector.is_owed and not any(map(injector.is_armed, self._mine))

    def _decode(self, frame: bytes) -> object:
        try:
            return unpack(frame)
        except FrameRefused:
            return None

    def _poll_faults(self, frame: bytes) -> list[Delivery]:
        inputs = self._decode(frame)
        if not isinstance(inputs, Inputs):
            return [(0, frame)]
        for one in inputs.inputs:
            fields: Fields = {"again": 1, "source": one.source, "n": one.n}
            self._injector.settle(("inputs", one.source, one.n), fields)
        about: Fields = {"direction": "inputs", "inputs": len(inputs.inputs)}
        deliveries, fired = self._faults("inputs", -1, frame, about)
        for index in fired:
            for one in inputs.inputs:
                self._injector.owe(index, "inputs", one.source, one.n)
        return deliveries

    def _send_faults(self, frame: bytes) -> list[Delivery]:
        release = self._decode(frame)
        if not isinstance(release, Release):
            return [(0, frame)]
        self._injector.settle(("release", release.block), {"again": 1, "block": release.block})
        fields: Fields = {"direction": "release", "block": release.block}
        deliveries, fired = self._faults("release", release.block, frame, fields)
        for index in fired:
            self._injector.owe(index, "release", release.block)
        return deliveries

    def _faults(self, direction: str, block: int, frame: bytes, fields: Fields) -> tuple[list[Delivery], list[int]]:
        """What becomes of the frame, and the faults that did it."""
        occurrence = self._injector.count(direction, block)
        deliveries: list[Delivery] = [(0, frame)]
        fired = []
        for index, fault in self._injector.armed(*KINDS):
            here = fault.get("direction") == direction and (block < 0 or fault.number("block") == block)
            if here and fault.number("occurrence") == occurrence and deliveries:
                deliveries = applied(fault, deliveries)
                until = max((delay for delay, _ in deliveries), default=0)
                self._injector.fire(index, {**fields, "for": until})
                fired.append(index)
        return deliveries, fired

    def _arrive_late(self, frame: bytes) -> None:
        if not self._closed:
            self._ready.append(frame)

    def _send_late(self, frame: bytes) -> None:
        if not self._closed:
            self._inner.send(frame)
