"""Simulated devices for inference: the runtime's own DeviceCore in this process, with an accelerator's times and death.

Device 0 is the CPU; device 1, `sim-accel`, runs the same kernels under another device's latencies, memory budget and
deaths, all in virtual time. Nothing about it is a measurement of a real accelerator: whatever shows it says
`simulated`. A process handles one frame at a time; one killed before its time is over has answered nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from faults.deaths import DeviceDied
from harness.adapters.loop import Loop
from runtime.errors import ModelFailed
from runtime.frames import InferenceItem
from runtime.inference.process import Patience
from runtime.inference.providers import Provider
from runtime.ports import Arrival, Decoder, Models
from runtime.state import Inference

CPU, SIM_ACCEL = 0, 1
DEVICE_NAMES = {CPU: "cpu", SIM_ACCEL: "sim-accel (simulated)"}
FLOATS_PER_BYTE = 4  # a device holds the int8 KV cache as float32


class DeviceTiming(Struct, frozen=True, kw_only=True):
    """One device's virtual costs in ns, and its memory in bytes."""

    spawn_ns: int
    launch_ns: int
    ns_per_token: int
    load_ns_per_kib: int
    memory: int


class Devices(Struct, frozen=True, kw_only=True):
    """The devices of a simulated machine: the CPU, and the accelerator unless it is None.

    With a `provider` the accelerator's answers are those of a real device in a process of its own, which may take the
    `patience` of wall time; its times in the run are still these.
    """

    cpu: DeviceTiming = DeviceTiming(
        spawn_ns=1_000_000, launch_ns=100_000, ns_per_token=20_000, load_ns_per_kib=430, memory=1 << 36
    )
    accelerator: DeviceTiming | None = DeviceTiming(
        spawn_ns=3_000_000, launch_ns=200_000, ns_per_token=2_000, load_ns_per_kib=1_000, memory=1 << 30
    )
    pipe_ns: int = 20_000
    reap_ns: int = 100_000
    provider: Provider | None = None
    patience: Patience = Patience()

    def timings(self) -> dict[int, DeviceTiming]:
        return {CPU: self.cpu} if self.accelerator is None else {CPU: self.cpu, SIM_ACCEL: self.accelerator}


class Core(Protocol):
    """What is driven here: a `runtime.inference` DeviceCore."""

    garbled: int

    @property
    def evicted(self) -> int: ...

    def warm(self) -> None: ...

    def handle(self, frame: bytes) -> list[bytes]: ...

    def close(self) -> None: ...


class Meter:
    """What a process has done, as its virtual time is charged, and the memory it holds."""

    def __init__(self) -> None:
        self.loaded = 0
        self.tokens = 0
        self.held = 0


class MeteredModels:
    """The `Models` port of one process within its device's memory; raises ModelFailed("memory") beyond it."""

    def __init__(self, inner: Models, budget: int, meter: Meter) -> None:
        self._inner, self._budget, self._meter = inner, budget, meter

    def load(self, digest: str, onnx: bytes) -> Decoder:
        if self._meter.held + len(onnx) > self._budget:
            raise ModelFailed("memory", f"{len(onnx)} bytes of weights beside {self._meter.held}", digest[:12])
        decoder = self._inner.load(digest, onnx)
        self._meter.held += len(onnx)
        self._meter.loaded += len(onnx)
        return _MeteredDecoder(decoder, len(onnx), self._budget, self._meter)


class _MeteredDecoder:
    def __init__(self, inner: Decoder, size: int, budget: int, meter: Meter) -> None:
        self._inner, self._size, self._budget, self._meter = inner, size, budget, meter

    def run(self, items: Sequence[InferenceItem]) -> list[Inference]:
        caches = FLOATS_PER_BYTE * sum(len(item.kv) for item in items)
        if self._meter.held + caches > self._budget:
            raise ModelFailed("memory", f"{caches} bytes of KV cache beside {self._meter.held}", "run")
        self._meter.tokens += sum(len(item.tokens) for item in items)
        return self._inner.run(items)

    def close(self) -> None:
        self._meter.held -= self._size
        self._inner.close()


class _Process:
    def __init__(self, device: int, core: Core, meter: Meter) -> None:
        self.device, self.core, self.meter = device, core, meter
        self.alive = True
        self.ready = False
        self.busy = False
        self.pipe: deque[bytes] = deque()
        self.garbled = 0
        self.evicted = 0


