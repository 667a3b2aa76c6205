"""`wasm-engine stress`: a campaign of random plans over scenarios, its cases and its report."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
from click.core import ParameterSource

from faults import catalogue_rows
from faults.plan import Plan, plan_from_json
from faults.profiles import Profile, find
from harness import builds, cases, sometimes
from harness.campaign import Campaign, Ended, Task, tasks_of
from harness.check import DEEP, Checked, Checker
from harness.commands.common import (
    build_option,
    elsewhere,
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
from harness.fingerprint import primary
from harness.oracles import ORACLES
from harness.runner import DEFAULT_PROFILE, SHARED
from harness.shrinking import RUNS_MAX, Shrinker
from harness.trial import soundly
from reports import Meta, NotTested, RunRow, Sometimes, count, summary, verdict, write
from reports.tables import show
from runtime.errors import Refused
from scenarios import SCENARIOS, get

RUNS = 800
UNTIL_RUNS = 5000  # of a campaign that ends when all states were reached
CASES_MAX = 5
EXIT = {"PASSED": 0, "FAILED": 1, "INCONCLUSIVE": 12, "NOTHING RAN": 5}
LIBRARIES = ("wasmtime", "simpy", "hypothesis", "msgspec", "pandas")


class Shrinking(NamedTuple):
    """How many runs a shrink may take, and the oracle that it should keep failing."""

    runs_max: int
    prefer: str


@click.command(
    short_help="Many runs with random inputs and faults; a report.",
    epilog=examples(
        "wasm-engine stress",
        "wasm-engine stress ledger --runs 1000 --seed 7 --jobs 4",
        "wasm-engine stress ledger --seed 7 --only 23",
        "wasm-engine stress --profile field",
        "wasm-engine stress --until-covered",
        "wasm-engine stress --profile my-rack.toml --runs 200",
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
@build_option
@json_option
def stress(
    names: tuple[str, ...],
    runs: int,
    until_covered: bool,
    only: int | None,
    profile_name: str,
    seed: int,
    workers: int,
    jobs: int,
    shrink_runs: int,
    prefer: str,
    store: str,
    build: str,
    as_json: bool,
) -> int:
    """Run random inputs and fault schedules over each SCENARIO (all built-in ones by default); judge every run.

    A failure is shrunk, fewest faults first, and written as a case that replays. The report is in DIR/latest.
    The evidence is simulated: no process, disk or device of this machine fails.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    chosen = list(dict.fromkeys(get(name).name for name in names or tuple(SCENARIOS)))
    if prefer and prefer not in ORACLES:
        raise Refused(f"unknown oracle {prefer!r}", "--prefer", f"there is {', '.join(ORACLES)}")
    profile = find(profile_name)
    wanted = sometimes.reachable(chosen, profile)
    if until_covered and click.get_current_context().get_parameter_source("runs") is ParameterSource.DEFAULT:
        runs = UNTIL_RUNS
    sent = "" if profile == find(DEFAULT_PROFILE) else profile.model_dump_json()
    tasks = tasks_of(chosen, runs, seed, workers, sent)
    if only is not None:
        tasks = [Task(name, seed, (only,), workers, profile=sent) for name in chosen]
    meta = _meta(chosen, profile, wanted)
    with fresh(Path(store), "stress") as folder:
        ended = _run(tasks, jobs, wanted if until_covered else ())
        if any(one.plan for one in ended):  # shrinking runs the build here, which may be the end of this interpreter
            write([one.row for one in ended], meta, folder)
        rows = _with_cases(ended, folder, Shrinking(shrink_runs, prefer), seed, profile_name)
        write(rows, meta, folder)
    counts = count(rows)
    word, never = verdict(counts), summary.never_reached(rows, meta)
    report = folder / "report.html"
    if as_json:
        print_json(
            {
                "profile": profile.name,
                "runs": counts.runs,
                "passed": counts.passed,
                "failed": counts.failed,
                "unknown": counts.unknown,
                "idle": counts.idle,
                "faults_fired": counts.faults_fired,
                "oracles_judged": counts.oracles_judged,
                "sometimes": {line.name: line.runs for line in summary.sometimes(rows, meta)},
                "never_reached": [line.name for line in never],
                "cases": sorted({row.case for row in rows if row.case}),
                "report": str(report),
            }
        )
    else:
        show(rows, meta)
        if until_covered:
            print(_covered(len(wanted), len(never), counts.runs))
        print(f"report: {report}")
    return EXIT["INCONCLUSIVE"] if until_covered and never and word == "PASSED" else EXIT[word]


def _covered(wanted: int, missing: int, runs: int) -> str:
    if missing:
        return f"not covered: {missing} of {wanted} states were not reached in {runs} runs"
    return f"covered: all {wanted} states were reached in {runs} runs"


