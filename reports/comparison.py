"""A comparison of two builds: its figures, its verdict, and its files, written whole or not at all.

`compare.json` is the truth; page, Markdown and JUnit show it. The verdict: REGRESSION where a test says that HEAD is
worse; TOO LITTLE DATA where too few plans were judged to see one, an oracle could not judge, or a finding is on HEAD
alone in too few plans to tell; else NO REGRESSION. What was not seen is never called absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from reports import paired, summary
from reports.files import json_bytes, point, put
from reports.frames import NotTested, RunRow
from reports.paired import Analysis, Finding, Metric
from reports.pairs import Difference, Failure, Pair, Side
from reports.statistics import percentile, upper_bound
from reports.words import at_most, plural
from runtime.errors import Refused

COMPARISON_VERSION = 1
FILE = "compare.json"
DIFFERENCES_MAX = 50
Word = Literal["REGRESSION", "TOO LITTLE DATA", "NO REGRESSION"]
REGRESSION: Word = "REGRESSION"
TOO_LITTLE: Word = "TOO LITTLE DATA"
GOOD: Word = "NO REGRESSION"
ASSUMPTIONS = (
    "Every plan has a workload of its own, so pairs are independent trials of the injected distribution of faults.",
    "Plans were drawn by the harness's own runtime, and are the same on both builds.",
    f"All tests together call two builds that are the same a regression in at most {paired.ALPHA:.0%} of comparisons "
    "(exact McNemar, Holm).",
    "A journal that differs is no failure by itself: it shows that the builds do not behave alike.",
)


class Build(Struct, frozen=True, kw_only=True):
    """One of the two: as it was named, the sha256 of its runtime's sources, its commit where it is known."""

    name: str
    identity: str
    commit: str = ""
    dirty: bool | None = None


class SideCounts(Struct, frozen=True, kw_only=True):
    """What the plans amounted to on one build; recovery times are virtual ns, None where there are none."""

    passed: int
    failed: int
    unknown: int
    idle: int
    steps_redone: int
    workers_lost: int
    recoveries: int
    recovery_p50_ns: int | None
    recovery_p99_ns: int | None
    recovery_worst_ns: int | None


class Diverging(Struct, frozen=True, kw_only=True):
    """A plan whose journals differ, and the first place."""

    scenario: str
    n: int
    difference: Difference


class Failed(Struct, frozen=True, kw_only=True):
    """A failing run, by its fingerprint."""

    scenario: str
    n: int
    side: Side
    fingerprint: str


class Comparison(Struct, frozen=True, kw_only=True):
    """The file compare.json. `needed` pairs are the fewest in which a regression could have been seen."""

    version: int
    verdict: Word
    because: str
    base: Build
    head: Build
    arguments: tuple[str, ...]
    scenarios: tuple[str, ...]
    seed: int
    workers: int
    runs: int
    judged: int
    needed: int
    counts: dict[str, SideCounts]
    metrics: tuple[Metric, ...]
    findings: tuple[Finding, ...]
    journals_different: int
    differences: tuple[Diverging, ...]
    failures: tuple[Failed, ...]
    faults_fired: dict[str, tuple[int, int]]
    not_tested: tuple[NotTested, ...]
    evidence: str = "simulated"
    profile: str = "stress"
    assumptions: tuple[str, ...] = ASSUMPTIONS

    def of(self, *statuses: str) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.status in statuses)


class About(Struct, frozen=True, kw_only=True):
    """What the pairs do not say themselves."""

    base: Build
    head: Build
    arguments: tuple[str, ...]
    scenarios: tuple[str, ...]
    seed: int
    workers: int
    fault_kinds: tuple[str, ...]
    oracles: tuple[str, ...]
    profile: str = "stress"


def comparison(pairs: Sequence[Pair], failures: Sequence[Failure], about: About) -> Comparison:
    """All figures of these pairs, in order of plan."""
    analysis = paired.analyse(pairs, failures)
    word, because = _verdict(pairs, analysis)
    rows: dict[Side, list[RunRow]] = {"base": [p.base for p in pairs], "head": [p.head for p in pairs]}
    fired = {side: _fired(mine) for side, mine in rows.items()}
    different = [pair for pair in pairs if pair.difference is not None]
    return Comparison(
        version=COMPARISON_VERSION,
        verdict=word,
        because=because,
        base=about.base,
        head=about.head,
        arguments=about.arguments,
        scenarios=about.scenarios,
        seed=about.seed,
        workers=about.workers,
        runs=len(pairs),
        judged=analysis.judged,
        needed=analysis.needed,
        counts={side: _counts(mine) for side, mine in rows.items()},
        metrics=analysis.metrics,
        findings=analysis.findings,
        journals_different=len(different),
        differences=tuple(
            Diverging(scenario=pair.scenario, n=pair.n, difference=pair.difference)
            for pair in different[:DIFFERENCES_MAX]
            if pair.difference is not None
        ),
        failures=tuple(
            Failed(scenario=one.scenario, n=one.n, side=one.side, fingerprint=one.fingerprint) for one in failures
        ),
        faults_fired={k: (fired["base"][k], fired["head"][k]) for k in sorted(fired["base"] | fired["head"])},
        not_tested=_gaps(rows, fired, about),
        profile=about.profile,
    )


