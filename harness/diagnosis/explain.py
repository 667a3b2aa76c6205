"""Why a case fails, in one value: necessary faults, first difference, suspects, chain of events.

The case is run again on the present build; nothing is taken from what it says of itself but the plan and the oracles.
A case that does not fail here has nothing to explain, and says FIXED.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from msgspec import Struct

from faults.plan import Plan
from harness import builds, cases, fingerprint
from harness.check import DEEP, Checked, Checker
from harness.diagnosis.blame import Facts, Suspect, suspects
from harness.diagnosis.chain import Link, chain
from harness.diagnosis.coverage import Line, Spectrum, traced
from harness.diagnosis.difference import Difference, first_difference
from harness.diagnosis.necessity import RUNS_MAX, Necessity, necessity
from harness.history import History
from scenarios import get
from scenarios.base import Scenario

PASSING_MAX = 8  # passing runs whose lines are compared; each is traced, which is slow


class Why(Struct, frozen=True, kw_only=True):
    """`outcome` is FAILED or FIXED; the rest is empty for FIXED. `notes` say what was missing or not as recorded."""

    outcome: str
    oracle: str
    checked: Checked
    necessity: Necessity
    difference: Difference
    suspects: list[Suspect]
    chain: list[Link]
    notes: list[str]


def explain(path: Path, runs_max: int = RUNS_MAX) -> Why:
    """Diagnose the case in a folder, on the present build; raises Refused for one that cannot be read."""
    case = cases.read(path)
    plan = cases.plan_of(case, str(path))
    notes = _notes(case, path)
    return diagnose(get(plan.scenario), plan, set(case.failed_oracles), notes, runs_max)


def diagnose(
    scenario: Scenario, plan: Plan, recorded: set[str], notes: list[str] | None = None, runs_max: int = RUNS_MAX
) -> Why:
    """Diagnose a plan; of the oracles that fail, those in `recorded` count first."""
    checker = Checker(scenario)
    checked = checker.check(plan, deep=not recorded.isdisjoint(DEEP))
    oracle = fingerprint.primary([name for name in checked.failed if name in recorded] or checked.failed)
    if not oracle:
        nothing = Necessity(necessary=(), needless=())
        return Why(
            outcome="FIXED",
            oracle="",
            checked=checked,
            necessity=nothing,
            difference=Difference(where="nothing"),
            suspects=[],
            chain=[],
            notes=notes or [],
        )
    deep = oracle in DEEP
    needs = necessity(plan, oracle, lambda candidate: checker.check(candidate, deep=deep), runs_max)
    difference = first_difference(checked.history, checked.twin)
    necessary = tuple(needs.necessary)
    failing, only = _spectra(checker, plan, needs)
    faults = [plan.faults[index] for index in necessary]
    facts = Facts(checked, oracle, faults, difference, failing, only)
    return Why(
        outcome="FAILED",
        oracle=oracle,
        checked=checked,
        necessity=needs,
        difference=difference,
        suspects=suspects(facts),
        chain=chain(checked, oracle, necessary, difference),
        notes=notes or [],
    )


def _spectra(checker: Checker, plan: Plan, needs: Necessity) -> tuple[Spectrum, frozenset[Line]]:
    """The failing run's lines, and those of them that no passing neighbour executes; none without a neighbour."""

    def run(candidate: Plan) -> tuple[History, Spectrum]:
        return traced(lambda: checker.simulate(candidate))

    _, failing = run(plan)
    passing = [needs.passing[index] for index in sorted(needs.passing)[:PASSING_MAX]]
    if not passing:
        return failing, frozenset()
    known = frozenset[Line]().union(*(run(candidate)[1].lines for candidate in passing))
    return failing, failing.lines - known


def _notes(case: cases.Case, path: Path) -> list[str]:
    """What differs from the recording, or is missing beside the case; all of it is made anew from the plan."""
    folder = path if path.is_dir() else path.parent
    notes = []
    if case.build != builds.identity():
        notes.append("build: other sources of the runtime than recorded")
    for name, digest in (("trace.jsonl", case.trace_digest), ("journal.jsonl", "")):
        file = folder / name
        if not file.is_file():
            notes.append(f"{name} is missing: made anew from the plan")
        elif digest and hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            notes.append(f"{name} is not the recorded one: made anew from the plan")
    return notes
