"""The rows that a campaign hands over: one per run, and one `Meta` for what all of them share.

They are data, complete, and checked before anything is written: a row with an unknown verdict, a negative count or a
fault that fired but was never planned is refused by its run number, so a report never shows what no run produced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta as Limits
from msgspec import Struct

from runtime.errors import Refused

REPORT_VERSION = 1

Verdict = Literal["PASS", "FAIL", "UNKNOWN", "IDLE"]
Natural = Annotated[int, Limits(ge=0)]
_INVALID = (msgspec.MsgspecError, TypeError, OverflowError, UnicodeError)


class RunRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run. Times are virtual nanoseconds; `faults_*` map a fault's slug to how many were planned and took effect.

    `wrong_results` were computed wrong, silently, and reached the runtime; `wrong_found` of them it found.
    `recoveries_ns` holds one time per interrupted tick, from the fault to that tick's commit, however long the fault
    lasts. `bound_ns` is the liveness bound of the run, `margin_ns` what the longest open tick left of it once all had
    healed (negative when it was exceeded).
    `reached` names the `sometimes` properties that held.
    `case` is the folder of the case, "" without one; `replay` the command line that runs it again. `component` names
    the part of the runtime that the evidence points at, `detail` the first failing oracle's evidence in one line.
    """

    run: Natural
    scenario: str
    seed: Natural
    workers: Natural
    verdict: Verdict
    failed_oracles: tuple[str, ...] = ()
    unknown_oracles: tuple[str, ...] = ()
    judged: tuple[str, ...] = ()
    faults_planned: dict[str, Natural] = {}
    faults_fired: dict[str, Natural] = {}
    steps_redone: Natural = 0
    workers_lost: Natural = 0
    wrong_results: Natural = 0
    wrong_found: Natural = 0
    reached: tuple[str, ...] = ()
    recoveries_ns: tuple[Natural, ...] = ()
    margin_ns: int = 0
    bound_ns: Natural = 0
    ticks: Natural = 0
    messages: Natural = 0
    agent_steps: Natural = 0
    virtual_ns: Natural = 0
    journal_digest: str = ""
    trace_digest: str = ""
    twin_digest: str = ""
    plan_digest: str = ""
    case: str = ""
    replay: str = ""
    component: str = ""
    detail: str = ""


class Sometimes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A state that some run of the campaign should have reached: its name, and what it is in one sentence."""

    name: str
    sentence: str


class NotTested(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that the campaign could not have found: a row of the catalogue, an oracle, a condition; and why."""

    what: str
    why: str


class Meta(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the runs have in common. `fault_kinds` and `oracles` are all that could have fired and judged.

    `random` says that the workloads, (scenario, seed), were drawn independently, so that a bound on the share of them
    that fails means something.
    `dirty` is None when it is not known whether the build's folder differs from `commit`. `meanings` say in a line what
    an oracle compares, by its id; `sometimes` are the states that could have been reached; `pairs`
    those of kinds that could have met in one run, where that is known; `assumptions` are what the
    figures rest on, a sentence each.
    """

    title: str = "Stress report"
    profile: str = "default"
    evidence: Literal["simulated", "physical"] = "simulated"
    random: bool = True
    arguments: tuple[str, ...] = ()
    build: str = ""
    commit: str = ""
    dirty: bool | None = None
    versions: dict[str, str] = {}
    hashes: dict[str, str] = {}
    fault_kinds: tuple[str, ...] = ()
    oracles: tuple[str, ...] = ()
    meanings: dict[str, str] = {}
    sometimes: tuple[Sometimes, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    assumptions: tuple[str, ...] = ()
    not_tested: tuple[NotTested, ...] = ()


def check_rows(rows: Iterable[RunRow]) -> tuple[RunRow, ...]:
    """The rows in order of (scenario, run); raises Refused for one that no run can have produced."""
    checked = []
    seen: set[tuple[str, int]] = set()
    for row in rows:
        where = f"run {row.run} of {row.scenario!r}"
        try:
            row = msgspec.json.decode(msgspec.json.encode(row), type=RunRow)
        except _INVALID as error:
            raise Refused(f"not a result row: {error}", where, "give each field its declared type") from None
        if row.seed >= 2**64:
            raise Refused("the seed needs more than 64 bits", where, "draw seeds below 2**64")
        if (row.scenario, row.run) in seen:
            raise Refused("this run is there twice", where, "merge results by run before reporting")
        if surplus := sorted(kind for kind, n in row.faults_fired.items() if n > row.faults_planned.get(kind, 0)):
            raise Refused(
                f"more faults fired than planned: {', '.join(surplus)}", where, "count each planned fault once"
            )
        seen.add((row.scenario, row.run))
        checked.append(row)
    return tuple(sorted(checked, key=lambda row: (row.scenario, row.run)))


def check_meta(meta: Meta | Mapping[str, Any]) -> Meta:
    """`meta` as a Meta; a mapping with an unknown key or a value of the wrong type is refused by its name."""
    try:
        return msgspec.json.decode(msgspec.json.encode(meta), type=Meta)
    except _INVALID as error:
        raise Refused(f"not a report's metadata: {error}", "meta", "see reports.frames.Meta for its fields") from None
