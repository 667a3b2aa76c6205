"""The router: inference requests to devices, and back with results (all physical: trace only, INF-1, INF-4).

Requests of one model and of equal shape share a batch. The preferred device that is present and not in quarantine gets
it; whatever goes wrong (an error, a closed end, a lease that runs out) means a failed device: its process is killed,
its batch runs again elsewhere from the same KV cache, and it is tried again after a while. Its first answers after that
are computed on the CPU too, and it is trusted again only when they agree. The CPU is device 0, the last resort.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runtime.errors import FrameRefused
from runtime.frames import Infer, InferenceItem, Inferred, pack, unpack
from runtime.physical import Physical
from runtime.ports import Accelerators, Clock, Hazard, never
from runtime.state import Inference, Request
from runtime.telemetry import Telemetry

CPU = 0
MAX_DOUBLINGS = 16


class Batch:
    """Requests of one model and equal shape; `first` is an answer that the CPU has yet to confirm, and whose it is."""

    def __init__(self, model: str, requests: list[Request], items: tuple[InferenceItem, ...]) -> None:
        self.model, self.requests, self.items = model, requests, items
        self.expiries = 0
        self.first: tuple[Inference, ...] = ()
        self.first_device = CPU
        self.first_process = -1


class Device:
    """One device: its process (-1 when there is none), what it has, and how far it is trusted."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process = -1
        self.batch: Batch | None = None
        self.lease = 0
        self.deadline = 0
        self.ready_at = 0
        self.failures = 0
        self.trusted = True
        self.listed = True


