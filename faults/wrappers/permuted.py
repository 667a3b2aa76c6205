"""The order in which what is there at once is met: answers of workers and devices, and inputs within a frame, shuffled.

Guards every ordering key: what is put in order must come out the same however it came in. What comes from one worker
stays in its own order, as a pipe keeps it. The order is drawn by the fault and the moment, by nothing drawn before.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from msgspec.structs import replace

from faults.injector import Fields, Injector, Later
from faults.plan import Fault
from faults.streams import draw
from runtime.errors import FrameRefused
from runtime.frames import Done, Inferred, Inputs, pack, unpack
from runtime.ports import Accelerators, Arrival, Gateway, Ports, Workers

KIND = "scheduler.permute"


class Permutation:
    """What is common to the ports of one incarnation; `tick_of` is its open tick."""

    def __init__(self, injector: Injector, later: Later, tick_of: Callable[[], int]) -> None:
        self.injector, self.later, self._tick_of = injector, later, tick_of
        self._spans = [
            (fault.number("tick"), fault.number("tick") + fault.number("ticks"), (index, fault))
            for index, fault in injector.faults(KIND)
        ]
        self.closed = False

    def close(self) -> None:
        """The incarnation is dead: what is still held back is never delivered."""
        self.closed = True

    @staticmethod
    def strikes(injector: Injector) -> bool:
        return bool(injector.faults(KIND))

    def fault(self) -> tuple[int, Fault] | None:
        """The first that is at work in the open tick."""
        tick = self._tick_of()
        return next((found for first, end, found in self._spans if first <= tick < end), None)

    def tell(self, index: int, fields: Fields) -> None:
        if self.injector.is_armed(index):
            self.injector.fire(index, fields)
        else:
            self.injector.note(index, fields)

    def key(self, fault: Fault, *of: int | str) -> int:
        return draw(self.injector.seed, KIND, str(fault), *of)


class _Held:
    """Arrivals of one port, collected for a moment and then given in another order."""

    def __init__(self, common: Permutation, port: str) -> None:
        self._common, self._port = common, port
        self._held: list[Arrival] = []
        self._ready: list[Arrival] = []
        self._moments = 0

    def poll(self, arrived: list[Arrival]) -> list[Arrival]:
        if not (arrived or self._held or self._ready):
            return arrived
        passed, self._ready = self._ready, []
        found = self._common.fault() if arrived or self._held else None
        if found is None and not self._held:
            return passed + arrived
        if not self._held and found is not None and arrived:
            index, fault = found
            self._common.later(fault.number("for"), lambda: self._release(index, fault))
        self._held += arrived
        return passed

    def _release(self, index: int, fault: Fault) -> None:
        if self._common.closed:
            return
        self._moments += 1
        before, self._held = self._held, []
        whose = sorted(
            dict.fromkeys(arrival.worker for arrival in before),
            key=lambda worker: self._common.key(fault, self._port, self._moments, worker),
        )
        after = [arrival for worker in whose for arrival in before if arrival.worker == worker]
        self._ready += after
        first = dict.fromkeys(arrival.worker for arrival in before if arrival.frame is not None)
        order = [worker for worker in whose if worker in first]
        came = list(first)
        swapped = next((pair for pair in pairwise(came) if _swapped(pair, order)), None)
        if swapped is None:
            return
        fields: Fields = {"port": self._port, "for": 0}
        names = ("second", "first")
        for name, worker in zip(names, swapped, strict=True):
            frame = next(a.frame for a in before if a.worker == worker and a.frame is not None)
            fields |= {name: worker, f"{name}_lease": _lease(frame)}
        self._common.tell(index, fields)


def _swapped(pair: tuple[int, int], order: list[int]) -> bool:
    return order.index(pair[0]) > order.index(pair[1])


def _lease(frame: bytes) -> int:
    try:
        found = unpack(frame)
    except FrameRefused:
        return -1
    return found.lease if isinstance(found, Done | Inferred) else -1


class PermutedWorkers:
    def __init__(self, inner: Workers, common: Permutation) -> None:
        self._inner, self._held = inner, _Held(common, "workers")

    def spawn(self, worker: int) -> None:
        self._inner.spawn(worker)

    def send(self, worker: int, frame: bytes) -> None:
        self._inner.send(worker, frame)

    def kill(self, worker: int) -> None:
        self._inner.kill(worker)

    def poll(self) -> list[Arrival]:
        return self._held.poll(self._inner.poll())


class PermutedGateway:
    """The inputs of a frame in another order; they are admitted in order of their source and number."""

    def __init__(self, inner: Gateway, common: Permutation) -> None:
        self._inner, self._common = inner, common

    def poll(self) -> list[bytes]:
        frames = self._inner.poll()
        found = self._common.fault() if frames else None
        return frames if found is None else [self._shuffled(found[1], frame) for frame in frames]

    def _shuffled(self, fault: Fault, data: bytes) -> bytes:
        try:
            frame = unpack(data)
        except FrameRefused:
            return data
        if not isinstance(frame, Inputs):
            return data
        inputs = sorted(frame.inputs, key=lambda item: self._common.key(fault, item.source, item.n))
        return pack(replace(frame, inputs=tuple(inputs)))

    def send(self, frame: bytes) -> None:
        self._inner.send(frame)


class PermutedAccelerators:
    def __init__(self, inner: Accelerators, common: Permutation) -> None:
        self._inner, self._held = inner, _Held(common, "devices")

    def present(self) -> list[int]:
        return self._inner.present()

    def spawn(self, device: int, process: int) -> None:
        self._inner.spawn(device, process)

    def send(self, process: int, frame: bytes) -> None:
        self._inner.send(process, frame)

    def kill(self, process: int) -> None:
        self._inner.kill(process)

    def poll(self) -> list[Arrival]:
        return self._held.poll(self._inner.poll())


def permuted(ports: Ports, common: Permutation) -> Ports:
    """The same ports, with what they give in another order."""
    devices = ports.accelerators
    return ports._replace(
        workers=PermutedWorkers(ports.workers, common),
        gateway=PermutedGateway(ports.gateway, common),
        accelerators=None if devices is None else PermutedAccelerators(devices, common),
    )
