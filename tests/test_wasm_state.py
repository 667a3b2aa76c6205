"""Memory and globals are the whole state of an instance: restored into a fresh one they continue identically."""

from __future__ import annotations

import gc
import resource
import struct

import pytest
from wasm_kit import arguments, envelope, guest, imports, wat

from runtime.errors import Refused
from runtime.wasm import spares

STATEFUL = wat(
    before=imports("send", "random")
    + """(global $count (mut i32) (i32.const 0)) (global $fixed i32 (i32.const 5))
      (global $sum (mut i64) (i64.const 0)) (global $f (mut f32) (f32.const 1)) (global $d (mut f64) (f64.const 1))""",
    receive="""(global.set $count (i32.add (global.get $count) (i32.const 1)))
      (global.set $sum (i64.add (global.get $sum) (i64.load8_u offset=24 (local.get 0)))) (i32.const 0)""",
    step="""(global.set $f (f32.div (global.get $f) (f32.const 3)))
      (global.set $d (f64.mul (global.get $d) (f64.const 7)))
      (if (i32.eq (global.get $count) (i32.const 3)) (then (drop (memory.grow (i32.const 2)))))
      (i64.store (i32.mul (global.get $count) (i32.const 8)) (i64.xor (call $random) (global.get $sum)))
      (call $send (global.get $fixed) (i32.const 0) (global.get $count))""",
)


def steps(first: int, last: int) -> list[object]:
    return [arguments(tick=n, random_key=n, inbox=[envelope(bytes([n]))]) for n in range(first, last)]


def test_a_restored_instance_continues_identically() -> None:
    whole = guest(STATEFUL)
    for cut in range(1, 7):
        whole.run(arguments(tick=cut, random_key=cut, inbox=[envelope(bytes([cut]))]))
        fresh = guest(STATEFUL)
        fresh.restore(bytes(whole.memory()), whole.globals())
        twin = guest(STATEFUL)
        for step in steps(1, cut + 1):
            twin.run(step)  # type: ignore[arg-type]
        for step in steps(cut + 1, 10):
            assert fresh.run(step) == twin.run(step)  # type: ignore[arg-type]
        assert fresh.memory() == twin.memory() and fresh.globals() == twin.globals()


def test_a_restore_without_globals_would_continue_differently() -> None:
    first = guest(STATEFUL)
    first.run(arguments(inbox=[envelope(b"x")]))
    forgetful = guest(STATEFUL)
    forgetful.restore(bytes(first.memory()), guest(STATEFUL).globals())
    assert forgetful.run(arguments()) != first.run(arguments())


BITS = [0x80000000, 0x8000000000000001, 0x7FA00001, 0x7FF0000000000001]  # the floats are signalling NaNs


def test_globals_keep_every_bit() -> None:
    types = ("i32", "i64", "f32", "f64")
    declared = "".join(f"(global $g{n} (mut {kind}) ({kind}.const 0))" for n, kind in enumerate(types))
    stores = "".join(f"({kind}.store (i32.const {8 * n}) (global.get $g{n}))" for n, kind in enumerate(types))
    instance = guest(wat(before=declared, step=f"{stores} (i32.const 0)"))
    image = bytes(instance.memory())
    instance.restore(image, BITS)
    assert instance.globals() == BITS
    assert instance.run(arguments()).status == "ok"
    assert struct.unpack_from("<I4xQI4xQ", instance.memory()) == tuple(BITS)
    assert instance.globals() == BITS


def test_only_mutable_globals_are_state_whatever_the_module_exports_them_as() -> None:
    declared = """(global $a (mut i32) (i32.const 1)) (global $b i32 (i32.const 2)) (global $c (mut i64) (i64.const -3))
      (export "mine" (global $a))"""
    assert guest(wat(before=declared)).globals() == [1, (1 << 64) - 3]
    assert guest(wat()).globals() == []


def test_a_restore_grows_the_memory_up_to_the_limit() -> None:
    image = b"\x01" * (3 * 65536)
    instance = guest(wat(step="(memory.size)"), memory=3 * 65536)
    instance.restore(image, [])
    assert bytes(instance.memory()) == image
    assert instance.run(arguments()).status == "agent_error:3"
    with pytest.raises(MemoryError):
        guest(wat(), memory=2 * 65536).restore(image, [])


