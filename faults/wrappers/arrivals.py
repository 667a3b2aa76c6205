"""The Gateway port, watched: which of the inputs that faults add have come through it.

What a workload fault adds comes from a source of its own (`SOURCE`). It counts as carried out once the first of it has
passed the port; whether anybody noticed is for the journal to say.
"""

from __future__ import annotations

from collections.abc import Mapping

from faults.injector import Fields, Injector
from runtime.errors import FrameRefused
from runtime.frames import Inputs, unpack
from runtime.ports import Gateway
from runtime.state import Input

SOURCE = "~faults"  # of the inputs that faults add: they come after those of any client in their tick


class WatchedGateway:
    """A gateway that tells when the first input of a fault comes; `owners` says of which fault input n is."""

    def __init__(self, inner: Gateway, injector: Injector, owners: Mapping[int, int]) -> None:
        self._inner, self._injector, self._owners = inner, injector, owners
        self._first: dict[int, int] = {}
        self._count: dict[int, int] = {}
        for n in sorted(owners):
            self._first.setdefault(owners[n], n)
            self._count[owners[n]] = self._count.get(owners[n], 0) + 1

    def poll(self) -> list[bytes]:
        frames = self._inner.poll()
        if any(self._injector.is_armed(index) for index in self._first):
            for frame in frames:
                self._look(frame)
        return frames

    def send(self, frame: bytes) -> None:
        self._inner.send(frame)

    def _look(self, frame: bytes) -> None:
        try:
            inputs = unpack(frame)
        except FrameRefused:
            return
        for item in inputs.inputs if isinstance(inputs, Inputs) else ():
            if item.source == SOURCE and item.n in self._owners:
                self._arrived(item)

    def _arrived(self, item: Input) -> None:
        index = self._owners[item.n]
        if self._injector.is_armed(index):
            fields: Fields = {"tick": item.tick, "first": self._first[index], "inputs": self._count[index]}
            agent = getattr(item.action, "agent", -1)
            self._injector.fire(index, fields if agent < 0 else {**fields, "agent": agent})
