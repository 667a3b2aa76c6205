"""The load checks: what is refused, by which check, in which order; and that nothing gets past the reader."""

from __future__ import annotations

import hashlib
import random

import pytest
import wasmtime
from wasm_kit import arguments, guest, imports, spec_of, wat

from runtime.errors import ModuleRefused, Refused
from runtime.wasm import WasmGuests, assemble, check_module
from runtime.wasm.abi import GROUPS, HOST
from runtime.wasm.binary import Malformed, encode_u32, parse, rewrite
from runtime.wasm.engine import engine
from runtime.wasm.scan import changes_state

GOOD = assemble(wat())


def refused(wasm: bytes, **changes: object) -> ModuleRefused:
    with pytest.raises(ModuleRefused) as caught:
        check_module(spec_of(wasm, **changes), wasm)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModuleRefused) as again:  # the same answer when the module is known
        WasmGuests().instantiate(0, spec_of(wasm, **changes), wasm)
    assert str(again.value) == str(caught.value)
    return caught.value


def versioned(text: bytes) -> bytes:
    content = encode_u32(15) + b"wasm-engine.abi" + text
    return GOOD + b"\x00" + encode_u32(len(content)) + content


def test_a_good_module_passes() -> None:
    check_module(spec_of(GOOD), GOOD)


def test_a_module_larger_than_allowed_is_refused() -> None:
    with pytest.raises(ModuleRefused) as caught:
        WasmGuests(max_module_bytes=len(GOOD) - 1).instantiate(0, spec_of(GOOD), GOOD)
    assert caught.value.check == "size"
    WasmGuests(max_module_bytes=len(GOOD)).instantiate(0, spec_of(GOOD), GOOD)
    large = GOOD + b"\x00" + encode_u32(16 << 20) + bytes(16 << 20)
    assert refused(large).check == "size"


def test_bytes_with_another_digest_are_refused() -> None:
    assert refused(GOOD, module=hashlib.sha256(b"other").hexdigest()).check == "digest"
    assert refused(GOOD, module="x\n" * 500).check == "digest"


