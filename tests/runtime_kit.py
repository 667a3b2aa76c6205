"""Small worlds for the tests of the runtime, each built by a constructor with defaults.

`World` folds ticks without workers; `written` makes a journal as durability writes it; `play` is a simulated run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from faults.plan import Plan, parse_fault
from harness.adapters.workers import Timing
from harness.assembly import World as World_
from harness.assembly import incarnate
from harness.history import History
from harness.simulation import Setting, Simulation
from runtime import journal
from runtime.fold import Committed, Open, begin, commit, next_tick
from runtime.journal import GENESIS
from runtime.orchestrator import Orchestrator
from runtime.physical import Physical
from runtime.ports import Call, Guest, GuestStep, StepArguments
from runtime.state import (
    Action,
    AgentSpec,
    AgentState,
    Config,
    Configure,
    Decree,
    Effect,
    Input,
    Operate,
    Outcome,
    Send,
    Spawn,
    State,
    StepRecord,
)
from scenarios.registry import get

SEED = 1
OK = Outcome("ok", ())


def config(**changes: Any) -> Config:
    return Config(**({"last_tick": 1000, "seed": SEED, "topics": ("news", "other")} | changes))


def agent(name: str = "a", **changes: Any) -> AgentSpec:
    return AgentSpec(**({"name": name, "capabilities": ("messages",), "module": "0" * 64} | changes))


def sends(*targets: int, payload: bytes = b"x") -> Outcome:
    return Outcome("ok", tuple(Effect("send", target, payload) for target in targets))


def failed(reason: str = "trap:unreachable") -> Outcome:
    return Outcome(reason, ())


class World:
    """A state moved by `begin` and `commit` alone; every step ends as `outcomes` says, else well and with nothing."""

    def __init__(self, *specs: AgentSpec, agents: int = 3, started: bool = True, **options: Any) -> None:
        self.state = State()
        self.blocks: list[journal.Block] = []
        self.blobs: dict[str, bytes] = {}
        self.snapshots: list[bytes | None] = []
        self.records: list[StepRecord] = []
        self._counts: dict[str, int] = {}
        chosen = specs or tuple(agent(f"a{n}") for n in range(agents))
        self.genesis = [Configure(config(**options)), *(Spawn(spec) for spec in chosen)]
        if started:
            self.tick(*self.genesis, source="genesis")

    def input(self, action: Action, source: str = "user", tick: int = 0) -> Input:
        self._counts[source] = self._counts.get(source, 0) + 1
        return Input(action, self._counts[source], source, tick)

    def tick(
        self,
        *actions: Action,
        outcomes: Mapping[int, Outcome] | None = None,
        source: str = "user",
        at: int | None = None,
        decrees: tuple[Decree, ...] = (),
    ) -> Committed:
        """The next tick in which anything is due, or `at`, with these actions admitted in it."""
        inputs = [self.input(action, source) for action in actions]
        due = self.state.tick + 1 if inputs else None
        return self.admit(inputs, next_tick(self.state, due) if at is None else at, outcomes, decrees)

    def admit(
        self,
        inputs: Iterable[Input],
        at: int,
        outcomes: Mapping[int, Outcome] | None = None,
        decrees: tuple[Decree, ...] = (),
    ) -> Committed:
        opened = begin(self.state, at, inputs, decrees)
        return self.close(opened, outcomes)

    def close(self, opened: Open, outcomes: Mapping[int, Outcome] | None = None) -> Committed:
        self.records = opened.records
        given = {record.agent: (outcomes or {}).get(record.agent, OK) for record in opened.records}
        committed = commit(self.state, opened, given)
        self.blocks.append(committed.block)
        self.blobs |= dict(committed.blobs)
        self.snapshots.append(committed.snapshot)
        return committed

    def operate(self, action: str, index: int) -> tuple[journal.Event, ...]:
        """An operator's action, and what its block says of it."""
        return self.tick(Operate(action, index)).block.events

    def agent(self, index: int) -> AgentState:
        return self.state.agents[index]

    def ran(self) -> list[int]:
        """Who ran in the last tick, in order."""
        return [record.agent for record in self.records]

    def inbox(self, index: int) -> list[bytes]:
        """The payloads that the agent was given in the last tick."""
        return [m.payload for record in self.records if record.agent == index for m in record.inbox]


def events(committed: Committed, kind: str) -> list[journal.Event]:
    return [event for event in committed.block.events if event[0] == kind]


def written(blocks: Sequence[journal.Block], header: bytes | None = None) -> bytes:
    """A journal file of these blocks."""
    data = journal.header_bytes({"scenario": "kit"}) if header is None else header
    prev = GENESIS
    for number, block in enumerate(blocks, 1):
        body = journal.encode_block(block)
        hash_ = journal.link(prev, body)
        data += journal.line_bytes(number, body, hash_, prev)
        prev = hash_
    return data


