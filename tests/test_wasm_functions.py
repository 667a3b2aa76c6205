"""Function modules of any origin (WAS-2): calls, numbers, bytes, host functions, limits (WAS-4), checks (WAS-3)."""

from __future__ import annotations

import math
import os
import struct
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest
from modules_kit import ADD, MEMORY, RECURSE, SPIN, UPPER, instance, module

from runtime.errors import CallFailed, LimitExceeded, ModuleRefused, Refused
from runtime.wasm import Engine, Memory, ModuleLimits, assemble, raw, with_memory
from runtime.wasm.signatures import Demand, sign
from runtime.wasm.trust import ed25519, moment, trusting

PASS = """(func (export "i32") (param i32) (result i32) local.get 0)
  (func (export "i64") (param i64) (result i64) local.get 0)
  (func (export "f32") (param f32) (result f32) local.get 0) (func (export "f64") (param f64) (result f64) local.get 0)
  (func (export "all") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
    local.get 3 local.get 2 local.get 1 local.get 0) (func (export "none"))"""


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text and text.isprintable()
    return text


def test_a_file_of_either_format_is_loaded_and_called(tmp_path: Path) -> None:
    text = f"(module {ADD})"
    (tmp_path / "add.wat").write_text(text)
    (tmp_path / "add.wasm").write_bytes(assemble(text))
    for name in ("add.wat", "add.wasm"):
        assert Engine().load(tmp_path / name).call("add", 1, 2) == 3
        assert Engine().load(str(tmp_path / name)).call("add", -1, 2**32 - 1) == -2


def test_every_call_of_a_module_has_a_fresh_instance_and_an_instance_keeps_its_state() -> None:
    counter = module(
        '(global $n (mut i32) (i32.const 0)) (func (export "next") (result i32)'
        " (global.set $n (i32.add (global.get $n) (i32.const 1))) global.get $n)"
    )
    assert [counter.call("next") for _ in range(3)] == [1, 1, 1]
    kept = counter.instantiate()
    assert [kept.call("next") for _ in range(3)] == [1, 2, 3]


def test_numbers_of_all_types_pass_unchanged_and_several_results_are_a_tuple() -> None:
    with instance(PASS) as held:
        for name, values in {
            "i32": (0, 1, -1, 2**31 - 1, -(2**31)),
            "i64": (0, -1, 2**63 - 1, -(2**63)),
            "f32": (0.5, -0.0, math.inf, 16777216),
            "f64": (0.1, -math.inf, 5e-324, 2**53),
        }.items():
            for value in values:
                back = held.call(name, value)
                assert back == value and math.copysign(1, back) == math.copysign(1, value)
        assert held.call("i32", 2**32 - 1) == -1 and held.call("i64", 2**63) == -(2**63)
        assert math.isnan(held.call("f32", math.nan))  # type: ignore[arg-type]
        assert held.call("f32", 0.1) == struct.unpack("<f", struct.pack("<f", 0.1))[0]
        quiet = struct.unpack("<d", (0x7FF8_0000_0000_1234).to_bytes(8, "little"))[0]
        assert struct.pack("<d", held.call("f64", quiet)) == (0x7FF8_0000_0000_1234).to_bytes(8, "little")
        assert held.call("all", 1, 2, 3.0, 4.0) == (4.0, 3.0, 2, 1)
        assert held.call("none") is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("i32", 2**32, "does not fit i32"),
        ("i32", -(2**31) - 1, "-2147483648 to 4294967295"),
        ("i64", 2**64, "does not fit i64"),
        ("i64", 1 << 9000, "a far larger integer"),
        ("i32", 1.0, "not an integer"),
        ("i32", True, "a bool"),
        ("i32", "1", "a str"),
        ("i32", None, "a NoneType"),
        ("f32", 1e39, "does not fit f32"),
        ("f32", "1", "not a number"),
        ("f64", 2**53 + 1, "no f64 exactly"),
        ("f64", 10**400, "does not fit f64"),
        ("f64", False, "a bool"),
    ],
)
def test_a_value_that_is_not_of_its_type_is_refused(name: str, value: object, words: str) -> None:
    with instance(PASS) as held, pytest.raises(Refused) as caught:
        held.call(name, value)  # type: ignore[arg-type]
    assert words in one_line(caught.value) and f"argument 1 of {name}" in str(caught.value)


