"""The clients' pipes under fault, and what answers: inputs that come again, blocks released again."""

from __future__ import annotations

import pytest
from faults_kit import Log, Timers, ToyGateway, injector, inputs, release

from faults.wrappers.gateway import FaultyGateway
from runtime import frames
from runtime.errors import FrameRefused


class World:
    def __init__(self, *texts: str) -> None:
        self.injector, self.log = injector(*texts)
        self.toy, self.timers = ToyGateway(), Timers()
        self.gateway = FaultyGateway(self.toy, self.injector, self.timers.later)

    def arrive(self, *incoming: bytes) -> list[bytes]:
        self.toy.incoming += incoming
        return self.gateway.poll()


def test_without_faults_frames_pass_untouched() -> None:
    world = World("frame.lose@direction:release,block:9", "frame.lose@direction:inputs,occurrence:9")
    assert world.arrive(inputs(1), b"junk", inputs(2)) == [inputs(1), b"junk", inputs(2)]
    world.gateway.send(release(1))
    assert world.toy.sent == [release(1)] and world.log == Log()


def test_a_lost_input_frame_is_settled_when_its_inputs_come_again() -> None:
    world = World("frame.lose@direction:inputs,occurrence:2")
    assert world.arrive(inputs(1), inputs(2, 3)) == [inputs(1)]
    assert world.arrive(inputs(4)) == [inputs(4)]
    assert world.log.fired == [0]
    assert world.arrive(inputs(2, 4)) == [inputs(2, 4)]
    assert world.log[1] == (0, {"again": 1, "source": "client", "n": 2})


def test_what_is_owed_outlives_the_incarnation_that_missed_it() -> None:
    world = World("frame.lose@direction:inputs")
    assert world.arrive(inputs(1)) == []
    world.gateway.close()
    successor = FaultyGateway(world.toy, world.injector, world.timers.later)
    world.toy.incoming = [inputs(1)]
    assert successor.poll() == [inputs(1)]
    assert "again" in world.log[-1][1]


def test_a_late_input_frame_arrives_when_its_time_has_come_unless_the_incarnation_has_died() -> None:
    world = World("frame.delay@direction:inputs,for=5ms", "frame.delay@direction:inputs,occurrence:2,for=9ms")
    assert world.arrive(inputs(1), inputs(2)) == []
    world.timers.pass_time(5_000_000)
    assert world.gateway.poll() == [inputs(1)]
    world.gateway.close()
    world.timers.pass_time(5_000_000)
    assert world.gateway.poll() == []


def test_input_frames_arrive_twice_or_garbled() -> None:
    world = World("frame.duplicate@direction:inputs", "frame.corrupt@direction:inputs,occurrence:2,bit=100")
    first, second, damaged = world.arrive(inputs(1), inputs(2))
    assert first == second == inputs(1)
    with pytest.raises(FrameRefused):
        frames.unpack(damaged)


def test_a_release_is_lost_by_block_and_settled_when_it_is_sent_again() -> None:
    world = World("frame.lose@direction:release,block:2")
    for block in (1, 2, 3, 2):
        world.gateway.send(release(block))
    assert world.toy.sent == [release(1), release(3), release(2)]
    assert world.log[0] == (0, {"direction": "release", "block": 2, "for": 0})
    assert world.log[1] == (0, {"again": 1, "block": 2})


def test_a_release_is_late_or_doubled_and_a_second_sending_is_addressed_by_occurrence() -> None:
    world = World(
        "frame.delay@direction:release,block:1,for=1ms", "frame.duplicate@direction:release,block:1,occurrence:2"
    )
    world.gateway.send(release(1))
    assert world.toy.sent == []
    world.timers.pass_time(1_000_000)
    assert world.toy.sent == [release(1)]
    world.gateway.send(release(1))
    assert world.toy.sent == [release(1)] * 3


def test_a_late_release_dies_with_its_incarnation() -> None:
    world = World("frame.delay@direction:release,block:1,for=1ms")
    world.gateway.send(release(1))
    world.gateway.close()
    world.timers.pass_time(1_000_000)
    assert world.toy.sent == []
