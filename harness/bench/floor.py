"""The floor: the least that any host of these agents does. One crossing per step with the same bytes in and out,
what left encoded and hashed once per tick; no faults, no recovery, no ordering beyond a list.

The bare crossing is less still: the same header and the same inbox are written and the module called, nothing is read
back. A floor above `FLOOR_MAX` bare crossings would flatter whatever is compared with it, and makes the ratio void.
"""

from __future__ import annotations

import hashlib
import time
from typing import NamedTuple

import msgspec

from runtime.state import INPUT, MESSAGE, OUTSIDE, Send
from runtime.wasm import raw
from runtime.wasm.abi import KINDS
from runtime.wasm.checks import link, load
from runtime.wasm.engine import driver
from runtime.wasm.modules import DRIVER_CALLS, HEADER, LIST_AT
from scenarios.base import Scenario

FLOOR_MAX = 2.5  # bare crossings

_LIMIT, _PAYLOAD_MAX, _FUEL = 64, 65_536, 100_000
_INBOX_AT = LIST_AT + _LIMIT * 16


class Peer:
    """One agent's instance, with nothing between it and the caller."""

    def __init__(self, scenario: Scenario, agent: int) -> None:
        spec = scenario.agents[agent]
        host, module = link(load(spec, scenario.modules[spec.module]))
        memory = host.memory("memory")
        imports = [module.export("memory"), host.export("memory"), *(module.export(name) for name in DRIVER_CALLS)]
        self.call = raw.Linked(host.store, driver(), imports).entry("run").call
        self.list = memory.view()
        self._kept = host, module


class Crossed(NamedTuple):
    """What a floor run leaves: the peers' last words, its chain, and the inboxes of its steps in their order."""

    outputs: list[bytes]
    chain: bytes
    inboxes: list[tuple[int, int, bytes]]  # tick, agent, the inbox as msgpack
    cpu_ns: int  # from the first step to the last, instances made before


def cross(scenario: Scenario, seed: int, record: bool = False) -> Crossed:
    """Run the work at the floor."""
    agents = len(scenario.agents)
    last = scenario.config(seed).last_tick
    peers = [Peer(scenario, agent) for agent in range(agents)]
    calls = [(peer.call, peer.list) for peer in peers]
    boxes = _first(scenario, seed, agents)
    kept: list[tuple[int, int, bytes]] = []
    sent = [(agent + 1) << 32 for agent in range(agents)]  # the number of each peer's last message
    outputs: list[bytes] = []
    chain = b""
    pack, encode, decode = HEADER.pack_into, msgspec.msgpack.encode, msgspec.msgpack.decode
    begun = time.process_time_ns()
    for tick in range(last + 1):
        kind = KINDS["init" if tick == 0 else "shutdown" if tick == last else "step"]
        entries = []
        arriving: list[list[Parcel]] = [[] for _ in range(agents)] if tick else boxes
        for agent, (call, shared) in enumerate(calls):
            inbox = b""
            if kind == 2:
                inbox = encode(boxes[agent])
                shared[_INBOX_AT : _INBOX_AT + len(inbox)] = inbox
            if record:
                kept.append((tick, agent, inbox))
            pack(
                shared, 0, 0, 0, tick, 0, 0,
                kind, 0, _INBOX_AT, agent, agents, 0, 0, _LIMIT, _PAYLOAD_MAX, 0, 0, 0, 0,
            )  # fmt: skip
            length = call(_FUEL) & 0xFFFFFFFF
            effects = bytes(shared[_INBOX_AT : _INBOX_AT + length])
            entries.append((agent, effects))
            for op, target, payload in decode(effects) if length else ():
                if op != "send":
                    outputs.append(payload)
                    continue
                sent[agent] += 1
                arriving[target].append((sent[agent], MESSAGE, agent, 0, payload))
        chain = hashlib.sha256(chain + encode((tick, entries))).digest()
        boxes = arriving
    return Crossed(outputs, chain, kept, time.process_time_ns() - begun)


Parcel = tuple[int, int, int, int, bytes]  # a message, as `runtime.state.Message` stands in a frame


def _first(scenario: Scenario, seed: int, agents: int) -> list[list[Parcel]]:
    """The inboxes of the first tick: what comes from outside."""
    boxes: list[list[Parcel]] = [[] for _ in range(agents)]
    for number, item in enumerate(scenario.workload(seed), 1):
        assert isinstance(item.action, Send)
        boxes[item.action.agent].append((number, INPUT, OUTSIDE, 0, item.action.payload))
    return boxes


def bare(scenario: Scenario, crossed: Crossed) -> int:
    """CPU ns of the same crossings with the same inboxes, nothing read back: the bound of the floor."""
    agents = len(scenario.agents)
    last = crossed.inboxes[-1][0]
    peers = [Peer(scenario, agent) for agent in range(agents)]
    calls = [(peer.call, peer.list) for peer in peers]
    pack = HEADER.pack_into
    begun = time.process_time_ns()
    for tick, agent, inbox in crossed.inboxes:
        call, shared = calls[agent]
        shared[_INBOX_AT : _INBOX_AT + len(inbox)] = inbox
        pack(
            shared, 0, 0, 0, tick, 0, 0,
            1 if not tick else 3 if tick == last else 2,
            0, _INBOX_AT, agent, agents, 0, 0, _LIMIT, _PAYLOAD_MAX, 0, 0, 0, 0,
        )  # fmt: skip
        call(_FUEL)
    return time.process_time_ns() - begun
