"""The workers' pipes under fault: what reaches whom, in which order, and what is told of it."""

from __future__ import annotations

import pytest
from faults_kit import Log, Timers, ToyMemory, ToyWorkers, done, injector, work

from faults.wrappers.frames import corrupted
from faults.wrappers.slots import FaultySlots
from faults.wrappers.workers import FaultyWorkers
from runtime import buffers, frames
from runtime.errors import FrameRefused
from runtime.ports import Arrival
from runtime.state import View


class World:
    """One incarnation's workers with faults over toy ones."""

    def __init__(self, *texts: str) -> None:
        self.injector, self.log = injector(*texts)
        self.toy, self.timers = ToyWorkers(), Timers()
        self.workers = FaultyWorkers(self.toy, self.injector, self.timers.later)

    def arrive(self, *arrivals: tuple[int, bytes | None]) -> list[Arrival]:
        self.toy.arrivals += [Arrival(*arrival) for arrival in arrivals]
        return self.workers.poll()


def test_without_faults_every_call_passes_untouched_and_in_order() -> None:
    world = World()
    world.workers.spawn(1)
    world.workers.send(1, work(1, 1, (3, 0)))
    world.workers.send(1, b"junk")
    world.workers.kill(1)
    assert world.toy.spawned == [1] and world.toy.killed == [1]
    assert world.toy.sent == [(1, work(1, 1, (3, 0))), (1, b"junk")]
    passing = [(1, done(1, 1, (3, 0))), (1, b"junk"), (1, None)]
    assert world.arrive(*passing) == passing
    assert world.log == Log()


def test_faults_at_other_steps_leave_frames_alone() -> None:
    world = World(
        "worker.kill@tick:4,agent:0", "frame.lose@tick:3,agent:1,direction:work", "worker.stall@tick:9,agent:0"
    )
    world.workers.send(1, work(1, 1, (3, 0)))
    assert world.toy.sent == [(1, work(1, 1, (3, 0)))]
    assert world.arrive((1, done(1, 1, (3, 0))), (1, b"junk")) == [(1, done(1, 1, (3, 0))), (1, b"junk")]
    assert world.log == Log()


def test_an_idle_worker_dies_before_the_work_reaches_it_and_only_once() -> None:
    world = World("worker.kill@tick:3,agent:1")
    world.workers.send(1, work(1, 5, (3, 0), (3, 1)))
    assert world.toy.killed == [1] and world.toy.sent == []
    world.workers.send(2, work(2, 6, (3, 1)))
    assert world.toy.killed == [1] and len(world.toy.sent) == 1
    fields = {"worker": 1, "lease": 5, "incarnation": 1, "tick": 3, "agent": 1, "point": "idle"}
    assert world.log == [(0, fields)]


def test_two_kills_of_one_step_take_two_workers_when_they_stand_at_different_points() -> None:
    world = World("worker.kill@tick:3,agent:1,point:after", "worker.kill@tick:3,agent:1")
    world.workers.send(1, work(1, 1, (3, 1)))
    world.workers.send(2, work(2, 2, (3, 1)))
    assert world.arrive((2, done(2, 2, (3, 1)))) == []
    assert world.toy.killed == [1, 2]
    assert world.log.fired == [1, 0]


def test_one_fault_fires_per_death_and_the_next_at_the_next_attempt() -> None:
    world = World("worker.kill@tick:3,agent:1", "worker.kill@tick:3,agent:1", "worker.kill@tick:3,agent:0")
    for worker in (1, 2, 3):
        world.workers.send(worker, work(worker, worker, (3, 0), (3, 1)))
        assert [index for index, _ in world.log] == [2, 0, 1][:worker]
    assert world.toy.killed == [1, 2, 3] and world.toy.sent == []
    world.workers.send(4, work(4, 4, (3, 0), (3, 1)))
    assert len(world.toy.sent) == 1


@pytest.mark.parametrize("again", [False, True])
def test_two_faults_after_a_step_cost_two_workers(again: bool) -> None:
    world = World(*["worker.kill@tick:3,agent:1,point:after"] * (1 + again))
    passed = []
    for worker in (1, 2):
        world.workers.send(worker, work(worker, worker, (3, 1)))
        passed += world.arrive((worker, done(worker, worker, (3, 1))))
    assert len(world.toy.killed) == len(world.log) == 1 + again and len(passed) == 1 - again


def test_a_worker_killed_after_its_step_takes_the_result_with_it() -> None:
    world = World("worker.kill@tick:3,agent:1,point:after")
    world.workers.send(1, work(1, 1, (3, 1)))
    assert world.toy.killed == []
    assert world.arrive((1, done(1, 1, (3, 1)))) == []
    assert world.toy.killed == [1]
    assert world.arrive((1, None)) == [(1, None)]