def _fired(rows: Sequence[RunRow]) -> Counter[str]:
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.faults_fired)
    return total


def _counts(rows: Sequence[RunRow]) -> SideCounts:
    verdicts = Counter(row.verdict for row in rows)
    times = sorted(summary.recoveries(rows))
    return SideCounts(
        passed=verdicts["PASS"],
        failed=verdicts["FAIL"],
        unknown=verdicts["UNKNOWN"],
        idle=verdicts["IDLE"],
        steps_redone=sum(row.steps_redone for row in rows),
        workers_lost=sum(row.workers_lost for row in rows),
        recoveries=len(times),
        recovery_p50_ns=percentile(times, 50) if times else None,
        recovery_p99_ns=percentile(times, 99) if times else None,
        recovery_worst_ns=times[-1] if times else None,
    )


def _gaps(
    rows: Mapping[Side, Sequence[RunRow]], fired: Mapping[Side, Counter[str]], about: About
) -> tuple[NotTested, ...]:
    """Kinds that took effect on neither build, and oracles that judged neither."""
    gaps = [
        NotTested(what=kind, why="took effect on neither build")
        for kind in about.fault_kinds
        if not any(fired[side][kind] for side in fired)
    ]
    judged = {oracle for mine in rows.values() for row in mine for oracle in row.judged}
    gaps += [NotTested(what=oracle, why="judged no plan") for oracle in about.oracles if oracle not in judged]
    return tuple(gaps)


def _verdict(pairs: Sequence[Pair], analysis: Analysis) -> tuple[Word, str]:
    """The word, and its reason in one sentence."""
    if analysis.worse:
        return REGRESSION, f"HEAD is worse in {', '.join(analysis.worse)}."
    if analysis.judged < analysis.needed:
        few = f"{plural(analysis.judged, 'plan')} could be judged on both builds"
        return TOO_LITTLE, f"{few}; a regression shows in {analysis.needed} at the least."
    unknown = sum("UNKNOWN" in (pair.base.verdict, pair.head.verdict) for pair in pairs)
    if unknown:
        return TOO_LITTLE, f"An oracle could not judge {plural(unknown, 'plan')}."
    undecided = [finding for finding in analysis.findings if finding.undecided]
    if undecided:
        most = max(undecided, key=lambda finding: finding.head)
        needed = -(-len(pairs) * analysis.needed // most.head)
        what = f"{most.fingerprint} failed on HEAD alone, in {plural(most.head, 'plan')}"
        return TOO_LITTLE, f"{what}: too few to tell from chance. About {needed:,} runs would."
    bound = at_most(upper_bound(analysis.metrics[0].tested.new, analysis.judged))
    return GOOD, f"New failures in at most {bound} of plans (95%, exact, one-sided, under this profile)."


def write(found: Comparison, folder: Path) -> None:
    """The comparison's files in `folder`, `compare.json` last; `latest` beside the folder moves there."""
    from reports import comparison_page, comparison_text

    files = {
        "summary.md": comparison_text.markdown(found).encode(),
        "junit.xml": comparison_text.junit(found),
        "report.html": comparison_page.render(found).encode(),
        FILE: json_bytes(found),
    }
    try:
        (folder / FILE).unlink(missing_ok=True)
        for name, data in files.items():
            put(folder / name, data)
        point(folder)
    except OSError as error:
        what = f"cannot write the report: {error.strerror}"
        raise Refused(what, str(folder), "choose another output folder") from None


def load(folder: Path) -> Comparison:
    """The comparison in `folder`; raises Refused when there is none, or when it is damaged."""
    path = folder / FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Comparison)
    except OSError as error:
        raise Refused(f"no comparison here: {error.strerror}", str(path), "give a folder that compare wrote") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"damaged: {error}", str(path), "compare anew") from None
    if found.version != COMPARISON_VERSION:
        raise Refused(f"version {found.version}, not {COMPARISON_VERSION}", str(path), "compare anew")
    return found