MALFORMED = {
    "no bytes": b"",
    "no wasm": b"\x7fELF" + bytes(100),
    "text": b"(module)",
    "a component": b"\x00asm\x0d\x00\x01\x00",
    "another version": b"\x00asm\x02\x00\x00\x00",
    "cut short": GOOD[:-3],
    "too long": GOOD + b"\x0a",
    "a section twice": GOOD + GOOD[8 : 10 + GOOD[9]],
    "an endless number": b"\x00asm\x01\x00\x00\x00\x01" + b"\xff" * 20,
    "a flood of types": b"\x00asm\x01\x00\x00\x00\x01"
    + encode_u32(3 + 3 * 1_000_000)
    + encode_u32(1_000_000)
    + b"\x60\x00\x00" * 1_000_000,
    "a flood of sections": GOOD + b"\x00\x01\x00" * 1_000_000,
    "a hostile count": b"\x00asm\x01\x00\x00\x00\x01\x05\xff\xff\xff\xff\x0f",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_bytes_that_are_no_module_are_refused(name: str) -> None:
    assert refused(MALFORMED[name]).check == "format"


TABLE = "(table 2 9 funcref) (elem declare func $f) (func $f)"
UNSUPPORTED = {
    "start": "(func $f) (start $f)",
    "two memories": "(memory 1)",
    "mutable vector": "(global (mut v128) (v128.const i64x2 0 0))",
    "mutable reference": "(global (mut funcref) (ref.null func))",
    "passive data": '(data "x")',
    "passive elements": "(table 1 funcref) (func $f) (elem func $f)",
    "passive element expressions": "(table 1 funcref) (elem funcref (ref.null func))",
    "table.set": TABLE + "(func (table.set (i32.const 0) (ref.func $f)))",
    "table.grow": TABLE + "(func (drop (table.grow (ref.null func) (i32.const 1))))",
    "table.fill": TABLE + "(func (table.fill (i32.const 0) (ref.null func) (i32.const 1)))",
    "table.copy": TABLE + "(func (table.copy (i32.const 0) (i32.const 1) (i32.const 1)))",
    "data outside": '(data (i32.const 65536) "x")',
    "elements outside": "(table 1 funcref) (func $f) (elem (i32.const 1) $f)",
    "type error": "(func (result i32) (i64.const 1))",
    "exceptions": "(tag) (func (throw 0))",
    "relaxed vectors": "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
    "threads": "(func (drop (i32.atomic.load (i32.const 0))))",
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_an_agent_may_not_have_is_refused(name: str) -> None:
    assert refused(assemble(wat(after=UNSUPPORTED[name]))).check == "format"


@pytest.mark.parametrize(
    ("memory", "check"),
    [
        ('(memory (export "memory") 1 1 shared)', "format"),
        ('(memory (export "memory") i64 1)', "format"),
        ('(memory (export "other") 1)', "abi"),
        ('(memory 1) (func (export "memory"))', "abi"),
        ("", "abi"),
    ],
)
def test_a_memory_of_another_kind_is_refused(memory: str, check: str) -> None:
    assert refused(assemble(wat(memory=memory))).check == check


@pytest.mark.parametrize(
    "text",
    [
        wat().replace('"agent_step"', '"other"'),
        wat().replace('(export "agent_init") (result i32)', '(export "agent_init") (result i64) (i64.const 0) drop'),
        wat().replace('(export "agent_receive") (param i32 i32)', '(export "agent_receive") (param i32)'),
        wat(after='(global (export "wasm-engine.global.0") i32 (i32.const 0))'),
        "(module)",
    ],
)
def test_a_module_without_the_agents_exports_is_refused(text: str) -> None:
    assert refused(assemble(text.replace("(i64.const 0) drop (i32.const 0)", "(i64.const 0)"))).check == "abi"


@pytest.mark.parametrize("text", [b"2", b"0", b"1.3", b"1.7.3", b"1x", b"", b"1.", b"-1", b"\xff", b"9" * 400])
def test_another_abi_version_is_refused(text: bytes) -> None:
    assert refused(versioned(text)).check == "abi"


@pytest.mark.parametrize("text", [b"1", b"1.0", b"1.0.3"])
def test_an_abi_version_that_this_runtime_has_is_accepted(text: bytes) -> None:
    check_module(spec_of(versioned(text)), versioned(text))


def test_two_abi_versions_are_refused() -> None:
    assert refused(versioned(b"1") + versioned(b"1")[len(GOOD) :]).check == "abi"


@pytest.mark.parametrize(
    "line",
    [
        '(import "engine" "format_disk" (func))',
        '(import "wasi_snapshot_preview1" "path_open" (func (param i32 i32 i32 i32) (result i32)))',
        '(import "engine" "send" (func (param i32 i32) (result i32)))',
        '(import "engine" "now" (func (result i32)))',
        '(import "engine" "send" (global i32))',
        '(import "engine" "send" (table 1 funcref))',
        '(import "en\\0agine" "se\\0and" (func))',
        '(import "engine" "memory" (memory 1))',
        '(import "engine" "state" (global (mut i32)))',
    ],
)
def test_an_import_that_is_not_offered_is_refused(line: str) -> None:
    assert refused(assemble(wat(before=line))).check == "import"


def test_a_module_whose_only_memory_is_imported_is_refused() -> None:
    memory = '(import "engine" "memory" (memory 1)) (export "memory" (memory 0))'
    assert refused(assemble(wat(memory=memory))).check == "import"


@pytest.mark.parametrize("name", HOST)
def test_an_import_needs_its_capability(name: str) -> None:
    wasm = assemble(wat(before=imports(name)))
    group = HOST[name].group
    check_module(spec_of(wasm, capabilities=(group,) if group else ()), wasm)
    if group:
        error = refused(wasm, capabilities=tuple(other for other in GROUPS if other != group))
        assert error.check == "import" and f"'{group}'" in error.todo


def test_an_unknown_capability_is_refused() -> None:
    assert refused(GOOD, capabilities=("mesages",)).check == "import"


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (wat(), {"memory": 65535}),
        (wat(memory='(memory (export "memory") 17)'), {}),
        (wat(after="(table 1001 funcref)"), {}),
        (wat(after="(table 600 funcref) (table 401 funcref)"), {}),
        (wat(after="(table 4294967295 funcref)"), {}),
        (wat(after="(table 4294967295 funcref)"), {"table": 4294967295}),
    ],
)
def test_a_declared_minimum_above_the_limit_is_refused(text: str, changes: dict[str, int]) -> None:
    assert refused(assemble(text), **changes).check == "limit"


def test_the_first_check_that_fails_is_named() -> None:
    """One module with all faults; each is mended in turn."""
    faults = {
        "format": "(func $s) (start $s)",
        "abi": "",
        "import": '(import "engine" "nothing" (func))',
        "limit": "(table 5000 funcref)",
    }
    broken = wat(before=faults["import"], after=faults["limit"] + faults["format"]).replace("agent_init", "init")
    order = []
    wasm = assemble(broken)
    order.append(refused(wasm, module="0").check)
    for mend in ("format", "abi", "import", "limit"):
        order.append(refused(wasm).check)
        broken = broken.replace(faults[mend], "") if mend != "abi" else broken.replace('"init"', '"agent_init"')
        wasm = assemble(broken)
    assert order == ["digest", "format", "abi", "import", "limit"]
    check_module(spec_of(wasm), wasm)


