"""`frames`: a producer publishes a frame a tick through a shared buffer; three readers fold what they read into a hash.

The readers say which versions they folded and in which tick. Each fold is recomputed from the journaled frames, and
each version must be the newest that was published before its tick: nothing torn, stale or altered is ever folded.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from runtime.frames import Output
from runtime.journal import BlobRef
from runtime.state import Action, AgentSpec, BufferSpec, Config, Send
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.folds import OFFSET, fold_words, mix
from scenarios.streams import Stream

CAPACITY = 4096
LAST_TICK = 80
RESIZES = 10
EPOCH_MS, TICK_MS = 1_700_000_000_000, 10
PRODUCER, READERS = 0, (1, 2, 3)
FRAME_HEAD = struct.Struct("<QQ")  # tick, now in ms

_OPENED, _SHUTDOWN = 0, 2
_REPORT = struct.Struct("<IIQII")  # tag, reader, fold, entries, 0
_ENTRY = struct.Struct("<II")  # version, tick of the reading

_digests, _modules = load("frames_producer", "frames_reader")


class Published(NamedTuple):
    """One version: the tick that committed it, and the hash of its bytes."""

    tick: int
    digest: int


def _published(outcome: Outcome, violations: list[str]) -> list[Published]:
    """All versions, from 1 on, as the journal has them."""
    versions = []
    for block in outcome.blocks:
        for step in block.steps:
            for effect in step.effects:
                if effect.op != "buffer":
                    continue
                stored = effect.payload
                frame = outcome.blobs[stored.sha256] if isinstance(stored, BlobRef) else stored
                tick, now = FRAME_HEAD.unpack_from(frame)
                if step.agent != PRODUCER or tick != block.tick:
                    violations.append(f"tick {block.tick}, agent {step.agent}: a frame of another tick or agent")
                elif now != _now(tick):
                    violations.append(f"tick {tick}: the producer's time was {now} ms, not {_now(tick)} ms")
                versions.append(Published(block.tick, fold_words(frame)))
    return versions


def _now(tick: int) -> int:
    """The time of a tick in ms, as the configuration defines it."""
    return EPOCH_MS + tick * TICK_MS


class _Reader:
    """One reader, followed through its reports."""

    def __init__(self, agent: int, published: list[Published], violations: list[str]) -> None:
        self.agent, self.published, self.violations = agent, published, violations
        self.fold = OFFSET
        self.newest = 0
        self.life: list[int] = []  # versions reported in this life
        self.lives = 0
        self.ended = False

    def report(self, output: Output) -> None:
        where = f"tick {output.tick}, reader {self.agent}"
        if len(output.payload) < _REPORT.size:
            self.violations.append(f"{where}: a report of {len(output.payload)} bytes")
            return
        tag, reader, fold, count, _ = _REPORT.unpack_from(output.payload)
        entries = list(_ENTRY.iter_unpack(output.payload[_REPORT.size :]))
        if reader != self.agent or count != len(entries):
            self.violations.append(f"{where}: a malformed report")
        if tag == _OPENED:
            self.fold, self.life, self.lives = OFFSET, [], self.lives + 1
        self.ended = tag == _SHUTDOWN
        for version, tick in entries:
            self._read(where, version, tick)
        if fold != self.fold:
            self.violations.append(f"{where}: its fold differs from that of versions {self.life[-count:]}")
            self.fold = fold

    def _read(self, where: str, version: int, tick: int) -> None:
        if version <= self.newest:
            self.violations.append(f"{where}: version {version} after {self.newest}")
        self.newest = version
        self.life.append(version)
        if not 1 <= version <= len(self.published):
            self.violations.append(f"{where}: version {version} was never published")
            return
        if self.published[version - 1].tick >= tick:
            self.violations.append(f"{where}: version {version} read in tick {tick}, before it was visible")
        if version < len(self.published) and self.published[version].tick < tick:
            self.violations.append(f"{where}: version {version} read in tick {tick}, but a newer one was published")
        self.fold = mix(mix(self.fold, version), self.published[version - 1].digest)


class _Given(NamedTuple):
    """What the journal says of one reader: its lives, the versions its last one was given, and whether it closed."""

    lives: int
    versions: list[int]
    closed: bool


def _given(outcome: Outcome, agent: int) -> _Given:
    lives, closed = 0, False
    versions: list[int] = []
    for block in outcome.blocks:
        for step in block.steps:
            if step.agent != agent:
                continue
            if step.kind == "init" or step.status != "ok":
                lives += step.status == "ok"
                versions = []
            else:
                versions += [version for _, version in step.views]
                closed = step.kind == "shutdown"
    return _Given(lives, versions, closed)


def _invariant(outcome: Outcome) -> list[str]:
    """Every fold equals the one recomputed from the journaled frames, in the order and at the ticks reported."""
    violations: list[str] = []
    published = _published(outcome, violations)
    readers = {agent: _Reader(agent, published, violations) for agent in READERS}
    for output in outcome.outputs:
        if output.agent in readers:
            readers[output.agent].report(output)
        else:
            violations.append(f"tick {output.tick}, agent {output.agent}: an output that no reader made")
    for agent, reader in readers.items():
        given = _given(outcome, agent)
        if given.lives != reader.lives:
            violations.append(f"reader {agent}: {reader.lives} lives reported, {given.lives} in the journal")
        if given.closed != reader.ended:
            violations.append(f"reader {agent}: {'no' if given.closed else 'a'} last report, against the journal")
        if given.closed and given.versions != reader.life:
            violations.append(f"reader {agent}: folded {len(reader.life)} versions, was given {len(given.versions)}")
    return violations


def _orders(seed: int) -> tuple[Order, ...]:
    stream = Stream(seed, "frames/sizes")
    return tuple((stream.between(1, 70), stream.between(1000, CAPACITY)) for _ in range(RESIZES))


def _compose(seed: int, number: int, order: Order) -> Action:
    return Send(PRODUCER, struct.pack("<I", order[1]))


def _config(seed: int) -> Config:
    return Config(
        buffers=(BufferSpec(capacity=CAPACITY, name="frames", writer=PRODUCER),),
        epoch_ms=EPOCH_MS,
        last_tick=LAST_TICK,
        seed=seed,
        snapshot_every=16,
        tick_ms=TICK_MS,
    )


FRAMES = Scenario(
    name="frames",
    title="A producer publishes frames through a shared buffer, and three readers fold them into hashes.",
    agents=(
        AgentSpec(
            name="producer", module=_digests["frames_producer"], capabilities=("timers", "buffers", "time", "random")
        ),
        *(
            AgentSpec(
                name=f"reader-{number}",
                module=_digests["frames_reader"],
                capabilities=("timers", "output"),
                reads=(0,),
            )
            for number in READERS
        ),
    ),
    modules=_modules,
    config=_config,
    source="operator",
    orders=_orders,
    bounds=((1, 70), (16, CAPACITY)),
    compose=_compose,
    invariant=_invariant,
)
