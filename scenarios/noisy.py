"""`noisy`: four agents of one tenant do their work beside a tenant whose agents do all that they can against it.

One loops for ever, one takes all memory, two flood a mailbox and a channel, one forges handles, one imports what it was
not granted, and one more does not fit into what its tenant may have. What the four let out, and when,
must be what it is without those neighbours: `quiet` is that run, and the invariant computes it from the inputs alone.
"""

from __future__ import annotations

import dataclasses
import struct
from collections import defaultdict

import msgspec

from runtime.journal import Block
from runtime.state import Action, AgentSpec, ChannelSpec, Config, Limits, Send, TenantSpec
from scenarios.base import Order, Outcome, Scenario, load
from scenarios.deliveries import Deliveries
from scenarios.folds import OFFSET, mix
from scenarios.streams import Stream

WORKERS = 4
LOOP, BOMB, FLOOD, FLOOD_2, FORGE, UNDECLARED = range(WORKERS, WORKERS + 6)
CRAFT, ROWDY = 0, 1
LAST_TICK = 28
FUEL, MEMORY = 200_000, 1 << 20  # of one agent
MAILBOX = 60
TENANTS = 3  # those of none are one as well: what a mailbox holds is shared among them

_OUTPUT = struct.Struct("<IIQQ")  # 1, agent, inputs, digest; at shutdown 2, agent, posts heard, what they mix to

_KINDS = ("worker", "loop", "bomb", "flood", "forge", "undeclared")
_digests, _modules = load(*(f"noisy_{kind}" for kind in _KINDS))


def _spec(name: str, kind: str, tenant: int, *capabilities: str, memory: int = MEMORY, fuel: int = FUEL) -> AgentSpec:
    limits = Limits(fuel=fuel, memory=memory)
    module = _digests[f"noisy_{kind}"]
    return AgentSpec(name=name, module=module, capabilities=capabilities, limits=limits, tenant=tenant)


def _orders(seed: int) -> tuple[Order, ...]:
    """(tick, agent, number): three inputs for a worker in most ticks."""
    stream = Stream(seed, "noisy/inputs")
    return tuple((1 + n // 3, stream.between(0, WORKERS - 1), stream.between(0, 1 << 30)) for n in range(60))


def _compose(seed: int, number: int, order: Order) -> Action:
    return Send(order[1], struct.pack("<Q", order[2]))


def _config(seed: int) -> Config:
    """Tasks of a tick suffice for all four workers and what the noisy tenant may have."""
    return Config(
        channels=(ChannelSpec(name="work", members=tuple(range(WORKERS)), closed=True),),
        last_tick=LAST_TICK,
        mailbox=MAILBOX,
        max_restarts=LAST_TICK,
        max_tasks_per_tick=3 * WORKERS,
        seed=seed,
        snapshot_every=8,
        tenants=(
            TenantSpec(name="craft"),
            TenantSpec(name="noisy", fuel=5 * FUEL, memory=7 * MEMORY, messages=56, tasks=3),
        ),
    )


def _wanted(blocks: tuple[Block, ...]) -> dict[int, list[tuple[int, bytes]]]:
    """Per worker the outputs that it must make, with their ticks: from the inputs and nothing else.

    Inputs are read in the tick that admits them, and posts in the tick after, workers in order of number.
    """
    inputs: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))  # tick -> worker -> values
    last = blocks[-1].tick
    for block in blocks:
        for item in block.inputs:
            if isinstance(item.action, Send) and item.action.agent < WORKERS:
                inputs[block.tick][item.action.agent].append(struct.unpack("<Q", item.action.payload)[0])
    digests, heard = [OFFSET] * WORKERS, [OFFSET] * WORKERS
    done, posts = [0] * WORKERS, [0] * WORKERS
    wanted: dict[int, list[tuple[int, bytes]]] = {worker: [] for worker in range(WORKERS)}
    for tick in sorted(inputs):
        if tick >= last:
            continue  # the last tick's inputs find everyone shutting down
        for worker in range(WORKERS):
            for value in inputs[tick][worker]:
                digests[worker] = mix(digests[worker], value)
                done[worker] += 1
                wanted[worker].append((tick, _OUTPUT.pack(1, worker, done[worker], digests[worker])))
                for other in range(WORKERS):
                    if other != worker and tick + 1 < last:
                        heard[other] = mix(heard[other], digests[worker])
                        posts[other] += 1
    for worker in range(WORKERS):
        wanted[worker].append((last, _OUTPUT.pack(2, worker, posts[worker], heard[worker])))
    return wanted


