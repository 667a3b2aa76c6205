"""`console`: what agents are told by WASI follows from their step, and the scenario's rule sees what does not."""

from __future__ import annotations

from functools import cache

import pytest
from msgspec.structs import replace

from faults.plan import parse_fault
from harness.check import Checker
from harness.history import History
from harness.plans import default_plan
from harness.simulation import simulate
from runtime import journal
from runtime.frames import Output
from runtime.journal import Block
from runtime.state import decode
from scenarios.base import Outcome
from scenarios.console import CONSOLE, LINES, WRITTEN


@cache
def played() -> History:
    return simulate(CONSOLE, default_plan("console"))


def outcome(blocks: list[Block]) -> Outcome:
    history = played()
    outputs: list[Output] = [output for receipt in history.receipts for output in receipt.outputs]
    return Outcome(outputs, blocks, [agent.mailbox for agent in decode(history.final_state).agents], history.blobs)


def blocks() -> list[Block]:
    return [line.block for line in journal.read(played().journal).lines]


def test_it_holds_and_every_step_that_wrote_is_in_the_log() -> None:
    assert CONSOLE.invariant(outcome(blocks())) == []
    steps = sum(step.kind != "init" for block in blocks() for step in block.steps)
    assert len(played().lines) == LINES * steps
    assert sum(len(line.data) for line in played().lines) == WRITTEN * steps


@pytest.mark.parametrize(
    ("at", "what"),
    [(4, "errors 1"), (8, "read"), (16, "at"), (24, "its random bytes are"), (40, "wrote"), (48, "lines")],
)
def test_one_other_byte_in_what_a_step_was_told_is_found(at: int, what: str) -> None:
    found = blocks()
    place = next(n for n, block in enumerate(found) if any(step.kind == "step" for step in block.steps))
    step = next(step for step in found[place].steps if step.kind == "step")
    [effect] = step.effects
    payload = bytearray(effect.payload if isinstance(effect.payload, bytes) else b"")
    if at == 24:
        payload[32:37] = bytes(5)
    else:
        payload[at] ^= 1
    changed = replace(step, effects=(replace(effect, payload=bytes(payload)),))
    steps = tuple(changed if one is step else one for one in found[place].steps)
    found[place] = replace(found[place], steps=steps)
    assert any(what in line for line in CONSOLE.invariant(outcome(found)))


def test_steps_that_are_run_again_are_told_the_same() -> None:
    ran = [(block.tick, step.agent) for block in blocks() for step in block.steps if step.kind == "step"]
    faults = [f"worker.kill@tick:{tick},agent:{agent},point:after" for tick, agent in ran[3:30:9]]
    plan = replace(
        default_plan("console"), faults=tuple(map(parse_fault, [*faults, "orchestrator.kill@tick:9,phase:sync"]))
    )
    checked = Checker(CONSOLE).check(plan)
    assert all(checked.effective.values()) and checked.failed == () and checked.row.unknown_oracles == ()
