"""The one place where adapters and fault wrappers are put together: the ports of one incarnation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from faults.injector import Injector
from faults.plan import Plan
from harness.adapters.disk import CrashPolicy, SimDisk, keep_all
from harness.adapters.gateway import SimClient
from harness.adapters.guests import ObservedGuests
from harness.adapters.loop import Loop
from harness.adapters.memory import SimMemory, WorkerMemory
from harness.adapters.workers import SimWorkers, Timing
from harness.history import History
from runtime.orchestrator import Orchestrator
from runtime.ports import Ports
from runtime.telemetry import Record
from runtime.wasm import WasmGuests
from runtime.worker import WorkerCore
from scenarios.base import Scenario


class World(NamedTuple):
    """What all incarnations of a run share."""

    loop: Loop
    timing: Timing
    scenario: Scenario
    plan: Plan
    injector: Injector
    history: History
    wake: Callable[[], None]


class LoopClock:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def now(self) -> int:
        return self._loop.now()


class ModuleArtifacts:
    """The scenario's modules by digest."""

    def __init__(self, scenario: Scenario) -> None:
        self._modules = scenario.modules

    def get(self, digest: str) -> bytes:
        return self._modules[digest]


class Incarnation:
    """One orchestrator's ports, and their end."""

    def __init__(self, ports: Ports, workers: SimWorkers) -> None:
        self.ports = ports
        self._workers = workers
        self._orchestrator: Orchestrator | None = None

    def bind(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    def where(self) -> tuple[int, str]:
        """Tick and phase of the orchestrator, for who addresses its port calls."""
        if self._orchestrator is None:
            return -1, "boot"
        return self._orchestrator.tick, self._orchestrator.phase

    def crash_policy(self) -> CrashPolicy:
        return keep_all

    def close(self) -> None:
        self._workers.orphan()


def incarnate(world: World, disk: SimDisk, client: SimClient) -> Incarnation:
    """The ports of the next incarnation; the disk and the client are the same for all."""
    loop, history = world.loop, world.history
    memory = SimMemory()
    artifacts = ModuleArtifacts(world.scenario)
    guests = WasmGuests()

    def core_of(worker: int) -> WorkerCore:
        incarnation = worker // 1_000_000
        observed = ObservedGuests(guests, worker, incarnation, loop.now, history.guests)
        return WorkerCore(worker, observed, WorkerMemory(memory, worker, loop.now, history.stores), artifacts)

    def note(kind: str, worker: int) -> None:
        history.trace.append(Record(loop.now(), kind, worker // 1_000_000, -1, {"worker": worker}))

    workers = SimWorkers(loop, world.timing, core_of, world.wake, note)
    return Incarnation(Ports(LoopClock(loop), workers, memory, disk, client), workers)


