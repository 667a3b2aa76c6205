"""`noisy`: what a tenant's neighbours do shows in none of its results; the invariant sees it where it does."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace

from faults.plan import parse_fault
from harness.check import Checker
from harness.history import History
from harness.oracles import Verdict
from harness.plans import default_plan
from harness.simulation import simulate
from runtime import journal
from runtime.frames import Output
from runtime.state import decode
from scenarios.base import Outcome
from scenarios.noisy import BOMB, CRAFT, FLOOD, FLOOD_2, FORGE, LOOP, NOISY, ROWDY, SHARES, UNDECLARED, WORKERS, quiet


@cache
def played(seed: int = 1, alone: bool = False) -> History:
    return simulate(quiet() if alone else NOISY, default_plan("noisy", seed))


def outputs(history: History) -> list[Output]:
    """What the workers let out, in the order in which it left; a step's place among others is not theirs."""
    return [replace(o, task=0) for receipt in history.receipts for o in receipt.outputs if o.agent < WORKERS]


def blocks(history: History) -> list[dict[str, Any]]:
    return [json.loads(line)["body"] for line in history.journal.splitlines()[1:]]


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_workers_results_and_their_ticks_are_those_of_the_run_without_the_noisy_tenant(seed: int) -> None:
    assert outputs(played(seed)) == outputs(played(seed, alone=True)) != []


def test_the_neighbours_do_what_they_are_there_for() -> None:
    statuses = Counter((s["agent"], s["status"]) for b in blocks(played()) for s in b["steps"])
    ill = {LOOP: "fuel", BOMB: "trap:unreachable", FORGE: "bad_pointer", UNDECLARED: "refused:import"}
    assert all(statuses[agent, status] > 1 for agent, status in ill.items()), statuses
    assert all(statuses[agent, "ok"] > 8 for agent in (FLOOD, FLOOD_2))
    events = [tuple(event) for b in blocks(played()) for event in b["events"]]
    told = Counter(event[0] for event in events)
    assert ("illegal", 0xFFFFFFFF, "spawn", "one-too-many") in events and ("deferred", ROWDY, "tasks") in events
    assert told["refused_message"] > 500 and told["refused"] > 100 and told["refused_join"] > 3
    assert {event[3] for event in events if event[0] == "refused_message"} == {5, 6}, "no member, and no quota left"


def judged(history: History, drop: int | None = None, **changes: Any) -> list[str]:
    outs = [output for receipt in history.receipts for output in receipt.outputs]
    boxes = [agent.mailbox for agent in decode(history.final_state).agents]
    found = [line.block for line in journal.read(history.journal).lines]
    if drop is not None:
        del outs[drop]
    if changes:
        outs[0] = replace(outs[0], **changes)
    return NOISY.invariant(Outcome(outs, found, boxes, history.blobs))


def test_the_invariant_sees_a_missing_a_changed_and_a_late_output() -> None:
    assert judged(played()) == []
    assert any("are due" in line for line in judged(played(), drop=-1))
    assert any("where it is due" in line for line in judged(played(), payload=b"\1" + bytes(23)))
    assert any("where it is due" in line for line in judged(played(), tick=played().receipts[0].tick + 5))


def test_where_a_tick_is_too_short_tenants_take_turns_and_nobody_waits_longer_than_the_bound() -> None:
    checked = Checker(SHARES).check(default_plan("shares"))
    assert checked.failed == () and checked.findings["I12"].verdict is Verdict.PASS
    cut = Counter(event[1] for block in blocks(checked.history) for event in block["events"] if event[0] == "deferred")
    assert set(cut) == {CRAFT, ROWDY} and min(cut.values()) > 10


def test_the_largest_flood_of_clients_is_no_neighbour_s_doing() -> None:
    plan = replace(default_plan("noisy"), faults=(parse_fault("agent.flood@tick:6,agent:0,count=1025"),))
    checked = Checker(NOISY).check(plan)
    assert checked.effective == {0: True} and checked.failed == ()
