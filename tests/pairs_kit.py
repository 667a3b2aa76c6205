"""Pairs for tests of comparisons: rows written by hand, only what matters to a test is given."""

from __future__ import annotations

from typing import Any

from reports.comparison import About, Build
from reports.frames import RunRow, Verdict
from reports.pairs import Failure, Pair, Side

FINGERPRINT = "I15/buffers/buffer.flip"


def row(n: int, verdict: Verdict = "PASS", recovery_ms: int = 5, **fields: Any) -> RunRow:
    failed = ("I15",) if verdict == "FAIL" else ()
    defaults: dict[str, Any] = {
        "failed_oracles": failed,
        "judged": ("twin", "I15"),
        "faults_planned": {"worker.kill": 1},
        "faults_fired": {"worker.kill": 1} if verdict != "IDLE" else {},
        "recoveries_ns": (recovery_ms * 1_000_000,),
        "seed": n,
    }
    return RunRow(run=n, scenario="ledger", workers=2, verdict=verdict, **defaults | fields)


def pair(n: int, base: Verdict = "PASS", head: Verdict = "PASS", base_ms: int = 5, head_ms: int = 5) -> Pair:
    return Pair(n=n, scenario="ledger", base=row(n, base, base_ms), head=row(n, head, head_ms))


def failure(n: int, side: Side, fingerprint: str = FINGERPRINT, **fields: Any) -> Failure:
    oracle, component, _ = fingerprint.split("/")
    told = {"oracle": oracle, "component": component, "detail": "", **fields}
    return Failure(scenario="ledger", n=n, side=side, fingerprint=fingerprint, **told)


def failures_of(pairs: list[Pair], fingerprint: str = FINGERPRINT) -> list[Failure]:
    """All failing rows, with one fingerprint."""
    sides: tuple[Side, Side] = ("base", "head")
    return [failure(p.n, side, fingerprint) for p in pairs for side in sides if p.row(side).verdict == "FAIL"]


ABOUT = About(
    base=Build(name="../released", identity="a" * 64),
    head=Build(name=".", identity="b" * 64, commit="c" * 40, dirty=False),
    arguments=("compare", "../released", "."),
    scenarios=("ledger",),
    seed=1,
    workers=2,
    fault_kinds=("worker.kill", "buffer.flip"),
    oracles=("twin", "I15", "I28"),
)