def _run(tasks: list[Task], jobs: int, until: tuple[str, ...] = ()) -> list[Ended]:
    """All tasks, or as many runs as it takes until each of these properties has held."""
    total = sum(len(task.runs) for task in tasks)
    ended: list[Ended] = []
    missing = dict.fromkeys(until)
    with progress("runs", total) as step:

        def on_end(one: Ended) -> bool:
            ended.append(one)
            failed = sum(e.row.verdict == "FAIL" for e in ended)
            for name in one.row.reached:
                missing.pop(name, None)
            step(f"{failed} failed" + (f", {len(missing)} states to reach" if until else ""))
            return bool(until) and not missing

        Campaign(jobs, on_end).run(tasks)
    return sorted(ended, key=lambda e: (e.row.scenario, e.row.run))


def _with_cases(ended: list[Ended], folder: Path, shrinking: Shrinking, seed: int, profile: str) -> list[RunRow]:
    """The rows with their replay commands; the first failure of each kind is shrunk and becomes a case."""
    rows = []
    known: dict[tuple[str, tuple[str, ...]], str] = {}
    for one in ended:
        row = one.row
        command = f"wasm-engine stress {row.scenario} --seed {seed} --only {row.run}"
        if profile != DEFAULT_PROFILE:
            command += f" --profile {shlex.quote(profile)}"
        if row.workers != 2:
            command += f" --workers {row.workers}"
        case = ""
        if one.plan:
            plan = plan_from_json(one.plan)
            key = (row.scenario, row.failed_oracles or row.unknown_oracles)
            if key not in known and len(known) < CASES_MAX:
                known[key] = str(_case(plan, row, folder, shrinking))
            case = known.get(key, "")
            if case:
                command = f"wasm-engine replay {case}"
        if builds.current():
            command += f" --build {builds.current()}"
        rows.append(msgspec.structs.replace(row, replay=command, case=case))
    return rows


def _case(plan: Plan, row: RunRow, folder: Path, shrinking: Shrinking) -> Path:
    scenario = get(plan.scenario)
    checker = Checker(scenario)
    deep = not set(row.failed_oracles).isdisjoint(DEEP)
    oracle = shrinking.prefer if shrinking.prefer in row.failed_oracles else primary(row.failed_oracles)

    def check(candidate: Plan) -> Checked:
        return checker.check(candidate, row.run, deep=deep)

    def fails(candidate: Plan) -> bool:
        found = (candidate.inputs, candidate.last_tick) == (plan.inputs, plan.last_tick)
        return soundly(checker, check(candidate), oracle, found)

    small = plan
    if oracle:
        print(f"shrinking run {row.run} of {row.scenario} ({', '.join(row.failed_oracles)})", file=sys.stderr)
        small = Shrinker(fails, shrinking.runs_max).shrink(plan)
    return cases.write(check(small), scenario, folder / "cases")


def _meta(names: list[str], profile: Profile, wanted: tuple[str, ...]) -> Meta:
    build = builds.current()
    commit, dirty = commit_of(Path(build) if build else builds.ROOT)
    missing = [
        NotTested(what=f"{row.id} {row.title}", why=row.state)
        for row in catalogue_rows.ROWS
        if row.state != catalogue_rows.AVAILABLE
    ]
    missing += [NotTested(what=f"{o.id} {o.name}", why=o.state) for o in catalogue_rows.ORACLES if o.id not in ORACLES]
    return Meta(
        title="Stress report",
        profile=profile.name,
        arguments=present().arguments,
        build=build or "the harness's own runtime",
        commit=commit,
        dirty=dirty,
        versions={name: version(name) for name in ("wasm-engine", *LIBRARIES)},
        hashes={
            "profile": hashlib.sha256(profile.model_dump_json().encode()).hexdigest(),
            "runtime": builds.identity(),
            **{n: _modules_hash(n) for n in names},
        },
        fault_kinds=tuple(kind.slug for kind, weight in profile.kinds() if weight),
        oracles=tuple(ORACLES),
        assumptions=_assumptions(profile),
        sometimes=tuple(Sometimes(name=n, sentence=sometimes.PROPERTIES[n].sentence) for n in wanted),
        meanings={oracle.id: f"{oracle.name}: {oracle.records}" for oracle in ORACLES.values()},
        not_tested=tuple(missing),
    )


def _assumptions(profile: Profile) -> tuple[str, ...]:
    found = [f"{SHARED} runs in a row share a workload, and differ in their faults: one trial."]
    found.append(f"Profile {profile.name}: {profile.title}.")
    if profile.rates:
        found.append(
            f"By its rates a fault stands for {profile.hours_per_fault()} hours of one machine; "
            "kinds without a known rate are not drawn."
        )
    return tuple(found)


def _modules_hash(name: str) -> str:
    return hashlib.sha256("".join(sorted(get(name).modules)).encode()).hexdigest()
