"""The one place where adapters and fault wrappers are put together: the ports of one incarnation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from faults.catalogue import kind_of
from faults.hazards import Hazards
from faults.injector import Injector, Later
from faults.plan import Plan
from faults.wrappers.accelerators import FaultyAccelerators
from faults.wrappers.arrivals import WatchedGateway
from faults.wrappers.clock import FaultyClock
from faults.wrappers.crash import KINDS as MORTAL
from faults.wrappers.crash import Fuse, mortal
from faults.wrappers.disk import KINDS as DISK_KINDS
from faults.wrappers.disk import FaultyStorage
from faults.wrappers.executions import StruckGuests
from faults.wrappers.gateway import FaultyGateway
from faults.wrappers.guests import FaultyGuests, VisibleFaults, WorkerSite
from faults.wrappers.links import LinkedGateway, LinkedWorkers, Links
from faults.wrappers.memory import TornMemory
from faults.wrappers.model_files import KINDS as MODEL_FILE_KINDS
from faults.wrappers.model_files import FaultyModelFiles
from faults.wrappers.models import DeviceSite, FaultyModels
from faults.wrappers.permuted import Permutation, permuted
from faults.wrappers.repairs import RepairDevices, RepairGuests, Repairs, RepairWorkers
from faults.wrappers.slots import FaultySlots
from faults.wrappers.workers import FaultyWorkers
from harness.adapters.accelerators import CPU, Made, Meter, MeteredModels, SimAccelerators
from harness.adapters.artifacts import ObservedArtifacts
from harness.adapters.disk import SimDisk
from harness.adapters.gateway import SimClient
from harness.adapters.guests import ObservedGuests
from harness.adapters.loop import Loop
from harness.adapters.memory import SimMemory, WorkerMemory
from harness.adapters.models import ObservedModels
from harness.adapters.real_devices import real_device
from harness.adapters.workers import SimWorkers, Timing
from harness.history import LINES_MAX, Census, History, Life
from runtime.inference import DeviceCore, OrtModels
from runtime.orchestrator import Orchestrator
from runtime.ports import Accelerators, Arrival, Gateway, Guests, Hazard, Ports, Storage, Workers, never
from runtime.telemetry import Record
from runtime.wasm import WasmGuests
from runtime.wasm.agent_wasi import AgentLine
from runtime.wasm.capabilities import Capability
from runtime.wasm.compiled import DEFAULT, ModuleCache
from runtime.wasm.signatures import Demand
from runtime.wasm.trust import moment
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
    pools: list[SimWorkers] = []  # of all incarnations so far, given anew for each run
    counted: bool = False  # whether port calls are counted though nothing can die at one
    strays: list[Arrival] = []  # answers of dead incarnations' workers that nobody has read yet
    instances: Counter[tuple[int, int]] = Counter()  # open ones by (worker, agent), given anew for each run
    hazards: bool = True  # whether rare but legal choices are made in runs with faults
    repairs: Repairs | None = None  # where faults strike repairs
    clock: FaultyClock | None = None  # the machine's, where faults strike it


class ModuleArtifacts:
    """The scenario's modules by digest."""

    def __init__(self, scenario: Scenario) -> None:
        self._modules = scenario.modules

    def get(self, digest: str) -> bytes:
        return self._modules[digest]


class ModelArtifacts:
    """The scenario's models by digest."""

    def __init__(self, scenario: Scenario) -> None:
        self._models = scenario.models()

    def get(self, digest: str) -> bytes:
        return self._models[digest]


@cache
def _engine() -> OrtModels:
    """One for all simulated devices: a decoder keeps nothing between runs, and loading costs real time."""
    return OrtModels(keep=True)


