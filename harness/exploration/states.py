"""In which state a run was when a fault took effect: the coverage that exploration is after.

A state is coarse on purpose: what the orchestrator is at, how much of its pool is gone, whether blocks wait for the
disk, how the accelerator does, whether it is a successor, and whether an earlier fault is still being handled. All of
it is read from the trace as it was at that moment, and only faults that took effect count, so a pair (state x fault)
says that this build did meet this fault in this state, and not that a plan meant it to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.history import History, Injection
from runtime.telemetry import Record

CPU = 0
DEATH = "orchestrator.kill"


class Met(NamedTuple):
    """What one run met: pairs (state x fault), the most deaths before a commit, and faults that hit the handling."""

    pairs: tuple[str, ...]
    depth: int
    during: int


class Machine:
    """The runtime's phase as its trace tells it; `seen` takes the records in order."""

    def __init__(self) -> None:
        self.phase = "boot"
        self.lives = 1
        self.handling = False
        self._incarnation = 0
        self._lost: set[int] = set()  # in this tick
        self._gone = 0
        self._committed = self._durable = 0
        self._device = ""

    def state(self) -> str:
        """The state in words, from the orchestrator outwards."""
        pool = ("whole", "one gone")[self._gone] if self._gone < 2 else "more gone"
        if not self._gone and self._lost:
            pool = "restoring"
        disk = "unsynced" if self._committed > self._durable else "synced"
        life = "first life" if self.lives == 1 else "successor"
        parts = [self.phase, pool, disk, life, *([self._device] if self._device else [])]
        return ", ".join([*parts, "handling a fault"] if self.handling else parts)

    def died(self) -> None:
        """The orchestrator has been killed; what it had in memory is gone with it."""
        self.phase = "down"
        self._lost.clear()
        self._gone = 0

    def seen(self, record: Record) -> None:
        kind, fields = record.kind, record.fields
        if record.incarnation != self._incarnation:
            self._begun(record.incarnation)
        if kind == "started":
            self.phase = "idle"
        elif kind == "opened":
            self.phase = "dispatch"
            self._lost.clear()
        elif kind == "sent":
            self.phase = "await"
        elif kind == "lost":
            self._lost.add(int(fields["worker"]))
            self._gone += 1
        elif kind == "spawned":
            self._gone = max(0, self._gone - 1)
        elif kind == "committed":
            self.phase, self.handling = "idle", False
            self._committed = int(fields["block"])
        elif kind == "durable":
            self._durable = int(fields["block"])
        elif kind in ("infer_sent", "infer_received", "device_lost", "device_spawned", "device_trusted"):
            self._on_device(kind, int(fields["device"]))

    def _begun(self, incarnation: int) -> None:
        if self._incarnation:
            self.lives += 1
            self.phase = "recovery"
        self._incarnation = incarnation
        self._committed = self._durable = 0

    def _on_device(self, kind: str, device: int) -> None:
        if device == CPU:
            self._device = self._device or "device idle"
        elif kind == "device_lost":
            self._device = "device lost"
        elif kind == "device_spawned":
            self._device = "device starting"
        elif kind == "infer_sent":
            self._device = "device starting" if self._device == "device starting" else "device busy"
        else:
            self._device = "device idle"


def met(history: History, effective: Mapping[int, bool]) -> Met:
    """What a run met. Each fault counts once, where it first did something."""
    machine, place = Machine(), 0
    pairs: list[str] = []
    deaths = depth = during = commits = 0
    for injection in _first(history.injections, effective):
        for record in history.trace[place : injection.after]:
            machine.seen(record)
            commits += record.kind == "committed"
        place = max(place, injection.after)
        kind = history.plan.faults[injection.fault].kind
        pairs.append(f"{machine.state()} x {kind}")
        during += machine.handling
        if commits:
            deaths, commits = 0, 0
        if kind == DEATH:
            machine.died()
            deaths += 1
            depth = max(depth, deaths)
        machine.handling = True
    return Met(tuple(dict.fromkeys(pairs)), depth, during)


def _first(injections: Sequence[Injection], effective: Mapping[int, bool]) -> list[Injection]:
    """The first injection of each fault that took effect, in the order in which they happened."""
    found: dict[int, Injection] = {}
    for injection in injections:
        if effective.get(injection.fault):
            found.setdefault(injection.fault, injection)
    return sorted(found.values(), key=lambda injection: injection.after)
