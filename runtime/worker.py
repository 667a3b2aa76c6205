"""WorkerCore: runs steps in module instances; bytes in, bytes out, no clock and no pipe of its own.

It runs step n of an agent only after n - 1, answers a repeated n from its cache, and refuses any other. A restored
agent is compared: the image with its digest, each replayed step with the outcome that the journal holds; a difference
is reported, never run on. A frame that does not verify is counted and dropped: its sender sends it again.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import google_crc32c
from msgspec.structs import replace

from runtime import buffers
from runtime.errors import FrameRefused, ModuleRefused
from runtime.frames import APART, Base, Done, Order, Result, Work, pack, unpack
from runtime.ports import Artifacts, Call, Guest, Guests, Memory, StepArguments
from runtime.snapshot import HeldImage, memory_of
from runtime.state import BUFFER, AgentSpec, Effect, StepRecord, outcome_digest

_ENVELOPE = struct.Struct("<IIQII")
BUFFER_SUMMARY = struct.Struct("<II")  # crc, length


def envelope(kind: int, sender: int, seq: int, channel: int, payload: bytes) -> bytes:
    """A message as it lies in an agent's memory (docs/abi.md)."""
    return _ENVELOPE.pack(kind, sender, seq, channel, len(payload)) + payload


class Hosted:
    """One agent on this worker: its instance (None after a failed step), and its last step's answer."""

    def __init__(self, spec: AgentSpec, guest: Guest | None, n: int) -> None:
        self.spec, self.guest, self.n = spec, guest, n
        self.image = HeldImage()
        self.answer: Result | None = None
        self.written: dict[int, tuple[int, int, bytes]] = {}  # buffer -> capacity, version, bytes


