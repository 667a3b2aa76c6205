"""One contract per port, kept by every adapter of it (Workers and Gateway), bare and under wrappers with nothing armed.

What a contract says is what the runtime relies on (`runtime.ports`); a live adapter has to pass the same.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from adapters_kit import immortal, nothing_armed
from runtime_kit import ScriptedGuests, agent, config

from faults.wrappers.gateway import FaultyGateway
from faults.wrappers.slots import FaultySlots
from faults.wrappers.workers import FaultyWorkers
from harness.adapters.gateway import RESEND_NS, WINDOW, SimClient
from harness.adapters.loop import Loop
from harness.adapters.memory import SimMemory
from harness.adapters.workers import SimWorkers, Timing
from runtime import fold, frames
from runtime.frames import Base, Inputs, Order, Release, Work, pack, unpack
from runtime.ports import Arrival, Gateway, Workers
from runtime.state import Configure, Input, Send, Spawn, State
from runtime.worker import WorkerCore

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
        workers = FaultyWorkers(workers, injector, loop.later, FaultySlots(SimMemory(), injector))  # type: ignore[arg-type]
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


def test_an_orphaned_worker_ends_and_only_answers_that_it_had_written_are_strays() -> None:
    world = pipes("SimWorkers")
    assert isinstance(world.workers, SimWorkers)
    world.workers.spawn(1)
    world.workers.send(1, order(1))
    world.loop.run(840_000, 10_000)  # it is at work
    strays: list[Arrival] = []
    world.workers.orphan(strays.extend)
    assert world.settle() == [] and strays == [], "its answer was not written yet"
    world = pipes("SimWorkers")
    assert isinstance(world.workers, SimWorkers)
    world.workers.spawn(1)
    world.workers.send(1, order(1))
    world.loop.run(860_000, 10_000)  # its answer is in the pipe, or about to be
    written = world.loop.now()
    world.workers.orphan(strays.extend)
    world.settle()
    assert all(arrival.frame is not None for arrival in strays) and world.workers.poll() == []
    assert written <= world.loop.now()


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
    client = SimClient(loop, 100_000, inputs, lambda: (77, b"mark", 5), lambda: None)
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
