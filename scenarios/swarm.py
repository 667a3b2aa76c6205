"""`swarm`: a thousand agents gossip; not one of the default scenarios, as a run takes a second.

A rumour is told to one agent. Who hears one for the first time tells two others, along a generalised de Bruijn graph,
so every rumour reaches everybody within `HOPS` ticks, in two messages for each agent, whatever loops the graph has. At
shutdown each agent says what it knows, which is compared with what the journal says that it heard.
"""

from __future__ import annotations

import struct

from runtime.state import Action, AgentSpec, Config, Limits, Send
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.deliveries import Deliveries, Step
from scenarios.streams import Stream

AGENTS = 1000
HOPS = (AGENTS - 1).bit_length()
RUMOURS = 4
RUMOURS_MAX = 64  # an agent keeps a bit for each
TICKS = 24
STARTS_MAX = TICKS - HOPS - 2  # the last tick in which a rumour can start and reach everybody

RUMOUR = struct.Struct("<II")  # agents, rumour
FINAL = struct.Struct("<IIQQ")  # self, rumours told on, bits of those known, messages heard

_digests, _modules = load("swarm_gossip")


def _orders(seed: int) -> tuple[Order, ...]:
    stream = Stream(seed, "swarm/rumours")
    return tuple((stream.between(1, STARTS_MAX), stream.between(0, AGENTS - 1)) for _ in range(RUMOURS))


def _compose(seed: int, number: int, order: Order) -> Action:
    return Send(order[1], RUMOUR.pack(AGENTS, number % RUMOURS_MAX))


def _config(seed: int) -> Config:
    return Config(last_tick=TICKS, seed=seed, snapshot_every=8)


def _invariant(outcome: Outcome) -> list[str]:
    """Who shut down says what the journal says that it heard and told; where no step failed everybody knows all."""
    deliveries = Deliveries(outcome)
    violations = list(deliveries.violations)
    steps: dict[int, list[Step]] = {}
    for step in deliveries.steps:
        steps.setdefault(step.agent, []).append(step)
    said: dict[int, list[bytes]] = {}
    for output in outcome.outputs:
        said.setdefault(output.agent, []).append(output.payload)
    whole = not deliveries.losses and all(step.status == "ok" for step in deliveries.steps)
    started = _started(outcome)
    for agent in range(len(outcome.mailboxes)):
        report, closed = _report(agent, steps.get(agent, []))
        expected, got = [report] if closed else [], said.get(agent, [])
        if got != expected:
            violations.append(f"agent {agent}: reports {[g.hex() for g in got]}, not {[e.hex() for e in expected]}")
        elif closed and whole and started & ~FINAL.unpack(report)[2]:
            violations.append(f"agent {agent}: a rumour never reached it, although no step failed")
    return violations


def _started(outcome: Outcome) -> int:
    """Bits of the rumours that were told early enough to reach everybody."""
    last = outcome.blocks[-1].tick if outcome.blocks else 0
    bits = 0
    for block in outcome.blocks:
        for item in block.inputs:
            if isinstance(item.action, Send) and block.tick + HOPS < last:
                bits |= 1 << RUMOUR.unpack(item.action.payload)[1]
    return bits


def _report(agent: int, steps: list[Step]) -> tuple[bytes, bool]:
    """What the agent knows at the end of its last life, and whether that life was shut down."""
    number = known = heard = told = 0
    closed = False
    for step in steps:
        if step.status != "ok":
            number = known = heard = told = 0
            continue
        closed = closed or step.kind == "shutdown"
        number = agent if step.kind == "step" else number
        for message in step.inbox:
            if len(message.payload) == RUMOUR.size:
                bit = 1 << RUMOUR.unpack(message.payload)[1]
                told += not known & bit
                known |= bit
                heard += 1
    return FINAL.pack(number, told, known, heard), closed


SWARM = Scenario(
    name="swarm",
    title="A thousand agents gossip: each rumour reaches everybody, and nobody tells it twice.",
    agents=tuple(
        AgentSpec(
            name=f"gossip-{number}",
            module=_digests["swarm_gossip"],
            capabilities=("messages", "output"),
            limits=Limits(fuel=50_000, memory=1 << 16),
        )
        for number in range(AGENTS)
    ),
    modules=_modules,
    config=_config,
    source="town",
    orders=_orders,
    bounds=((1, STARTS_MAX), (0, AGENTS - 1)),
    compose=_compose,
    invariant=_invariant,
)
