"""What one step answers: statuses, recorded calls, host answers, kill points, limits."""

from __future__ import annotations

import struct
import threading
from typing import get_type_hints

import pytest
from wasm_kit import arguments, envelope, guest, imports, wat

from runtime.errors import Refused
from runtime.frames import packed_effects
from runtime.ports import Call, Guest, GuestStep
from runtime.state import Effect
from runtime.wasm import WasmGuests

ALL = imports("send", "publish", "subscribe", "unsubscribe", "wake", "buffer_write", "output", "now", "random", "self")
OUT_OF_BOUNDS = "(i32.load (i32.const 65536))"


def codes(*calls: str, **changes: object) -> tuple[list[int], list[Call]]:
    """The statuses an agent saw from these host calls, and what was recorded."""
    stores = "".join(f"(i32.store (i32.const {4 * at}) {call})" for at, call in enumerate(calls))
    instance = guest(wat(before=ALL, step=stores + "(i32.const 0)"))
    step = instance.run(arguments(**changes))
    assert step.status == "ok"
    return list(struct.unpack_from(f"<{len(calls)}I", instance.memory())), list(step.calls)


def test_the_adapter_is_the_port() -> None:
    made = guest(wat())
    port: Guest = made
    assert port.run(arguments()).status == "ok"
    assert get_type_hints(WasmGuests.instantiate)["wasm"] is bytes


def test_every_effect_is_recorded_in_call_order() -> None:
    seen, calls = codes(
        "(call $send (i32.const 9) (i32.const 16) (i32.const 3))",
        "(call $publish (i32.const 3) (i32.const 17) (i32.const 4))",
        "(call $subscribe (i32.const 2))",
        "(call $unsubscribe (i32.const 1))",
        "(call $wake (i32.const -1))",
        "(call $buffer_write (i32.const 1) (i32.const 18) (i32.const 5000))",
        "(call $output (i32.const 19) (i32.const 100))",
    )
    assert seen == [0] * 7
    assert calls == [
        Call("send", 9, 16, 3),
        Call("publish", 3, 17, 4),
        Call("subscribe", 2, 0, 0),
        Call("unsubscribe", 1, 0, 0),
        Call("wake", 0xFFFFFFFF, 0, 0),
        Call("buffer", 1, 18, 5000),
        Call("output", 0, 19, 100),
    ]
    assert all(type(call) is Call for call in calls)


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ("(call $send (i32.const 10) (i32.const 0) (i32.const 0))", 2),
        ("(call $send (i32.const -1) (i32.const 0) (i32.const 0))", 2),
        ("(call $send (i32.const 0) (i32.const 0) (i32.const 101))", 3),
        ("(call $send (i32.const 0) (i32.const 0) (i32.const -1))", 3),
        ("(call $send (i32.const 10) (i32.const 0) (i32.const 101))", 2),
        ("(call $publish (i32.const 4) (i32.const 0) (i32.const 0))", 2),
        ("(call $publish (i32.const 3) (i32.const 0) (i32.const 101))", 3),
        ("(call $subscribe (i32.const 4))", 2),
        ("(call $unsubscribe (i32.const -2147483648))", 2),
        ("(call $buffer_write (i32.const 2) (i32.const 0) (i32.const 0))", 2),
        ("(call $output (i32.const 0) (i32.const 101))", 3),
    ],
)
def test_a_refused_call_says_why_and_is_not_recorded(call: str, status: int) -> None:
    assert codes(call) == ([status], [])


def test_every_effect_call_counts_against_the_limit_and_the_limit_is_checked_first() -> None:
    bad = "(call $send (i32.const 99) (i32.const 0) (i32.const 999))"
    good = "(call $wake (i32.const 5))"
    assert codes(good, bad, good, good, bad, send_limit=3) == ([0, 2, 0, 1, 1], [Call("wake", 5, 0, 0)] * 2)
    assert codes(good, send_limit=0) == ([1], [])


def test_the_counters_begin_anew_in_each_step() -> None:
    instance = guest(wat(before=ALL, step="(call $wake (i32.const 1))"))
    for _ in range(20):
        step = instance.run(arguments(send_limit=1))
        assert (step.status, len(step.calls)) == ("ok", 1)


