"""`ledger`: sixteen accounts carry out a bank's orders, and no money is made or lost.

Every account keeps its balance in memory and its transfer counter in a mutable global, and folds all it receives into
a hash chain. One rush of small transfers to a single account overflows its mailbox, so that refusals and refunds are
part of every run. What leaves at shutdown is compared with a model of the accounts computed from the journal.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from runtime.state import INPUT, MESSAGE, REFUSED, TOPIC, Action, AgentSpec, Config, Message, Send
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.deliveries import Deliveries, Step, envelope
from scenarios.folds import OFFSET, fold_words
from scenarios.streams import Stream

ACCOUNTS = 16
LAST_TICK = 110
ORDERS = 200
RUSH, RUSH_TICK = 3, 41  # orders that each account gets in one tick, all for the same payee
FIRST, LAST = 2, 100  # ticks of the orders
BIG = 250  # transfers from this amount on are announced to the auditors

MINT, ORDER, TRANSFER, RECEIPT, NOTE, AUDIT = 1, 2, 3, 4, 5, 6
_FINAL_TAG, _REJECTED_TAG = 1, 2

_HEAD = struct.Struct("<IIq")  # op, order, amount
_ORDER = struct.Struct("<IIqII")  # op, order, amount, to, 0
_NUMBERED = struct.Struct("<IIqq")  # op, order, amount, counter
_REJECTED = struct.Struct("<IIqqII")  # tag, order, amount, balance, reason, 0
_FINAL = struct.Struct("<IIqqqQqq")  # tag, agent, then the fields of Account

_digests, _modules = load("ledger_account")


class Account(NamedTuple):
    """What an account reports at shutdown, and what the model says it must."""

    balance: int = 0
    counter: int = 0
    received: int = 0
    chain: int = OFFSET
    receipts: int = 0
    audited: int = 0


def credit(message: Message) -> int:
    """What a message adds to the balance of its receiver."""
    if len(message.payload) < _HEAD.size:
        return 0
    op, _, amount = _HEAD.unpack_from(message.payload)
    credits = (INPUT, MINT), (MESSAGE, TRANSFER), (REFUSED, TRANSFER)
    return int(amount) if (message.kind, op) in credits else 0


class _Model:
    """The accounts as the journal's steps make them, and what was minted, lost and left on the way."""

    def __init__(self, deliveries: Deliveries) -> None:
        self.accounts = [Account() for _ in range(ACCOUNTS)]
        self.closed: set[int] = set()
        self.violations: list[str] = []
        self.minted = sum(
            _HEAD.unpack_from(item.action.payload)[2]
            for item in deliveries.inputs
            if isinstance(item.action, Send) and _HEAD.unpack_from(item.action.payload)[0] == MINT
        )
        self.lost = sum(credit(loss.message) for loss in deliveries.losses)
        for step in deliveries.steps:
            self._follow(step)

    def _follow(self, step: Step) -> None:
        account = self.accounts[step.agent]
        gained = sum(credit(message) for message in step.inbox)
        if step.status != "ok":
            self.lost += account.balance + gained
            self.accounts[step.agent] = Account()
            return
        if step.kind == "shutdown":
            self.closed.add(step.agent)
        chain, receipts, audited = account.chain, account.receipts, account.audited
        for message in step.inbox:
            chain = fold_words(envelope(message), chain)
            op, _, amount = _HEAD.unpack_from(message.payload)
            receipts += (message.kind, op) == (MESSAGE, RECEIPT)
            audited += amount if (message.kind, op) == (TOPIC, AUDIT) else 0
        spent, counter = 0, account.counter
        for effect in step.effects:
            if effect.op != "send" or _HEAD.unpack_from(effect.payload)[0] != TRANSFER:
                continue
            _, order, amount, number = _NUMBERED.unpack_from(effect.payload)
            spent, counter = spent + amount, counter + 1
            if number != counter:
                self.violations.append(
                    f"tick {step.tick}, agent {step.agent}: order {order} carries counter {number}, not {counter}"
                )
        balance = account.balance + gained - spent
        if balance < 0:
            self.violations.append(f"tick {step.tick}, agent {step.agent}: balance {balance} is below zero")
        received = account.received + len(step.inbox)
        self.accounts[step.agent] = Account(balance, counter, received, chain, receipts, audited)


