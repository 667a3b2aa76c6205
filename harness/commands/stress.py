"""`wasm-engine stress`: a campaign of random plans over scenarios, its cases and its report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from faults.profiles import Profile, find
from harness import builds, pairing, sometimes
from harness.campaign import RANGE, Campaign, Ended, Task, tasks_of
from harness.check import Checker
from harness.commands.common import (
    build_option,
    config_option,
    elsewhere,
    examples,
    given,
    good_option,
    json_option,
    own_workers,
    print_json,
    progress,
    seed_option,
    under,
    workers_option,
)
from harness.commands.folders import fresh
from harness.commands.stress_cases import Repeat, Shrinking, with_cases
from harness.commands.stress_meta import meta_of
from harness.oracles import ORACLES
from harness.pairing import Pair
from harness.runner import DEFAULT_PROFILE
from harness.shrinking import RUNS_MAX
from reports import Meta, RunRow, count, summary, verdict, write
from reports.tables import show
from runtime.errors import Refused
from scenarios import SCENARIOS, get

INTERRUPTED = 2

RUNS = 800
UNTIL_RUNS = 5000  # of a campaign that ends when all states were reached, or all pairs met
EXIT = {"PASSED": 0, "FAILED": 1, "INCONCLUSIVE": 12, "NOTHING RAN": 5}


class Asked(NamedTuple):
    """What was asked for: the scenarios, the profile, and the options of the command line."""

    names: list[str]
    runs: int
    until_covered: bool
    pairs: bool
    only: int | None
    profile_name: str
    seed: int
    workers: int
    jobs: int
    shrink_runs: int
    prefer: str
    good: str
    store: str
    as_json: bool

    @property
    def profile(self) -> Profile:
        return find(self.profile_name)

    def task(self, name: str, runs: Sequence[int]) -> Task:
        sent = "" if self.profile == find(DEFAULT_PROFILE) else self.profile.model_dump_json()
        return Task(name, self.seed, tuple(runs), self.workers, profile=sent, pairs=self.pairs)


@click.command(
    short_help="Many runs with random inputs and faults; a report.",
    epilog=examples(
        "wasm-engine stress",
        "wasm-engine stress ledger --runs 1000 --seed 7 --jobs 4",
        "wasm-engine stress ledger --seed 7 --only 23",
        "wasm-engine stress --profile field",
        "wasm-engine stress --profile my-rack.toml --runs 200",
        "wasm-engine stress --until-covered",
        "wasm-engine stress --pairs",
        "wasm-engine stress --build ../other-checkout --json",
    ),
)
@click.argument("names", nargs=-1, metavar="[SCENARIO]...")
@click.option(
    "--runs", type=click.IntRange(0, 10_000_000), metavar="N", default=RUNS, show_default=True, help="Runs in all."
)
@click.option(
    "--until-covered",
    is_flag=True,
    help=f"Run until every reachable `sometimes` state was reached, at most --runs ({UNTIL_RUNS} unless given).",
)
@click.option(
    "--pairs",
    is_flag=True,
    help=f"Let every two kinds of faults meet in one run, at most --runs ({UNTIL_RUNS} unless given).",
)
@click.option(
    "--only",
    type=click.IntRange(0, 10_000_000),
    metavar="N",
    default=None,
    help="Just this run of each scenario's campaign.",
)
@click.option(
    "--profile",
    "profile_name",
    default=DEFAULT_PROFILE,
    callback=given,
    show_default=True,
    metavar="NAME|FILE",
    help="Which faults are drawn; see `wasm-engine profiles`.",
)
@seed_option
@workers_option
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    default=os.cpu_count() or 1,
    show_default=True,
    help="Processes.",
)
@click.option(
    "--shrink-runs",
    type=click.IntRange(0, 10_000),
    metavar="N",
    default=RUNS_MAX,
    show_default=True,
    help="Runs that shrinking one failure may take.",
)
@click.option(
    "--prefer", callback=given, metavar="ORACLE", help="Shrink for this oracle, where it is among the failed."
)
@click.option(
    "--store", default="out", callback=given, show_default=True, help="Folder for the results.", metavar="DIR"
)
@config_option
@build_option
@good_option
@json_option
def stress(build: str, **options: Any) -> int:
    """Run random inputs and fault schedules over each SCENARIO (all built-in ones by default); judge every run.

    A failure is shrunk, fewest faults first, and written as a case that replays. The report is in DIR/latest.
    The evidence is simulated: no process, disk or device of this machine fails.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    asked = _asked(options)
    wanted = sometimes.reachable(asked.names, asked.profile)
    kinds = _kinds(asked) if asked.pairs else {}
    pairs = tuple(sorted({pair for mine in kinds.values() for pair in pairing.pairs_of(mine)}))
    meta = meta_of(asked.names, asked.profile, wanted, pairs)
    with fresh(Path(asked.store), "stress") as folder:
        stopped: list[int] = []  # how many runs were asked for, once an interrupt has ended the campaign early
        pairwise = asked.pairs and asked.only is None
        ended = _pairs(asked, kinds, pairs, stopped) if pairwise else _run(asked, wanted, stopped)
        if any(one.plan for one in ended):  # shrinking runs the build here, which may be the end of this interpreter
            write([one.row for one in ended], meta, folder)
        # Who interrupts wants an end: what was run is kept as it is, and nothing is shrunk.
        shrinking = Shrinking(0 if stopped else asked.shrink_runs, asked.prefer, asked.good)
        rows = with_cases(ended, folder, shrinking, Repeat(asked.seed, asked.profile_name, asked.pairs))
        write(rows, meta, folder)
    code = _told(asked, rows, meta, folder / "report.html")
    if stopped:
        print(f"wasm-engine: interrupted after {len(rows)} of {stopped[0]} runs; the report has them", file=sys.stderr)
    return INTERRUPTED if stopped else code


