"""Damaged modules: 300 bit flips of good ones are refused, end by a limit or a trap, or run; no process ends."""

from __future__ import annotations

import random
from collections import Counter

import wasmtime
from modules_kit import ADD, MEMORY, RECURSE, SPIN, UPPER

from runtime.errors import CallFailed, EngineError, ModuleRefused, Refused
from runtime.validators import Validator
from runtime.wasm import Engine, Memory, ModuleLimits, assemble, with_memory
from runtime.wasm.engine import engine
from runtime.wasm.growth import noting
from runtime.wasm.inspection import describe

HOST = '(import "env" "f" (func $f (param i32 i64) (result i64)))'
USES = """(func (export "uses") (param i32) (result i64) (call $f (local.get 0) (i64.const 3)))
  (table 4 8 funcref) (elem (i32.const 0) $f $f) (data (i32.const 64) "some data")
  (func (export "grows") (result i32) (memory.grow (i32.const 3)))
  (func (export "br") (param i32) (result i32) (block (block (br_table 0 1 (local.get 0))) (return (i32.const 1)))
    (i32.const 2)) (global $g (mut i64) (i64.const 1)) (func $s (global.set $g (i64.const 2))) (start $s)"""
VALIDATE = '(func (export "validate") (param i32 i32) (result i32) (i32.load8_u (local.get 0)))'
GOOD = (
    assemble(f"(module {HOST} {MEMORY} {ADD} {UPPER} {USES})"),
    assemble(f"(module {MEMORY} {SPIN} {RECURSE} {ADD} {VALIDATE})"),
)
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
        module = Engine().load_bytes(wasm)
        assert describe(module)["digest"] == module.digest
        wasmtime.Module.validate(engine(), noting(wasm, module.parsed))
        with module.instantiate(host={"env.f": with_memory(lent)}, limits=LIMITS) as held:
            for export in module.parsed.exports:
                if export.kind == 0:
                    called(held.call, export.name, [1] * len(module.parsed.functions[export.place].parameters), seen)
            called(lambda name: held.call_bytes(name, b"bytes"), "upper", [], seen)
            called(lambda name: held.memory.read(0, 1), "", [], seen)
        Validator(module).judge(b"{}")
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


def test_three_hundred_damaged_modules_end_no_process_and_raise_nothing_else() -> None:
    generator = random.Random(11)
    seen: Counter[str] = Counter()
    for number in range(300):
        exercised(flipped(GOOD[number % 2], generator), seen)
    assert {"format", "returned", "import", "limit:fuel", "limit:stack", "validator"} <= set(seen), seen
    assert seen["returned"] > 100 and seen["validator"] > 20, seen