class Made(NamedTuple):
    """A process's core, and the meter that its models are charged to."""

    core: Core
    meter: Meter


class SimAccelerators:
    """The `Accelerators` port of one incarnation.

    `made(device, process)` gives a process's core; `stretch(process, ns)` says how long its work really takes.
    """

    def __init__(
        self,
        loop: Loop,
        devices: Devices,
        made: Callable[[int, int], Made],
        wake: Callable[[], None],
        note: Callable[[str, int], None],
        stretch: Callable[[int, int], int] = lambda process, cost_ns: cost_ns,
        hot: bool = False,
    ) -> None:
        """`hot` says that processes have models to load as they start."""
        self._loop, self._devices, self._made = loop, devices, made
        self._timings: Mapping[int, DeviceTiming] = devices.timings()
        self._wake, self._note, self._stretch = wake, note, stretch
        self._processes: dict[int, _Process] = {}
        self._arrivals: list[Arrival] = []
        self._orphaned, self._hot = False, hot

    def present(self) -> list[int]:
        return sorted(self._timings, reverse=True)

    def spawn(self, device: int, process: int) -> None:
        state = self._processes[process] = _Process(device, *self._made(device, process))

        def ready() -> None:
            state.ready = True
            self._work(process, state)

        def begun() -> None:
            """Hot models are loaded before the first batch is taken."""
            if not state.alive:
                return
            try:
                state.core.warm()
            except DeviceDied:
                self._die(process, state)
                return
            self._loop.later(state.meter.loaded * self._timings[device].load_ns_per_kib >> 10, ready)

        # Where nothing is loaded at the start there is one event, not two.
        self._loop.later(self._timings[device].spawn_ns, begun if self._hot else ready)

    def send(self, process: int, frame: bytes) -> None:
        state = self._processes[process]
        if not state.alive:
            return

        def arrive() -> None:
            state.pipe.append(frame)
            self._work(process, state)

        self._loop.later(self._devices.pipe_ns, arrive)

    def poll(self) -> list[Arrival]:
        arrivals, self._arrivals = self._arrivals, []
        return arrivals

    def kill(self, process: int) -> None:
        state = self._processes[process]
        if state.alive:
            self._die(process, state)

    def orphan(self) -> None:
        """The orchestrator died: its device processes end, and nothing of theirs reaches a successor."""
        self._orphaned = True
        for state in self._processes.values():
            if state.alive:
                state.alive = False
                state.core.close()

    def alive(self) -> tuple[tuple[int, int], ...]:
        """(device, process) of the processes that live, in order."""
        return tuple(sorted((s.device, process) for process, s in self._processes.items() if s.alive))

    def live(self) -> int:
        return sum(state.alive for state in self._processes.values())

    def _work(self, process: int, state: _Process) -> None:
        if not (state.alive and state.ready and state.pipe) or state.busy:
            return
        data = state.pipe.popleft()
        meter, loaded, tokens = state.meter, state.meter.loaded, state.meter.tokens
        died = False
        frames: list[bytes] = []
        try:
            frames = state.core.handle(data)
        except DeviceDied:
            died = True
        if state.core.garbled > state.garbled:
            state.garbled = state.core.garbled
            self._note("garbled", process)
        for _ in range(state.core.evicted - state.evicted):
            self._note("model_evicted", process)
        state.evicted = state.core.evicted
        timing = self._timings[state.device]
        work = timing.launch_ns + (meter.tokens - tokens) * timing.ns_per_token
        work += (meter.loaded - loaded) * timing.load_ns_per_kib >> 10
        state.busy = True

        def finish() -> None:
            state.busy = False
            if not state.alive:
                return
            if died:
                self._die(process, state)
                return
            for frame in frames:
                self._put(self._devices.pipe_ns, Arrival(process, frame))
            self._work(process, state)

        self._loop.later(self._stretch(process, work), finish)

    def _die(self, process: int, state: _Process) -> None:
        state.alive = False
        state.core.close()
        self._put(self._devices.reap_ns, Arrival(process, None))

    def _put(self, delay_ns: int, arrival: Arrival) -> None:
        def arrive() -> None:
            if not self._orphaned:
                self._arrivals.append(arrival)
                self._wake()

        self._loop.later(delay_ns, arrive)
