"""Repairs under fault: the worker that restores an agent, or the device that takes over, dies at it.

Guards the second step of every repair: what was redone counts for nothing until its answer is there, and who redoes it
is replaced like any other. A repair is known by what the runtime sends: an order with an agent's base, a request that
was sent before, a batch for a device whose process was lost before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Raw

from faults.deaths import WorkerDied
from faults.injector import Fields, Injector
from faults.plan import Fault
from faults.wrappers.models import CPU
from runtime.errors import FrameRefused
from runtime.frames import Infer, StepArguments, Work, unpack
from runtime.ports import Accelerators, Arrival, Guest, Guests, GuestStep, Replayed, Workers
from runtime.state import AgentSpec

KIND = "repair.kill"


class Repairs:
    """What a run's wrappers share: who is to die in a replay, and what devices have been given, by all incarnations."""

    def __init__(self) -> None:
        self.requests: set[int] = set()  # membership only, never iterated
        self.processes: dict[int, int] = {}  # how many each device has had
        self._marked: dict[tuple[int, int], tuple[int, Fields]] = {}

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> Repairs | None:
        """None for a plan in which no repair is struck."""
        return cls() if any(fault.kind == KIND for fault in faults) else None

    def mark(self, worker: int, agent: int, index: int, fields: Fields) -> None:
        self._marked[worker, agent] = (index, fields)

    @property
    def pending(self) -> bool:
        """Whether anybody is to die in a replay."""
        return bool(self._marked)

    def take(self, worker: int, agent: int) -> tuple[int, Fields] | None:
        return self._marked.pop((worker, agent), None)


class RepairWorkers:
    """Workers of which one that is sent an agent's base may die of it."""

    def __init__(self, inner: Workers, injector: Injector, repairs: Repairs) -> None:
        self._inner, self._injector, self._repairs = inner, injector, repairs

    def spawn(self, worker: int) -> None:
        self._inner.spawn(worker)

    def kill(self, worker: int) -> None:
        self._inner.kill(worker)

    def poll(self) -> list[Arrival]:
        return self._inner.poll()

    def send(self, worker: int, frame: bytes) -> None:
        if self._injector.is_armed_kind(KIND) and self._struck(worker, frame):
            self._inner.kill(worker)
            return
        self._inner.send(worker, frame)

    def _struck(self, worker: int, frame: bytes) -> bool:
        """Whether this frame is the worker's end; one that is to die later, in a replay, is marked."""
        work = _unpacked(frame)
        if not isinstance(work, Work):
            return False
        for order in work.orders:
            record = order.record
            if order.base is None or record.kind == "init":
                continue
            for index, fault in self._injector.armed_at(KIND, record.tick, record.agent):
                fields: Fields = {"worker": worker, "lease": work.lease, "tick": record.tick, "agent": record.agent}
                fields |= {"during": str(fault.get("during")), "replayed": len(order.base.replay)}
                if fault.get("during") == "restore":
                    self._injector.fire(index, fields)
                    return True
                if order.base.replay:
                    self._repairs.mark(worker, record.agent, index, fields)
        return False


class RepairGuests:
    """Instances of one worker; the first step that is replayed for a marked agent is the worker's last."""

    def __init__(self, inner: Guests, injector: Injector, repairs: Repairs, worker: int) -> None:
        self._inner, self._injector, self._repairs, self._worker = inner, injector, repairs, worker

    def instantiate(self, agent: int, spec: AgentSpec, wasm: bytes, libraries: Sequence[bytes] = ()) -> Guest:
        guest = self._inner.instantiate(agent, spec, wasm, libraries)
        return _Repaired(guest, self._injector, self._repairs, (self._worker, agent))


class _Repaired:
    def __init__(self, inner: Guest, injector: Injector, repairs: Repairs, who: tuple[int, int]) -> None:
        self._inner, self._injector, self._repairs, self._who = inner, injector, repairs, who

    def run(self, arguments: StepArguments) -> GuestStep:
        step = self._inner.run(arguments)
        if not self._repairs.pending:
            return step
        worker, agent = self._who
        marked = self._repairs.take(worker, agent)
        if marked is not None and self._injector.is_armed(marked[0]):
            index, fields = marked
            if arguments.tick < int(fields["tick"]):
                self._injector.fire(index, fields)
                raise WorkerDied(worker)
        return step

    def replay(self, records: Sequence[bytes | Raw], fuel: int) -> Replayed | None:
        """One by one where somebody is to die in a replay."""
        return None if self._repairs.pending else self._inner.replay(records, fuel)

    def memory(self) -> memoryview:
        return self._inner.memory()

    def globals(self) -> list[int]:
        return self._inner.globals()

    def types(self) -> Sequence[int]:
        return self._inner.types()

    def restore(self, memory: bytes, globals: Sequence[int]) -> None:
        self._inner.restore(memory, globals)

    def close(self) -> None:
        self._inner.close()


class RepairDevices:
    """Devices of which one that takes over, or is tried again, may die of it; the CPU as well."""

    def __init__(self, inner: Accelerators, injector: Injector, repairs: Repairs, tick_of: Callable[[], int]) -> None:
        self._inner, self._injector, self._repairs, self._tick_of = inner, injector, repairs, tick_of
        self._devices: dict[int, int] = {}

    def present(self) -> list[int]:
        return self._inner.present()

    def spawn(self, device: int, process: int) -> None:
        self._devices[process] = device
        self._repairs.processes[device] = self._repairs.processes.get(device, 0) + 1
        self._inner.spawn(device, process)

    def kill(self, process: int) -> None:
        self._inner.kill(process)

    def poll(self) -> list[Arrival]:
        return self._inner.poll()

    def send(self, process: int, frame: bytes) -> None:
        infer = _unpacked(frame)
        dies = isinstance(infer, Infer) and self._struck(process, infer)
        if isinstance(infer, Infer):
            self._repairs.requests.update(item.request for item in infer.items)
        if dies:
            self._inner.kill(process)
        else:
            self._inner.send(process, frame)

    def _struck(self, process: int, infer: Infer) -> bool:
        device = self._devices[process]
        for index, fault in self._injector.armed(KIND):
            during, request = fault.get("during"), fault.number("request")
            again = request in self._repairs.requests and any(item.request == request for item in infer.items)
            tried = device != CPU and self._repairs.processes[device] > 1 and self._tick_of() >= fault.number("tick")
            if (during == "failover" and again) or (during == "probe" and tried):
                fields: Fields = {"process": process, "device": device, "lease": infer.lease, "during": str(during)}
                self._injector.fire(index, fields)
                return True
        return False


def _unpacked(frame: bytes) -> object:
    try:
        return unpack(frame)
    except FrameRefused:
        return None
