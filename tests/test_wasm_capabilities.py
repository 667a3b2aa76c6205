"""Host functions that a user adds under a capability's name (WAS-5), pure or recorded (EXT-1), for agents too."""

from __future__ import annotations

import gc
import struct
from typing import Any

import pytest
from wasm_kit import arguments, guest, imports, spec_of, wat

from runtime.errors import ModuleRefused, Refused
from runtime.state import AgentSpec
from runtime.wasm import Engine, Memory, Module, WasmGuests, assemble, with_memory
from runtime.wasm.abi import GROUPS
from runtime.wasm.capabilities import Capability, lend, pure, recorded
from runtime.wasm.readings import Readings

DOUBLE = Capability("double", f=pure("i32 -> i32", lambda n: 2 * n))


def user(capability: str, *types: str) -> Module:
    """A module that passes its arguments on to `capability`.f."""
    params, results = types
    gets = " ".join(f"local.get {at}" for at in range(len(params.split())))
    text = (
        f'(module (import "{capability}" "f" (func $f (param {params}) (result {results})))'
        f'(memory (export "memory") 1) (func (export "go") (param {params}) (result {results}) {gets} call $f))'
    )
    return Engine().load_bytes(text.encode())


def test_a_granted_function_is_called_and_one_that_is_not_granted_is_refused() -> None:
    module = user("double", "i32", "i32")
    assert module.instantiate(lend((DOUBLE,))).call("go", 21) == 42
    assert module.instantiate(lend((DOUBLE,), ("double",))).call("go", 4) == 8
    with pytest.raises(ModuleRefused, match=r"double.f \(i32\) -> \(i32\) is not given"):
        module.instantiate(lend((DOUBLE,), ()))
    with pytest.raises(Refused, match="no capability other"):
        lend((DOUBLE,), ("other",))


def test_an_import_of_another_type_is_refused() -> None:
    for types in (("i64", "i32"), ("i32", ""), ("i32 i32", "i32")):
        with pytest.raises(ModuleRefused, match=r"double.f is imported as .*; its type is \(i32\) -> \(i32\)"):
            user("double", *types).instantiate(lend((DOUBLE,)))


@pytest.mark.parametrize("name", ["", "Prices", "a b", "engine", "messages", "filesystem", "wasi_x", "x" * 64, "1a"])
def test_a_name_that_cannot_be_or_that_is_taken_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="no capability can be called"):
        Capability(name, f=pure("->", lambda: None))


def test_what_is_no_capability_is_refused() -> None:
    with pytest.raises(Refused, match="has no functions"):
        Capability("none")
    with pytest.raises(Refused, match="has no functions"):
        Capability("bare", f=lambda: None)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="two capabilities are called double"):
        lend((DOUBLE, DOUBLE))
    for type_ in ("i32", "i8 -> i32", "", "v128 ->", "(i32) -> i32"):
        with pytest.raises(Refused, match="is no type of a function"):
            pure(type_, lambda: None)
    with pytest.raises(Refused, match="int is not a function"):
        lend((Capability("x", f=pure("->", 3)),))  # type: ignore[arg-type]


# --- recorded ---------------------------------------------------------------------------------------------------------


def test_recorded_answers_are_given_again_and_the_function_is_not_called() -> None:
    calls: list[float] = []

    def latest(n: int) -> tuple[float, int]:
        calls.append(n)
        return 0.1 + len(calls), -n

    prices = Capability("prices", f=recorded("i64 -> f64 i64", latest))
    module = user("prices", "i64", "f64 i64")
    readings = Readings()
    with module.instantiate(lend((prices,), readings=readings)) as held:
        seen = [held.call("go", n) for n in (7, -(2**63), 7)]
    again = Readings.recorded(readings.encoded())
    with module.instantiate(lend((prices,), readings=again)) as held:
        assert [held.call("go", n) for n in (7, -(2**63), 7)] == seen == [(1.1, -7), (2.1, -(2**63)), (3.1, -7)]
        with pytest.raises(Refused, match="the record has no more"):
            held.call("go", 7)
    assert calls == [7, -(2**63), 7] and again.left == 0
    with (
        module.instantiate(lend((prices,), readings=Readings.recorded(readings.encoded()))) as held,
        pytest.raises(Refused, match=r"reading 0 is prices\.f, .*, with other arguments"),
    ):
        held.call("go", 8)
    with pytest.raises(Refused, match=r"prices\.f is recorded"):
        lend((prices,))


def test_what_a_recorded_function_writes_into_the_memory_is_written_again() -> None:
    def fill(memory: Memory, at: int) -> int:
        assert memory.read(0, 1) == b"\0" and len(memory) == 65_536
        memory.write(at, b"from outside")
        return 12

    outside = Capability("elsewhere", f=recorded("i32 -> i32", with_memory(fill)))
    module, readings = user("elsewhere", "i32", "i32"), Readings()
    with module.instantiate(lend((outside,), readings=readings)) as held:
        assert held.call("go", 100) == 12

    def unreachable(memory: Memory, at: int) -> int:
        raise AssertionError

    nobody = Capability("elsewhere", f=recorded("i32 -> i32", with_memory(unreachable)))
    with module.instantiate(lend((nobody,), readings=Readings.recorded(readings.encoded()))) as held:
        assert held.call("go", 100) == 12 and held.memory.read(100, 12) == b"from outside"


