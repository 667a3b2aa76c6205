"""An agent alone in the real runtime, under the simulation, against a written conversation; what differs, by tick.

The other agents of a conversation are puppets: modules that send what the outside tells them to, so whatever the agent
hears comes to it as in any run. What it did is read from the journal. Guards against a conversation that passes though
something was not as written: each listed turn must be a step, each step that does anything must be listed, and a
puppet that could not do its part is a difference too.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from functools import cache
from itertools import zip_longest
from typing import NamedTuple

from msgspec import UNSET

from faults.plan import Plan
from harness.history import History
from harness.sdk.conversations import OPERATOR, OUT, Conversation, Done, Heard, Source
from harness.sdk.projects import FILES
from harness.simulation import journal_digest, simulate
from runtime import journal
from runtime.journal import StepEntry, effect_of
from runtime.outside import SourceSpec
from runtime.state import (
    Action,
    AgentSpec,
    BufferSpec,
    Config,
    Effect,
    Input,
    Limits,
    Operate,
    Publish,
    Send,
)
from runtime.wasm import assemble
from runtime.wasm.abi import HOST
from scenarios import models
from scenarios.base import Order, Scenario

NAME = "conversation"
AGENT = 0
SNAPSHOT_EVERY = 4
_ORDER = struct.Struct("<II")
_SEND, _PUBLISH, _WRITE = range(3)
_CALLS = {function.op: name for name, function in HOST.items() if function.op}
_SHOWN = 64  # bytes of a payload

Expected = tuple[str, int, bytes | None]


class Difference(NamedTuple):
    """Something that is not as written; `tick` is -1 where it is about the whole run."""

    tick: int
    what: str
    expected: str
    got: str

    def __str__(self) -> str:
        place = f"tick {self.tick}: " if self.tick >= 0 else ""
        return f"{place}{self.what}: expected {self.expected}, got {self.got}"


class Played(NamedTuple):
    """One conversation as it went: the agent's steps, and what was not as written."""

    steps: int
    calls: int
    differences: list[Difference]
    journal: str
    history: History


@cache
def _puppet() -> bytes:
    return assemble((FILES / "puppet.wat").read_text("utf-8"))


def as_scenario(spec: AgentSpec, wasm: bytes, said: Conversation, libraries: Sequence[bytes] = ()) -> Scenario:
    """The conversation as any other scenario: the agent, its peers, and what the outside says."""
    puppet = hashlib.sha256(_puppet()).hexdigest()
    peer = AgentSpec(
        capabilities=("buffers", "messages", "topics"), limits=Limits(memory=8 << 20), module=puppet, name="peer"
    )
    reads = tuple(_place(said, "buffers", name) for name in said.reads)
    agents = [
        AgentSpec(
            capabilities=spec.capabilities,
            libraries=spec.libraries,
            limits=spec.limits,
            module=spec.module,
            name=spec.name,
            reads=reads,
        )
    ]
    agents += [
        AgentSpec(capabilities=peer.capabilities, limits=peer.limits, module=puppet, name=name) for name in said.peers
    ]
    shape = models.SMALL
    wanted = [models.spec(shape, name) for name in said.models]

    def config(seed: int) -> Config:
        return Config(
            buffers=tuple(
                BufferSpec(capacity=b.capacity, name=b.name, writer=said.agent(b.writer)) for b in said.buffers
            ),
            last_tick=said.last_tick,
            mailbox=said.mailbox,
            models=tuple(wanted),
            seed=seed,
            send_limit=said.send_limit,
            snapshot_every=SNAPSHOT_EVERY,
            sources=tuple(SourceSpec(name=source.name, delay_ticks=1) for source in said.sources) or UNSET,
            topics=said.topics,
        )

    orders = _orders(said)
    modules = {spec.module: wasm, puppet: _puppet()}
    modules |= {each.module: data for each, data in zip(spec.libraries or (), libraries, strict=True)}

    def compose(seed: int, number: int, order: Order) -> Action:
        return orders[order[1]][1]

    return Scenario(
        name=NAME,
        title=f"{spec.name}, alone",
        agents=tuple(agents),
        modules=modules,
        config=config,
        source="user",
        orders=lambda seed: tuple((tick, index) for index, (tick, _) in enumerate(orders)),
        bounds=((0, said.last_tick - 1), (0, max(0, len(orders) - 1))),
        compose=compose,
        invariant=lambda outcome: [],
        models=lambda: {model.digest: models.build(shape) for model in wanted},
        sources=lambda seed: {source.name: _saying(source) for source in said.sources},
    )


def _saying(source: Source) -> Callable[[bytes], bytes]:
    """The payloads, one for each read; StopIteration after the last, which is a reading that fails."""
    said = iter(source.says)
    return lambda asked: next(said).payload


def _place(said: Conversation, kind: str, name: str | None) -> int:
    return [getattr(one, "name", one) for one in getattr(said, kind)].index(name)


def _orders(said: Conversation) -> list[tuple[int, Action]]:
    """(tick, what the outside does), in order: a peer is told one tick before it is heard."""
    found: list[tuple[int, Action]] = []
    for turn in said.turn:
        for heard in turn.hears:
            early = heard.from_ not in (OUT, OPERATOR)
            found.append((turn.tick - early, _action(said, heard)))
    return sorted(found, key=lambda item: item[0])


