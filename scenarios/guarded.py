"""`guarded`: validators before the run and before a mailbox; what is not valid comes back and never gets in (VAL-1).

Inputs are JSON. The run's guard admits objects alone. The teller passes each on to the clerk, whose mailbox lets
amounts in, seven of eight by lot; the teller counts what comes back, the clerk adds up what it gets and would trap
on anything else.
"""

from __future__ import annotations

import re
import struct

from runtime.state import E_INVALID, INPUT, MESSAGE, REFUSED, Action, AgentSpec, Config, Message, Send
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.deliveries import Deliveries, Step
from scenarios.streams import Stream

LAST_TICK = 24
ORDERS = 48
TELLER, CLERK = 0, 1
# Sorts of inputs: amounts mostly, then what a guard must refuse.
_SHAPES = (
    '{"amount":%d,"to":"till"}',
    '{"amount":%d}',
    '{"amount":-%d}',
    '{"total":%d,"to":1}',
    "[%d]",
    '{"amount":%d',
)
SORTS = len(_SHAPES)
_AMOUNT = re.compile(rb'\{"amount":([0-9]+)')
_TOLD = struct.Struct("<QQQQ")  # tag 1, passed on, back as invalid, back for another reason
_SUM = struct.Struct("<QQQ")  # tag 2, messages, sum

_digests, _modules = load("guarded_teller", "guarded_clerk", "guard_object", "guard_amount")


def text(sort: int, amount: int) -> bytes:
    """One input's payload."""
    return (_SHAPES[sort] % amount).encode()


def _orders(seed: int) -> tuple[Order, ...]:
    stream = Stream(seed, "guarded/orders")
    orders = []
    for _ in range(ORDERS):
        tick, plain = stream.between(1, LAST_TICK - 4), stream.chance(1, 2)
        orders.append((tick, 0 if plain else stream.between(0, SORTS - 1), stream.between(0, 999)))
    return tuple(orders)


def _compose(seed: int, number: int, order: Order) -> Action:
    _, sort, amount = order
    return Send(TELLER, text(sort, amount))


def _config(seed: int) -> Config:
    return Config(guard=_digests["guard_object"], last_tick=LAST_TICK, mailbox=16, seed=seed, snapshot_every=8)


def _life(steps: list[Step]) -> list[Message]:
    """What the agent's last life has read."""
    read: list[Message] = []
    for step in steps:
        read = [] if step.status != "ok" or step.kind == "init" else [*read, *step.inbox]
    return read


def _invariant(outcome: Outcome) -> list[str]:
    """No guard let in what it must refuse; what came back was refused for a reason; both tell what they have read."""
    deliveries = Deliveries(outcome)
    found = list(deliveries.violations)
    events = [event for block in outcome.blocks for event in block.events]
    invalid = {(event[1], event[2]) for event in events if event[0] == "invalid"}  # membership only
    for step in deliveries.steps:
        for message in step.inbox:
            where = f"tick {step.tick}, agent {step.agent}: message {message.seq}"
            if message.kind == INPUT and not message.payload.startswith(b"{"):
                found.append(f"{where} is no object, and was admitted")
            if step.agent == CLERK and message.kind == MESSAGE and not _AMOUNT.match(message.payload):
                found.append(f"{where} is no amount, and passed the guard")
            if message.kind == REFUSED and message.channel == E_INVALID and (message.seq, CLERK) not in invalid:
                found.append(f"{where} came back as invalid, and no guard has said so")
    closed = {step.agent for step in deliveries.steps if step.kind == "shutdown" and step.status == "ok"}
    told = {output.agent: output.payload for output in outcome.outputs}
    for agent, last_words in ((TELLER, _teller), (CLERK, _clerk)):
        expected = last_words(_life(deliveries.of(agent)))
        if agent in closed and told.get(agent) != expected:
            found.append(f"agent {agent}: told {told.get(agent, b'').hex()}, not {expected.hex()}")
    return found


def _teller(read: list[Message]) -> bytes:
    back = [message.channel == E_INVALID for message in read if message.kind == REFUSED]
    return _TOLD.pack(1, sum(message.kind == INPUT for message in read), sum(back), len(back) - sum(back))


def _clerk(read: list[Message]) -> bytes:
    amounts = [match[1] for message in read if message.kind == MESSAGE and (match := _AMOUNT.match(message.payload))]
    return _SUM.pack(2, len(amounts), sum(int(amount) for amount in amounts))


GUARDED = Scenario(
    name="guarded",
    title="Validators guard the run and a mailbox; a teller counts what comes back, a clerk adds the rest up.",
    agents=(
        AgentSpec(name="teller", module=_digests["guarded_teller"], capabilities=("messages", "output")),
        AgentSpec(
            name="clerk", module=_digests["guarded_clerk"], capabilities=("output",), guard=_digests["guard_amount"]
        ),
    ),
    modules=_modules,
    config=_config,
    source="user",
    orders=_orders,
    bounds=((1, LAST_TICK - 4), (0, SORTS - 1), (0, 999)),
    compose=_compose,
    invariant=_invariant,
)
