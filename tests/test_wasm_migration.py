"""A state taken over by another module: as it is, or by `agent_migrate`, with the bytes that docs/abi.md promises."""

from __future__ import annotations

import struct

import pytest
from wasm_kit import arguments, guest, imports, wat

from runtime import carried
from runtime.errors import ModuleRefused, Refused
from runtime.ports import GuestStep
from runtime.state import Change
from runtime.wasm import WasmGuest

GLOBALS = """(global $a (mut i32) (i32.const 5)) (global (mut f64) (f64.const 1)) (global i32 (i32.const 9))
  (global (mut i64) (i64.const -1))"""
OLD = wat(after=GLOBALS, step="(i32.store (i32.const 8) (i32.const 77)) (global.set $a (i32.const 6)) (i32.const 0)")
PAGE = 65_536


def state_of(one: WasmGuest) -> bytes:
    return carried.pack(one.types(), one.globals(), one.memory())


def used(text: str = OLD) -> WasmGuest:
    """An instance that has taken a step."""
    one = guest(text)
    assert one.run(arguments()).status == "ok"
    return one


def migrating(body: str, **parts: str) -> str:
    function = (
        f'(func (export "agent_migrate") (param $from i32) (param $at i32) (param $length i32) (result i32) {body})'
    )
    parts.setdefault("memory", '(memory (export "memory") 3)')
    return wat(after=parts.pop("after", "") + function, **parts)


def takes(new: WasmGuest, state: bytes, before: int = 1, **changes: object) -> GuestStep:
    from wasm_kit import spec_of

    change = Change(spec_of(b"new"), 2, before, True)
    return new.run(arguments(kind="reload", carried=state, change=change, **changes))


# --- as it is ---------------------------------------------------------------------------------------------------------


def test_memory_and_globals_are_taken_over_and_the_next_step_is_the_new_modules() -> None:
    old = used()
    new = guest(OLD.replace("i32.const 77", "i32.const 78"))
    assert takes(new, state_of(old)).status == "ok"
    assert new.memory() == old.memory() and new.globals() == old.globals() == [6, 0x3FF0 << 48, 2**64 - 1]
    assert new.run(arguments()).status == "ok" and new.memory()[8] == 78


def test_a_memory_that_has_grown_is_taken_over_as_a_whole() -> None:
    old = used(wat(step="(drop (memory.grow (i32.const 2))) (i32.const 0)"))
    new = guest(wat())
    assert takes(new, state_of(old)).status == "ok" and len(new.memory()) == 3 * PAGE


@pytest.mark.parametrize(
    "text",
    [
        wat(),
        wat(after="(global (mut i32) (i32.const 0))"),
        wat(after=GLOBALS.replace("mut f64", "mut f32").replace("f64.const", "f32.const")),
        wat(after=GLOBALS.replace("(mut i32) (i32.const 5)", "(mut i64) (i64.const 5)")),
        wat(after=GLOBALS, memory='(memory (export "memory") 2)'),
    ],
)
def test_a_state_that_does_not_fit_is_refused_as_layout_and_nothing_is_taken(text: str) -> None:
    new = guest(text)
    before = state_of(new)
    assert takes(new, state_of(used())) == GuestStep("layout", (), 0)
    assert state_of(new) == before


def test_a_memory_larger_than_the_module_allows_is_refused_as_layout() -> None:
    old = used(wat(step="(drop (memory.grow (i32.const 2))) (i32.const 0)"))
    assert takes(guest(wat(memory='(memory (export "memory") 1 2)')), state_of(old)).status == "layout"


# --- migrated ---------------------------------------------------------------------------------------------------------


def test_a_migration_gets_the_version_and_the_bytes_that_the_page_promises() -> None:
    keep = "(i32.store (i32.const 0) (local.get $from)) (i32.store (i32.const 4) (local.get $at))"
    new = guest(migrating(keep + "(i32.store (i32.const 8) (local.get $length)) (i32.const 0)"))
    old = used()
    assert takes(new, state_of(old), before=41).status == "ok"
    version, at, length = struct.unpack_from("<III", new.memory())
    assert (version, at, length) == (41, 1024, 8 + 3 * 16 + PAGE)
    given = bytes(new.memory()[at : at + length])
    assert struct.unpack_from("<II", given) == (3, 1)
    cells = [struct.unpack_from("<IIQ", given, 8 + 16 * place) for place in range(3)]
    assert cells == [(0x7F, 0, 6), (0x7C, 0, 0x3FF0 << 48), (0x7E, 0, 2**64 - 1)]
    assert given[56:] == bytes(old.memory())
    assert carried.unpack(given) == carried.Carried((0x7F, 0x7C, 0x7E), tuple(old.globals()), bytes(old.memory()))


def test_a_migration_may_make_host_calls() -> None:
    body = "(drop (call $output (i32.const 0) (i32.const 4))) (i32.const 0)"
    step = takes(guest(migrating(body, before=imports("output"))), state_of(used()))
    assert step.status == "ok" and [call.op for call in step.calls] == ["output"]


@pytest.mark.parametrize(
    ("body", "alloc", "status"),
    [
        ("(i32.const 7)", "(i32.const 1024)", "agent_error:7"),
        ("unreachable", "(i32.const 1024)", "trap:unreachable"),
        ("(loop (br 0)) (i32.const 0)", "(i32.const 1024)", "fuel"),
        ("(i32.const 0)", "(i32.const 0)", "alloc"),
        ("(i32.const 0)", "(i32.const 190000)", "alloc"),
    ],
)
def test_a_migration_that_fails_says_how(body: str, alloc: str, status: str) -> None:
    assert takes(guest(migrating(body, alloc=alloc)), state_of(used())).status == status


def test_the_copy_of_the_state_costs_no_fuel() -> None:
    step = takes(guest(migrating("(i32.const 0)")), state_of(used()), fuel=100)
    assert step.status == "ok" and step.fuel <= 100


def test_a_migration_can_be_stopped_on_entering_a_host_call() -> None:
    body = "(drop (call $now)) (i32.const 0)"
    assert takes(guest(migrating(body, before=imports("now"))), state_of(used()), stop_at=1).status == "stopped"


def test_an_instance_that_migrated_is_a_whole_agent() -> None:
    new = guest(migrating("(i32.const 0)", step="(i32.const 0)"))
    assert takes(new, state_of(used())).status == "ok"
    assert new.run(arguments()).status == "ok" and new.run(arguments(kind="shutdown")).status == "ok"
    new.close()


def test_an_export_of_another_type_is_refused_at_load() -> None:
    with pytest.raises(ModuleRefused, match=r"\[abi\].*agent_migrate"):
        guest(wat(after='(func (export "agent_migrate") (param i32) (result i32) (i32.const 0))'))


def test_a_kind_that_is_no_step_is_refused() -> None:
    with pytest.raises(Refused, match="kind 'nosuch'"):
        guest(OLD).run(arguments(kind="nosuch"))
