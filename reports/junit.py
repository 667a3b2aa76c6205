"""JUnit XML for continuous integration: a suite per scenario, a case per run.

FAIL is a failure, UNKNOWN an error, IDLE is skipped: only what passed looks passed. Durations are left out, as a
run's virtual time is no test time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports.frames import Meta, RunRow
from reports.words import COMMAND_MAX, plain

if TYPE_CHECKING:
    from junitparser import TestCase


def _case(row: RunRow) -> TestCase:
    from junitparser import Error, Failure, Skipped, TestCase

    case = TestCase(f"run {row.run} (seed {row.seed})", classname=f"wasm_engine.{plain(row.scenario)}")
    replay = f"replay: {plain(row.replay, COMMAND_MAX)}"
    if row.verdict == "FAIL":
        failed = Failure(plain(f"failed: {', '.join(row.failed_oracles)} {row.detail}".strip()), "FAIL")
        failed.text = replay
        case.result = [failed]
    elif row.verdict == "UNKNOWN":
        unknown = Error(plain(f"could not judge: {', '.join(row.unknown_oracles)}"), "UNKNOWN")
        unknown.text = replay
        case.result = [unknown]
    elif row.verdict == "IDLE":
        case.result = [Skipped("no fault took effect", "IDLE")]
    return case


def render(rows: Sequence[RunRow], meta: Meta) -> bytes:
    from junitparser import JUnitXml, TestSuite

    document: Any = JUnitXml("wasm-engine")
    for name in sorted({row.scenario for row in rows}):
        suite = TestSuite(plain(name))
        suite.add_property("profile", plain(meta.profile))
        suite.add_property("evidence", meta.evidence)
        suite.add_testcases([_case(row) for row in rows if row.scenario == name])
        document.add_testsuite(suite)
    document.update_statistics()
    return bytes(document.tostring())
