"""Timing: CPU time of this process, variants in turn, garbage of one never paid by the next.

Results are dropped before the next measurement: garbage collection would walk whatever is kept.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct


class Spread(Struct, frozen=True):
    """Smallest, middle and largest of the repetitions, in one unit that the place names."""

    min: float
    median: float
    max: float


def spread(values: Sequence[float], digits: int = 3) -> Spread:
    return Spread(round(min(values), digits), round(statistics.median(values), digits), round(max(values), digits))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def settle() -> None:
    """Collect garbage, and take what is left (modules, plans) out of later collections."""
    gc.collect()
    gc.freeze()


def cpu_ns(action: Callable[[], object]) -> int:
    """CPU ns of one call. Its result is dropped before the clock stops: freeing it belongs to the work."""
    settle()
    begun = time.process_time_ns()
    action()
    return time.process_time_ns() - begun


def in_turn(actions: Mapping[str, Callable[[int], object]], rounds: int) -> dict[str, list[int]]:
    """CPU ns of every action in every round, A B C A B C; each runs once before, unmeasured."""
    for action in actions.values():
        action(0)
    times: dict[str, list[int]] = {name: [] for name in actions}
    for n in range(rounds):
        for name, action in actions.items():
            times[name].append(cpu_ns(lambda action=action, n=n: action(n)))  # type: ignore[misc]
    gc.unfreeze()
    return times
