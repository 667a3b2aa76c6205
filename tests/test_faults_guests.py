"""Inside a worker: deaths in mid-call and in mid-copy, traps and bad pointers that depend on the step alone."""

from __future__ import annotations

from collections.abc import Sequence

import google_crc32c
import msgspec
import pytest
from faults_kit import Log, ToyGuest, ToyMemory, injector
from wasm_kit import arguments, imports, wat
from wasm_kit import guest as wasm_guest

from faults.deaths import WorkerDied
from faults.plan import parse_fault
from faults.wrappers.guests import BAD_POINTER, TRAP_REASON, FaultyGuest, VisibleFaults, WorkerSite
from faults.wrappers.memory import TornMemory
from runtime import buffers
from runtime.ports import Guest, GuestStep, Replayed
from runtime.state import StepRecord, View


class World:
    """One worker with one instance."""

    def __init__(self, *texts: str, worker: int = 1, guest: Guest | None = None) -> None:
        self.injector, self.log = injector(*texts)
        self.visible = VisibleFaults([parse_fault(text) for text in texts])
        self.site = WorkerSite(worker)
        self.toy = ToyGuest()
        self.guest = FaultyGuest(guest or self.toy, self.injector, self.site, self.visible)
        self.memory = ToyMemory()
        self.torn = TornMemory(self.memory, self.injector, self.site)

    def run(self, tick: int, agent: int, kind: str = "step", stop_at: int = 0) -> GuestStep:
        return self.guest.run(arguments(tick=tick, agent=agent, kind=kind, stop_at=stop_at))


def test_without_faults_a_crossing_is_what_the_module_did() -> None:
    world = World("agent.trap@tick:4,agent:3,hostcall:1", "worker.kill@tick:3,agent:2,hostcall:1")
    step = world.run(3, 3)
    assert step == ToyGuest().run(arguments(tick=3, agent=3))
    assert world.toy.ran == [arguments(tick=3, agent=3)]
    assert world.guest.globals() == [7] and len(world.guest.memory()) == 65_536
    assert world.log == Log()


def test_a_worker_dies_on_entering_a_host_call_and_its_replacement_does_not() -> None:
    world = World("worker.kill@tick:3,agent:3,hostcall:2")
    with pytest.raises(WorkerDied) as died:
        world.run(3, 3)
    assert died.value.worker == 1
    assert world.log == [(0, {"worker": 1, "tick": 3, "agent": 3, "hostcall": 2})]
    assert world.run(3, 3).status == "ok"


def test_a_step_with_fewer_host_calls_kills_nobody() -> None:
    world = World("worker.kill@tick:3,agent:3,hostcall:4")
    assert world.run(3, 3).status == "ok"
    assert world.log == Log() and world.injector.is_armed(0)


def test_several_deaths_at_one_step_come_one_by_one() -> None:
    world = World("worker.kill@tick:3,agent:3,hostcall:3", "worker.kill@tick:3,agent:3,hostcall:1")
    for _ in range(2):
        with pytest.raises(WorkerDied):
            world.run(3, 3)
    assert world.log.fired == [1, 0]
    assert world.run(3, 3).status == "ok"


def test_a_trap_is_the_same_at_every_run_of_the_step_on_every_worker() -> None:
    fault = "agent.trap@tick:3,agent:3,hostcall:2"
    worlds = [World(fault, worker=worker) for worker in (1, 2)]
    steps = [world.run(3, 3) for world in worlds for _ in range(3)]
    assert {step.status for step in steps} == {TRAP_REASON} and len(steps) == 6
    assert worlds[1].log == [(0, {"worker": 2, "tick": 3, "agent": 3, "hostcall": 2})] * 3


@pytest.mark.parametrize("kind", ["init", "shutdown"])
@pytest.mark.parametrize("fault", ["agent.trap@tick:3,agent:3,hostcall:2", "agent.bad_pointer@tick:3,agent:3"])
def test_visible_faults_strike_steps_only(fault: str, kind: str) -> None:
    world = World(fault)
    assert world.run(3, 3, kind=kind) == ToyGuest().run(arguments(tick=3, agent=3, kind=kind))
    assert world.log == Log()


def test_the_earliest_of_traps_deaths_and_the_callers_own_stop_comes_first() -> None:
    world = World(
        "agent.trap@tick:3,agent:3,hostcall:2", "agent.trap@tick:3,agent:3,hostcall:3",
        "worker.kill@tick:3,agent:3,hostcall:2", "worker.kill@tick:3,agent:3,hostcall:3",
    )  # fmt: skip
    assert world.run(3, 3, stop_at=1).status == "stopped"
    with pytest.raises(WorkerDied):
        world.run(3, 3)
    assert world.run(3, 3).status == TRAP_REASON
    assert world.log.fired == [2, 0]


def test_a_bad_pointer_replaces_the_pointer_of_one_call_every_time() -> None:
    world = World("agent.bad_pointer@tick:3,agent:3,hostcall=2")
    for _ in range(2):
        step = world.run(3, 3)
        assert [call.pointer for call in step.calls] == [0, BAD_POINTER, 32]
        assert step.status == "ok"
    assert world.log.fired == [0, 0]


def test_a_bad_pointer_beyond_the_last_call_strikes_nothing() -> None:
    world = World("agent.bad_pointer@tick:3,agent:3,hostcall=4")
    assert world.run(3, 3) == ToyGuest().run(arguments(tick=3, agent=3))
    assert world.log == Log()


