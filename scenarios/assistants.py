"""`assistants`: four agents talk in a ring, token by token, each from a session of its own with one decoder.

A prompt from the user begins a conversation; each utterance answers the one before it and goes to the next agent while
hops are left. Prompts of equal length at once make requests of equal shape, others make different ones. Sessions
outgrow the context and begin anew; nudges repeat requests that are unanswered. Every answer is computed again in
integers, and every step of every agent by a model of it.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable

from runtime.state import (
    E_FULL,
    INFERENCE,
    INPUT,
    MESSAGE,
    OUTSIDE,
    REFUSED,
    Action,
    AgentSpec,
    Config,
    Effect,
    Message,
    Send,
)
from scenarios import models
from scenarios.answers import answers
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.deliveries import Deliveries, as_journaled, envelope
from scenarios.folds import OFFSET, fold_words
from scenarios.streams import Stream

AGENTS = 4
LAST_TICK = 96
LAST = 72  # tick of the last order
UTTERANCE = 6  # tokens of one
PROMPT_MAX = 24
QUEUE = 8
HOPS_MAX = 7
DELAY = 2
SHAPE = models.SMALL
BOUNDS = ((1, LAST), (0, AGENTS - 1), (0, PROMPT_MAX), (0, HOPS_MAX), (0, 999))  # of an order's integers

PROMPT, NUDGE, UTTER = 1, 2, 3
_SAID_TAG, _FINAL_TAG = 1, 2
_PROMPT_OF_ITS_OWN, _NEXT, _ANEW = 1, 2, 3

_HEAD = struct.Struct("<III")  # op, conversation, hops
_SAID = struct.Struct("<IIIIII")  # tag, agent, conversation, hops, tokens in the session, 0
_FINAL = struct.Struct("<IIIIIIQ")  # tag, agent, utterances, refused for length, refused as busy, lost, chain
_RESULT = struct.Struct("<II")  # token, tokens in the session

_digests, _modules = load("assistant")


class Assistant:
    """One agent in one life, as its source describes it: what each step must do."""

    def __init__(self, agent: int, model: int = 0) -> None:
        self.agent, self.model = agent, model
        self.chain = OFFSET
        self.queue: deque[tuple[int, int, int, bytes]] = deque()
        self.busy = self.nudged = self.anew = False
        self.want = 0
        self.conversation = self.hops = self.held = 0
        self.prompt = self.reply = self.request = b""
        self.utterances = self.too_long = self.too_early = self.lost = 0

    def step(self, inbox: tuple[Message, ...]) -> list[Effect]:
        effects: list[Effect] = []
        for message in inbox:
            self.chain = fold_words(envelope(message), self.chain)
            self._receive(message, effects)
        if not self.busy and self.queue:
            op, self.conversation, self.hops, self.prompt = self.queue.popleft()
            self.busy, self.anew, self.reply, self.want = True, op == PROMPT, b"", _PROMPT_OF_ITS_OWN
        if self.want:
            flags = self.want == _ANEW or (self.want == _PROMPT_OF_ITS_OWN and self.anew)
            tokens = self.reply[-1:] if self.want == _NEXT else self.prompt + self.reply
            self.request = struct.pack(f"<{len(tokens) + 1}I", flags, *tokens)
            self.want = 0
            effects.append(Effect("infer", self.model, self.request))
        if self.nudged and self.busy:
            effects.append(Effect("infer", self.model, self.request))
        self.nudged = False
        return effects

    def shutdown(self) -> list[Effect]:
        counts = self.utterances, self.too_long, self.too_early, self.lost
        return [Effect("output", 0, _FINAL.pack(_FINAL_TAG, self.agent, *counts, self.chain))]

    def _receive(self, message: Message, effects: list[Effect]) -> None:
        if message.kind == REFUSED:
            self._refused(message)
        elif message.kind == INFERENCE:
            token, self.held = _RESULT.unpack(message.payload)
            self.reply += bytes([token])
            self.want = _NEXT
            if len(self.reply) == UTTERANCE:
                self._say(effects)
        elif message.kind in (MESSAGE, INPUT) and len(message.payload) >= _HEAD.size:
            op, conversation, hops = _HEAD.unpack_from(message.payload)
            tokens = message.payload[_HEAD.size :]
            if message.kind == INPUT and op == NUDGE:
                self.nudged = True
            elif (message.kind == INPUT) == (op == PROMPT):
                if 1 <= len(tokens) <= PROMPT_MAX and len(self.queue) < QUEUE:
                    self.queue.append((op, conversation, hops, tokens))
                else:
                    self.lost += 1

    def _refused(self, message: Message) -> None:
        if message.sender != OUTSIDE:
            self.lost += 1
        elif message.channel == E_FULL:
            self.too_early += 1
        else:
            self.too_long += 1
            self.want = _ANEW

    def _say(self, effects: list[Effect]) -> None:
        self.busy, self.want = False, 0
        self.utterances += 1
        said = _SAID.pack(_SAID_TAG, self.agent, self.conversation, self.hops, self.held, 0)
        effects.append(Effect("output", 0, said + self.reply))
        if self.hops:
            head = _HEAD.pack(UTTER, self.conversation, self.hops - 1)
            effects.append(Effect("send", (self.agent + 1) % AGENTS, head + self.reply))


def steps(deliveries: Deliveries, fresh: Callable[[int], Assistant]) -> list[str]:
    """Each step did what the model of its agent does with the same inbox; `fresh(agent)` is one at its beginning."""
    violations = []
    agents = [fresh(agent) for agent in range(AGENTS)]
    for step in deliveries.steps:
        if step.status != "ok" or step.kind == "init":
            agents[step.agent] = fresh(step.agent)
            expected = []
        elif step.kind == "shutdown":
            expected = agents[step.agent].shutdown()
        else:
            expected = agents[step.agent].step(step.inbox)
        if list(step.effects) != expected:
            done = ", ".join(effect.op for effect in step.effects) or "nothing"
            due = ", ".join(effect.op for effect in expected) or "nothing"
            violations.append(f"tick {step.tick}, agent {step.agent}: did {done}; its model {due}, or with other bytes")
    return violations


def _invariant(outcome: Outcome) -> list[str]:
    """Every token, every logit, every KV cache, every step and every output is what it must be."""
    deliveries = Deliveries(outcome)
    return deliveries.violations + steps(deliveries, Assistant) + answers(deliveries, SHAPE) + as_journaled(outcome)


def text_of(seed: int, key: int, length: int) -> bytes:
    """The tokens of a prompt, one text for each key."""
    stream = Stream(seed, f"assistants/text/{key}")
    return bytes(stream.between(0, SHAPE.vocabulary - 1) for _ in range(length))


def orders(seed: int) -> tuple[Order, ...]:
    """(tick, agent, length, hops, key), length 0 being a nudge.

    All four begin at once with equal lengths, so that their requests share batches; two begin anew soon after. The
    lengths let the first sessions outgrow the context with a prompt, the others in the middle of an utterance.
    """
    stream = Stream(seed, "assistants/prompts")
    short, long = stream.between(5, 10), stream.between(11, 15)
    first = [(2, agent, short, 4, agent) for agent in range(AGENTS)]
    anew = [(stream.between(3, 12), agent, long, 1, AGENTS + agent) for agent in (2, 3)]
    late = [(stream.between(50, 60), stream.between(0, 3), stream.between(1, PROMPT_MAX), 1, 8 + n) for n in range(2)]
    nudges = Stream(seed, "assistants/nudges")
    steady = [(nudges.between(4, 60), nudges.between(0, 3), 0, 0, n) for n in range(6)]
    return tuple(first + anew + late + steady)


def compose(seed: int, number: int, order: Order) -> Action:
    _, agent, length, hops, key = order
    if not length:
        return Send(agent, _HEAD.pack(NUDGE, number, 0))
    return Send(agent, _HEAD.pack(PROMPT, number, hops) + text_of(seed, key, length))


def _config(seed: int) -> Config:
    return Config(last_tick=LAST_TICK, models=(models.spec(SHAPE, "decoder", DELAY),), seed=seed, snapshot_every=16)


ASSISTANTS = Scenario(
    name="assistants",
    title="Four agents talk token by token, and every token, KV cache and utterance is computed a second time.",
    agents=tuple(
        AgentSpec(
            name=f"assistant-{number}",
            module=_digests["assistant"],
            capabilities=("messages", "output", "inference"),
        )
        for number in range(AGENTS)
    ),
    modules=_modules,
    config=_config,
    source="user",
    orders=orders,
    bounds=BOUNDS,
    compose=compose,
    invariant=_invariant,
    models=lambda: {models.digest(SHAPE): models.build(SHAPE)},
)
