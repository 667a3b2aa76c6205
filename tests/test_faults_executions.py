"""Workers without memory, without processes, in loops, undead, wrong or stuck: what is done to them, and to whom."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from faults_kit import Log, Timers, ToyWorkers, done, injector, work
from runtime_kit import play, told, twin

from faults.deaths import WorkerDied, WorkerHung
from faults.wrappers.executions import StruckGuest, StruckGuests
from faults.wrappers.workers import FaultyWorkers
from harness.simulation import journal_digest
from runtime.errors import SpawnFailed
from runtime.frames import StepArguments, packed_inbox
from runtime.ports import Arrival, Call, Guest, GuestStep, Replayed
from runtime.state import AgentSpec, StepRecord

SPEC = AgentSpec(capabilities=(), module="", name="a")


class ToyGuest:
    """Makes three host calls, the second with the bytes 10 to 13; a stop ends it on entering that call."""

    def __init__(self) -> None:
        self.bytes = bytearray(64)
        self.calls = [Call("now", 0, 0, 0), Call("output", 0, 10, 4), Call("wake", 1, 0, 0)]

    def run(self, arguments: StepArguments) -> GuestStep:
        if 0 < arguments.stop_at <= len(self.calls):
            return GuestStep("stopped", self.calls[: arguments.stop_at - 1], 1)
        return GuestStep("ok", self.calls, 1)

    def replay(self, records: object, fuel: int) -> Replayed | None:
        return None

    def memory(self) -> memoryview:
        return memoryview(self.bytes)

    def globals(self) -> list[int]:
        return []

    def types(self) -> list[int]:
        return [0x7F] * len(self.globals())

    def restore(self, memory: bytes, globals: object) -> None:
        self.bytes[:] = memory

    def close(self) -> None:
        self.bytes = bytearray()


class ToyGuests:
    def instantiate(self, agent: int, spec: AgentSpec, wasm: bytes, libraries: Sequence[bytes] = ()) -> Guest:
        return ToyGuest()


def step(tick: int = 3, agent: int = 1, kind: str = "step", stop_at: int = 0) -> StepArguments:
    inbox = packed_inbox([])
    return StepArguments(agent, 1, kind, tick, 0, 0, 2, 0, 0, 0, 9, 99, False, inbox, (), (), None, 100, stop_at)


class World:
    """The instances of some workers, and the pipes of all, under the same faults."""

    def __init__(self, *texts: str) -> None:
        self.injector, self.log = injector(*texts)
        self.toy, self.timers = ToyWorkers(), Timers()
        self.tick = 9
        self.workers = self.next_incarnation()

    def next_incarnation(self) -> FaultyWorkers:
        return FaultyWorkers(self.toy, self.injector, self.timers.later, tick_of=lambda: self.tick)

    def guest(self, agent: int = 1, worker: int = 7) -> Guest:
        return StruckGuests(ToyGuests(), self.injector, worker).instantiate(agent, SPEC, b"")

    def arrive(self, *arrivals: tuple[int, bytes | None]) -> list[Arrival]:
        self.toy.arrivals += [Arrival(*arrival) for arrival in arrivals]
        return self.workers.poll()


def test_a_worker_without_memory_dies_as_it_makes_the_instance_that_is_addressed() -> None:
    world = World("worker.oom@agent:1,occurrence:2")
    world.guest(agent=1), world.guest(agent=2), world.guest(agent=2)
    with pytest.raises(WorkerDied):
        world.guest(agent=1)
    world.guest(agent=1)
    assert world.log == [(0, {"worker": 7, "agent": 1, "occurrence": 2})]


def test_a_worker_without_memory_dies_in_a_step_once() -> None:
    world = World("worker.oom@tick:3,agent:1")
    assert world.guest().run(step(tick=2)).status == "ok"
    with pytest.raises(WorkerDied):
        world.guest().run(step())
    assert world.guest().run(step()).status == "ok" and world.log.fired == [0]


@pytest.mark.parametrize(("verb", "death"), [("poison", WorkerDied), ("hang", WorkerHung)])
def test_a_poisoned_step_takes_every_worker_and_a_hanging_one_stops_it(verb: str, death: type[BaseException]) -> None:
    world = World(f"task.{verb}@tick:3,agent:1,hostcall:2")
    for worker in (7, 8, 9):
        with pytest.raises(WorkerDied) as died:
            world.guest(worker=worker).run(step())
        assert type(died.value) is death
    assert [fields["worker"] for _, fields in world.log] == [7, 8, 9]
    assert world.guest().run(step(agent=2)).status == "ok" == world.guest().run(step(tick=4)).status


def test_a_poisoned_call_that_the_step_never_makes_strikes_nobody() -> None:
    world = World("task.poison@tick:3,agent:1,hostcall:9")
    assert world.guest().run(step()).status == "ok" and world.log == Log()


def test_a_step_that_is_stopped_before_its_poisoned_call_is_only_stopped() -> None:
    world = World("task.poison@tick:3,agent:1,hostcall:3")
    assert world.guest().run(step(stop_at=2)).status == "stopped" and world.log == Log()


@pytest.mark.parametrize("what", ["effect", "state"])
def test_a_wrong_result_differs_in_one_bit_of_what_it_names_and_only_the_first_time(what: str) -> None:
    world = World(f"worker.wrong@tick:3,agent:1,what={what}")
    wrong, right = world.guest(), world.guest(worker=8)
    assert wrong.run(step()) == right.run(step()), "nothing tells: the same calls, and no trap"
    changed = [at for at, byte in enumerate(wrong.memory()) if byte]
    assert len(changed) == 1 and wrong.memory()[changed[0]].bit_count() == 1
    assert (10 <= changed[0] < 14) == (what == "effect") and not any(right.memory())
    assert world.log[0][1] == {"worker": 7, "tick": 3, "agent": 1, "what": what} and world.log.fired == [0]


def test_a_wrong_core_is_wrong_once_in_so_many_steps_by_the_step_alone() -> None:
    hits = []
    for _ in range(2):
        world = World("worker.wrong@tick:3,one_in=10")
        guest = world.guest()
        for tick in range(403):
            guest.run(step(tick=tick))
        hits.append([fields["tick"] for _, fields in world.log])
    assert hits[0] == hits[1] and min(hits[0]) >= 3 and 20 <= len(hits[0]) <= 65


def test_starts_fail_as_often_as_the_fault_says_from_its_tick_on() -> None:
    world = World("worker.spawn_fail@tick:3,attempts=2")
    world.tick = 2
    world.workers.spawn(1)
    world.tick = 5
    for worker in (2, 3):
        with pytest.raises(SpawnFailed):
            world.workers.spawn(worker)
    world.workers.spawn(4)
    assert world.toy.spawned == [1, 4] and world.log.fired == [0, 0]


def test_a_loop_takes_the_addressed_worker_then_each_that_was_started_since() -> None:
    world = World("worker.crash_loop@tick:3,agent:1,times=3,calls=2")
    for worker in (1, 2):
        world.workers.spawn(worker)
    world.workers.send(2, work(2, 1, (3, 0)))
    world.workers.send(1, work(1, 2, (3, 1)))
    assert world.toy.killed == [1]
    world.workers.spawn(3)
    for lease in (3, 3, 4):  # a frame that is sent again is the same call
        world.workers.send(2, work(2, lease, (3, 0)))
        world.workers.send(3, work(3, lease, (4, 1)))
    assert world.toy.killed == [1, 3], "in its second call; worker 2 was there before"
    successor = world.next_incarnation()
    successor.spawn(4)
    for lease in (1, 2):
        successor.send(4, work(4, lease, (5, 1)))
    successor.spawn(5)
    for lease in (3, 4):
        successor.send(5, work(5, lease, (6, 1)))
    assert world.toy.killed == [1, 3, 4] and world.log.fired == [0, 0, 0]


@pytest.mark.parametrize("later_incarnation", [False, True])
def test_a_zombies_frames_come_when_its_step_has_gone_to_another(later_incarnation: bool) -> None:
    world = World("worker.zombie@tick:3,agent:1")
    world.workers.send(1, work(1, 5, (3, 1)))
    late = done(1, 5, (3, 1))
    assert world.arrive((1, late), (2, b"other")) == [(2, b"other")] and world.arrive((1, None)) == [(1, None)]
    if later_incarnation:
        world.workers.close()
        world.workers = world.next_incarnation()
    world.workers.send(2, work(2, 6, (3, 0)))
    assert world.arrive() == []
    world.workers.send(3, work(3, 7, (3, 1)))
    assert world.arrive() == [(1, late)] and world.arrive() == []
    assert [fields.get("woken") for _, fields in world.log] == [None, 3]


@pytest.mark.parametrize("scenario", ["ledger", "frames"])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_wrong_result_is_found_whatever_it_is_and_leaves_no_mark(scenario: str, workers: int) -> None:
    history = play(scenario, "worker.wrong@tick:1,one_in=15", workers=workers, check_ppm=1_000_000)
    wrong = sorted((i.fields["worker"], i.fields["agent"]) for i in history.injections)
    assert history.finished and journal_digest(history) == journal_digest(twin(scenario))
    assert len(wrong) > 5 and sorted((f["worker"], f["agent"]) for f in told(history, "disagreed")) == wrong


def test_a_wrong_result_that_nobody_checks_is_in_the_journal_or_stops_the_run() -> None:
    history = play("ledger", "worker.wrong@tick:1,one_in=15")
    assert history.injections and not told(history, "disagreed")
    assert history.failure == "replay" or journal_digest(history) != journal_digest(twin("ledger"))


def test_a_share_of_the_checks_finds_a_share_of_what_is_wrong() -> None:
    found = {}
    for ppm in (100_000, 500_000):
        history = play("ledger", "worker.wrong@tick:1,one_in=5,what=state", check_ppm=ppm)
        found[ppm] = len(told(history, "disagreed")) / len(history.injections)
    assert 0.02 < found[100_000] < 0.25 and 0.3 < found[500_000] < 0.7


@pytest.mark.parametrize(("verb", "reason"), [("poison", "lost_workers"), ("hang", "deadline")])
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_a_step_that_nobody_can_finish_is_ended_by_a_decree_that_says_why(verb: str, reason: str, workers: int) -> None:
    tick, agent = next((e.tick, e.agent) for e in twin("hello").guests if e.calls and e.tick > 2)
    history = play("hello", f"task.{verb}@tick:{tick},agent:{agent},hostcall:1", workers=workers)
    assert history.finished
    assert told(history, "decreed") == [{"agent": agent, "reason": f"decree:{reason}"}]
    assert told(history, "failed") == [{"agent": agent, "reason": f"decree:{reason}"}]


# --- replays ----------------------------------------------------------------------------------------------------------


class Fed(ToyGuest):
    def replay(self, records: object, fuel: int) -> Replayed | None:
        return Replayed([], 0)


@pytest.mark.parametrize(
    ("text", "ticks", "at_once"),
    [
        ("worker.oom@tick:5,agent:1", (1, 4), True),
        ("worker.oom@tick:5,agent:1", (5, 6), False),
        ("worker.oom@tick:5,agent:2", (5, 6), True),
        ("task.poison@tick:5,agent:1,hostcall:1", (4, 5), False),
        ("task.hang@tick:5,agent:1,hostcall:1", (6, 9), True),
        ("worker.wrong@tick:5,one_in:9", (1, 2), False),
    ],
)
def test_a_replay_in_which_something_may_strike_is_fed_step_by_step(
    text: str, ticks: tuple[int, int], at_once: bool
) -> None:
    guest = StruckGuest(Fed(), World(text).injector, 1)
    records = [
        msgspec.msgpack.encode(StepRecord(1, n, "step", n, 0, 0, 2, 0, 0, 0, 9, 99, False, (), (), ()))
        for n in range(ticks[0], ticks[1] + 1)
    ]
    assert (guest.replay(records, 100) is not None) == at_once
