"""The state of a run at any tick, from its journal alone: blocks folded anew, modules fed their step records (STA-3).

Nothing of it is taken from a snapshot. Each block goes through the runtime's own `begin` and `commit` and must come out
as the bytes that the journal has; an agent's memory is that of a fresh instance that has run the agent's steps again,
each compared with the journal. What does not come out the same is refused and named, never shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from harness.adapters.memory import SimMemory
from harness.assembly import ModuleArtifacts
from harness.kept import Kept
from runtime import buffers, fold, journal
from runtime.errors import FailStop, Refused
from runtime.frames import Base, Done, Order, Replay, Work, outcome_sum, pack, unpack
from runtime.guards import Guards
from runtime.snapshot import HeldImage
from runtime.state import AgentSpec, Change, Outcome, State, StepRecord
from runtime.wasm import WasmGuest, WasmGuests
from runtime.wasm.capabilities import Capability
from runtime.worker import WorkerCore

WORKER = 1


class Memory(NamedTuple):
    """An agent's linear memory and mutable globals (raw bits); `digest` is that of an image, as the journal has it."""

    digest: str
    data: bytes
    globals: tuple[int, ...]


Step = tuple[StepRecord, Outcome]  # the views of the record hold the bytes that the step read


class Refolded:
    """A run as it was after the last block at or before `tick`; `block` is that block's number, 0 before the first.

    Raises Refused for a tick beyond the run's end, for damage before it, and where this build folds another block.
    """

    def __init__(self, kept: Kept, tick: int) -> None:
        self.kept, self.tick = kept, tick
        self._guards = Guards(ModuleArtifacts(kept.scenario))
        self.state, self.block = State(), 0
        self._lives: dict[int, list[Step]] = {}  # the steps of each agent's present life
        self._specs: dict[int, AgentSpec] = {}  # with which that life began
        self._published: dict[tuple[int, int], bytes] = {}
        verified = journal.read(kept.journal)
        reached = verified.lines[-1].block.tick if verified.lines else -1
        if tick > reached:
            until = f"; then {verified.damage}" if verified.damage else ""
            raise Refused(
                f"tick {tick} is beyond the run, whose last tick is {reached}{until}", kept.name, "ask before"
            )
        for line in verified.lines:
            if line.block.tick > tick:
                break
            self._fold(line)

    def _fold(self, line: journal.Line) -> None:
        block, blobs = line.block, self.kept.blobs
        where = f"{self.kept.name}, block {line.number}"
        try:
            inferences = tuple(journal.inference_of(entry, blobs) for entry in block.inferences)
            opened = fold.begin(self.state, block.tick, block.inputs, block.decrees, inferences, self._guards)
            outcomes = {
                step.agent: Outcome(step.status, tuple(journal.effect_of(e, blobs) for e in step.effects), step.image)
                for step in block.steps
            }
            body = journal.encode_block(fold.commit(self.state, opened, outcomes).block)
        except (FailStop, KeyError, IndexError, ValueError) as error:
            raise Refused(f"cannot be folded: {error}", where, "give the build that wrote it by --build") from None
        if body != line.body:
            what = "this build makes another block of the same inputs and outcomes"
            raise Refused(what, where, "give the build that wrote it by --build, or an earlier tick")
        self.block = line.number
        self._settle(opened.records, outcomes)

    def _settle(self, records: list[StepRecord], outcomes: dict[int, Outcome]) -> None:
        """Keep each step for the instance that may have to run it again; then publish what the steps wrote."""
        for record in records:
            outcome = outcomes[record.agent]
            if record.change is not None:
                self._reload(record, record.change, outcome)
                continue
            if record.kind == "init":
                self._specs[record.agent] = self.state.agents[record.agent].spec
            life = [] if record.kind == "init" else self._lives.get(record.agent, [])
            views = tuple(replace(view, data=self._published[view.buffer, view.version]) for view in record.views)
            life.append((replace(record, views=views), outcome))
            self._lives[record.agent] = life if outcome.status == "ok" else []
        for record in records:
            for effect in outcomes[record.agent].effects:
                if effect.op == "buffer":
                    version = next(g.version for g in record.grants if g.buffer == effect.target)
                    self._published[effect.target, version] = effect.payload

    def _reload(self, record: StepRecord, change: Change, outcome: Outcome) -> None:
        """A step of the life where it took a state over; one that was rolled back is a step that does nothing."""
        life = self._lives.get(record.agent)
        if not life or not change.carried:
            return
        if outcome.status != "ok":
            record, outcome = replace(record, change=None), Outcome("ok", ())
        life.append((record, outcome))

    def memory(self, agent: int) -> Memory | None:
        """The agent's memory, from a fresh instance that ran its steps again; None for one that has no instance.

        Raises Refused where a step does not do again what the journal says it did.
        """
        life = self._lives.get(agent)
        if not life:
            return None
        guests, segments = _Guests(self.kept.scenario.capabilities()), SimMemory()
        config = self.state.config
        for index, spec in enumerate(config.buffers if config else ()):
            segments.reserve(index, buffers.segment_size(spec.capacity))
        core = WorkerCore(WORKER, guests, segments, ModuleArtifacts(self.kept.scenario))
        *earlier, (record, outcome) = life
        replays = tuple(Replay(r, outcome_sum(o.status, o.effects), o.image) for r, o in earlier)
        first = self._specs[agent]  # that of the life's first step; reloads are among the others
        order = Order(record, first.limits.fuel, Base(first, None, replays))
        (answer,) = core.handle(pack(Work(0, WORKER, 1, (order,))))
        done = unpack(answer)
        assert isinstance(done, Done)
        result = done.results[0]
        image = result.image.digest if result.image else ""
        if result.unserved or (result.status, image) != (outcome.status, outcome.image):
            what = f"agent {agent} does not do again what the journal says of its step {result.detail[0] or record.n}"
            raise Refused(what, f"{self.kept.name}, tick {record.tick}", "give the build that wrote it by --build")
        guest = guests.made[-1]
        held, data, bits = HeldImage(), bytes(guest.memory()), tuple(guest.globals())
        held.take(record.n, memoryview(data), bits)
        core.close()
        return Memory(held.digest, data, bits)


class _Guests(WasmGuests):
    """Instances as they ship, and a list of those that were made."""

    def __init__(self, capabilities: tuple[Capability, ...]) -> None:
        super().__init__(capabilities=capabilities)
        self.made: list[WasmGuest] = []

    def instantiate(self, agent: int, spec: AgentSpec, wasm: bytes, libraries: Sequence[bytes] = ()) -> WasmGuest:
        guest = super().instantiate(agent, spec, wasm, libraries)
        self.made.append(guest)
        return guest
