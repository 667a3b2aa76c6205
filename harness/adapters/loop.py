"""The virtual clock: simpy's event queue, integer nanoseconds, callbacks instead of processes and events.

What is scheduled is the callback itself: nobody waits for an event's value, so none is made. An exception in a callback
leaves `run` as it is (simpy would re-create it). Events of the same time run in the order in which they were scheduled.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop
from typing import Any

import simpy


class Loop:
    """`later` schedules a callback; `run` goes on until nothing is scheduled, `stop()` is called or a bound is hit.

    `time` is what `now` tells. While who is being called has stalled, `lag_ns` says for how long: all that it still
    does comes that much later.
    """

    def __init__(self) -> None:
        self._env = simpy.Environment(0)
        self.time = 0  # ns
        self._stopped = False
        self._last: Callable[[], None] | None = None
        self.events = 0
        self.lag_ns = 0

    def now(self) -> int:
        return self.time

    def later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        delay = self.lag_ns + (delay_ns if delay_ns > 0 else 0)
        self._env.schedule(callback, delay=delay)  # type: ignore[arg-type]  # `run` takes it out again

    def last(self, callback: Callable[[], None]) -> None:
        """Call back once at this same time, after all that is scheduled for it; one callback at a time."""
        self._last = callback

    def stop(self) -> None:
        self._stopped = True

    def run(self, until_ns: int, max_events: int) -> bool:
        """True when stopped from inside; False when nothing is left to do or a bound was reached."""
        env = self._env
        queue: list[Any] = env._queue
        while not self._stopped:
            last = self._last
            if last is not None and (not queue or queue[0][0] > self.time):
                self._last = None
                last()
                continue
            if not queue or queue[0][0] > until_ns or self.events >= max_events:
                return False
            self.events += 1
            self.time, _, _, callback = heappop(queue)
            env._now = self.time
            callback()
        return True