def test_a_wrong_name_or_number_of_arguments_is_refused() -> None:
    with instance(ADD, MEMORY, '(global (export "g") i32 (i32.const 1))') as held:
        for call in (("nosuch",), ("memory",), ("g",), ("x\n\x1b[2J",), ("add",), ("add", 1), ("add", 1, 2, 3), (7,)):
            with pytest.raises(Refused) as caught:
                held.call(*call)  # type: ignore[arg-type]
            one_line(caught.value)
        assert held.call("add", 1, 2) == 3


def test_vectors_and_references_do_not_cross() -> None:
    with instance('(func (export "v") (param v128))', '(func (export "r") (result funcref) ref.null func)') as held:
        for name in ("v", "r"):
            with pytest.raises(Refused, match="only i32, i64, f32 and f64"):
                held.call(name)


def test_bytes_go_in_and_out_through_allocate() -> None:
    with instance(MEMORY, UPPER) as held:
        assert held.call_bytes("upper", b"a long way, 2 go") == b"A LONG WAY, 2 GO"
        assert held.call_bytes("upper64", bytearray("gr\u00fc\u00df".encode())) == "GR\u00fc\u00df".encode()
        at = held.put(b"abc")
        assert held.memory.read(at, 3) == b"abc"
        with pytest.raises(CallFailed) as caught:
            held.put(bytes(60001))
        assert caught.value.reason == "alloc"
    with instance(ADD) as held, pytest.raises(Refused, match="no function 'allocate'"):
        held.put(b"")


def test_an_allocate_that_points_outside_is_refused_and_writes_nothing() -> None:
    with instance(MEMORY, '(func (export "allocate") (param i32) (result i32) i32.const -4)') as held:
        with pytest.raises(Refused, match="not inside"):
            held.put(b"12345")
        assert held.memory.read(0, 65536) == bytes(65536)
    far = '(func (export "far") (param i32 i32) (result i32 i32) i32.const -1 i32.const -1)'
    one = '(func (export "one") (param i32 i32) (result i32) i32.const 1)'
    with instance(MEMORY, UPPER, far, one) as held:
        with pytest.raises(Refused, match="not inside"):
            held.call_bytes("far", b"x")
        with pytest.raises(Refused, match="gives no range"):
            held.call_bytes("one", b"x")


def test_memory_is_read_and_written_within_its_bounds_which_grow_with_it() -> None:
    grow = '(func (export "grow") (result i32) i32.const 1 memory.grow)'
    with instance(MEMORY, grow) as held:
        held.memory.write(65535, b"x")
        assert held.memory.read(65535, 1) == b"x" and held.memory.read(65536, 0) == b"" and len(held.memory) == 65536
        for offset, length in (
            (65535, 2),
            (65537, 0),
            (2**32, 1),
            (2**70, 2**70),
            (1 << 20000, 1),
            (-(1 << 20000), 1),
            (-1, 1),
            (0, -1),
            (0.0, 1),
            ("0", 1),
        ):
            with pytest.raises(Refused) as caught:
                held.memory.read(offset, length)  # type: ignore[arg-type]
            one_line(caught.value)
        for data in ("text", None, 5, [1]):
            with pytest.raises(Refused, match="give bytes"):
                held.memory.write(0, data)  # type: ignore[arg-type]
        held.call("grow")
        held.memory.write(65536, b"yz")
        assert held.memory.read(65535, 3) == b"xyz" and len(held.memory) == 131072
    with instance(ADD) as held, pytest.raises(Refused, match="exports no memory"):
        held.memory.read(0, 0)


CALLER = """(import "env" "twice" (func $twice (param i32) (result i32)))
  (import "env" "note" (func $note (param i32 i32)))
  (import "env" "many" (func $many (param i64 f32) (result f32 i64)))
  (memory (export "memory") 1) (data (i32.const 8) "hello")
  (func (export "twice") (param i32) (result i32) local.get 0 call $twice)
  (func (export "note") i32.const 8 i32.const 5 call $note)
  (func (export "many") (result f32 i64) i64.const -7 f32.const 1.5 call $many)"""


def lent(**changes: object) -> dict[str, object]:
    given: dict[str, object] = {
        "env.twice": lambda n: 2 * n, "env.note": lambda at, length: None, "env.many": lambda a, b: (b, a),
    }  # fmt: skip
    return given | {f"env.{name}": function for name, function in changes.items()}


def test_host_functions_take_and_give_numbers_and_see_the_memory_when_they_ask_for_it() -> None:
    notes: list[bytes] = []

    def note(memory: Memory, at: int, length: int) -> None:
        notes.append(memory.read(at, length))
        memory.write(at, b"HELLO")

    held = module(CALLER).instantiate(host=lent(note=with_memory(note)))  # type: ignore[arg-type]
    assert held.call("twice", 21) == 42 and held.call("many") == (1.5, -7)
    held.call("note")
    held.call("note")
    assert notes == [b"hello", b"HELLO"]
    with pytest.raises(Refused, match="not a function"):
        with_memory(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), SystemExit(3), MemoryError(), StopIteration()])
