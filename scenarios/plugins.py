"""`plugins`: four agents pass jobs on, and carry out each step by a function module.

Both the agents and the modules that they call are written in WAT, C, Rust and AssemblyScript, the agents with the SDK.

A job is a text and a list of steps; what a plugin makes of the text goes to the next agent with the rest of the list,
and the last text leaves. Some texts make a plugin trap or never end; those jobs leave with the number that stands for
it. Every step is computed again in Python; `ticket` is a plugin that tells when its instance has served before.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from runtime.errors import Refused
from runtime.state import INPUT, MESSAGE, Action, AgentSpec, Config, Effect, Message, Send
from runtime.wasm import Engine, ModuleLimits, plugin
from runtime.wasm.capabilities import Capability
from runtime.wasm.plugins import LIMITED, TOO_LONG, TRAPPED
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.deliveries import Deliveries, as_journaled
from scenarios.streams import Stream

FUNCTIONS, CALLERS = (Path(__file__).parent / folder for folder in ("functions", "callers"))
NAMES = ("capitals", "checksum", "pack", "turn", "ticket")  # in the order of the agent's table
LANGUAGES = ("wat", "c", "rs", "ts")  # of the agents
AGENTS = len(LANGUAGES)
LAST_TICK = 32
JOBS = 24
STEPS_MAX, TEXT_MAX = 4, 96
LONGEST = 4096  # bytes of a text, as the agent has it
TICKET = NAMES.index("ticket")
LIMITS = ModuleLimits(fuel=200_000, memory=1 << 20)
ENDLESS, ZERO = b"!", 0  # what makes `ticket` endless, and `checksum` trap

_HEAD = struct.Struct("<IB")  # job, steps
_DONE = struct.Struct("<IiI")  # job, 0 or what a plugin gave instead of bytes, jobs of the agent so far


def _callers() -> list[bytes]:
    digests, modules = load("plugins_caller")
    files = [CALLERS / f"caller_{language}.wasm" for language in LANGUAGES[1:]]
    return [modules[digests["plugins_caller"]], *(_read(file) for file in files)]


def _read(file: Path) -> bytes:
    if not file.exists():
        what = f"{file.parent.name}/{file.name}"
        raise Refused("the module is missing", what, "run `python -m harness.sdk.functions`")
    return file.read_bytes()


_modules = {hashlib.sha256(wasm).hexdigest(): wasm for wasm in _callers()}


def _capability(name: str) -> Capability:
    return plugin(name, Engine().load_bytes(_read(FUNCTIONS / f"{name}.wasm"), name), "transform", limits=LIMITS)


def _runs(text: bytes) -> bytes:
    packed = bytearray()
    for byte, group in groupby(text):
        count = len(list(group))
        packed += bytes([255, byte]) * (count // 255) + (bytes([count % 255, byte]) if count % 255 else b"")
    return bytes(packed)


# What each plugin must make of a text: bytes, or the number that its agent gets instead.
EXPECTED: tuple[Callable[[bytes], bytes | int], ...] = (
    lambda text: text.upper(),
    lambda text: TRAPPED if ZERO in text else text + zlib.crc32(text).to_bytes(4, "little"),
    _runs,
    lambda text: text[::-1],
    lambda text: LIMITED if text[:1] == ENDLESS else b"\x01",
)


def transformed(step: int, text: bytes) -> bytes | int:
    """What an agent gets from the plugin of this step."""
    found = EXPECTED[step % len(NAMES)](text)
    return TOO_LONG if isinstance(found, bytes) and len(found) > LONGEST else found


class Caller:
    """One agent in one life: what each step must do."""

    def __init__(self, agent: int) -> None:
        self.agent, self.seen = agent, 0

    def step(self, inbox: tuple[Message, ...]) -> list[Effect]:
        return [self._job(message.payload) for message in inbox if message.kind in (MESSAGE, INPUT)]

    def _job(self, payload: bytes) -> Effect:
        self.seen += 1
        job, count = _HEAD.unpack_from(payload)
        steps, text = payload[_HEAD.size :][:count], payload[_HEAD.size + count :]
        if not steps:
            return Effect("output", 0, _DONE.pack(job, 0, self.seen) + text)
        found = transformed(steps[0], text)
        if isinstance(found, int):
            return Effect("output", 0, _DONE.pack(job, found, self.seen))
        return Effect("send", (self.agent + 1) % AGENTS, _HEAD.pack(job, count - 1) + steps[1:] + found)


def _invariant(outcome: Outcome) -> list[str]:
    """Every step and every output is what it must be."""
    deliveries = Deliveries(outcome)
    violations = deliveries.violations
    callers = [Caller(agent) for agent in range(AGENTS)]
    for step in deliveries.steps:
        if step.status != "ok" or step.kind == "init":
            callers[step.agent] = Caller(step.agent)
        expected = callers[step.agent].step(step.inbox) if step.status == "ok" else []
        if list(step.effects) != expected:
            pairs = zip(step.effects, expected, strict=False)
            least = min(len(step.effects), len(expected))
            place = next((n for n, (done, due) in enumerate(pairs) if done != due), least)
            violations.append(f"tick {step.tick}, agent {step.agent}: call {place} is not what its jobs ask for")
    return violations + as_journaled(outcome)


def text_of(seed: int, key: int, length: int) -> bytes:
    """A text for each key, with runs in it; one in eight is endless to `ticket`, one in eight traps `checksum`."""
    stream = Stream(seed, f"plugins/text/{key}")
    kind = stream.between(0, 7)
    text = bytearray(ENDLESS if kind == 0 else b"")
    while len(text) < length:
        text += bytes([stream.between(97, 122)]) * stream.between(1, 9)
    text = text[:length]
    if kind == 1 and length:
        text[length // 2] = ZERO
    return bytes(text)


def _orders(seed: int) -> tuple[Order, ...]:
    """(tick, agent, steps, length, key)."""
    stream = Stream(seed, "plugins/jobs")
    return tuple(
        (
            stream.between(1, LAST_TICK - STEPS_MAX - 4),
            stream.between(0, AGENTS - 1),
            stream.between(1, STEPS_MAX),
            stream.between(0, TEXT_MAX),
            key,
        )
        for key in range(JOBS)
    )


def _compose(seed: int, number: int, order: Order) -> Action:
    _, agent, count, length, key = order
    stream = Stream(seed, f"plugins/steps/{key}")
    steps = bytes(stream.between(0, len(NAMES) - 1) for _ in range(count))
    return Send(agent, _HEAD.pack(number, count) + steps + text_of(seed, key, length))


PLUGINS = Scenario(
    name="plugins",
    title="Four agents carry out jobs by function modules; both are of C, Rust, AssemblyScript and WAT.",
    agents=tuple(
        AgentSpec(name=f"caller-{language}", module=digest, capabilities=("messages", "output", *NAMES))
        for language, digest in zip(LANGUAGES, _modules, strict=True)
    ),
    modules=_modules,
    config=lambda seed: Config(last_tick=LAST_TICK, seed=seed, snapshot_every=4),
    source="user",
    orders=_orders,
    bounds=((1, LAST_TICK - STEPS_MAX - 4), (0, AGENTS - 1), (0, STEPS_MAX), (0, TEXT_MAX), (0, 999)),
    compose=_compose,
    invariant=_invariant,
    capabilities=lambda: tuple(_capability(name) for name in NAMES),
)
