"""WorkerCore: step n after n - 1, repeats from the cache, others refused, differences reported (WAS-1, WAS-3..5)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from faults_kit import ToyMemory
from msgspec.structs import replace
from runtime_kit import AnyArtifact, ScriptedGuest, ScriptedGuests, World, agent
from wasm_kit import imports, spec_of, wat

from runtime import buffers, frames
from runtime.fold import begin
from runtime.frames import APART, Base, Order, Replay, Result, Work, outcome_sum, pack, unpack
from runtime.ports import StepArguments
from runtime.residence import Residence
from runtime.snapshot import PAGE
from runtime.state import AgentSpec, BufferSpec, Effect, Outcome, Send, StepRecord, View
from runtime.wasm import WasmGuests, assemble
from runtime.worker import BUFFER_SUMMARY, WorkerCore

Calls = tuple[str, list[tuple[str, int, int, int]]]
SPEC = agent()


def quiet(arguments: StepArguments, guest: ScriptedGuest) -> Calls:
    """Counts its steps in its memory and does nothing else."""
    guest.bytes[0] += 1
    return "ok", []


def calling(*calls: tuple[str, int, int, int], status: str = "ok") -> Any:
    """Makes these calls in each step that is not its init."""

    def script(arguments: StepArguments, guest: ScriptedGuest) -> Calls:
        guest.bytes[: 1 << 10] = bytes((arguments.tick + n) % 256 for n in range(1 << 10))
        return ("ok", []) if arguments.kind == "init" else (status, list(calls))

    return script


class Bench:
    """One worker, and the records of one agent's life as the fold makes them."""

    def __init__(self, script: Any = quiet, spec: AgentSpec = SPEC, **options: Any) -> None:
        self.guests = ScriptedGuests(script)
        self.memory = ToyMemory()
        self.worker = WorkerCore(1, self.guests, self.memory, AnyArtifact())
        self.world = World(spec, started=False, **options)
        for index, buffer in enumerate(options.get("buffers", ())):
            self.memory.reserve(index, buffers.segment_size(buffer.capacity))
        self.residence = Residence(spec)
        self.records: list[StepRecord] = []

    def record(self) -> StepRecord:
        """The agent's next step, as it was selected; it is taken to go well."""
        first = self.world.state.tick < 0
        actions = self.world.genesis if first else [Send(0, b"go")]
        inputs = [self.world.input(a, "genesis" if first else "user") for a in actions]
        opened = begin(self.world.state, self.world.state.tick + 1, inputs)
        self.world.close(opened)
        self.records.append(opened.records[0])
        return opened.records[0]

    def serve(self, record: StepRecord, base: Base | None = None, fuel: int = 1000, lease: int = 1) -> Result:
        if record.kind == "init" and base is None:
            base = Base(self.residence.spec, None, ())
        (answer,) = self.worker.handle(pack(Work(1, 1, lease, (Order(record, fuel, base),))))
        done = unpack(answer)
        assert isinstance(done, frames.Done) and (done.worker, done.lease) == (1, lease)
        return done.results[0]

    def settle(self, record: StepRecord, result: Result) -> Result:
        """As the orchestrator does when the step is committed."""
        image = self.residence.next_image(result.image) if result.image else None
        outcome = Outcome(result.status, result.effects, result.image.digest if result.image else "")
        self.residence.settle(record, outcome, image, {})
        return result

    def run(self, steps: int) -> Result:
        for _ in range(steps):
            record = self.record()
            result = self.settle(record, self.serve(record))
        return result

    @property
    def ran(self) -> int:
        return sum(guest.ran for guest in self.guests.made)


class Nowhere:
    """Has no module any more."""

    def get(self, digest: str) -> bytes:
        raise KeyError(digest)


# --- order ------------------------------------------------------------------------------------------------------------


def test_a_repeated_step_is_answered_from_the_cache_and_not_run_again() -> None:
    bench = Bench()
    bench.run(2)
    record = bench.record()
    first = bench.serve(record)
    assert bench.ran == 3
    assert [bench.serve(record, lease=lease) for lease in (2, 3)] == [first, first] and bench.ran == 3


