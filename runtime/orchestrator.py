"""The orchestrator: one tick after the other, as plain synchronous code over the ports (ORC-1).

`advance` does all that can be done now and says what it waits for. It never sleeps, knows no event loop and no
simulation. One object is one incarnation: it starts from disk alone, and whatever kills it, the next one continues
with the same journal. Guarantees: a block is committed in task order whatever order the answers came in; nothing
leaves before its block is synced; what is lost is run again from images and records that are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import google_crc32c
import msgspec

from runtime import buffers, fold, journal, recovery, snapshot, watermark
from runtime.durability import BLOBS, JOURNAL, Durability
from runtime.errors import FailStop, FrameRefused
from runtime.frames import Inputs, Order, Release, Result, pack, unpack
from runtime.physical import Physical
from runtime.pool import Pool
from runtime.ports import Ports
from runtime.residence import Residence
from runtime.snapshot import HeldImage
from runtime.state import Action, Decree, Effect, Input, Outcome, State, StepRecord
from runtime.telemetry import Hook, Telemetry
from runtime.watermark import Watermark
from runtime.worker import BUFFER_SUMMARY

LOCAL = "local"


class Wait(NamedTuple):
    """What `advance` waits for: any arrival at a port, or `deadline` (ns of the clock; None is no timer)."""

    deadline: int | None
    done: bool


class Orchestrator:
    """`due` says per source at which tick each of its inputs is due; those ticks wait for them."""

    def __init__(
        self,
        ports: Ports,
        physical: Physical,
        genesis: Sequence[Input],
        due: dict[str, tuple[int, ...]],
        header: dict[str, str | int] | None = None,
    ) -> None:
        self.ports, self.physical = ports, physical
        self.telemetry = Telemetry(ports.clock.now)
        self.phase = "boot"
        self._header = journal.header_bytes(header or {})
        self._due = dict(due)
        self._due["genesis"] = tuple(0 for _ in genesis)
        self._inputs: dict[tuple[str, int], Input] = {(i.source, i.n): i for i in genesis}
        self._local = 0
        self._boot_tickets: list[int] | None = None
        self._boot_steps = [self._read, self._settle_journal, self._raise_watermark, self._start]
        self.state = State()
        self._open: fold.Open | None = None
        self._outcomes: dict[int, Outcome] = {}
        self._images: dict[int, HeldImage] = {}
        self._decrees: list[Decree] = []
        self._decree_tickets: dict[int, Decree] = {}
        self._decree_end = 0
        self._residences: list[Residence] = []
        self._versions: dict[tuple[int, int], bytes] = {}
        self._releases: list[Release] = []
        self._released_at: list[int] = []
        self._unsent = 0  # index of the first block that this incarnation has not sent
        self._cursor = 0
        self._snapshots: dict[int, str] = {}  # ticket of the file's sync
        self._entries: dict[int, str] = {}  # ticket of its directory entry's sync
        self._kept: dict[str, list[str]] = {}
        self._recovered: recovery.Recovered | None = None

    # --- calls of ORC-1: each is an input of source "local", applied at the next tick ---------------------------

    def register_telemetry_hook(self, hook: Hook) -> None:
        self.telemetry.register(hook)

    def submit(self, action: Action) -> tuple[str, int]:
        """Queue an action for the next tick; (source, n) is its id, which the journal names once it is applied."""
        self._local = max(self._local, self.state.admitted.get(LOCAL, 0)) + 1
        self._inputs[LOCAL, self._local] = Input(action, self._local, LOCAL, 0)
        return LOCAL, self._local

    # --- control flow -----------------------------------------------------------------------------------------------

    @property
    def tick(self) -> int:
        return self._open.tick if self._open else self.state.tick

    def advance(self) -> Wait:
        """All that can be done now; raises FailStop when a check finds what cannot be repaired."""
        try:
            self._collect()
            while self._progress():
                pass
        except FailStop as stop:
            self.telemetry.emit("failstop", check=stop.check)
            raise
        return Wait(self._deadline(), self._done())

    def _done(self) -> bool:
        return self.phase == "admit" and self.state.finished and self._cursor >= self.state.block

    def _deadline(self) -> int | None:
        return self._pool.deadline() if self.phase == "await" else None

    def _progress(self) -> bool:
        if self.phase == "boot":
            return self._boot()
        if self.phase == "admit":
            return self._admit()
        self._pool.advance()
        self._decree()
        if self._open and len(self._outcomes) == len(self._open.records):
            self._commit()
            return True
        return False

    def _collect(self) -> None:
        for ticket in self.ports.storage.poll():
            self._synced(ticket)
        if self.phase == "boot":
            return
        for data in self.ports.gateway.poll():
            self._message(data)
        for result in self._pool.collect():
            self._take(result)
        self._pump()

    @contextmanager
    def _in(self, phase: str) -> Iterator[None]:
        """Name what is being done, for telemetry and for whoever asks where a port was called from."""
        outer, self.phase = self.phase, phase
        yield
        self.phase = outer

    # --- boot -------------------------------------------------------------------------------------------------------

    def _boot(self) -> bool:
        if self._boot_tickets:
            return False
        self._boot_tickets = self._boot_steps.pop(0)()
        if not self._boot_steps:
            self.phase = "admit"
        return True

    def _read(self) -> list[int]:
        self._recovered = recovery.load(self.ports.storage, self.telemetry)
        return []

    def _settle_journal(self) -> list[int]:
        """Cut what does not verify, and sync what does: it may not have been, and it is about to count."""
        found, storage = self._recovered, self.ports.storage
        assert found is not None
        if not found.lines:
            return []
        ends = {JOURNAL: found.journal_end, BLOBS: found.blob_end, recovery.DECREES: found.decree_end}
        for name, end in ends.items():
            storage.truncate(name, end)
        return [storage.sync(name) for name in ends]

    def _raise_watermark(self) -> list[int]:
        found, storage = self._recovered, self.ports.storage
        assert found is not None
        block, hash_ = (found.lines[-1].number, found.lines[-1].hash) if found.lines else (0, journal.GENESIS)
        mark = Watermark(found.mark.serial + 1, found.mark.incarnation + 1, block, hash_)
        offset, data = watermark.slot_bytes(mark)
        storage.write(watermark.NAME, offset, data)
        self._durability = Durability(storage, mark, found.header or self._header)
        self._durability.resume(found.journal_end, found.blob_end, found.blobs)
        self.telemetry.incarnation = mark.incarnation
        if not found.lines:
            for name, end in ((JOURNAL, 0), (BLOBS, 0), (recovery.DECREES, found.decree_end)):
                storage.write(name, 0, b"")
                storage.truncate(name, end)
        return [storage.sync(watermark.NAME), storage.sync_dir()]

    def _start(self) -> list[int]:
        found = self._recovered
        assert found is not None
        self.state, self._residences, self._versions = found.state, found.residences, found.versions
        self._releases = found.releases
        self._unsent = len(found.releases)
        self._released_at = [-self.physical.resend_ns] * self._unsent
        self._decrees = [d for d in found.decrees if d.tick > self.state.tick]
        self._decree_end = found.decree_end
        self._pool = Pool(self.ports, self.physical, self.telemetry.incarnation, self.telemetry, self._order)
        self.telemetry.tick = self.state.tick
        if found.lines:
            self._reserve()
            self.telemetry.emit("recovered", block=self.state.block, cut=found.cut, folded=found.folded)
        self._kept_from(self.ports.storage.names())
        self.telemetry.emit("started", block=self.state.block)
        self._recovered = None
        return []

    def _reserve(self) -> None:
        """The shared segments, in full, with what is published in them."""
        config = self.state.config
        assert config is not None
        for index, spec in enumerate(config.buffers):
            self.ports.memory.reserve(index, buffers.segment_size(spec.capacity))
            version = self.state.buffers[index].version
            if version:
                self._publish(index, version)

    def _publish(self, buffer: int, version: int) -> None:
        assert self.state.config is not None
        capacity = self.state.config.buffers[buffer].capacity
        buffers.write(self.ports.memory, buffer, capacity, version, self._versions[buffer, version])

    # --- admit, select, dispatch ------------------------------------------------------------------------------------

    def _message(self, data: bytes) -> None:
        try:
            frame = unpack(data)
        except FrameRefused:
            self.telemetry.emit("garbled", worker=-1)
            return
        if not isinstance(frame, Inputs):
            self.telemetry.emit("garbled", worker=-1)
            return
        if frame.cursor > self.state.block:
            raise FailStop("cursor", f"a client has seen block {frame.cursor} of {self.state.block}", "gateway")
        for item in frame.inputs:
            if item.n <= self.state.admitted.get(item.source, 0) or (item.source, item.n) in self._inputs:
                self.telemetry.emit("stale", worker=-1, lease=item.n, reason="input seen already")
            if item.source not in ("genesis", LOCAL):
                self._inputs[item.source, item.n] = item
        self._cursor = max(self._cursor, frame.cursor)
        self._send_releases(frame.cursor)

    def _admit(self) -> bool:
        ahead = self._durability.written - self._durability.durable
        allowed = 1 if self.ports.hazard("sync.one_block", self.state.block) else self.physical.sync_ahead
        if self.state.finished or ahead >= allowed:
            return False
        upcoming = self._next_due()
        tick = fold.next_tick(self.state, upcoming)
        inputs = self._due_at(tick)
        if inputs is None:
            return False
        decrees = tuple(d for d in self._decrees if d.tick == tick)
        first = self.state.config is None
        self._open = fold.begin(self.state, tick, inputs, decrees)
        for item in inputs:
            self._inputs.pop((item.source, item.n), None)
        self.telemetry.tick = tick
        self.telemetry.emit("opened")
        if first:
            self._reserve()
        self._residences += [Residence(a.spec) for a in self.state.agents[len(self._residences) :]]
        self._outcomes = {d.agent: Outcome(d.reason, ()) for d in decrees}
        self._images = {}
        with self._in("dispatch"):
            records = [r for r in self._open.records if r.agent not in self._outcomes]
            if records:
                self._pool.open(records)
        self.phase = "await"
        return True

    def _next_due(self) -> int | None:
        """The tick of the next input that any source owes, or that is waiting here."""
        ticks = []
        for source, schedule in self._due.items():
            admitted = self.state.admitted.get(source, 0)
            if admitted < len(schedule):
                ticks.append(schedule[admitted])
        if any(source == LOCAL for source, _ in self._inputs):
            ticks.append(self.state.tick + 1)
        return min(ticks, default=None)

    def _due_at(self, tick: int) -> list[Input] | None:
        """The inputs of a tick, or None while a source still owes one."""
        inputs = []
        for source in sorted(self._due):
            schedule = self._due[source]
            n = self.state.admitted.get(source, 0)
            while n < len(schedule) and schedule[n] <= tick:
                n += 1
                if (source, n) not in self._inputs:
                    return None
        for key in sorted(self._inputs):
            schedule = self._due.get(key[0], ())
            if key[0] == LOCAL or (key[1] <= len(schedule) and schedule[key[1] - 1] <= tick):
                inputs.append(self._inputs[key])
        return inputs

    def _order(self, record: StepRecord, with_base: bool) -> Order:
        residence = self._residences[record.agent]
        base = residence.base() if with_base or record.kind == "init" else None
        return Order(record, residence.spec.limits.fuel, base)

    # --- await ------------------------------------------------------------------------------------------------------

    def _take(self, result: Result) -> None:
        """One step's answer: repair what it lacked, or check what it brought and settle it."""
        if result.unserved == "diverged":
            where = f"agent {result.agent} step {result.detail[0]}"
            raise FailStop("replay", "a replayed step differs from the journal", where)
        if result.unserved == "corrupt":
            buffer, version = result.detail
            self.telemetry.emit("repaired", buffer=buffer, version=version)
            self._publish(buffer, version)
            self._pool.again(result.agent)
            return
        if result.unserved:
            self._pool.forget(result.agent)
            self._pool.again(result.agent)
            return
        try:
            effects = tuple(self._complete(result, effect) for effect in result.effects)
            if result.image:
                self._images[result.agent] = self._base_for(result).next_image(result.image)
        except FrameRefused:
            self._pool.again(result.agent)
            return
        image = result.image.digest if result.image else ""
        self.telemetry.emit(
            "stepped", agent=result.agent, n=result.n, status=result.status, fuel=result.fuel, replayed=result.replayed
        )
        self._outcomes[result.agent] = Outcome(result.status, effects, image)
        self._pool.done(result.agent)

    def _base_for(self, result: Result) -> Residence:
        residence = self._residences[result.agent]
        assert result.image is not None
        return residence if result.image.base else Residence(residence.spec)

    def _complete(self, result: Result, effect: Effect) -> Effect:
        """A buffer's effect with the bytes of its slot, which must be what the writer says it wrote."""
        if effect.op != "buffer":
            return effect
        assert self.state.config is not None
        crc, length = BUFFER_SUMMARY.unpack(effect.payload)
        capacity = self.state.config.buffers[effect.target].capacity
        version = self.state.buffers[effect.target].version + 1
        offset = buffers.offset_of(version, capacity) + buffers.HEAD
        data = self.ports.memory.load(effect.target, offset, length)
        if google_crc32c.value(data) != crc:
            self.telemetry.emit("rewritten", buffer=effect.target, version=version)
            raise FrameRefused("the writer's slot was altered", todo="it is filled again")
        return Effect("buffer", effect.target, data)

    def _decree(self) -> None:
        """End what repair cannot: a step that takes every worker with it. Synced before it has any effect."""
        for agent in self._pool.poisonous():
            decree = Decree(agent, "decree:lost_workers", self.tick)
            self._pool.done(agent)
            data = msgspec.json.encode(decree) + b"\n"
            self.ports.storage.write(recovery.DECREES, self._decree_end, data)
            self._decree_end += len(data)
            self._decree_tickets[self.ports.storage.sync(recovery.DECREES)] = decree
            self.telemetry.emit("decreed", agent=agent, reason=decree.reason)

    # --- commit, sync, release, snapshot ------------------------------------------------------------------------------

    def _commit(self) -> None:
        opened = self._open
        assert opened is not None
        with self._in("commit"):
            committed = fold.commit(self.state, opened, self._outcomes)
            self._durability.append(committed)
            self._keep(opened)
            block = self.state.block
            blobs = dict(committed.blobs)
            self._releases.append(recovery.release_of(block, committed.block, blobs))
            self._released_at.append(0)
            self.telemetry.emit("committed", block=block, steps=len(opened.records), messages=committed.messages)
        with self._in("snapshot"):
            self._snapshot(opened, committed.snapshot)
        self._open = None
        self.phase = "admit"
        self._pump()

    def _keep(self, opened: fold.Open) -> None:
        """Images, step records and buffer versions, for whoever must be restored."""
        for record in opened.records:
            outcome = self._outcomes[record.agent]
            data = {v.buffer: self._versions[v.buffer, v.version] for v in record.views}
            self._residences[record.agent].settle(record, outcome, self._images.get(record.agent), data)
            if outcome.status != "ok":
                self.telemetry.emit("failed", agent=record.agent, reason=outcome.status)
            for effect in outcome.effects:
                if effect.op == "buffer":
                    version = self.state.buffers[effect.target].version
                    self._versions[effect.target, version] = effect.payload
                    self._versions.pop((effect.target, version - buffers.SLOTS), None)

    def _snapshot(self, opened: fold.Open, encoded: bytes | None) -> None:
        for record in opened.records:
            image = self._images.get(record.agent)
            if image and self._outcomes[record.agent].status == "ok":
                content = snapshot.AgentFile(record.agent, image.image())
                self._write_snapshot(snapshot.agent_name(record.agent, record.n), snapshot.pack_file(content))
                self.telemetry.emit("snapshot", agent=record.agent, n=record.n)
        if encoded:
            state_file = snapshot.StateFile(self.state.block, encoded)
            self._write_snapshot(snapshot.state_name(self.state.block), snapshot.pack_file(state_file))
            self.telemetry.emit("snapshot", agent=-1, n=self.state.block)

    def _write_snapshot(self, name: str, data: bytes) -> None:
        storage = self.ports.storage
        if name in self._kept.get(name.rpartition("-")[0], []):
            storage.truncate(name, 0)  # a crash had taken back the step of which this is the image
        storage.write(name, 0, data)
        self._snapshots[storage.sync(name)] = name

    def _kept_from(self, names: list[str]) -> None:
        for name in sorted(names):
            if name.startswith(("agent-", "state-")):
                self._kept.setdefault(name.rpartition("-")[0], []).append(name)

    def _synced(self, ticket: int) -> None:
        if self.phase == "boot":
            if self._boot_tickets and ticket in self._boot_tickets:
                self._boot_tickets.remove(ticket)
        elif ticket in self._snapshots:
            self._entries[self.ports.storage.sync_dir()] = self._snapshots.pop(ticket)
        elif ticket in self._entries:
            self._prune(self._entries.pop(ticket))
        elif ticket in self._decree_tickets:
            decree = self._decree_tickets.pop(ticket)
            assert self._open is not None
            self._open.decrees += (decree,)
            self._outcomes[decree.agent] = Outcome(decree.reason, ())
        else:
            self._durability.completed(ticket)

    def _prune(self, name: str) -> None:
        """A snapshot is durable: of its kind only the newest ones stay."""
        kept = self._kept.setdefault(name.rpartition("-")[0], [])
        if name not in kept:
            kept.append(name)
        while len(kept) > self.physical.keep_snapshots:
            self.ports.storage.remove(kept.pop(0))

    def _pump(self) -> None:
        with self._in("sync"):
            durable = self._durability.pump()
        if durable:
            self.telemetry.emit("durable", block=self._durability.durable)
            self._send_releases(self._durability.durable)

    def _send_releases(self, cursor: int) -> None:
        """Every durable block that was not sent yet, and those that a client at `cursor` seems to have missed."""
        now = self.ports.clock.now()
        with self._in("release"):
            for index in range(min(cursor, self._unsent), self._durability.durable):
                if index >= self._unsent or now - self._released_at[index] >= self.physical.resend_ns:
                    self._released_at[index] = now
                    self.ports.gateway.send(pack(self._releases[index]))
                    self.telemetry.emit("released", block=index + 1)
            self._unsent = max(self._unsent, self._durability.durable)
