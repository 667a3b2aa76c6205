"""Simulated workers: the runtime's own WorkerCore in this process, with pipes and work that take virtual time.

A worker handles one frame at a time. A frame costs `frame_ns` and its fuel; its answer is written when that time is
over, so a worker killed before has written nothing. What is in a pipe at a kill still arrives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from faults.deaths import WorkerDied, WorkerHung
from harness.adapters.accelerators import Devices
from harness.adapters.loop import Loop
from runtime.ports import Arrival
from runtime.worker import WorkerCore


class Timing(Struct, frozen=True, kw_only=True):
    """Virtual costs in ns; worker n takes `slowness[n modulo its length]` times as long as its work costs."""

    pipe_ns: int = 20_000
    spawn_ns: int = 800_000
    frame_ns: int = 50_000
    ns_per_fuel: int = 1
    reap_ns: int = 100_000
    sync_ns: int = 400_000
    client_ns: int = 100_000
    restart_ns: int = 2_000_000
    devices: Devices = Devices()
    slowness: tuple[int, ...] = (1,)

    def slowness_of(self, worker: int) -> int:
        return self.slowness[worker % len(self.slowness)]


class _Worker:
    def __init__(self, core: WorkerCore, slowness: int) -> None:
        self.core, self.slowness = core, slowness
        self.alive = True
        self.ready = False
        self.free_at = 0
        self.died_at: int | None = None
        self.pipe: deque[bytes] = deque()
        self.garbled = 0


class SimWorkers:
    """The `Workers` port of one incarnation. `slowness(worker)` multiplies the time of all its work."""

    def __init__(
        self,
        loop: Loop,
        timing: Timing,
        core_of: Callable[[int], WorkerCore],
        wake: Callable[[], None],
        note: Callable[[str, int], None],
        slowness: Callable[[int], int] = lambda worker: 1,
        live: Callable[[int, bool], None] = lambda worker, alive: None,
    ) -> None:
        self._loop, self._timing, self._core_of = loop, timing, core_of
        self._wake, self._note, self._slowness, self._live = wake, note, slowness, live
        self._workers: dict[int, _Worker] = {}
        self._arrivals: list[Arrival] = []
        self._strays: Callable[[list[Arrival]], None] | None = None

    def spawn(self, worker: int) -> None:
        state = self._workers[worker] = _Worker(self._core_of(worker), self._slowness(worker))
        self._live(worker, True)

        def ready() -> None:
            state.ready = True
            self._work(worker, state)

        self._loop.later(self._timing.spawn_ns, ready)

    def send(self, worker: int, frame: bytes) -> None:
        state = self._workers[worker]
        if not state.alive:
            return

        def arrive() -> None:
            state.pipe.append(frame)
            wait = state.free_at - self._loop.time
            if wait > 0:
                self._loop.later(wait, lambda: self._work(worker, state))
            else:
                self._work(worker, state)

        self._loop.later(self._timing.pipe_ns, arrive)

    def poll(self) -> list[Arrival]:
        arrivals, self._arrivals = self._arrivals, []
        return arrivals

    def kill(self, worker: int) -> None:
        state = self._workers[worker]
        if state.alive:
            self._die(worker, state)

    def orphan(self, strays: Callable[[list[Arrival]], None]) -> None:
        """The orchestrator died: its workers end; answers that were in a pipe go to whoever reads it next."""
        self._strays = strays
        for worker, state in self._workers.items():
            if state.alive:
                state.alive, state.died_at = False, self._loop.time
                state.core.close()
                self._live(worker, False)

    def alive(self) -> tuple[int, ...]:
        """The workers whose process lives, in order."""
        return tuple(sorted(worker for worker, state in self._workers.items() if state.alive))

    def stray(self, arrivals: list[Arrival]) -> None:
        """Frames of a predecessor's workers."""
        self._arrive(arrivals)

    def _work(self, worker: int, state: _Worker) -> None:
        """Handle the next frame, if the worker is free; a worker that dies before it is done has written nothing."""
        now = self._loop.time
        if not (state.alive and state.ready and state.pipe) or now < state.free_at:
            return
        data = state.pipe.popleft()
        before = state.core.fuel_spent
        died = False
        frames: list[bytes] = []
        try:
            frames = state.core.handle(data)
        except WorkerHung:
            state.ready = False
            return
        except (WorkerDied, MemoryError):
            died = True
        if state.core.garbled > state.garbled:
            state.garbled = state.core.garbled
            self._note("garbled", worker)
        fuel = state.core.fuel_spent - before
        cost = (self._timing.frame_ns + fuel * self._timing.ns_per_fuel) * state.slowness
        finished = state.free_at = now + cost
        if died:
            self._loop.later(cost, lambda: self._die(worker, state))
            return
        if state.pipe:
            self._loop.later(cost, lambda: self._work(worker, state))

        def arrive() -> None:
            if state.died_at is None or state.died_at > finished:
                self._arrive([Arrival(worker, frame) for frame in frames])

        self._loop.later(cost + self._timing.pipe_ns, arrive)

    def _die(self, worker: int, state: _Worker) -> None:
        if not state.alive:
            return
        state.alive = False
        state.died_at = self._loop.time
        state.core.close()
        self._live(worker, False)
        self._loop.later(self._timing.reap_ns, lambda: self._arrive([Arrival(worker, None)]))

    def _arrive(self, arrivals: list[Arrival]) -> None:
        if self._strays is not None:
            self._strays([arrival for arrival in arrivals if arrival.frame is not None])
        elif arrivals:
            self._arrivals += arrivals
            self._wake()
