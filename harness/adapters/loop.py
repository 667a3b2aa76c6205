"""The virtual clock: simpy's event queue, integer nanoseconds, callbacks instead of processes and events.

What is scheduled is the callback itself: nobody waits for an event's value, so none is made. An exception in a callback
leaves `run` as it is (simpy would re-create it). Events of the same time run in the order in which they were scheduled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.events import NORMAL


class Loop:
    """`later` schedules a callback; `run` goes on until nothing is scheduled, `stop()` is called or a bound is hit.

    `time` is what `now` tells. While who is being called has stalled, `lag_ns` says for how long: all that it still
    does comes that much later.
    """

    def __init__(self) -> None:
        environment = simpy.Environment(0)
        self._queue: list[Any] = environment._queue
        self._numbers: Iterator[int] = environment._eid
        self.time = 0  # ns
        self._stopped = False
        self._last: Callable[[], None] | None = None
        self.events = 0
        self.lag_ns = 0

    def now(self) -> int:
        return self.time

    def later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        at = self.time + self.lag_ns + (delay_ns if delay_ns > 0 else 0)
        heappush(self._queue, (at, NORMAL, next(self._numbers), callback))  # as `Environment.schedule` does

    def last(self, callback: Callable[[], None]) -> None:
        """Call back once at this same time, after all that is scheduled for it; one callback at a time."""
        self._last = callback

    def stop(self) -> None:
        self._stopped = True

    def run(self, until_ns: int, max_events: int) -> bool:
        """True when stopped from inside; False when nothing is left to do or a bound was reached."""
        queue = self._queue
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
            callback()
        return True