def test_a_step_that_is_not_the_next_is_refused_as_behind() -> None:
    bench = Bench()
    records = [bench.record() for _ in range(4)]
    bench.serve(records[0])
    for skipped in (records[2], records[3]):
        result = bench.serve(skipped)
        assert (result.unserved, result.detail, result.status) == ("behind", (1, 0), "")
    assert bench.ran == 1 and bench.serve(records[1]).status == "ok"


def test_an_agent_that_is_not_here_is_refused_without_a_base() -> None:
    bench = Bench()
    bench.record()
    assert bench.serve(bench.record()).unserved == "behind" and bench.ran == 0


def test_a_step_that_is_over_is_refused_even_with_a_base() -> None:
    bench = Bench()
    bench.run(1)
    base = bench.residence.base()
    records = [bench.record() for _ in range(3)]
    for record in records:
        bench.serve(record)
    assert bench.serve(records[0], base).unserved == "behind" and bench.ran == 4


def test_a_late_copy_of_the_first_order_does_not_begin_the_life_again() -> None:
    bench = Bench()
    bench.run(3)
    assert bench.serve(bench.records[0]).unserved == "behind"
    assert bench.ran == 3 and len(bench.guests.made) == 1
    assert bench.serve(bench.record()).status == "ok"


def test_a_frame_that_does_not_verify_is_counted_and_dropped() -> None:
    bench = Bench()
    record = bench.record()
    good = pack(Work(1, 1, 1, (Order(record, 1000, Base(SPEC, None, ())),)))
    other = pack(Work(1, 2, 1, (Order(record, 1000, Base(SPEC, None, ())),)))
    bad = [b"", good[:-1], good[:3], good + b"\0", other, pack(frames.Inputs(0, ()))]
    bad += [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(0, len(good), 3)]
    for frame in bad:
        assert bench.worker.handle(frame) == []
    assert bench.worker.garbled == len(bad) and bench.ran == 0
    assert bench.serve(record).status == "ok"


# --- restore and replay -----------------------------------------------------------------------------------------------


def restored(bench: Bench, steps: int, script: Any = None) -> tuple[Bench, StepRecord, Result]:
    """Another worker, the next record, and its answer from the first worker's residence."""
    bench.run(steps)
    other = Bench(script or quiet)
    record = bench.record()
    return other, record, bench.serve(record)


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_another_worker_continues_from_the_image_and_the_records_since(steps: int) -> None:
    bench = Bench(snapshot_every=4)
    other, record, expected = restored(bench, steps)
    result = other.serve(record, bench.residence.base())
    assert (result.status, result.effects) == (expected.status, expected.effects)
    assert result.replayed == len(bench.residence.replay) == (steps - 1) % 4
    assert other.guests.made[0].bytes == bench.guests.made[0].bytes
    assert other.guests.made[0].bits == bench.guests.made[0].bits


def test_a_replayed_step_that_differs_is_named_and_never_run_on() -> None:
    bench = Bench()

    def different(arguments: StepArguments, guest: ScriptedGuest) -> Calls:
        return "ok", [("send", 0, 0, 1)] if arguments.tick == 2 else []

    other, record, _ = restored(bench, 4, different)
    result = other.serve(record, bench.residence.base())
    assert (result.unserved, result.detail[0]) == ("diverged", 3)
    assert other.serve(record).unserved == "behind", "nothing of it may be used"
    assert all(guest.closed for guest in other.guests.made), "and its instance is closed"


def test_an_image_that_does_not_give_its_digest_is_named() -> None:
    bench = Bench()
    other, record, _ = restored(bench, 3)
    base = bench.residence.base()
    assert base.image
    for image in (
        replace(base.image, pages=((0, b"\x77" * PAGE), *base.image.pages[1:])),
        replace(base.image, pages=base.image.pages[1:]),
        replace(base.image, globals=(99,)),
        replace(base.image, digest="0" * 64),
    ):
        result = other.serve(record, replace(base, image=image))
        assert (result.unserved, result.detail[0]) == ("diverged", 1)
    assert other.ran == 0 and all(guest.closed for guest in other.guests.made)
    assert other.serve(record, base).status == "ok"


