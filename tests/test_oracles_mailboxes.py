"""Whole runs in which mailboxes overflow and agents with mail are paused and ended, under every oracle.

The runs are judged as any other; the journal must hold each kind of record, or nothing was tested.
"""

from __future__ import annotations

from functools import partial

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

LONG = bytes(70_000)  # more than max_payload


def operated(scenario: str, actions: list[tuple[int, Action]]) -> Plan:
    """The scenario's own workload, and these actions of an operator, by tick."""
    plan = plan_of(scenario)
    ordered = enumerate(sorted(actions, key=lambda item: item[0]), 1)
    operator = tuple(Input(action, n, "operator", tick) for n, (tick, action) in ordered)
    return replace(plan, inputs=tuple(sorted(plan.inputs + operator, key=lambda item: item.tick)))


def crowded(tasks: int = 0) -> Plan:
    """The ledger with six accounts paused for long, sent more than fits, then ended with their mail or let go on."""
    spec = get("ledger").agents[0]
    bad = replace(spec, name="bad", limits=replace(spec.limits, fuel=0))
    actions: list[tuple[int, Action]] = [(25, Publish(bytes(16), 0)), (26, Publish(LONG, 0)), (26, Send(7, LONG))]
    actions += [(26, Schedule(7, LONG, 1))] * bool(tasks) + [(27, Spawn(bad))]
    for agent in range(6):
        actions += [(6 + agent, Operate("pause", agent))] + [(14, Schedule(agent, bytes(40), 46))] * tasks
        actions.append((60, Operate("terminate" if agent < 4 else "resume", agent)))
    return operated("ledger", actions)


def asking() -> Plan:
    """The assistants, each ended or paused at another moment of its conversation."""
    actions: list[tuple[int, Action]] = [(8, Operate("pause", 0)), (9, Operate("terminate", 1))]
    actions += [(10, Operate("pause", 2)), (16, Operate("terminate", 0)), (30, Operate("resume", 2))]
    return operated("assistants", [*actions, (31, Operate("terminate", 3))])


PLANS = {"ledger": crowded, "tasks": partial(crowded, 40), "assistants": asking}
RECORDS = {
    "ledger": {"refused", "dropped", "illegal"},
    "tasks": {"refused", "refused_task", "dropped", "illegal"},
    "assistants": {"dropped_result"},
}


def kinds(history: History) -> set[str]:
    return {str(event[0]) for line in journal.read(history.journal).lines for event in line.block.events}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("kill", ["", "worker.kill@tick:27,agent:8", "orchestrator.kill@tick:60,phase:commit"])
def test_a_crowded_run_passes_every_oracle(name: str, kill: str) -> None:
    """The ledger's own judge knows nothing of tasks, so it is left out where there are some."""
    plan = PLANS[name]()
    plan = replace(plan, faults=plan_of(plan.scenario, *[kill] * bool(kill)).faults)
    checked = Checker(get(plan.scenario)).check(plan, deep=not kill)
    judged = {oracle: found for oracle, found in checked.findings.items() if (name, oracle) != ("tasks", "scenario")}
    assert [found for found in judged.values() if found.verdict is Verdict.FAIL] == []
    passed = {oracle for oracle, found in judged.items() if found.verdict is Verdict.PASS}
    assert {"I8", "I9", "I11", "I34", "twin", *({"scenario"} & judged.keys())} <= passed
    assert RECORDS[name] <= kinds(checked.history), kinds(checked.history)
