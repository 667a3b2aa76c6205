"""One contract per port, kept by every adapter of it (Clock and Memory), bare and under wrappers with nothing armed.

What a contract says is what the runtime relies on (`runtime.ports`); a live adapter has to pass the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import simpy
from adapters_kit import immortal, nothing_armed
from faults_kit import ToyMemory

from faults.wrappers.guests import WorkerSite
from faults.wrappers.memory import TornMemory
from harness.adapters.loop import Loop
from harness.adapters.memory import SimMemory, WorkerMemory
from runtime.errors import FailStop
from runtime.ports import Clock, Memory

# --- Clock ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", [False, True], ids=["Loop", "MortalClock"])
def test_a_clock_is_monotone_and_in_whole_nanoseconds(wrapped: bool) -> None:
    loop = Loop()
    clock: Clock = loop
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


def test_processes_and_resources_of_simpy_live_on_the_same_clock() -> None:
    loop = Loop()
    seen: list[tuple[int, str]] = []
    line = simpy.Resource(loop.environment, capacity=1)

    def worker(name: str) -> Iterator[simpy.Event]:
        with line.request() as turn:
            yield turn
            yield loop.environment.timeout(10)
            seen.append((loop.now(), name))
            loop.later(5, partial(seen.append, (loop.now() + 5, f"{name} told")))

    loop.environment.process(worker("a"))
    loop.environment.process(worker("b"))
    loop.later(10, lambda: seen.append((int(loop.environment.now), "callback")))
    assert loop.run(100, 100) is False
    assert seen == [(10, "a"), (10, "callback"), (15, "a told"), (20, "b"), (25, "b told")]


def test_a_process_of_simpy_that_fails_ends_the_run_by_its_own_error() -> None:
    loop = Loop()

    def fails() -> Iterator[simpy.Event]:
        yield loop.environment.timeout(3)
        raise KeyError("mine")

    loop.environment.process(fails())
    with pytest.raises(KeyError, match="mine"):
        loop.run(10, 10)


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
