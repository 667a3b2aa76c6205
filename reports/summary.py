"""What the runs amount to: pure functions from rows to the figures that every rendering shows.

One computation for the table, the page, the Markdown and `run.json`, so that they cannot disagree. A run that was
UNKNOWN or IDLE is never among the passed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

from msgspec import Struct

from reports.frames import Meta, NotTested, RunRow
from reports.statistics import Spread, spread
from reports.words import number, plural

CLOSEST = 5


class Counts(Struct, frozen=True, kw_only=True):
    """Sums over some runs, in the words of the command line's JSON; keys in order."""

    runs: int
    passed: int
    failed: int
    unknown: int
    idle: int
    steps_redone: int
    workers_lost: int
    wrong_results: int = 0
    wrong_found: int = 0
    faults_planned: dict[str, int]
    faults_fired: dict[str, int]
    oracles_judged: dict[str, int]


class FaultLine(NamedTuple):
    kind: str
    planned: int
    fired: int
    runs: int  # in how many runs at least one took effect


class OracleLine(NamedTuple):
    oracle: str
    judged: int
    failed: int
    unknown: int


class ScenarioLine(NamedTuple):
    scenario: str
    counts: Counts
    recovery: Spread
    ticks: int
    messages: int
    agent_steps: int
    closest: tuple[RunRow, ...]
    rows: tuple[RunRow, ...]


class SometimesLine(NamedTuple):
    """A property, in how many runs it held, and the first of them (scenario, run); None for none."""

    name: str
    sentence: str
    runs: int
    first: RunRow | None


class Group(NamedTuple):
    """Failures with the same fingerprint, in order of run."""

    oracles: tuple[str, ...]
    component: str
    rows: tuple[RunRow, ...]


