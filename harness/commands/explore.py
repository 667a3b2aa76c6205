"""`wasm-engine explore`: a search for failures that is led by what runs have not yet met."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from harness import builds, fingerprint
from harness.commands.common import (
    build_option,
    config_option,
    duration,
    elsewhere,
    examples,
    given,
    json_option,
    own_workers,
    print_json,
    seed_option,
    under,
    workers_option,
)
from harness.exploration.lead import PROCESS, Lead, Wanted
from harness.exploration.ledger import Finding, Ledger, State
from harness.minimal import AGAIN
from scenarios.files import known

NEWS = 20  # lines of progress in all, where time is what ends it
NEWS_MIN_S = 1.0
GROWTH = 20  # points of the growth that are told


@click.command(
    short_help="Search for failures, led by what was not yet met.",
    epilog=examples(
        "wasm-engine explore ledger",
        "wasm-engine explore hello --budget 10m --jobs 4 --build ../other-checkout",
        "wasm-engine explore frames --runs 200 --seed 7 --jobs 1 --json",
        "wasm-engine explore frames --runs 200 --jobs 1 --random --store out/random",
    ),
)
@click.argument("scenario")
@click.option("--budget", callback=duration, metavar="T", default="60s", show_default=True, help="Time to spend.")
@click.option("--runs", type=click.IntRange(0, 10_000_000), metavar="N", default=0, help="End after N runs, if sooner.")
@click.option("--random", is_flag=True, help="Draw as stress does, not led by anything: to compare with.")
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
    "--store", default="out/explore", callback=given, show_default=True, metavar="DIR", help="Folder for what is found."
)
@config_option
@build_option
@json_option
def explore(
    scenario: str,
    budget: float,
    runs: int,
    random: bool,
    seed: int,
    workers: int,
    jobs: int,
    store: str,
    config: Path | None,
    build: str,
    as_json: bool,
) -> int:
    """Search SCENARIO for failures until the budget is used, led towards pairs (state x fault) that are rare.

    A failure is shrunk, gets a fingerprint (oracle, component, minimal faults), and the search goes on for others. What
    is found is in DIR at once; the same call goes on from there, so an interruption costs nothing. Exit 1 when DIR
    holds a finding of this build.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    name = under(scenario, config)
    workers = own_workers(workers, [name])
    identity = builds.identity()
    folder = Path(store) / f"{name}-{identity[:8]}{'-random' if random else ''}"
    ledger = Ledger(folder, name, identity)
    if ledger.cut:
        print(f"{folder}: the last line was cut short by an interruption, and is left out", file=sys.stderr)
    before = ledger.state.runs
    started = set(ledger.state.counts)
    wanted = Wanted(scenario=name, seed=seed, workers=workers, jobs=jobs, seconds=budget, runs=runs, random=random)
    lead = Lead(wanted, ledger, folder, _news(budget, time.monotonic()))
    interrupted = False
    try:
        lead.explore()
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted; what was found is kept, and the same command goes on from there", file=sys.stderr)
    finally:
        ledger.close()
    state = ledger.state
    if as_json:
        print_json(_told(state, lead, len(started), folder))
    else:
        _print(state, lead, before, len(started), folder)
    return _exit(state, lead, interrupted)


def _exit(state: State, lead: Lead, interrupted: bool) -> int:
    if interrupted:
        return 2
    if state.findings:
        return 1
    return 12 if lead.unknown else 0 if state.runs else 5


def _news(budget: float, started: float) -> Callable[[State, int], None]:
    """A line on stderr now and then."""
    every = max(NEWS_MIN_S, budget / NEWS)
    told = started

    def news(state: State, runs: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= every:
            told = now
            words = f"{now - started:.0f} of {budget:.0f} s, {runs} runs, {len(state.counts)} pairs"
            print(f"{words}, {len(state.findings)} findings", file=sys.stderr, flush=True)

    return news


def _replay(finding: Finding, folder: Path) -> str:
    place = folder / "cases" / finding.case
    build = f" --build {builds.current()}" if builds.current() else ""
    if finding.fingerprint.startswith(f"{PROCESS}/"):
        scenario = finding.case.rpartition(f"-{PROCESS}-")[0]
        return f"wasm-engine run {known.typed(scenario)} --plan {place / 'plan.json'}{build}"
    return f"wasm-engine replay {place}{build}"


def _told(state: State, lead: Lead, pairs_before: int, folder: Path) -> dict[str, object]:
    return {
        "runs": lead.runs,
        "runs_in_all": state.runs,
        "pairs": len(state.counts),
        "pairs_new": len(state.counts) - pairs_before,
        "growth": _growth(lead.growth),
        "findings": [_row(one, folder) for one in state.findings],
        "repeats": state.repeats,
        "unknown": lead.unknown,
        "store": str(folder),
    }


def _row(one: Finding, folder: Path) -> dict[str, object]:
    found = fingerprint.parse(one.fingerprint)
    assert found is not None  # the ledger has no other
    return {
        "fingerprint": one.fingerprint,
        "oracle": found.oracle,
        "component": found.component,
        "faults": list(one.faults),
        "inputs": one.inputs,
        "minimal": one.minimal,
        "again": f"{one.again} of {AGAIN}" if one.minimal else "",
        "run": one.run,
        "case": str(folder / "cases" / one.case),
        "replay": _replay(one, folder),
    }


def _growth(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(runs, pairs) at some twenty points, the last one among them."""
    step = -(-len(points) // GROWTH) or 1
    return [*points[step - 1 : -1 : step], *points[-1:]]


def _print(state: State, lead: Lead, before: int, pairs_before: int, folder: Path) -> None:
    more = f" ({before} before)" if before else ""
    print(
        f"{lead.runs} runs{more}, {len(state.counts)} pairs of state and fault, {len(state.counts) - pairs_before} new"
    )
    points = _growth(lead.growth)[:: max(1, GROWTH // 5)]
    if points:
        print("coverage  " + ", ".join(f"{pairs} after {runs}" for runs, pairs in points))
    for one in state.findings:
        again = f", {one.again} of {AGAIN} times" if one.minimal else ", not shrunk yet"
        print(f"FOUND     {one.fingerprint}  in run {one.run}{again}")
        for fault in one.faults[:8]:
            print(f"          {fault}")
        print(f"          replay it: {_replay(one, folder)}")
    if not state.findings:
        print("PASSED    nothing found" if state.runs else "nothing ran")
    print(f"kept in {folder}; the same command goes on from there (simulated)")