def test_what_a_host_function_raises_ends_the_call_and_is_raised_outside(error: BaseException) -> None:
    def raising(n: int) -> int:
        if n == 1:
            raise error
        return n

    held = module(CALLER).instantiate(host=lent(twice=raising))  # type: ignore[arg-type]
    with pytest.raises(type(error)) as caught:
        held.call("twice", 1)
    assert caught.value is error
    assert held.call("twice", 5) == 5


@pytest.mark.parametrize("answer", [None, 1.5, "2", 2**40, (1, 2), True, [1]])
def test_a_host_function_that_answers_with_anything_but_its_type_is_refused(answer: object) -> None:
    held = module(CALLER).instantiate(host=lent(twice=lambda n: answer))  # type: ignore[arg-type]
    with pytest.raises(Refused, match=r"result of env\.twice"):
        held.call("twice", 1)
    many = module(CALLER).instantiate(host=lent(many=lambda a, b: (b,)))  # type: ignore[arg-type]
    with pytest.raises(Refused, match="declared are 2"):
        many.call("many")
    with pytest.raises(Refused, match="declared are 0"):
        module(CALLER).instantiate(host=lent(note=lambda a, b: 0)).call("note")  # type: ignore[arg-type]


@pytest.mark.parametrize("nth", [1, 2])
def test_what_is_raised_as_python_enters_a_callback_is_raised_outside_too(nth: int) -> None:
    """A signal may raise before the callback's first line (here a tracer does): ctypes would answer with garbage."""
    held = module(CALLER).instantiate(host=lent(twice=lambda n: 2 * n))  # type: ignore[arg-type]
    entered = []

    def interrupting(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_name in ("_serving", "serve"):
            entered.append(frame.f_code.co_name)
            if len(entered) == nth:
                raise KeyboardInterrupt

    for _ in range(3):
        entered.clear()
        sys.settrace(interrupting)
        try:
            with pytest.raises(KeyboardInterrupt):
                held.call("twice", 7)
        finally:
            sys.settrace(None)
        assert entered == ["_serving", "serve"][:nth]
        assert held.call("twice", 7) == 14


def test_a_failure_never_looks_like_an_answer_even_when_no_trap_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "_trap_new", lambda message, length: 0)
    held = module(CALLER).instantiate(host=lent(twice=lambda n: {1: 2}[n]))  # type: ignore[arg-type]
    for _ in range(2):
        assert held.call("twice", 1) == 2
        with pytest.raises(KeyError):
            held.call("twice", 7)


def test_a_trap_after_a_host_functions_error_is_the_modules_own() -> None:
    trap = '(import "env" "f" (func $f)) (func (export "f") call $f) (func (export "trap") unreachable)'
    held = module(trap).instantiate(host={"env.f": lambda: {}["x"]})
    for _ in range(2):
        with pytest.raises(KeyError):
            held.call("f")
        with pytest.raises(CallFailed, match="unreachable"):
            held.call("trap")


def test_a_call_from_within_a_host_function_is_refused_and_another_instance_may_be_called() -> None:
    other = instance(ADD)
    held = module(CALLER).instantiate(
        host=lent(
            twice=lambda n: held.call("twice", n) if n == 1 else held.close() if n == 2 else other.call("add", n, n)
        )
    )  # type: ignore[arg-type]
    for n in (1, 2):
        with pytest.raises(Refused, match="within its own call"):
            held.call("twice", n)
    assert held.call("twice", 3) == 6


def test_instances_that_call_each_other_without_end_are_refused_at_a_depth() -> None:
    def deeper(n: int) -> int:
        return int(made.instantiate(host=lent(twice=deeper)).call("twice", n))  # type: ignore[arg-type]

    made = module(CALLER)
    with pytest.raises(Refused, match="instances call each other"):
        deeper(1)


IMPORTS = {
    '(import "env" "f" (func))': "env.f () -> () is not given",
    '(import "wasi_snapshot_preview1" "fd_write" (func (param i32) (result i32)))': "a WASI function, not granted",
    '(import "env" "memory" (memory 1))': "env.memory is a memory",
    '(import "env" "table" (table 1 funcref))': "env.table is a table",
    '(import "env" "g" (global i32))': "env.g is a global",
    '(import "env" "v" (func (param v128)))': "only i32, i64, f32 and f64",
    '(import "e\\0a\\1b[2J" "x" (func))': "\\n\\x1b[2J",
}


