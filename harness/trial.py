"""Trials of plans, in a single-threaded interpreter of their own: one plan per line in, one answer per line out.

What shrinking asks of a candidate, whether it fails by the oracle that matters and asks nothing impossible, is judged
here, so that a build which loops, prints or ends its interpreter harms nobody but this child. A request may also have
the run written as a case, since only this side has its records.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from faults.plan import plan_from_json
from harness import cases
from harness.check import DEEP, Checked, Checker
from harness.plans import accept
from scenarios import get


class Request(Struct, frozen=True, kw_only=True):
    """`plan` is JSON; `oracle` is who should fail it, for which its further runs are made, too, where it needs any.

    `fresh` leaves nothing cached from earlier trials; a run that fails soundly by the oracle is written as a case below
    the folder `write`, where that is not "". `found` says that the workload is the one that was found.
    """

    plan: str
    oracle: str
    fresh: bool = False
    found: bool = False
    write: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    """`fails`: by the oracle, and soundly; `failed` and `unknown` are all oracles of that verdict.

    `ticks` are those with a block; `case` is the folder that was written.
    """

    fails: bool
    failed: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    ticks: int = 0
    trace_digest: str = ""
    case: str = ""


def answer(checker: Checker, request: Request) -> Answer:
    """Run the plan and judge it."""
    plan = accept(plan_from_json(request.plan), "", checker.scenario)
    checked = checker.check(plan, deep=request.oracle in DEEP)
    row = checked.row
    fails = soundly(checker, checked, request.oracle, request.found)
    return Answer(
        fails=fails,
        failed=row.failed_oracles,
        unknown=row.unknown_oracles,
        ticks=row.ticks,
        trace_digest=row.trace_digest,
        case=str(cases.write(checked, checker.scenario, Path(request.write))) if fails and request.write else "",
    )


def soundly(checker: Checker, checked: Checked, oracle: str, found: bool) -> bool:
    """Whether a run fails by this oracle, and by the runtime's doing.

    A scenario's rule may expect what a shorter workload cannot give (an answer within the run). Where it breaks without
    any fault, that says nothing of the build, unless the workload is the one that was `found`.
    """
    return oracle in checked.failed and (found or checker.holds_without_faults(checked.plan))


def main(arguments: Sequence[str]) -> int:
    """Reads `Request`s as JSON lines until the input ends."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a build that prints must not write between our lines
    checkers: dict[str, Checker] = {}
    gc.freeze()
    for line in sys.stdin.buffer:
        request = msgspec.json.decode(line, type=Request)
        name = plan_from_json(request.plan).scenario
        if request.fresh or name not in checkers:
            checkers[name] = Checker(get(name))
        out.write(msgspec.json.encode(answer(checkers[name], request)) + b"\n")
        out.flush()
    return 0
