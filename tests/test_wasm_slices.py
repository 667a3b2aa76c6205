"""Calls in slices (WAS-8): the same results, cancellation between two slices, results streamed as they come."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
from modules_kit import ADD, MEMORY, RECURSE, SPIN, instance, module

from runtime.errors import CallFailed, Cancelled, LimitExceeded, Refused
from runtime.wasm import Instance, ModuleLimits, raw
from runtime.wasm import running as slices
from runtime.wasm.running import Stream

COUNT = """(func (export "count") (param i32) (result i64) (local i64)
  (loop (local.set 1 (i64.add (local.get 1) (i64.const 1))) (i64.store (i32.const 0) (local.get 1))
    (br_if 0 (i64.lt_u (local.get 1) (i64.extend_i32_u (local.get 0))))) (local.get 1))"""
PASS = """(func (export "all") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
  local.get 3 local.get 2 local.get 1 local.get 0) (func (export "none"))"""
EMIT = """(import "stream" "emit" (func $emit (param i32 i32)))"""
TELL = """(func (export "tell") (param i32) (result i32) (local i32)
  (loop (i32.store8 (i32.const 0) (i32.add (i32.const 97) (local.get 1))) (call $emit (i32.const 0) (i32.const 1))
    (local.set 1 (i32.add (local.get 1) (i32.const 1))) (br_if 0 (i32.lt_u (local.get 1) (local.get 0))))
  (local.get 1))"""


def counted(held: Instance) -> int:
    return int.from_bytes(held.memory.read(0, 8), "little")


def test_a_call_in_slices_gives_what_the_whole_call_gives_and_burns_as_much() -> None:
    with instance(COUNT, MEMORY) as held:
        assert held.call("count", 10_000) == 10_000
        burned = held.used
        for size in (slices.SLICE_MIN, 1_000, 1_000_000):
            held.used = 0
            call = held.start("count", 10_000, slice=size)
            assert not call.ended and call.slices == 0
            assert call.result() == 10_000 and call.ended and held.used == burned
            assert abs(call.slices - burned // size) <= 1 + burned // size // 5
        assert held.call("count", 5) == 5


def test_the_slices_are_the_same_in_every_run() -> None:
    def seen() -> list[int]:
        with instance(COUNT, MEMORY) as held:
            call, found = held.start("count", 3_000, slice=1_000), []
            while not call.advance():
                found.append(counted(held))
            return found

    assert seen() == seen() and len(seen()) > 10


def test_numbers_of_all_types_pass_through_a_call_in_slices() -> None:
    with instance(PASS) as held:
        for values in (
            (1, 2, 3.5, 4.25),
            (-(2**31), -(2**63), -0.0, float("inf")),
            (2**31 - 1, 2**63 - 1, 1e10, 5e-324),
        ):
            assert held.start("all", *values).result() == tuple(reversed(values))
        assert held.start("none").result() is None


# --- cancellation -----------------------------------------------------------------------------------------------------


def test_a_cancelled_call_ends_between_two_slices_and_its_instance_takes_the_next() -> None:
    with instance(SPIN, COUNT, ADD, MEMORY) as held:
        call = held.start("spin", slice=10_000)
        assert not call.advance() and not call.advance()
        call.cancel()
        assert call.ended and call.advance()
        with pytest.raises(Cancelled, match="after 2 slices") as caught:
            call.result()
        assert caught.value.reason == "cancelled"
        call.cancel()
        assert held.call("add", 1, 2) == 3 and held.start("count", 100).result() == 100


def test_any_thread_may_ask_for_the_end_and_only_one_goes_on() -> None:
    with instance(SPIN) as held:
        call = held.start("spin", slice=10_000)
        told: list[BaseException] = []

        def other() -> None:
            try:
                call.advance()
            except Refused as error:
                told.append(error)
            call.cancel()

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert "another thread started this call" in str(told[0]) and not call.ended
        with pytest.raises(Cancelled):
            call.result()


def test_an_endless_call_is_cancelled_from_another_thread_while_it_runs() -> None:
    with instance(SPIN) as held:
        call = held.start("spin", slice=100_000)
        timer = threading.Timer(0.05, call.cancel)
        timer.start()
        with pytest.raises(Cancelled):
            call.result()
        assert call.slices > 0


def test_a_dropped_call_and_a_closed_instance_leave_nothing_behind() -> None:
    held = instance(SPIN, ADD)
    for _ in range(50):
        call = held.start("spin", slice=1_000)
        call.advance()
        del call
        gc.collect(0)
        assert held.call("add", 1, 2) == 3
    call = held.start("spin", slice=1_000)
    call.advance()
    held.close()
    with pytest.raises(Cancelled):
        call.result()
    with pytest.raises(Refused, match="closed"):
        held.start("add", 1, 2)


def test_while_a_call_is_not_at_its_end_the_instance_takes_no_other_and_shows_its_memory() -> None:
    with instance(COUNT, ADD, MEMORY) as held:
        with held.start("count", 100_000, slice=1_000) as call:
            call.advance()
            for use in (lambda: held.call("add", 1, 2), lambda: held.start("add", 1, 2), lambda: held.put(b"x")):
                with pytest.raises(Refused, match="a call of it is not at its end"):
                    use()
            assert 0 < counted(held) < 100_000
        assert call.ended and held.call("add", 1, 2) == 3


@pytest.mark.parametrize("how", ["name", "count", "value", "slice"])
def test_what_cannot_be_called_is_refused_before_anything_runs(how: str) -> None:
    with instance(COUNT, MEMORY) as held:
        calls: dict[str, Callable[[], Any]] = {
            "name": lambda: held.start("nosuch"),
            "count": lambda: held.start("count"),
            "value": lambda: held.start("count", 2**40),
            "slice": lambda: held.start("count", 1, slice=slices.SLICE_MIN - 1),
        }
        with pytest.raises(Refused):
            calls[how]()
        assert held.call("count", 3) == 3


# --- failures ---------------------------------------------------------------------------------------------------------


def test_limits_traps_and_host_functions_end_a_call_in_slices_as_they_end_any() -> None:
    with instance(SPIN, RECURSE, '(func (export "boom") unreachable)', fuel=100_000) as held:
        for name, reason in (("spin", "limit:fuel"), ("recurse", "limit:stack"), ("boom", "trap:unreachable")):
            call = held.start(name, slice=1_000)
            with pytest.raises(CallFailed) as caught:
                call.result()
            assert caught.value.reason == reason
            with pytest.raises(CallFailed):
                call.result()
    grows = instance(MEMORY, '(func (export "grow") (drop (memory.grow (i32.const 99))))', memory=65_536)
    with grows, pytest.raises(LimitExceeded, match="limit:memory"):
        grows.start("grow").result()
    caller = (
        '(import "env" "f" (func $f (param i32) (result i32)))(func (export "go") (result i32) i32.const 1 call $f)'
    )

    def failing(n: int) -> int:
        raise ZeroDivisionError("in a slice")

    with module(caller).instantiate({"env.f": failing}) as held:
        with pytest.raises(ZeroDivisionError, match="in a slice"):
            held.start("go").result()
        with pytest.raises(ZeroDivisionError):
            held.call("go")


def test_a_host_function_has_a_whole_stack_in_a_slice_and_may_use_other_instances() -> None:
    def deep(n: int) -> int:
        nested: list[Any] = []
        for _ in range(100_000):
            nested = [nested]
        with pytest.raises(RecursionError):
            repr(nested)
        with instance(COUNT, MEMORY) as other:
            return int(other.start("count", 500, slice=200).result())  # type: ignore[arg-type]

    caller = (
        '(import "env" "f" (func $f (param i32) (result i32)))(func (export "go") (result i32) i32.const 1 call $f)'
    )
    with module(caller).instantiate({"env.f": deep}) as held:
        assert held.start("go", slice=100).result() == 500


def test_a_call_that_asks_for_its_own_end_ends_after_its_slice() -> None:
    caller = '(import "env" "f" (func $f))(func (export "go") (loop call $f br 0))'  # it never returns
    asked = []

    def stop() -> None:
        asked.append(1)
        call.cancel()

    with module(caller).instantiate({"env.f": stop}) as held:
        call = held.start("go", slice=1_000)
        with pytest.raises(Cancelled, match="after 1 slices"):
            call.result()
    assert asked


def test_an_interruption_ends_the_call_and_not_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with instance(COUNT, ADD, MEMORY) as held:
        call = held.start("count", 10)
        whole = raw.Sliced.poll

        def interrupted(sliced: raw.Sliced) -> bool:
            whole(sliced)
            raise KeyboardInterrupt

        monkeypatch.setattr(raw.Sliced, "poll", interrupted)
        with pytest.raises(KeyboardInterrupt):
            call.advance()
        monkeypatch.undo()
        with pytest.raises(Cancelled, match="interrupted"):
            call.result()
        assert held.call("add", 1, 2) == 3


# --- streams ----------------------------------------------------------------------------------------------------------


def told(count: int, size: int, stop: int = -1) -> tuple[list[bytes], Any]:
    """Chunks, and the result."""
    stream = Stream()
    with module(EMIT, TELL, MEMORY).instantiate(stream.functions()) as held:
        results = stream.results(held, "tell", count, slice=size)
        found: list[bytes] = []
        while True:
            try:
                found.append(next(results))
            except StopIteration as end:
                return found, end.value
            if len(found) == stop:
                results.close()
                assert held.call("tell", 1) == 1 and stream.taken()
                return found, None


def test_what_a_module_emits_comes_while_it_runs_in_order_and_whole() -> None:
    whole = [bytes([97 + n % 159]) for n in range(20)]
    assert told(20, 100) == told(20, 1_000_000) == (whole, 20)
    stream, seen = Stream(), []
    with module(EMIT, TELL, MEMORY).instantiate(stream.functions()) as held:
        for chunk in stream.results(held, "tell", 20, slice=100):
            seen.append((chunk, held.memory.read(0, 1)))
    assert seen[0][1] < whole[-1], "the first chunk came before the last was made"


def test_who_stops_to_listen_cancels_the_call() -> None:
    assert told(50, 100, stop=3) == ([b"a", b"b", b"c"], None)


def test_chunks_before_a_failure_arrive_and_then_the_failure() -> None:
    text = '(func (export "tell") (call $emit (i32.const 0) (i32.const 5)) unreachable)'
    stream, seen = Stream(), []
    with module(EMIT, text, MEMORY).instantiate(stream.functions()) as held, pytest.raises(CallFailed, match="trap:"):
        for chunk in stream.results(held, "tell"):
            seen.append(chunk)
    assert seen == [bytes(5)]


def test_a_range_outside_and_a_flood_end_the_call() -> None:
    outside = '(func (export "tell") (call $emit (i32.const -1) (i32.const 5)))'
    stream = Stream()
    with (
        module(EMIT, outside, MEMORY).instantiate(stream.functions()) as held,
        pytest.raises(Refused, match="not inside"),
    ):
        list(stream.results(held, "tell"))
    flood = '(func (export "tell") (loop (call $emit (i32.const 0) (i32.const 65536)) (br 0)))'
    stream = Stream()
    limits = ModuleLimits(fuel=10_000_000)
    with module(EMIT, flood, MEMORY).instantiate(stream.functions(), limits) as held:
        assert sum(len(chunk) for chunk in _until(stream, held)) >= slices.PENDING_MAX - 65_536


def _until(stream: Stream, held: Instance) -> list[bytes]:
    found: list[bytes] = []
    with pytest.raises(LimitExceeded, match="limit:stream"):
        for chunk in stream.results(held, "tell"):
            found.append(chunk)
    return found
