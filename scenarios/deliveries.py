"""The deliveries of a run, rebuilt from its journal: which message each step consumed, byte for byte.

The journal names a step's inbox by sequence numbers only. Here the messages are made anew from the journaled inputs
and effects, queued in commit order, and taken out as the steps name them. So a message that a step consumed twice, out
of order, or that nobody sent, is found; and a judge gets the envelopes that an agent must have seen.
"""

from __future__ import annotations

import struct
from collections import deque
from functools import cached_property

from msgspec import Struct

from runtime.frames import Output
from runtime.journal import Block, Event, StepEntry, effect_of
from runtime.outside import Answer
from runtime.reads import CANCELLED, FAILED, STATUS
from runtime.state import (
    BACKOFF,
    E_FULL,
    E_INVALID,
    E_MEMBER,
    E_QUOTA,
    INFERENCE,
    INPUT,
    MESSAGE,
    OUTSIDE,
    QUARANTINED,
    READING,
    REFUSED,
    TASK,
    TOPIC,
    WAKE,
    Configure,
    Effect,
    Input,
    Join,
    Leave,
    Message,
    Operate,
    Publish,
    Schedule,
    Send,
    Spawn,
    Submit,
    sequence,
)
from scenarios.base import Outcome
from scenarios.turns import Turns

_ENVELOPE = struct.Struct("<IIQII")
_DISCARDED = {"dropped": (MESSAGE, TOPIC, INPUT), "dropped_refusal": (REFUSED,), "dropped_result": (INFERENCE, READING)}


class Loss(Struct, frozen=True, gc=False):
    """A message that nobody read and nobody gets back: its target is gone, or an input was refused."""

    tick: int
    target: int
    message: Message


class Read(Struct, gc=False):
    """A read that was admitted, and for whom it is still `open`."""

    agent: int
    source: int
    payload: bytes
    open: bool = True


class Step(Struct, frozen=True, gc=False):
    """One step with what it consumed and did, payloads included. A failed step has no effects."""

    tick: int
    agent: int
    kind: str
    status: str
    inbox: tuple[Message, ...]
    effects: tuple[Effect, ...]
    views: tuple[tuple[int, int], ...]