def test_a_negative_pointer_comes_back_unsigned() -> None:
    _, calls = codes("(call $send (i32.const 0) (i32.const -4) (i32.const 8))")
    assert calls == [Call("send", 0, 4_294_967_292, 8)]


def splitmix64(key: int, count: int) -> list[int]:
    mask, numbers = (1 << 64) - 1, []
    for _ in range(count):
        key = key + 0x9E3779B97F4A7C15 & mask
        z = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        numbers.append(z ^ z >> 31)
    return numbers


@pytest.mark.parametrize("key", [0, 1, 1234567, (1 << 64) - 1])
def test_random_now_and_self_answer_from_the_arguments(key: int) -> None:
    draw = "".join(f"(i64.store (i32.const {8 * at}) (call $random))" for at in range(4))
    rest = "(i64.store (i32.const 32) (call $now)) (i32.store (i32.const 40) (call $self))"
    instance = guest(wat(before=ALL, step=f"{draw} {rest} (i32.const 0)"))
    for now in (0, 1_700_000_000_070):
        assert instance.run(arguments(random_key=key, now_ms=now, agent=5)).status == "ok"
        assert struct.unpack_from("<4QQI", instance.memory()) == (*splitmix64(key, 4), now, 5)


def test_the_published_splitmix64_vector() -> None:
    assert splitmix64(1234567, 2) == [6457827717110365317, 3203168211198807973]


@pytest.mark.parametrize(
    ("kind", "function"), [("init", "init"), ("step", "receive"), ("step", "step"), ("shutdown", "shutdown")]
)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("(i32.const 7)", "agent_error:7"),
        ("(i32.const -1)", "agent_error:4294967295"),
        ("unreachable", "trap:unreachable"),
        (OUT_OF_BOUNDS, "trap:memory_out_of_bounds"),
        ("(i32.div_u (i32.const 1) (i32.const 0))", "trap:integer_division_by_zero"),
        ("(i32.div_s (i32.const -2147483648) (i32.const -1))", "trap:integer_overflow"),
        ("(i32.trunc_f32_s (f32.const nan))", "trap:bad_conversion_to_integer"),
        ("(call $deep)", "trap:stack_overflow"),
        ("(loop $l (br $l)) (i32.const 0)", "fuel"),
    ],
)
def test_what_a_step_ends_with(kind: str, function: str, body: str, status: str) -> None:
    deep = "(func $deep (result i32) (i32.add (call $deep) (i32.const 1)))"
    instance = guest(wat(after=deep, **{function: body}))
    assert instance.run(arguments(kind=kind, inbox=[envelope(b"x")])).status == status


def test_calls_through_a_table_trap_by_name() -> None:
    table = """(table 2 2 funcref) (elem (i32.const 0) $g)
      (type $f (func (result i32))) (func $g (result i64) (i64.const 1))"""
    for index, status in ((0, "bad_signature"), (1, "indirect_call_to_null"), (2, "table_out_of_bounds")):
        instance = guest(wat(before=table, step=f"(call_indirect (type $f) (i32.const {index}))"))
        assert instance.run(arguments()).status == f"trap:{status}"


@pytest.mark.parametrize("place", ["0", "65535", "-4", "65521"])
@pytest.mark.parametrize("inbox", [[], [envelope(b"")]])
def test_a_bad_allocation_fails_the_step(place: str, inbox: list[bytes]) -> None:
    assert guest(wat(alloc=f"(i32.const {place})")).run(arguments(inbox=inbox)).status == "alloc"


def test_an_allocation_up_to_the_last_byte_is_good() -> None:
    assert guest(wat(alloc="(i32.const 65520)")).run(arguments()).status == "ok"


def test_a_failed_step_returns_what_was_recorded_before() -> None:
    send = "(drop (call $send (i32.const 1) (i32.const 2) (i32.const 3)))"
    for body, status in (("unreachable", "trap:unreachable"), ("(i32.const 9)", "agent_error:9")):
        step = guest(wat(before=ALL, step=send + body)).run(arguments())
        assert (step.status, step.calls) == (status, [Call("send", 1, 2, 3)])


