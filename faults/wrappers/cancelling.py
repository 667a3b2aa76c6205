"""Who ends a step while it runs: an operator's call in the tick of the step, by every incarnation that has it open.

Guards decrees that come from no loss: what is discarded, what the worker still computes of it, and that it is synced
before anything follows from it. A death before that leaves a step that was not cancelled, and is cancelled again.
"""

from __future__ import annotations

from collections.abc import Callable

from faults.injector import Injector

KIND = "step.cancel"


class Canceller:
    """Decides after each call of an orchestrator which steps it is to end now."""

    def __init__(self, injector: Injector) -> None:
        self._injector = injector

    @staticmethod
    def strikes(injector: Injector) -> bool:
        return bool(injector.faults(KIND))

    def ended(self, tick: int, cancel: Callable[[int], bool]) -> list[int]:
        """The agents whose steps in this tick `cancel` has just ended."""
        found = []
        for index, fault in self._injector.faults(KIND):
            agent = fault.number("agent")
            if fault.number("tick") == tick and cancel(agent):
                found.append(agent)
                if self._injector.is_armed(index):
                    self._injector.fire(index, {"tick": tick, "agent": agent, "for": 0})
        return found
