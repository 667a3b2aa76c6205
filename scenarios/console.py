"""`console`: agents that ask their host what compilers' libraries ask, by WASI (WAS-5), and let out what it answers.

The time must be the tick's, randomness the step's own and no other's, and what is written must find its log empty in
each step. None of that may depend on where a step runs, or how often. Not one of the default scenarios.
"""

from __future__ import annotations

import struct

from runtime.state import Action, AgentSpec, Config, Send
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.deliveries import Deliveries
from scenarios.streams import Stream

AGENTS = 3
LAST_TICK = 32
EPOCH_MS, TICK_MS = 1_800_000_000_000, 7
WRITTEN, LINES = 12_000, 2  # bytes and pieces of one step
RANDOM = 13  # bytes: one word, and a part of another

_TOLD = struct.Struct("<IIQQ13s3xIIQ")

_digests, _modules = load("console")


def _orders(seed: int) -> tuple[Order, ...]:
    """(tick, agent): two messages in most ticks."""
    stream = Stream(seed, "console/orders")
    return tuple((1 + n // 2, stream.between(0, AGENTS - 1)) for n in range(2 * (LAST_TICK - 3)))


def _compose(seed: int, number: int, order: Order) -> Action:
    return Send(order[1], struct.pack("<I", number))


def _config(seed: int) -> Config:
    return Config(epoch_ms=EPOCH_MS, last_tick=LAST_TICK, seed=seed, snapshot_every=8, tick_ms=TICK_MS)


def _invariant(outcome: Outcome) -> list[str]:
    """Each step was told the tick's time, bytes that no other step was, and that all it wrote was taken."""
    deliveries = Deliveries(outcome)
    violations, seen = list(deliveries.violations), set[bytes]()
    read, lines = [0] * AGENTS, [0] * AGENTS
    for step in deliveries.steps:
        if step.kind == "init" or step.status != "ok":
            read[step.agent] = lines[step.agent] = 0
            continue
        read[step.agent] += len(step.inbox)
        lines[step.agent] += LINES
        where = f"tick {step.tick}, agent {step.agent}"
        payloads = [effect.payload for effect in step.effects]
        if len(payloads) != 1 or len(payloads[0]) != _TOLD.size:
            violations.append(f"{where}: {len(payloads)} outputs")
            continue
        _, errors, count, clock, random, written, _, told = _TOLD.unpack(payloads[0])
        now = (EPOCH_MS + step.tick * TICK_MS) * 1_000_000
        if (errors, count, clock, written, told) != (0, read[step.agent], now, WRITTEN, lines[step.agent]):
            violations.append(f"{where}: errors {errors}, read {count}, at {clock}, wrote {written} in {told} lines")
        if random[:8] in seen or not any(random[8:]):
            violations.append(f"{where}: its random bytes are {random.hex()}")
        seen.add(random[:8])
    return violations


CONSOLE = Scenario(
    name="console",
    title="Agents ask for time, randomness and a console by WASI, and get what their step says.",
    agents=tuple(
        AgentSpec(name=f"console-{n}", module=_digests["console"], capabilities=("output", "random", "time", "wasi"))
        for n in range(AGENTS)
    ),
    modules=_modules,
    config=_config,
    source="user",
    orders=_orders,
    bounds=((1, LAST_TICK - 2), (0, AGENTS - 1)),
    compose=_compose,
    invariant=_invariant,
)