@pytest.mark.parametrize("line", IMPORTS)
def test_an_import_that_is_not_given_is_refused_by_name(line: str) -> None:
    for host in (None, {}, {"env.memory": print, "env.table": print, "env.g": print, "env.v": print, "f": print}):
        with pytest.raises(ModuleRefused) as caught:
            module(line).instantiate(host=host)
        assert caught.value.check == "import" and IMPORTS[line] in one_line(caught.value)


def test_a_host_that_is_none_is_refused() -> None:
    for host in ([], "env", 3):
        with pytest.raises(Refused, match="host is a"):
            module(CALLER).instantiate(host=host)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="give a function"):
        module(CALLER).instantiate(host=lent(twice=5))  # type: ignore[arg-type]
    granted = module('(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))')
    granted.instantiate(host={"wasi_snapshot_preview1.sched_yield": lambda: 0}).close()


def test_endless_loops_and_recursion_end_with_the_limits_name_and_the_instance_goes_on() -> None:
    with instance(SPIN, RECURSE, ADD, fuel=100_000) as held:
        for name, limit in (("spin", "fuel"), ("recurse", "stack")):
            with pytest.raises(LimitExceeded) as caught:
                held.call(name)
            assert caught.value.limit == limit and caught.value.reason == f"limit:{limit}"
            assert f"[limit:{limit}]" in one_line(caught.value)
        assert held.call("add", 1, 2) == 3 and 0 < held.used < 100
    with instance(ADD, fuel=0) as held, pytest.raises(LimitExceeded):
        held.call("add", 1, 2)


@pytest.mark.parametrize(
    ("body", "trap"),
    [
        ("unreachable", "unreachable"),
        ("i32.const 1 i32.const 0 i32.div_s drop", "integer_division_by_zero"),
        ("i32.const -2147483648 i32.const -1 i32.div_s drop", "integer_overflow"),
        ("f32.const nan i32.trunc_f32_s drop", "bad_conversion_to_integer"),
        ("i32.const 65536 i32.load drop", "memory_out_of_bounds"),
        ("i32.const -1 call_indirect", "table_out_of_bounds"),
        ("i32.const 0 call_indirect", "indirect_call_to_null"),
        ("i32.const 1 call_indirect", "bad_signature"),
    ],
)
def test_a_trap_ends_the_call_with_its_name(body: str, trap: str) -> None:
    table = f'(table 2 funcref) (func $g (param i32)) (elem (i32.const 1) $g) (func (export "go") {body})'
    with instance(MEMORY, table, ADD) as held:
        with pytest.raises(CallFailed) as caught:
            held.call("go")
        assert caught.value.reason == f"trap:{trap}" and not isinstance(caught.value, LimitExceeded)
        one_line(caught.value)
        assert held.call("add", 1, 2) == 3


def test_a_start_function_runs_under_the_limits_and_may_call_its_host() -> None:
    called: list[int] = []
    start = '(import "env" "f" (func $f (param i32))) (func $s {}) (start $s)'
    module(start.format("i32.const 5 call $f")).instantiate(host={"env.f": called.append}).close()
    assert called == [5]
    for body, reason in (
        ("(loop br 0)", "limit:fuel"),
        ("call $s", "limit:stack"),
        ("unreachable", "trap:unreachable"),
    ):
        with pytest.raises(CallFailed) as caught:
            module(start.format(body)).instantiate(host={"env.f": print}, limits=ModuleLimits(fuel=10_000_000))
        assert caught.value.reason == reason
    with pytest.raises(KeyError):
        module(start.format("i32.const 5 call $f")).instantiate(host={"env.f": lambda n: {}[n]})
    with pytest.raises(Refused, match="start function asks for its memory"):
        reading = with_memory(lambda memory, n: None)
        module(start.format("i32.const 5 call $f")).instantiate(host={"env.f": reading})


@pytest.mark.parametrize(
    ("parts", "limits"),
    [
        (("(memory 2)",), {"memory": 65536}),
        (("(memory 65536)",), {}),
        (("(memory 1) (memory 1)",), {}),
        (("(table 11 funcref)",), {"table": 10}),
        (("(table 6 funcref) (table 6 funcref)",), {"table": 10}),
        (("(table 4294967295 funcref)",), {"table": 10_000_000}),
        (("(table 0 funcref)" * 17,), {}),
    ],
)
def test_what_a_module_begins_with_beyond_its_limits_is_refused(parts: tuple[str, ...], limits: dict[str, int]) -> None:
    with pytest.raises(ModuleRefused) as caught:
        instance(*parts, **limits)
    assert caught.value.check == "limit"
    one_line(caught.value)


