"""One build's part of a comparison, in an interpreter of its own: one JSON line in, one JSON line out.

Plans are drawn by this harness's own runtime and come as data to both builds, so that neither has a say in what is
tested. Every plan has a workload of its own: pairs are independent trials.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from faults.plan import plan_from_json, plan_to_json
from faults.profiles import from_json
from harness import cases
from harness.check import DEEP, Checked, Checker
from harness.plans import accept
from harness.runner import DEEP_EVERY, campaign_plan
from harness.shrinking import Shrinker
from scenarios import get

Told = dict[str, Any]


class _Checkers:
    """One per scenario; a checker keeps a few twins."""

    def __init__(self) -> None:
        self._known: dict[str, Checker] = {}

    def of(self, name: str) -> Checker:
        return self._known.setdefault(name, Checker(get(name)))


def _draw(checkers: _Checkers, told: Told) -> Told:
    checker, profile = checkers.of(told["scenario"]), from_json(told["profile"])
    plan = campaign_plan(checker, told["seed"], told["n"], told["workers"], profile, shared=1)
    return {"plan": plan_to_json(plan)}


def _check(checkers: _Checkers, told: Told) -> Told:
    plan = accept(plan_from_json(told["plan"]), "")
    n = told["n"]
    checked = checkers.of(plan.scenario).check(plan, n, deep=n % DEEP_EVERY == 0)
    Path(told["journal"]).write_bytes(checked.history.journal)
    return {"row": msgspec.to_builtins(checked.row)}


def _case(checkers: _Checkers, told: Told) -> Told:
    """The plan with the fewest faults that fails by the same oracle, written as a case."""
    plan, oracle = accept(plan_from_json(told["plan"]), ""), told["oracle"]
    checker = checkers.of(plan.scenario)

    def check(candidate: Any) -> Checked:
        return checker.check(candidate, told["n"], deep=oracle in DEEP)

    shrinker = Shrinker(lambda candidate: oracle in check(candidate).failed, told["runs_max"])
    plan = shrinker.shrink(plan)
    checked = check(plan)
    place = cases.write(checked, checker.scenario, Path(told["folder"]))
    return {"case": str(place), "plan": plan_to_json(plan)}


_PARTS = {"draw": _draw, "check": _check, "case": _case}


def main(arguments: Sequence[str]) -> int:
    """Answers requests until the input ends."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a build that prints must not write between our lines
    checkers = _Checkers()
    gc.freeze()
    for line in sys.stdin:
        told = json.loads(line)
        out.write(json.dumps(_PARTS[told["do"]](checkers, told)) + "\n")
        out.flush()
    return 0
