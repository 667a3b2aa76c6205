"""Statistics of pairs: what may be said of two builds that ran the same plans.

Exact McNemar tests (one-sided, a sign test on the pairs that differ), Holm over everything that is tested, so that two
builds that are the same give a regression with a probability of at most ALPHA; intervals by bootstrap over the pairs,
with a fixed generator. All of it holds for the injected distribution of faults, and for independent plans.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from reports.pairs import Failure, Pair

ALPHA = 0.01
RESOLVED_ALPHA = 0.05  # a wrong "resolved" stops nobody
SLOWER = (11, 10)  # a run recovers slower when its longest recovery took a tenth longer
RESAMPLES = 4000
GENERATOR = 20240229
NEW, RESOLVED, RARE, ONGOING = "New", "Resolved", "Rare", "Ongoing"


class Tested(Struct, frozen=True, kw_only=True):
    """One test: `new` pairs are worse on HEAD, `fixed` better; `p` exact, `p_holm` adjusted for all that were made."""

    new: int
    fixed: int
    p: float
    p_holm: float = 1.0

    @property
    def worse(self) -> bool:
        return self.p_holm <= ALPHA


class Metric(Struct, frozen=True, kw_only=True):
    """A metric on both builds: the values, their difference with a 95% interval (None without data), the test."""

    name: str
    unit: str
    base: float | None
    head: float | None
    difference: float | None
    low: float | None
    high: float | None
    pairs: int
    tested: Tested


class Finding(Struct, frozen=True, kw_only=True):
    """One fingerprint: in how many plans it failed on each build, what that amounts to, and a failure per side."""

    fingerprint: str
    status: str
    base: int
    head: int
    tested: Tested
    examples: tuple[Failure, ...]

    @property
    def undecided(self) -> bool:
        """On HEAD alone, in too few plans to tell a new bug from chance."""
        return self.status == RARE and self.head > 0 == self.base


class Analysis(NamedTuple):
    """All that the pairs amount to; `needed` pairs are the fewest in which a regression could have been seen."""

    metrics: tuple[Metric, ...]
    findings: tuple[Finding, ...]
    judged: int
    needed: int

    @property
    def worse(self) -> tuple[str, ...]:
        """What is worse on HEAD: names of metrics, then fingerprints."""
        names = [metric.name for metric in self.metrics if metric.tested.worse]
        return (*names, *(finding.fingerprint for finding in self.findings if finding.tested.worse))


def mcnemar(new: int, fixed: int) -> float:
    """Exact one-sided McNemar: the chance of at least `new` among the pairs that differ, were the builds alike."""
    from scipy.stats import binomtest

    return float(binomtest(new, new + fixed, 0.5, alternative="greater").pvalue) if new + fixed else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    adjusted, highest = [1.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        highest = max(highest, min(1.0, values[index] * (len(values) - rank)))
        adjusted[index] = highest
    return adjusted


def bootstrap(values: Sequence[float], median: bool = False) -> tuple[float, float]:
    """The 95% percentile interval of the values' mean (or median); the same for the same values."""
    import numpy as np

    generator = np.random.default_rng(GENERATOR)
    sample = np.asarray(values, dtype=float)
    rows = max(1, (1 << 22) // max(1, len(sample)))  # a block of resamples at a time: 32 MiB at most
    found: list[float] = []
    while len(found) < RESAMPLES:
        drawn = sample[generator.integers(0, len(sample), (min(rows, RESAMPLES - len(found)), len(sample)))]
        found += list(np.median(drawn, axis=1) if median else drawn.mean(axis=1))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def analyse(pairs: Sequence[Pair], failures: Sequence[Failure]) -> Analysis:
    """The metrics and findings of these pairs, each test adjusted for all of them."""
    judged = [pair for pair in pairs if pair.judged]
    metrics, findings = [_failure(judged), _recovery(judged)], _findings(judged, failures)
    tests = [metric.tested.p for metric in metrics] + [finding.tested.p for finding in findings]
    adjusted = iter(holm(tests))
    metrics = [replace(one, tested=replace(one.tested, p_holm=next(adjusted))) for one in metrics]
    findings = [_decided(replace(one, tested=replace(one.tested, p_holm=next(adjusted)))) for one in findings]
    order = (NEW, RARE, ONGOING, RESOLVED)
    findings.sort(key=lambda one: (order.index(one.status), -one.head - one.base, one.fingerprint))
    return Analysis(tuple(metrics), tuple(findings), len(judged), fewest(len(metrics) + 1))


def fewest(tests: int) -> int:
    """In how many pairs, all of them worse on HEAD, the strictest of so many tests would see a regression."""
    pairs = 1
    while 0.5**pairs * tests > ALPHA:
        pairs += 1
    return pairs


def _failure(pairs: Sequence[Pair]) -> Metric:
    """Share of plans that fail. IDLE is no failure; UNKNOWN is no pair."""
    base = [pair.base.verdict == "FAIL" for pair in pairs]
    head = [pair.head.verdict == "FAIL" for pair in pairs]
    new = sum(h and not b for b, h in zip(base, head, strict=True))
    fixed = sum(b and not h for b, h in zip(base, head, strict=True))
    changes = [float(h) - float(b) for b, h in zip(base, head, strict=True)]
    low, high = bootstrap(changes) if changes else (None, None)
    share = len(pairs) or None
    return Metric(
        name="failure_rate",
        unit="of plans",
        base=sum(base) / share if share else None,
        head=sum(head) / share if share else None,
        difference=sum(changes) / share if share else None,
        low=low,
        high=high,
        pairs=len(pairs),
        tested=Tested(new=new, fixed=fixed, p=mcnemar(new, fixed)),
    )


def _recovery(pairs: Sequence[Pair]) -> Metric:
    """Longest recovery of a run, virtual ms, over the pairs in which both recovered and neither failed."""
    both = [p for p in pairs if "FAIL" not in (p.base.verdict, p.head.verdict)]
    both = [p for p in both if p.base.recoveries_ns and p.head.recoveries_ns]
    times = [(max(p.base.recoveries_ns), max(p.head.recoveries_ns)) for p in both]
    more, of = SLOWER
    new = sum(head * of > base * more for base, head in times)
    fixed = sum(base * of > head * more for base, head in times)
    changes = [(head - base) / 1e6 for base, head in times]
    low, high = bootstrap(changes, median=True) if changes else (None, None)
    return Metric(
        name="recovery_ms",
        unit="virtual ms, the median plan's longest",
        base=statistics.median(base for base, _ in times) / 1e6 if times else None,
        head=statistics.median(head for _, head in times) / 1e6 if times else None,
        difference=statistics.median(changes) if changes else None,
        low=low,
        high=high,
        pairs=len(times),
        tested=Tested(new=new, fixed=fixed, p=mcnemar(new, fixed)),
    )


def _findings(pairs: Sequence[Pair], failures: Sequence[Failure]) -> list[Finding]:
    """A finding's test counts the plans that both builds were judged on."""
    known = {(pair.scenario, pair.n) for pair in pairs}
    groups: dict[str, list[Failure]] = {}
    for failure in failures:
        groups.setdefault(failure.fingerprint, []).append(failure)
    found = []
    for fingerprint in sorted(groups):
        members = sorted(groups[fingerprint], key=lambda f: (not f.case, f.scenario, f.n))
        base = {(f.scenario, f.n) for f in members if f.side == "base"}
        head = {(f.scenario, f.n) for f in members if f.side == "head"}
        new, fixed = len((head - base) & known), len((base - head) & known)
        examples = [next((f for f in members if f.side == side), None) for side in ("head", "base")]
        found.append(
            Finding(
                fingerprint=fingerprint,
                status=RARE,
                base=len(base),
                head=len(head),
                tested=Tested(new=new, fixed=fixed, p=mcnemar(new, fixed)),
                examples=tuple(example for example in examples if example),
            )
        )
    return found


def _decided(finding: Finding) -> Finding:
    """New and Resolved need more than chance; on both builds it is Ongoing, else too rare to say."""
    tested = finding.tested
    if finding.base and finding.head:
        status = ONGOING
    elif finding.head:
        status = NEW if tested.worse else RARE
    else:
        status = RESOLVED if mcnemar(tested.fixed, tested.new) <= RESOLVED_ALPHA else RARE
    return replace(finding, status=status)