class WorkerCore:
    """`handle` takes one frame and returns the frames to send back. `fuel_spent` counts all fuel ever used."""

    def __init__(self, worker: int, guests: Guests, memory: Memory, artifacts: Artifacts) -> None:
        self.worker = worker
        self._guests, self._memory, self._artifacts = guests, memory, artifacts
        self._hosted: dict[int, Hosted] = {}
        self.fuel_spent = 0
        self.garbled = 0

    def handle(self, data: bytes) -> list[bytes]:
        try:
            frame = unpack(data)
        except FrameRefused:
            self.garbled += 1
            return []
        if not isinstance(frame, Work) or frame.worker != self.worker:
            self.garbled += 1
            return []
        results = tuple([self._apart(o) if o.check == APART else self._serve(o) for o in frame.orders])
        try:
            return [pack(Done(frame.incarnation, self.worker, frame.lease, results))]
        except FrameRefused:  # together too large: the others are asked for again, one by one
            return [pack(Done(frame.incarnation, self.worker, frame.lease, results[:1]))]

    def close(self) -> None:
        for hosted in self._hosted.values():
            if hosted.guest:
                hosted.guest.close()
        self._hosted.clear()

    def _apart(self, order: Order) -> Result:
        """The step in an instance of its own, from what the order brings alone; the hosted agent stays as it is."""
        agent = order.record.agent
        kept = self._hosted.pop(agent, None)
        try:
            return self._serve(order)
        finally:
            self._discard(agent)
            if kept:
                self._hosted[agent] = kept

    def _serve(self, order: Order) -> Result:
        record = order.record
        hosted = self._hosted.get(record.agent)
        if hosted is not None and hosted.n == record.n and hosted.answer is not None:
            self._store(hosted)
            return hosted.answer
        before = self.fuel_spent
        replayed = 0
        if record.kind == "init":
            if order.base is None or (hosted and hosted.n >= record.n):
                return _unserved(record, "behind", hosted.n if hosted else 0)
            try:
                hosted = self._fresh(record.agent, order.base.spec, record.n - 1)
            except ModuleRefused as refused:
                return self._refused(record, order.base.spec, refused.check)
        elif hosted is None or hosted.guest is None or hosted.n != record.n - 1:
            if order.base is None or (hosted and hosted.n > record.n):
                return _unserved(record, "behind", hosted.n if hosted else 0)
            try:
                restored = self._restore(record.agent, order.base, order.fuel)
            except ModuleRefused:  # it loaded when the agent began, so nothing logical has changed
                return _unserved(record, "refused", 0)
            if isinstance(restored, int):
                return _unserved(record, "diverged", restored)
            hosted, replayed = restored, len(order.base.replay)
            if hosted.n != record.n - 1:
                return _unserved(record, "behind", hosted.n)
        payloads = self._views(record) if record.views else {}
        if isinstance(payloads, tuple):
            return Result(record.agent, record.n, "", (), None, 0, 0, "corrupt", payloads)
        status, effects = self._run(hosted, record, order.fuel, payloads)
        return self._answer(hosted, order, status, effects, self.fuel_spent - before, replayed)

    def _discard(self, agent: int) -> None:
        old = self._hosted.pop(agent, None)
        if old and old.guest:
            old.guest.close()

    def _fresh(self, agent: int, spec: AgentSpec, n: int) -> Hosted:
        self._discard(agent)
        try:
            wasm = self._artifacts.get(spec.module)
        except KeyError:
            raise ModuleRefused("digest", f"no artefact {spec.module[:12]}", spec.name) from None
        guest = self._guests.instantiate(agent, spec, wasm)
        hosted = self._hosted[agent] = Hosted(spec, guest, n)
        return hosted

    def _refused(self, record: StepRecord, spec: AgentSpec, check: str) -> Result:
        """A module that fails a load check: its init fails by that check's name, and nothing of it ran."""
        hosted = self._hosted[record.agent] = Hosted(spec, None, record.n)
        hosted.answer = Result(record.agent, record.n, f"refused:{check}", (), None, 0, 0)
        return hosted.answer

    def _restore(self, agent: int, base: Base, fuel: int) -> Hosted | int:
        """The agent as it was before its next step, in a fresh instance; or the step whose replay differed."""
        hosted = self._fresh(agent, base.spec, base.image.n if base.image else 0)
        guest = hosted.guest
        assert guest is not None
        if base.image:
            guest.restore(memory_of(base.image), base.image.globals)
            hosted.image.take(base.image.n, guest.memory(), guest.globals())
            if hosted.image.digest != base.image.digest:
                self._discard(agent)
                return base.image.n
        for replay in base.replay:
            record = replay.record
            payloads = {view.buffer: view.data or b"" for view in record.views}
            status, effects = self._run(hosted, record, fuel, payloads)
            same = outcome_digest(status, effects) == replay.digest
            if same and replay.image and guest is hosted.guest:
                same = _digest_now(guest) == replay.image
            if not same or hosted.guest is None:
                self._discard(agent)
                return record.n
            hosted.n = record.n
        return hosted

    def _views(self, record: StepRecord) -> Mapping[int, bytes] | tuple[int, int]:
        """The bytes of each version the step reads, copied then checked; or the first (buffer, version) that is bad."""
        payloads: dict[int, bytes] = {}
        for view in record.views:
            data = view.data if view.data is not None else buffers.read(self._memory, view.capacity, view)
            if data is None:
                return view.buffer, view.version
            payloads[view.buffer] = data
        return payloads

    def _run(
        self, hosted: Hosted, record: StepRecord, fuel: int, payloads: Mapping[int, bytes]
    ) -> tuple[str, tuple[Effect, ...]]:
        """One step of the instance; a failure closes it, as its memory is discarded."""
        guest = hosted.guest
        assert guest is not None
        put = _ENVELOPE.pack  # `envelope`, without a call for each
        inbox = [put(m.kind, m.sender, m.seq, m.channel, len(m.payload)) + m.payload for m in record.inbox]
        if record.views:
            inbox += [envelope(BUFFER, 0, v.version, v.buffer, payloads[v.buffer]) for v in record.views]
        step = guest.run(
            StepArguments(
                record.kind,
                record.tick,
                record.agent,
                record.now_ms,
                record.random_key,
                record.agents,
                record.topics,
                record.buffers,
                record.send_limit,
                record.max_payload,
                fuel,
                inbox,
                0,
                record.models,
            )
        )
        self.fuel_spent += step.fuel
        status = step.status
        effects: tuple[Effect, ...] = ()
        if status == "ok":
            status, effects = _effects(record, guest.memory(), step.calls)
        if status != "ok":
            guest.close()
            hosted.guest = None
        return status, effects

    def _answer(
        self, hosted: Hosted, order: Order, status: str, effects: tuple[Effect, ...], fuel: int, replayed: int
    ) -> Result:
        record, image = order.record, None
        if record.snapshot and hosted.guest:
            image = hosted.image.take(record.n, hosted.guest.memory(), hosted.guest.globals())
        hosted.n = record.n
        sent = self._publish(hosted, record, effects, order.check != APART) if record.grants else effects
        hosted.answer = Result(record.agent, record.n, status, sent, image, fuel, replayed)
        if order.check:
            state = _digest_now(hosted.guest) if hosted.guest else ""
            hosted.answer = replace(hosted.answer, state=state)
        return hosted.answer

    def _publish(
        self, hosted: Hosted, record: StepRecord, effects: tuple[Effect, ...], store: bool
    ) -> tuple[Effect, ...]:
        """Fill the slots that the step was granted; the effects with a summary in place of the bytes."""
        grants = {grant.buffer: grant for grant in record.grants}
        hosted.written = {
            e.target: (grants[e.target].capacity, grants[e.target].version, e.payload)
            for e in effects
            if e.op == "buffer"
        }
        crcs = self._store(hosted) if store else {b: google_crc32c.value(w[2]) for b, w in hosted.written.items()}
        return tuple(
            Effect(e.op, e.target, BUFFER_SUMMARY.pack(crcs[e.target], len(e.payload))) if e.op == "buffer" else e
            for e in effects
        )

    def _store(self, hosted: Hosted) -> dict[int, int]:
        """Fill the private slots with what the last step wrote; again when it is asked for again."""
        return {
            buffer: buffers.write(self._memory, buffer, capacity, version, data)
            for buffer, (capacity, version, data) in hosted.written.items()
        }


def _effects(record: StepRecord, memory: memoryview, calls: list[Call]) -> tuple[str, tuple[Effect, ...]]:
    """The calls' effects with their bytes; every range is checked, and one bad range fails the step."""
    effects = []
    size = len(memory)
    written: set[int] = set()
    for op, target, pointer, length in calls:
        if pointer + length > size:
            return "bad_pointer", ()
        if op == "buffer":
            grant = next((g for g in record.grants if g.buffer == target), None)
            if grant is None or target in written:
                return "not_writer" if grant is None else "second_write", ()
            if length > grant.capacity:
                return "bad_length", ()
            written.add(target)
        effects.append(Effect(op, target, bytes(memory[pointer : pointer + length])))
    return "ok", tuple(effects)


def _digest_now(guest: Guest) -> str:
    image = HeldImage()
    image.take(0, guest.memory(), guest.globals())
    return image.digest


def _unserved(record: StepRecord, why: str, n: int) -> Result:
    return Result(record.agent, record.n, "", (), None, 0, 0, why, (n, 0))
