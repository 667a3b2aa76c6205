"""Workers that die again and again, and workers that are believed dead and are not.

Guards against restart storms, and against a late writer: whatever a worker wrote before it was stopped arrives when its
step has gone to another one, perhaps of a later incarnation, and must count for nothing. Both outlast the incarnation
in which they began, so what they know lies with the injector.
"""

from __future__ import annotations

from collections.abc import Sequence

from faults.injector import Fields, Injector, Step, Undead
from runtime.ports import Arrival


class CrashLoops:
    """Which workers die: the one that gets the addressed step, then each that is started since, in its nth call."""

    def __init__(self, injector: Injector) -> None:
        self._injector = injector
        self._born: dict[int, dict[int, list[int]]] = {}  # fault -> worker started since -> its leases, in order

    def spawned(self, worker: int) -> None:
        for index, _ in self._injector.armed("worker.crash_loop"):
            if index in self._injector.looping:
                self._born.setdefault(index, {})[worker] = []

    def strikes(self, worker: int, lease: int, steps: Sequence[Step], about: Fields) -> bool:
        """Whether the worker dies now, as this frame reaches it; a frame that is sent again is the same call."""
        if not self._injector.is_armed_kind("worker.crash_loop"):
            return False
        for index, fault in self._injector.armed("worker.crash_loop"):
            if index in self._injector.looping:
                leases = self._born.get(index, {}).get(worker)
                if leases is None:
                    continue
                if lease not in leases:
                    leases.append(lease)
                struck = len(leases) == fault.number("calls")
            else:
                struck = (fault.number("tick"), fault.number("agent")) in steps
            if struck:
                self._die(index, fault.number("times"), about)
                return True
        return False

    def _die(self, index: int, times: int, about: Fields) -> None:
        deaths = self._injector.looping[index] = self._injector.looping.get(index, 0) + 1
        told = self._injector.fire if deaths == times else self._injector.note
        told(index, {**about, "death": deaths})


class Zombies:
    """The stopped workers of a run: all that they write is held until their step is sent to another."""

    def __init__(self, injector: Injector) -> None:
        self._injector = injector

    def sent(self, worker: int, steps: Sequence[Step], about: Fields) -> bool:
        """A step goes to a worker: it may be stopped there, or be the sign for another one to wake (True then)."""
        undead = self._injector.undead
        if not undead and not self._injector.is_armed_kind("worker.zombie"):
            return False
        woken = False
        for other, zombie in undead.items():
            if other != worker and zombie.step in steps and zombie.held and not zombie.woken:
                zombie.woken = woken = True
                tick, agent = zombie.step
                self._injector.note(zombie.fault, {"worker": other, "tick": tick, "agent": agent, "woken": worker})
        for step in self._injector.addressed(steps):
            for index, _ in self._injector.armed_at("worker.zombie", *step):
                if worker not in undead:
                    undead[worker] = Undead(index, step)
                    self._injector.fire(index, {**about, "tick": step[0], "agent": step[1]})
        return woken

    def holds(self, arrival: Arrival) -> bool:
        """Whether this is held back: a frame, not the end of the process, which is seen when it is reaped."""
        zombie = self._injector.undead.get(arrival.worker)
        if zombie is None or zombie.woken or arrival.frame is None:
            return False
        zombie.held.append(arrival)
        return True

    def woken(self) -> list[Arrival]:
        """What those that have woken wrote, in order."""
        written: list[Arrival] = []
        for zombie in self._injector.undead.values():
            if zombie.woken:
                written += zombie.held
                zombie.held = []
        return written