def test_a_step_hands_over_envelopes_in_order_and_then_the_context() -> None:
    """The agent appends whatever it is given at 2000; the image of its memory is compared with the bytes sent."""
    copy = """(memory.copy (global.get $at) (local.get 0) (local.get 1))
      (global.set $at (i32.add (global.get $at) (local.get 1)))"""
    instance = guest(
        wat(
            before="(global $at (mut i32) (i32.const 2000))",
            receive=f"{copy} (i32.const 0)",
            step="(memory.copy (global.get $at) (local.get 0) (i32.const 16)) (i32.const 0)",
        )
    )
    inbox = [envelope(b"one"), envelope(b""), envelope(b"three" * 20, seq=1 << 63)]
    assert instance.run(arguments(inbox=inbox, tick=1 << 40)).status == "ok"
    expected = b"".join(inbox) + struct.pack("<QII", 1 << 40, 3, 0)
    assert bytes(instance.memory()[2000 : 2000 + len(expected)]) == expected


def test_init_and_shutdown_call_nothing_else() -> None:
    names = ("alloc", "init", "receive", "step", "shutdown")
    bodies = {name: f"(i32.const {code})" for code, name in enumerate(names, 1)}
    instance = guest(wat(**bodies))
    assert instance.run(arguments(kind="init", inbox=[envelope(b"x")])).status == "agent_error:2"
    assert instance.run(arguments(kind="shutdown", inbox=[envelope(b"x")])).status == "agent_error:5"


BUSY = wat(
    before=ALL,
    receive="(call $send (i32.const 1) (local.get 0) (local.get 1))",
    step="""(drop (call $now)) (drop (call $random)) (drop (call $self)) (drop (call $wake (i32.const 1)))
      (drop (call $send (i32.const 99) (i32.const 0) (i32.const 0))) (call $output (i32.const 0) (i32.const 1))""",
)


def test_a_step_stops_at_every_host_call() -> None:
    inbox = [envelope(b"a"), envelope(b"b")]
    whole = guest(BUSY).run(arguments(inbox=inbox))
    assert whole.status == "ok"
    recorded_before = [0, 1, 2, 2, 2, 2, 3, 3]
    for number, count in enumerate(recorded_before, 1):
        stopped = guest(BUSY).run(arguments(inbox=inbox, stop_at=number))
        assert (stopped.status, stopped.calls) == ("stopped", whole.calls[:count])
    assert guest(BUSY).run(arguments(inbox=inbox, stop_at=9)) == whole


def test_a_trap_after_a_stop_is_not_taken_for_one() -> None:
    instance = guest(wat(before=ALL, init="(drop (call $now)) (i32.const 0)", step="unreachable"))
    assert instance.run(arguments(kind="init", stop_at=1)).status == "stopped"
    assert instance.run(arguments()).status == "trap:unreachable"


def test_an_inbox_of_a_thousand_messages_arrives_whole() -> None:
    """More than the shim's first page, and more bytes than the step has fuel: copying is not charged."""
    add = """(i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.load8_u offset=24 (local.get 0))))
      (i32.const 0)"""
    instance = guest(wat(receive=add))
    inbox = [envelope(bytes([n & 255]) * 2000, seq=n) for n in range(1000)]
    step = instance.run(arguments(inbox=inbox, fuel=1_000_000))
    assert step.status == "ok" and 0 < step.fuel < 300_000
    assert struct.unpack_from("<Q", instance.memory()) == (sum(n & 255 for n in range(1000)),)


def test_an_agent_may_grow_its_memory_before_it_sends() -> None:
    body = """(drop (memory.grow (i32.const 3))) (i32.store (i32.const 200000) (i32.const 0x64636261))
      (call $send (i32.const 1) (i32.const 200000) (i32.const 4))"""
    instance = guest(wat(before=ALL, step=body))
    before = instance.memory()
    step = instance.run(arguments())
    assert step.calls == [Call("send", 1, 200_000, 4)]
    assert len(before) == 65536 and len(instance.memory()) == 4 * 65536
    assert bytes(instance.memory()[200_000:200_004]) == b"abcd"


def test_memory_that_grew_in_a_step_that_trapped_is_seen() -> None:
    instance = guest(wat(step="(drop (memory.grow (i32.const 2))) unreachable"))
    assert instance.run(arguments()).status == "trap:unreachable"
    assert len(instance.memory()) == 3 * 65536


