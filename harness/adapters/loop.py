"""The virtual clock: a simpy environment in integer nanoseconds, with callbacks beside simpy's processes and events.

What the runtime's adapters schedule is the callback itself: nobody waits for an event's value, so none is made. An
exception in a callback leaves `run` as it is (simpy would re-create it). Callbacks of the same time run in the order in
which they were scheduled; what simpy itself schedules for that time, processes and timeouts, comes before them
(docs/decisions/0044).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any

import simpy

CALLBACK = 2  # a priority behind simpy's own (URGENT 0, NORMAL 1): by it `run` knows what is no event of simpy's


class Loop:
    """`later` schedules a callback; `run` goes on until nothing is scheduled, `stop()` is called or a bound is hit.

    `time` is what `now` tells, and what `environment.now` is while anything is called. While who is being called has
    stalled, `lag_ns` says for how long: all that it still does comes that much later.
    """

    def __init__(self) -> None:
        self.environment = simpy.Environment(0)
        self._queue: list[Any] = self.environment._queue
        self._numbers: Iterator[int] = self.environment._eid
        self.time = 0  # ns
        self._stopped = False
        self._last: Callable[[], None] | None = None
        self.events = 0
        self.lag_ns = 0

    def now(self) -> int:
        return self.time

    def later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        at = self.time + self.lag_ns + (delay_ns if delay_ns > 0 else 0)
        heappush(self._queue, (at, CALLBACK, next(self._numbers), callback))  # as `Environment.schedule` does

    def last(self, callback: Callable[[], None]) -> None:
        """Call back once at this same time, after all that is scheduled for it; one callback at a time."""
        self._last = callback

    def stop(self) -> None:
        self._stopped = True

    def run(self, until_ns: int, max_events: int) -> bool:
        """True when stopped from inside; False when nothing is left to do or a bound was reached."""
        queue, environment = self._queue, self.environment
        while not self._stopped:
            last = self._last
            if last is not None and (not queue or queue[0][0] > self.time):
                self._last = None
                last()
                continue
            if not queue or queue[0][0] > until_ns or self.events >= max_events:
                return False
            self.events += 1
            if queue[0][1] == CALLBACK:
                self.time, _, _, callback = heappop(queue)
                environment._now = self.time
                callback()
            else:
                self.time = int(queue[0][0])
                environment.step()
        return True
