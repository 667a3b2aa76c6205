"""The orchestrator: one tick after the other, as plain synchronous code over the ports (ORC-1).

`advance` does all that can be done now and says what it waits for. It never sleeps, knows no event loop and no
simulation. One object is one incarnation: it starts from disk alone, and whatever kills it, the next one continues
with the same journal. Guarantees: a block is committed in task order whatever order the answers came in; nothing
leaves before its block is synced; what is lost is run again from images and records that are compared.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

import google_crc32c
from msgspec import Struct

from runtime import buffers, exports, fold, journal, recovery, requests
from runtime.archive import Archive
from runtime.boot import Boot
from runtime.calls import Calls, within
from runtime.config import refuse_bad
from runtime.errors import FailStop, FrameRefused, Refused, SyncFailed
from runtime.frames import Inputs, Order, Result, unpack
from runtime.guards import Guards
from runtime.intake import Intake
from runtime.patience import PatientStorage
from runtime.physical import Physical
from runtime.pool import Pool
from runtime.ports import Ports
from runtime.releases import Releases
from runtime.residence import Residence, kept
from runtime.router import Router
from runtime.snapshot import HeldImage
from runtime.state import Decree, Effect, Inference, Input, Outcome, Request, State, StepRecord
from runtime.steady import SteadyClock
from runtime.telemetry import Telemetry
from runtime.worker import BUFFER_SUMMARY

DECREED = {"lease": "decree:deadline", "cancel": "decree:cancelled"}  # by what ended the step; else it lost workers


class Wait(Struct, frozen=True, gc=False):
    """What `advance` waits for: any arrival at a port, or `deadline` (ns of the clock; None is no timer)."""

    deadline: int | None
    done: bool


class Orchestrator(Calls):
    """`due` says per source at which tick each of its inputs is due; those ticks wait for them.

    Raises Refused, with all that is wrong, when the options of the genesis or the physical ones are bad.
    """

    def __init__(
        self,
        ports: Ports,
        physical: Physical,
        genesis: Sequence[Input],
        due: dict[str, tuple[int, ...]],
        header: dict[str, str | int] | None = None,
    ) -> None:
        refuse_bad(genesis, physical)
        self.telemetry = Telemetry(ports.clock.now)
        self._clock = SteadyClock(ports.clock, physical.resend_ns)
        ports = ports._replace(clock=self._clock)
        self.ports, self.physical = ports, physical
        self.phase = "boot"
        self._intake = Intake(genesis, due)
        self._guards = Guards(ports.artifacts)
        self._storage = PatientStorage(ports.storage, ports.clock.now, self.telemetry, physical.resend_ns)
        self._boot = Boot(self._storage, self.telemetry, journal.header_bytes(header or {}), ports.hazard, self._guards)
        self.state = State()
        self._open: fold.Open | None = None
        self._outcomes: dict[int, Outcome] = {}
        self._images: dict[int, HeldImage] = {}
        self._decrees: list[Decree] = []
        self._decree_tickets: dict[int, Decree] = {}
        self._decree_end = 0
        self._residences: list[Residence] = []
        self._versions: dict[tuple[int, int], bytes] = {}
        self._router: Router | None = None

    @classmethod
    def restore(
        cls,
        exported: bytes,
        ports: Ports,
        physical: Physical,
        genesis: Sequence[Input],
        due: dict[str, tuple[int, ...]],
    ) -> Orchestrator:
        """One that goes on from another instance's `snapshot_state()`, on an empty disk; raises Refused."""
        refuse_bad(genesis, physical)
        exports.write(ports.storage, exported)
        return cls(ports, physical, genesis, due)

    # --- control flow -----------------------------------------------------------------------------------------------

    @property
    def tick(self) -> int:
        return self._open.tick if self._open else self.state.tick

    def advance(self) -> Wait:
        """All that can be done now; raises FailStop when a check finds what cannot be repaired.

        Raises SyncFailed when what counts could not be made durable: this incarnation is over, and the next one, from
        the same disk, goes on in new files.
        """
        wrong = self._clock.read()
        if wrong:
            self.telemetry.emit("clock", ns=wrong)
        try:
            self._collect()
            while self._progress():
                pass
        except FrameRefused as refused:  # those that arrive are refused where they are read
            self.telemetry.emit("failstop", check="frame", block=-1)
            raise FailStop("frame", refused.what, refused.where) from None
        except FailStop as stop:
            self.telemetry.emit("failstop", check=stop.check, block=stop.block)
            raise
        done = self.phase == "admit" and self.state.finished and self._releases.cursor >= self.state.block
        return Wait(self._clock.until(self._deadline()), done)

    def _deadline(self) -> int | None:
        deadline = self._storage.deadline()
        if self.phase == "await":
            deadline = _earlier(deadline, self._pool.deadline())
        if self._router is not None:
            deadline = _earlier(deadline, self._router.deadline())
        return deadline

    def _progress(self) -> bool:
        if self.phase == "boot":
            if self._boot.done:
                self._start()
                return True
            return self._boot.advance()
        if self._router is not None:
            self._router.advance()
        if self.phase == "admit":
            return self._admit()
        if self._open and len(self._outcomes) == len(self._open.records):
            self._commit()
            return True
        if self._pool.advance():
            self._decree()
        return False

    def _collect(self) -> None:
        tickets = self._completed()
        for ticket in tickets:
            self._synced(ticket)
        if self.phase == "boot":
            return
        for data in self.ports.gateway.poll():
            self._message(data)
        results = self._pool.collect()
        if results:
            self._take(results)
        if self._router is not None:
            self._router.collect()
        if tickets:
            self._pump()

    def _completed(self) -> list[int]:
        """Tickets of completed syncs; a snapshot whose sync failed is done without, anything else is the end."""
        while True:
            try:
                return self._storage.poll()
            except SyncFailed as failed:
                if self.phase == "boot" or not self._archive.failed(failed.ticket):
                    self.telemetry.emit("unsynced", file=failed.file)
                    raise

    # --- boot -------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Everything durable: take over what the disk held."""
        found = self._boot.found
        self.state, self._residences, self._versions = found.state, found.residences, found.versions
        self._durability = self._boot.durability
        self._releases = Releases(
            self.ports.gateway,
            self.ports.clock.now,
            self.physical.resend_ns,
            self.telemetry,
            found.releases,
            self.ports.hazard,
        )
        self._archive = Archive(self._storage, self.telemetry, self.physical.keep_snapshots, self.ports.hazard)
        self._decrees = [d for d in found.decrees if d.tick > self.state.tick]
        self._decree_end = len(found.kept[recovery.DECREES])
        self._pool = Pool(self.ports, self.physical, self.telemetry.incarnation, self.telemetry, self._orders)
        self.telemetry.tick = self.state.tick
        if found.lines:
            self._reserve()
            self.telemetry.emit("recovered", block=self.state.block, cut=found.cut, folded=found.folded)
        self.telemetry.emit("started", block=self.state.block)
        self._request()
        self.phase = "admit"
        del self._boot  # and with it the whole journal, read and decoded

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
        if not isinstance(frame, Inputs) or frame.cursor < 0:
            self.telemetry.emit("garbled", worker=-1)
            return
        if frame.cursor > self.state.block:
            raise FailStop("cursor", f"a client has seen block {frame.cursor} of {self.state.block}", "gateway")
        for item in frame.inputs:
            if not self._intake.offer(item, self.state):
                self.telemetry.emit("stale", worker=-1, lease=item.n, reason="input seen already")
        self._releases.seen(frame.cursor)
        self._release(frame.cursor)

    def _admit(self) -> bool:
        ahead = self._durability.written - self._durability.durable
        if self.state.finished or ahead >= self.physical.sync_ahead:
            return False
        if ahead and self.ports.hazard("sync.one_block", self.state.block):
            return False
        tick = fold.next_tick(self.state, self._intake.next_tick(self.state))
        inputs = self._intake.due_at(tick, self.state)
        if inputs is None:
            return False
        inferences = self._inferences(tick) if self.state.requests else ()
        if inferences is None:
            return False
        decrees = tuple([d for d in self._decrees if d.tick == tick]) if self._decrees else ()
        first = self.state.config is None
        self._open = fold.begin(self.state, tick, inputs, decrees, inferences, self._guards)
        self._intake.admitted(inputs)
        self.telemetry.tick = tick
        self.telemetry.emit("opened")
        if first:
            self._reserve()
        if len(self._residences) < len(self.state.agents):
            self._residences += [Residence(a.spec) for a in self.state.agents[len(self._residences) :]]
        self._outcomes = {d.agent: Outcome(d.reason, ()) for d in self._open.decrees} if self._open.decrees else {}
        self._images = {}
        self.phase = "dispatch"
        records = self._open.records
        if self._outcomes:
            records = [r for r in records if r.agent not in self._outcomes]
        if records:
            self._pool.open(records)
        self.phase = "await"
        return True

    def _inferences(self, tick: int) -> tuple[Inference, ...] | None:
        """The results that a tick delivers, or None while a device still owes one."""
        waiting = requests.due(self.state, tick)
        if not waiting:
            return ()
        if self._router is None:
            raise FailStop("inference", "a request is due and there is no device port", f"tick {tick}")
        return self._router.results(waiting)

    def _request(self) -> None:
        """Give the router what is asked for now; results come back by the tick in which they are due."""
        config = self.state.config
        if config is None or not config.models or self.ports.accelerators is None:
            return
        if self._router is None:
            self._router = Router(
                self.ports.accelerators,
                self.ports.clock,
                self.physical,
                self.telemetry.incarnation,
                self.telemetry,
                lambda model: config.models[model].digest,
                self._kv_of,
                self.ports.hazard,
            )
        self._router.want(self.state.requests)

    def _kv_of(self, request: Request) -> bytes:
        session = requests.session_of(self.state, request.agent, request.model)
        return session.kv if session else b""

    def _orders(self, records: Sequence[StepRecord], held: Container[int]) -> list[Order]:
        """The orders for these steps; `held` are the agents whose worker has them as the step before left them."""
        residences = self._residences
        orders = []
        for record in records:
            residence = residences[record.agent]
            base = None if record.agent in held and record.kind != "init" else residence.base()
            orders.append(Order(record, residence.spec.limits.fuel, base))
        return orders

    # --- await ------------------------------------------------------------------------------------------------------

    def _take(self, results: Sequence[Result]) -> None:
        """Steps' answers: repair what one lacked, or check what it brought and settle it."""
        outcomes, plain, told = self._outcomes, not self.state.buffers, self.telemetry.steps
        settled: list[int] = []
        for result in results:
            if result.unserved:
                self._repair(result)
                continue
            outcome = Outcome(result.status, result.effects)
            if result.image or not plain:
                try:
                    outcome = self._checked(result)
                except FrameRefused:
                    self._pool.again(result.agent)
                    continue
            if told:
                self.telemetry.emit(
                    "stepped",
                    agent=result.agent,
                    n=result.n,
                    status=result.status,
                    fuel=result.fuel,
                    replayed=result.replayed,
                )
            outcomes[result.agent] = outcome
            settled.append(result.agent)
        self._pool.done(*settled)

    def _checked(self, result: Result) -> Outcome:
        """The outcome with its effects' bytes, and with its image, which is held from now on; raises FrameRefused."""
        effects = result.effects
        if self.state.buffers:
            effects = tuple([self._complete(result, effect) for effect in effects])
        image = ""
        if result.image:
            self._images[result.agent] = self._base_for(result).next_image(result.image)
            image = result.image.digest
        return Outcome(result.status, effects, image)

    def _repair(self, result: Result) -> None:
        if result.unserved == "diverged":
            where = f"agent {result.agent} step {result.detail[0]}"
            raise FailStop("replay", "a replayed step differs from the journal", where)
        if result.unserved == "corrupt":
            buffer, version = result.detail
            self.telemetry.emit("repaired", buffer=buffer, version=version)
            self._publish(buffer, version)
            self._pool.again(result.agent)
        elif result.unserved == "refused":
            self._pool.unable(result.agent)
        else:
            self._pool.forget(result.agent)
            self._pool.again(result.agent)

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

    def cancel_step(self, agent: int) -> bool:
        """End the step that the agent is in: it fails as `decree:cancelled`, which the next `advance` begins to sync.

        False where it is in none; its effects and its memory are discarded as of any step that fails. Unlike an action
        this is no input: it strikes in mid-tick, so it is journaled as a decree.
        """
        if self.phase == "boot":
            raise Refused("there is no pool yet", "cancel_step", "wait for the record `started`")
        return self.phase == "await" and self._pool.cancel(within("agent", agent))

    def _decree(self) -> None:
        """End what repair cannot: a step that takes every worker with it, or ends none of its leases; or is cancelled.

        Synced before it has any effect.
        """
        for agent in self._pool.poisonous():
            decree = Decree(agent, DECREED.get(self._pool.cause(agent), "decree:lost_workers"), self.tick)
            self._pool.done(agent)
            data = recovery.decree_line(decree)
            self._storage.write(recovery.DECREES, self._decree_end, data)
            self._decree_end += len(data)
            self._decree_tickets[self._storage.sync(recovery.DECREES)] = decree
            self.telemetry.emit("decreed", agent=agent, reason=decree.reason)

    # --- commit, sync, release, snapshot ------------------------------------------------------------------------------

    def _commit(self) -> None:
        opened = self._open
        assert opened is not None
        self.phase = "commit"
        committed = fold.commit(self.state, opened, self._outcomes)
        self._durability.append(committed)
        self._keep(opened)
        block = self.state.block
        self._releases.add(recovery.release_of(block, committed.block, dict(committed.blobs)))
        self.telemetry.emit("committed", block=block, steps=len(opened.records), messages=committed.messages)
        self.phase = "snapshot"
        if self._images or committed.snapshot:
            self._snapshot(opened, committed.snapshot)
        self._open = None
        self.phase = "admit"
        self._request()
        self._pump()

    def _keep(self, opened: fold.Open) -> None:
        """Images, step records and buffer versions, for whoever must be restored."""
        outcomes, images, residences = self._outcomes, self._images, self._residences
        for record in opened.records:
            outcome = outcomes[record.agent]
            if outcome.status == "ok" and not (record.snapshot or record.views or record.grants):
                residences[record.agent].since.append(kept(record, outcome))  # the way of nearly every step
                continue
            data = {v.buffer: self._versions[v.buffer, v.version] for v in record.views} if record.views else {}
            residences[record.agent].settle(record, outcome, images.get(record.agent), data)
            if record.change is not None:
                self.telemetry.emit("reload", agent=record.agent, version=record.change.version, status=outcome.status)
            elif outcome.status != "ok":
                self.telemetry.emit("failed", agent=record.agent, reason=outcome.status)
            for effect in outcome.effects if record.grants else ():
                if effect.op == "buffer":
                    version = self.state.buffers[effect.target].version
                    self._versions[effect.target, version] = effect.payload
                    self._versions.pop((effect.target, version - buffers.SLOTS), None)

    def _snapshot(self, opened: fold.Open, encoded: bytes | None) -> None:
        for record in opened.records:
            image = self._images.get(record.agent)
            if image and self._outcomes[record.agent].status == "ok":
                self._archive.agent(record.agent, image)
        if encoded:
            self._archive.state(self.state.block, encoded)
            if self.ports.usage is not None:
                used = self.ports.usage()
                self.telemetry.emit("usage", cpu_ns=used.cpu_ns, rss_bytes=used.rss_bytes)

    def _synced(self, ticket: int) -> None:
        if self.phase == "boot":
            self._boot.completed(ticket)
        elif self._durability.completed(ticket) or self._archive.completed(ticket):
            return
        elif ticket in self._decree_tickets:
            decree = self._decree_tickets.pop(ticket)
            assert self._open is not None
            self._open.decrees += (decree,)
            self._outcomes[decree.agent] = Outcome(decree.reason, ())

    def _pump(self) -> None:
        # A phase within a phase: a death leaves it as it is, so that it can be asked where it happened.
        outer, self.phase = self.phase, "sync"
        durable = self._durability.pump()
        self.phase = outer
        if durable:
            self.telemetry.emit("durable", block=self._durability.durable)
            self._release(self._durability.durable)

    def _release(self, cursor: int) -> None:
        outer, self.phase = self.phase, "release"
        self._releases.send(cursor, self._durability.durable)
        self.phase = outer


def _earlier(one: int | None, other: int | None) -> int | None:
    """The earlier of two times, of which either may be none."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
