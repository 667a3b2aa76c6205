"""`wasm-engine prove`: does the harness find bugs that are known to be there?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

import click
from rich.console import Console
from rich.table import Table

from faults.mutants import MUTANTS, Mutant
from harness import proving
from harness.campaign import Campaign, Ended, tasks_of
from harness.commands.common import examples, given, json_option, print_json, progress, seed_option
from harness.progress_file import KeptLines, key_of
from runtime.errors import Refused

RUNS = 2000
RARE_RUNS = 5000
CLEAN_RUNS = 120


@click.command(
    short_help="Plant known bugs and see whether they are found.",
    epilog=examples("wasm-engine prove", "wasm-engine prove --mutant torn_buffer_accepted --runs 60 --diagnose --json"),
)
@click.option(
    "--runs", type=click.IntRange(1), metavar="N", default=RUNS, show_default=True, help="At most, per mutant."
)
@click.option(
    "--rare-runs",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    show_default=True,
    help=f"At most, per rare mutant; {RARE_RUNS} finds most of them. 0 leaves them out, unless they are named.",
)
@click.option(
    "--clean-runs",
    type=click.IntRange(0),
    metavar="N",
    default=CLEAN_RUNS,
    show_default=True,
    help="On the good build.",
)
@click.option("--mutant", "names", multiple=True, metavar="NAME", help="Only this mutant; may be repeated.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    default=os.cpu_count() or 1,
    show_default=True,
    help="Processes.",
)
@click.option("--measure", is_flag=True, help="Make all runs, also behind the first that finds it: how often it shows.")
@click.option("--diagnose", is_flag=True, help="Have `why` explain each case, and count what it names first.")
@click.option(
    "--store",
    default="out/prove",
    callback=given,
    show_default=True,
    metavar="DIR",
    help="Folder for the cases, and for what an interrupted call has done.",
)
@click.option("--fresh", is_flag=True, help="Forget what an interrupted call has done.")
@seed_option
@json_option
def prove(
    runs: int,
    rare_runs: int,
    clean_runs: int,
    names: tuple[str, ...],
    jobs: int,
    measure: bool,
    diagnose: bool,
    store: str,
    fresh: bool,
    seed: int,
    as_json: bool,
) -> int:
    """Plant known bugs in copies of the runtime, run each as a build, and see whether the oracle named for it fails.

    Each failure's shrunk case must replay as FAILED on the mutant and FIXED on the good build. Exit 1 when a mutant
    survives, is named by another oracle only, no longer applies, or when the good build raises an alarm. An interrupted
    call goes on where it was.
    """
    chosen = [mutant for mutant in _chosen(names) if names or rare_runs or not mutant.rare]
    asked = proving.Asked(runs, seed, jobs, Path(store), diagnose, measure)
    found = _prove(chosen, asked, rare_runs or RARE_RUNS, fresh)
    clean = _clean(sorted({m.scenario for m in chosen}), clean_runs, seed, jobs)
    told = proving.summary(found, clean)
    details = proving.write_details(found, told, Path(store))
    if as_json:
        print_json(told)
        _reasons(found, sys.stderr)
    else:
        _print(found, told)
        print(f"details: {details}")
    return 0 if proving.good(found, clean) else 1


def _prove(chosen: list[Mutant], asked: proving.Asked, rare_runs: int, fresh: bool) -> list[proving.Found]:
    """What became of each mutant; whatever ends it, what is known of those that are done is on disk."""
    words = (asked.runs, rare_runs, asked.seed, asked.diagnose, asked.measure, *(m.name for m in chosen))
    done = KeptLines(asked.store, key_of(f"{word}\n" for word in words), proving.Found, fresh)
    if done.values:
        print(f"{len(done.values)} of {len(chosen)} mutants were done before the interruption", file=sys.stderr)
    known = {one.name for one in done.values}
    proving.write_details(done.values, proving.summary(done.values, []), asked.store)
    complete = False
    try:
        with progress("mutants", len(chosen)) as step:
            for mutant in chosen:
                if mutant.name not in known:
                    done.add(proving.prove(mutant, asked._replace(runs=rare_runs if mutant.rare else asked.runs)))
                    proving.write_details(done.values, proving.summary(done.values, []), asked.store)
                step(f"{mutant.name}: {done.values[-1].outcome}")
        complete = True
    finally:
        done.close(complete)
    return done.values


def _reasons(found: list[proving.Found], file: IO[str]) -> None:
    """Why a mutant is stale, or cannot be found."""
    for one in found:
        if one.reason:
            print(f"{one.name}: {one.outcome}: {one.reason}", file=file)


def _chosen(names: tuple[str, ...]) -> list[Mutant]:
    known = {mutant.name: mutant for mutant in MUTANTS}
    for name in names:
        if name not in known:
            raise Refused(f"unknown mutant {name!r}", "--mutant", f"there is {', '.join(sorted(known))}")
    return [known[name] for name in names] if names else list(MUTANTS)


def _clean(scenarios: list[str], runs: int, seed: int, jobs: int) -> list[Ended]:
    """The same kind of campaign on the good build, where nothing may be found."""
    ended: list[Ended] = []
    with progress("clean runs", runs) as step:

        def on_end(one: Ended) -> bool:
            ended.append(one)
            step("")
            return False

        Campaign(jobs, on_end, "-").run(tasks_of(scenarios, runs, seed, 2))
    return ended


def _print(found: list[proving.Found], told: dict[str, object]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("mutant", "oracle", "outcome", "runs", "seconds", "on mutant", "on good", "faults", "inputs"):
        table.add_column(column)
    for one in found:
        size = ("", "") if one.faults < 0 else (str(one.faults), str(one.inputs))
        words = (one.name, one.oracle, one.outcome, str(one.runs), f"{one.seconds:.1f}", one.on_mutant, one.on_good)
        table.add_row(*words, *size)
    Console().print(table)
    _reasons(found, sys.stdout)
    for one in found:
        if one.case:
            print(f"{one.name}: wasm-engine replay {one.case}")
    if any(one.faults >= 0 for one in found):
        print(proving.small(found))
    for one in found:
        if one.of > one.runs:
            print(f"{one.name}: shows in {one.hits} of {one.of} runs")
    if any(one.suspects for one in found):
        print(proving.blamed(found))
    print(f"{told['killed']} of {told['mutants']} found by the oracle named for them", end="; ")
    if told["median_seconds"] is not None:
        print(f"the median one after {told['median_runs']:g} runs, {told['median_seconds']:.1f} s", end="; ")
    rare = told["rare"]
    if isinstance(rare, dict) and rare["mutants"]:
        print(f"rare ones: {rare['killed']} of {rare['mutants']}", end="; ")
    print(f"{told['false_alarms']} false alarms in {told['clean_runs']} clean runs")
