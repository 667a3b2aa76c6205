"""The runs of a campaign, in a single-threaded interpreter of their own: ranges in, rows out, one JSON line each.

Run n of a campaign is a function of (seed, scenario, n) alone. Eight runs in a row share a workload, and so a twin; in
three of four no visible fault is drawn; every tenth is judged by the oracles that need further runs. A task that names
families of points asks for these instead, by their number. `start` is announced before each run, so the parent knows
which plan took the interpreter with it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import msgspec
from msgspec.structs import replace

from faults.plan import Plan, plan_to_json
from faults.profiles import Profile, find, from_json, mix_of
from harness import expand, pairing
from harness.check import Checked, Checker
from harness.enumeration import Point, Target, check_point, points_of
from runtime.physical import MS, Physical
from scenarios import get
from scenarios.strategies import draft_from_seed

SHARED = 8
DEFAULT_PROFILE = "stress"
DEEP_EVERY = 10
APART_AT = 7  # of every DEEP_EVERY runs: another one, so that a handful of runs needs no further process
PROBE_NS = 2 * MS  # runs last some 50 ms: a device that failed must be tried again within them


def campaign_plan(
    checker: Checker, seed: int, n: int, workers: int = 2, profile: Profile | None = None, shared: int = SHARED
) -> Plan:
    """The n-th plan of the campaign with this seed; the profile is `stress` where none is given.

    `shared` plans in a row have one workload.
    """
    name = checker.scenario.name
    profile = profile or find(DEFAULT_PROFILE)
    draft = draft_from_seed(name, seed, n - n % shared)
    picks = draft_from_seed(name, seed, n, *profile.faults).picks
    physical = checker.scenario.options(workers, Physical(probe_ns=PROBE_NS))
    bare = Plan(scenario=name, seed=draft.seed, inputs=draft.inputs, physical=physical)
    events = expand.events_of(checker.clean(bare))
    mix = mix_of(profile, seed, name, n, expand.possible(events))
    if mix.measured:
        physical = expand.checked(physical)
    return expand.expand(replace(draft, picks=picks), events, physical, mix)


def campaign_run(checker: Checker, seed: int, n: int, workers: int = 2, profile: Profile | None = None) -> Checked:
    plan = campaign_plan(checker, seed, n, workers, profile)
    return checker.check(plan, n, deep=n % DEEP_EVERY == 0, apart=n % DEEP_EVERY == APART_AT)


def pair_run(checker: Checker, seed: int, n: int, workers: int = 2, profile: Profile | None = None) -> Checked:
    """The n-th run of a campaign over all pairs of kinds."""
    physical = checker.scenario.options(workers, Physical(probe_ns=PROBE_NS))
    plan = pairing.pair_plan(checker, profile or find(DEFAULT_PROFILE), seed, n, physical)
    return checker.check(plan, n)


class _Source:
    """What the numbers of a task's runs mean; the points of a target are found once."""

    def __init__(self) -> None:
        self._checkers: dict[str, Checker] = {}
        self._points: dict[Target, list[Point]] = {}

    def runs_of(self, task: dict[str, Any]) -> Callable[[int], Checked]:
        name, seed, workers = task["scenario"], task["seed"], task["workers"]
        checker = self._checkers.setdefault(name, Checker(get(name)))
        if not task["families"]:
            profile = from_json(task["profile"]) if task["profile"] else None
            if task["pairs"]:
                return lambda n: pair_run(checker, seed, n, workers, profile)
            return lambda n: campaign_run(checker, seed, n, workers, profile)
        target = Target(name, seed, workers, tuple(task["families"]), task["first"], task["last"])
        if target not in self._points:
            self._points[target] = points_of(checker, target)
        points = self._points[target]
        return lambda n: check_point(checker, target, points[n], n)


def _say(out: TextIO, **fields: object) -> None:
    out.write(json.dumps(fields) + "\n")
    out.flush()


def main(arguments: Sequence[str]) -> int:
    """Reads `campaign.Task`s as JSON lines until the input ends."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a build that prints must not write between our lines
    source = _Source()
    gc.freeze()
    for line in sys.stdin:
        task = json.loads(line)
        run = source.runs_of(task)
        for n in task["runs"]:
            _say(out, start=n)
            checked = run(n)
            row = msgspec.to_builtins(checked.row)
            failed = checked.row.verdict in ("FAIL", "UNKNOWN")
            _say(out, row=row, plan=plan_to_json(checked.plan) if failed else "")
        _say(out, end=True)
    return 0
