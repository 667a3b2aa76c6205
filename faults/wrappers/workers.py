"""The Workers port under fault: workers killed or stalled, and their frames lost, doubled, late or altered.

Guards the orchestrator's leases, resends, refusal of late results, and its patience with starts that fail. A fault is
found by the logical step in the frame, never by a worker's number; what is not addressed passes untouched and in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from msgspec import Struct

from faults.injector import NEVER, Fields, Injector, Later, Step
from faults.plan import Fault
from faults.wrappers.frames import KINDS as FRAME_KINDS
from faults.wrappers.frames import Delivery, applied
from faults.wrappers.glances import DoneGlance, WorkGlance, glance
from faults.wrappers.slots import VIEWED
from faults.wrappers.undead import CrashLoops, Zombies
from runtime.errors import FrameRefused, SpawnFailed
from runtime.frames import Done, Work, unpack
from runtime.ports import Arrival, Workers
from runtime.state import View

_WAKE_NS = 1_000  # a zombie's frames arrive right behind the frame that gave its step to another


class _Stall(Struct):
    """A stalled worker: the step it is held for, and its frames in order."""

    step: Step
    until_replaced: bool
    held: list[Arrival]


class FaultyWorkers:
    """Workers with faults; one per incarnation. `on_view` is told of each version a step will load, before it can.

    `tick_of` is the orchestrator's open tick.
    """

    def __init__(
        self,
        inner: Workers,
        injector: Injector,
        later: Later,
        on_view: Callable[[View], None] | None = None,
        tick_of: Callable[[], int] = lambda: NEVER,
    ) -> None:
        self._inner, self._injector, self._later, self._on_view = inner, injector, later, on_view
        self._tick_of = tick_of
        self._viewed = bool(injector.faults(*VIEWED))
        self._loops = CrashLoops(injector)
        self._zombies = Zombies(injector)
        self._leases: dict[tuple[int, int], tuple[Step, ...]] = {}  # (worker, lease) -> steps
        self._stalled: dict[int, _Stall] = {}
        self._ready: list[Arrival] = []
        self._closed = False

    def close(self) -> None:
        """The incarnation is dead: what is still held back is never delivered."""
        self._closed = True
        self._stalled.clear()
        self._ready.clear()

    def spawn(self, worker: int) -> None:
        """Raises SpawnFailed where a fault says so; one fault for an attempt."""
        for index, fault in self._injector.armed("worker.spawn_fail"):
            if self._tick_of() < fault.number("tick"):
                continue
            attempt = self._injector.count("worker.spawn_fail", index)
            fields: Fields = {"worker": worker, "tick": self._tick_of(), "attempt": attempt}
            told = self._injector.fire if attempt == fault.number("attempts") else self._injector.note
            told(index, fields)
            raise SpawnFailed("no process is left", f"worker {worker}")
        self._loops.spawned(worker)
        self._inner.spawn(worker)

    def kill(self, worker: int) -> None:
        self._inner.kill(worker)

    def send(self, worker: int, frame: bytes) -> None:
        work = None if self._is_idle() else self._decode(frame)
        if not isinstance(work, Work | WorkGlance):
            self._inner.send(worker, frame)
            return
        steps = tuple((order.record.tick, order.record.agent) for order in work.orders)
        self._leases[worker, work.lease] = steps
        if self._on_view is not None and isinstance(work, Work):
            for order in work.orders:
                for view in order.record.views:
                    if view.data is None:
                        self._on_view(view)
        about: Fields = {"worker": worker, "lease": work.lease, "incarnation": work.incarnation}
        if self._loops.strikes(worker, work.lease, steps, about):
            self._inner.kill(worker)
            return
        struck = self._injector.addressed(steps)
        if self._kill("idle", worker, struck, about):
            return
        if self._zombies.sent(worker, steps, about):
            self._later(_WAKE_NS, lambda: None)
        for delay, copy in self._frame_faults("work", struck, frame, about):
            if delay:
                self._later(delay, partial(self._send_late, worker, copy))
            else:
                self._inner.send(worker, copy)

    def poll(self) -> list[Arrival]:
        arrivals = self._inner.poll()
        if self._ready:
            arrivals, self._ready = self._ready + arrivals, []
        if self._is_idle():
            return arrivals
        if self._injector.undead:
            arrivals = self._zombies.woken() + [arrival for arrival in arrivals if not self._zombies.holds(arrival)]
        passed: list[Arrival] = []
        for arrival in arrivals:
            if arrival.frame is None:
                passed.append(arrival)
            elif arrival.worker in self._stalled:
                self._stalled[arrival.worker].held.append(arrival)
            else:
                self._arrive(arrival, passed)
        return passed

    def _arrive(self, arrival: Arrival, passed: list[Arrival]) -> None:
        """One frame from a worker that is not stalled: what passes now is appended to `passed`."""
        worker, frame = arrival
        done = self._decode(frame) if frame is not None else None
        if frame is None or not isinstance(done, Done | DoneGlance):
            passed.append(arrival)
            return
        agents = {result.agent for result in done.results}
        steps = tuple(step for step in self._leases.get((worker, done.lease), ()) if step[1] in agents)
        about: Fields = {"worker": worker, "lease": done.lease, "incarnation": done.incarnation}
        struck = self._injector.addressed(steps)
        if self._stall(arrival, struck, about):
            return
        if self._kill("after", worker, struck, about):
            return
        for delay, copy in self._frame_faults("done", struck, frame, about):
            if delay:
                self._later(delay, partial(self._arrive_late, Arrival(worker, copy)))
            else:
                passed.append(Arrival(worker, copy))
                self._replaced(worker, steps, passed)

    def _is_idle(self) -> bool:
        """Whether no armed fault can concern a frame that passes now, and none is held back."""
        injector = self._injector
        if self._stalled or injector.undead or injector.is_due(self._tick_of()):
            return False
        return not (self._viewed and injector.is_armed_kind(*VIEWED))

    def _decode(self, frame: bytes) -> object:
        """The frame, or None when it does not verify."""
        if self._viewed and self._injector.is_armed_kind(*VIEWED):
            try:
                return unpack(frame)
            except FrameRefused:
                return None
        return glance(frame)

    def _kill(self, point: str, worker: int, steps: Iterable[Step], about: Fields) -> bool:
        """Kill the worker if it is addressed at this point; one fault fires per death, the next at the next attempt."""
        for tick, agent in steps:
            for index, fault in self._injector.armed_at("worker.kill", tick, agent):
                if {"hostcall", "byte", "fuel"} & fault.at.keys() or fault.get("point") != point:
                    continue
                self._injector.fire(index, {**about, "tick": tick, "agent": agent, "point": point})
                self._inner.kill(worker)
                return True
        return False

    def _stall(self, arrival: Arrival, steps: Iterable[Step], about: Fields) -> bool:
        for tick, agent in steps:
            for index, fault in self._injector.armed_at("worker.stall", tick, agent):
                for_ns = fault.number("for")
                self._stalled[arrival.worker] = _Stall((tick, agent), for_ns == 0, [arrival])
                if for_ns:
                    self._later(for_ns, partial(self._wake, arrival.worker))
                self._injector.fire(index, {**about, "tick": tick, "agent": agent, "for": for_ns})
                return True
        return False

    def _replaced(self, worker: int, steps: Iterable[Step], passed: list[Arrival]) -> None:
        """Frames of workers that were stalled until another's result for their step arrived come right behind it."""
        for stalled in [w for w, s in self._stalled.items() if w != worker and s.until_replaced and s.step in steps]:
            passed.extend(self._stalled.pop(stalled).held)

    def _wake(self, worker: int) -> None:
        if worker in self._stalled:
            self._ready.extend(self._stalled.pop(worker).held)

    def _frame_faults(self, direction: str, steps: Iterable[Step], frame: bytes, about: Fields) -> list[Delivery]:
        deliveries = [(0, frame)]
        for tick, agent in steps:
            faults = self._frames_at(direction, tick, agent)
            if not faults:
                continue
            occurrence = self._injector.count(direction, tick, agent)
            for index, fault in faults:
                if fault.number("occurrence") != occurrence or not deliveries:
                    continue
                deliveries = applied(fault, deliveries)
                until = max((delay for delay, _ in deliveries), default=0)
                step: Fields = {"tick": tick, "agent": agent, "direction": direction, "for": until}
                self._injector.fire(index, {**about, **step})
        return deliveries

    def _frames_at(self, direction: str, tick: int, agent: int) -> list[tuple[int, Fault]]:
        found: list[tuple[int, Fault]] = []
        for kind in FRAME_KINDS:
            if not self._injector.is_armed_at(kind, tick, agent):
                continue
            found += [f for f in self._injector.armed_at(kind, tick, agent) if f[1].get("direction") == direction]
        return sorted(found, key=lambda item: item[0])

    def _send_late(self, worker: int, frame: bytes) -> None:
        if not self._closed:
            self._inner.send(worker, frame)

    def _arrive_late(self, arrival: Arrival) -> None:
        if not self._closed:
            self._ready.append(arrival)