@pytest.mark.parametrize("address", ["hostcall:2", "byte:10"])
def test_kills_inside_the_worker_are_not_carried_out_at_its_pipe(address: str) -> None:
    world = World(f"worker.kill@tick:3,agent:1,{address}")
    world.workers.send(1, work(1, 1, (3, 1)))
    assert world.arrive((1, done(1, 1, (3, 1)))) != []
    assert world.toy.killed == [] and world.log == Log()


def test_a_stalled_workers_frames_arrive_right_behind_its_replacements_result() -> None:
    world = World("worker.stall@tick:3,agent:1")
    world.workers.send(1, work(1, 1, (3, 1)))
    late, again = done(1, 1, (3, 1)), done(1, 1, (3, 1))
    assert world.arrive((1, late)) == []
    assert world.arrive((1, again)) == []  # the answer to a resend is held back as well
    assert world.arrive((1, None)) == [(1, None)]  # its end closes when it is reaped
    world.workers.send(2, work(2, 2, (3, 1)))
    other = done(3, 3, (3, 5))
    assert world.arrive((3, other)) == [(3, other)]
    fresh = done(2, 2, (3, 1))
    assert world.arrive((2, fresh)) == [(2, fresh), (1, late), (1, again)]
    assert world.log[0][1] == {"worker": 1, "lease": 1, "incarnation": 1, "tick": 3, "agent": 1, "for": 0}


def test_a_stall_for_a_time_ends_when_it_is_over() -> None:
    world = World("worker.stall@tick:3,agent:1,for=50ms")
    world.workers.send(1, work(1, 1, (3, 1)))
    assert world.arrive((1, done(1, 1, (3, 1)))) == []
    world.workers.send(2, work(2, 2, (3, 1)))
    assert world.arrive((2, done(2, 2, (3, 1)))) == [(2, done(2, 2, (3, 1)))]
    world.timers.pass_time(49_000_000)
    assert world.workers.poll() == []
    world.timers.pass_time(1_000_000)
    assert world.workers.poll() == [(1, done(1, 1, (3, 1)))]


def test_a_lost_work_frame_is_the_one_with_the_occurrence() -> None:
    world = World("frame.lose@tick:3,agent:1,direction:work,occurrence:2")
    for lease in (1, 2, 3):
        world.workers.send(1, work(1, lease, (3, 1)))
    assert [frames.unpack(frame).lease for _, frame in world.toy.sent] == [1, 3]  # type: ignore[union-attr]
    assert world.log[0][1]["lease"] == 2


def test_a_lost_result_never_arrives() -> None:
    world = World("frame.lose@tick:3,agent:1,direction:done")
    world.workers.send(1, work(1, 1, (3, 1)))
    assert world.arrive((1, done(1, 1, (3, 1)))) == []
    assert world.arrive((1, done(1, 1, (3, 1)))) != []


def test_a_duplicate_arrives_at_once_or_later() -> None:
    world = World(
        "frame.duplicate@tick:3,agent:1,direction:work", "frame.duplicate@tick:3,agent:1,direction:done,for=5ms"
    )
    frame, answer = work(1, 1, (3, 1)), done(1, 1, (3, 1))
    world.workers.send(1, frame)
    assert world.toy.sent == [(1, frame), (1, frame)]
    assert world.arrive((1, answer)) == [(1, answer)]
    world.timers.pass_time(5_000_000)
    assert world.workers.poll() == [(1, answer)]


def test_frames_behind_a_delayed_one_overtake_it() -> None:
    world = World(
        "frame.delay@tick:3,agent:1,direction:work,for=5ms", "frame.delay@tick:3,agent:2,direction:done,for=5ms"
    )
    slow, fast = work(1, 1, (3, 1)), work(1, 2, (3, 2))
    world.workers.send(1, slow)
    world.workers.send(1, fast)
    assert world.toy.sent == [(1, fast)]
    world.timers.pass_time(5_000_000)
    assert world.toy.sent == [(1, fast), (1, slow)]
    assert world.arrive((1, done(1, 2, (3, 2))), (1, done(1, 1, (3, 1)))) == [(1, done(1, 1, (3, 1)))]
    world.timers.pass_time(5_000_000)
    assert world.workers.poll() == [(1, done(1, 2, (3, 2)))]


def test_faults_at_one_frame_add_up_in_plan_order() -> None:
    world = World(
        "frame.duplicate@tick:3,agent:1,direction:work", "frame.delay@tick:3,agent:1,direction:work,for=1ms",
        "frame.lose@tick:3,agent:2,direction:work",
    )  # fmt: skip
    world.workers.send(1, work(1, 1, (3, 1)))
    assert world.toy.sent == []
    world.timers.pass_time(1_000_000)
    assert len(world.toy.sent) == 2
    assert world.log.fired == [0, 1]


