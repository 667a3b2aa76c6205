"""Steps that are fed again in one crossing do what they do in crossings of their own."""

from __future__ import annotations

import bisect

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasm_kit import guest, imports, wat

from runtime.errors import Refused
from runtime.frames import arguments_of, effects_of
from runtime.ports import Replayed
from runtime.state import Message, StepRecord
from runtime.wasm import WasmGuest

FUEL = 1_000_000
# Keeps a count and a sum of what came in, and sends back each message's bytes, an output, and what the host answers.
ECHO = wat(
    before=imports("send", "output", "wake", "now", "random", "self") + """(global $got (mut i32) (i32.const 0))""",
    alloc="(i32.const 1024)",
    receive="""
      (global.set $got (i32.add (global.get $got) (i32.const 1)))
      (i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) (i32.load8_u (i32.const 1048))))
      (memory.copy (i32.const 4096) (i32.const 1024) (local.get 1))
      (drop (call $send (i32.const 1) (i32.const 4096) (local.get 1)))
      (i32.const 0)""",
    step="""
      (i64.store (i32.const 520) (call $now))
      (i64.store (i32.const 528) (call $random))
      (i32.store (i32.const 536) (call $self))
      (i32.store (i32.const 540) (global.get $got))
      (i64.store (i32.const 544) (i64.load (local.get 0)))
      (if (i32.and (i32.load (i32.const 512)) (i32.const 1))
        (then (drop (call $output (i32.const 512) (i32.const 40)))))
      (i32.const 0)""",
)


def packed(record: StepRecord) -> bytes:
    return msgspec.msgpack.encode(record)


def step(tick: int, *payloads: bytes, kind: str = "step", key: int = 1 << 63, limit: int = 8) -> StepRecord:
    inbox = tuple(Message(1 << 40 | n, 1, 3, 2, payload) for n, payload in enumerate(payloads))
    return StepRecord(3, tick, kind, tick, 10 * tick, key + tick, 10, 4, 0, 0, limit, 70_000, False, inbox, (), ())


def apart(instance: WasmGuest, records: list[StepRecord]) -> list[bytes]:
    """What the steps do in crossings of their own."""
    made = []
    for record in records:
        arguments = arguments_of(packed(record))
        arguments.fuel = FUEL
        done = instance.run(arguments)
        assert done.status == "ok"
        assert done.effects is not None
        made.append(done.effects)
    return made


def at_once(instance: WasmGuest, records: list[StepRecord], fuel: int = FUEL) -> Replayed:
    done = instance.replay([packed(record) for record in records], fuel)
    assert done is not None
    return done


payload = st.tuples(st.binary(max_size=40), st.sampled_from([0, 1, 200, 250, 29_000])).map(lambda p: p[0] + b"p" * p[1])
payloads = st.lists(payload, max_size=18)


@settings(max_examples=60, deadline=None)
@given(st.lists(payloads, min_size=1, max_size=12), st.integers(0, (1 << 64) - 100), st.integers(0, 1 << 40))
def test_the_effects_the_memory_and_the_globals_are_the_same(inboxes: list[list[bytes]], key: int, begin: int) -> None:
    records = [step(begin + n, *inbox, key=key, limit=32) for n, inbox in enumerate(inboxes)]
    one, other = guest(ECHO), guest(ECHO)
    made = apart(one, records)
    done = at_once(other, records)
    assert (list(done.made), done.failed) == (made, None)
    assert bytes(one.memory()) == bytes(other.memory())
    assert one.globals() == other.globals()
    record = step(begin + len(records), b"after")
    assert apart(one, [record]) == apart(other, [record]), "and so is the step that comes next, in its own crossing"


def test_steps_that_leave_nothing_are_told_from_steps_that_were_not_made() -> None:
    done = at_once(guest(wat()), [step(1), step(2, b"a"), step(3)])
    assert [effects_of(made) for made in done.made] == [(), (), ()]
    assert done.failed is None and done.fuel > 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("unreachable", "trap:unreachable"),
        ("(return (i32.const 5))", "agent_error:5"),
        ("(drop (i32.load (i32.const 65536)))", "trap:memory_out_of_bounds"),
    ],
)
def test_the_first_step_that_does_not_end_well_ends_the_replay(body: str, status: str) -> None:
    third = f"(if (i64.eq (i64.load (local.get 0)) (i64.const 3)) (then {body}))"
    done = at_once(guest(wat(step=f"{third} (i32.const 0)")), [step(tick) for tick in (1, 2, 3, 4)])
    assert len(done.made) == 2
    assert done.failed is not None and done.failed.status == status


def test_a_range_outside_of_the_memory_ends_the_replay_with_the_call_as_it_was_made() -> None:
    send = "(drop (call $send (i32.const 1) (i32.const -4) (i32.const 8)))"
    done = at_once(guest(wat(before=imports("send"), step=f"{send} (i32.const 0)")), [step(1), step(2)])
    assert done.made == [] and done.failed is not None
    assert [call.pointer for call in done.failed.calls] == [0xFFFFFFFC]


def test_an_endless_replay_ends_with_the_fuel_of_its_steps() -> None:
    done = at_once(guest(wat(step="(loop $on (br $on)) (i32.const 0)")), [step(1), step(2)], fuel=10_000)
    assert done.failed is not None and done.failed.status == "fuel"
    assert done.fuel == 20_000


def test_steps_that_use_all_of_their_fuel_have_enough_of_it_together() -> None:
    count = "(local.tee $n (i32.add (local.get $n) (i32.const 1)))"
    text = wat(step=f"(local $n i32) (loop $on (br_if $on (i32.lt_u {count} (i32.const 500)))) (i32.const 0)")
    records = [step(1 << 31 | n, b"\x01" * 20) for n in range(60)]

    def ends_with(fuel: int) -> bool:
        arguments = arguments_of(packed(records[0]))
        arguments.fuel = fuel
        return guest(text).run(arguments).status == "ok"

    least = bisect.bisect_left(range(FUEL), True, key=ends_with)
    assert not ends_with(least - 1) and least > 1000
    done = at_once(guest(text), records, fuel=least)
    assert done.failed is None and len(done.made) == 60
    failed = at_once(guest(text), records, fuel=least // 2).failed
    assert failed is not None and failed.status == "fuel", "and half of it is not enough"


def test_effects_that_do_not_fit_into_the_host_s_memory_make_it_grow() -> None:
    records = [step(n, b"\x01" * 30_000, b"\x02" * 30_000) for n in range(20)]
    one, other = guest(ECHO), guest(ECHO)
    assert list(at_once(other, records).made) == apart(one, records)


def test_steps_of_an_agent_that_writes_to_stdout_are_fed_one_by_one() -> None:
    text = wat(before='(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))')
    assert guest(text).replay([packed(step(1))], FUEL) is None


def test_a_closed_instance_replays_nothing() -> None:
    instance = guest(wat())
    instance.close()
    with pytest.raises(Refused, match="closed instance"):
        instance.replay([packed(step(1))], FUEL)
