"""The machine's clock under fault: jumps, strobes, standing, drift, a second twice, 2038.

Guards whoever waits by it. One object serves all incarnations of a run, as they run on one machine; the world around
(pipes, devices, disk, clients) keeps the true time. A reading depends on the true time and on the faults that struck
before it, never on how often it was asked since.
"""

from __future__ import annotations

from collections.abc import Callable

from faults.clock_kinds import HOW
from faults.injector import NEVER, Injector, Watch
from faults.plan import Fault
from runtime.ports import Clock

KINDS = ("clock.jump", "clock.strobe", "clock.drift")
SECOND = 1_000_000_000
END_OF_31_BITS = (1 << 31) * SECOND  # 2038-01-19, in ns since 1970
MILLION = 1_000_000


class FaultyClock:
    """A `Clock`. `tick_of` is the orchestrator's open tick, told anew by each incarnation."""

    def __init__(self, inner: Clock, injector: Injector) -> None:
        self._inner, self._injector = inner, injector
        self._watch = Watch(injector, injector.faults(*KINDS))
        self.tick_of: Callable[[], int] = lambda: 0
        self._since, self._base = inner.now(), inner.now()  # from `since` (true) on it shows `base` and what passes
        self._strobes: list[tuple[int, int, int, int]] = []  # since and until when, period, delta
        self._rate: tuple[int, Fault, int] | None = None  # (since when, fault, index): it stands, or is slow or fast
        self._rang: set[int] = set()  # faults of which it was told; membership only

    @staticmethod
    def strikes(injector: Injector) -> bool:
        return bool(injector.faults(*KINDS))

    def now(self) -> int:
        true = self._inner.now()
        first = self._watch.first
        if first != NEVER and first <= self.tick_of():
            self._strike(true)
        return self._shown(true)

    def rang(self) -> None:
        """A time that the runtime waits for is over by this clock's own account, or by the true time."""
        if self._rate is None:
            return
        since, fault, index = self._rate
        true = self._inner.now()
        if index not in self._rang and since < true <= since + fault.number("for"):
            self._rang.add(index)
            self._injector.note(index, {"rang": 1})

    def _strike(self, true: int) -> None:
        tick = self.tick_of()
        for index, fault in self._injector.armed(*KINDS):
            if tick < fault.number("tick"):
                continue
            if self._injector.count("clock", index) < fault.number("occurrence"):
                continue
            if fault.get("how") in HOW[:3] and self._rate is not None and self._ends() > true:
                continue  # it stands or drifts already, and waits for its turn
            shown = self._settled(true)
            if fault.kind == "clock.jump":
                self._base += fault.number("by") if fault.get("way") == "forwards" else -fault.number("by")
            elif fault.kind == "clock.strobe":
                numbers = fault.number("period"), fault.number("delta")
                self._strobes.append((true, true + fault.number("for"), *numbers))
            elif fault.get("how") == "leap_second":
                self._base -= SECOND
            elif fault.get("how") == "year_2038":
                self._base += max(0, END_OF_31_BITS - MILLION - shown)
            else:
                self._rate = (true, fault, index)
            lasting = fault.number("for") if fault.kind == "clock.strobe" or self._is_rate(index) else 0
            self._injector.fire(index, {"tick": tick, "for": lasting})

    def _is_rate(self, index: int) -> bool:
        return self._rate is not None and self._rate[2] == index

    def _ends(self) -> int:
        assert self._rate is not None
        return self._rate[0] + self._rate[1].number("for")

    def _settled(self, true: int) -> int:
        """What it shows now becomes its base, strobes aside: what strikes next begins there."""
        self._base, self._since = self._steady(true), true
        if self._rate is not None and self._ends() > true:  # what is left of it goes on from here
            return self._base
        self._rate = None
        return self._base

    def _steady(self, true: int) -> int:
        if self._rate is None:
            return self._base + true - self._since
        fault, end = self._rate[1], self._ends()
        within = max(0, min(true, end) - self._since)
        after = true - self._since - within
        how = fault.get("how")
        if how == "freeze":
            caught_up = within if fault.get("catch_up") == "yes" and true >= end else 0
            return self._base + after + caught_up
        drift = within * fault.number("ppm") // MILLION
        return self._base + within + after + (drift if how == "fast" else -drift)

    def _shown(self, true: int) -> int:
        shown = self._base + true - self._since if self._rate is None else self._steady(true)
        for since, until, period, delta in self._strobes:
            if true < until and (true - since) // period % 2 == 0:
                shown += delta
        return shown
