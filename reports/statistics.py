"""The numbers of a report: order statistics on integers, exact and approximate intervals on a failure rate.

The exact one-sided bound is what a gate compares; the Wilson interval is only for display. Both hold for the
distribution of faults that was injected and for independent trials, and for nothing else: runs that share a workload
are one trial (`reports.summary.trials`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

CONFIDENCE = 0.95


class Spread(NamedTuple):
    """Order statistics of a sample in its own unit; None for an empty sample, which has none."""

    n: int
    p50: int | None
    p99: int | None
    worst: int | None


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The nearest-rank percentile: an element of `ordered` (ascending, not empty), so no float takes part."""
    if not ordered or not 0 < percent <= 100:
        raise ValueError("a percentile needs a sample and 0 < percent <= 100")
    return ordered[-(-len(ordered) * percent // 100) - 1]


def spread(sample: Sequence[int]) -> Spread:
    ordered = sorted(sample)
    if not ordered:
        return Spread(0, None, None, None)
    return Spread(len(ordered), percentile(ordered, 50), percentile(ordered, 99), ordered[-1])


def upper_bound(failures: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided exact (Clopper-Pearson) upper bound on the failure rate; 1.0 without a trial."""
    from scipy.stats import binomtest

    if trials == 0:
        return 1.0
    return float(binomtest(failures, trials, alternative="less").proportion_ci(confidence, method="exact").high)


def wilson(failures: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two-sided Wilson score interval on the failure rate; (0, 1) without a trial."""
    from scipy.stats import binomtest

    if trials == 0:
        return 0.0, 1.0
    interval = binomtest(failures, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
