"""Who gives the pool another size: an operator's call in mid-run, at a tick or right after a recovery.

Guards places, leases and hosted agents that outlive their pool: the runtime must let every worker of the old size go
before any of the new one begins, whatever was under way when it was told.
"""

from __future__ import annotations

from collections.abc import Iterator

from faults.injector import Injector

KIND = "pool.resize"


class Resizer:
    """Decides before each call of a started orchestrator what size its pool is to have from now on."""

    def __init__(self, injector: Injector) -> None:
        self._injector = injector

    @staticmethod
    def strikes(injector: Injector) -> bool:
        return bool(injector.faults(KIND))

    def sizes(self, tick: int, crashes: int) -> Iterator[int]:
        """The sizes that are due at this tick of this incarnation, which `crashes` others came before."""
        for index, fault in self._injector.armed(KIND):
            is_due = crashes >= fault.number("after") if "after" in fault.at else tick >= fault.number("tick")
            if is_due:
                self._injector.fire(index, {"tick": tick, "workers": fault.number("workers"), "for": 0})
                yield fault.number("workers")