@pytest.mark.parametrize(
    ("declared", "limit", "granted"), [("1", 4, 3), ("1 2", 4, 1), ("1 9", 4, 3), ("1", 1, 0), ("0", 1, 1)]
)
def test_memory_grows_exactly_to_the_limit(declared: str, limit: int, granted: int) -> None:
    for pages, answer in ((granted, "old"), (granted + 1, -1)):
        memory = f'(memory (export "memory") {declared})'
        body = f"(memory.grow (i32.const {pages}))"
        instance = guest(wat(memory=memory, init=body), memory=limit * 65536 + 65535)
        code = -1 if answer == -1 else int(declared.partition(" ")[0])
        expected = "ok" if code == 0 else f"agent_error:{code & 0xFFFFFFFF}"
        assert instance.run(arguments(kind="init")).status == expected


def test_fuel_is_what_was_consumed_and_a_trap_costs_all_that_was_granted() -> None:
    short = guest(wat()).run(arguments()).fuel
    loop = """(local $i i32) (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 100))))"""
    assert guest(wat(step=loop + "(i32.const 0)")).run(arguments()).fuel > short + 300
    assert guest(wat(step="unreachable")).run(arguments(fuel=5000)).fuel == 5000
    assert guest(wat()).run(arguments(fuel=0)).status == "fuel"
    assert guest(wat()).run(arguments(fuel=short)) == GuestStep("ok", (), short, b"\x90", 65_536)
    # wasmtime looks at the count only where a function or a loop begins: a step may end just beyond its fuel.
    assert guest(wat()).run(arguments(fuel=short - 1)) == GuestStep("ok", (), short - 1, b"\x90", 65_536)
    assert guest(wat(step="(loop $l (br $l)) (i32.const 0)")).run(arguments(fuel=5000)) == GuestStep("fuel", [], 5000)


def test_the_same_steps_give_the_same_results() -> None:
    steps = [arguments(inbox=[envelope(b"a")] * n, random_key=n) for n in range(5)]
    first, second = guest(BUSY), guest(BUSY)
    assert [first.run(step) for step in steps] == [second.run(step) for step in steps]
    assert first.memory() == second.memory()


@pytest.mark.parametrize(
    "change", [{"kind": "other"}, {"tick": -1}, {"agents": 1 << 32}, {"fuel": -1}, {"fuel": 1 << 63}]
)
def test_arguments_that_no_step_can_have_are_refused_in_one_line(change: dict[str, object]) -> None:
    instance = guest(wat())
    with pytest.raises(Refused) as refused:
        instance.run(arguments(**change))
    assert "\n" not in str(refused.value)
    assert instance.run(arguments()).status == "ok"


def test_a_second_thread_is_refused_while_a_step_runs() -> None:
    instance = guest(wat(step="(loop $l (br $l)) (i32.const 0)"))
    thread = threading.Thread(target=instance.run, args=(arguments(fuel=300_000_000),))
    thread.start()
    refusals = 0
    while thread.is_alive():
        try:
            instance.run(arguments(fuel=0))
        except Refused:
            refusals += 1
            break
    thread.join()
    assert refusals == 1


SENDING = """
  (drop (call $send (i32.const 1) (i32.const 0) (i32.const 0)))
  (drop (call $send (i32.const 127) (i32.const 300) (i32.const 1)))
  (drop (call $publish (i32.const 128) (i32.const 300) (i32.const 255)))
  (drop (call $subscribe (i32.const 255)))
  (drop (call $unsubscribe (i32.const 256)))
  (drop (call $wake (i32.const 65535)))
  (drop (call $wake (i32.const 65536)))
  (drop (call $wake (i32.const -1)))
  (drop (call $output (i32.const 300) (i32.const 256)))
  (drop (call $send (i32.const 2) (i32.const 0) (i32.const 65535)))
  (drop (call $send (i32.const 2) (i32.const 0) (i32.const 65536)))
  (i32.const 0)"""