@pytest.mark.parametrize(
    ("memory", "globals"),
    [(b"", [0]), (bytes(65537), [0]), (bytes(65536), []), (bytes(65536), [-1]), (bytes(65536), [1 << 32])],
)
def test_an_image_of_another_module_is_refused(memory: bytes, globals: list[int]) -> None:
    instance = guest(wat(before="(global (mut i32) (i32.const 0))"))
    with pytest.raises(Refused):
        instance.restore(memory, globals)
    assert instance.globals() == [0]


def test_only_an_instance_that_has_not_run_is_restored() -> None:
    instance = guest(wat())
    instance.run(arguments())
    with pytest.raises(Refused, match="fresh"):
        instance.restore(bytes(65536), [])


def test_a_closed_instance_is_refused_and_closing_twice_does_nothing() -> None:
    instance = guest(wat())
    instance.close()
    instance.close()
    for use in (lambda: instance.run(arguments()), instance.globals, lambda: instance.restore(b"", [])):
        with pytest.raises(Refused, match="closed"):
            use()


def test_a_view_outlives_its_instance() -> None:
    instance = guest(wat(before='(data (i32.const 8) "kept")'))
    view = instance.memory()[8:12]
    instance.close()
    with pytest.raises(Refused, match="closed"):
        instance.memory()
    del instance
    gc.collect()
    others = [guest(wat()) for _ in range(20)]
    assert bytes(view) == b"kept" and len(others) == 20


def test_an_empty_memory_is_a_memory() -> None:
    instance = guest(wat(memory='(memory (export "memory") 0)', alloc="(i32.const 8)"))
    assert len(instance.memory()) == 0
    assert instance.run(arguments()).status == "alloc"
    grown = guest(wat(memory='(memory (export "memory") 0)', init="(memory.grow (i32.const 1))"))
    assert grown.run(arguments(kind="init")).status == "ok" and len(grown.memory()) == 65536


def test_closing_gives_the_memory_back() -> None:
    """Traps, errors and instances: 1,000 lives of 64 KiB and a failure each would show as 60 MiB."""
    text = wat(init="(memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) unreachable")

    def live(count: int) -> int:
        for _ in range(count):
            instance = guest(text)
            assert instance.run(arguments(kind="init")).status == "trap:unreachable"
            instance.close()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = live(100)
    assert live(1000) - before < 8 * 1024


GROWING = wat(
    before='(global $count (mut i32) (i32.const 7)) (data (i32.const 8) "first")',
    init="""(i32.store8 (i32.const 8) (i32.const 88)) (i32.store (i32.const 60000) (i32.const 1))
      (global.set $count (i32.const 9)) (i32.const 0)""",
    step="(drop (memory.grow (i32.const 1))) (i32.const 0)",
)


def test_a_spare_instance_cannot_be_told_from_a_fresh_one() -> None:
    used = guest(GROWING)
    first, bits = bytes(used.memory()), used.globals()
    used.run(arguments(kind="init"))
    assert (bytes(used.memory()), used.globals()) != (first, bits)
    inner = used._instance
    used.close()
    spare = guest(GROWING)
    assert spare._instance is inner
    assert (bytes(spare.memory()), spare.globals()) == (first, bits)


def test_an_instance_that_somebody_looks_at_is_not_used_again() -> None:
    used = guest(GROWING)
    inner, view = used._instance, used.memory()[8:13]
    used.close()
    fresh = guest(GROWING)
    assert fresh._instance is not inner
    fresh.run(arguments(kind="init"))
    assert bytes(view) == b"first"


@pytest.mark.parametrize("text, step", [(GROWING, "step"), (wat(init="(unreachable)"), "init")])
def test_an_instance_that_grew_or_trapped_is_not_used_again(text: str, step: str) -> None:
    used = guest(text)
    used.run(arguments(kind=step))
    inner = used._instance
    used.close()
    assert guest(text)._instance is not inner


def test_spares_are_bounded_and_the_oldest_leave_first() -> None:
    held = [guest(GROWING) for _ in range(spares.SPARES_MAX + 5)]
    for one in held:
        one.close()
    assert len(spares._order) == spares.SPARES_MAX
    other = guest(wat())
    other.close()
    assert len(spares._order) == spares.SPARES_MAX and other._spares._waiting
