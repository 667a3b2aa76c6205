"""The measured work is what it says: as many messages as promised, an invariant that damage breaks."""

from __future__ import annotations

from functools import cache

import msgspec
import pytest
from msgspec.structs import replace
from straight import run

from faults.plan import Fault
from harness.bench.work import plan_of
from harness.check import Checker
from runtime.state import MESSAGE, Send
from scenarios import SCENARIOS, Outcome, get
from scenarios.bench import BENCH, FINAL, bench, messages


@cache
def straight() -> Outcome:
    return run(bench(4, 6))


def test_it_is_found_by_name_though_not_in_the_default_list() -> None:
    assert get("bench") is BENCH
    assert "bench" not in SCENARIOS


@pytest.mark.parametrize(("agents", "ticks"), [(2, 3), (3, 5), (16, 4)])
def test_every_peer_consumes_two_messages_in_every_tick(agents: int, ticks: int) -> None:
    outcome = run(bench(agents, ticks))
    sent = [
        effect for block in outcome.blocks for step in block.steps for effect in step.effects if effect.op == "send"
    ]
    assert len(sent) == messages(agents, ticks)
    for block in outcome.blocks[2:-1]:
        assert [len(step.inbox) for step in block.steps] == [2] * agents


def test_the_standard_size_is_sixteen_agents_and_6400_messages() -> None:
    assert len(BENCH.agents) == 16
    assert messages() == 6400
    assert [item.action.agent for item in BENCH.workload(1) if isinstance(item.action, Send)] == list(range(16))


def test_a_straight_run_keeps_the_invariant() -> None:
    assert bench(4, 6).invariant(straight()) == []


@pytest.mark.parametrize("place", [8, 16, 24], ids=["chain", "sent", "received"])
def test_a_report_that_differs_from_the_journal_is_a_violation(place: int) -> None:
    outcome = straight()
    first = outcome.outputs[0]
    payload = bytearray(first.payload)
    payload[place] ^= 1
    damaged = [msgspec.structs.replace(first, payload=bytes(payload)), *outcome.outputs[1:]]
    assert any("agent 0" in v for v in bench(4, 6).invariant(outcome._replace(outputs=damaged)))


def test_a_missing_report_and_a_second_one_are_violations() -> None:
    outcome = straight()
    for outputs in (outcome.outputs[1:], [*outcome.outputs, outcome.outputs[0]]):
        assert bench(4, 6).invariant(outcome._replace(outputs=outputs))


def test_a_peer_that_was_never_started_sends_nothing_and_traps_nothing() -> None:
    scenario = bench(3, 4)
    plan = plan_of(scenario)
    checked = Checker(scenario).check(replace(plan, inputs=plan.inputs[:1]))
    assert checked.row.verdict == "PASS"
    lengths = [len(item.payload) for receipt in checked.history.receipts for item in receipt.outputs]
    assert lengths == [FINAL.size] * 3


def test_its_peers_survive_a_worker_kill_and_a_trap_is_contained() -> None:
    scenario = bench(4, 8)
    faults = (
        Fault(kind="worker.kill", at={"tick": 4, "agent": 1, "hostcall": 2}),
        Fault(kind="agent.trap", at={"tick": 5, "agent": 2, "hostcall": 1}),
    )
    checked = Checker(scenario).check(replace(plan_of(scenario), faults=faults))
    assert checked.row.verdict == "PASS"
    assert checked.effective == {0: True, 1: True}


def test_a_message_has_the_kind_that_the_peer_tells_apart_from_its_start() -> None:
    kinds = {message.kind for box in straight().mailboxes for message in box}
    assert kinds == {MESSAGE}
