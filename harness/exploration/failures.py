"""Failures as a lane meets them: on disk before anything else, then shrunk, then known by their fingerprint.

A later failure counts as one that is known only when its run passes without the kinds of fault that the known one
needs: otherwise something else fails in it, and it is shrunk as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from faults.plan import Plan
from harness import cases, fingerprint
from harness.check import DEEP, Checked, Checker
from harness.fingerprint import Fingerprint
from harness.minimal import times
from harness.shrinking import RUNS_MAX, Shrinker
from harness.trial import soundly
from harness.trials import Trials

SHRINK_SECONDS = 60.0
SHRINK_SECONDS_MIN = 1.0


class Failures:
    """`left` says how many seconds the search still has; `say` is told of findings."""

    def __init__(
        self,
        checker: Checker,
        store: Path,
        known: Sequence[str],
        say: Callable[[dict[str, Any]], None],
        left: Callable[[], float],
    ) -> None:
        self._checker, self._folder, self._say, self._left = checker, store / "cases", say, left
        self._known = [found for text in known if (found := fingerprint.parse(text)) is not None]

    def met(self, checked: Checked) -> None:
        """A run that failed: a finding, or one more of a known one."""
        oracle = fingerprint.primary(checked.failed)
        like = next((found for found in self._known if found.oracle == oracle and self._explains(found, checked)), None)
        if like is not None:
            self._say({"repeat": str(like), "instead": ""})
            return
        raw = cases.write(checked, self._checker.scenario, self._folder)
        wide = fingerprint.of(oracle, checked.plan.faults)
        self._finding(wide, checked.plan, raw, minimal=False, again=0, instead="")
        self._shrunk(checked.plan, oracle, raw)

    def resume(self, name: str) -> None:
        """A failure that was found before, and not shrunk then."""
        raw = self._folder / name
        case = cases.read(raw)
        plan = cases.plan_of(case, str(raw))
        checked = self._checker.check(plan, deep=not set(case.failed_oracles).isdisjoint(DEEP))
        if checked.failed:
            self._shrunk(checked.plan, fingerprint.primary(checked.failed), raw)

    def _explains(self, found: Fingerprint, checked: Checked) -> bool:
        """Whether what is known needs nothing, or its kinds of fault are there and the run passes without them."""
        plan = checked.plan
        if not set(found.faults) <= {fault.kind for fault in plan.faults}:
            return False
        rest = tuple(fault for fault in plan.faults if fault.kind not in found.faults)
        if not found.faults:
            return True
        again = self._checker.check(replace(plan, faults=rest), deep=found.oracle in DEEP)
        return found.oracle not in again.failed

    def _shrunk(self, plan: Plan, oracle: str, raw: Path) -> None:
        def fails(candidate: Plan) -> bool:
            as_found = (candidate.inputs, candidate.last_tick) == (plan.inputs, plan.last_tick)
            return soundly(self._checker, self._checker.check(candidate, deep=oracle in DEEP), oracle, as_found)

        seconds = min(SHRINK_SECONDS, self._left() / 2)
        if seconds < SHRINK_SECONDS_MIN:
            return  # it is on disk as it was found; a later call shrinks it
        shrinker = Shrinker(fails, RUNS_MAX, seconds, scenario=self._checker.scenario)
        small = shrinker.shrink(plan)
        found = fingerprint.of(oracle, small.faults)
        if found in self._known:
            self._say({"repeat": str(found), "instead": raw.name})
            return
        self._known.append(found)
        place = cases.write(self._checker.check(small, deep=oracle in DEEP), self._checker.scenario, self._folder)
        with Trials(oracle) as trials:
            again = times(trials, small, found=small == plan)
        self._finding(found, small, place, minimal=True, again=again, instead=raw.name)

    def _finding(self, found: Fingerprint, plan: Plan, place: Path, *, minimal: bool, again: int, instead: str) -> None:
        self._say(
            {
                "finding": str(found),
                "minimal": minimal,
                "again": again,
                "instead": instead,
                "faults": [str(fault) for fault in plan.faults],
                "inputs": len(plan.inputs),
                "case": place.name,
            }
        )