def _sum(rows: Sequence[RunRow], pick: Callable[[RunRow], dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for row in rows:
        total.update(pick(row))
    return {kind: total[kind] for kind in sorted(total)}


def count(rows: Sequence[RunRow]) -> Counts:
    verdicts = Counter(row.verdict for row in rows)
    return Counts(
        runs=len(rows),
        passed=verdicts["PASS"],
        failed=verdicts["FAIL"],
        unknown=verdicts["UNKNOWN"],
        idle=verdicts["IDLE"],
        steps_redone=sum(row.steps_redone for row in rows),
        workers_lost=sum(row.workers_lost for row in rows),
        wrong_results=sum(row.wrong_results for row in rows),
        wrong_found=sum(row.wrong_found for row in rows),
        faults_planned=_sum(rows, lambda row: row.faults_planned),
        faults_fired=_sum(rows, lambda row: row.faults_fired),
        oracles_judged=_sum(rows, lambda row: dict.fromkeys(row.judged, 1)),
    )


class Trials(NamedTuple):
    """What a bound on the failure rate is computed from: `n` workloads judged, `failed` of them in any run.

    Runs that share a workload are not independent, so all of them are one trial. `runs` and `runs_failed` count runs.
    """

    n: int
    failed: int
    runs: int
    runs_failed: int


def trials(rows: Sequence[RunRow]) -> Trials:
    """The independent trials among the runs: one for each (scenario, seed) that has a passed or a failed run."""
    workloads: dict[tuple[str, int], bool] = {}
    verdicts = [(row.scenario, row.seed, row.verdict == "FAIL") for row in rows if row.verdict in ("PASS", "FAIL")]
    for scenario, seed, failed in verdicts:
        workloads[scenario, seed] = workloads.get((scenario, seed), False) or failed
    return Trials(len(workloads), sum(workloads.values()), len(verdicts), sum(failed for *_, failed in verdicts))


def sentence(trials: Trials) -> str:
    """Both numbers behind a bound, for readers: the trials it counts, and the runs that they were."""
    workloads, runs = plural(trials.n, "independent workload"), plural(trials.runs, "run")
    return (
        f"{number(trials.failed)} of {workloads} failed, in {runs} of which {number(trials.runs_failed)} failed; "
        "runs that share a workload count as one trial."
    )


def verdict(counts: Counts) -> str:
    """FAILED, INCONCLUSIVE (an unknown run, or every run idle), NOTHING RAN or PASSED, the first that holds."""
    if counts.failed:
        return "FAILED"
    if not counts.runs:
        return "NOTHING RAN"
    if counts.unknown or counts.idle == counts.runs:
        return "INCONCLUSIVE"
    return "PASSED"


def closest_calls(rows: Sequence[RunRow], n: int = CLOSEST) -> tuple[RunRow, ...]:
    """Passed runs whose longest recovery came nearest to the liveness bound; runs without a recovery have none."""
    calls = [row for row in rows if row.verdict == "PASS" and row.recoveries_ns]
    return tuple(sorted(calls, key=lambda row: (row.margin_ns, row.scenario, row.run))[:n])


def recoveries(rows: Sequence[RunRow]) -> list[int]:
    return [ns for row in rows for ns in row.recoveries_ns]


def scenarios(rows: Sequence[RunRow]) -> tuple[ScenarioLine, ...]:
    lines = []
    for name in sorted({row.scenario for row in rows}):
        mine = tuple(row for row in rows if row.scenario == name)
        lines.append(
            ScenarioLine(
                name,
                count(mine),
                spread(recoveries(mine)),
                sum(row.ticks for row in mine),
                sum(row.messages for row in mine),
                sum(row.agent_steps for row in mine),
                closest_calls(mine),
                mine,
            )
        )
    return tuple(lines)


def faults(rows: Sequence[RunRow], meta: Meta) -> tuple[FaultLine, ...]:
    """One line per kind that could fire or was planned, those that never took effect included."""
    counts = count(rows)
    present = Counter(kind for row in rows for kind, n in row.faults_fired.items() if n)
    kinds = sorted({*meta.fault_kinds, *counts.faults_planned, *counts.faults_fired})
    return tuple(
        FaultLine(kind, counts.faults_planned.get(kind, 0), counts.faults_fired.get(kind, 0), present[kind])
        for kind in kinds
    )


def _number_last(name: str) -> tuple[str, int, str]:
    """I9 before I11: letters first, then the number."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1), name


def oracles(rows: Sequence[RunRow], meta: Meta) -> tuple[OracleLine, ...]:
    """One line per oracle that could judge or did, those that never judged included."""
    judged = Counter(name for row in rows for name in row.judged)
    failed = Counter(name for row in rows for name in row.failed_oracles)
    unknown = Counter(name for row in rows for name in row.unknown_oracles)
    names = sorted({*meta.oracles, *judged, *failed, *unknown}, key=_number_last)
    return tuple(OracleLine(name, judged[name], failed[name], unknown[name]) for name in names)


def sometimes(rows: Sequence[RunRow], meta: Meta) -> tuple[SometimesLine, ...]:
    """One line per property that could be reached, those that never were included."""
    holding: dict[str, list[RunRow]] = {one.name: [] for one in meta.sometimes}
    for row in rows:
        for name in row.reached:
            if name in holding:
                holding[name].append(row)
    return tuple(
        SometimesLine(one.name, one.sentence, len(mine := holding[one.name]), mine[0] if mine else None)
        for one in meta.sometimes
    )


def never_reached(rows: Sequence[RunRow], meta: Meta) -> tuple[SometimesLine, ...]:
    return tuple(line for line in sometimes(rows, meta) if not line.runs)


class Pairs(NamedTuple):
    """Pairs of kinds that can meet in one run, how many took effect together in one, and those that never did."""

    possible: int
    covered: int
    missing: tuple[tuple[str, str], ...]


def pairs(rows: Sequence[RunRow], meta: Meta) -> Pairs:
    """`meta` says which pairs are possible; where it does not, those of kinds that were planned in one scenario."""
    planned: dict[str, set[str]] = {}
    met: set[tuple[str, str]] = set()
    for row in rows:
        planned.setdefault(row.scenario, set()).update(row.faults_planned)
        met.update(combinations(sorted(kind for kind, n in row.faults_fired.items() if n), 2))
    possible = set(meta.pairs) or {pair for kinds in planned.values() for pair in combinations(sorted(kinds), 2)}
    return Pairs(len(possible), len(possible & met), tuple(sorted(possible - met)))


def groups(rows: Sequence[RunRow]) -> tuple[Group, ...]:
    """Failed runs by (set of oracles, component), the largest group first."""
    found: dict[tuple[tuple[str, ...], str], list[RunRow]] = {}
    for row in rows:
        if row.verdict == "FAIL":
            key = tuple(sorted(set(row.failed_oracles), key=_number_last)), row.component or row.scenario
            found.setdefault(key, []).append(row)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(Group(names, component, tuple(members)) for (names, component), members in ordered)


def by_reason(gaps: Sequence[NotTested]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(why, what) of the gaps, those with the same reason together, in order of their first."""
    found: dict[str, list[str]] = {}
    for gap in gaps:
        found.setdefault(gap.why, []).append(gap.what)
    return tuple((why, tuple(what)) for why, what in found.items())


def not_tested(rows: Sequence[RunRow], meta: Meta) -> tuple[NotTested, ...]:
    """What this campaign says nothing about: kinds without effect, oracles that never judged, and what `meta` names."""
    gaps = [
        NotTested(
            what=line.kind, why=f"planned {line.planned} times, never took effect" if line.planned else "not drawn"
        )
        for line in faults(rows, meta)
        if not line.fired
    ]
    gaps += [NotTested(what=line.oracle, why="never judged a run") for line in oracles(rows, meta) if not line.judged]
    return (*gaps, *meta.not_tested)
