"""Runs for tests in Python: a plan in, one judged run out, and for every failure the lines that replay it.

What Hypothesis draws (`scenarios.plans`) is expanded here, by running the twin and picking events that happen in it;
equal drafts give equal runs. A run is judged against its twin by all oracles before `simulate` returns.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from functools import cached_property

import msgspec
from hypothesis import Phase, currently_in_test_context, note, settings
from msgspec.structs import replace

from faults.plan import Fault, Plan, canonical, parse_fault
from faults.profiles import everything, find
from harness.check import Checked, Checker, twin_plan
from harness.expand import checked, events_of, expand
from harness.history import History
from harness.oracles import Finding
from harness.plans import accept
from runtime import journal
from runtime.errors import Refused
from runtime.frames import Output
from runtime.journal import Block
from runtime.physical import Physical
from scenarios import get
from scenarios.base import Scenario
from scenarios.files import known
from scenarios.strategies import Draft

CHECKERS_MAX = 8

# Settings for tests that draw plans: a run takes longer than Hypothesis's deadline, and its phase "explain" makes
# hundreds of traced runs only to say which integers do not matter; the faults in the repro say that better.
run_settings = settings(
    deadline=None, max_examples=50, phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
)

_checkers: list[Checker] = []


class Run:
    """One judged run. Digests are sha256 in hex, "" for a journal that does not verify."""

    def __init__(self, checker: Checker, checked: Checked, deep: bool) -> None:
        self._checker, self._checked, self._deep = checker, checked, deep
        self.plan: Plan = checked.plan
        self.scenario: Scenario = checker.scenario
        self.history: History = checked.history
        self.verdict: str = checked.row.verdict
        self.findings: Mapping[str, Finding] = checked.findings
        self.journal_digest: str = checked.row.journal_digest
        self.twin_digest: str = checked.row.twin_digest
        self.trace_digest: str = checked.row.trace_digest
        self.faults_fired: Mapping[str, int] = checked.row.faults_fired
        self.finished: bool = checked.history.finished

    def __repr__(self) -> str:
        faults = f"{len(self.plan.faults)} fault{'' if len(self.plan.faults) == 1 else 's'}"
        return f"<Run of {self.scenario.name}, seed {self.plan.seed}, {faults}: {self.verdict}>"

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """What agents let out, as the client received it: once each, in order."""
        return tuple(output for receipt in self.history.receipts for output in receipt.outputs)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The journal, one block per tick in which something happened; empty when it does not verify."""
        return tuple(line.block for line in journal.read(self.history.journal).lines)

    @property
    def failed(self) -> tuple[str, ...]:
        """The oracles that failed."""
        return self._checked.failed

    def twin(self) -> Run:
        """The same run without its transparent faults, judged as well."""
        decrees = tuple(decree for block in self.blocks for decree in block.decrees)
        bare = twin_plan(self.plan, decrees)
        return Run(self._checker, self._checker.check(bare), deep=False)

    @property
    def repro(self) -> str:
        """The command that makes this very run again; for a scenario of one's own, the Python that does."""
        if _is_built_in(self.scenario):
            return _command(self.plan, self.scenario, self._deep)
        deep = ", deep=True" if self._deep else ""
        return f"simulate({self.scenario.name}, plan_from_json({_compact(self.plan)!r}){deep})"

    def assert_ok(self) -> None:
        """Raises AssertionError for a run that failed or could not be judged: oracles, evidence, and the repro.

        An idle run, none of whose faults took effect, is fine: it says as much as a run without faults.
        """
        if self.verdict not in ("FAIL", "UNKNOWN"):
            return
        lines = [f"{self.scenario.name}, seed {self.plan.seed}: {self.verdict}"]
        row = self._checked.row
        for oracle in row.failed_oracles + row.unknown_oracles:
            finding = self.findings[oracle]
            lines += [f"{oracle} {finding.verdict}: {line}" for line in finding.evidence or ("no evidence",)]
        raise AssertionError("\n".join([*lines, *self._how()]))

    def assert_that(self, holds: bool, what: str) -> None:
        """As `assert holds, what`, with the repro."""
        if not holds:
            raise AssertionError("\n".join([f"{self.scenario.name}, seed {self.plan.seed}: {what}", *self._how()]))

    def _how(self) -> list[str]:
        effective = self._checked.effective
        faults = [f"  {fault}" + ("" if effective[i] else "  (no effect)") for i, fault in enumerate(self.plan.faults)]
        repro = ["replay it as noted below"] if currently_in_test_context() else ["replay it:", self.repro]
        return [f"faults of the plan: {len(faults)}", *faults, *repro]


