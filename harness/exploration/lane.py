"""One lane of an exploration: rounds of drawn plans in a single-threaded interpreter, one JSON line per thing met.

A round is one test of Hypothesis: it draws shapes, runs them as plans, and is given targets that lead to rare states
(pairs that were seldom met, recoveries within recoveries, faults that hit the handling of faults, steps redone). A run
that fails does not end it: the failure becomes a case at once, is shrunk, and gets a fingerprint; the search goes on
for others. What is said on stdout is whole lines, so that this interpreter may die at any moment.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, Verbosity, given, reject, seed, settings, target
from hypothesis.database import DirectoryBasedExampleDatabase
from msgspec import Struct

from faults.plan import Plan, plan_to_json
from harness import expand
from harness.check import Checked, Checker
from harness.exploration import failures
from harness.exploration.shapes import WORKLOADS, Shape, kinds_for, menu_of, planned, shapes
from harness.exploration.states import Met, met
from harness.runner import DEEP_EVERY, PROBE_NS, campaign_plan
from runtime.errors import Refused
from runtime.physical import Physical
from scenarios import get
from scenarios.strategies import draft_from_seed

DRAFTS = 1 << 20  # workloads of exploration are numbered from here, apart from those of campaigns


class Round(Struct, frozen=True, kw_only=True):
    """What a lane is asked: so many runs of round `number`, none begun after `seconds`.

    `counts` are the pairs met so far, `corpus` shapes that met rare ones, `known` fingerprints as text, `store` the
    folder for cases and for what Hypothesis keeps. `pending` are cases there that are still to be shrunk. `random`
    draws the runs from `first` on as campaigns do, for comparison.
    """

    scenario: str
    seed: int
    number: int
    runs: int
    workers: int
    seconds: float
    store: str
    counts: dict[str, int] = {}
    corpus: tuple[Shape, ...] = ()
    known: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    random: bool = False
    first: int = 0


Say = Callable[[dict[str, Any]], None]


class Lane:
    """Runs one round; `say` is told what happens, as it happens."""

    def __init__(self, checker: Checker, asked: Round, say: Say) -> None:
        self._checker, self._asked, self._say = checker, asked, say
        self._end = time.monotonic() + asked.seconds
        self._counts = Counter(asked.counts)
        self._failures = failures.Failures(checker, Path(asked.store), asked.known, say, self._left)
        self.runs = 0

    def _left(self) -> float:
        return self._end - time.monotonic()

    @property
    def _spent(self) -> bool:
        return self.runs >= self._asked.runs or self._left() <= 0

    def pending(self) -> None:
        """Shrink what an interruption has left as it was found."""
        for name in self._asked.pending:
            with contextlib.suppress(Refused):  # what is there is no case any more: it stays a finding as it is
                self._failures.resume(name)

    def explore(self) -> None:
        """A round led by targets."""
        asked = self._asked
        drafts = [
            draft_from_seed(asked.scenario, asked.seed, DRAFTS + asked.number * WORKLOADS + n) for n in range(WORKLOADS)
        ]
        physical = self._checker.scenario.options(asked.workers, Physical(probe_ns=PROBE_NS))
        events = [
            expand.events_of(
                self._checker.clean(
                    Plan(scenario=d.scenario, seed=d.seed, inputs=d.inputs, physical=physical),
                )
            )
            for d in drafts
        ]
        kinds = tuple(dict.fromkeys(kind for one in events for kind in kinds_for(one)))
        strategy = shapes(menu_of(kinds, self._counts), asked.corpus, asked.seed << 32 | asked.number)

        @seed(asked.seed << 32 | asked.number)
        @_settings(asked)
        @given(strategy)
        def search(shape: Shape) -> None:
            if self._spent:
                reject()
            place = shape.workload % WORKLOADS
            run = self._run(planned(shape, drafts[place], events[place], physical), shape)
            target(len(run.pairs), label="pairs")
            target(self._rarity(run), label="rare pairs")
            target(run.depth, label="deaths before a commit")
            target(run.during, label="faults during handling")

        search()

    def random(self) -> None:
        """As many runs as a campaign would make, drawn as it draws them."""
        asked = self._asked
        for n in range(asked.first, asked.first + asked.runs):
            if self._spent:
                return
            self._run(campaign_plan(self._checker, asked.seed, n, asked.workers), None)

    def _run(self, plan: Plan, shape: Shape | None) -> Met:
        number = self.runs
        self.runs += 1
        self._say({"start": plan_to_json(plan)})
        deep = number % DEEP_EVERY == 0
        checked = self._checker.check(plan, number, deep=deep)
        found = met(checked.history, checked.effective)
        fresh = [pair for pair in found.pairs if pair not in self._counts]
        self._counts.update(found.pairs)
        self._say(
            {
                "run": number,
                "verdict": checked.row.verdict,
                "pairs": found.pairs,
                "fresh": fresh,
                "shape": msgspec.to_builtins(shape) if fresh and shape else None,
                "depth": found.depth,
                "during": found.during,
                "redone": checked.row.steps_redone,
            }
        )
        self._judge(checked)
        return found

    def _judge(self, checked: Checked) -> None:
        if checked.failed:
            self._failures.met(checked)

    def _rarity(self, found: Met) -> float:
        """Each pair counts by how seldom it was met so far: a new one 1, one of a hundred meetings 0.01."""
        return float(sum(1.0 / self._counts[pair] for pair in found.pairs))


def _settings(asked: Round) -> settings:
    return settings(
        database=DirectoryBasedExampleDatabase(Path(asked.store) / "hypothesis"),
        deadline=None,
        derandomize=False,
        max_examples=asked.runs,
        phases=(Phase.reuse, Phase.generate, Phase.target),
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )


def main(arguments: Sequence[str]) -> int:
    """Reads `Round`s as JSON lines until the input ends."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a build that prints must not write between our lines

    def say(what: dict[str, Any]) -> None:
        out.write(msgspec.json.encode(what) + b"\n")
        out.flush()

    checkers: dict[str, Checker] = {}
    gc.freeze()
    for line in sys.stdin.buffer:
        asked = msgspec.json.decode(line, type=Round)
        lane = Lane(checkers.setdefault(asked.scenario, Checker(get(asked.scenario))), asked, say)
        lane.pending()
        lane.random() if asked.random else lane.explore()
        say({"end": lane.runs})
    return 0
