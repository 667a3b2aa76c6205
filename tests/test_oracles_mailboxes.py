"""Whole runs in which mailboxes overflow and agents with mail are paused and ended, under every oracle.

The runs are judged as any other; the journal must hold each kind of record, or nothing was tested.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from runtime_kit import plan_of

from faults.plan import Plan
from harness.check import Checker
from harness.history import History
from harness.oracles import Verdict
from runtime import journal
from runtime.state import Action, Input, Operate, Publish, Schedule, Send, Spawn
from scenarios.registry import get

ACCOUNTS = 16


def crowded() -> Plan:
    """The ledger with six accounts paused for long, as many told more than fits, and ended with their mail."""
    plan = plan_of("ledger")
    actions: list[tuple[int, Action]] = []
    for agent in range(6):
        actions.append((6 + agent, Operate("pause", agent)))
        actions += [(14, Schedule(agent, bytes([n]), 12)) for n in range(3)]
        actions.append((60, Operate("terminate" if agent < 4 else "resume", agent)))
    actions += [(25, Publish(b"to all", 0)), (26, Send(7, bytes(70_000))), (26, Schedule(7, bytes(70_000), 1))]
    actions += [(26, Publish(bytes(70_000), 0)), (27, Spawn(_bad()))]
    actions.sort(key=lambda item: item[0])
    operator = tuple(Input(action, n, "operator", tick) for n, (tick, action) in enumerate(actions, 1))
    return replace(plan, inputs=plan.inputs + operator)


def _bad() -> Any:
    spec = get("ledger").agents[0]
    return replace(spec, name="bad", limits=replace(spec.limits, fuel=0))


def asking() -> Plan:
    """The assistants, each ended or paused at another moment of its conversation."""
    plan = plan_of("assistants")
    actions = [(8, Operate("pause", 0)), (9, Operate("terminate", 1)), (10, Operate("pause", 2))]
    actions += [(16, Operate("terminate", 0)), (30, Operate("resume", 2)), (31, Operate("terminate", 3))]
    operator = tuple(Input(action, n, "operator", tick) for n, (tick, action) in enumerate(actions, 1))
    return replace(plan, inputs=plan.inputs + operator)


PLANS = {"ledger": crowded, "assistants": asking}


def kinds(history: History) -> set[str]:
    return {str(event[0]) for line in journal.read(history.journal).lines for event in line.block.events}


@pytest.mark.parametrize("scenario", PLANS)
@pytest.mark.parametrize("kill", [(), ("worker.kill@tick:27,agent:8",), ("orchestrator.kill@tick:60,occurrence:1",)])
def test_a_crowded_run_passes_every_oracle(scenario: str, kill: tuple[str, ...]) -> None:
    plan = replace(PLANS[scenario](), faults=plan_of(scenario, *kill).faults)
    checked = Checker(get(scenario)).check(plan, deep=not kill)
    wrong = {name: found.evidence for name, found in checked.findings.items() if found.verdict is not Verdict.PASS}
    assert {name: why for name, why in wrong.items() if why} == {}, wrong
    expected = {
        "ledger": {"refused", "refused_task", "dropped", "dropped_refusal", "illegal"},
        "assistants": {"dropped_result"},
    }
    assert expected[scenario] <= kinds(checked.history), kinds(checked.history)
