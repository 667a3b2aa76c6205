"""`wasm-engine stress`: a campaign of random plans over scenarios, its cases and its report."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from faults.profiles import find
from harness import builds, sometimes
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
    seed_option,
    under,
    workers_option,
)
from harness.commands.folders import fresh
from harness.commands.stress_cases import Repeat, Shrinking, with_cases
from harness.commands.stress_meta import meta_of
from harness.commands.stress_runs import Asked, by_kinds, kinds_of, pairs_of, plain, short_of
from harness.oracles import ORACLES
from harness.runner import DEFAULT_PROFILE
from harness.shrinking import RUNS_MAX
from reports import Meta, RunRow, count, summary, verdict, write
from reports.tables import show
from runtime.errors import Refused
from scenarios import SCENARIOS, get

INTERRUPTED = 2

RUNS = 800
UNTIL_RUNS = 5000  # of a campaign that ends when all that is asked for was reached
EXIT = {"PASSED": 0, "FAILED": 1, "INCONCLUSIVE": 12, "NOTHING RAN": 5}


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
        "wasm-engine stress --each 100",
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
    "--each",
    type=click.IntRange(0, 100_000),
    metavar="N",
    default=0,
    help=f"Let each kind of fault take effect N times, at most --runs ({UNTIL_RUNS} unless given).",
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
    kinds = kinds_of(asked) if asked.led_by_kinds else {}
    pairs = pairs_of(kinds) if asked.pairs else ()
    meta = meta_of(asked.names, asked.profile, wanted, pairs)
    with fresh(Path(asked.store), "stress") as folder:
        stopped: list[int] = []  # how many runs were asked for, once an interrupt has ended the campaign early
        led = asked.led_by_kinds and asked.only is None
        ended = by_kinds(asked, kinds, stopped) if led else plain(asked, wanted, stopped)
        if any(one.plan for one in ended):  # shrinking runs the build here, which may be the end of this interpreter
            write([one.row for one in ended], meta, folder)
        # Who interrupts wants an end: what was run is kept as it is, and nothing is shrunk.
        shrinking = Shrinking(0 if stopped else asked.shrink_runs, asked.prefer, asked.good)
        rows = with_cases(ended, folder, shrinking, Repeat(asked.seed, asked.profile_name, asked.led_by_kinds))
        write(rows, meta, folder)
    short = short_of((kind for mine in kinds.values() for kind in mine), rows, asked.each if asked.only is None else 0)
    code = _told(asked, rows, meta, short, folder / "report.html")
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
    if asked.until_covered and asked.led_by_kinds:
        raise Refused(
            f"--until-covered and {'--pairs' if asked.pairs else '--each'} at once", "stress", "give one of them"
        )
    source = click.get_current_context().get_parameter_source
    if source("profile_name") is ParameterSource.DEFAULT:
        asked = asked._replace(profile_name=_own_profile(names))
    asked = asked._replace(workers=own_workers(asked.workers, names))
    find(asked.profile_name)
    unset = source("runs") is ParameterSource.DEFAULT
    return asked._replace(runs=UNTIL_RUNS) if unset and (asked.until_covered or asked.led_by_kinds) else asked


def _own_profile(names: list[str]) -> str:
    """The profile that the scenarios' files name; raises Refused where they name different ones."""
    own = sorted({get(name).profile for name in names} - {""})
    if len(own) > 1:
        raise Refused(f"the scenarios name different profiles, {' and '.join(own)}", "stress", "give --profile")
    return own[0] if own else DEFAULT_PROFILE


def _told(asked: Asked, rows: list[RunRow], meta: Meta, short: dict[str, int], report: Path) -> int:
    """Says what came of it; the exit code. `short` are the kinds that struck too seldom."""
    counts = count(rows)
    word, never, together = verdict(counts), summary.never_reached(rows, meta), summary.pairs(rows, meta)
    uncovered = (asked.until_covered and never) or (asked.pairs and together.missing) or short
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
                "short_of_each": short,
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
        if asked.each:
            kinds = len({kind for row in rows for kind in row.faults_fired} | short.keys())
            print(_covered("kinds of faults", f"effective {asked.each} times", kinds, len(short), counts.runs))
            for kind, missing in short.items():
                print(f"  {kind}: {asked.each - missing} of {asked.each}")
        print(f"report: {report}")
    return EXIT["INCONCLUSIVE"] if uncovered and word == "PASSED" else EXIT[word]


def _covered(what: str, verb: str, wanted: int, missing: int, runs: int) -> str:
    if missing:
        return f"not covered: {missing} of {wanted} {what} were not {verb} in {runs} runs"
    return f"covered: all {wanted} {what} were {verb} in {runs} runs"