def test_one_module_serves_agents_with_different_limits() -> None:
    wasm = assemble(wat(init="(memory.grow (i32.const 1))"))
    for pages, status in ((1, "agent_error:4294967295"), (2, "agent_error:1"), (1, "agent_error:4294967295")):
        spec = spec_of(wasm, memory=pages * 65536)
        assert WasmGuests().instantiate(0, spec, wasm).run(arguments(kind="init")).status == status


def test_harmless_tables_vectors_and_bulk_operations_pass() -> None:
    body = """(local $v v128) (local $f f32)
      (block $b (block $a (br_table $a $b $a (i32.const 1))) (drop (f64.const 0.1)))
      (local.set $v (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 31 (local.get $v) (v128.const i64x2 38 38)))
      (local.set $v (v128.load8_lane 3 (i32.const 38) (local.get $v)))
      (v128.store offset=300 (i32.const 0) (local.get $v))
      (drop (i16x8.extract_lane_u 3 (i32x4.add (local.get $v) (f32x4.splat (f32.const 38)))))
      (memory.fill (i32.const 0) (i32.const 38) (i32.const 38)) (memory.copy (i32.const 0) (i32.const 38) (i32.const 1))
      (drop (i32.trunc_sat_f32_s (f32.const 38))) (drop (table.size)) (drop (ref.is_null (table.get (i32.const 0))))
      (drop (select (result funcref) (ref.func $f) (ref.null func) (i32.const 38)))
      (call_indirect (result i32) (i32.const 1))"""
    extra = """(table 9 funcref) (elem (i32.const 0) $f $f) (elem declare func $f)
      (elem (i32.const 3) funcref (ref.func $f))
      (func $f (result i32) (i32.const 0)) (global v128 (v128.const i32x4 0 0 0 0)) (global f64 (f64.const 1))"""
    assert guest(wat(step=body, after=extra)).run(arguments()).status == "ok"


def test_the_scan_reports_what_it_does_not_know() -> None:
    assert changes_state(b"\x20\x00\x0b", 0, 3) == ""
    for unknown in (
        b"\x06\x40",
        b"\xfe\x00",
        b"\xfd\x80\x02",
        b"\x20",
        b"\x41\xff",
        b"\x0e\xff\xff\x7f\x00",
        b"\x26\x00",
    ):
        assert changes_state(b"\x01" + unknown, 0, 1 + len(unknown))
    assert changes_state(b"\x41\x26\x1a\x0b", 0, 4) == ""  # 0x26 as a number is not table.set


RICH = assemble(
    wat(
        before=imports("send", "now") + "(global (mut i64) (i64.const 5)) (global f32 (f32.const 1))",
        after="""(table 3 funcref) (func $f (br_table 0 0 (i32.const 0))) (elem (i32.const 0) $f) (elem declare func $f)
          (data (i32.const 0) "abc") (func (param f64) (local i32 i64) (block (loop (br 1))))""",
    )
)


def test_damaged_modules_are_refused_or_run_but_never_raise_anything_else() -> None:
    generator = random.Random(7)
    survived = 0
    for _ in range(1500):
        data = bytearray(RICH)
        for _ in range(generator.choice((1, 1, 2, 5))):
            data[generator.randrange(8, len(data))] = generator.choice(
                (0, 1, 0x7F, 0x80, 0xFF, generator.randrange(256))
            )
        wasm = bytes(data[: generator.choice((len(data), len(data), generator.randrange(len(data))))])
        try:
            parse(wasm)
        except Malformed:
            with pytest.raises(ModuleRefused):
                check_module(spec_of(wasm), wasm)
            continue
        try:
            instance = WasmGuests().instantiate(0, spec_of(wasm), wasm)
        except ModuleRefused:
            continue
        instance.run(arguments(fuel=10_000))
        survived += 1
    assert survived > 50


def test_the_reader_agrees_with_wasmtime_on_what_it_passes() -> None:
    parsed = parse(RICH)
    module = wasmtime.Module(engine(), rewrite(RICH, parsed, 5))
    assert [entry.name for entry in module.imports] == [entry.name for entry in parsed.imports]
    added = [f"wasm-engine.global.{index}" for index, _ in parsed.mutable]
    assert added == ["wasm-engine.global.0"]
    assert [entry.name for entry in module.exports] == [entry.name for entry in parsed.exports] + added
    memory = next(entry.type for entry in module.exports if entry.name == "memory")
    assert isinstance(memory, wasmtime.MemoryType)
    assert (memory.limits.min, memory.limits.max) == (1, 5)


def test_text_that_does_not_assemble_is_refused_with_its_place() -> None:
    with pytest.raises(Refused) as caught:
        assemble("(module\n  (func foo))")
    assert caught.value.where == "line 2, column 9" and "\n" not in str(caught.value)
    for text in ("", "(", "\ud800", "\0", "(module (func (param i32 i32) (call 9)))"):
        try:
            assemble(text)
        except Refused as error:
            assert "\n" not in str(error)
    assert assemble(wat()) == GOOD and isinstance(GOOD, bytes)
