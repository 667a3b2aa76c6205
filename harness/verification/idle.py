"""Faults that never strike: what is left of a fault layer when it hits nothing must be nothing (I7)."""

from __future__ import annotations

from msgspec.structs import replace

from faults.plan import Fault, Plan
from harness.plans import accept
from runtime.errors import Refused
from scenarios.base import Scenario

NEVER = 4_000_000  # a tick beyond the end of every scenario
IDLE = (
    Fault(kind="worker.kill", at={"tick": NEVER, "agent": 0}),
    Fault(kind="frame.lose", at={"tick": NEVER, "agent": 0, "direction": "done"}),
    Fault(kind="orchestrator.kill", at={"tick": NEVER, "phase": "sync"}),
)


def idle_plan(plain: Plan, scenario: Scenario | None = None) -> Plan:
    """The plan with faults, all of them transparent, at events that never come; those that it cannot take left out."""
    faults: tuple[Fault, ...] = plain.faults
    for fault in IDLE:
        try:
            accept(replace(plain, faults=(*faults, fault)), "", scenario)
        except Refused:
            continue
        faults = (*faults, fault)
    return replace(plain, faults=faults)
