"""One contract per port, kept by every adapter of it: bare, and under each fault wrapper with no fault armed.

What a contract says is what the runtime relies on (`runtime.ports`); a live adapter has to pass the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
from faults_kit import ToyMemory, ToyStorage
from runtime_kit import ScriptedGuests, agent, config, twin
from wasm_kit import arguments, imports, spec_of, wat

from faults.injector import Injector
from faults.wrappers.crash import Fuse, mortal
from faults.wrappers.gateway import FaultyGateway
from faults.wrappers.guests import FaultyGuests, VisibleFaults, WorkerSite
from faults.wrappers.memory import BufferFlips, TornMemory
from faults.wrappers.storage import Keep, Lose, Tear
from faults.wrappers.workers import FaultyWorkers
from harness.adapters.disk import SimDisk
from harness.adapters.gateway import RESEND_NS, WINDOW, SimClient
from harness.adapters.guests import ObservedGuests
from harness.adapters.loop import Loop
from harness.adapters.memory import SimMemory, WorkerMemory
from harness.adapters.workers import SimWorkers, Timing
from harness.assembly import LoopClock, ModuleArtifacts
from runtime import fold, frames, journal
from runtime.errors import FailStop, ModuleRefused
from runtime.frames import Base, Inputs, Order, Release, Work, pack, unpack
from runtime.ports import Clock, Gateway, Guests, Memory, Ports, Storage, Workers
from runtime.state import Configure, Input, Send, Spawn, State
from runtime.wasm import WasmGuests, assemble
from runtime.worker import WorkerCore
from scenarios.registry import get

SYNC_NS = 400_000


def nothing_armed() -> Injector:
    def fired(fault: int, fields: dict[str, int | str]) -> None:
        raise AssertionError(f"fault {fault} fired: {fields}")

    return Injector([], fired)


def immortal(**ports: Any) -> Ports:
    """The ports under a fuse that never burns."""
    given = {"clock": None, "workers": None, "memory": None, "storage": None, "gateway": None, **ports}
    return mortal(Ports(**given), Fuse(nothing_armed(), lambda: (0, "await")))


# --- Clock ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", [False, True], ids=["LoopClock", "MortalClock"])
def test_a_clock_is_monotone_and_in_whole_nanoseconds(wrapped: bool) -> None:
    loop = Loop()
    clock: Clock = LoopClock(loop)
    if wrapped:
        clock = immortal(clock=clock).clock
    seen = [clock.now()]
    for delay in (0, 5, 5, 1_000_000_007, -3):
        loop.later(delay, lambda: seen.append(clock.now()))
    loop.run(10**12, 100)
    assert seen == [0, 0, 0, 5, 5, 1_000_000_007] and all(type(now) is int for now in seen)


def test_the_loop_runs_events_of_one_time_in_their_order_and_keeps_its_bounds() -> None:
    loop = Loop()
    order: list[int] = []
    for n in range(5):
        loop.later(7, partial(order.append, n))
    loop.later(100, partial(order.append, 99))
    assert loop.run(50, 100) is False and order == [0, 1, 2, 3, 4] and loop.now() == 7
    loop.later(1, loop.stop)
    assert loop.run(50, 100) is True
    endless = Loop()

    def again() -> None:
        endless.later(1, again)

    again()
    assert endless.run(10**9, 1000) is False and endless.events == 1000


def test_an_exception_in_a_callback_leaves_the_loop_as_it_is() -> None:
    loop = Loop()
    error = KeyError("mine")

    def fail() -> None:
        raise error

    loop.later(1, fail)
    with pytest.raises(KeyError) as raised:
        loop.run(10, 10)
    assert raised.value is error


# --- Memory -----------------------------------------------------------------------------------------------------------


def memories() -> dict[str, Callable[[], Memory]]:
    def torn() -> Memory:
        return TornMemory(SimMemory(), nothing_armed(), WorkerSite(1))

    return {
        "SimMemory": SimMemory,
        "WorkerMemory": lambda: WorkerMemory(SimMemory(), 1, lambda: 0, []),
        "TornMemory": torn,
        "TornMemory of a worker": lambda: TornMemory(
            WorkerMemory(SimMemory(), 1, lambda: 0, []), nothing_armed(), WorkerSite(1)
        ),
        "MortalMemory": lambda: immortal(memory=SimMemory()).memory,
        "ToyMemory": ToyMemory,
    }


@pytest.mark.parametrize("name", memories())
def test_memory_holds_what_was_stored_and_nothing_before(name: str) -> None:
    memory = memories()[name]()
    memory.reserve(3, 100)
    memory.reserve(4, 10)
    assert memory.load(3, 0, 100) == bytes(100)
    memory.store(3, 10, b"hello")
    memory.store(3, 12, b"LL")
    memory.store(3, 99, b"!")
    memory.store(3, 50, b"")
    assert memory.load(3, 9, 8) == b"\0heLLo\0\0" and memory.load(3, 99, 1) == b"!"
    assert memory.load(4, 0, 10) == bytes(10) and memory.load(3, 0, 0) == b""


@pytest.mark.parametrize("name", memories())
def test_loaded_bytes_are_a_copy(name: str) -> None:
    memory = memories()[name]()
    memory.reserve(0, 8)
    before = memory.load(0, 0, 8)
    memory.store(0, 0, b"12345678")
    assert before == bytes(8)


@pytest.mark.parametrize("name", [name for name in memories() if name != "ToyMemory"])
def test_a_store_beyond_the_segment_stops_and_never_grows_it(name: str) -> None:
    memory = memories()[name]()
    memory.reserve(0, 8)
    with pytest.raises(FailStop, match="a store ends at 9 of 8"):
        memory.store(0, 5, b"1234")
    assert memory.load(0, 0, 8) == bytes(8)


def test_a_workers_stores_are_on_record() -> None:
    log: list[Any] = []
    memory = WorkerMemory(SimMemory(), 7, lambda: 42, log)
    memory.reserve(1, 64)
    memory.store(1, 8, b"abc")
    assert [tuple(event) for event in log] == [(42, 7, 1, 8, 3)]


# --- Storage ----------------------------------------------------------------------------------------------------------


class Bench(NamedTuple):
    """A storage, and how to let enough time pass for what is under way."""

    storage: Storage
    disk: SimDisk
    loop: Loop
    woken: list[int]

    def settle(self) -> list[int]:
        self.loop.run(self.loop.now() + 10 * SYNC_NS, 1000)
        return self.storage.poll()

    def crash(self, policy: Any = None) -> None:
        self.disk.crash(policy or Lose())


def bench(wrapped: bool) -> Bench:
    loop = Loop()
    woken: list[int] = []
    disk = SimDisk(loop, SYNC_NS, lambda: woken.append(loop.now()))
    storage: Storage = immortal(storage=disk).storage if wrapped else disk
    return Bench(storage, disk, loop, woken)


STORAGES = pytest.mark.parametrize("wrapped", [False, True], ids=["SimDisk", "MortalStorage"])


def storages() -> dict[str, Callable[[], Storage]]:
    return {
        "SimDisk": lambda: bench(False).storage,
        "MortalStorage": lambda: bench(True).storage,
        "ToyStorage": ToyStorage,
    }


@pytest.mark.parametrize("name", storages())
def test_what_is_written_can_be_read_at_once(name: str) -> None:
    storage = storages()[name]()
    assert storage.names() == []
    storage.write("b", 0, b"hello")
    storage.write("b", 3, b"LO world")
    storage.write("a", 0, b"")
    assert (storage.names(), storage.read("b"), storage.read("a")) == (["a", "b"], b"helLO world", b"")
    storage.truncate("b", 3)
    assert storage.read("b") == b"hel"
    storage.rename("b", "c")
    storage.write("d", 0, b"old")
    storage.rename("c", "d")
    assert (storage.names(), storage.read("d")) == (["a", "d"], b"hel")
    storage.remove("a")
    assert storage.names() == ["d"]


@STORAGES
def test_a_write_beyond_the_end_fills_the_gap_with_zeros(wrapped: bool) -> None:
    storage = bench(wrapped).storage
    storage.write("f", 4, b"x")
    assert storage.read("f") == b"\0\0\0\0x"


@STORAGES
def test_what_is_not_there_is_a_key_error(wrapped: bool) -> None:
    storage = bench(wrapped).storage
    for call in (
        lambda: storage.read("f"),
        lambda: storage.truncate("f", 0),
        lambda: storage.remove("f"),
        lambda: storage.sync("f"),
    ):
        with pytest.raises(KeyError):
            call()


@STORAGES
def test_each_sync_completes_once_in_order_and_wakes_who_waits(wrapped: bool) -> None:
    world = bench(wrapped)
    world.storage.write("f", 0, b"x")
    tickets = [world.storage.sync("f"), world.storage.sync_dir(), world.storage.sync("f")]
    assert len(set(tickets)) == 3 and world.storage.poll() == [] and world.woken == []
    assert world.settle() == tickets and world.storage.poll() == []
    assert world.woken == [SYNC_NS] * 3


@STORAGES
def test_a_crash_takes_what_was_written_after_the_sync_was_submitted(wrapped: bool) -> None:
    world = bench(wrapped)
    world.storage.write("f", 0, b"synced")
    world.storage.sync("f")
    world.storage.sync_dir()
    world.storage.write("f", 0, b"SYNCED and more")
    world.settle()
    world.crash()
    assert world.storage.read("f") == b"synced"


@STORAGES
def test_a_crash_takes_what_a_sync_under_way_was_for_and_the_sync_never_completes(wrapped: bool) -> None:
    world = bench(wrapped)
    world.storage.write("f", 0, b"old")
    world.storage.sync("f")
    world.storage.sync_dir()
    world.settle()
    world.storage.write("f", 0, b"new")
    world.storage.sync("f")
    world.crash()
    assert world.settle() == [] and world.storage.read("f") == b"old"
    world.storage.write("f", 3, b"!")
    assert len([world.storage.sync("f")]) == len(world.settle())
    world.crash()
    assert world.storage.read("f") == b"old!"


@STORAGES
def test_a_name_is_durable_only_with_the_directory(wrapped: bool) -> None:
    world = bench(wrapped)
    world.storage.write("f", 0, b"x")
    world.storage.sync("f")
    world.settle()
    world.crash()
    assert world.storage.names() == []
    world.storage.write("f", 0, b"x")
    world.storage.sync("f")
    world.storage.sync_dir()
    world.settle()
    world.storage.rename("f", "g")
    world.storage.write("h", 0, b"h")
    world.crash()
    assert world.storage.names() == ["f"] and world.storage.read("f") == b"x"
    world.storage.remove("f")
    world.storage.sync_dir()
    world.settle()
    world.crash()
    assert world.storage.names() == []


@STORAGES
def test_a_process_that_dies_loses_nothing_and_a_truncation_is_durable_like_a_write(wrapped: bool) -> None:
    world = bench(wrapped)
    world.storage.write("f", 0, b"0123456789")
    world.crash(Keep())
    assert world.storage.read("f") == b"0123456789"
    world.storage.truncate("f", 4)
    world.crash()
    assert world.storage.read("f") == b"0123456789"
    world.storage.truncate("f", 4)
    world.storage.sync("f")
    world.settle()
    world.crash()
    assert world.storage.read("f") == b"0123" and world.disk.durable_length("f") == 4


@pytest.mark.parametrize("seed", range(20))
def test_a_torn_crash_never_touches_what_was_synced(seed: int) -> None:
    world = bench(False)
    world.storage.write("f", 0, b"s" * 1000)
    world.storage.sync("f")
    world.storage.sync_dir()
    world.settle()
    world.storage.write("f", 1000, b"n" * 2000)
    world.crash(Tear(seed, 1))
    content = world.storage.read("f")
    assert content[:1000] == b"s" * 1000 and set(content[1000:]) <= {0, ord("n")} and len(content) <= 3000


# --- Workers ----------------------------------------------------------------------------------------------------------


class Pipes(NamedTuple):
    """Two workers' worth of everything; `guests` made by whoever is spawned."""

    workers: Workers
    loop: Loop
    guests: list[ScriptedGuests]
    notes: list[tuple[str, int]]

    def settle(self, ns: int = 10_000_000) -> list[tuple[int, str]]:
        """What has arrived: (worker, "end" or the statuses of its answer)."""
        self.loop.run(self.loop.now() + ns, 10_000)
        told = []
        for worker, frame in self.workers.poll():
            done = unpack(frame) if frame is not None else None
            assert done is None or isinstance(done, frames.Done)
            told.append((worker, "end" if done is None else " ".join(r.status or r.unserved for r in done.results)))
        return told


