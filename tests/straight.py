"""A run without drivers, pipes or disks: begin, one WorkerCore, commit, tick after tick; scenarios are tested with it.

Requests for inference go to one DeviceCore, those of equal shape together, when their results are due.

Steps can be made to fail at (tick, agent), as a decree does: their effects are dropped and supervision takes over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from runtime import buffers, requests
from runtime.fold import begin, commit, next_tick
from runtime.frames import Base, Done, Infer, InferenceItem, Inferred, Order, Output, Work, pack, unpack
from runtime.inference import DeviceCore, OrtModels
from runtime.state import AgentSpec, Effect, Inference, Input, Outcome, Request, State, StepRecord, View
from runtime.wasm import WasmGuests
from runtime.worker import BUFFER_SUMMARY, WorkerCore
from scenarios import Outcome as Judged
from scenarios import Scenario

MODELS = OrtModels()


class Segments:
    """Shared memory that nothing happens to."""

    def __init__(self) -> None:
        self.segments: dict[int, bytearray] = {}

    def reserve(self, segment: int, size: int) -> None:
        self.segments[segment] = bytearray(size)

    def store(self, segment: int, offset: int, data: bytes) -> None:
        self.segments[segment][offset : offset + len(data)] = data

    def load(self, segment: int, offset: int, length: int) -> bytes:
        return bytes(self.segments[segment][offset : offset + length])


class Modules:
    def __init__(self, scenario: Scenario) -> None:
        self._modules = {**scenario.modules, **scenario.models()}

    def get(self, digest: str) -> bytes:
        return self._modules[digest]


def run(
    scenario: Scenario, seed: int = 1, inputs: Iterable[Input] | None = None, failing: Collection[tuple[int, int]] = ()
) -> Judged:
    """The scenario to its last tick; `failing` are (tick, agent) whose steps fail, reloads apart."""
    memory = Segments()
    for index, spec in enumerate(scenario.config(seed).buffers):
        memory.reserve(index, buffers.segment_size(spec.capacity))
    worker = WorkerCore(1, WasmGuests(capabilities=scenario.capabilities()), memory, Modules(scenario))
    device = DeviceCore(1, MODELS, Modules(scenario))
    pending = [*scenario.genesis(seed), *(scenario.workload(seed) if inputs is None else inputs)]
    state, blocks, blobs, outputs = State(), [], {}, []
    while not state.finished:
        tick = next_tick(state, min((item.tick for item in pending), default=None))
        answers = infer(device, state, requests.due(state, tick))
        opened = begin(state, tick, [item for item in pending if item.tick <= tick], (), answers)
        pending = [item for item in pending if item.tick > tick]
        outcomes = {}
        for record in opened.records:
            outcome = _step(worker, memory, scenario, seed, record, state.agents[record.agent].spec)
            struck = (tick, record.agent) in failing and record.kind != "reload"
            outcomes[record.agent] = Outcome("planned", ()) if struck else outcome
        for task, record in enumerate(opened.records):
            sent = [e for e in outcomes[record.agent].effects if e.op == "output"]
            outputs += [Output(tick, task, i, record.agent, e.payload) for i, e in enumerate(sent)]
        committed = commit(state, opened, outcomes)
        blocks.append(committed.block)
        blobs |= dict(committed.blobs)
    worker.close()
    return Judged(outputs, blocks, [list(agent.mailbox) for agent in state.agents], blobs)


def infer(device: DeviceCore, state: State, due: Sequence[Request]) -> tuple[Inference, ...]:
    """The results of these requests in their order, those of equal shape computed together."""
    assert state.config is not None or not due
    batches: dict[tuple[int, int, int], list[Request]] = {}
    for request in due:
        batches.setdefault((request.model, len(request.tokens), request.position), []).append(request)
    results: dict[int, Inference] = {}
    for (model, _, position), batch in batches.items():
        assert state.config is not None
        sessions = [requests.session_of(state, request.agent, model) for request in batch]
        items = tuple(
            InferenceItem(request.id, position, request.tokens, session.kv if session else b"")
            for request, session in zip(batch, sessions, strict=True)
        )
        (answer,) = device.handle(pack(Infer(1, device.process, 1, state.config.models[model].digest, items)))
        inferred = unpack(answer)
        assert isinstance(inferred, Inferred) and not inferred.failure, inferred
        results |= {result.request: result for result in inferred.results}
    return tuple(results[request.id] for request in due)


def _step(
    worker: WorkerCore, memory: Segments, scenario: Scenario, seed: int, record: StepRecord, spec: AgentSpec
) -> Outcome:
    base = Base(spec, None, ()) if record.kind == "init" else None
    (answer,) = worker.handle(pack(Work(1, 1, 1, (Order(record, spec.limits.fuel, base),))))
    done = unpack(answer)
    assert isinstance(done, Done)
    (result,) = done.results
    assert not result.unserved, result
    effects = []
    for effect in result.effects:
        if effect.op == "buffer":
            crc, length = BUFFER_SUMMARY.unpack(effect.payload)
            capacity = scenario.config(seed).buffers[effect.target].capacity
            version = record.grants[0].version
            frame = buffers.read(memory, capacity, View(effect.target, version, length, crc, capacity))
            assert frame is not None
            effect = Effect("buffer", effect.target, frame)
        effects.append(effect)
    return Outcome(result.status, tuple(effects), result.image.digest if result.image else "")