@pytest.mark.parametrize("parameter", ["bit=0", "bit=77", "bit=99999", "bit=200,mode=truncate", "bit=0,mode=truncate"])
@pytest.mark.parametrize("direction", ["work", "done"])
def test_a_corrupt_frame_is_refused_by_whoever_gets_it(direction: str, parameter: str) -> None:
    world = World(f"frame.corrupt@tick:3,agent:1,direction:{direction},{parameter}")
    world.workers.send(1, work(1, 1, (3, 1)))
    (arrived,) = world.arrive((1, done(1, 1, (3, 1))))
    damaged = world.toy.sent[0][1] if direction == "work" else arrived.frame
    assert damaged is not None
    with pytest.raises(FrameRefused):
        frames.unpack(damaged)
    assert world.log.fired == [0]


def test_a_frame_doubled_twice_arrives_three_times() -> None:
    world = World(*["frame.duplicate@tick:3,agent:1,direction:work"] * 2)
    world.workers.send(1, work(1, 1, (3, 1)))
    assert world.toy.sent == [(1, work(1, 1, (3, 1)))] * 3


def test_lengths_lie_as_nothing_as_huge_and_as_negative() -> None:
    told = {int.from_bytes(corrupted(work(1, 1, (3, 1)), "length", bit)[:4], "little") for bit in range(3)}
    assert told == {0, 2**31, 2**32 - 1}


@pytest.mark.parametrize("bit", range(4))
def test_a_frame_whose_length_lies_is_refused(bit: int) -> None:
    world = World(f"frame.corrupt@tick:3,agent:1,direction:work,mode=length,bit={bit}")
    world.workers.send(1, work(1, 1, (3, 1)))
    with pytest.raises(FrameRefused):
        frames.unpack(world.toy.sent[0][1])


def test_what_is_held_back_dies_with_its_incarnation() -> None:
    world = World(
        "frame.delay@tick:3,agent:1,direction:work,for=5ms", "frame.delay@tick:3,agent:2,direction:done,for=5ms",
        "worker.stall@tick:3,agent:3,for=5ms",
    )  # fmt: skip
    world.workers.send(1, work(1, 1, (3, 1)))
    world.workers.send(2, work(2, 2, (3, 2)))
    world.workers.send(3, work(3, 3, (3, 3)))
    assert world.arrive((2, done(2, 2, (3, 2))), (3, done(3, 3, (3, 3)))) == []
    world.workers.close()
    world.timers.pass_time(5_000_000)
    assert [worker for worker, _ in world.toy.sent] == [2, 3] and world.workers.poll() == []


def test_a_fault_that_fired_in_one_incarnation_does_not_fire_in_the_next() -> None:
    world = World("frame.lose@tick:3,agent:1,direction:work")
    world.workers.send(1, work(1, 1, (3, 1)))
    successor = FaultyWorkers(world.toy, world.injector, world.timers.later)
    successor.send(2, work(2, 1, (3, 1)))
    assert [worker for worker, _ in world.toy.sent] == [2]


CAPACITY = 256


def published(data: bytes, version: int = 4) -> tuple[ToyMemory, View]:
    memory = ToyMemory()
    memory.reserve(0, buffers.segment_size(CAPACITY))
    crc = buffers.write(memory, 0, CAPACITY, version, data)
    return memory, View(buffer=0, version=version, capacity=CAPACITY, length=len(data), crc=crc)


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(200))])
@pytest.mark.parametrize("bit", [0, 5, 1599, 1600, 1700, 12_345_678])
def test_flipped_bits_of_a_published_version_are_always_found_by_its_reader(data: bytes, bit: int) -> None:
    memory, view = published(data)
    assert buffers.read(memory, CAPACITY, view) == data
    inject, log = injector(f"buffer.flip@buffer:0,version:4,bit={bit}")
    workers = FaultyWorkers(ToyWorkers(), inject, Timers().later, FaultySlots(memory, inject))
    workers.send(1, work(1, 1, (9, 2), views=(view,)))
    assert buffers.read(memory, CAPACITY, view) is None
    assert log == [(0, {"buffer": 0, "version": 4, "bit": bit, "bits": 1})]


def test_only_the_addressed_version_is_flipped_once_and_never_one_that_travels_in_the_frame() -> None:
    memory, view = published(b"data")
    inject, log = injector("buffer.flip@buffer:0,version:4,bits=9", "buffer.flip@buffer:0,version:5")
    workers = FaultyWorkers(ToyWorkers(), inject, Timers().later, FaultySlots(memory, inject))
    carried = View(buffer=0, version=4, capacity=CAPACITY, length=4, crc=view.crc, data=b"data")
    workers.send(1, work(1, 1, (8, 2), views=(carried,)))
    assert buffers.read(memory, CAPACITY, view) == b"data"
    workers.send(1, work(1, 2, (9, 2), views=(view,)))
    buffers.write(memory, 0, CAPACITY, 4, b"data")
    workers.send(1, work(1, 3, (9, 2), views=(view,)))
    assert buffers.read(memory, CAPACITY, view) == b"data"
    assert log.fired == [0]