def pipes(wrapper: str) -> Pipes:
    loop = Loop()
    made: list[ScriptedGuests] = []
    notes: list[tuple[str, int]] = []

    class Artifacts:
        def get(self, digest: str) -> bytes:
            return b""

    def core_of(worker: int) -> WorkerCore:
        made.append(ScriptedGuests(lambda arguments, guest: ("ok", [])))
        return WorkerCore(worker, made[-1], SimMemory(), Artifacts())

    workers: Workers = SimWorkers(loop, Timing(), core_of, lambda: None, lambda kind, w: notes.append((kind, w)))
    if wrapper == "FaultyWorkers":
        injector = nothing_armed()
        workers = FaultyWorkers(workers, injector, loop.later, BufferFlips(SimMemory(), injector))  # type: ignore[arg-type]
    elif wrapper == "MortalWorkers":
        workers = immortal(workers=workers).workers
    return Pipes(workers, loop, made, notes)


WORKERS = pytest.mark.parametrize("wrapper", ["SimWorkers", "FaultyWorkers", "MortalWorkers"])


def order(worker: int, lease: int = 1) -> bytes:
    """A frame with the first step of an agent's life."""
    world = State()
    genesis = [Input(Configure(config()), 1, "genesis", 0), Input(Spawn(agent()), 2, "genesis", 0)]
    record = fold.begin(world, 0, genesis).records[0]
    return pack(Work(1, worker, lease, (Order(record, 1000, Base(agent(), None, ())),)))


