"""Queues of events that a run must not depend on: same-time events in another order, and a host that stalls.

The order of events of one moment is drawn per seed and event, so a permutation repeats exactly. Against: a result that
rests on the order in which a simulator, or an operating system, happens to serve what is ready at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count

from faults.streams import draw
from harness.adapters.loop import Loop

STALL_EVERY = 24  # one event in so many, on average
STALL_MAX_US = 4_000  # at most; the issue is that it happens at another moment each time, not for how long


def _shuffled(seed: int) -> Iterator[int]:
    """Events of one time run in the order of a seeded key; `rng32 << 32 | number` keeps it total."""
    for number in count(1):
        yield (draw(seed, "same-time order", number) & 0xFFFFFFFF) << 32 | number


class ShuffledLoop(Loop):
    """The virtual clock with every set of same-time events permuted; another `seed`, another permutation."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._numbers = _shuffled(seed)


class StalledLoop(Loop):
    """The virtual clock on a host that stands still now and then: real sleeps between events, drawn per event."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._number = 0
        self.stalls = 0

    def later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        self._number += 1
        drawn = draw(self._seed, "host stall", self._number)
        if drawn % STALL_EVERY:
            super().later(delay_ns, callback)
            return

        def stalled() -> None:
            time.sleep((drawn >> 16) % STALL_MAX_US / 1e6)
            self.stalls += 1
            callback()

        super().later(delay_ns, stalled)
