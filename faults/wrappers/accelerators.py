"""The Accelerators port under fault: devices removed, silent, late or slow, and not listed until they return.

Guards failover, leases and the refusal of late results. A fault is found by the request or the tick of a batch, never
by a process's number; the CPU (device 0) is never hit here. What happens inside a device's process is in `models`.
"""

from __future__ import annotations

from collections.abc import Callable

from faults.injector import Fields, Injector, Later
from faults.plan import Fault
from faults.wrappers.models import CPU, DeviceSite, addressed, leave
from runtime.errors import FrameRefused
from runtime.frames import Infer, unpack
from runtime.ports import Accelerators, Arrival, Clock

_LOADS = ("model.load_fail", "model.flip", "model.swap")
_WATCHED = ("gpu.remove", "gpu.oom", "gpu.slow", "gpu.wrong", "model.bad_output", "model.evict", *_LOADS)


class FaultyAccelerators:
    """Devices with faults; one per incarnation. `sites` are shared with the `FaultyModels` inside the processes.

    `tick_of` is the orchestrator's open tick. A process has one batch at a time, as `Infer` is sent.
    """

    def __init__(
        self,
        inner: Accelerators,
        injector: Injector,
        sites: dict[int, DeviceSite],
        clock: Clock,
        later: Later,
        tick_of: Callable[[], int],
    ) -> None:
        self._inner, self._injector, self._sites = inner, injector, sites
        self._clock, self._later, self._tick_of = clock, later, tick_of
        self._alive: list[int] = []
        self._held: dict[int, list[Arrival]] = {}
        self._ready: list[Arrival] = []
        self._closed = False

    def close(self) -> None:
        """The incarnation is dead: what is still held back is never delivered."""
        self._closed = True
        self._held.clear()
        self._ready.clear()

    def present(self) -> list[int]:
        listed = self._inner.present()
        now = self._clock.now()
        for index, fault in self._injector.armed("gpu.absent"):
            device = next((d for d in listed if d != CPU and self._injector.absent.get(d, 0) <= now), None)
            if device is not None and self._tick_of() >= fault.number("tick"):
                self._take_away(index, fault, device, now)
        return [device for device in listed if self._injector.absent.get(device, 0) <= now]

    def _take_away(self, index: int, fault: Fault, device: int, now: int) -> None:
        self._injector.absent[device] = now + fault.number("for")
        self._injector.fire(index, {"device": device, "tick": self._tick_of(), "for": fault.number("for")})
        for process in [p for p in self._alive if self._sites[p].device == device]:
            self._end(process)

    def spawn(self, device: int, process: int) -> None:
        self._sites[process] = DeviceSite(process, device)
        self._alive.append(process)
        self._inner.spawn(device, process)
        if self._injector.absent.get(device, 0) > self._clock.now():
            self._end(process)  # its driver finds no device

    def _end(self, process: int) -> None:
        """The process dies by itself: its closed end tells the runtime."""
        self._inner.kill(process)

    def send(self, process: int, frame: bytes) -> None:
        infer = self._decode(frame)
        site = self._sites[process]
        if isinstance(infer, Infer):
            site.tick, site.sent = self._tick_of(), infer
            for index, fault in self._injector.armed("gpu.remove"):
                if fault.get("phase") == "idle" and not site.gone and addressed(fault, site):
                    leave(self._injector, index, fault, site, self._clock.now() + fault.number("for"))
                    if fault.get("how") == "exit":
                        self._end(process)
        self._inner.send(process, frame)

    def _decode(self, frame: bytes) -> object:
        """The frame, or None when no armed fault can concern it or it does not verify."""
        if not self._injector.armed(*_WATCHED) and not self._injector.faults(*_LOADS):
            return None
        try:
            return unpack(frame)
        except FrameRefused:
            return None

    def poll(self) -> list[Arrival]:
        arrivals, self._ready = self._ready + self._inner.poll(), []
        passed: list[Arrival] = []
        for arrival in arrivals:
            site = self._sites.get(arrival.worker)
            if arrival.frame is None:
                self._alive = [p for p in self._alive if p != arrival.worker]
                passed.append(arrival)
            elif site is not None and site.gone == "late" and arrival.worker in self._alive:
                self._held.setdefault(arrival.worker, []).append(arrival)
            elif site is not None and site.gone == "hang":
                continue
            else:
                passed.append(arrival)
        return passed

    def kill(self, process: int) -> None:
        """What a late device had in its pipe still comes, after the runtime has given the device up."""
        self._inner.kill(process)
        self._alive = [p for p in self._alive if p != process]
        held = self._held.pop(process, [])
        if held and self._sites[process].gone == "late":
            self._later(0, lambda: self._arrive_late(held))

    def _arrive_late(self, held: list[Arrival]) -> None:
        if not self._closed:
            self._ready.extend(held)

    def stretch(self, process: int, cost_ns: int) -> int:
        """How long the work in hand takes on the device, asked by the adapter as it begins."""
        site = self._sites[process]
        for index, fault in self._injector.armed("gpu.slow"):
            if addressed(fault, site):
                cost_ns *= fault.number("factor")
                about: Fields = {**site.about(), "takes": cost_ns}
                self._injector.fire(index, about)
        return cost_ns