SENDER = wat(
    before=imports("send"),
    step="(drop (call $send (i32.const 1) (i32.const 0) (i32.const 4)))"
    "(drop (call $send (i32.const 2) (i32.const 8) (i32.const 4))) (i32.const 0)",
)


def test_a_real_module_traps_dies_and_passes_a_bad_pointer_where_it_is_told() -> None:
    trapped = World("agent.trap@tick:7,agent:3,hostcall:2", guest=wasm_guest(SENDER))
    step = trapped.run(7, 3)
    assert step.status == TRAP_REASON
    killed = World("worker.kill@tick:7,agent:3,hostcall:2", guest=wasm_guest(SENDER))
    with pytest.raises(WorkerDied):
        killed.run(7, 3)
    pointed = World("agent.bad_pointer@tick:7,agent:3,hostcall=2", guest=wasm_guest(SENDER))
    assert [call.pointer for call in pointed.run(7, 3).calls] == [0, BAD_POINTER]


CAPACITY, DATA = 64, bytes(range(1, 41))
STORED = 2 * buffers.HEAD + len(DATA)


@pytest.mark.parametrize(
    "byte", [0, 1, buffers.HEAD, buffers.HEAD + 7, STORED - buffers.HEAD, STORED - buffers.HEAD + 1, STORED]
)
def test_a_death_in_mid_copy_leaves_a_slot_that_is_whole_or_does_not_verify(byte: int) -> None:
    world = World(f"worker.kill@tick:3,agent:3,byte:{byte}")
    world.torn.reserve(0, buffers.segment_size(CAPACITY))
    world.run(3, 3)
    with pytest.raises(WorkerDied):
        buffers.write(world.torn, 0, CAPACITY, 1, DATA)
    view = View(buffer=0, version=1, length=len(DATA), crc=google_crc32c.value(DATA), capacity=CAPACITY)
    # The head is stored last, its mark first: with the mark's lowest byte the slot becomes whole.
    whole = byte > STORED - buffers.HEAD
    assert buffers.read(world.torn, CAPACITY, view) == (DATA if whole else None)
    assert world.log == [(0, {"worker": 1, "tick": 3, "agent": 3, "byte": byte, "segment": 0})]


def test_a_death_beyond_the_last_byte_does_not_happen() -> None:
    world = World(f"worker.kill@tick:3,agent:3,byte:{STORED + 1}")
    world.torn.reserve(0, buffers.segment_size(CAPACITY))
    world.run(3, 3)
    buffers.write(world.torn, 0, CAPACITY, 1, DATA)
    world.run(4, 3)
    buffers.write(world.torn, 0, CAPACITY, 2, DATA)
    assert world.log == Log()


def test_a_real_module_dies_at_the_check_that_finds_so_much_fuel_used_and_its_replacement_does_not() -> None:
    needed = wasm_guest(SENDER).run(arguments()).fuel
    killed = World(f"worker.kill@tick:7,agent:3,fuel:{needed // 2}", guest=wasm_guest(SENDER))
    with pytest.raises(WorkerDied):
        killed.run(7, 3)
    assert killed.log == [(0, {"worker": 1, "tick": 7, "agent": 3, "hostcall": 0, "fuel": needed // 2})]
    assert FaultyGuest(wasm_guest(SENDER), killed.injector, killed.site, killed.visible).run(arguments()).status == "ok"


@pytest.mark.parametrize("fuel", [999_999, 1_000_000, 10**12])
def test_a_step_that_needs_less_fuel_or_is_granted_no_more_kills_nobody(fuel: int) -> None:
    world = World(f"worker.kill@tick:7,agent:3,fuel:{fuel}", guest=wasm_guest(SENDER))
    assert world.run(7, 3).status == "ok" and world.log == Log()


# --- replays ----------------------------------------------------------------------------------------------------------


class Fed(ToyGuest):
    """Takes every replay in one crossing, and counts them."""

    crossings = 0

    def replay(self, records: Sequence[bytes], fuel: int) -> Replayed:
        self.crossings += 1
        return Replayed([b"\x90"] * len(records), 5)


def fed(tick: int) -> bytes:
    return msgspec.msgpack.encode(StepRecord(3, tick, "step", tick, 0, 0, 9, 0, 0, 0, 64, 64, False, (), (), ()))


@pytest.mark.parametrize(
    ("texts", "ticks", "at_once"),
    [
        ((), (1, 9), True),
        (("worker.kill@tick:5,agent:3,hostcall:1",), (1, 4), True),
        (("worker.kill@tick:5,agent:3,hostcall:1",), (4, 5), False),
        (("worker.kill@tick:5,agent:2,hostcall:1",), (4, 6), True),
        (("agent.trap@tick:5,agent:3,hostcall:1",), (5, 5), False),
    ],
)
def test_a_replay_in_which_something_may_strike_is_fed_step_by_step(
    texts: tuple[str, ...], ticks: tuple[int, int], at_once: bool
) -> None:
    guest = Fed()
    world = World(*texts, guest=guest)
    done = world.guest.replay([fed(tick) for tick in range(ticks[0], ticks[1] + 1)], 100)
    assert (done is not None, guest.crossings) == (at_once, int(at_once))


def test_a_replay_that_a_death_has_struck_already_is_fed_at_once() -> None:
    guest = Fed()
    world = World("worker.kill@tick:5,agent:3,hostcall:1", guest=guest)
    with pytest.raises(WorkerDied):
        world.run(5, 3)
    assert world.guest.replay([fed(4), fed(5), fed(6)], 100) is not None
