"""`wasm-engine enumerate`: the same run once per point at which something can go wrong, all of them."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from harness import cases
from harness.campaign import Campaign, Ended, Task
from harness.check import Checker
from harness.commands.common import (
    build_option,
    config_option,
    elsewhere,
    examples,
    given,
    json_option,
    own_workers,
    print_json,
    progress,
    seed_option,
    under,
    workers_option,
)
from harness.enumeration import FAMILIES, LEFT_OUT, NEVER, Point, Target, bare_plan, check_point, points_of
from harness.progress_file import ProgressFile, key
from runtime.errors import Refused
from scenarios import get

RANGE = 16
CASES_MAX = 5
FAILURES_SHOWN = 10
SHORT = 16


@click.command(
    name="enumerate",
    short_help="Every point of a scenario at which something can go wrong, one run each.",
    epilog=examples(
        "wasm-engine enumerate hello",
        "wasm-engine enumerate hello --family ports --family writes",
        "wasm-engine enumerate frames --family kills --family flips --ticks 10:12 --jobs 4 --json",
        "wasm-engine enumerate assistants --family inferences",
        "wasm-engine enumerate ledger --family ports --ticks 60:60 --build ../other-checkout",
    ),
)
@click.argument("scenario")
@seed_option
@workers_option
@click.option(
    "--family",
    "families",
    multiple=True,
    type=click.Choice(FAMILIES),
    help="Only this family; may be repeated. All of them by default.",
)
@click.option("--ticks", default="", metavar="A:B", help="Only in ticks A to B; all of them by default.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    default=os.cpu_count() or 1,
    show_default=True,
    help="Processes.",
)
@click.option(
    "--store",
    default="out/enumerate",
    callback=given,
    show_default=True,
    metavar="DIR",
    help="Folder for failing cases, and for what an interrupted call has done.",
)
@click.option("--fresh", is_flag=True, help="Forget what an interrupted call has done.")
@config_option
@build_option
@json_option
def enumerate_(
    scenario: str,
    seed: int,
    workers: int,
    families: tuple[str, ...],
    ticks: str,
    jobs: int,
    store: str,
    fresh: bool,
    config: Path | None,
    build: str,
    as_json: bool,
) -> int:
    """Run SCENARIO once per point at which something can go wrong, and see that the journal stays the same.

    Workers die at each host call, copy and step, under four sizes of the pool; the orchestrator at each port call and
    in each phase of each tick, and with the disk at each write; the accelerator goes at each request; each shared
    version and each frame is altered. A failing point becomes a case below DIR/cases. An interrupted call goes on where
    it was. Exit 12 when a point could not be judged, or none had an effect.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    chosen = tuple(family for family in FAMILIES if family in (families or FAMILIES))
    name = under(scenario, config)
    workers = own_workers(workers, [name])
    target = Target(name, seed, workers, chosen, *_ticks(ticks))
    checker = Checker(get(name))
    bare = checker.check(bare_plan(checker, target))
    if bare.failed:
        evidence = "; ".join(line for name in bare.failed for line in bare.findings[name].evidence[:1])
        print(f"{scenario} fails even where nothing goes wrong: {', '.join(bare.failed)}: {evidence}", file=sys.stderr)
        return 1
    points = points_of(checker, target)
    done = ProgressFile(Path(store), key(target, points), fresh)
    before = len(done.ended)
    if before:
        print(f"{before} of {len(points)} points were run before the interruption", file=sys.stderr)
    ended = _run(target, len(points), jobs, done)
    counted = _Counted.of(ended, bare.row.journal_digest)
    written = _cases(checker, target, points, counted.failed, Path(store))
    if as_json:
        told = {"scenario": scenario, "resumed": before, **counted.told(len(points)), "families": {}, "kinds": {}}
        told |= {"families": _families(chosen, points, ended, bare.row.journal_digest), "kinds": _kinds(points)}
        print_json(told | {"journal_digest": counted.journal, "not_enumerated": LEFT_OUT, "cases": written})
    else:
        _print(scenario, seed, chosen, points, ended, counted)
    _failures(points, [one for one in ended if one not in counted.passed], as_json)
    for path in written if not as_json else ():
        print(f"replay it: wasm-engine replay {path}{f' --build {build}' if build else ''}")
    return _exit(len(points), counted)


class _Counted(NamedTuple):
    """The runs by verdict; all but the failed and the unknown gave the journal `journal`."""

    passed: list[Ended]
    idle: list[Ended]
    failed: list[Ended]
    unknown: int
    traces: int
    journal: str

    @classmethod
    def of(cls, ended: Sequence[Ended], journal: str) -> _Counted:
        same = [one for one in ended if one.row.journal_digest == journal]
        passed = [one for one in same if one.row.verdict == "PASS"]
        idle = [one for one in same if one.row.verdict == "IDLE"]
        failed = [one for one in ended if one.row.verdict == "FAIL"]
        unknown = len(ended) - len(passed) - len(idle) - len(failed)
        return cls(passed, idle, failed, unknown, len({one.row.trace_digest for one in ended}), journal)

    def told(self, points: int) -> dict[str, object]:
        """The counts as --json has them, for all points or for a family's."""
        return {
            "points": points,
            "run": len(self.passed) + len(self.idle) + len(self.failed) + self.unknown,
            "passed": len(self.passed),
            "failed": len(self.failed),
            "idle": len(self.idle),
            "unknown": self.unknown,
            "distinct_traces": self.traces,
        }


