"""The orchestrator's death at any port call: what was done, what is left, and that the dead stay dead."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from faults_kit import Log, ToyGateway, ToyMemory, ToyStorage, ToyWorkers, injector

from faults.deaths import Killed
from faults.injector import Injector
from faults.wrappers.crash import Fuse, mortal
from runtime.ports import Ports


class ToyClock:
    def now(self) -> int:
        return 5


class World:
    """The toy ports, and mortal ones for as many incarnations as a test wants."""

    def __init__(self, *texts: str, seed: int = 0) -> None:
        self.injector: Injector
        self.injector, self.log = injector(*texts, seed=seed)
        self.workers, self.memory, self.storage, self.gateway = ToyWorkers(), ToyMemory(), ToyStorage(), ToyGateway()
        self.place = (0, "boot")
        self.fuse: Fuse

    def incarnation(self, successor: int = 0) -> Ports:
        self.fuse = Fuse(self.injector, lambda: self.place, successor)
        toys = Ports(ToyClock(), self.workers, self.memory, self.storage, self.gateway)
        return mortal(toys, self.fuse)


def every_call(ports: Ports) -> list[Callable[[], object]]:
    """Each counted call of each port, once."""
    return [
        lambda: ports.workers.spawn(1),
        lambda: ports.workers.send(1, b"f"),
        ports.workers.poll,
        lambda: ports.workers.kill(1),
        lambda: ports.memory.reserve(0, 8),
        lambda: ports.memory.store(0, 0, b"s"),
        lambda: ports.memory.load(0, 0, 1),
        lambda: ports.storage.write("a", 0, b"0123456789"),
        ports.storage.names,
        lambda: ports.storage.read("a"),
        lambda: ports.storage.truncate("a", 4),
        lambda: ports.storage.rename("a", "b"),
        lambda: ports.storage.sync("b"),
        ports.storage.sync_dir,
        ports.storage.poll,
        lambda: ports.storage.remove("b"),
        ports.gateway.poll,
        lambda: ports.gateway.send(b"r"),
    ]


def test_without_faults_all_ports_work_and_all_calls_but_the_clocks_and_hazards_are_counted() -> None:
    world = World()
    ports = world.incarnation()
    answers = [call() for call in every_call(ports)]
    assert answers[8] == ["a"] and answers[9] == b"0123456789" and answers[12:15] == [1, 2, [1, 2]]
    assert ports.clock.now() == 5 and ports.hazard("pool.tiny_batch", 1) is False
    assert world.fuse.calls == len(answers) and world.log == Log()
    assert world.workers.sent == [(1, b"f")] and world.gateway.sent == [b"r"]


@pytest.mark.parametrize("point", ["before", "within", "after"])
@pytest.mark.parametrize("call", range(1, 19))
def test_a_death_at_any_call_by_index_is_final_for_that_incarnation(call: int, point: str) -> None:
    world = World(f"orchestrator.kill@call:{call},point:{point}")
    ports = world.incarnation()
    calls = every_call(ports)
    for one in calls[: call - 1]:
        one()
    with pytest.raises(Killed):
        calls[call - 1]()
    for one in [*calls, ports.clock.now, lambda: ports.hazard("x", 1)]:
        with pytest.raises(Killed):
            one()
    assert world.fuse.dead and world.fuse.calls == call
    assert world.log.fired == [0]
    told = world.log[0][1]
    assert (told["call"], told["point"], told["successor"]) == (call, point, 0)
    successor = world.incarnation(1)
    successor.workers.spawn(9)
    assert world.workers.spawned[-1] == 9


@pytest.mark.parametrize(("point", "left"), [("before", b"old"), ("after", b"new data")])
def test_a_write_has_not_happened_before_and_has_happened_after(point: str, left: bytes) -> None:
    world = World(f"orchestrator.kill@call:1,point:{point}")
    world.storage.files["a"] = bytearray(b"old")
    with pytest.raises(Killed):
        world.incarnation().storage.write("a", 0, b"new data")
    assert world.storage.read("a") == left


def test_a_death_within_a_write_leaves_a_prefix_that_the_seed_decides() -> None:
    data, lengths = bytes(range(100)), set()
    for seed in range(40):
        left = []
        for _ in range(2):
            world = World("orchestrator.kill@call:1,point:within", seed=seed)
            with pytest.raises(Killed):
                world.incarnation().storage.write("a", 0, data)
            left.append(world.storage.read("a"))
        assert left[0] == left[1] and 0 < len(left[0]) < 100 and data.startswith(left[0])
        lengths.add(len(left[0]))
    assert len(lengths) > 10


@pytest.mark.parametrize(("point", "sent"), [("before", 0), ("within", 1), ("after", 1)])
def test_a_frame_cannot_be_sent_in_part(point: str, sent: int) -> None:
    world = World(f"orchestrator.kill@call:1,point:{point}")
    with pytest.raises(Killed):
        world.incarnation().gateway.send(b"r")
    assert len(world.gateway.sent) == sent


def test_a_death_by_phase_is_at_the_first_call_at_that_tick_or_later() -> None:
    world = World("orchestrator.kill@tick:5,phase:sync,occurrence:2")
    ports = world.incarnation()
    for place in [(4, "sync"), (5, "commit"), (6, "sync"), (7, "admit")]:
        world.place = place
        ports.storage.poll()
    world.place = (8, "sync")
    with pytest.raises(Killed):
        ports.storage.poll()
    told = {"successor": 0, "call": 5, "tick": 8, "phase": "sync", "port": "storage.poll", "point": "before"}
    assert world.log == [(0, told)]


def test_the_first_boot_is_addressed_as_tick_0() -> None:
    world = World("orchestrator.kill@tick:0,phase:boot")
    world.place = (-1, "boot")
    with pytest.raises(Killed):
        world.incarnation().storage.names()


def test_two_deaths_at_one_address_take_two_incarnations() -> None:
    world = World("orchestrator.kill@tick:5,phase:sync", "orchestrator.kill@tick:5,phase:sync")
    world.place = (5, "sync")
    for successor in range(2):
        with pytest.raises(Killed):
            world.incarnation(successor).storage.poll()
    world.incarnation(2).storage.poll()
    assert world.log.fired == [0, 1]


def test_a_death_in_recovery_is_addressed_by_the_successor_and_its_call() -> None:
    world = World("orchestrator.kill@after:2,call:2", "orchestrator.kill@call:3")
    first = world.incarnation(0)
    for _ in range(2):
        first.storage.names()
    with pytest.raises(Killed):
        first.storage.names()
    second = world.incarnation(1)
    for _ in range(5):
        second.storage.names()
    third = world.incarnation(2)
    third.storage.names()
    with pytest.raises(Killed):
        third.storage.names()
    assert world.log.fired == [1, 0]


def test_no_handler_of_exceptions_catches_a_death() -> None:
    world = World("orchestrator.kill@call:1")
    with pytest.raises(Killed):
        try:
            world.incarnation().storage.names()
        except Exception:
            pytest.fail("a death was taken for an error")