class Router:
    """`model_of(index)` is a model's digest, `kv_of(request)` the KV cache that its session had at the request."""

    def __init__(
        self,
        accelerators: Accelerators,
        clock: Clock,
        physical: Physical,
        incarnation: int,
        telemetry: Telemetry,
        model_of: Callable[[int], str],
        kv_of: Callable[[Request], bytes],
        hazard: Hazard = never,
    ) -> None:
        self._port, self._clock, self._physical = accelerators, clock, physical
        self._incarnation, self._telemetry = incarnation, telemetry
        self._model_of, self._kv_of, self._hazard = model_of, kv_of, hazard
        self._devices: dict[int, Device] = {}
        self._by_process: dict[int, Device] = {}
        self._queue: list[Batch] = []
        self._known: set[int] = set()  # membership only, never iterated
        self._results: dict[int, Inference] = {}
        self._leases = 0
        self._spawned = 0

    def want(self, requests: Sequence[Request]) -> None:
        """Take what is admitted and not known yet; forget what is no longer asked for."""
        wanted = {request.id for request in requests}
        self._results = {id_: result for id_, result in self._results.items() if id_ in wanted}
        groups: dict[tuple[int, int, int], list[Request]] = {}
        for request in requests:
            if request.id not in self._known:
                self._known.add(request.id)
                groups.setdefault((request.model, len(request.tokens), request.position), []).append(request)
        for (model, _, _), group in groups.items():
            size = 1 if self._hazard("router.tiny_batch", group[0].id) else self._physical.batch_max
            for start in range(0, len(group), size):
                part = group[start : start + size]
                items = tuple(InferenceItem(r.id, r.position, r.tokens, self._kv_of(r)) for r in part)
                self._queue.append(Batch(self._model_of(model), part, items))

    def results(self, requests: Sequence[Request]) -> tuple[Inference, ...] | None:
        """The results of these requests in their order; None while one is missing."""
        if any(request.id not in self._results for request in requests):
            return None
        return tuple(self._results[request.id] for request in requests)

    def collect(self) -> None:
        for process, data in self._port.poll():
            device = self._by_process.get(process)
            if data is None:
                self._by_process.pop(process, None)
                if device is not None and device.process == process:
                    self._failed(device, "exit")
                continue
            try:
                frame = unpack(data)
            except FrameRefused:
                self._telemetry.emit("garbled", worker=process)
                continue
            current = device is not None and device.process == process and device.batch is not None
            if not isinstance(frame, Inferred) or not current or frame.lease != (device.lease if device else 0):
                self._telemetry.emit("infer_stale", process=process, lease=getattr(frame, "lease", 0))
                continue
            assert device is not None
            self._answered(device, frame)

    def advance(self) -> None:
        """Leases, and the next batch for every device that is free."""
        now = self._clock.now()
        for device in list(self._devices.values()):
            if device.batch is not None and now >= device.deadline:
                device.batch.expiries += 1
                self._failed(device, "lease")
        waiting, self._queue = self._queue, []
        for batch in waiting:
            chosen = self._choose(batch, now)
            if chosen is None:
                self._queue.append(batch)
            else:
                self._send(chosen, batch, now)

    def deadline(self) -> int | None:
        """When `advance` has something to do: a lease, or a device that batches wait for."""
        times = [device.deadline for device in self._devices.values() if device.batch is not None]
        if self._queue:
            now = self._clock.now()
            times += [d.ready_at for d in self._devices.values() if d.batch is None and d.ready_at > now]
        return min(times, default=None)

    def _choose(self, batch: Batch, now: int) -> Device | None:
        """The preferred device that may have this batch; None to wait for one that is busy."""
        present = self._port.present()
        for device in self._devices.values():
            if device.listed != (device.number in present):
                device.listed = not device.listed
                self._telemetry.emit("device_listed" if device.listed else "device_missing", device=device.number)
        for number in present:
            device = self._devices.setdefault(number, Device(number))
            if (batch.first and number != CPU) or now < device.ready_at:
                continue
            return device if device.batch is None else None
        return None

    def _send(self, device: Device, batch: Batch, now: int) -> None:
        if device.process < 0:
            self._spawned += 1
            device.process = self._incarnation * 1_000_000 + 500_000 + self._spawned
            self._by_process[device.process] = device
            self._port.spawn(device.number, device.process)
            self._telemetry.emit("device_spawned", process=device.process, device=device.number)
        self._leases += 1
        device.lease, device.batch = self._leases, batch
        device.deadline = now + (self._physical.inference_lease_ns << min(batch.expiries, MAX_DOUBLINGS))
        self._telemetry.emit(
            "infer_sent",
            process=device.process,
            device=device.number,
            lease=device.lease,
            requests=len(batch.items),
        )
        frame = Infer(self._incarnation, device.process, device.lease, batch.model, batch.items)
        self._port.send(device.process, pack(frame))

    def _answered(self, device: Device, frame: Inferred) -> None:
        batch = device.batch
        assert batch is not None
        if frame.failure or [r.request for r in frame.results] != [item.request for item in batch.items]:
            self._failed(device, frame.failure or "device")
            return
        device.batch = None
        self._telemetry.emit(
            "infer_received",
            process=device.process,
            device=device.number,
            lease=frame.lease,
            requests=len(frame.results),
        )
        sure = device.trusted and not self._hazard("router.second_opinion", batch.requests[0].id)
        if device.number != CPU and (self._physical.check_answers or not sure):
            batch.first, batch.first_device, batch.first_process = frame.results, device.number, device.process
            self._queue.insert(0, batch)
            return
        # What a process answered says nothing any more once it is lost.
        confirmed = batch.first == frame.results and self._stands(batch)
        if batch.first:
            self._compare(batch, frame.results)
        for request, result in zip(batch.requests, frame.results, strict=True):
            self._results[request.id] = result
            served = batch.first_device if confirmed else device.number
            self._telemetry.emit("inferred", request=request.id, agent=request.agent, device=served)

    def _stands(self, batch: Batch) -> bool:
        """Whether the process that gave the batch's first answer is still its device's."""
        return bool(batch.first) and self._devices[batch.first_device].process == batch.first_process

    def _compare(self, batch: Batch, confirmed: tuple[Inference, ...]) -> None:
        """An accelerator's answer beside the CPU's: trust it, or not any more."""
        device = self._devices[batch.first_device]
        wrong = [c.request for f, c in zip(batch.first, confirmed, strict=True) if f != c]
        for request in wrong:
            self._telemetry.emit("infer_disagreed", request=request, device=device.number)
        if not self._stands(batch):
            return
        if wrong:
            self._failed(device, "wrong")
        elif not device.trusted:
            device.trusted, device.failures = True, 0
            self._telemetry.emit("device_trusted", device=device.number)

    def _failed(self, device: Device, cause: str) -> None:
        """Kill its process, keep away from it for a while, and let its batch run elsewhere."""
        now = self._clock.now()
        self._telemetry.emit("device_lost", process=device.process, device=device.number, cause=cause)
        if device.process >= 0 and cause != "exit":
            self._port.kill(device.process)
        device.process = -1
        if device.batch is not None:
            self._queue.insert(0, device.batch)
            device.batch = None
        if device.number == CPU:
            device.ready_at = now + self._physical.respawn_ns
            return
        device.trusted = False
        device.ready_at = now + (self._physical.probe_ns << min(device.failures, MAX_DOUBLINGS))
        device.failures += 1
        self._telemetry.emit("device_quarantined", device=device.number, until=device.ready_at)