def _asked(options: dict[str, Any]) -> Asked:
    config = options.pop("config")
    names = list(dict.fromkeys(under(name, config) for name in options.pop("names") or tuple(SCENARIOS)))
    asked = Asked(names=names, **options)
    if asked.prefer and asked.prefer not in ORACLES:
        raise Refused(f"unknown oracle {asked.prefer!r}", "--prefer", f"there is {', '.join(ORACLES)}")
    if asked.good and asked.good != builds.OWN:
        builds.folder_of(asked.good)
    if asked.until_covered and (unknown := [name for name in names if get(name).files]):
        raise Refused(
            f"which states {unknown[0]} can reach is not known", "--until-covered", "leave it out; give --runs"
        )
    if asked.until_covered and asked.pairs:
        raise Refused("--until-covered and --pairs at once", "stress", "give one of them")
    source = click.get_current_context().get_parameter_source
    if source("profile_name") is ParameterSource.DEFAULT:
        asked = asked._replace(profile_name=_own_profile(names))
    asked = asked._replace(workers=own_workers(asked.workers, names))
    find(asked.profile_name)
    unset = source("runs") is ParameterSource.DEFAULT
    return asked._replace(runs=UNTIL_RUNS) if unset and (asked.until_covered or asked.pairs) else asked


def _own_profile(names: list[str]) -> str:
    """The profile that the scenarios' files name; raises Refused where they name different ones."""
    own = sorted({get(name).profile for name in names} - {""})
    if len(own) > 1:
        raise Refused(f"the scenarios name different profiles, {' and '.join(own)}", "stress", "give --profile")
    return own[0] if own else DEFAULT_PROFILE


def _run(asked: Asked, wanted: tuple[str, ...], stopped: list[int]) -> list[Ended]:
    """All runs, or as many as it takes until each of the wanted properties has held."""
    tasks = tasks_of(asked.names, asked.runs, asked.seed, asked.workers, asked.task("", ()).profile)
    if asked.only is not None:
        tasks = [asked.task(name, (asked.only,)) for name in asked.names]
    missing = dict.fromkeys(wanted if asked.until_covered else ())
    until = bool(missing)

    def news(one: Ended) -> tuple[str, bool]:
        for name in one.row.reached:
            missing.pop(name, None)
        return f", {len(missing)} states to reach" if until else "", until and not missing

    return _campaign(asked, tasks, news, stopped)


def _kinds(asked: Asked) -> dict[str, tuple[str, ...]]:
    """The kinds that can happen, by scenario: each of them has its own pairs and its own numbers of runs."""
    return {name: pairing.possible_kinds(Checker(get(name)), asked.profile, asked.seed) for name in asked.names}


