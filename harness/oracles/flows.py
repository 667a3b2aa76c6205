"""Messages, each followed from its sender to its receivers: the guests' and the client's side joined by the journal.

The bytes of a sent message are those that its sender's module passed (guest log) or the client handed in (client's
ledger); the journal gives order and sequence numbers alone. What does not join is kept in `Flows.unjoined`: a step
without a crossing, effects that are not the calls made, numbers that skip.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from harness.history import GuestEvent
from harness.oracles.envelopes import Envelope, open_inbox
from harness.oracles.members import Members
from harness.oracles.reading import Block, Journal, JournalEffect, Step
from runtime.outside import Answer
from runtime.state import (
    INFERENCE,
    INPUT,
    MESSAGE,
    OUTSIDE,
    READING,
    REFUSED,
    TASK,
    TOPIC,
    WAKE,
    Input,
    Publish,
    Schedule,
    Send,
    Submit,
)

_FAILED, _CANCELLED, _STATUS_BYTES = 2, 3, 4  # of a reading, by docs/abi.md

Key = tuple[int, int, str]  # tick, agent, kind of step


class Execution(Struct, gc=False):
    """One accepted crossing; `number` is its place in the guest log, `inbox` its envelopes, opened when first asked."""

    number: int
    event: GuestEvent
    opened: tuple[Envelope, ...] | None = None

    @property
    def inbox(self) -> tuple[Envelope, ...]:
        if self.opened is None:
            self.opened = open_inbox(self.event.given)
        return self.opened


class Sent(Struct, frozen=True, gc=False):
    """One sequence number: who sent what, to whom (one copy for each of `targets`).

    `origin` is the (guest event, call) that did, or the name of the input.
    """

    sender: int
    kind: int
    channel: int
    targets: tuple[int, ...]
    data: bytes | None
    tick: int
    origin: tuple[int, int] | str

    @property
    def where(self) -> str:
        if isinstance(self.origin, str):
            return self.origin
        return f"guest event {self.origin[0]} call {self.origin[1]}"


class Undelivered(NamedTuple):
    """A copy that the journal says was refused or dropped."""

    where: str
    tick: int
    op: str
    seq: int
    sender: int
    target: int


class Result(NamedTuple):
    """One inference result as the journal has it; `kv` as the journal holds bytes, see `JournalEffect`."""

    where: str
    tick: int
    token: int
    logits: str
    kv: JournalEffect


class Told(NamedTuple):
    """What an agent must be told of a read: the answer as the journal admitted it, or that it was cancelled."""

    where: str
    tick: int
    status: int
    data: bytes


# One committed step with the crossing that made it, None when there is none.
Taken = tuple[Step, Execution | None]


class Flows:
    """All that was sent by sequence number, all copies that went nowhere, all steps with their crossings.

    `scheduled` and `wakes` per agent: payloads of tasks, and the number of own wake calls; `tasks` are (tick of
    admission, payload) over all agents.
    `control` holds the refusals that the journal owes each sender, by (sender, seq): one for each message, however many
    of its copies were refused, or 0 when it was dropped unread. `discarded` are (tick, kind) of refusals that were
    dropped, and of tasks with a payload that were refused or dropped. An inference request is sent to its own agent:
    the copy is its result, lost when the request is refused or the result dropped.
    """

    def __init__(self) -> None:
        self.sent: dict[int, Sent] = {}
        self.undelivered: list[Undelivered] = []
        self.taken: list[Taken] = []
        self.unjoined: list[str] = []
        self.scheduled: dict[int, list[bytes]] = {}
        self.tasks: list[tuple[int, bytes]] = []
        self.wakes: dict[int, int] = {}
        self.control: dict[tuple[int, int], int] = {}
        self.discarded: list[tuple[int, int]] = []
        self.copies_lost: set[tuple[int, int]] = set()  # (seq, target)
        self.refusals: dict[int, int] = {}  # of requests, and of messages refused as a whole: their number -> status
        self.outsiders: set[int] = set()  # numbers of posts in a channel by who was no member then
        self.barred: list[tuple[int, int]] = []  # (tick, number) of messages refused as a whole
        self.answers: dict[int, Result] = {}  # inference results by their request's number
        self.readings: dict[int, Told] = {}  # what was read outside, by its request's number
        self.named: dict[int, str] = {}  # tasks that need each other: their number -> their name


def place(at: tuple[int, int]) -> str:
    return f"block {at[0]} step {at[1]}"


class _Joiner:
    """One pass over the journal's order; keeps the subscriptions as calls and joins made them."""

    def __init__(
        self, executions: Mapping[Key, Execution], client: Mapping[tuple[str, int], Input], config: Mapping[str, Any]
    ) -> None:
        self.flows = Flows()
        self._executions, self._client = executions, client
        self._members = Members(config)
        self._barred: dict[int, int] = {}  # of this block: numbers of messages refused as a whole -> status
        self._agents = 0
        self._free: dict[int, int] = {}  # by sender: the number that it is given next
        self._cancelled: set[int] = set()  # numbers of reads that an operator ended before their answer came
        self._most = int(config["max_payload"]) if "max_payload" in config else 1 << 62
        self._illegal: list[str] = []  # of this block: names of agents that were not spawned

    def block(self, block: Block) -> None:
        self._illegal = [event[3] for event in block.events if event[0] == "illegal" and event[2] == "spawn"]
        self._barred = {event[1]: event[3] for event in block.events if event[0] == "refused_message"}
        self._cancelled |= {e[1] for e in block.events if e[0] == "cancelled" and e[1] in self.flows.sent}
        for item in block.inputs:
            self._input(item, block)
        for number, entry in enumerate(block.inferences):
            self._answer(entry, block, number)
        for step in block.steps:
            self._step(step)
        for number, event in enumerate(block.events):
            self._event(block, number, event)

    def _event(self, block: Block, number: int, event: tuple[Any, ...]) -> None:
        if event[0] in ("refused", "dropped"):
            self._lost(block, number, event)
        elif event[0] == "refused_message":
            self._refused(block, number, event)
        elif event[0] == "task_skipped":
            self._lost(block, number, ("dropped", event[1], event[2]))
        elif event[0] in ("refused_request", "dropped_result"):
            self._unanswered(block, number, event)
        elif event[0] == "cancelled":
            self._uncontinued(block, number, event)
        elif event[0] in ("refused_task", "dropped_wake"):
            self._unscheduled(block, number, event)
        elif event[0] == "dropped_refusal":
            self._untold(block, number, event)

    def _give(self, sent: Sent) -> None:
        number = self._free.get(sent.sender) or self._next(sent.sender)
        self.flows.sent[number] = sent
        self._free[sent.sender] = number + 1

    def _next(self, sender: int) -> int:
        """Numbers are the sender's own: a count from 1, above the sender's id + 1 in the upper half."""
        return self._free.get(sender) or (1 if sender == OUTSIDE else (sender + 1) * 2**32 + 1)

    def _input(self, item: dict[str, Any], block: Block) -> None:
        action, identity = item["action"], (item["source"], item["n"])
        do, agent = action["do"], action.get("agent", 0)
        where = f"input {identity[0]}/{identity[1]}"
        ours = self._client.get(identity)
        data = _payload(ours, action)
        if do == "spawn" and action["spec"]["name"] in self._illegal:
            self._illegal.remove(action["spec"]["name"])
        elif do == "spawn":
            self._agents += 1
        elif do == "send":
            self._give(Sent(OUTSIDE, INPUT, 0, (agent,), data, block.tick, where))
        elif do == "publish":
            topic = action["topic"]
            targets = self._members.targets(OUTSIDE, topic)
            self._give(Sent(OUTSIDE, TOPIC, topic, targets, data, block.tick, where))
        elif do == "schedule" and agent >= self._agents:
            self._give(Sent(OUTSIDE, WAKE, 0, (), data, block.tick, where))
        elif do == "schedule":
            self.flows.scheduled.setdefault(agent, []).append(data or b"")
            self.flows.tasks.append((block.tick, data or b""))
        elif do == "join" and agent < self._agents:
            self._members.join(agent, action["topic"], by_operator=True)
        elif do == "leave":
            self._members.leave(agent, action["topic"])
        elif do == "answer":
            self._reading(action, data, block, where)
        elif do == "submit" and not any(e[0] == "refused_tasks" and e[1:3] == identity for e in block.events):
            self._submit(ours, action, block, where)

    def _submit(self, ours: Input | None, action: dict[str, Any], block: Block, where: str) -> None:
        """Each task is a message, and takes a number whether it is ever delivered or not."""
        handed = ours.action.tasks if ours is not None and isinstance(ours.action, Submit) else ()
        for place, task in enumerate(action["tasks"]):
            data = handed[place].payload if place < len(handed) else base64.b64decode(task["payload"])
            self.flows.named[self._next(OUTSIDE)] = task["id"]
            self._give(Sent(OUTSIDE, TASK, 0, (task["agent"],), data, block.tick, f"{where} task {task['id']}"))

    def _step(self, step: Step) -> None:
        flows = self.flows
        execution = self._executions.get((step.tick, step.agent, step.kind))
        flows.taken.append((step, execution))
        if step.seq != self._next(step.agent):
            due = self._next(step.agent)
            flows.unjoined.append(f"{place(step.at)}: its numbers begin at {step.seq}, {due} is the next free")
        if step.status != "ok":
            if step.effects:
                flows.unjoined.append(f"{place(step.at)}: failed as {step.status}, yet has {len(step.effects)} effects")
            return
        if execution is None and step.kind == "reload" and not step.effects:
            return  # an agent without a state is given its module, and nothing runs
        if execution is None:
            flows.unjoined.append(f"{place(step.at)}: no crossing of agent {step.agent} in tick {step.tick}")
            return
        calls = execution.event.calls
        if len(calls) != len(step.effects):
            flows.unjoined.append(
                f"{place(step.at)}: {len(step.effects)} effects, guest event {execution.number} made {len(calls)} calls"
            )
        for number, call in enumerate(calls):
            if number < len(step.effects):
                effect = step.effects[number]
                if effect.op != call.op or (effect.target != call.target and call.op != "output"):
                    flows.unjoined.append(
                        f"{place(step.at)}: effect {number} is {effect.op} {effect.target}, "
                        f"guest event {execution.number} called {call.op} {call.target}"
                    )
            self._call(step, (execution.number, number), call.op, call.target, call.data)

    def _call(self, step: Step, origin: tuple[int, int], op: str, target: int, data: bytes | None) -> None:
        agent = step.agent
        if op == "send":
            targets = (target,) if not self._barred else self._but_barred(agent, (target,))
            self._give(Sent(agent, MESSAGE, 0, targets, data, step.tick, origin))
        elif op == "publish":
            targets = self._but_barred(agent, self._members.targets(agent, target))
            if not self._members.may_post(agent, target):
                self.flows.outsiders.add(self._next(agent))
            self._give(Sent(agent, TOPIC, target, targets, data, step.tick, origin))
        elif op == "infer":
            self._give(Sent(agent, INFERENCE, target, (agent,), data, step.tick, origin))
        elif op == "read":
            self._give(Sent(agent, READING, target, (agent,), data, step.tick, origin))
        elif op == "subscribe":
            self._members.join(agent, target)
        elif op == "unsubscribe":
            self._members.leave(agent, target)
        elif op == "wake":
            self.flows.wakes[agent] = self.flows.wakes.get(agent, 0) + 1

    def _but_barred(self, sender: int, targets: tuple[int, ...]) -> tuple[int, ...]:
        """Who gets a copy of the sender's next message: nobody, where the journal refuses it as a whole."""
        return () if self._next(sender) in self._barred else targets

    def _lost(self, block: Block, number: int, event: tuple[Any, ...]) -> None:
        flows, where = self.flows, f"block {block.block} event {number}"
        op, seq, target = event[0], event[1], event[-1]
        sent = flows.sent.get(seq)
        if sent is None:
            flows.unjoined.append(f"{where}: {op} number {seq}, which was never given")
            return
        if not sent.targets and op == "refused" and sent.sender == OUTSIDE:
            return  # its address does not exist, so there was no copy
        if target not in sent.targets or (seq, target) in flows.copies_lost:
            flows.unjoined.append(f"{where}: {op} number {seq} for agent {target}, which has no copy of it")
            return
        flows.copies_lost.add((seq, target))
        flows.undelivered.append(Undelivered(where, block.tick, op, seq, sent.sender, target))
        if op == "refused" and sent.sender != OUTSIDE and target < self._agents:
            flows.control[sent.sender, seq] = 1

    def _refused(self, block: Block, number: int, event: tuple[Any, ...]) -> None:
        """A message that was refused before there was any copy of it: its sender is owed it back."""
        _, seq, sender, status = event
        sent = self.flows.sent.get(seq)
        if sent is None or sent.sender != sender or sent.kind not in (MESSAGE, TOPIC):
            self.flows.unjoined.append(
                f"block {block.block} event {number}: number {seq} of agent {sender} was refused, which is no message"
            )
            return
        self.flows.refusals[seq] = status
        self.flows.control[sender, seq] = 1
        self.flows.barred.append((block.tick, seq))

    def _answer(self, entry: dict[str, Any], block: Block, number: int) -> None:
        where, seq = f"block {block.block} inference {number}", entry["request"]
        sent = self.flows.sent.get(seq)
        if sent is None or sent.kind != INFERENCE or (seq, sent.sender) in self.flows.copies_lost:
            self.flows.unjoined.append(f"{where}: a result of number {seq}, which is no request that waits for one")
        elif seq in self.flows.answers:
            self.flows.unjoined.append(f"{where}: a second result of request {seq}")
        kv = JournalEffect("kv", 0, entry["kv"])
        self.flows.answers.setdefault(seq, Result(where, block.tick, entry["token"], entry["logits"], kv))

    def _reading(self, action: dict[str, Any], data: bytes | None, block: Block, where: str) -> None:
        """An answer to a read; of one that was dropped or cancelled the journal has it, and the agent does not."""
        flows, seq = self.flows, action["request"]
        sent = flows.sent.get(seq)
        if sent is None or sent.kind != READING or seq in flows.readings:
            flows.unjoined.append(f"{where}: an answer to number {seq}, which is no read that waits for one")
            return
        status, data = action["status"], data or b""
        if seq in self._cancelled:
            status, data = _CANCELLED, b""
        elif len(data) > self._most - _STATUS_BYTES:
            status, data = _FAILED, b""
        flows.readings[seq] = Told(where, block.tick, status, data)

    def _uncontinued(self, block: Block, number: int, event: tuple[Any, ...]) -> None:
        """A read is cancelled: one that waited, or one of this block, as the call that it goes on with is over."""
        _, seq, agent = event
        where = f"block {block.block} event {number}"
        sent = self.flows.sent.get(seq)
        if sent is None or sent.kind != READING or sent.sender != agent:
            self.flows.unjoined.append(f"{where}: cancels number {seq}, which is no read of agent {agent}")
        elif seq not in self._cancelled:
            self.flows.readings[seq] = Told(where, block.tick, _CANCELLED, b"")

    def _unanswered(self, block: Block, number: int, event: tuple[Any, ...]) -> None:
        """A request that was refused, or whose result was dropped."""
        flows, where = self.flows, f"block {block.block} event {number}"
        op, seq, agent = event[0], event[1], event[2]
        sent = flows.sent.get(seq)
        if (
            sent is None
            or sent.kind not in (INFERENCE, READING)
            or sent.sender != agent
            or (seq, agent) in flows.copies_lost
        ):
            flows.unjoined.append(f"{where}: {op} of number {seq} of agent {agent}, which is no request of its own")
            return
        flows.copies_lost.add((seq, agent))
        if op == "refused_request":
            flows.refusals[seq] = event[4]
            flows.control[agent, seq] = 1
        kind = "refused" if op == "refused_request" else "dropped"
        flows.undelivered.append(Undelivered(where, block.tick, kind, seq, agent, agent))

    def _unscheduled(self, block: Block, number: int, event: tuple[Any, ...]) -> None:
        """A task that was refused, or dropped unread; a wake of the agent's own has no payload, and is none of them."""
        op, agent, name = event
        tasks = self.flows.scheduled.get(agent, [])
        found = next((payload for payload in tasks if _name(payload) == name), None)
        if found:
            tasks.remove(found)
            self.flows.discarded.append((block.tick, WAKE))
        elif found is None and (op == "refused_task" or name != _name(b"")):
            self.flows.unjoined.append(f"block {block.block} event {number}: {op} {name}, no task of agent {agent}")

    def _untold(self, block: Block, number: int, event: tuple[Any, ...]) -> None:
        """A refusal that was dropped before its sender read it."""
        _, seq, agent = event
        if not self.flows.control.get((agent, seq)):
            self.flows.unjoined.append(f"block {block.block} event {number}: agent {agent} is owed no refusal of {seq}")
            return
        self.flows.control[agent, seq] = 0
        self.flows.discarded.append((block.tick, REFUSED))


def _name(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()[:16]


def _payload(ours: Input | None, action: Mapping[str, Any]) -> bytes | None:
    """The client's bytes; those of the journal when the input is not the client's (the run's genesis)."""
    if ours is not None and isinstance(ours.action, Send | Publish | Schedule):
        return ours.action.payload
    if ours is not None and isinstance(ours.action, Answer):
        return ours.action.data
    if action["do"] == "answer":
        return base64.b64decode(action["data"])
    return base64.b64decode(action["payload"]) if "payload" in action else None


def join(
    journal: Journal,
    executions: Mapping[Key, Execution],
    client: Mapping[tuple[str, int], Input],
    config: Mapping[str, Any],
) -> Flows:
    joiner = _Joiner(executions, client, config)
    for block in journal.blocks:
        joiner.block(block)
    return joiner.flows
