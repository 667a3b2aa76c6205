"""`naive`: the same agents run by a program as one would write it by hand today, to compare the runtime with.

A simpy process per agent, simpy Stores as mailboxes, wasmtime's public calls, a JSON log line per step. Workers die:
every agent that a dead worker held is made anew from its last snapshot and fed again with what it had consumed since.
It does without frames, leases, syncs, chains and checks. What it must have in common with the runtime is the end: the
same last words and the same memories and globals, bit for bit.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Generator, Iterable
from typing import Any, NamedTuple

import simpy
import wasmtime

from runtime.state import INPUT, MESSAGE, OUTSIDE, Send, sequence
from scenarios.base import Scenario

NAIVE_MAX = 20.0  # times the floor; a slower one would be a straw man

GLOBALS = ("sent", "top", "over")  # exported by the agent in the order of their indices
_ENVELOPE = struct.Struct("<IIQII")
_INBOX_AT = 1024

Kill = tuple[int, int]  # tick, agent: the worker that holds this agent dies before this step's answer is in


class Ended(NamedTuple):
    """What a run leaves, by agent: last words, sha256 of the memory, globals."""

    outputs: list[bytes]
    memories: list[str]
    globals: list[tuple[int, ...]]
    redone: int
    log: str


class _Agent:
    """One agent's instance, its last snapshot and what it has consumed since."""

    def __init__(self, program: Naive, number: int) -> None:
        self.program, self.number = program, number
        self.mailbox = simpy.Store(program.env)
        self.sends: list[tuple[int, bytes]] = []
        self.outputs: list[bytes] = []
        self.count = 0
        self.image: tuple[bytes, tuple[int, ...]] | None = None
        self.since: list[tuple[int, list[bytes]]] = []
        self.make()

    def make(self) -> None:
        engine = self.program.engine
        self.store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        i32 = wasmtime.ValType.i32()
        linker.define_func("engine", "send", wasmtime.FuncType([i32, i32, i32], [i32]), self._send)
        linker.define_func("engine", "output", wasmtime.FuncType([i32, i32], [i32]), self._output)
        exports: Any = linker.instantiate(self.store, self.program.module).exports(self.store)
        self.memory = exports["memory"]
        self.cells = [exports[name] for name in GLOBALS]
        self.turn, self.shutdown = exports["turn"], exports["agent_shutdown"]
        exports["agent_init"](self.store)

    def _send(self, target: int, pointer: int, length: int) -> int:
        self.sends.append((target, bytes(self.memory.read(self.store, pointer, pointer + length))))
        return 0

    def _output(self, pointer: int, length: int) -> int:
        self.outputs.append(bytes(self.memory.read(self.store, pointer, pointer + length)))
        return 0

    def run(self, tick: int, inbox: list[bytes]) -> None:
        """One step in one call, with the inbox in one piece."""
        joined = b"".join(inbox)
        self.memory.write(self.store, joined, _INBOX_AT)
        self.turn(self.store, tick, len(joined))

    def globals(self) -> tuple[int, ...]:
        return tuple(cell.value(self.store) for cell in self.cells)

    def snapshot(self) -> None:
        self.image = bytes(self.memory.read(self.store)), self.globals()
        self.since = []

    def restore(self) -> int:
        """The agent anew: from its snapshot, fed with what it has consumed since; what it sends then was sent before.

        Returns the number of steps that were done again.
        """
        self.make()
        if self.image is not None:
            memory, values = self.image
            self.memory.write(self.store, memory, 0)
            for cell, value in zip(self.cells, values, strict=True):
                cell.set_value(self.store, value)
        for tick, inbox in self.since:
            self.run(tick, inbox)
        self.sends.clear()
        return len(self.since)


class Naive:
    """One run: `workers` hold the agents in turn; snapshots of an agent every `snapshot_every` ticks, staggered."""

    def __init__(self, scenario: Scenario, seed: int, kills: Iterable[Kill], workers: int = 2) -> None:
        self.scenario = scenario
        config = scenario.config(seed)
        self.last, self.snapshot_every, self.workers = config.last_tick, config.snapshot_every, workers
        self.kills = list(kills)
        self.env = simpy.Environment()
        self.log = io.StringIO()
        self.redone = 0
        self.engine, self.module = _compiled(next(iter(scenario.modules.values())))
        self.agents = [_Agent(self, number) for number in range(len(scenario.agents))]
        for number, item in enumerate(scenario.workload(seed), 1):
            assert isinstance(item.action, Send)
            head = _ENVELOPE.pack(INPUT, OUTSIDE, number, 0, len(item.action.payload))
            self.agents[item.action.agent].mailbox.put((OUTSIDE, number, head + item.action.payload))

    def run(self) -> Ended:
        for agent in self.agents:
            self.env.process(self._live(agent))
        self.env.run()
        for agent in self.agents:
            agent.shutdown(agent.store)
        memories = [hashlib.sha256(agent.memory.read(agent.store)).hexdigest() for agent in self.agents]
        outputs = [output for agent in self.agents for output in agent.outputs]
        return Ended(outputs, memories, [a.globals() for a in self.agents], self.redone, self.log.getvalue())

    def _live(self, agent: _Agent) -> Generator[simpy.Event, Any, None]:
        """A tick is two units of time: in the first everybody reads and steps, in the second the messages go out."""
        for tick in range(1, self.last):
            yield self.env.timeout(1)
            messages = []
            while agent.mailbox.items:
                messages.append((yield agent.mailbox.get()))
            messages.sort(key=lambda message: message[:2])
            inbox = [data for _, _, data in messages]
            if (tick, agent.number) in self.kills:
                self._kill(agent, tick, inbox)
            agent.run(tick, inbox)
            agent.since.append((tick, inbox))
            line = {
                "agent": agent.number,
                "inbox": [number for _, number, _ in messages],
                "sends": [[target, payload.hex()] for target, payload in agent.sends],
                "tick": tick,
            }
            self.log.write(json.dumps(line, sort_keys=True) + "\n")
            if tick % self.snapshot_every == agent.number % self.snapshot_every:
                agent.snapshot()
            yield self.env.timeout(1)
            for target, payload in agent.sends:
                agent.count += 1
                number = sequence(agent.number, agent.count)
                head = _ENVELOPE.pack(MESSAGE, agent.number, number, 0, len(payload))
                yield self.agents[target].mailbox.put((agent.number, number, head + payload))
            agent.sends.clear()

    def _kill(self, agent: _Agent, tick: int, inbox: list[bytes]) -> None:
        """The worker dies with this step done and its answer lost; all that it held is made anew."""
        agent.run(tick, inbox)
        agent.sends.clear()
        self.redone += 1
        for other in self.agents[agent.number % self.workers :: self.workers]:
            waiting = list(other.sends)
            self.redone += other.restore()
            other.sends = waiting


_modules: dict[bytes, tuple[wasmtime.Engine, wasmtime.Module]] = {}


def _compiled(wasm: bytes) -> tuple[wasmtime.Engine, wasmtime.Module]:
    """Compiled once per process, as the runtime's modules are."""
    if wasm not in _modules:
        engine = wasmtime.Engine()
        _modules[wasm] = engine, wasmtime.Module(engine, wasm)
    return _modules[wasm]


def naive(scenario: Scenario, seed: int, kills: Iterable[Kill] = (), workers: int = 2) -> Ended:
    """Run the work the naive way."""
    return Naive(scenario, seed, kills, workers).run()