# --- agents -----------------------------------------------------------------------------------------------------------

MEMORY_SUM = Capability(
    "sums", of=pure("i32 i32 -> i32", with_memory(lambda memory, at, length: sum(memory.read(at, length)))),
    half=pure("i32 -> i32", lambda n: n // (n % 2 == 0)),
)  # fmt: skip
BEFORE = imports("output") + (
    '(import "sums" "of" (func $of (param i32 i32) (result i32)))(import "sums" "half" (func $half (param i32)'
    " (result i32)))"
)


def agent(body: str) -> tuple[bytes, AgentSpec]:
    wasm = assemble(wat(before=BEFORE, step=body, after='(data (i32.const 64) "\\01\\02\\03")'))
    return wasm, spec_of(wasm, capabilities=("output", "sums"))


def run_of(body: str, capability: Capability = MEMORY_SUM) -> Any:
    wasm, spec = agent(body)
    made = WasmGuests(capabilities=(capability,)).instantiate(0, spec, wasm)
    status = made.run(arguments()).status
    made.close()
    return status


def test_an_agent_that_was_granted_it_calls_a_pure_function_and_sees_its_memory() -> None:
    assert run_of("(i32.sub (call $of (i32.const 64) (i32.const 3)) (i32.const 6))") == "ok"
    assert run_of("(call $of (i32.const 64) (i32.const 3))") == "agent_error:6"


def test_an_agent_that_was_not_granted_it_never_runs() -> None:
    wasm, spec = agent("(i32.const 0)")
    for guests, granted, words in (
        (WasmGuests(), ("output", "sums"), "no capability sums"),
        (WasmGuests(), ("output",), "sums.of is not offered"),
        (WasmGuests(capabilities=(MEMORY_SUM,)), ("output",), "sums.of is not granted"),
        (WasmGuests(capabilities=(DOUBLE,)), ("output", "double"), "sums.of is not offered"),
        (WasmGuests(capabilities=(Capability("sums", of=pure("->", int)),)), spec.capabilities, "imported as"),
    ):
        with pytest.raises(ModuleRefused, match=words) as caught:
            guests.instantiate(0, spec_of(wasm, capabilities=granted), wasm)
        assert caught.value.check == "import"
    with pytest.raises(Refused, match="offer agents pure functions"):
        WasmGuests(capabilities=(Capability("x", f=recorded("->", int)),))


def test_a_function_that_fails_fails_the_step_by_name_and_hurts_no_other_agent() -> None:
    assert run_of("(call $half (i32.const 3))") == "host_function"
    assert run_of("(call $of (i32.const -1) (i32.const 3))") == "host_function"  # a range outside its memory
    assert run_of("(i32.sub (call $half (i32.const 4)) (i32.const 4))") == "ok"
    wasm, spec = agent("(call $half (i32.const 3))")
    guests = WasmGuests(capabilities=(MEMORY_SUM,))
    made = [guests.instantiate(number, spec, wasm) for number in range(2)]
    assert [each.run(arguments()).status for each in made] == ["host_function"] * 2
    assert made[0].run(arguments(fuel=10)).status == "fuel"  # what was raised before is not told again


def test_a_signal_in_a_function_comes_through() -> None:
    def interrupted(n: int) -> int:
        raise KeyboardInterrupt

    stopping = Capability("sums", of=MEMORY_SUM.functions["of"], half=pure("i32 -> i32", interrupted))
    with pytest.raises(KeyboardInterrupt):
        run_of("(call $half (i32.const 3))", stopping)


def test_each_maker_of_guests_has_its_own_functions_although_modules_are_shared() -> None:
    wasm, spec = agent("(call $half (i32.const 8))")
    for divisor in (2, 4, 8):
        given = Capability("sums", of=MEMORY_SUM.functions["of"], half=pure("i32 -> i32", lambda n, d=divisor: n // d))
        made = WasmGuests(capabilities=(given,)).instantiate(0, spec, wasm)
        assert made.run(arguments()).status == f"agent_error:{8 // divisor}"
        made.close()
        made = WasmGuests(capabilities=(given,)).instantiate(0, spec, wasm)
        gc.collect()
        assert made.run(arguments()).status == f"agent_error:{8 // divisor}"


def test_an_image_of_such_an_agent_continues_in_another_instance() -> None:
    body = (
        "(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (call $of (i32.const 64) (i32.const 3))))"
        " (i32.const 0)"
    )
    wasm, spec = agent(body)
    guests = WasmGuests(capabilities=(MEMORY_SUM,))
    first, second = (guests.instantiate(0, spec, wasm) for _ in range(2))
    first.run(arguments())
    second.restore(bytes(first.memory()), first.globals())
    for each in (first, second):
        each.run(arguments())
        assert struct.unpack_from("<I", each.memory())[0] == 12
    assert GROUPS and guest(wat()).run(arguments()).status == "ok"