def test_an_image_in_the_middle_of_a_replay_is_compared() -> None:
    """STA-1: one that the journal holds but no file survived."""
    bench = Bench()
    bench.run(1)
    image, replays = bench.residence.image, []
    for wrong in ("", "0" * 64):
        replays = []
        for _ in range(2):
            record = bench.record()
            result = bench.serve(record)
            replays.append(Replay(record, outcome_sum(result.status, result.effects), wrong))
        assert image
        record = bench.record()
        other = Bench()
        served = other.serve(record, Base(SPEC, image.image(), tuple(replays)))
        assert served.unserved == ("diverged" if wrong else "")
        bench = Bench()
        bench.run(1)
        image = bench.residence.image


def test_a_base_that_does_not_reach_the_step_is_refused() -> None:
    bench = Bench()
    other, record, _ = restored(bench, 4)
    base = bench.residence.base()
    assert other.serve(record, replace(base, replay=base.replay[:-1])).unserved == "behind"


def test_a_restored_agents_next_image_is_based_on_the_one_it_came_from() -> None:
    bench = Bench(snapshot_every=4)
    bench.run(4)
    base_digest = bench.residence.image.digest if bench.residence.image else ""
    other = Bench()
    record = bench.record()
    assert record.snapshot
    result = other.serve(record, bench.residence.base())
    assert result.image and result.image.base == base_digest
    assert bench.residence.next_image(result.image).digest == result.image.digest


# --- effects ----------------------------------------------------------------------------------------------------------

BUFFERS = (BufferSpec(capacity=64, name="mine", writer=0), BufferSpec(capacity=64, name="other's", writer=1))


@pytest.mark.parametrize(
    ("calls", "status"),
    [
        ([("send", 0, 65_536 - 4, 4)], "ok"),
        ([("send", 0, 65_536, 0)], "ok"),
        ([("send", 0, 65_536 - 4, 5)], "bad_pointer"),
        ([("send", 0, 65_537, 0)], "bad_pointer"),
        ([("send", 0, 0xFFFFFFFC, 4)], "bad_pointer"),
        ([("send", 0, 0xFFFFFFFC, 0xFFFFFFFF)], "bad_pointer"),
        ([("send", 0, 0, 4), ("output", 0, 0xFFFFFFFF, 1)], "bad_pointer"),
        ([("buffer", 0, 0, 64)], "ok"),
        ([("buffer", 0, 0, 65)], "bad_length"),
        ([("buffer", 1, 0, 4)], "not_writer"),
        ([("buffer", 7, 0, 4)], "not_writer"),
        ([("buffer", 0, 0, 4), ("buffer", 0, 0, 4)], "second_write"),
        ([("buffer", 0, 65_536, 1)], "bad_pointer"),
    ],
)
def test_ranges_grants_and_lengths_are_checked_and_one_bad_call_fails_the_step(
    calls: list[tuple[str, int, int, int]], status: str
) -> None:
    bench = Bench(calling(*calls), buffers=BUFFERS)
    result = bench.run(2)
    assert result.status == status and len(result.effects) == (len(calls) if status == "ok" else 0)
    assert bench.guests.made[0].closed == (status != "ok"), "a failed step's memory is discarded"
    assert result.image is None or status == "ok"


def test_a_failed_agent_runs_again_only_from_a_new_life() -> None:
    bench = Bench(calling(status="trap:unreachable"))
    assert bench.run(2).status == "trap:unreachable"
    record = bench.record()
    assert bench.serve(record).unserved == "behind" and bench.ran == 2
    assert bench.serve(replace(record, kind="init")).status == "ok" and len(bench.guests.made) == 2


def test_a_written_buffer_lies_in_its_slot_and_is_filled_again_for_a_repeat() -> None:
    """MEM-1: what is altered after the write is repaired by asking for the step again."""
    bench = Bench(calling(("buffer", 0, 8, 40)), buffers=BUFFERS)
    bench.run(1)
    record = bench.record()
    result = bench.serve(record)
    crc, length = BUFFER_SUMMARY.unpack(result.effects[0].payload)
    view = View(0, 1, length, crc, 64)
    expected = bytes((record.tick + n) % 256 for n in range(8, 48))
    assert buffers.read(bench.memory, 64, view) == expected
    bench.memory.segments[0][buffers.offset_of(1, 64) + buffers.HEAD] ^= 1
    assert buffers.read(bench.memory, 64, view) is None
    assert bench.serve(record) == result and buffers.read(bench.memory, 64, view) == expected