class Deliveries:
    """The run's steps in commit order, the losses, and what lies undelivered. `violations` names what cannot be.

    `inference` has the answers of decoders, `reads` what was asked of the outside, by its number.
    """

    def __init__(self, outcome: Outcome) -> None:
        self.steps: list[Step] = []
        self.losses: list[Loss] = []
        self.inputs: list[Input] = []
        self.violations: list[str] = []
        self.inference = Turns(outcome.blobs, self.violations)
        self.reads: dict[int, Read] = {}
        self._most = 0  # bytes of a payload
        self._cancelled: set[int] = set()  # numbers of reads that an operator ended; membership only
        self._outcome = outcome
        self._queues: list[deque[Message]] = []
        self._topics = 0  # of the numbers that can be published on, those below are topics, the others channels
        self._closed: list[int] = []
        self._subscribers: list[list[int]] = []
        self._barred: dict[int, int] = {}  # of this block: messages refused as a whole -> status
        self._numbers: dict[int, int] = {}  # by sender: how many messages it has sent
        self._invalid: set[tuple[int, int]] = set()  # (number, agent) of what a guard refused; membership only
        self._tasks: dict[tuple[int, int], Message] = {}  # (agent, number): not taken, in its mailbox or before
        for block in outcome.blocks:
            self._fold(block)
        self.inference.finish(outcome.blocks[-1].tick if outcome.blocks else -1)
        self._compare_mailboxes()

    def of(self, agent: int) -> list[Step]:
        """The agent's steps in commit order."""
        return self._by_agent.get(agent, [])

    @cached_property
    def _by_agent(self) -> dict[int, list[Step]]:
        found: dict[int, list[Step]] = {}
        for step in self.steps:
            found.setdefault(step.agent, []).append(step)
        return found

    def _fold(self, block: Block) -> None:
        events = block.events
        missed = {(int(e[1]), int(e[-1])): str(e[0]) for e in events if e[0] in ("refused", "dropped")}
        self._barred = {int(e[1]): int(e[3]) for e in events if e[0] == "refused_message"}
        self._invalid |= {(int(e[1]), int(e[2])) for e in events if e[0] == "invalid"}
        unanswered = {int(e[1]): int(e[-1]) for e in events if e[0] == "refused_request"}  # request -> status
        dropped = {int(e[1]) for e in events if e[0] == "dropped_result"}  # membership only
        self._cancelled |= {int(e[1]) for e in events if e[0] == "cancelled"}
        illegal = [event for event in events if event[0] in ("illegal", "refused_tasks")]
        for item in block.inputs:
            self.inputs.append(item)
            if isinstance(item.action, Answer):
                self._answer(block.tick, item.action)
            else:
                self._admit(block.tick, item, missed, dropped, illegal)
        for answer in block.inferences:
            told = self.inference.answer(block.tick, answer, dropped)
            if told:
                self._queues[told[0]].append(told[1])
        inboxes = [self._take(block.tick, entry) for entry in block.steps]
        for entry, inbox in zip(block.steps, inboxes, strict=True):
            effects = tuple([effect_of(effect, self._outcome.blobs) for effect in entry.effects])
            if entry.status != "ok" and effects:
                self.violations.append(f"tick {block.tick}, agent {entry.agent}: a failed step has effects")
            self.steps.append(Step(block.tick, entry.agent, entry.kind, entry.status, inbox, effects, entry.views))
            if entry.status != "ok" and entry.kind != "reload":  # which is rolled back, and ends no life
                self.inference.forget(block.tick, entry.agent, dropped)
            for effect in effects:
                self._apply(block.tick, entry.agent, effect, missed, unanswered)
        self._end(block, dropped)

    def _end(self, block: Block, dropped: set[int]) -> None:
        """What the block's events end: lives, reads, and what lies in mailboxes."""
        for event in block.events:
            if event[0] == "lifecycle" and event[3] in (BACKOFF, QUARANTINED):  # of its own failure, or with its group
                self.inference.forget(block.tick, int(event[1]), dropped)
            if event[0] == "dropped_result" and int(event[1]) in self.reads:
                self.reads[int(event[1])].open = False
            if event[0] in _DISCARDED:
                self._discard(block.tick, int(event[2]), _DISCARDED[str(event[0])], int(event[1]))

    def _ask(self, tick: int, agent: int, effect: Effect, unanswered: dict[int, int]) -> None:
        request = self._number(agent)
        back = self.inference.ask(tick, agent, effect.target, request, effect.payload, unanswered)
        if back:
            self._queues[agent].append(back)

    def _read(self, tick: int, agent: int, effect: Effect, unanswered: dict[int, int]) -> None:
        """A read: it is refused, told at once that it is cancelled, or waits for its answer."""
        number = self._number(agent)
        if number in unanswered:
            back = Message(number, REFUSED, OUTSIDE, unanswered[number], effect.payload)
            self._queues[agent].append(back)
            return
        read = self.reads[number] = Read(agent, effect.target, effect.payload)
        if number in self._cancelled:
            read.open = False
            self._queues[agent].append(_reading(number, read, CANCELLED, b""))

    def _answer(self, tick: int, action: Answer) -> None:
        read = self.reads.get(action.request)
        if read is None:
            self.violations.append(f"tick {tick}: an answer to number {action.request}, which is no read")
        elif read.open:
            read.open = False
            status, data = action.status, action.data
            if action.request in self._cancelled:
                status, data = CANCELLED, b""
            elif len(data) > self._most - STATUS.size:
                status, data = FAILED, b""
            self._queues[read.agent].append(_reading(action.request, read, status, data))

    def _unread(self, agent: int, dropped: set[int]) -> None:
        """The agent has been terminated before answers that come in this tick."""
        for number, read in self.reads.items():
            if read.agent == agent and read.open and number in dropped:
                read.open = False

    def _admit(
        self,
        tick: int,
        item: Input,
        missed: dict[tuple[int, int], str],
        dropped: set[int],
        illegal: list[Event],
    ) -> None:
        match item.action:
            case Configure(config) if not self._queues:
                channels = config.channels or ()
                self._most = config.max_payload
                self._topics = len(config.topics)
                self._closed = [n for n, channel in enumerate(channels, self._topics) if channel.closed]
                self._subscribers = [[] for _ in config.topics] + [list(channel.members) for channel in channels]
                self.inference.configure(config.models)
            case Spawn(spec) if ("illegal", OUTSIDE, "spawn", spec.name) in illegal:
                illegal.remove(("illegal", OUTSIDE, "spawn", spec.name))
            case Spawn():
                self._queues.append(deque())
            case Operate("terminate", agent) if agent < len(self._queues):
                self.inference.forget(tick, agent, dropped)
                self._unread(agent, dropped)
            case Send(agent, payload):
                self._deliver(tick, agent, self._message(INPUT, OUTSIDE, 0, payload), missed)
            case Publish(payload, topic):
                self._publish(tick, OUTSIDE, topic, payload, missed)
            case Schedule(agent) if agent >= len(self._queues):
                self._number(OUTSIDE)
            case Submit(tasks) if not any(e[0] == "refused_tasks" and e[1:3] == (item.source, item.n) for e in illegal):
                for task in tasks:
                    message = self._message(TASK, OUTSIDE, 0, task.payload)
                    self._tasks[task.agent, message.seq] = message
            case Join(agent, topic) if topic < len(self._subscribers) and agent < len(self._queues):
                self._subscribe(agent, topic)
            case Leave(agent, topic) if topic < len(self._subscribers):
                self._unsubscribe(agent, topic)

    def _apply(
        self,
        tick: int,
        agent: int,
        effect: Effect,
        missed: dict[tuple[int, int], str],
        unanswered: dict[int, int],
    ) -> None:
        if effect.op == "read":
            self._read(tick, agent, effect, unanswered)
        elif effect.op == "infer":
            self._ask(tick, agent, effect, unanswered)
        elif effect.op == "send":
            message = self._message(MESSAGE, agent, 0, effect.payload)
            if not self._is_barred(message):
                self._deliver(tick, effect.target, message, missed)
        elif effect.op == "publish":
            self._publish(tick, agent, effect.target, effect.payload, missed)
        elif effect.op == "subscribe" and effect.target not in self._closed:
            self._subscribe(agent, effect.target)
        elif effect.op == "unsubscribe":
            self._unsubscribe(agent, effect.target)

    def _message(self, kind: int, sender: int, channel: int, payload: bytes) -> Message:
        return Message(self._number(sender), kind, sender, channel, payload)

    def _number(self, sender: int) -> int:
        self._numbers[sender] = self._numbers.get(sender, 0) + 1
        return sequence(sender, self._numbers[sender])

    def _subscribe(self, agent: int, topic: int) -> None:
        if agent not in self._subscribers[topic]:
            self._subscribers[topic].append(agent)

    def _unsubscribe(self, agent: int, topic: int) -> None:
        if agent in self._subscribers[topic]:
            self._subscribers[topic].remove(agent)

    def _is_barred(self, message: Message) -> bool:
        """Whether it was refused as a whole; its sender has it back."""
        status = self._barred.get(message.seq)
        if status is None:
            return False
        self._queues[message.sender].append(Message(message.seq, REFUSED, OUTSIDE, status, message.payload))
        return True

    def _publish(self, tick: int, sender: int, topic: int, payload: bytes, missed: dict[tuple[int, int], str]) -> None:
        message = self._message(TOPIC, sender, topic, payload)
        members = self._subscribers[topic] if topic < len(self._subscribers) else []
        channel = topic >= self._topics
        outsider = channel and sender not in members
        if outsider and sender != OUTSIDE and self._barred.get(message.seq) not in (E_MEMBER, E_QUOTA):
            self.violations.append(f"tick {tick}: agent {sender}, no member of channel {topic}, posted {message.seq}")
        if self._is_barred(message) or outsider:
            return
        told = False
        for subscriber in members:
            if not (channel and subscriber == sender):
                told = self._deliver(tick, subscriber, message, missed, told)

    def _deliver(
        self, tick: int, target: int, message: Message, missed: dict[tuple[int, int], str], told: bool = False
    ) -> bool:
        """Whether the sender has been told that a copy was refused; it is told once."""
        why = missed.get((message.seq, target))
        if why == "refused" and message.sender != OUTSIDE:
            if not told:
                status = E_INVALID if (message.seq, target) in self._invalid else E_FULL
                back = Message(message.seq, REFUSED, target, status, message.payload)
                self._queues[message.sender].append(back)
            return True
        if why:
            self.losses.append(Loss(tick, target, message))
        elif target >= len(self._queues):
            self.violations.append(f"tick {tick}: message {message.seq} to unknown agent {target} was not refused")
        else:
            self._queues[target].append(message)
        return told

    def _discard(self, tick: int, agent: int, kinds: tuple[int, ...], number: int) -> None:
        """What lay in the mailbox of an agent that is gone; a copy sent in this same tick never came into it."""
        queue = self._queues[agent] if agent < len(self._queues) else deque[Message]()
        found = next((message for message in queue if message.seq == number and message.kind in kinds), None)
        if found:
            queue.remove(found)
            if found.kind not in (REFUSED, INFERENCE, READING):
                self.losses.append(Loss(tick, agent, found))

    def _take(self, tick: int, entry: StepEntry) -> tuple[Message, ...]:
        """The messages that the step names; number 0 is a wake, which no queue holds: it stands without a payload."""
        inbox = []
        queue = self._queues[entry.agent] if entry.agent < len(self._queues) else deque[Message]()
        for number in entry.inbox:
            if number == 0:
                inbox.append(Message(0, WAKE, OUTSIDE, 0, b""))
            elif (entry.agent, number) in self._tasks:  # who gets which when is a matter of its own
                inbox.append(self._tasks.pop((entry.agent, number)))
            elif queue and queue[0].seq == number:
                inbox.append(queue.popleft())
            else:
                due = f"message {queue[0].seq}" if queue else "nothing"
                self.violations.append(
                    f"tick {tick}, agent {entry.agent}: consumed message {number} where {due} was due"
                )
        if entry.kind == "step" and queue:
            self.violations.append(f"tick {tick}, agent {entry.agent}: left message {queue[0].seq} of its inbox")
        return tuple(inbox)

    def _compare_mailboxes(self) -> None:
        """What the journal says is undelivered must be what lies in the mailboxes, wakes left out."""
        for agent, queue in enumerate(self._queues):
            boxes = self._outcome.mailboxes
            held = [m for m in boxes[agent] if m.seq and m.kind != TASK] if agent < len(boxes) else []
            if list(queue) != held:
                self.violations.append(
                    f"agent {agent}: {len(held)} messages in its mailbox at the end, {len(queue)} by the journal"
                    if len(queue) != len(held)
                    else f"agent {agent}: its mailbox at the end differs from the journal's deliveries"
                )


def _reading(number: int, read: Read, status: int, data: bytes) -> Message:
    return Message(number, READING, OUTSIDE, read.source, STATUS.pack(status) + data)


def envelope(message: Message) -> bytes:
    """The bytes an agent was given for it (docs/abi.md)."""
    head = _ENVELOPE.pack(message.kind, message.sender, message.seq, message.channel, len(message.payload))
    return head + message.payload


def as_journaled(outcome: Outcome) -> list[str]:
    """What left is what the journal's steps let out, in its order, each once."""
    journaled = []
    for block in outcome.blocks:
        for task, step in enumerate(block.steps):
            effects = [effect_of(effect, outcome.blobs) for effect in step.effects]
            sent = [effect.payload for effect in effects if effect.op == "output"]
            journaled += [Output(block.tick, task, index, step.agent, data) for index, data in enumerate(sent)]
    violations = []
    for place, (left, due) in enumerate(zip(outcome.outputs, journaled, strict=False)):
        if left != due:
            violations.append(f"output {place}, tick {due.tick}, agent {due.agent}: not what the journal let out")
    if len(outcome.outputs) != len(journaled):
        violations.append(f"{len(outcome.outputs)} outputs left, {len(journaled)} by the journal")
    return violations
