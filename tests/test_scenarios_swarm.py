"""`swarm`: a thousand agents gossip, on any number of workers and under faults; the invariant sees what goes astray."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from msgspec.structs import replace

from faults.plan import parse_fault
from harness.check import Checker
from harness.history import History
from harness.plans import default_plan
from harness.simulation import journal_digest, simulate
from runtime import journal
from runtime.frames import Output
from runtime.state import decode
from scenarios.base import Outcome
from scenarios.swarm import AGENTS, FINAL, HOPS, RUMOURS, SWARM


@cache
def played() -> History:
    return simulate(SWARM, default_plan("swarm"))


def outcome(history: History, change: Callable[[Output], Output | None] = lambda output: output) -> Outcome:
    outputs = [change(output) for receipt in history.receipts for output in receipt.outputs]
    boxes = [agent.mailbox for agent in decode(history.final_state).agents]
    blocks = [line.block for line in journal.read(history.journal).lines]
    return Outcome([output for output in outputs if output is not None], blocks, boxes, history.blobs)


def test_every_rumour_reaches_everybody_in_two_messages_for_each_agent() -> None:
    history = played()
    assert history.finished and SWARM.invariant(outcome(history)) == []
    finals = [FINAL.unpack(output.payload) for receipt in history.receipts for output in receipt.outputs]
    assert sorted(agent for agent, *_ in finals) == list(range(AGENTS))
    assert {known for _, _, known, _ in finals} == {(1 << RUMOURS) - 1}
    assert {told for _, told, _, _ in finals} == {RUMOURS}
    assert sum(heard for *_, heard in finals) == RUMOURS * (2 * AGENTS + 1)
    assert HOPS == 10


def test_the_journal_is_the_same_on_seven_workers_and_when_one_dies_in_the_crowd() -> None:
    plan = default_plan("swarm", workers=7)
    assert journal_digest(simulate(SWARM, plan)) == journal_digest(played())
    steps = [(block.tick, step) for block in outcome(played()).blocks for step in block.steps]
    tick, teller = next((tick, step.agent) for tick, step in steps if tick > 5 and step.agent > 300 and step.effects)
    killed = replace(plan, faults=(parse_fault(f"worker.kill@tick:{tick},agent:{teller},hostcall:2"),))
    checked = Checker(SWARM).check(killed)
    assert checked.failed == () and checked.effective == {0: True}
    assert journal_digest(checked.history) == journal_digest(played())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda output: None if output.agent == 7 else output, "agent 7: reports []"),
        (lambda output: replace(output, payload=output.payload[:-1] + b"\1"), "agent 0: reports ["),
        (lambda output: replace(output, agent=8) if output.agent == 9 else output, "agent 8: reports ["),
    ],
)
def test_a_report_that_is_missing_altered_or_anothers_is_named(
    change: Callable[[Output], Output | None], words: str
) -> None:
    assert any(line.startswith(words) for line in SWARM.invariant(outcome(played(), change)))


def test_a_rumour_that_ends_on_its_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal and the reports agree, as when an agent keeps what it hears to itself: somebody never hears of it."""
    monkeypatch.setattr("scenarios.swarm._started", lambda outcome: 1 << 40)
    found = SWARM.invariant(outcome(played()))
    assert len(found) == AGENTS and "a rumour never reached it, although no step failed" in found[0]