class Incarnation:
    """One orchestrator's ports, and their end."""

    def __init__(self) -> None:
        self.ports: Ports
        self.fuse: Fuse
        self.devices: Callable[[], tuple[tuple[int, int], ...]] = lambda: ()
        self.segments: Callable[[], tuple[int, ...]] = lambda: ()
        self._closing: list[Callable[[], None]] = []
        self._orchestrator: Orchestrator | None = None

    def bind(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    def where(self) -> tuple[int, str]:
        """Tick and phase of the orchestrator, for who addresses its port calls."""
        if self._orchestrator is None:
            return -1, "boot"
        return self._orchestrator.tick, self._orchestrator.phase

    def tick(self) -> int:
        """The orchestrator's open tick, 0 before the first."""
        return 0 if self._orchestrator is None else max(self._orchestrator.tick, 0)

    def on_close(self, *actions: Callable[[], None]) -> None:
        self._closing += actions

    def close(self) -> None:
        for action in self._closing:
            action()


def incarnate(world: World, disk: SimDisk, client: SimClient) -> Incarnation:
    """The ports of the next incarnation; the disk and the client are the same for all."""
    loop, history, injector = world.loop, world.history, world.injector
    incarnation = Incarnation()
    capacities = tuple(buffer.capacity for buffer in world.scenario.config(world.plan.seed).buffers)
    segments = SimMemory()
    incarnation.segments = segments.segments
    memory = FaultySlots(segments, injector, capacities)

    def later(delay_ns: int, action: Callable[[], None]) -> None:
        def act() -> None:
            action()
            world.wake()

        loop.later(delay_ns, act)

    def note(kind: str, worker: int) -> None:
        history.trace.append(Record(loop.now(), kind, worker // 1_000_000, -1, {"worker": worker}))

    workers = _workers(world, memory, note)
    repaired: Workers = workers if world.repairs is None else RepairWorkers(workers, injector, world.repairs)

    def strays(arrivals: list[Arrival]) -> None:
        if world.pools[-1] is workers:
            world.strays.extend(arrivals)
        else:
            world.pools[-1].stray(arrivals)

    tick_of = incarnation.tick
    links = Links(injector, later, tick_of)

    if world.clock is not None:
        world.clock.tick_of = tick_of
    # What no fault of the plan can strike has nothing around it: these are calls of every tick.
    answering: Workers = LinkedWorkers(repaired, links) if links.active else repaired
    watched: Gateway = WatchedGateway(client, injector, history.owners) if history.owners else client
    gateway: Gateway = LinkedGateway(watched, links, tick_of) if links.active else watched
    if world.plan.faults:
        answering = faulty_workers = FaultyWorkers(answering, injector, later, memory, tick_of)
        gateway = faulty_gateway = FaultyGateway(gateway, injector, later)
        incarnation.on_close(faulty_workers.close, faulty_gateway.close)
    permutation = Permutation(injector, later, tick_of)
    incarnation.fuse = Fuse(injector, incarnation.where, len(history.crashes), lambda ns: _stall(loop, ns))
    inner = Ports(
        world.clock or loop,
        answering,
        memory,
        _storage(world, incarnation, disk),
        gateway,
        _hazard(world) if world.hazards else never,
        _devices(world, incarnation, later, note) if world.scenario.config(world.plan.seed).models else None,
        artifacts=ModuleArtifacts(world.scenario),
    )
    mortals = world.counted or injector.is_armed_kind(*MORTAL)  # a successor may have nothing to die of any more
    inner = permuted(inner, permutation) if Permutation.strikes(injector) else inner
    incarnation.ports = mortal(inner, incarnation.fuse) if mortals else inner
    incarnation.on_close(lambda: workers.orphan(strays), links.close, permutation.close)
    return incarnation


def _workers(world: World, memory: FaultySlots, note: Callable[[str, int], None]) -> SimWorkers:
    """The pool of one incarnation, in which answers to earlier ones may still arrive."""
    loop, history, timing = world.loop, world.history, world.timing

    def live(worker: int, alive: bool) -> None:
        history.lives.append(Life(loop.now(), worker, alive))

    workers = SimWorkers(loop, timing, _cores(world, memory), world.wake, note, timing.slowness_of, live)
    world.pools.append(workers)
    workers.stray(world.strays)
    world.strays.clear()
    return workers


def _stall(loop: Loop, for_ns: int) -> None:
    loop.lag_ns += for_ns


def _storage(world: World, incarnation: Incarnation, disk: SimDisk) -> Storage:
    """The disk, behind its faults where the plan has any that strike at a call."""
    kinds = {fault.kind for fault in world.plan.faults}
    if not kinds & set(DISK_KINDS) and all(kind_of(kind).class_ != "failstop" for kind in kinds):
        return disk
    tick = lambda: incarnation.where()[0]  # noqa: E731
    return FaultyStorage(disk, world.injector, tick, world.loop.now, world.history.seen)


def census(world: World, present: Incarnation) -> Census:
    """What is held now: workers of all incarnations, the rest of the present one, which alone could hold it."""
    workers = tuple(sorted(worker for pool in world.pools for worker in pool.alive()))
    instances = tuple(
        (worker, agent, count) for (worker, agent), count in sorted(world.instances.items()) if worker in workers
    )
    return Census(workers, present.devices(), present.segments(), instances)


def _devices(world: World, incarnation: Incarnation, later: Later, note: Callable[[str, int], None]) -> Accelerators:
    """The devices of one incarnation: the runtime's own cores over metered, faulty and observed models."""
    loop, injector, log = world.loop, world.injector, world.history.inferences
    clock, devices = loop, world.timing.devices
    artifacts = ModelArtifacts(world.scenario)
    spoiling = bool(injector.faults(*MODEL_FILE_KINDS))
    timings, physical = devices.timings(), world.plan.physical
    declared = {model.name: model.digest for model in world.scenario.config(world.plan.seed).models}
    hot = tuple(declared[name] for name in physical.hot_models if name in declared)
    sites: dict[int, DeviceSite] = {}

    def made(device: int, process: int) -> Made:
        meter, loads = Meter(), world.history.loads
        files = FaultyModelFiles(artifacts, injector, sites[process]) if spoiling else artifacts
        seen = ObservedArtifacts(files, "device", process, loop.now, loads)
        real = device != CPU and devices.provider is not None
        models = real_device(devices).models() if real else _engine()
        metered = MeteredModels(models, timings[device].memory, meter)
        faulty = FaultyModels(metered, injector, sites[process], clock)
        observed = ObservedModels(faulty, process, device, process // 1_000_000, loop.now, log, loads)
        budget = physical.host_models if device == CPU else physical.device_models
        return Made(DeviceCore(process, observed, seen, budget, hot), meter)

    def stretch(process: int, cost_ns: int) -> int:
        return wrapped.stretch(process, cost_ns)

    simulated = SimAccelerators(loop, devices, made, world.wake, note, stretch, bool(hot))
    wrapped = FaultyAccelerators(simulated, injector, sites, clock, later, lambda: max(incarnation.where()[0], 0))
    incarnation.devices = simulated.alive
    incarnation.on_close(simulated.orphan, wrapped.close)
    if world.repairs is None:
        return wrapped
    return RepairDevices(wrapped, injector, world.repairs, lambda: max(incarnation.where()[0], 0))


def _hazard(world: World) -> Hazard:
    """Hazards belong to the faults: a plan without transparent ones runs without them."""
    faulty = any(kind_of(fault.kind).class_ == "transparent" for fault in world.plan.faults)
    return Hazards(world.plan.seed, world.history.hazards) if faulty else never


@cache
def _modules(budget: int | None) -> ModuleCache:
    """The process's own cache of compiled modules, or the one with this budget in bytes."""
    return DEFAULT if budget is None else ModuleCache(budget)


def _demand(world: World) -> Demand | None:
    """Signatures that count at the time at which the run begins, where the scenario asks for them."""
    trust = world.scenario.trust
    return None if trust is None else Demand(trust, moment(world.scenario.config(world.plan.seed).epoch_ms))


@cache
def _offered(capabilities: Callable[[], tuple[Capability, ...]]) -> tuple[Capability, ...]:
    """What a scenario's agents are offered, made once."""
    return capabilities()


def _cores(world: World, memory: FaultySlots) -> Callable[[int], WorkerCore]:
    """Makes a worker's core: the runtime's own, over observed and faulty ports."""
    loop, history, injector = world.loop, world.history, world.injector
    artifacts = ModuleArtifacts(world.scenario)
    offered = _offered(world.scenario.capabilities)
    lines = history.lines

    def log(line: AgentLine) -> None:
        if len(lines) < LINES_MAX:
            lines.append(line)

    modules = _modules(world.scenario.cache_bytes)
    guests = WasmGuests(demand=_demand(world), cache=modules, capabilities=offered, log=log)
    visible = VisibleFaults(world.plan.faults)
    struck = StruckGuests.strikes(world.plan.faults)

    def core_of(worker: int) -> WorkerCore:
        site = WorkerSite(worker)
        faulty: Guests = FaultyGuests(guests, injector, site, visible)
        if struck:
            faulty = StruckGuests(faulty, injector, worker)
        if world.repairs is not None:
            faulty = RepairGuests(faulty, injector, world.repairs, worker)
        loads = history.loads
        observed = ObservedGuests(
            faulty, worker, worker // 1_000_000, loop.now, history.crossings, world.instances, loads
        )
        shared = TornMemory(WorkerMemory(memory, worker, loop.now, history.stores), injector, site, memory)
        return WorkerCore(worker, observed, shared, ObservedArtifacts(artifacts, "worker", worker, loop.now, loads))

    return core_of