def _reports(outcome: Outcome, violations: list[str]) -> dict[int, Account]:
    """The accounts' own last words, as they left through the gateway."""
    reports: dict[int, Account] = {}
    for output in outcome.outputs:
        where = f"tick {output.tick}, agent {output.agent}"
        tag = int.from_bytes(output.payload[:4], "little")
        if tag == _FINAL_TAG and len(output.payload) == _FINAL.size:
            _, agent, *fields = _FINAL.unpack(output.payload)
            if agent != output.agent or agent in reports:
                violations.append(f"{where}: a second or foreign final report, of agent {agent}")
            else:
                reports[agent] = Account(*fields)
        elif tag == _REJECTED_TAG and len(output.payload) == _REJECTED.size:
            _, order, amount, balance, reason, _ = _REJECTED.unpack(output.payload)
            if balance < 0 or (reason == 9 and 0 < amount <= balance):
                violations.append(f"{where}: order {order} of {amount} rejected with balance {balance}")
        else:
            violations.append(f"{where}: an output that no account makes")
    return reports


def _invariant(outcome: Outcome) -> list[str]:
    """Balances + in flight + journaled losses = minted; nothing below zero; reports equal the model, chains included.

    An account that ended without a shutdown step (paused, in backoff) counts with the model's balance.
    """
    deliveries = Deliveries(outcome)
    model = _Model(deliveries)
    violations = deliveries.violations + model.violations
    reports = _reports(outcome, violations)
    for agent in sorted(model.closed | set(reports)):
        expected, report = model.accounts[agent], reports.get(agent)
        if report is None:
            violations.append(f"agent {agent}: its shutdown step left no report")
        elif agent not in model.closed:
            violations.append(f"agent {agent}: a report without a shutdown step")
        elif report != expected:
            names = [n for n, a, b in zip(Account._fields, report, expected, strict=True) if a != b]
            values = ", ".join(f"{n} {getattr(report, n)} not {getattr(expected, n)}" for n in names)
            violations.append(f"agent {agent}: reports {values}")
    held = sum(reports[a].balance if a in reports else model.accounts[a].balance for a in range(ACCOUNTS))
    flying = sum(credit(message) for mailbox in outcome.mailboxes for message in mailbox)
    if held + flying + model.lost != model.minted:
        violations.append(
            f"money: {held} held + {flying} in flight + {model.lost} lost = {held + flying + model.lost},"
            f" but {model.minted} minted"
        )
    violations += [f"agent {a}: ends with balance {r.balance}" for a, r in sorted(reports.items()) if r.balance < 0]
    return violations


def _fixed(seed: int) -> tuple[tuple[int, Action], ...]:
    """One mint for each account, at tick 1."""
    stream = Stream(seed, "ledger/mints")
    return tuple((1, Send(a, _HEAD.pack(MINT, 0, stream.between(500, 1500)))) for a in range(ACCOUNTS))


def _orders(seed: int) -> tuple[Order, ...]:
    """(tick, from, to, amount): one in each tick, as many again anywhere, one in ten hopeless; and the rush."""
    stream = Stream(seed, "ledger/orders")
    orders = []
    for number in range(ORDERS):
        tick, payer, payee = stream.between(FIRST, LAST), stream.between(0, 15), stream.between(0, 15)
        hopeless = stream.chance(1, 10)
        amount = stream.between(1500, 3000) if hopeless else stream.between(1, 400)
        steady = FIRST + number
        orders.append((steady if steady <= LAST else tick, payer, payee, amount))
    rush = Stream(seed, "ledger/rush")
    payee = rush.between(0, ACCOUNTS - 1)
    orders += [(RUSH_TICK, payer, payee, rush.between(1, 5)) for payer in range(ACCOUNTS) for _ in range(RUSH)]
    return tuple(orders)


def _compose(seed: int, number: int, order: Order) -> Action:
    _, payer, payee, amount = order
    return Send(payer, _ORDER.pack(ORDER, number, amount, payee, 0))


def _config(seed: int) -> Config:
    return Config(last_tick=LAST_TICK, mailbox=32, seed=seed, snapshot_every=16, topics=("audit",))


LEDGER = Scenario(
    name="ledger",
    title="Sixteen accounts carry out transfers, and balances, money in flight and journaled losses add up.",
    agents=tuple(
        AgentSpec(
            name=f"account-{number}",
            module=_digests["ledger_account"],
            capabilities=("messages", "topics", "output", "time", "random"),
        )
        for number in range(ACCOUNTS)
    ),
    modules=_modules,
    config=_config,
    source="bank",
    orders=_orders,
    bounds=((FIRST, LAST), (0, ACCOUNTS - 1), (0, ACCOUNTS), (0, 3000)),
    compose=_compose,
    invariant=_invariant,
    fixed=_fixed,
)
