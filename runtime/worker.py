"""WorkerCore: runs steps in module instances; bytes in, bytes out, no clock and no pipe of its own.

It runs step n of an agent only after n - 1, answers a repeated n from its cache, and refuses any other. A restored
agent is compared: the image with its digest, each replayed step with the outcome that the journal holds; a difference
is reported, never run on. A frame that does not verify is counted and dropped: its sender sends it again.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter

import google_crc32c
import msgspec

from runtime import buffers, carried
from runtime.errors import FrameRefused, ModuleRefused
from runtime.frames import (
    APART,
    NO_EFFECTS,
    Answer,
    Answers,
    ReadBase,
    ReadOrder,
    ReadReplay,
    StepArguments,
    arguments_of,
    effects_of,
    effects_sum,
    inbox_of,
    outcome_sum,
    pack,
    packed_effects,
    packed_inbox,
    unpack_work,
)
from runtime.ports import Artifacts, Call, Guest, Guests, GuestStep, Memory
from runtime.snapshot import HeldImage, memory_of
from runtime.state import BUFFER, AgentSpec, Effect, Message

BUFFER_SUMMARY = struct.Struct("<II")  # crc, length
_UNPREPARED = ("init", "reload")  # steps that make an instance
_NOTHING: dict[int, bytes] = {}  # what a step without views reads


class Hosted:
    """One agent on this worker: its instance (None after a failed step), and its last step's answer."""

    __slots__ = ("answer", "guest", "image", "n", "spec", "written")  # one for every agent, met in every tick

    def __init__(self, spec: AgentSpec, guest: Guest | None, n: int) -> None:
        self.spec, self.guest, self.n = spec, guest, n
        self.image = HeldImage()
        self.answer: Answer | None = None
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
            frame = unpack_work(data)
        except FrameRefused:
            self.garbled += 1
            return []
        if frame.worker != self.worker:
            self.garbled += 1
            return []
        answers = tuple([self._apart(o) if o.check == APART else self._serve(o) for o in frame.orders])
        try:
            return [pack(Answers(frame.incarnation, self.worker, frame.lease, answers))]
        except FrameRefused:  # together too large: the others are asked for again, one by one
            return [pack(Answers(frame.incarnation, self.worker, frame.lease, answers[:1]))]

    def close(self) -> None:
        for hosted in self._hosted.values():
            if hosted.guest:
                hosted.guest.close()
        self._hosted.clear()

    def _apart(self, order: ReadOrder) -> Answer:
        """The step in an instance of its own, from what the order brings alone; the hosted agent stays as it is."""
        agent = order.record.agent
        kept = self._hosted.pop(agent, None)
        try:
            return self._serve(order)
        finally:
            self._discard(agent)
            if kept:
                self._hosted[agent] = kept

    def _serve(self, order: ReadOrder) -> Answer:
        record = order.record
        hosted = self._hosted.get(record.agent)
        if (
            hosted is not None
            and hosted.n == record.n - 1
            and hosted.guest is not None
            and record.kind not in _UNPREPARED
        ):
            return self._step(hosted, order, self.fuel_spent, 0)
        return self._unprepared(hosted, order)

    def _unprepared(self, hosted: Hosted | None, order: ReadOrder) -> Answer:
        """A step of an agent that is not here as the step before left it: repeated, first, restored, or impossible.

        A reload as well, wherever its agent is.
        """
        record = order.record
        if hosted is not None and hosted.n == record.n and hosted.answer is not None:
            self._store(hosted)
            return hosted.answer
        before = self.fuel_spent
        if record.kind == "reload":
            if record.change is not None and not record.change.carried:
                self._discard(record.agent)
                hosted = self._hosted[record.agent] = Hosted(record.change.spec, None, record.n - 1)
            if hosted is not None and hosted.n == record.n - 1:
                return self._reload(hosted, order, before, 0)
        if order.base is None or (hosted and hosted.n >= record.n):
            return _unserved(record, "behind", hosted.n if hosted else 0)
        if record.kind == "init":
            try:
                fresh = self._fresh(record.agent, order.base.spec, record.n - 1)
            except ModuleRefused as refused:
                return self._refused(record, order.base.spec, refused.check)
            return self._step(fresh, order, before, 0)
        try:
            restored = self._restore(record.agent, order.base, order.fuel)
        except ModuleRefused:  # it loaded when the agent began, so nothing logical has changed
            return _unserved(record, "refused", 0)
        if isinstance(restored, int):
            return _unserved(record, "diverged", restored)
        if restored.n != record.n - 1:
            return _unserved(record, "behind", restored.n)
        if record.kind == "reload":
            return self._reload(restored, order, before, len(order.base.replay))
        return self._step(restored, order, before, len(order.base.replay))

    def _step(self, hosted: Hosted, order: ReadOrder, before: int, replayed: int) -> Answer:
        """The step, of an agent that is here as the step before left it."""
        record = order.record
        payloads = self._views(record) if record.views else _NOTHING
        if isinstance(payloads, tuple):
            return Answer(record.agent, record.n, "", NO_EFFECTS, None, 0, 0, "corrupt", payloads)
        if hosted.guest is not None and not record.views:  # nearly every step
            record.fuel = order.fuel
            status, effects = self._ended(hosted, record, hosted.guest.run(record))
        else:
            status, effects = self._run(hosted, record, order.fuel, payloads)
        image = None
        if record.snapshot and hosted.guest:
            image = hosted.image.take(record.n, hosted.guest.memory(), hosted.guest.globals())
        hosted.n = record.n
        if record.grants:
            effects = self._publish(hosted, record, effects_of(effects), order.check != APART)
        fuel = self.fuel_spent - before
        if order.check:
            state = _digest_now(hosted.guest) if hosted.guest else ""
            answer = Answer(record.agent, record.n, status, effects, image, fuel, replayed, state=state)
        else:
            answer = Answer(record.agent, record.n, status, effects, image, fuel, replayed)
        hosted.answer = answer
        return answer

    def _reload(self, hosted: Hosted, order: ReadOrder, before: int, replayed: int) -> Answer:
        """The agent goes on in its new module, and an image of it is taken; or in the old one, as it was."""
        record, image = order.record, None
        try:
            status, effects = self._change(hosted, record, order.fuel)
        except ModuleRefused as refused:
            status, effects = f"refused:{refused.check}", NO_EFFECTS
        guest = hosted.guest
        if record.change is not None and status == "ok" and guest:
            image = hosted.image.take(record.n, guest.memory(), guest.globals())
        state = _digest_now(guest) if order.check and guest else ""
        hosted.n = record.n
        hosted.answer = Answer(
            record.agent, record.n, status, effects, image, self.fuel_spent - before, replayed, state=state
        )
        return hosted.answer

    def _change(self, hosted: Hosted, record: StepArguments, fuel: int) -> tuple[str, msgspec.Raw]:
        """Put a new instance in the old one's place once it has taken the state over; raises ModuleRefused.

        Nothing of the old one is touched before that, so a failure leaves it as it was.
        """
        change = record.change
        if change is None:
            return "ok", NO_EFFECTS
        fresh = Hosted(change.spec, self._instance(record.agent, change.spec), hosted.n)
        old = hosted.guest
        if old is None or fresh.guest is None:
            if fresh.guest:
                fresh.guest.close()
            return "ok", NO_EFFECTS
        record.carried = carried.pack(old.types(), old.globals(), old.memory())
        status, effects = self._run(fresh, record, fuel, _NOTHING)
        if status == "ok":
            old.close()
            hosted.spec, hosted.guest, hosted.image = change.spec, fresh.guest, HeldImage()
        return status, effects

    def _discard(self, agent: int) -> None:
        old = self._hosted.pop(agent, None)
        if old and old.guest:
            old.guest.close()

    def _fresh(self, agent: int, spec: AgentSpec, n: int) -> Hosted:
        self._discard(agent)
        hosted = self._hosted[agent] = Hosted(spec, self._instance(agent, spec), n)
        return hosted

    def _instance(self, agent: int, spec: AgentSpec) -> Guest:
        wasm = self._artefact(spec.module, spec.name)
        libraries = [self._artefact(library.module, spec.name) for library in spec.libraries or ()]
        return self._guests.instantiate(agent, spec, wasm, libraries)

    def _artefact(self, digest: str, where: str) -> bytes:
        try:
            return self._artifacts.get(digest)
        except KeyError:
            raise ModuleRefused("digest", f"no artefact {digest[:12]}", where) from None

    def _refused(self, record: StepArguments, spec: AgentSpec, check: str) -> Answer:
        """A module that fails a load check: its init fails by that check's name, and nothing of it ran."""
        hosted = self._hosted[record.agent] = Hosted(spec, None, record.n)
        answer = hosted.answer = Answer(record.agent, record.n, f"refused:{check}", NO_EFFECTS, None, 0, 0)
        return answer

    def _restore(self, agent: int, base: ReadBase, fuel: int) -> Hosted | int:
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
        for plain, group in groupby(base.replay, attrgetter("plain")):
            replays = list(group)
            differs = self._replay_at_once(hosted, replays, fuel) if plain else self._replay(hosted, replays, fuel)
            if differs:
                self._discard(agent)
                return differs
        return hosted

    def _replay_at_once(self, hosted: Hosted, replays: Sequence[ReadReplay], fuel: int) -> int:
        """Feed these steps again in one crossing, where the instance can; the step that differed, 0 for none."""
        guest = hosted.guest
        assert guest is not None
        done = guest.replay([replay.record for replay in replays], fuel)
        if done is None:
            return self._replay(hosted, replays, fuel)
        self.fuel_spent += done.fuel
        same = list(map(effects_sum, done.made)) == [replay.sum for replay in replays]
        if same:
            hosted.n = arguments_of(replays[-1].record).n
            return 0
        pairs = zip(replays, done.made, strict=False)
        place = next((i for i, (one, made) in enumerate(pairs) if effects_sum(made) != one.sum), len(done.made))
        return arguments_of(replays[place].record).n

    def _replay(self, hosted: Hosted, replays: Sequence[ReadReplay], fuel: int) -> int:
        """Feed these steps again, one by one; the step that differed, 0 for none."""
        for replay in replays:
            record = arguments_of(replay.record)
            payloads = {view.buffer: view.data or b"" for view in record.views} if record.views else _NOTHING
            if record.kind == "reload":
                status, effects = self._change(hosted, record, fuel)
            else:
                status, effects = self._run(hosted, record, fuel, payloads)
            guest = hosted.guest
            same = outcome_sum(status, effects) == replay.sum
            if same and replay.image and guest is not None:
                same = _digest_now(guest) == replay.image
            if not same or guest is None:
                return record.n
            hosted.n = record.n
        return 0

    def _views(self, record: StepArguments) -> Mapping[int, bytes] | tuple[int, int]:
        """The bytes of each version the step reads, copied then checked; or the first (buffer, version) that is bad."""
        payloads: dict[int, bytes] = {}
        for view in record.views:
            data = view.data if view.data is not None else buffers.read(self._memory, view.capacity, view)
            if data is None:
                return view.buffer, view.version
            payloads[view.buffer] = data
        return payloads

    def _run(
        self, hosted: Hosted, record: StepArguments, fuel: int, payloads: Mapping[int, bytes]
    ) -> tuple[str, msgspec.Raw]:
        """One step of the instance, with what it reads behind its messages."""
        guest = hosted.guest
        assert guest is not None
        record.fuel = fuel
        if record.views:
            views = [Message(v.version, BUFFER, 0, v.buffer, payloads[v.buffer]) for v in record.views]
            record.inbox = packed_inbox(inbox_of(record.inbox) + views)
        return self._ended(hosted, record, guest.run(record))

    def _ended(self, hosted: Hosted, record: StepArguments, step: GuestStep) -> tuple[str, msgspec.Raw]:
        """What the step did; a failure closes the instance, as its memory is discarded."""
        guest = hosted.guest
        assert guest is not None
        self.fuel_spent += step.fuel
        if step.status == "ok":
            if step.effects is not None:
                return "ok", msgspec.Raw(step.effects)
            status, effects = _effects(record, guest.memory(), step.calls)
            if status == "ok":
                return "ok", packed_effects(effects)
        else:
            status = step.status
        guest.close()
        hosted.guest = None
        return status, NO_EFFECTS

    def _publish(self, hosted: Hosted, record: StepArguments, effects: Sequence[Effect], store: bool) -> msgspec.Raw:
        """Fill the slots that the step was granted; the effects with a summary in place of the bytes."""
        grants = {grant.buffer: grant for grant in record.grants}
        hosted.written = {
            e.target: (grants[e.target].capacity, grants[e.target].version, e.payload)
            for e in effects
            if e.op == "buffer"
        }
        crcs = self._store(hosted) if store else {b: google_crc32c.value(w[2]) for b, w in hosted.written.items()}
        return packed_effects(
            [
                Effect(e.op, e.target, BUFFER_SUMMARY.pack(crcs[e.target], len(e.payload))) if e.op == "buffer" else e
                for e in effects
            ]
        )

    def _store(self, hosted: Hosted) -> dict[int, int]:
        """Fill the private slots with what the last step wrote; again when it is asked for again."""
        return {
            buffer: buffers.write(self._memory, buffer, capacity, version, data)
            for buffer, (capacity, version, data) in hosted.written.items()
        }


def _effects(record: StepArguments, memory: memoryview, calls: Sequence[Call]) -> tuple[str, tuple[Effect, ...]]:
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


def _unserved(record: StepArguments, why: str, n: int) -> Answer:
    return Answer(record.agent, record.n, "", NO_EFFECTS, None, 0, 0, why, (n, 0))