def _flooded(blocks: tuple[Block, ...]) -> bool:
    """Whether clients send so much in one tick that mailboxes would refuse some of it without any neighbour."""
    sent = [sum(isinstance(item.action, Send) for item in block.inputs) for block in blocks]
    return max(sent) * 2 > MAILBOX // TENANTS


def _invariant(outcome: Outcome) -> list[str]:
    """Every worker's outputs are those without the neighbours, in the same ticks.

    Only failed steps of workers excuse it, or more work than their own mailboxes hold.
    """
    violations = list(Deliveries(outcome).violations)
    blocks = tuple(outcome.blocks)
    if not blocks or _flooded(blocks) or any(s.status != "ok" for b in blocks for s in b.steps if s.agent < WORKERS):
        return violations
    for worker, wanted in _wanted(blocks).items():
        got = [(output.tick, output.payload) for output in outcome.outputs if output.agent == worker]
        for one, due in zip(got, wanted, strict=False):
            if one != due:
                violations.append(f"agent {worker}: output {_shown(one)} where it is due {_shown(due)}")
                break
        if len(got) != len(wanted):
            violations.append(f"agent {worker}: {len(got)} outputs, {len(wanted)} are due")
    return violations


def _shown(one: tuple[int, bytes]) -> str:
    return f"{one[1][:24].hex()} in tick {one[0]}"


NOISY = Scenario(
    name="noisy",
    title="Workers post in a channel beside a tenant that loops, floods, forges and takes all memory.",
    agents=(
        *(_spec(f"worker-{n}", "worker", CRAFT, "topics", "output") for n in range(WORKERS)),
        _spec("loop", "loop", ROWDY, "timers", fuel=4 * FUEL),
        _spec("bomb", "bomb", ROWDY, "timers"),
        _spec("flood", "flood", ROWDY, "messages", "topics", "timers"),
        _spec("flood-2", "flood", ROWDY, "messages", "topics", "timers"),
        _spec("forge", "forge", ROWDY, "messages", "topics", "timers", "buffers"),
        _spec("undeclared", "undeclared", ROWDY, "messages"),
        _spec("one-too-many", "bomb", ROWDY, "timers", memory=2 * MEMORY),  # its tenant has no memory left for it
    ),
    modules=_modules,
    config=_config,
    source="user",
    orders=_orders,
    bounds=((1, LAST_TICK - 4), (0, WORKERS - 1), (0, 1 << 30)),
    compose=_compose,
    invariant=_invariant,
)


def _shares_config(seed: int) -> Config:
    return msgspec.structs.replace(_config(seed), max_tasks_per_tick=1)


def _delivered(outcome: Outcome) -> list[str]:
    return list(Deliveries(outcome).violations)


SHARES = dataclasses.replace(
    NOISY,
    name="shares",
    title="The agents of `noisy` in ticks that are too short for all of them: tenants take turns.",
    config=_shares_config,
    invariant=_delivered,
    profile="transparent",  # with so short a tick each agent's turn depends on every other's, failing ones included
)


def quiet(scenario: Scenario = NOISY) -> Scenario:
    """The same without the noisy tenant's agents: what the others do must be equal."""
    return dataclasses.replace(
        scenario,
        name="quiet",
        agents=scenario.agents[:WORKERS],
        modules={scenario.agents[0].module: scenario.modules[scenario.agents[0].module]},
    )