@pytest.mark.parametrize(
    "limits",
    [{"fuel": -1}, {"fuel": 2**63}, {"memory": 2**32 + 1}, {"table": 10**8}, {"fuel": 1.5}, {"table": 1 << 20000}],
)
def test_a_limit_that_none_can_be_is_refused(limits: dict[str, object]) -> None:
    with pytest.raises(Refused, match="give 0 to"):
        instance(ADD, **limits)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="ModuleLimits"):
        module(ADD).instantiate(limits=limits)  # type: ignore[arg-type]


def test_segments_outside_are_a_trap_of_the_instantiation() -> None:
    for part in ('(memory 1) (data (i32.const 65536) "x")', "(table 1 funcref) (func $f) (elem (i32.const 1) $f)"):
        with pytest.raises(CallFailed, match="out_of_bounds"):
            instance(part)


def test_a_closed_instance_is_refused() -> None:
    held = instance(ADD, MEMORY)
    memory = held.memory
    held.close()
    held.close()
    for use in (
        lambda: held.call("add", 1, 2),
        lambda: memory.read(0, 1),
        lambda: memory.write(0, b"x"),
        lambda: len(memory),
    ):
        with pytest.raises(Refused, match="closed"):
            use()


def test_a_second_thread_is_refused_while_a_call_runs_and_welcome_after_it() -> None:
    entered, leave = threading.Event(), threading.Event()

    def waits(n: int) -> int:
        entered.set()
        assert leave.wait(10)
        return n

    held = module(CALLER).instantiate(host=lent(twice=waits))  # type: ignore[arg-type]
    results: list[object] = []
    other = threading.Thread(target=lambda: results.append(held.call("twice", 4)))
    other.start()
    assert entered.wait(10)
    for use in (lambda: held.call("note"), lambda: held.memory.read(0, 1), held.close):
        with pytest.raises(Refused, match="second thread"):
            use()
    leave.set()
    other.join(10)
    assert results == [4] and held.memory.read(8, 5) == b"hello"


def test_files_that_are_no_modules_are_refused_in_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty.wasm").write_bytes(b"")
    (tmp_path / "elf").write_bytes(b"\x7fELF" + bytes(100))
    (tmp_path / "cut.wasm").write_bytes(assemble(f"(module {ADD})")[:-3])
    (tmp_path / "component.wasm").write_bytes(b"\x00asm\x0d\x00\x01\x00")
    (tmp_path / "bad.wat").write_text("(module\n  (func foo))")
    (tmp_path / "deep.wat").write_text("(module (func " + "(block " * 100_000)
    for name in (
        "nosuch",
        ".",
        "pipe",
        "text",
        "empty.wasm",
        "elf",
        "cut.wasm",
        "component.wasm",
        "bad.wat",
        "deep.wat",
        "a\0b",
    ):
        with pytest.raises(Refused) as caught:
            Engine().load(tmp_path / name)
        assert name.replace("\0", "\\x00") in one_line(caught.value) or name == "."
    with pytest.raises(Refused, match="line 2, column 9"):
        Engine().load(tmp_path / "bad.wat")


def test_the_checks_come_in_their_order() -> None:
    """Size before format, format before imports, imports before limits."""
    wasm = assemble(f'(module (import "env" "f" (func)) (memory 2) {ADD})')
    damaged = wasm[:4] + b"\xff" + wasm[5:]
    order = []
    for engine, data, host in (
        (Engine(max_module_bytes=len(wasm) - 1), damaged, {}),
        (Engine(), damaged, {}),
        (Engine(), wasm, {}),
        (Engine(), wasm, {"env.f": print}),
    ):
        with pytest.raises(ModuleRefused) as caught:
            engine.load_bytes(data).instantiate(host=host, limits=ModuleLimits(memory=1))
        order.append(caught.value.check)
    assert order == ["size", "format", "import", "limit"]


def test_an_engine_that_demands_signatures_refuses_a_module_without_one_before_its_format() -> None:
    seed = bytes(range(32))
    demanding = Engine(demand=Demand(trusting(ed25519.public_key(seed)), moment(1_700_000_000_000)))
    wasm = assemble(f"(module {ADD})")
    for data in (wasm, wasm[:-1], f"(module {ADD})".encode()):
        with pytest.raises(ModuleRefused) as caught:
            demanding.load_bytes(data)
        assert caught.value.check == "signature"
    assert demanding.load_bytes(sign(wasm, seed)).call("add", 1, 2) == 3