def test_effects_leave_as_msgspec_writes_them() -> None:
    """Numbers and lengths on both sides of every limit of the encoding; more than the shim's first page."""
    many = {"agents": 1 << 16, "topics": 1 << 16, "max_payload": 1 << 20, "send_limit": 64}
    fill = '(data (i32.const 300) "' + "".join(f"\\{n:02x}" for n in range(256)) + '")'
    listing, made = (guest(wat(before=ALL, step=SENDING, after=fill)) for _ in range(2))
    calls = listing.run(arguments(**many)).calls
    memory = bytes(listing.memory())
    assert len(calls) == 11
    for _ in range(2):
        step = made.run(arguments(**many, listed=False))
        effects = [Effect(c.op, c.target, memory[c.pointer : c.pointer + c.length]) for c in calls]
        assert (step.status, step.calls, step.effects) == ("ok", (), bytes(packed_effects(effects)))


@pytest.mark.parametrize("count", [0, 1, 15, 16, 255, 256, 65_535, 65_536])
def test_any_number_of_effects_leaves_as_msgspec_writes_it(count: int) -> None:
    body = """(local $n i32) (block $all (loop $next (br_if $all (i32.eq (local.get $n) (i32.load (i32.const 2048))))
      (drop (call $wake (local.get $n))) (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $next)))
      (i32.const 0)"""
    instance = guest(
        wat(
            before=ALL,
            step=body,
            receive="(i32.store (i32.const 2048) (i32.load offset=24 (local.get 0))) (i32.const 0)",
        )
    )
    step = instance.run(
        arguments(inbox=[envelope(struct.pack("<I", count))], listed=False, send_limit=1 << 17, fuel=1 << 30)
    )
    assert step.effects == bytes(packed_effects([Effect("wake", n) for n in range(count)]))


@pytest.mark.parametrize(
    "call",
    [
        "(call $send (i32.const 1) (i32.const -4) (i32.const 8))",
        "(call $send (i32.const 1) (i32.const 65536) (i32.const 1))",
        "(call $send (i32.const 1) (i32.const 65530) (i32.const 7))",
        "(call $buffer_write (i32.const 1) (i32.const 0) (i32.const 4))",
    ],
)
def test_a_range_outside_the_memory_and_a_buffer_are_left_to_the_host(call: str) -> None:
    instance = guest(wat(before=ALL, step=f"(drop (call $wake (i32.const 1))) {call}"))
    step = instance.run(arguments(listed=False))
    assert (step.status, step.effects, len(step.calls)) == ("ok", None, 2)


def test_a_range_up_to_the_last_byte_leaves() -> None:
    instance = guest(wat(before=ALL, step="(call $send (i32.const 1) (i32.const 65530) (i32.const 6))"))
    assert instance.run(arguments(listed=False)).effects == bytes(packed_effects([Effect("send", 1, bytes(6))]))


def test_a_failed_step_lists_its_calls_whatever_was_asked_for() -> None:
    step = guest(wat(before=ALL, step="(drop (call $wake (i32.const 1))) (i32.const 9)")).run(arguments(listed=False))
    assert (step.status, step.effects, step.calls) == ("agent_error:9", None, [Call("wake", 1, 0, 0)])


@pytest.mark.parametrize("seq", [0, 127, 128, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 64) - 1])
@pytest.mark.parametrize("size", [0, 255, 256, 65_535, 65_536])
def test_an_envelope_is_its_message_whatever_its_numbers_are(seq: int, size: int) -> None:
    """The agent keeps what it is given; it is compared with the envelope that the message stands for."""
    copy = """(memory.copy (i32.const 100000) (local.get 0) (local.get 1)) (i32.const 0)"""
    instance = guest(wat(receive=copy, memory='(memory (export "memory") 5)'), memory=5 * 65536)
    data = envelope(bytes(n % 251 for n in range(size)), kind=seq & 127, sender=seq & 0xFFFFFFFF, seq=seq, channel=size)
    assert instance.run(arguments(inbox=[data], max_payload=1 << 20)).status == "ok"
    assert bytes(instance.memory()[100_000 : 100_000 + len(data)]) == data


@pytest.mark.parametrize("count", [15, 16, 65_535, 65_536])
def test_an_inbox_of_any_length_arrives(count: int) -> None:
    add = "(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) (i32.const 0)"
    instance = guest(wat(receive=add))
    assert instance.run(arguments(inbox=[envelope(b"x")] * count, fuel=1 << 30)).status == "ok"
    assert struct.unpack_from("<I", instance.memory()) == (count,)
