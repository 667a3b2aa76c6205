"""Where a message comes from (MSG-1): from any delivery back to the input that caused it, read from the journal alone.

A message was sent by a step, and a step acts on its inbox, its wakes and the versions that it reads: each of them has
an origin of its own, down to inputs from outside. What an agent remembered from earlier steps is not followed. Guards
against a chain that is made up: a number that nobody gave, or that two gave, is refused by name.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from harness.kept import Kept
from runtime import journal
from runtime.errors import Refused
from runtime.journal import Block, StepEntry
from runtime.state import (
    INFERENCE,
    INPUT,
    MESSAGE,
    OUTSIDE,
    READING,
    TASK,
    TOPIC,
    WAKE,
    Configure,
    Input,
    Publish,
    Schedule,
    Send,
    Spawn,
    Submit,
)

_ANEW = "the journal is not one of this runtime's; keep the run anew"
_OPS = {"send": MESSAGE, "publish": TOPIC, "infer": INFERENCE, "read": READING}
_LOST = ("refused", "dropped", "refused_message", "refused_request", "dropped_result", "dropped_refusal")


class Sent(NamedTuple):
    """One message by number. `origin` is an input, or the index of the step whose effect `effect` it is."""

    seq: int
    kind: int
    sender: int
    target: int  # agent, topic or model
    payload: bytes
    tick: int
    origin: Input | int
    effect: int = -1


class Taken(NamedTuple):
    """One step: what it did is caused by `messages` (numbers), by inputs, and by earlier steps (indices)."""

    tick: int
    entry: StepEntry
    messages: tuple[int, ...]
    inputs: tuple[Input, ...]
    steps: tuple[int, ...]


class Trace(NamedTuple):
    """`chain` leads from the message, by the fewest hops, to one input; `inputs` are all that it can come from."""

    message: Sent
    delivered: tuple[Taken, ...]
    lost: tuple[tuple[str, int, int], ...]  # what the journal says of a copy: op, tick, agent
    chain: tuple[Sent | Taken | Input, ...]
    inputs: tuple[Input, ...]
    steps: int


class Messages:
    """All messages of a run, its steps, and what caused what. Raises Refused where numbers do not join."""

    def __init__(self, kept: Kept) -> None:
        self.name = kept.name
        self.sent: dict[int, Sent] = {}
        self.taken: list[Taken] = []
        self.delivered: dict[int, list[int]] = {}
        self.lost: dict[int, list[tuple[str, int, int]]] = {}
        self._blobs = kept.blobs
        self._outside = 0
        self._genesis: list[Input] = []
        self._spawned: list[Input] = []
        self._last: dict[int, int] = {}  # agent -> its newest step
        self._timers: dict[int, list[tuple[int, Input | int]]] = {}  # agent -> (due, who asked for it)
        self._versions: dict[int, int] = {}
        self._published: dict[tuple[int, int], int] = {}
        for line in journal.read(kept.journal).lines:
            self._block(line.block)

    # --- reading ----------------------------------------------------------------------------------------------------

    def _block(self, block: Block) -> None:
        illegal = [str(event[3]) for event in block.events if event[0] == "illegal" and event[2] == "spawn"]
        refused = {(event[1], event[2]) for event in block.events if event[0] == "refused_tasks"}
        for item in block.inputs:
            if (item.source, item.n) not in refused:
                self._input(item, block.tick, illegal)
        for entry in block.steps:
            self._step(entry, block.tick)
        for event in block.events:
            if event[0] in _LOST:
                agent = int(event[3] if event[0] == "refused" else event[2])
                self.lost.setdefault(int(event[1]), []).append((str(event[0]), block.tick, agent))

    def _input(self, item: Input, tick: int, illegal: list[str]) -> None:
        action = item.action
        if isinstance(action, Spawn):
            if action.spec.name in illegal:
                illegal.remove(action.spec.name)
            else:
                self._spawned.append(item)
        elif isinstance(action, Send):
            self._enters(item, tick, INPUT, action.agent, action.payload)
        elif isinstance(action, Publish):
            self._enters(item, tick, TOPIC, action.topic, action.payload)
        elif isinstance(action, Submit):
            for task in action.tasks:
                self._enters(item, tick, TASK, task.agent, task.payload)
        elif isinstance(action, Schedule) and action.agent >= len(self._spawned):
            self._enters(item, tick, WAKE, action.agent, action.payload)
        elif isinstance(action, Schedule):
            self._timers.setdefault(action.agent, []).append((tick + action.ticks, item))
        elif isinstance(action, Configure):
            self._genesis.append(item)

    def _enters(self, item: Input, tick: int, kind: int, target: int, payload: bytes) -> None:
        self._outside += 1
        self._give(Sent(self._outside, kind, OUTSIDE, target, payload, tick, item))

    def _give(self, sent: Sent) -> None:
        if sent.seq in self.sent:
            raise Refused(f"number {sent.seq} is given twice, the second time in tick {sent.tick}", self.name, _ANEW)
        self.sent[sent.seq] = sent

    def _step(self, entry: StepEntry, tick: int) -> None:
        agent, index = entry.agent, len(self.taken)
        inputs, steps = self._beginnings(entry)
        timers = self._timers.get(agent, [])
        for _, asked in [timer for timer in timers if 0 in entry.inbox and timer[0] <= tick]:
            if isinstance(asked, Input):
                inputs.append(asked)
            else:
                steps.append(asked)
        later = [timer for timer in timers if 0 not in entry.inbox or timer[0] > tick]
        # A life that ends takes its own wakes along; tasks from outside stay for the next one.
        self._timers[agent] = later if entry.status == "ok" else [one for one in later if isinstance(one[1], Input)]
        steps += [self._published[view] for view in entry.views if view in self._published]
        messages = tuple(number for number in entry.inbox if number)
        for number in messages:
            if number not in self.sent:
                what = f"agent {agent} read number {number} in tick {tick}, which nobody gave"
                raise Refused(what, self.name, _ANEW)
            self.delivered.setdefault(number, []).append(index)
        self.taken.append(Taken(tick, entry, messages, tuple(inputs), tuple(dict.fromkeys(steps))))
        self._last[agent] = index
        self._effects(entry, tick, index)

    def _beginnings(self, entry: StepEntry) -> tuple[list[Input], list[int]]:
        """What makes an agent begin: its spawn, or the step before, which failed; and what makes it end."""
        before = self._last.get(entry.agent)
        if entry.kind == "init":
            return ([self._spawned[entry.agent]], []) if before is None else ([], [before])
        return (list(self._genesis) if entry.kind == "shutdown" else []), []

    def _effects(self, entry: StepEntry, tick: int, index: int) -> None:
        number = entry.seq
        for place, effect in enumerate(entry.effects):
            if effect.op in _OPS:
                payload = journal.payload_of(effect.payload, self._blobs)
                self._give(Sent(number, _OPS[effect.op], entry.agent, effect.target, payload, tick, index, place))
                number += 1
            elif effect.op == "wake":
                self._timers.setdefault(entry.agent, []).append((tick + max(1, effect.target), index))
            elif effect.op == "buffer":
                self._versions[effect.target] = version = self._versions.get(effect.target, 0) + 1
                self._published[effect.target, version] = index

    # --- tracing ----------------------------------------------------------------------------------------------------

    def trace(self, seq: int) -> Trace:
        """The message with this number, and where it comes from; raises Refused for a number that nobody gave."""
        message = self.sent.get(seq)
        if message is None:
            raise Refused(f"no message has number {seq}", self.name, self._known(seq))
        came: dict[Sent | Taken | Input, Sent | Taken | None] = {message: None}
        waiting: deque[Sent | Taken] = deque([message])
        inputs: list[Input] = []
        while waiting:
            at = waiting.popleft()
            for cause in self._causes(at):
                if cause not in came:
                    came[cause] = at
                    if isinstance(cause, Input):
                        inputs.append(cause)
                    else:
                        waiting.append(cause)
        return Trace(
            message,
            tuple(self.taken[index] for index in self.delivered.get(seq, ())),
            tuple(self.lost.get(seq, ())),
            _chain(came, inputs[0]) if inputs else (message,),
            tuple(sorted(inputs, key=lambda item: (item.tick, item.source, item.n))),
            sum(isinstance(one, Taken) for one in came),
        )

    def _causes(self, at: Sent | Taken) -> list[Sent | Taken | Input]:
        if isinstance(at, Sent):
            return [at.origin if isinstance(at.origin, Input) else self.taken[at.origin]]
        earlier = [self.taken[index] for index in at.steps]
        return [*(self.sent[number] for number in at.messages), *at.inputs, *earlier]

    def _known(self, seq: int) -> str:
        sender = OUTSIDE if seq >> 32 == 0 else (seq >> 32) - 1
        mine = [number for number in self.sent if (number >> 32) == (seq >> 32)]
        who = "the outside" if sender == OUTSIDE else f"agent {sender}"
        return f"{who} sent {min(mine)} to {max(mine)}" if mine else f"{who} sent none"


def _chain(
    came: dict[Sent | Taken | Input, Sent | Taken | None], end: Sent | Taken | Input
) -> tuple[Sent | Taken | Input, ...]:
    """From the message to this cause."""
    chain: list[Sent | Taken | Input] = []
    at: Sent | Taken | Input | None = end
    while at is not None:
        chain.append(at)
        at = came[at]
    return tuple(reversed(chain))