def _families(
    families: Sequence[str], points: Sequence[Point], ended: Sequence[Ended], journal: str
) -> dict[str, dict[str, object]]:
    """Per family what `told` says of all; one without any point is there as well."""
    of_family: dict[str, list[Ended]] = {family: [] for family in families}
    for one in ended:
        of_family[points[one.row.run].family].append(one)
    sizes = Counter(point.family for point in points)
    return {name: _Counted.of(of_family[name], journal).told(sizes[name]) for name in families}


def _kinds(points: Sequence[Point]) -> dict[str, int]:
    """How many points there are of each kind, in the order in which they come."""
    return dict(Counter(f"{point.family}: {point.kind}" for point in points))


def _print(
    scenario: str, seed: int, families: Sequence[str], points: list[Point], ended: list[Ended], counted: _Counted
) -> None:
    kinds: dict[str, Counter[str]] = {}
    for point in points:
        kinds.setdefault(point.family, Counter())[point.kind] += 1
    for family, told in _families(families, points, ended, counted.journal).items():
        shares = ", ".join(f"{n} {kind}" for kind, n in kinds.get(family, Counter()).items())
        print(f"{family:<11} {told['run']} of {told['points']} run, {told['passed']} passed: {shares or 'none here'}")
    for what, why in LEFT_OUT.items():
        print(f"{what:<11} not enumerated: {why}")
    same = len(counted.passed) + len(counted.idle)
    print(f"{scenario}, seed {seed}: {len(ended)} of {len(points)} points run, {len(counted.passed)} passed", end="")
    print(f", {len(counted.idle)} without effect" if counted.idle else "")
    print(f"{same} gave the same journal  {counted.journal[:SHORT]}, {counted.traces} distinct traces")


def _exit(points: int, counted: _Counted) -> int:
    """What nobody notices, as the run is over, gives the same journal, but is not counted among the passed."""
    if counted.failed:
        return 1
    if not points:
        return 5
    return 0 if counted.passed and len(counted.passed) + len(counted.idle) == points else 12


def _ticks(text: str) -> tuple[int, int]:
    if not text:
        return 0, NEVER
    match = re.fullmatch(r"([0-9]{1,15}):([0-9]{1,15})", text)
    if match is None or int(match[1]) > int(match[2]):
        raise Refused(f"cannot read {text[:40]!r}", "--ticks", "give the first and the last tick, as in 3:5")
    return int(match[1]), int(match[2])


def _run(target: Target, points: int, jobs: int, done: ProgressFile) -> list[Ended]:
    """Run what is left; whatever ends it, what has ended is on disk."""
    left = [run for run in range(points) if run not in done.ended]
    ranges = [tuple(left[start : start + RANGE]) for start in range(0, len(left), RANGE)]
    tasks = [
        Task(target.scenario, target.seed, runs, target.workers, target.families, target.first, target.last)
        for runs in ranges
    ]
    complete = False
    try:
        with progress("points", len(left)) as step:
            failed = sum(one.row.verdict == "FAIL" for one in done.ended.values())

            def on_end(one: Ended) -> bool:
                nonlocal failed
                failed += one.row.verdict == "FAIL"
                done.add(one)
                step(f"{failed} failed")
                return False

            Campaign(jobs, on_end).run(tasks)
        complete = len(done.ended) == points
    finally:
        done.close(complete)
    return [done.ended[run] for run in sorted(done.ended)]


def _cases(checker: Checker, target: Target, points: list[Point], failed: list[Ended], store: Path) -> list[str]:
    """A case for the first failure of each kind; none for a point that takes the interpreter with it."""
    first: dict[tuple[str, ...], int] = {}
    for one in failed:
        if one.plan:
            first.setdefault(one.row.failed_oracles, one.row.run)
    written = []
    for run in list(first.values())[:CASES_MAX]:
        checked = check_point(checker, target, points[run], run)
        try:
            written.append(str(cases.write(checked, checker.scenario, store / "cases")))
        except OSError as error:
            raise Refused(f"cannot be written: {error.strerror}", str(store), "give another --store") from None
    return written


def _failures(points: list[Point], bad: list[Ended], as_json: bool) -> None:
    """The points that did not pass; with --json on stderr, as stdout holds one object."""
    file = sys.stderr if as_json else sys.stdout
    for one in bad[:FAILURES_SHOWN]:
        oracles = ", ".join(one.row.failed_oracles or one.row.unknown_oracles) or "no effect, same journal"
        print(f"{one.row.verdict} {points[one.row.run]}: {oracles}  {one.row.detail}".rstrip(), file=file)
    if len(bad) > FAILURES_SHOWN:
        print(f"and {len(bad) - FAILURES_SHOWN} more", file=file)
