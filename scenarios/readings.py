"""`readings`: three agents read a world that never says the same twice; a replay must not ask it (EXT-1, WAS-8).

They read dice, a clock, a file that only one of them may, and stories that a function module tells in slices. Some
reads fail; some are cancelled by their agent, by an operator, or end with their agent's life. The world counts how
often each of its sources was read and says so in what it answers: an answer that is not the n-th of its source, where
the journal calls it that, was read a second time. Every step is computed again by a model of its agent, and every
story.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping

from runtime.outside import Answer, SourceSpec
from runtime.reads import END, FAILED, MORE, PREFIX, STATUS
from runtime.sources import CHUNK, Served, served
from runtime.state import (
    INPUT,
    READING,
    REFUSED,
    Action,
    AgentSpec,
    Config,
    Effect,
    Message,
    Operate,
    Send,
)
from runtime.wasm import Engine
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.deliveries import Deliveries, Step, as_journaled, envelope
from scenarios.folds import OFFSET, fold_words, mix
from scenarios.streams import Stream

AGENTS, LAST_TICK, LAST, ORDERS = 3, 40, 30, 42
NAMES = ("dice", "clock", "file", "story")
DICE, CLOCK, FILE, STORY, NOWHERE = range(5)  # the last is no source
COUNTED = (DICE, CLOCK, FILE)  # whose answers say how often they were read
READ, CANCEL, TRAP, OPERATOR = 1, 2, 3, 4  # what an order may be
SLICE = 3_000  # fuel: about a chunk of a story
CHUNKS_MAX = 12
BREAKS, ENDLESS = b"!", b"~"

_ORDER = struct.Struct("<III")  # op, source, parts to keep
_TOLD = struct.Struct("<IIIIQQ")  # tag 1, agent, source, status, request, chain
_FINAL = struct.Struct("<IIIIQ")  # tag 2, agent, readings, refusals, chain
_COUNT = struct.Struct("<Q")
_CHUNK = struct.Struct("<IQ")

_digests, _modules = load("reader", "teller")


# --- the world ------------------------------------------------------------------------------------------------------


class World:
    """What is outside in one run; nothing of it is the same when it is looked at again."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._read = [0, 0, 0]

    def _next(self, source: int) -> bytes:
        self._read[source] += 1
        return _COUNT.pack(self._read[source])

    def dice(self, payload: bytes) -> bytes:
        count = self._next(DICE)
        return count + hashlib.sha256(b"%d/dice" % self._seed + count).digest()[: 1 + len(payload)]

    def clock(self, payload: bytes) -> bytes:
        count = self._next(CLOCK)
        return count + _COUNT.pack(self._seed % 1000 + 7 * self._read[CLOCK] ** 2)

    def file(self, payload: bytes) -> bytes:
        """Its content, which grows with every look; no such file, and one that is too long to be a reading."""
        count = self._next(FILE)
        if payload.startswith(BREAKS):
            raise FileNotFoundError(payload)
        size = 70_000 if payload.startswith(ENDLESS) else 40 * self._read[FILE]
        return count + (payload or b".") * size


def _sources(seed: int) -> Mapping[str, Callable[[bytes], bytes] | Served]:
    world = World(seed)
    teller = Engine().load_bytes(_modules[_digests["teller"]], "teller")
    functions = (world.dice, world.clock, world.file)
    return {**dict(zip(NAMES, functions, strict=False)), NAMES[STORY]: served(teller, "tell", SLICE)}


