"""`bench`: the work that speed is measured on, and nothing else; not one of the default scenarios.

Every peer is started by one input and from then on sends two messages in every tick, each along a permutation of the
peers, so that each peer consumes exactly two. Sixteen peers and 200 ticks make 6,400 messages. All that a peer
receives is folded into a chain, which leaves at shutdown and is compared with one computed from the journal.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from runtime.state import INPUT, Action, AgentSpec, Config, Limits, Send
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.deliveries import Deliveries, envelope
from scenarios.folds import OFFSET, fold_words

AGENTS, TICKS = 16, 200
SENDS = 2  # per peer and tick
SNAPSHOT_EVERY = 64
START = struct.Struct("<II")  # agents, self
FINAL = struct.Struct("<IIQQQ")  # self, agents, chain, sent, received

_digests, _modules = load("bench_peer")


def messages(agents: int = AGENTS, ticks: int = TICKS) -> int:
    """Messages sent from peer to peer in a run without failures."""
    return agents * ticks * SENDS


def _report(deliveries: Deliveries, agent: int) -> bytes:
    """What the peer must say at the end: of its last life, which starts anew after a failed step."""
    number = agents = received = sent = 0
    chain = OFFSET
    for step in deliveries.of(agent):
        if step.status != "ok":
            number = agents = received = sent = 0
            chain = OFFSET
            continue
        for message in step.inbox:
            data = envelope(message)
            if message.kind == INPUT and len(data) >= 32:
                agents, number = START.unpack_from(message.payload)
            chain = fold_words(data, chain)
            received += 1
        sent += sum(effect.op == "send" for effect in step.effects)
    return FINAL.pack(number, agents, chain, sent, received)


def _invariant(outcome: Outcome) -> list[str]:
    """Every peer that reached its shutdown reports what the journal says it received and sent, chain included."""
    deliveries = Deliveries(outcome)
    violations = list(deliveries.violations)
    closed = {step.agent for step in deliveries.steps if step.kind == "shutdown" and step.status == "ok"}
    reports: dict[int, list[bytes]] = {}
    for output in outcome.outputs:
        reports.setdefault(output.agent, []).append(output.payload)
    for agent in sorted(closed | set(reports)):
        expected = [_report(deliveries, agent)] if agent in closed else []
        got = reports.get(agent, [])
        if got != expected:
            violations.append(f"agent {agent}: reports {[g.hex() for g in got]}, not {[e.hex() for e in expected]}")
    return violations


@lru_cache(maxsize=16)
def bench(agents: int = AGENTS, ticks: int = TICKS, snapshot_every: int = SNAPSHOT_EVERY) -> Scenario:
    """The work with another number of peers (at least 2), of ticks in which they send, of ticks between snapshots."""

    def orders(seed: int) -> tuple[Order, ...]:
        return tuple((1, agent) for agent in range(agents))

    def compose(seed: int, number: int, order: Order) -> Action:
        return Send(order[1], START.pack(agents, order[1]))

    def config(seed: int) -> Config:
        return Config(last_tick=ticks + 1, seed=seed, snapshot_every=snapshot_every)

    return Scenario(
        name="bench",
        title="Peers in a ring send two messages in every tick; the work that speed is measured on.",
        agents=tuple(
            AgentSpec(
                name=f"peer-{number}",
                module=_digests["bench_peer"],
                capabilities=("messages", "output"),
                limits=Limits(fuel=100_000, memory=1 << 16),
            )
            for number in range(agents)
        ),
        modules=_modules,
        config=config,
        source="bench",
        orders=orders,
        bounds=((1, ticks), (0, agents - 1)),
        compose=compose,
        invariant=_invariant,
    )


BENCH = bench()
