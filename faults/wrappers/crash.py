"""The death of the orchestrator: before, within or after any call it makes to a port; and its stall before one.

Guards recovery: whatever a dead incarnation left behind is all that its successor has. Every call that touches the
world outside counts, from 1 in each incarnation. Reading the clock and asking a hazard leave nothing behind, so dying
there is dying at the next call, as is asking which devices are present; they are not counted, but a dead incarnation
cannot make them either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

from faults.deaths import Killed
from faults.injector import NEVER, Fields, Injector, Watch
from faults.plan import Fault
from faults.streams import draw
from runtime.ports import Accelerators, Arrival, Clock, Gateway, Hazard, Memory, Ports, Storage, Workers

T = TypeVar("T")
P = ParamSpec("P")
KINDS = ("orchestrator.kill", "orchestrator.stall")


class _Address(NamedTuple):
    """Which call a death is at: the one of this number in this incarnation, or by tick and phase (`call` is -1)."""

    call: int
    successor: int
    tick: int
    phase: str
    occurrence: int


def _address_of(fault: Fault) -> _Address:
    call = fault.number("call") if "call" in fault.at else -1
    phase, occurrence = str(fault.get("phase")), fault.number("occurrence")
    return _Address(call, max(fault.number("after"), 0), fault.number("tick"), phase, occurrence)


class Fuse:
    """One incarnation's life. `where` says (tick, phase); `successor` is 0 for the first incarnation of a run."""

    def __init__(
        self,
        injector: Injector,
        where: Callable[[], tuple[int, str]],
        successor: int = 0,
        stall: Callable[[int], None] | None = None,
    ) -> None:
        self._injector, self._where, self.successor, self._stall = injector, where, successor, stall
        self._kills = {index: _address_of(fault) for index, fault in injector.faults("orchestrator.kill")}
        self._watch = Watch(injector, injector.faults(*KINDS))
        self.calls = 0
        self.dead = False

    def check(self) -> None:
        if self.dead:
            raise Killed

    def call(self, port: str, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One port call, which is done whole or not at all."""
        if self.dead:
            raise Killed
        self.calls += 1
        if not self._is_due():
            return action(*args, **kwargs)
        return self._struck(port, lambda: action(*args, **kwargs))

    def divisible(self, port: str, action: Callable[[], T], within: Callable[[int], object]) -> T:
        """One port call; `within` does a part of it, given a keyed draw."""
        if self.dead:
            raise Killed
        self.calls += 1
        return self._struck(port, action, within) if self._is_due() else action()

    def _is_due(self) -> bool:
        first = self._watch.first
        return first != NEVER and first <= max(self._where()[0], 0)

    def _struck(self, port: str, action: Callable[[], T], within: Callable[[int], object] | None = None) -> T:
        """A call that an armed fault may address."""
        if self._stall is not None and self._injector.is_armed_kind("orchestrator.stall"):
            self._stop_for_a_while(self._stall)
        if not self._injector.is_armed_kind("orchestrator.kill"):
            return action()
        index, fault = self._due()
        if fault is None:
            return action()
        point = str(fault.get("point"))
        if point == "within" and within is not None:
            within(draw(self._injector.seed, "orchestrator.kill", self.successor, self.calls))
        elif point != "before":
            action()
        tick, phase = self._where()
        self.dead = True
        fields: Fields = {"successor": self.successor, "call": self.calls, "tick": tick, "port": port, "phase": phase}
        self._injector.fire(index, {**fields, "point": point})
        raise Killed

    def _stop_for_a_while(self, stall: Callable[[int], None]) -> None:
        tick, phase = self._where()
        for index, fault in self._injector.armed("orchestrator.stall"):
            if phase != fault.get("phase") or tick < fault.number("tick"):
                continue
            if self._injector.count("orchestrator.stall", index) >= fault.number("occurrence"):
                stall(fault.number("for"))
                self._injector.fire(index, {"tick": tick, "phase": phase, "for": fault.number("for")})
                return

    def _due(self) -> tuple[int, Fault | None]:
        """The first armed fault that addresses this call. All others that do are counted here too."""
        found: tuple[int, Fault | None] = (-1, None)
        tick, phase = self._where()
        for index, fault in self._injector.armed("orchestrator.kill"):
            if self._is_at(index, tick, phase) and found[1] is None:
                found = index, fault
        return found

    def _is_at(self, index: int, tick: int, phase: str) -> bool:
        address = self._kills[index]
        if address.call >= 0:
            return address.call == self.calls and address.successor == self.successor
        # The first boot is before any tick; it counts as tick 0.
        if max(tick, 0) < address.tick or phase != address.phase:
            return False
        return self._injector.count("orchestrator.kill", index) >= address.occurrence


def mortal(ports: Ports, fuse: Fuse) -> Ports:
    """The same ports, each call of which may be the incarnation's last; one that only reads passes through as it is."""
    return ports._replace(
        clock=MortalClock(ports.clock, fuse),
        workers=MortalWorkers(ports.workers, fuse),
        memory=MortalMemory(ports.memory, fuse),
        storage=MortalStorage(ports.storage, fuse),
        gateway=MortalGateway(ports.gateway, fuse),
        hazard=_mortal_hazard(ports.hazard, fuse),
        accelerators=None if ports.accelerators is None else MortalAccelerators(ports.accelerators, fuse),
    )


def _mortal_hazard(hazard: Hazard, fuse: Fuse) -> Hazard:
    def mortal_hazard(name: str, *key: int) -> bool:
        if fuse.dead:
            raise Killed
        return hazard(name, *key)

    return mortal_hazard


class MortalClock:
    def __init__(self, inner: Clock, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def now(self) -> int:
        if self._fuse.dead:
            raise Killed
        return self._inner.now()


class MortalWorkers:
    def __init__(self, inner: Workers, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def spawn(self, worker: int) -> None:
        self._fuse.call("workers.spawn", self._inner.spawn, worker)

    def send(self, worker: int, frame: bytes) -> None:
        self._fuse.call("workers.send", self._inner.send, worker, frame)

    def poll(self) -> list[Arrival]:
        return self._fuse.call("workers.poll", self._inner.poll)

    def kill(self, worker: int) -> None:
        self._fuse.call("workers.kill", self._inner.kill, worker)


class MortalAccelerators:
    def __init__(self, inner: Accelerators, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def present(self) -> list[int]:
        self._fuse.check()
        return self._inner.present()

    def spawn(self, device: int, process: int) -> None:
        self._fuse.call("accelerators.spawn", self._inner.spawn, device, process)

    def send(self, process: int, frame: bytes) -> None:
        self._fuse.call("accelerators.send", self._inner.send, process, frame)

    def poll(self) -> list[Arrival]:
        return self._fuse.call("accelerators.poll", self._inner.poll)

    def kill(self, process: int) -> None:
        self._fuse.call("accelerators.kill", self._inner.kill, process)


class MortalMemory:
    def __init__(self, inner: Memory, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def reserve(self, segment: int, size: int) -> None:
        self._fuse.call("memory.reserve", self._inner.reserve, segment, size)

    def store(self, segment: int, offset: int, data: bytes) -> None:
        self._fuse.call("memory.store", self._inner.store, segment, offset, data)

    def load(self, segment: int, offset: int, length: int) -> bytes:
        return self._fuse.call("memory.load", self._inner.load, segment, offset, length)


class MortalStorage:
    """A death within `write` leaves a prefix of the data in the page cache."""

    def __init__(self, inner: Storage, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def names(self) -> list[str]:
        return self._fuse.call("storage.names", self._inner.names)

    def read(self, name: str) -> bytes:
        return self._fuse.call("storage.read", self._inner.read, name)

    def write(self, name: str, offset: int, data: bytes) -> int:
        def prefix(pick: int) -> None:
            self._inner.write(name, offset, data[: 1 + pick % (len(data) - 1) if len(data) > 1 else 0])

        return self._fuse.divisible("storage.write", lambda: self._inner.write(name, offset, data), prefix)

    def truncate(self, name: str, length: int) -> None:
        self._fuse.call("storage.truncate", self._inner.truncate, name, length)

    def remove(self, name: str) -> None:
        self._fuse.call("storage.remove", self._inner.remove, name)

    def rename(self, old: str, new: str) -> None:
        self._fuse.call("storage.rename", self._inner.rename, old, new)

    def sync(self, name: str) -> int:
        return self._fuse.call("storage.sync", self._inner.sync, name)

    def sync_dir(self) -> int:
        return self._fuse.call("storage.sync_dir", self._inner.sync_dir)

    def poll(self) -> list[int]:
        return self._fuse.call("storage.poll", self._inner.poll)


class MortalGateway:
    def __init__(self, inner: Gateway, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def poll(self) -> list[bytes]:
        return self._fuse.call("gateway.poll", self._inner.poll)

    def send(self, frame: bytes) -> None:
        self._fuse.call("gateway.send", self._inner.send, frame)
