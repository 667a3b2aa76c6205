"""The virtual clock: simpy's event queue, integer nanoseconds, callbacks instead of processes.

An exception in a callback leaves `run` as it is (simpy would re-create it). Events of the same time run in the order
in which they were scheduled.
"""

from __future__ import annotations

from collections.abc import Callable

import simpy


class Loop:
    """`later` schedules a callback; `run` goes on until nothing is scheduled, `stop()` is called or a bound is hit."""

    def __init__(self) -> None:
        self._env = simpy.Environment(0)
        self._stopped = False
        self.events = 0

    def now(self) -> int:
        return int(self._env.now)

    def later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        event = simpy.Event(self._env)
        event._ok = True
        event._value = None
        assert event.callbacks is not None
        event.callbacks.append(lambda _: callback())
        self._env.schedule(event, delay=max(0, delay_ns))

    def stop(self) -> None:
        self._stopped = True

    def run(self, until_ns: int, max_events: int) -> bool:
        """True when stopped from inside; False when nothing is left to do or a bound was reached."""
        env = self._env
        while not self._stopped:
            upcoming = env.peek()
            if upcoming == simpy.core.Infinity or upcoming > until_ns or self.events >= max_events:
                return False
            self.events += 1
            env.step()
        return True
