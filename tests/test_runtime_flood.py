"""Back-pressure: ten thousand messages into one mailbox, in one step, a run under faults and a single fold (MSG-2)."""

from __future__ import annotations

import struct
from collections import Counter

import pytest
from runtime_kit import World, events, sends

from harness import simulate
from runtime.state import E_FULL, REFUSED, Config, Limits, Operate, Send, sequence
from scenarios.base import AGENTS, Scenario
from scenarios.builder import agent, composed

FLOOD = 10_000
MAILBOX = 1024


def flooded() -> Scenario:
    """Agent 1 sends ten thousand messages to agent 0 in one step, and a few more when most have come back."""
    config = Config(last_tick=8, seed=0, mailbox=MAILBOX, send_limit=FLOOD, max_payload=64, snapshot_every=3)
    roomy = (
        (AGENTS / "edge_flood.wat")
        .read_text("utf-8")
        .replace('(memory (export "memory") 2)', '(memory (export "memory") 16)')
    )
    agents = [
        agent("sink", AGENTS / "edge_sink.wat", ["output"]),
        agent("flood", roomy, ["messages", "output"], Limits(fuel=10_000_000)),
    ]
    actions = [(1, Send(1, struct.pack("<I", FLOOD))), (4, Send(1, struct.pack("<I", 7)))]
    return composed("flooded", agents, actions, config=config, title="a flood")


@pytest.mark.parametrize(
    "faults", [[], ["worker.kill@tick:2,agent:0,point:after", "orchestrator.kill@tick:2,phase:sync"]]
)
def test_a_flood_of_ten_thousand_fills_a_mailbox_and_the_rest_comes_back(faults: list[str]) -> None:
    run = simulate(flooded(), faults=faults)
    assert run.verdict == "PASS", [(name, found.evidence[:2]) for name, found in run.findings.items() if found.evidence]
    told = {output.agent: struct.unpack("<IIQQQQ", output.payload)[2:] for output in run.outputs if output.agent == 1}
    accepted, denied, refused, numbers = told[1]
    assert (accepted, denied, refused) == (FLOOD + 7, 0, FLOOD - MAILBOX)
    assert numbers == sum(range(MAILBOX + 1, FLOOD + 1)), "those that came last, with their payloads"
    sunk = [struct.unpack("<IIQQ", output.payload) for output in run.outputs if output.agent == 0]
    assert [one[2] for one in sunk] == [MAILBOX + 7]


def test_no_message_of_a_flood_is_lost_and_the_next_tick_is_free_again() -> None:
    world = World(agents=3, mailbox=MAILBOX, send_limit=FLOOD, max_payload=64)
    world.tick(Operate("pause", 0))
    committed = world.tick(Send(1, b"go"), Send(2, b"go"), outcomes={1: sends(*[0] * FLOOD), 2: sends(*[0] * 5)})
    assert len(world.agent(0).mailbox) == MAILBOX
    refused = events(committed, "refused")
    assert Counter(event[2] for event in refused) == {1: FLOOD - MAILBOX, 2: 5}
    back = world.agent(1).mailbox
    assert [m.seq for m in back] == [sequence(1, n) for n in range(MAILBOX + 1, FLOOD + 1)]
    assert {(m.kind, m.channel) for m in back} == {(REFUSED, E_FULL)} and world.agent(1).reserved == len(back)
    world.tick(Operate("resume", 0))
    assert world.agent(0).mailbox == [] and len(world.inbox(0)) == MAILBOX
    assert not events(world.tick(Send(2, b"go"), outcomes={2: sends(*[0] * 5)}), "refused")