@WORKERS
def test_a_worker_answers_what_it_is_sent_even_before_it_is_ready(wrapper: str) -> None:
    world = pipes(wrapper)
    world.workers.spawn(1)
    world.workers.send(1, order(1))
    assert world.workers.poll() == []
    assert world.settle() == [(1, "ok")] and world.workers.poll() == []


@WORKERS
def test_frames_of_a_pipe_keep_their_order_and_are_all_answered(wrapper: str) -> None:
    world = pipes(wrapper)
    world.workers.spawn(1)
    for lease in range(1, 6):
        world.workers.send(1, order(1, lease))
    world.loop.run(10**8, 10_000)
    leases = []
    for _, frame in world.workers.poll():
        assert frame is not None
        done = unpack(frame)
        assert isinstance(done, frames.Done)
        leases.append(done.lease)
    assert leases == [1, 2, 3, 4, 5] and sum(guest.ran for guest in world.guests[0].made) == 1


@WORKERS
def test_a_killed_worker_ends_once_and_answers_nothing_more(wrapper: str) -> None:
    world = pipes(wrapper)
    world.workers.spawn(1)
    world.workers.spawn(2)
    world.workers.send(1, order(1))
    world.workers.kill(1)
    world.workers.kill(1)
    world.workers.send(1, order(1, 2))
    world.workers.send(2, order(2))
    assert sorted(world.settle()) == [(1, "end"), (2, "ok")]
    world.workers.kill(1)
    assert world.settle() == []