def simulate(
    scenario: str | Scenario,
    plan: Plan | Draft | None = None,
    *,
    faults: Iterable[Fault | str] = (),
    seed: int = 1,
    workers: int | None = None,
    profile: str = "stress",
    deep: bool = False,
) -> Run:
    """Run a plan of a scenario under the virtual clock and judge it against its twin.

    `plan` is one that was drawn (`scenarios.plans`), one read from JSON, or None for the scenario's own workload of
    `seed`. `faults`, typed or as `Fault`, come after the plan's. What is drawn takes its faults from `profile`, a
    built-in one ("transparent": those that must leave no mark in the journal) or a TOML file. `deep` adds the oracles
    that need further runs. Within a Hypothesis test the repro is noted, and so printed for the smallest failing plan.

    Raises Refused for a plan that no correct runtime could carry out; whatever the runtime does is in the run.
    """
    found = get(scenario) if isinstance(scenario, str) else scenario
    checker = _checker_of(found)
    mix = everything(find(profile))
    if plan is not None and plan.scenario != found.name:
        raise Refused(f"a plan for {plan.scenario!r}, not for {found.name!r}", "simulate", "give that scenario")
    if isinstance(plan, Plan):
        whole = plan
    elif isinstance(plan, Draft):
        bare = Plan(scenario=found.name, seed=plan.seed, inputs=plan.inputs, physical=found.options())
        physical = checked(bare.physical) if mix.measured else bare.physical
        whole = expand(plan, events_of(checker.clean(bare)), physical, mix)
    else:
        whole = Plan(scenario=found.name, seed=seed, inputs=found.workload(seed), physical=found.options())
    if workers is not None:
        whole = replace(whole, physical=replace(whole.physical, workers=workers))
    typed = tuple(parse_fault(f) if isinstance(f, str) else canonical(f) for f in faults)
    whole = accept(replace(whole, faults=whole.faults + typed), "", found)
    run = Run(checker, checker.check(whole, deep=deep), deep)
    if currently_in_test_context():
        note(f"{run!r}; replay it:\n{run.repro}")
    return run


def _checker_of(scenario: Scenario) -> Checker:
    """One checker per scenario, and so one cache of twins; the least recently used goes first."""
    for checker in _checkers:
        if checker.scenario is scenario:
            _checkers.remove(checker)
            break
    else:
        checker = Checker(scenario)
        del _checkers[CHECKERS_MAX - 1 :]
    _checkers.insert(0, checker)
    return checker


def _is_built_in(scenario: Scenario) -> bool:
    try:
        return get(scenario.name) is scenario
    except Refused:
        return False


def _compact(plan: Plan) -> str:
    """The plan as JSON on one line, physical options and decrees left out where they are the default."""
    tree = msgspec.to_builtins(plan)
    usual = msgspec.to_builtins(Physical())
    tree["physical"] = {name: value for name, value in tree["physical"].items() if value != usual[name]}
    kept = {
        name: value
        for name, value in tree.items()
        if value or name not in ("physical", "decrees", "faults", "last_tick")
    }
    return msgspec.json.encode(kept, order="sorted").decode()


def _command(plan: Plan, scenario: Scenario, deep: bool) -> str:
    """Typed faults where they and the seed say it all, else the whole plan on the command's standard input."""
    words = ["wasm-engine", "run", *shlex.split(known.typed(plan.scenario))]
    options = ["--deep"] if deep else []
    typed = Plan(
        scenario=plan.scenario,
        seed=plan.seed,
        inputs=scenario.workload(plan.seed),
        faults=plan.faults,
        physical=scenario.options(plan.physical.workers),
    )
    if plan == typed:
        words += ["--seed", str(plan.seed)]
        for fault in plan.faults:
            words += ["--fault", str(fault)]
        words += ["--no-faults"] if scenario.faults and not plan.faults else []
        words += ["--workers", str(plan.physical.workers)] if typed.physical != scenario.options() else []
        return shlex.join(words + options)
    words += ["--plan", "-", *options]
    return f"{shlex.join(words)} <<'PLAN'\n{_compact(plan)}\nPLAN"
