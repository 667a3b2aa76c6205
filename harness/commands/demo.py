"""`wasm-engine demo`: in a minute, what this is about: nothing is shown that is not run and checked here and now."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
from msgspec.structs import replace
from rich.console import Console
from rich.text import Text

from faults.mutants import MUTANTS, plant
from faults.plan import Plan, parse_fault, plan_from_json
from harness import builds, cases, proving
from harness.campaign import Campaign, Ended, tasks_of
from harness.check import Checked, Checker
from harness.commands.common import examples, given, json_option, print_json
from harness.commands.run import story
from harness.oracles import ORACLES
from runtime.errors import Refused
from scenarios import get

BUG = "torn_buffer_accepted"
RUNS = 16
SEED = 1
SHORT = 16


class Act(NamedTuple):
    """One comparison: a scenario, and what happens to it the second time."""

    scenario: str
    clean: str
    faulty: str
    faults: tuple[str, ...]


ACTS = (
    Act(
        "ledger",
        "A clean run. Sixteen agents transfer money; the journal's digest stands for every step and message.",
        "The same run, while one worker dies in mid-call, one before its result leaves, and the orchestrator twice.",
        (
            "worker.kill@tick:41,agent:3,hostcall:2",
            "worker.kill@tick:12,agent:8,point:after",
            "orchestrator.kill@tick:60,phase:sync",
            "orchestrator.kill@tick:20,phase:commit,point:after",
        ),
    ),
    Act(
        "assistants",
        "Four agents talk by generating tokens, computed in batches on an accelerator (a simulated one).",
        "The same talk, while the accelerator is taken away in mid-generation and while it loads the model again.",
        (
            "gpu.remove@tick:6,phase:generation",
            "gpu.remove@tick:45,phase:load",
            "worker.kill@tick:20,agent:2,point:after",
            "orchestrator.kill@tick:40,phase:sync",
        ),
    ),
)


class Claim(NamedTuple):
    """What was said, whether it held, and the figures beside it."""

    what: str
    held: bool
    figures: dict[str, object]


class Stage:
    """Says each step as it happens, and keeps count of what held."""

    def __init__(self, quiet: bool) -> None:
        self._console = Console(file=sys.stderr if quiet else sys.stdout, highlight=False, markup=False, emoji=False)
        self._quiet = quiet
        self.claims: list[Claim] = []

    def step(self, sentence: str) -> None:
        self._put(Text(f"{len(self.claims) + 1}. {sentence}", style="bold"))

    def line(self, text: str) -> None:
        self._put(Text(f"   {text}"))

    def claim(self, what: str, held: bool, **figures: object) -> None:
        self.claims.append(Claim(what, held, figures))
        self._put(Text.assemble("   ", ("yes" if held else "NO", "green" if held else "bold red"), f": {what}"))

    def _put(self, text: Text) -> None:
        if not self._quiet:
            self._console.print(text, soft_wrap=True)


@click.command(
    short_help="In a minute: faults that leave no mark, and a bug found, reduced and replayed.",
    epilog=examples("wasm-engine demo"),
)
@click.option(
    "--store", default="out/demo", callback=given, show_default=True, metavar="DIR", help="Folder for the bug's case."
)
@json_option
def demo(store: str, as_json: bool) -> int:
    """Show a clean run; the same one under faults, with the same journal; and a planted bug found, reduced, replayed.

    Exit 0 only if everything that is said held.
    """
    stage = Stage(as_json)
    for act in ACTS:
        _compare(stage, act)
    _hunt(stage, Path(store))
    held = all(claim.held for claim in stage.claims)
    if as_json:
        print_json({"held": held, "claims": [claim._asdict() for claim in stage.claims]})
    else:
        word = "All of it held." if held else "NOT all of it held."
        print(f"{word} Next: wasm-engine stress, and docs/ for what each word means.")
    return 0 if held else 1


def _compare(stage: Stage, act: Act) -> None:
    scenario = get(act.scenario)
    checker = Checker(scenario)
    plan = Plan(scenario=scenario.name, seed=SEED, inputs=scenario.workload(SEED))
    stage.step(act.clean)
    stage.line(f"$ wasm-engine run {scenario.name}")
    clean = checker.check(plan)
    row = clean.row
    stage.line(f"journal {row.journal_digest[:SHORT]}  {row.agent_steps} steps, {row.messages} messages")
    stage.claim("every oracle passed", row.verdict == "PASS", journal_digest=row.journal_digest)
    stage.step(act.faulty)
    faults = tuple(parse_fault(fault) for fault in act.faults)
    stage.line(" \\\n       ".join([f"$ wasm-engine run {scenario.name}", *(f'--fault "{fault}"' for fault in faults)]))
    faulty = checker.check(replace(plan, faults=faults))
    row = faulty.row
    stage.line(f"journal {row.journal_digest[:SHORT]}  {story(faulty)}")
    stage.claim(
        "the journal is the same, byte for byte, although every one of these faults took effect",
        _unmoved(clean, faulty),
        journal_digest=row.journal_digest,
        trace_digest=row.trace_digest,
        faults_fired=row.faults_fired,
    )


def _unmoved(clean: Checked, faulty: Checked) -> bool:
    same = clean.history.journal == faulty.history.journal and bool(clean.row.journal_digest)
    return same and faulty.row.verdict == "PASS" and all(faulty.effective.values())


def _hunt(stage: Stage, store: Path) -> None:
    """A planted bug: found by random runs, reduced, and replayed on both builds."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == BUG)
    stage.step(f"A bug is planted in a copy of the runtime: {mutant.title}. {RUNS} random runs look for it.")
    with tempfile.TemporaryDirectory(prefix="wasm-engine-demo-") as temporary:
        folder = plant(mutant, builds.ROOT / "runtime", Path(temporary))
        ended = _search(mutant.scenario, str(folder))
        hits = [one for one in ended if mutant.oracle in one.row.failed_oracles]
        name = f"oracle {mutant.oracle} ({ORACLES[mutant.oracle].name})"
        stage.line(f"{len(hits)} of {len(ended)} runs fail, by {name}")
        stage.claim("the oracle that is there for this bug finds it", bool(hits), runs=len(ended), found=len(hits))
        if not hits:
            return
        first = hits[0]
        drawn = len(plan_from_json(first.plan).faults)
        stage.step(f"Run {first.row.run} had {drawn} faults. Those that it does not need to fail are left out.")
        case, on_mutant, on_good = proving.case_of(mutant, first.row.run, SEED, folder, store)
        case = _lasting(case)
        for line in _what_is_left(case, mutant.oracle):
            stage.line(line)
        kept = len(cases.plan_of(cases.read(Path(case)), case).faults) if case else drawn
        enough = "is" if kept == 1 else "are"
        stage.claim(
            f"{kept} of its {drawn} faults {enough} enough to see the bug",
            kept < drawn,
            case=case,
            kept=kept,
            drawn=drawn,
        )
    stage.step("The case is replayed: on the build with the bug, and on the good one.")
    stage.line(f"$ wasm-engine replay {case}")
    both = (on_mutant, on_good)
    stage.claim(f"{both[0]} on the one, {both[1]} on the other", both == ("FAILED", "FIXED"), outcomes=list(both))


def _search(scenario: str, build: str) -> list[Ended]:
    """All runs, whichever ends first: so the demo says the same wherever it runs."""
    ended: list[Ended] = []

    def on_end(one: Ended) -> bool:
        ended.append(one)
        return False

    Campaign(os.cpu_count() or 1, on_end, build).run(tasks_of([scenario], RUNS, SEED, 2))
    return sorted(ended, key=lambda one: one.row.run)


def _lasting(case: str) -> str:
    """The case's path without the time of its campaign in it."""
    path = Path(case)
    lasting = path.parent.parent.parent / "latest" / "cases" / path.name
    return str(lasting) if lasting.exists() else case


def _what_is_left(case: str, oracle: str) -> Iterator[str]:
    """The faults of a shrunk case, and what the oracle saw."""
    if not case:
        raise Refused("the failing run was not written as a case", "demo", "run `wasm-engine prove` to see why")
    recorded = cases.read(Path(case))
    for fault in cases.plan_of(recorded, case).faults:
        yield f"- {fault}"
    for line in recorded.evidence.get(oracle, [])[:1]:
        yield f"{oracle}: {line}"