@WORKERS
def test_what_was_in_the_pipe_at_the_kill_may_still_come_but_not_after_the_end(wrapper: str) -> None:
    for wait in range(0, 1_200_000, 40_000):
        world = pipes(wrapper)
        world.workers.spawn(1)
        world.workers.send(1, order(1))
        world.loop.run(wait, 10_000)
        early = world.settle(0)
        world.workers.kill(1)
        assert [*early, *world.settle()] in ([(1, "end")], [(1, "ok"), (1, "end")]), wait


@WORKERS
def test_a_frame_that_does_not_verify_is_dropped_by_the_worker_and_noted(wrapper: str) -> None:
    world = pipes(wrapper)
    world.workers.spawn(1)
    world.workers.send(1, b"\0" * 20)
    world.workers.send(1, order(1))
    assert world.settle() == [(1, "ok")] and world.notes == [("garbled", 1)]


def test_nothing_of_an_orphaned_worker_reaches_a_successor() -> None:
    world = pipes("SimWorkers")
    assert isinstance(world.workers, SimWorkers)
    world.workers.spawn(1)
    world.workers.send(1, order(1))
    world.loop.run(840_000, 10_000)  # it is at work
    world.workers.orphan()
    assert world.settle() == [] and world.workers.live() == 0


# --- Gateway ----------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    gateway: Gateway
    client: SimClient
    loop: Loop

    def hear(self, ns: int = 1_000_000) -> list[Inputs]:
        """What the orchestrator's side gets."""
        self.loop.run(self.loop.now() + ns, 10_000)
        got = [unpack(frame) for frame in self.gateway.poll()]
        assert all(isinstance(frame, Inputs) for frame in got)
        return got  # type: ignore[return-value]


