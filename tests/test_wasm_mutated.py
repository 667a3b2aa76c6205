"""Damaged modules: bit flips of good ones are refused, end by a limit or a trap, or run; no process ends.

300 of them, and 10,000 with WASM_ENGINE_SOAK=1 (`make soak`).
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
import wasmtime
from modules_kit import ADD, MEMORY, RECURSE, SPIN, UPPER, module
from wasm_kit import arguments, envelope, imports, spec_of, wat

from runtime.errors import CallFailed, EngineError, ModuleRefused, Refused
from runtime.validators import Validator
from runtime.wasm import Engine, Memory, ModuleLimits, WasmGuests, assemble, with_memory
from runtime.wasm.engine import engine
from runtime.wasm.growth import noting
from runtime.wasm.inspection import describe
from runtime.wasm.wasi import Wasi

HOST = '(import "env" "f" (func $f (param i32 i64) (result i64)))'
USES = """(func (export "uses") (param i32) (result i64) (call $f (local.get 0) (i64.const 3)))
  (table 4 8 funcref) (elem (i32.const 0) $f $f) (data (i32.const 64) "some data")
  (func (export "grows") (result i32) (memory.grow (i32.const 3)))
  (func (export "br") (param i32) (result i32) (block (block (br_table 0 1 (local.get 0))) (return (i32.const 1)))
    (i32.const 2)) (global $g (mut i64) (i64.const 1)) (func $s (global.set $g (i64.const 2))) (start $s)"""
VALIDATE = '(func (export "validate") (param i32 i32) (result i32) (i32.load8_u (local.get 0)))'
USES_WASI = """(import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $r (param i32 i32) (result i32)))
  (import "lib" "add" (func $a (param i32 i32) (result i32)))"""
WASI_USED = """(func (export "wasi") (param i32) (result i32)
  (drop (call $r (i32.const 64) (i32.const 40)))
  (drop (call $w (i32.const 1) (i32.const 64) (i32.const 3) (i32.const 8)))
  (call $a (local.get 0) (i32.const 1)))"""
AGENT = assemble(
    wat(
        before=imports("send", "random") + "(global $g (mut i64) (i64.const 5))",
        step="(global.set $g (call $random)) (call $send (i32.const 1) (i32.const 64) (i32.const 8))",
        after="(table 3 funcref) (func $f (drop (i32.const 1))) (elem (i32.const 0) $f)"
        '(data (i32.const 64) "abcdefgh")',
    )
)
GOOD = (
    assemble(f"(module {USES_WASI} {MEMORY} {SPIN} {WASI_USED})"),
    assemble(f"(module {HOST} {MEMORY} {ADD} {UPPER} {USES})"),
    assemble(f"(module {MEMORY} {SPIN} {RECURSE} {ADD} {VALIDATE})"),
)
LIBRARY = {"lib": module(ADD)}
WASI = Wasi().functions()
LIMITS = ModuleLimits(fuel=200_000, memory=8 * 65536, table=100)


def flipped(wasm: bytes, generator: random.Random) -> bytes:
    data = bytearray(wasm)
    for _ in range(generator.choice((1, 1, 1, 2, 8))):
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    return bytes(data)


def lent(memory: Memory, a: int, b: int) -> int:
    memory.read(a & 0xFFFF, 1)
    return a + b


def exercised(wasm: bytes, seen: Counter[str]) -> None:
    """Everything that the API can do with these bytes; anything but the runtime's errors comes through."""
    try:
        made = Engine().load_bytes(wasm)
        assert describe(made)["digest"] == made.digest
        wasmtime.Module.validate(engine(), noting(wasm, made.parsed))
        with made.instantiate(host={"env.f": with_memory(lent)} | WASI, limits=LIMITS, modules=LIBRARY) as held:
            for export in made.parsed.exports:
                if export.kind == 0:
                    called(held.call, export.name, [1] * len(made.parsed.functions[export.place].parameters), seen)
            called(lambda name: held.call_bytes(name, b"bytes"), "upper", [], seen)
            called(lambda name: held.start(name, slice=1_000).result(), "spin", [], seen)
            called(lambda name: held.memory.read(0, 1), "", [], seen)
        Validator(made).judge(b"{}")
        seen["validator"] += 1
    except ModuleRefused as error:
        seen[error.check] += 1
    except EngineError as error:
        seen[type(error).__name__] += 1


def called(call: object, name: str, arguments: list[int], seen: Counter[str]) -> None:
    try:
        call(name, *arguments)  # type: ignore[operator]
        seen["returned"] += 1
    except (CallFailed, Refused) as error:
        assert "\n" not in str(error)
        seen[error.reason if isinstance(error, CallFailed) else "refused"] += 1


def as_agent(wasm: bytes, seen: Counter[str]) -> None:
    """A crossing of each kind, where the load checks accept it."""
    try:
        held = WasmGuests().instantiate(0, spec_of(wasm), wasm)
    except ModuleRefused as error:
        seen[f"agent {error.check}"] += 1
        return
    for kind in ("init", "step", "shutdown"):
        status = held.run(arguments(kind=kind, fuel=10_000, inbox=[envelope(b"some")], listed=False)).status
        seen[f"agent {status.partition(':')[0]}"] += 1
    held.close()


def damaged(count: int, seed: int) -> Counter[str]:
    generator = random.Random(seed)
    seen: Counter[str] = Counter()
    for number in range(count):
        exercised(flipped(GOOD[number % len(GOOD)], generator), seen)
        as_agent(flipped(AGENT, generator), seen)
    return seen


@pytest.mark.skipif(not os.environ.get("WASM_ENGINE_SOAK"), reason="takes minutes; WASM_ENGINE_SOAK=1 runs it")
@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_damaged_modules_end_no_process_and_raise_nothing_else(seed: int) -> None:
    seen = damaged(500, 100 + seed)  # of each sort
    assert {"format", "returned", "import", "limit:fuel", "agent ok", "agent format"} <= set(seen), seen


def test_three_hundred_damaged_modules_end_no_process_and_raise_nothing_else() -> None:
    seen = damaged(300, 11)
    assert {"format", "returned", "import", "limit:fuel", "limit:stack", "validator"} <= set(seen), seen
    assert seen["returned"] > 100 and seen["validator"] > 10, seen
