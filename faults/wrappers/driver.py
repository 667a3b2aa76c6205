"""Who calls the runtime, under fault: a call too many, or one that is left out although something has come.

Guards `advance` being a function of what has arrived: called again it must find nothing to do, and what it was not
called for it must find at the next call. Calls are counted while a tick is open, from the fault's own on, over all
incarnations: a tick may be over after fewer.
"""

from __future__ import annotations

from faults.injector import Injector, Later

KIND = "tick.repeat"


class Caller:
    """Decides about each call. `later(ns, action)` runs an action so much later, then calls the runtime."""

    def __init__(self, injector: Injector, later: Later) -> None:
        self._injector, self._later = injector, later
        self._left_out: list[int] = []  # faults that wait for the next call

    @staticmethod
    def strikes(injector: Injector) -> bool:
        return bool(injector.faults(KIND))

    def calls(self, tick: int, is_open: bool) -> int:
        """How often to call now: once, more often, or not at all; then it is called later."""
        for index in self._left_out:
            self._injector.note(index, {"called": 1})
        self._left_out = []
        if not is_open or not self._injector.is_armed_kind(KIND):
            return 1
        times = 1
        for index, fault in self._injector.armed(KIND):
            if tick < fault.number("tick") or times != 1:
                continue
            if self._injector.count(KIND, index) < fault.number("occurrence"):
                continue
            if fault.get("how") == "again":
                times += fault.number("times")
                self._injector.fire(index, {"tick": tick, "for": 0})
            else:
                times, for_ns = 0, fault.number("for")
                self._injector.fire(index, {"tick": tick, "for": for_ns})
                self._left_out.append(index)
                self._later(for_ns, lambda: None)
        return times