def line(wrapper: str, count: int = 3) -> Line:
    loop = Loop()
    inputs = [Input(Send(0, bytes([n])), n, "user", n) for n in range(1, count + 1)]
    client = SimClient(loop, 100_000, inputs, lambda: 77, lambda: None)
    gateway: Gateway = client
    if wrapper == "FaultyGateway":
        gateway = FaultyGateway(client, nothing_armed(), loop.later)
    elif wrapper == "MortalGateway":
        gateway = immortal(gateway=client).gateway
    client.start()
    return Line(gateway, client, loop)


GATEWAYS = pytest.mark.parametrize("wrapper", ["SimClient", "FaultyGateway", "MortalGateway"])


def release(block: int, *acknowledged: int, final: bool = False) -> bytes:
    return pack(Release(block, block, tuple(("user", n) for n in acknowledged), (), final))


@GATEWAYS
def test_a_client_sends_its_inputs_once_and_again_until_they_are_acknowledged(wrapper: str) -> None:
    world = line(wrapper)
    (first,) = world.hear()
    assert [item.n for item in first.inputs] == [1, 2, 3] and first.cursor == 0
    again = world.hear(RESEND_NS)
    assert [[item.n for item in frame.inputs] for frame in again] == [[1, 2, 3]]
    world.gateway.send(release(1, 1, 2))
    (rest,) = world.hear(RESEND_NS)
    assert ([item.n for item in rest.inputs], rest.cursor) == ([3], 1)


@GATEWAYS
def test_a_client_takes_blocks_in_order_and_once_each(wrapper: str) -> None:
    world = line(wrapper)
    for block in (2, 2, 1, 1, 4, 2):
        world.gateway.send(release(block))
    world.gateway.send(b"garbage")
    world.hear()
    assert [receipt.block for receipt in world.client.receipts] == [1, 2] and world.client.cursor == 2
    world.gateway.send(release(3, 1, 2, 3))
    world.gateway.send(release(5, final=True))
    world.hear()
    assert [receipt.block for receipt in world.client.receipts] == [1, 2, 3, 4, 5] and world.client.finished
    assert {receipt.durable_bytes for receipt in world.client.receipts} == {77}