def test_a_version_that_cannot_be_read_is_named_and_nothing_runs() -> None:
    bench = Bench(buffers=BUFFERS)
    bench.run(1)
    record = replace(bench.record(), views=(View(1, 5, 10, 77, 64),))
    result = bench.serve(record)
    assert (result.unserved, result.detail) == ("corrupt", (1, 5)) and bench.ran == 1
    data = b"0123456789"
    crc = buffers.write(bench.memory, 1, 64, 5, data)
    again = replace(record, views=(View(1, 5, 10, crc, 64),))
    assert bench.serve(again).status == "ok" and bench.ran == 2


def test_a_replay_takes_a_versions_bytes_from_its_record_and_not_from_the_slot() -> None:
    seen: list[bytes] = []

    def reading(arguments: StepArguments, guest: ScriptedGuest) -> Calls:
        seen.extend(message.payload for message in frames.inbox_of(arguments.inbox) if message.kind == 6)
        return "ok", []

    bench = Bench(reading, buffers=BUFFERS)
    bench.run(1)
    view = View(1, 2, 3, 0, 64, b"old")
    record = replace(bench.record(), views=(view,))
    base = bench.residence.base()
    digest = outcome_sum("ok", ())
    last = bench.record()
    other = Bench(reading, buffers=BUFFERS)
    assert other.serve(last, replace(base, replay=(Replay(record, digest, ""),))).status == "ok"
    assert seen == [b"old"]


# --- with real modules ------------------------------------------------------------------------------------------------


class Stored:
    def __init__(self, *modules: bytes) -> None:
        self._modules = {hashlib.sha256(module).hexdigest(): module for module in modules}

    def get(self, digest: str) -> bytes:
        return self._modules[digest]


def real(text: str, steps: int = 2, **changes: Any) -> list[Result]:
    """The answers of a real module over its first steps, on a worker of its own."""
    wasm = assemble(text)
    spec = spec_of(wasm, **changes)
    bench = Bench(spec=spec)
    bench.worker = WorkerCore(1, WasmGuests(), bench.memory, Stored(wasm))
    answers = []
    for _ in range(steps):
        answers.append(bench.serve(bench.record(), fuel=100_000))
        if answers[-1].status != "ok":
            break
    bench.worker.close()
    return answers


SENDING = imports("send")


def send(pointer: int, length: int, target: int = 0) -> str:
    return f"(call $send (i32.const {target}) (i32.const {pointer}) (i32.const {length}))"


@pytest.mark.parametrize(
    ("step", "status"),
    [
        (send(0, 4), "ok"),
        (send(-4, 4), "bad_pointer"),
        (send(-4, 8), "bad_pointer"),
        (send(65_533, 4), "bad_pointer"),
        (f"(drop {send(0, 4)}) unreachable", "trap:unreachable"),
        ("(loop $l (br $l)) (i32.const 0)", "fuel"),
        ("(i32.const 9)", "agent_error:9"),
        (f"(drop (memory.grow (i32.const 1))) {send(65_536 * 2 - 4, 4)}", "ok"),
        (f"(drop (memory.grow (i32.const 1))) {send(65_536 * 2 - 3, 4)}", "bad_pointer"),
        (f"(drop {send(0, 4, 9)}) (i32.const 0)", "ok"),
    ],
)
def test_a_real_module_at_the_edges_of_the_abi(step: str, status: str) -> None:
    """WAS-1, WAS-4; memory that grew before it was sent from is read as it is after the step."""
    answers = real(wat(before=SENDING, step=step))
    assert [answer.status for answer in answers] == ["ok", status]
    sent = status == "ok" and send(0, 4, 9) not in step
    assert [e.op for e in answers[1].effects] == ["send"] * sent


def test_memory_grows_to_its_limit_and_no_further() -> None:
    """WAS-4: the agent sees -1, and is not failed for it."""
    step = "(i32.add (memory.grow (i32.const 1)) (i32.const 1))"
    assert real(wat(step=step), memory=1 << 16)[1].status == "ok"
    assert real(wat(step=step), memory=2 << 16)[1].status == "agent_error:2"


