"""A case made minimal: shrunk in child interpreters, each smaller case on disk before the next is tried (HAR-3, I40).

Where a build is given that is known to be good, a smaller plan counts only if it passes there: then what is left fails
by the runtime's doing. A case counts as minimal only when what is left fails again each time it is asked, by the same
oracle: ten runs in two further interpreters, with other seeds of hash() and nothing kept from earlier runs. A case that
does not fail at all is FIXED, one that fails now and then FLAKY, one whose run now ends or blocks its interpreter
ENDED: none is shrunk.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from faults.plan import Plan
from harness import builds, cases, fingerprint
from harness.oracles import ORACLES
from harness.shrinking import Shrinker
from harness.trials import Good, Trials
from runtime.errors import Refused

AGAIN = 10
CHILDREN = 2
FAILED, FIXED, FLAKY, ENDED = "FAILED", "FIXED", "FLAKY", "ENDED"


class Limits(Struct, frozen=True):
    """At most so many runs of candidates, none begun after so many seconds."""

    runs: int
    seconds: float


class Size(Struct, frozen=True):
    """`ticks` is how many the run has a block for."""

    faults: int
    inputs: int
    ticks: int


class Minimal(Struct, frozen=True, kw_only=True):
    """`again` of `AGAIN` runs of what is left failed by `oracle`; `whole` says that no limit ended the search."""

    outcome: str
    oracle: str
    again: int
    before: Size
    after: Size
    runs: int
    whole: bool
    fingerprint: str
    faults: tuple[str, ...]
    case: str


class Best:
    """The smallest case so far, on disk; the one before it goes once the new one is whole."""

    def __init__(
        self, trials: Trials, first: Plan, folder: Path, news: Callable[[Size], None], good: Good | None = None
    ) -> None:
        self._trials, self._first, self._folder, self._news, self._good = trials, first, folder, news, good
        self.case = ""
        self.size = Size(len(first.faults), len(first.inputs), 0)

    def fails(self, plan: Plan) -> bool:
        """Run a candidate; one that fails is kept, as it is smaller than the one before."""
        found = (plan.inputs, plan.last_tick) == (self._first.inputs, self._first.last_tick)
        answer = self._trials.run(plan, found=found or self._good is not None, write=str(self._folder))
        if not answer.fails:
            return False
        if self._good is not None and not self._good.passes(plan):
            shutil.rmtree(answer.case, ignore_errors=True)
            return False
        old, self.case = self.case, answer.case
        if old and old != self.case:
            shutil.rmtree(old, ignore_errors=True)
        self.size = Size(len(plan.faults), len(plan.inputs), answer.ticks)
        self._news(self.size)
        return True


def minimal(path: Path, oracle: str, limits: Limits, news: Callable[[Size], None], good: Good | None = None) -> Minimal:
    """Shrink the case at `path`, into a case beside it; raises Refused for what is no case that an oracle failed.

    `oracle` is the one to keep, "" for the most telling of the case's; `good` is a build that passes the case. A limit
    or an interruption leaves the best case so far in the folder of the given one.
    """
    case = cases.read(path)
    plan = cases.plan_of(case, str(path))
    oracle = _wanted(case, oracle, str(path))
    home = (path if path.is_dir() else path.parent).resolve()
    with Trials(oracle) as trials:
        first = trials.run(plan, found=True)
        before = Size(len(plan.faults), len(plan.inputs), first.ticks)
        if good is not None and first.fails and not good.passes(plan):
            raise Refused("the build that is given as good fails the case as well", str(path), "give one that passes")
        best = Best(trials, plan, home.parent, news, good)
        shrinker = Shrinker(best.fails, limits.runs, limits.seconds)
        small = shrinker.shrink(plan) if first.fails else plan
        again = times(trials, small, found=small == plan or good is not None)
    outcome = FAILED if again == AGAIN else FLAKY if again or first.fails else FIXED
    if outcome == FIXED and "process" in first.failed:
        outcome = ENDED
    return Minimal(
        outcome=outcome,
        oracle=oracle,
        again=again,
        before=before,
        after=best.size if best.case else before,
        runs=shrinker.runs,
        whole=not shrinker.spent,
        fingerprint=str(fingerprint.of(oracle, small.faults)) if outcome == FAILED else "",
        faults=tuple(str(fault) for fault in small.faults),
        case=best.case or str(path),
    )


def times(trials: Trials, plan: Plan, found: bool) -> int:
    """How many of `AGAIN` runs fail by the oracle, in new interpreters, each run judged with nothing kept."""
    failed = 0
    for number in range(AGAIN):
        if number % (AGAIN // CHILDREN) == 0:
            trials.renew()
        failed += trials.run(plan, found=found, fresh=True).fails
    return failed


def _wanted(case: cases.Case, oracle: str, where: str) -> str:
    failed = case.failed_oracles
    if oracle and oracle not in failed:
        there = ", ".join(failed) or "none"
        raise Refused(f"the case did not fail by {oracle!r}", where, f"it failed by {there}")
    oracle = oracle or fingerprint.primary(failed)
    if oracle not in ORACLES:
        what = "its run ended the interpreter" if oracle else "no oracle failed it"
        raise Refused(f"{what}, so there is nothing to keep while it gets smaller", where, "give a case that failed")
    return oracle


def replay_command(found: Minimal) -> str:
    """What replays the case on the present build."""
    build = f" --build {builds.current()}" if builds.current() else ""
    return f"wasm-engine replay {found.case}{build}"