def _action(said: Conversation, heard: Heard) -> Action:
    if heard.action is not None:
        return Operate(heard.action, AGENT)
    topic = -1 if heard.topic is None else _place(said, "topics", heard.topic)
    if heard.from_ == OUT:
        return Send(AGENT, heard.payload) if topic < 0 else Publish(heard.payload, topic)
    if heard.buffer is not None:
        order = _ORDER.pack(_WRITE, _place(said, "buffers", heard.buffer))
    else:
        order = _ORDER.pack(_PUBLISH, topic) if topic >= 0 else _ORDER.pack(_SEND, AGENT)
    return Send(said.agent(heard.from_), order + heard.payload)


def play(spec: AgentSpec, wasm: bytes, said: Conversation, libraries: Sequence[bytes] = ()) -> Played:
    """Runs the conversation; raises Refused for an agent that does not pass its load checks."""
    scenario = as_scenario(spec, wasm, said, libraries)
    inputs: tuple[Input, ...] = scenario.workload(said.seed)
    history = simulate(scenario, Plan(scenario=NAME, seed=said.seed, inputs=inputs))
    steps: dict[int, StepEntry] = {}
    differences: list[Difference] = []
    if history.failure:
        differences.append(Difference(-1, "the run", "its end", f"{history.failure}: {history.failure_detail}"))
    for line in journal.read(history.journal).lines:
        for step in line.block.steps:
            if step.agent == AGENT:
                steps[line.block.tick] = step
            elif step.status != "ok":
                name = said.peers[step.agent - 1]
                differences.append(Difference(line.block.tick, f"peer {name}", "its part", step.status))
    differences += _compared(said, steps, history.blobs)
    calls = sum(len(step.effects) for step in steps.values())
    return Played(len(steps), calls, differences, journal_digest(history), history)


def _compared(said: Conversation, steps: dict[int, StepEntry], blobs: dict[str, bytes]) -> list[Difference]:
    written = {0: said.init, **{turn.tick: turn for turn in said.turn}, said.last_tick: said.shutdown}
    found: list[Difference] = []
    for tick in sorted(written.keys() | steps.keys()):
        step, ended = steps.get(tick), written.get(tick)
        if step is None:
            if tick in (0, said.last_tick) and ended is not None and not ended.does and ended.status == "ok":
                continue
            found.append(Difference(tick, "a step", ended.status if ended else "none", "none"))
            continue
        status = ended.status if ended else "ok"
        if step.status != status:
            found.append(Difference(tick, "how the step ended", status, step.status))
        expected = [_expected(said, done) for done in ended.does] if ended else []
        got = [effect_of(effect, blobs) for effect in step.effects]
        for number, (one, other) in enumerate(zip_longest(expected, got), 1):
            if not _same(one, other):
                found.append(Difference(tick, f"call {number}", _written(said, one), _done(said, other)))
    return found


def _expected(said: Conversation, done: Done) -> Expected:
    if done.to is not None:
        target = said.agent(done.to)
    elif done.ticks is not None:
        target = done.ticks
    else:
        kind = next((name for name in ("topic", "buffer", "model", "source") if getattr(done, name) is not None), None)
        target = _place(said, f"{kind}s", getattr(done, kind)) if kind else 0
    return HOST[done.call].op, target, None if done.any else done.payload


def _same(expected: Expected | None, got: Effect | None) -> bool:
    if expected is None or got is None:
        return expected is None and got is None
    op, target, payload = expected
    return (op, target) == (got.op, got.target) and payload in (None, got.payload)


def _written(said: Conversation, expected: Expected | None) -> str:
    return _told(said, *expected) if expected else "nothing"


def _done(said: Conversation, got: Effect | None) -> str:
    return _told(said, got.op, got.target, got.payload) if got else "nothing"


def _told(said: Conversation, op: str, target: int, payload: bytes | None) -> str:
    """A call in the conversation's own words."""
    kind = {"send": "agents", "publish": "topics", "subscribe": "topics", "unsubscribe": "topics"}.get(op, f"{op}s")
    kind = {"infers": "models", "reads": "sources", "cancels": "sources"}.get(kind, kind)
    names = {"agents": ("self", *said.peers), "topics": said.topics, "models": said.models}
    names["buffers"] = tuple(buffer.name for buffer in said.buffers)
    names["sources"] = tuple(source.name for source in said.sources)
    known = names.get(kind, ())
    where = "" if op == "output" else f" {known[target]}" if target < len(known) else f" {target}"
    if op in ("subscribe", "unsubscribe", "wake", "cancel"):
        return f"{_CALLS[op]}{where}"
    return f"{_CALLS[op]}{where} {shown(payload)}"


def shown(payload: bytes | None) -> str:
    """Bytes as a reader knows them: text where it is text, else hex; a long one with its size."""
    if payload is None:
        return "anything"
    more = f"… ({len(payload)} B)" if len(payload) > _SHOWN else ""
    head = payload[:_SHOWN]
    if head and all(32 <= byte < 127 for byte in head):
        return f'"{head.decode()}"{more}'
    return f"0x{head.hex()}{more}" if payload else "no bytes"