@GATEWAYS
def test_a_client_has_at_most_a_window_under_way(wrapper: str) -> None:
    world = line(wrapper, 3 * WINDOW)
    (first,) = world.hear()
    assert len(first.inputs) == WINDOW
    world.gateway.send(release(1, 10))
    (more,) = world.hear()
    assert [item.n for item in more.inputs] == list(range(WINDOW + 1, WINDOW + 11))


# --- Artifacts --------------------------------------------------------------------------------------------------------


def test_artifacts_are_found_by_digest_and_others_are_a_key_error() -> None:
    artifacts = ModuleArtifacts(get("hello"))
    for digest, wasm in get("hello").modules.items():
        assert artifacts.get(digest) == wasm and hashlib.sha256(wasm).hexdigest() == digest
    with pytest.raises(KeyError):
        artifacts.get("0" * 64)


# --- Guests -----------------------------------------------------------------------------------------------------------


def guests(wrapper: str) -> Guests:
    inner: Guests = WasmGuests()
    if "Faulty" in wrapper:
        inner = FaultyGuests(inner, nothing_armed(), WorkerSite(1), VisibleFaults(()))
    return ObservedGuests(inner, 1, 1, lambda: 0, []) if "Observed" in wrapper else inner


GUESTS = pytest.mark.parametrize("wrapper", ["WasmGuests", "Faulty", "Observed", "Faulty and Observed"])
COUNTING = wat(
    before=imports("send"),
    step="(i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))"
    " (global.set $count (i32.add (global.get $count) (i32.const 3)))"
    " (call $send (i32.const 1) (i32.const 8) (i32.const 4))",
    after="(global $count (mut i32) (i32.const 5))",
)


@GUESTS
def test_a_guest_runs_counts_fuel_and_tells_its_calls(wrapper: str) -> None:
    wasm = assemble(COUNTING)
    one = guests(wrapper).instantiate(3, spec_of(wasm), wasm)
    step = one.run(arguments())
    assert step.status == "ok" and [tuple(call) for call in step.calls] == [("send", 1, 8, 4)] and step.fuel > 0
    assert bytes(one.memory()[8:12]) == b"\1\0\0\0" and one.globals() == [8]
    again = one.run(arguments(tick=8))
    assert again == step and bytes(one.memory()[8:12]) == b"\2\0\0\0" and one.globals() == [11]
    one.close()


@GUESTS
def test_a_restored_guest_goes_on_as_the_one_it_was_taken_from(wrapper: str) -> None:
    wasm = assemble(COUNTING)
    one = guests(wrapper).instantiate(3, spec_of(wasm), wasm)
    for _ in range(3):
        one.run(arguments())
    other = guests(wrapper).instantiate(3, spec_of(wasm), wasm)
    other.restore(bytes(one.memory()), one.globals())
    assert other.run(arguments()) == one.run(arguments())
    assert bytes(other.memory()) == bytes(one.memory()) and other.globals() == one.globals() == [17]
    one.close()
    other.close()


@GUESTS
@pytest.mark.parametrize(("step", "status"), [("unreachable", "trap:unreachable"), ("(i32.const 4)", "agent_error:4")])
def test_what_a_module_does_is_a_status_and_never_an_exception(wrapper: str, step: str, status: str) -> None:
    wasm = assemble(wat(step=step))
    one = guests(wrapper).instantiate(3, spec_of(wasm), wasm)
    assert one.run(arguments()).status == status
    one.close()


@GUESTS
def test_a_module_that_fails_a_check_is_refused_by_name(wrapper: str) -> None:
    with pytest.raises(ModuleRefused) as refused:
        guests(wrapper).instantiate(3, spec_of(b"no module"), b"no module")
    assert refused.value.check == "format"


def test_a_run_under_all_wrappers_with_nothing_armed_is_the_bare_run() -> None:
    """The whole stack at once: an injector with no fault leaves no trace in any record."""
    history = twin("frames")
    assert history.injections == [] and history.finished and journal.verify(history.journal) is None