def test_a_module_that_imports_what_was_not_granted_fails_its_init_by_name() -> None:
    """WAS-3, WAS-5."""
    (answer,) = real(wat(before=SENDING), capabilities=("output",))
    assert (answer.status, answer.effects, answer.image, answer.fuel) == ("refused:import", (), None, 0)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"module": "0" * 64}, "refused:digest"),
        ({"memory": 1}, "refused:limit"),
    ],
)
def test_a_module_that_fails_a_load_check_fails_its_init_by_that_checks_name(
    changes: dict[str, Any], status: str
) -> None:
    assert [answer.status for answer in real(wat(), **changes)] == [status]


def test_a_refused_module_is_answered_again_from_the_cache() -> None:
    wasm = b"not wasm at all"
    bench = Bench(spec=spec_of(wasm))
    bench.worker = WorkerCore(1, WasmGuests(), bench.memory, Stored(wasm))
    record = bench.record()
    assert bench.serve(record).status == "refused:format"
    assert bench.serve(record, lease=2).status == "refused:format"
    assert bench.serve(replace(record, n=record.n + 1)).status == "refused:format"


def test_what_the_module_does_after_its_send_is_what_is_sent_only_within_the_step() -> None:
    """The bytes are read after the step: the page for authors says they must stay unchanged until then."""
    store = f"(drop {send(0, 1)}) (i32.store8 (i32.const 0) (i32.const 7)) (i32.const 0)"
    assert real(wat(before=SENDING, step=store))[1].effects == (Effect("send", 0, b"\x07"),)


def test_a_module_that_loads_no_more_at_a_restore_is_said_so_and_nothing_of_the_agent_runs() -> None:
    bench = Bench()
    bench.run(2)
    record = bench.record()
    bench.worker = WorkerCore(1, bench.guests, bench.memory, Nowhere())
    result = bench.serve(record, bench.residence.base())
    assert (result.unserved, result.status, bench.ran) == ("refused", "", 2)
    bench.worker = WorkerCore(1, bench.guests, bench.memory, AnyArtifact())
    assert bench.serve(record, bench.residence.base()).status == "ok"


def test_answers_that_fit_no_frame_together_are_given_as_far_as_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    order = Order(bench.record(), 1000, Base(SPEC, None, ()))
    (whole,) = bench.worker.handle(pack(Work(1, 1, 1, (order,))))
    frame = pack(Work(1, 1, 1, (order,) * 3))
    read = frames.unpack_work(frame)
    monkeypatch.setattr(frames, "MAX_FRAME", len(whole))
    monkeypatch.setattr("runtime.worker.unpack_work", lambda data: read)
    assert bench.worker.handle(frame) == [whole]


def test_a_second_execution_runs_in_an_instance_of_its_own_that_is_closed_and_leaves_the_hosted_one_alone() -> None:
    script = calling(("send", 0, 0, 4))
    bench = Bench(script, snapshot_every=4)
    other, record, expected = restored(bench, 6, script)
    hosted = other.serve(record, bench.residence.base())
    before = bytes(other.guests.made[0].bytes)
    order = Order(record, 1000, bench.residence.base(), check=APART)
    (answer,) = other.worker.handle(pack(Work(1, 1, 2, (order,))))
    done = unpack(answer)
    assert isinstance(done, frames.Done)
    checked = done.results[0]
    assert (checked.status, checked.effects) == (expected.status, expected.effects) == (hosted.status, hosted.effects)
    assert checked.state and len(other.guests.made) == 2
    assert other.guests.made[1].closed and not other.guests.made[0].closed
    assert bytes(other.guests.made[0].bytes) == before
    again = other.serve(record)
    assert again == hosted, "the hosted agent still answers a repeated step"


def test_a_second_execution_writes_into_no_slot_and_tells_the_same_summary() -> None:
    buffer = BufferSpec(name="b", capacity=64, writer=0)
    bench = Bench(calling(("buffer", 0, 0, 16)), buffers=(buffer,))
    bench.run(1)
    base = bench.residence.base()
    record = bench.record()
    (answer,) = bench.worker.handle(pack(Work(1, 1, 9, (Order(record, 1000, base, check=APART),))))
    untouched = bytes(bench.memory.segments[0])
    done = unpack(answer)
    assert isinstance(done, frames.Done) and not any(untouched)
    assert bench.serve(record).effects == done.results[0].effects and any(bench.memory.segments[0])