def story(text: bytes) -> tuple[list[bytes], int]:
    """The chunks that a text must give, and how its call ends; an endless one when its fuel is used up."""
    count, how = (text[0] if text else 0), text[1:2]
    chunks, value = [], OFFSET
    for n in range(count // 2 if how == BREAKS else count):
        chunks.append(_CHUNK.pack(n, value))
        for _ in range(100):
            value = mix(value, n + 1)
    return chunks, FAILED if (how == BREAKS and count) or how == ENDLESS else END


# --- the agents -----------------------------------------------------------------------------------------------------


class Reader:
    """One agent in one life, as its source describes it."""

    def __init__(self, agent: int) -> None:
        self.agent, self.chain = agent, OFFSET
        self.readings = self.refusals = 0
        self.keep: dict[int, int] = {}
        self.parts: dict[int, int] = {}

    def step(self, inbox: tuple[Message, ...]) -> list[Effect]:
        effects: list[Effect] = []
        for message in inbox:
            self.chain = fold_words(envelope(message), self.chain)
            if message.kind == INPUT:
                effects.append(self._ordered(message.payload))
            elif message.kind == READING:
                effects += self._read(message)
            self.refusals += message.kind == REFUSED
        return effects

    def shutdown(self) -> list[Effect]:
        return [Effect("output", 0, _FINAL.pack(2, self.agent, self.readings, self.refusals, self.chain))]

    def _ordered(self, payload: bytes) -> Effect:
        op, source, keep = _ORDER.unpack_from(payload)
        if op == CANCEL:
            return Effect("cancel", source)
        self.keep[source & 15], self.parts[source & 15] = keep, 0
        return Effect("read", source, payload[_ORDER.size :])

    def _read(self, message: Message) -> list[Effect]:
        source = message.channel
        (status,) = STATUS.unpack_from(message.payload)
        self.readings += 1
        self.parts[source] = self.parts.get(source, 0) + 1
        told = _TOLD.pack(1, self.agent, source, status, message.seq, self.chain)
        effects = [Effect("output", 0, told), Effect("send", (self.agent + 1) % AGENTS, message.payload)]
        if status == MORE and self.keep.get(source, 0) == self.parts[source]:
            return [*effects, Effect("cancel", source)]
        return [*effects, Effect("read", source)] if status == MORE else effects


def _steps(steps: list[Step]) -> list[str]:
    violations = []
    readers = [Reader(agent) for agent in range(AGENTS)]
    for step in steps:
        if step.status != "ok" or step.kind == "init":
            readers[step.agent] = Reader(step.agent)
        reader = readers[step.agent]
        expected: list[Effect] = []
        if step.status == "ok" and step.kind != "init":
            expected = reader.shutdown() if step.kind == "shutdown" else reader.step(step.inbox)
        if list(step.effects) != expected:
            done = ", ".join(effect.op for effect in step.effects) or "nothing"
            due = ", ".join(effect.op for effect in expected) or "nothing"
            violations.append(f"tick {step.tick}, agent {step.agent}: did {done}; its model {due}, or with other bytes")
    return violations


# --- what must hold -------------------------------------------------------------------------------------------------


def _world(outcome: Outcome) -> list[str]:
    """What the journal calls the n-th answer of a source is what it said when it was read for the n-th time."""
    violations = []
    for block in outcome.blocks:
        for item in block.inputs:
            name = item.source.removeprefix(PREFIX)
            if not isinstance(item.action, Answer) or name not in NAMES[:STORY] or item.action.status == FAILED:
                continue
            (count,) = _COUNT.unpack_from(item.action.data)
            if count != item.n:
                violations.append(f"tick {block.tick}: answer {item.n} of {name} was its reading {count}")
    return violations


def _chunks(data: bytes) -> list[bytes]:
    chunks = []
    while data:
        (length,) = CHUNK.unpack_from(data)
        chunks.append(data[CHUNK.size : CHUNK.size + length])
        data = data[CHUNK.size + length :]
    return chunks


def _stories(outcome: Outcome, deliveries: Deliveries) -> list[str]:
    """The parts of each call, in the order of the journal, are the beginning of its story, and all of it at its end."""
    firsts: dict[int, tuple[int, int]] = {}  # number of an answer -> the call's first, the request
    for block in outcome.blocks:
        for event in block.events:
            if event[0] == "asked" and event[1] == NAMES[STORY]:
                firsts[int(event[2])] = int(event[5]), int(event[4])
    texts = {number: sent.payload for number, sent in deliveries.reads.items()}
    told: dict[int, list[bytes]] = {}
    violations = []
    for block in outcome.blocks:
        for item in block.inputs:
            if item.source != PREFIX + NAMES[STORY] or not isinstance(item.action, Answer):
                continue
            first = firsts[item.n][0]
            chunks, end = story(texts[firsts[first][1]])
            so_far = told.setdefault(first, [])
            so_far += _chunks(item.action.data)
            whole = item.action.status == MORE or (item.action.status, so_far) == (end, chunks)
            if so_far != chunks[: len(so_far)] or not whole:
                violations.append(f"tick {block.tick}: part {item.n} of the story {first} is not what comes next in it")
    return violations


def _invariant(outcome: Outcome) -> list[str]:
    deliveries = Deliveries(outcome)
    violations = [*deliveries.violations, *_steps(deliveries.steps), *_world(outcome)]
    return violations + _stories(outcome, deliveries) + as_journaled(outcome)


def _orders(seed: int) -> tuple[Order, ...]:
    """(tick, agent, what, source, keep, key)."""
    stream = Stream(seed, "readings/orders")
    orders = []
    for key in range(ORDERS):
        what = stream.between(0, 19)
        op = {0: CANCEL, 1: CANCEL, 2: OPERATOR, 3: OPERATOR, 4: OPERATOR, 5: TRAP, 6: TRAP}.get(what, READ)
        source = STORY if stream.chance(1, 3) else stream.between(DICE, NOWHERE)
        orders.append((stream.between(1, LAST), stream.between(0, AGENTS - 1), op, source, stream.between(0, 4), key))
    return tuple(orders)


def text_of(seed: int, key: int, source: int) -> bytes:
    """What is asked of a source, one text for each key; one in four fails in some way."""
    stream = Stream(seed, f"readings/text/{key}")
    how = (BREAKS, ENDLESS, b"", b"", b"", b"", b"", b"")[stream.between(0, 7)]
    if source == STORY:
        return bytes([stream.between(0, CHUNKS_MAX)]) + how
    return how + bytes(stream.between(97, 122) for _ in range(stream.between(0, 9)))


def _compose(seed: int, number: int, order: Order) -> Action:
    _, agent, op, source, keep, key = order
    if op == OPERATOR:
        return Operate("cancel", agent)
    text = text_of(seed, key, source) if op == READ else b""
    return Send(agent, _ORDER.pack(op, source, keep) + text)


def _config(seed: int) -> Config:
    delays = (3, 2, 5, 1)
    readers = {FILE: (0,)}
    specs = [
        SourceSpec(name=name, delay_ticks=delays[n], readers=readers[n])
        if n in readers
        else SourceSpec(name=name, delay_ticks=delays[n])
        for n, name in enumerate(NAMES)
    ]
    return Config(last_tick=LAST_TICK, max_restarts=8, seed=seed, snapshot_every=4, sources=tuple(specs))


READINGS = Scenario(
    name="readings",
    title="Three agents read a world that never says the same twice, and stories as they are told.",
    agents=tuple(
        AgentSpec(name=f"reader-{agent}", module=_digests["reader"], capabilities=("messages", "output", "outside"))
        for agent in range(AGENTS)
    ),
    modules={_digests["reader"]: _modules[_digests["reader"]]},
    config=_config,
    source="user",
    orders=_orders,
    bounds=((1, LAST), (0, AGENTS - 1), (READ, OPERATOR), (DICE, NOWHERE), (0, 4), (0, 999)),
    compose=_compose,
    invariant=_invariant,
    sources=_sources,
)
