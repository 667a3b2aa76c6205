"""`wasm-engine enumerate`: the same run once per kill point, all of them."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import click

from faults.plan import Fault
from harness import cases
from harness.campaign import Campaign, Ended, Task
from harness.check import Checker
from harness.commands.common import (
    build_option,
    elsewhere,
    examples,
    given,
    json_option,
    print_json,
    progress,
    seed_option,
    workers_option,
)
from harness.enumeration import ACCELERATOR, NEVER, ORCHESTRATOR, WORKERS, Target, bare_plan, check_point, kill_points
from runtime.errors import Refused
from scenarios import get

RANGE = 16
CASES_MAX = 5
FAILURES_SHOWN = 10
SHORT = 16


@click.command(
    name="enumerate",
    short_help="Every kill point of a scenario, one run each.",
    epilog=examples(
        "wasm-engine enumerate hello",
        "wasm-engine enumerate hello --orchestrator",
        "wasm-engine enumerate frames --ticks 10:12 --jobs 4 --json",
        "wasm-engine enumerate assistants --no-workers --accelerator",
        "wasm-engine enumerate ledger --no-workers --orchestrator --ticks 60:60 --build ../other-checkout",
    ),
)
@click.argument("scenario")
@seed_option
@workers_option
@click.option("--orchestrator", is_flag=True, help="Also kill the orchestrator before, within, after each port call.")
@click.option("--accelerator", is_flag=True, help="Also take the accelerator away at each token.")
@click.option("--no-workers", is_flag=True, help="Leave the workers alive.")
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
    help="Folder for failing cases.",
)
@build_option
@json_option
def enumerate_(
    scenario: str,
    seed: int,
    workers: int,
    orchestrator: bool,
    accelerator: bool,
    no_workers: bool,
    ticks: str,
    jobs: int,
    store: str,
    build: str,
    as_json: bool,
) -> int:
    """Run SCENARIO once per moment at a port at which a worker can die, and see that the journal stays the same.

    For each step: idle, on entering each host call, within each copy into a shared segment, and after it. A failing
    point becomes a case below DIR/cases. Exit 12 when a point could not be judged, or none had an effect.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    asked = ((WORKERS, not no_workers), (ORCHESTRATOR, orchestrator), (ACCELERATOR, accelerator))
    who = tuple(name for name, wanted in asked if wanted)
    target = Target(get(scenario).name, seed, workers, who, *_ticks(ticks))
    checker = Checker(get(scenario))
    bare = checker.check(bare_plan(checker, target))
    if bare.failed:
        evidence = "; ".join(line for name in bare.failed for line in bare.findings[name].evidence[:1])
        print(f"{scenario} fails even where nobody dies: {', '.join(bare.failed)}: {evidence}", file=sys.stderr)
        return 1
    points = kill_points(checker, target)
    ended = _run(target, len(points), jobs)
    counted = _Counted.of(ended, bare.row.journal_digest)
    written = _cases(checker, target, points, counted.failed, Path(store))
    if as_json:
        print_json(_told(scenario, points, counted, written))
    else:
        shares = ", ".join(f"{n} {kind}" for kind, n in kinds(points).items())
        print(f"{scenario}, seed {seed}: {len(points)} kill points: {shares or 'none'}")
        same = f"{len(counted.passed)} of {len(points)} kill points, same journal"
        print(f"{same}  {counted.journal[:SHORT]}, {counted.traces} distinct traces")
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
    def of(cls, ended: list[Ended], journal: str) -> _Counted:
        same = [one for one in ended if one.row.journal_digest == journal]
        passed = [one for one in same if one.row.verdict == "PASS"]
        idle = [one for one in same if one.row.verdict == "IDLE"]
        failed = [one for one in ended if one.row.verdict == "FAIL"]
        unknown = len(ended) - len(passed) - len(idle) - len(failed)
        return cls(passed, idle, failed, unknown, len({one.row.trace_digest for one in ended}), journal)


def _told(scenario: str, points: list[Fault], counted: _Counted, written: list[str]) -> dict[str, object]:
    """What `enumerate --json` prints."""
    return {
        "scenario": scenario,
        "points": len(points),
        "run": len(counted.passed) + len(counted.idle) + len(counted.failed) + counted.unknown,
        "passed": len(counted.passed),
        "failed": len(counted.failed),
        "idle": len(counted.idle),
        "unknown": counted.unknown,
        "distinct_traces": counted.traces,
        "journal_digest": counted.journal,
        "kinds": kinds(points),
        "cases": written,
    }


def _exit(points: int, counted: _Counted) -> int:
    """A death that nobody notices, as the run is over, gives the same journal, but is not counted among the passed."""
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


def kinds(points: list[Fault]) -> dict[str, int]:
    """How many points there are of each kind, in the order in which they come."""
    names = {"idle": "idle", "after": "after a step"}
    counts: Counter[str] = Counter()
    for fault in points:
        if fault.kind == "orchestrator.kill":
            counts["port calls of the orchestrator"] += 1
        elif fault.kind == "gpu.remove":
            counts["removals of the accelerator"] += 1
        elif "hostcall" in fault.at:
            counts["host calls"] += 1
        elif "byte" in fault.at:
            counts["within a copy"] += 1
        else:
            counts[names[str(fault.get("point"))]] += 1
    return dict(counts)


def _run(target: Target, points: int, jobs: int) -> list[Ended]:
    tasks = [
        Task(
            target.scenario,
            target.seed,
            tuple(range(start, min(start + RANGE, points))),
            target.workers,
            target.who,
            target.first,
            target.last,
        )
        for start in range(0, points, RANGE)
    ]
    ended: list[Ended] = []
    with progress("kill points", points) as step:
        failed = 0

        def on_end(one: Ended) -> bool:
            nonlocal failed
            failed += one.row.verdict == "FAIL"
            ended.append(one)
            step(f"{failed} failed")
            return False

        Campaign(jobs, on_end).run(tasks)
    return sorted(ended, key=lambda one: one.row.run)


def _cases(checker: Checker, target: Target, points: list[Fault], failed: list[Ended], store: Path) -> list[str]:
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


def _failures(points: list[Fault], bad: list[Ended], as_json: bool) -> None:
    """The points that did not pass; with --json on stderr, as stdout holds one object."""
    file = sys.stderr if as_json else sys.stdout
    for one in bad[:FAILURES_SHOWN]:
        oracles = ", ".join(one.row.failed_oracles or one.row.unknown_oracles) or "no effect, same journal"
        print(f"{one.row.verdict} {points[one.row.run]}: {oracles}  {one.row.detail}".rstrip(), file=file)
    if len(bad) > FAILURES_SHOWN:
        print(f"and {len(bad) - FAILURES_SHOWN} more", file=file)