def _pairs(asked: Asked, kinds: dict[str, tuple[str, ...]], pairs: tuple[Pair, ...], stopped: list[int]) -> list[Ended]:
    """A cover of all pairs in each scenario, then what has not met yet, a pair at a time, as long as runs are left."""
    missing = dict.fromkeys(pairs)
    ended: list[Ended] = []

    def news(one: Ended) -> tuple[str, bool]:
        for pair in pairing.met([(one.row.scenario, one.row.faults_fired)]):
            missing.pop(pair, None)
        return f", {len(missing)} pairs to meet", False

    for attempt in range(1 + pairing.ATTEMPTS):
        tasks = []
        for name, mine in kinds.items():
            runs = list(range(len(pairing.sets_of(mine))))
            if attempt:
                runs = [pairing.run_of(mine, pair, attempt) for pair in missing if set(pair) <= set(mine)]
            tasks += [asked.task(name, runs[first : first + RANGE]) for first in range(0, len(runs), RANGE)]
        ended += _campaign(asked, _first(tasks, asked.runs - len(ended)), news, stopped)
        if stopped or not missing:
            break
    return sorted(ended, key=lambda one: (one.row.scenario, one.row.run))


def _first(tasks: list[Task], runs: int) -> list[Task]:
    """The first so many runs of the tasks."""
    kept = []
    for task in tasks:
        part = task._replace(runs=task.runs[: max(0, runs)])
        runs -= len(part.runs)
        if part.runs:
            kept.append(part)
    return kept


def _campaign(
    asked: Asked, tasks: list[Task], news: Callable[[Ended], tuple[str, bool]], stopped: list[int]
) -> list[Ended]:
    """Carries out the tasks; `news` says of each run what to show, and whether that is enough.

    An interrupt ends them, and `stopped` gets their number; one before the first run has ended is passed on.
    """
    ended: list[Ended] = []
    with progress("runs", sum(len(task.runs) for task in tasks)) as step:

        def on_end(one: Ended) -> bool:
            ended.append(one)
            failed = sum(e.row.verdict == "FAIL" for e in ended)
            more, stop = news(one)
            step(f"{failed} failed{more}")
            return stop

        try:
            Campaign(asked.jobs, on_end).run(tasks)
        except KeyboardInterrupt:
            if not ended:
                raise
            stopped.append(sum(len(task.runs) for task in tasks))
    return sorted(ended, key=lambda e: (e.row.scenario, e.row.run))


def _told(asked: Asked, rows: list[RunRow], meta: Meta, report: Path) -> int:
    """Says what came of it; the exit code."""
    counts = count(rows)
    word, never, together = verdict(counts), summary.never_reached(rows, meta), summary.pairs(rows, meta)
    uncovered = (asked.until_covered and never) or (asked.pairs and together.missing)
    if asked.as_json:
        print_json(
            {
                "profile": asked.profile.name,
                "runs": counts.runs,
                "passed": counts.passed,
                "failed": counts.failed,
                "unknown": counts.unknown,
                "idle": counts.idle,
                "faults_fired": counts.faults_fired,
                "wrong_results": {"reached": counts.wrong_results, "found": counts.wrong_found},
                "oracles_judged": counts.oracles_judged,
                "sometimes": {line.name: line.runs for line in summary.sometimes(rows, meta)},
                "never_reached": [line.name for line in never],
                "pairs": {"possible": together.possible, "covered": together.covered, "missing": together.missing},
                "cases": sorted({row.case for row in rows if row.case}),
                "report": str(report),
            }
        )
    else:
        show(rows, meta)
        if asked.until_covered:
            print(_covered("states", "reached", len(meta.sometimes), len(never), counts.runs))
        if asked.pairs:
            print(_covered("pairs", "met", together.possible, len(together.missing), counts.runs))
            for one, other in together.missing:
                print(f"  never together: {one} and {other}")
        print(f"report: {report}")
    return EXIT["INCONCLUSIVE"] if uncovered and word == "PASSED" else EXIT[word]


def _covered(what: str, verb: str, wanted: int, missing: int, runs: int) -> str:
    if missing:
        return f"not covered: {missing} of {wanted} {what} were not {verb} in {runs} runs"
    return f"covered: all {wanted} {what} were {verb} in {runs} runs"
