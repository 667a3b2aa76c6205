"""`edges`: agents at the edges of the ABI, one for each, and a sink that counts what reaches it.

One floods the sink's small mailbox, one passes a bad pointer, one grows its memory before it sends, one traps in
mid-send. A step that fails leaves nothing; what is refused comes back with its payload. Not one of the default
scenarios: its steps fail by design.
"""

from __future__ import annotations

import struct

from runtime.state import INPUT, MESSAGE, REFUSED, Action, AgentSpec, Config, Limits, Send
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.deliveries import Deliveries, Step

SINK, FLOOD, POINTER, GROW, TRAP = range(5)
LAST_TICK = 24
MAILBOX = 4
PAGES_FIRST, PAGES_MAX = 2, 16  # of 64 KiB: as declared by the module, and by its limit of 1 MiB

_FLOODED = struct.Struct("<IIQQQQ")  # 1, agent, accepted, not accepted, refused, sum of refused numbers
_SUNK = struct.Struct("<IIQQ")  # 2, sender, received, sum of the first words
_OBEYED = struct.Struct("<IIQ")  # 3, agent, inputs obeyed

_digests, _modules = load("edge_sink", "edge_flood", "edge_pointer", "edge_grow", "edge_trap")


def _numbers(step: Step) -> list[int]:
    """The numbers that the step's inputs ask for."""
    return [int.from_bytes(m.payload[:4], "little") for m in step.inbox if m.kind == INPUT]


def _sent(step: Step) -> list[int]:
    return [int.from_bytes(e.payload, "little") for e in step.effects if e.op == "send" and e.target == SINK]


def _contained(deliveries: Deliveries, agent: int, word: int) -> list[str]:
    """A step with a bad input fails, and a good one sends exactly one message for each input."""
    violations = []
    for step in deliveries.of(agent):
        numbers = _numbers(step)
        if any(numbers) and step.status == "ok":
            violations.append(f"tick {step.tick}, agent {agent}: a bad step passed")
        if step.status == "ok" and _sent(step) != [word] * len(numbers):
            violations.append(f"tick {step.tick}, agent {agent}: sent {_sent(step)} for inputs {numbers}")
    return violations


def _grown(deliveries: Deliveries) -> list[str]:
    """Memory grows up to the limit and no further, and what was sent from the new pages is what lay there."""
    violations = []
    pages = PAGES_FIRST
    for step in deliveries.of(GROW):
        if step.status != "ok":
            pages = PAGES_FIRST
            continue
        expected = []
        for number in _numbers(step):
            pages += number
            expected.append(pages)
        if pages > PAGES_MAX or _sent(step) != expected:
            violations.append(f"tick {step.tick}, agent {GROW}: sent {_sent(step)} for memories of {expected} pages")
    return violations


def _flooded(deliveries: Deliveries) -> tuple[int, ...]:
    """What the flooding agent must report of its last life."""
    accepted = denied = refused = total = 0
    for step in deliveries.of(FLOOD):
        if step.status != "ok":
            accepted = denied = refused = total = 0
            continue
        accepted += len(_sent(step))
        denied += sum(_numbers(step)) - len(_sent(step))
        back = [int.from_bytes(m.payload, "little") for m in step.inbox if m.kind == REFUSED]
        refused, total = refused + len(back), total + sum(back)
    return 1, FLOOD, accepted, denied, refused, total


def _sunk(deliveries: Deliveries, violations: list[str]) -> list[bytes]:
    """What the sink must report of its last life; its mailbox never held more than its bound."""
    received: dict[int, tuple[int, int]] = {}
    for step in deliveries.of(SINK):
        messages = [m for m in step.inbox if m.kind == MESSAGE]
        if len(messages) > MAILBOX:
            violations.append(f"tick {step.tick}, agent {SINK}: {len(messages)} messages in a mailbox of {MAILBOX}")
        if step.status != "ok":
            received = {}
            continue
        for message in messages:
            count, total = received.get(message.sender, (0, 0))
            received[message.sender] = count + 1, total + int.from_bytes(message.payload, "little")
    return [_SUNK.pack(2, sender, *received[sender]) for sender in sorted(received)]


def _obeyed(deliveries: Deliveries, agent: int) -> bytes:
    count = 0
    for step in deliveries.of(agent):
        count = count + len(_numbers(step)) if step.status == "ok" else 0
    return _OBEYED.pack(3, agent, count)


def _invariant(outcome: Outcome) -> list[str]:
    """Failed steps leave nothing, refused messages come back whole, and every report equals the journal's account."""
    deliveries = Deliveries(outcome)
    violations = list(deliveries.violations)
    violations += _contained(deliveries, POINTER, 7) + _contained(deliveries, TRAP, 11) + _grown(deliveries)
    expected = {SINK: _sunk(deliveries, violations), FLOOD: [_FLOODED.pack(*_flooded(deliveries))]}
    expected |= {agent: [_obeyed(deliveries, agent)] for agent in (POINTER, GROW, TRAP)}
    closed = {step.agent for step in deliveries.steps if step.kind == "shutdown" and step.status == "ok"}
    for agent, reports in expected.items():
        got = [output.payload for output in outcome.outputs if output.agent == agent]
        if got != (reports if agent in closed else []):
            violations.append(f"agent {agent}: reports {[g.hex() for g in got]} at the end, against the journal")
    return violations


def _orders(seed: int) -> tuple[Order, ...]:
    """(tick, agent, number): good and bad inputs in turn, so that what follows a failure is seen as well."""
    return (
        (1, FLOOD, 3),
        (4, FLOOD, 20),
        (7, POINTER, 0),
        (8, POINTER, 1),
        (9, TRAP, 0),
        (10, TRAP, 1),
        (12, GROW, 1),
        (13, GROW, PAGES_MAX),
        (16, POINTER, 0),
        (17, TRAP, 0),
        (18, GROW, 1),
        (19, GROW, 2),
        (20, FLOOD, 2),
    )


def _compose(seed: int, number: int, order: Order) -> Action:
    return Send(order[1], struct.pack("<I", order[2]))


def _config(seed: int) -> Config:
    return Config(last_tick=LAST_TICK, mailbox=MAILBOX, seed=seed, snapshot_every=4)


def _spec(name: str, *capabilities: str) -> AgentSpec:
    module = _digests[f"edge_{name}"]
    return AgentSpec(name=name, module=module, capabilities=capabilities, limits=Limits(memory=PAGES_MAX << 16))


EDGES = Scenario(
    name="edges",
    title="Agents flood a mailbox, pass a bad pointer, grow, trap in mid-send; a sink counts what arrives.",
    agents=(
        _spec("sink", "output"),
        *(_spec(name, "messages", "output") for name in ("flood", "pointer", "grow", "trap")),
    ),
    modules=_modules,
    config=_config,
    source="driver",
    orders=_orders,
    bounds=((1, 20), (FLOOD, TRAP), (0, 60)),
    compose=_compose,
    invariant=_invariant,
)