def busy_world(ticks: int = 8, seed: int = SEED) -> World:
    """A few ticks in which much happens: sends, large outputs, a failure and its restart, an operator."""
    world = World(agents=3, seed=seed, snapshot_every=4)
    for n in range(ticks - 1):
        outcomes = {
            0: Outcome("ok", (Effect("send", 1, bytes([n]) * 4), Effect("output", 0, bytes([n]) * 300))),
            1: failed() if n == 3 else sends(2, payload=b"to two"),
        }
        operated = Operate("pause" if n % 2 else "resume", 2)
        world.tick(Send(0, b"go"), Send(1, b"go"), operated, outcomes=outcomes)
    return world


# --- guests without wasm ------------------------------------------------------------------------------------------


class ScriptedGuest:
    """A module whose steps a test writes: `script(arguments, memory)` returns (status, calls); memory is one page."""

    def __init__(self, script: Any, fuel: int = 10) -> None:
        self._script, self._fuel = script, fuel
        self.bytes = bytearray(65_536)
        self.bits = [0]
        self.ran = 0
        self.closed = False

    def run(self, arguments: StepArguments) -> GuestStep:
        assert not self.closed
        self.ran += 1
        self.bits[0] += 1
        status, calls = self._script(arguments, self)
        return GuestStep(status, [Call(*call) for call in calls], self._fuel)

    def replay(self, records: object, fuel: int) -> None:
        return None

    def memory(self) -> memoryview:
        return memoryview(self.bytes)

    def globals(self) -> list[int]:
        return list(self.bits)

    def types(self) -> list[int]:
        return [0x7F] * len(self.globals())

    def restore(self, memory: bytes, globals: Sequence[int]) -> None:
        assert not self.ran
        self.bytes, self.bits = bytearray(memory), list(globals)

    def close(self) -> None:
        self.closed = True


class ScriptedGuests:
    """Instances in order of making."""

    def __init__(self, script: Any) -> None:
        self._script = script
        self.made: list[ScriptedGuest] = []

    def instantiate(self, agent: int, spec: AgentSpec, wasm: bytes, libraries: Sequence[bytes] = ()) -> Guest:
        self.made.append(ScriptedGuest(self._script))
        return self.made[-1]


class AnyArtifact:
    """Has every module."""

    def get(self, digest: str) -> bytes:
        return b"module"


# --- simulated runs -----------------------------------------------------------------------------------------------


def plan_of(scenario: str, *faults: str, seed: int = SEED, decrees: tuple[Decree, ...] = (), **physical: int) -> Plan:
    return Plan(
        scenario=scenario,
        seed=seed,
        inputs=get(scenario).workload(seed),
        faults=tuple(parse_fault(text) for text in faults),
        decrees=decrees,
        physical=Physical(**physical),
    )


def simulation(scenario: str, *faults: str, files: dict[str, bytes] | None = None, **options: Any) -> Simulation:
    """A run that has not begun; `files` is the disk it begins with."""
    return Simulation(
        get(scenario), plan_of(scenario, *faults, **options), Timing(), files, setting=Setting(counted=True)
    )


def play(scenario: str, *faults: str, files: dict[str, bytes] | None = None, **options: Any) -> History:
    return simulation(scenario, *faults, files=files, **options).run()


def booted(run: Simulation) -> Orchestrator:
    """The first incarnation of a run, constructed and about to advance, for who wants to watch it or to call it."""
    run._boot()
    assert run.orchestrator is not None
    return run.orchestrator


def port_calls(run: Simulation) -> int:
    """How many calls the present incarnation has made to its ports."""
    assert run._present is not None
    return run._present.fuse.calls


def carry_on(run: Simulation, until_ns: int = 10**12) -> History:
    """Drive a run that was `booted` to its end, or to this moment."""
    run.client.start()
    run.loop.run(until_ns, 10**6)
    run._collect()
    return run.history


def restored(run: Simulation, exported: bytes) -> Orchestrator:
    """As `booted`, through `Orchestrator.restore`."""
    world = World_(run.loop, run.timing, run.scenario, run.plan, run.injector, run.history, run._wake)
    run._present = incarnate(world, run.disk, run.client)
    genesis = run.scenario.genesis(run.plan.seed)
    run.orchestrator = Orchestrator.restore(exported, run._present.ports, run.plan.physical, genesis, run._due)
    run._wake()
    return run.orchestrator


@cache
def twin(scenario: str) -> History:
    history = play(scenario)
    assert history.finished and not history.failure
    return history


def told(history: History, kind: str) -> list[dict[str, int | str]]:
    return [record.fields for record in history.trace if record.kind == kind]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
