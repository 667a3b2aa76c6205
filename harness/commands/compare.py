"""`wasm-engine compare`: the same plans on two builds, and what may be said of the difference."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from faults.profiles import find
from harness import builds, origins
from harness.commands.common import (
    examples,
    given,
    json_option,
    present,
    print_json,
    progress,
    seed_option,
    workers_option,
)
from harness.commands.folders import commit_of, fresh
from harness.comparing import Builds, Comparison, Wanted
from harness.findings import fingerprinted
from harness.oracles import ORACLES
from harness.runner import DEFAULT_PROFILE
from reports import comparison
from reports.comparison import GOOD, REGRESSION, TOO_LITTLE
from reports.paired import NEW, ONGOING, RARE, RESOLVED
from reports.pairs import Pair, Side
from runtime.errors import Refused
from scenarios import SCENARIOS, get

RUNS = 400
EXIT = {GOOD: 0, REGRESSION: 1, TOO_LITTLE: 12}


@click.command(
    short_help="The same plans on two builds; what is worse, new, resolved.",
    epilog=examples(
        "wasm-engine compare ../released .",
        "wasm-engine compare ../released . --runs 1000 --scenario ledger --scenario frames --jobs 4",
        "wasm-engine compare engine-0.1.0-py3-none-any.whl . --json",
        "wasm-engine compare ../released . --runs 2000 --resume out/20260101T120000-compare",
    ),
)
@click.argument("base")
@click.argument("head")
@click.option(
    "--runs", type=click.IntRange(1, 1_000_000), metavar="N", default=RUNS, show_default=True, help="Plans in all."
)
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="Only this scenario; may be repeated.")
@click.option(
    "--profile",
    "profile_name",
    metavar="NAME",
    callback=given,
    default=DEFAULT_PROFILE,
    show_default=True,
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
    help="Pairs at once.",
)
@click.option(
    "--store", default="out", callback=given, show_default=True, help="Folder for the results.", metavar="DIR"
)
@click.option(
    "--resume", callback=given, metavar="DIR", help="Go on with the comparison in this folder; --runs may grow."
)
@json_option
def compare(
    base: str,
    head: str,
    runs: int,
    names: tuple[str, ...],
    profile_name: str,
    seed: int,
    workers: int,
    jobs: int,
    store: str,
    resume: str,
    as_json: bool,
) -> int:
    """Run the same N random plans on BASE and on HEAD, and say what is worse on HEAD.

    A build is a folder that contains runtime/, a wheel, a Python interpreter that has one installed, or `.` for this
    one. Exit 1 for a regression, 12 where there is too little data to tell, 0 for neither. The evidence is simulated.
    """
    scenarios = tuple(dict.fromkeys(get(name).name for name in names or tuple(SCENARIOS)))
    wanted = Wanted(scenarios, runs, seed, workers, find(profile_name))
    with _place(store, resume) as folder, TemporaryDirectory(prefix="wasm-engine-compare-") as scratch:
        both = Builds(_build(base, folder, "base"), _build(head, folder, "head"))
        pairs = _pairs(both, wanted, folder, Path(scratch), jobs)
        commands: dict[Side, str] = {"base": _named(base, both.base), "head": _named(head, both.head)}
        failures = fingerprinted(pairs, both, folder, commands, lambda news: print(news, file=sys.stderr))
        found = comparison.comparison(pairs, failures, _about(base, head, both, wanted))
        comparison.write(found, folder)
    if as_json:
        print_json(_told(found, folder))
    else:
        _print(found, folder)
    return EXIT[found.verdict]


@contextmanager
def _place(store: str, resume: str) -> Iterator[Path]:
    """A new folder, or the one to go on in."""
    if not resume:
        with fresh(Path(store), "compare") as folder:
            yield folder
        return
    folder = Path(resume)
    if not (folder / "pairs.jsonl").is_file():
        raise Refused("no comparison to go on with", str(folder), "give a folder that compare wrote")
    yield folder


def _build(text: str, folder: Path, side: Side) -> Path:
    place = folder / "builds" / side
    shutil.rmtree(place, ignore_errors=True)
    return origins.build_of(text, place)


def _named(text: str, place: Path) -> str:
    """What a replay command calls the build: nothing for our own runtime."""
    return builds.OWN if place == builds.ROOT else str(place) if Path(text).is_file() else text


def _pairs(both: Builds, wanted: Wanted, folder: Path, scratch: Path, jobs: int) -> list[Pair]:
    made = Comparison(both, wanted, folder, scratch)
    counted = {"base": 0, "head": 0}
    try:
        with progress("pairs", wanted.runs) as step:

            def news(pair: Pair) -> None:
                counted["base"] += pair.base.verdict == "FAIL"
                counted["head"] += pair.head.verdict == "FAIL"
                step(f"{counted['base']} failed on BASE, {counted['head']} on HEAD")

            for pair in made.in_order():
                news(pair)
            made.run(jobs, news)
        return made.in_order()
    finally:
        made.close()


def _about(base: str, head: str, both: Builds, wanted: Wanted) -> comparison.About:
    def known(name: str, place: Path) -> comparison.Build:
        commit, dirty = commit_of(place) if Path(name).is_dir() else ("", None)
        return comparison.Build(name=name, identity=builds.identity(place), commit=commit, dirty=dirty)

    return comparison.About(
        base=known(base, both.base),
        head=known(head, both.head),
        arguments=present().arguments,
        scenarios=wanted.scenarios,
        seed=wanted.seed,
        workers=wanted.workers,
        fault_kinds=tuple(kind.slug for kind, weight in wanted.profile.kinds() if weight),
        oracles=tuple(ORACLES),
        profile=wanted.profile.name,
    )


def _told(found: comparison.Comparison, folder: Path) -> dict[str, object]:
    """What `compare --json` prints."""
    return {
        "verdict": found.verdict,
        "because": found.because,
        "runs": found.runs,
        "judged": found.judged,
        "new": found.metrics[0].tested.new,
        "fixed": found.metrics[0].tested.fixed,
        "p": found.metrics[0].tested.p,
        "p_holm": found.metrics[0].tested.p_holm,
        "metrics": {
            metric.name: {
                "base": metric.base,
                "head": metric.head,
                "difference": metric.difference,
                "interval": None if metric.low is None else [metric.low, metric.high],
                "new": metric.tested.new,
                "fixed": metric.tested.fixed,
                "p": metric.tested.p,
                "p_holm": metric.tested.p_holm,
            }
            for metric in found.metrics
        },
        "findings": {
            status.lower(): [
                {
                    "fingerprint": finding.fingerprint,
                    "base": finding.base,
                    "head": finding.head,
                    "p_holm": finding.tested.p_holm,
                    "replay": [one.replay for one in finding.examples if one.replay],
                }
                for finding in found.of(status)
            ]
            for status in (NEW, RESOLVED, RARE, ONGOING)
        },
        "journals_different": found.journals_different,
        "first_difference": _first(found),
        "report": str(folder / "report.html"),
    }


def _first(found: comparison.Comparison) -> dict[str, object] | None:
    if not found.differences:
        return None
    one = found.differences[0]
    what = one.difference
    place = {"block": what.block, "tick": what.tick, "path": what.path}
    return {"scenario": one.scenario, "n": one.n, **place, "base": what.base, "head": what.head}


def _print(found: comparison.Comparison, folder: Path) -> None:
    for metric in found.metrics:
        values = " -> ".join("–" if value is None else f"{value:.4g}" for value in (metric.base, metric.head))
        tested = metric.tested
        print(
            f"{metric.name:<13} {values}   worse in {tested.new}, better in {tested.fixed} of {metric.pairs} pairs, "
            f"p {tested.p_holm:.3g} (Holm)"
        )
    if found.differences:
        what = found.differences[0]
        place = f"{what.scenario} {what.n}, block {what.difference.block}, {what.difference.path or 'all of it'}"
        print(f"journals      {found.journals_different} of {found.runs} differ; the first: {place}")
        print(f"              BASE {what.difference.base or '–'}")
        print(f"              HEAD {what.difference.head or '–'}")
    for finding in found.findings:
        print(f"{finding.status:<9} {finding.fingerprint}: {finding.base} on BASE, {finding.head} on HEAD")
        for one in finding.examples:
            if one.replay:
                print(f"    {one.replay}")
    print(f"{found.verdict}  {found.because}")
    print(f"report: {folder / 'report.html'}")
