"""Growth beyond a limit ends the call with the limit's name (WAS-4); within it nothing is changed."""

from __future__ import annotations

import pytest
import wasmtime
from modules_kit import ADD, instance, module

from runtime.errors import CallFailed, LimitExceeded, ModuleRefused
from runtime.wasm import ModuleLimits
from runtime.wasm.engine import engine
from runtime.wasm.growth import noting

PAGE = 65536
GROW = '(func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))'
SIZE = '(func (export "size") (result i32) memory.size)'
TABLES = """(table $t 1 8 funcref) (table $u 0 externref)
  (func (export "t") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
  (func (export "u") (param i32) (result i32) (table.grow $u (ref.null extern) (local.get 0)))"""
# One of every kind of instruction that the scan has to pass over, around two growths.
RICH = """(import "env" "f" (func $f (param i32))) (memory (export "memory") 1) (global $g (mut f64) (f64.const 64))
  (table 4 funcref) (elem $e func $rich) (elem declare func $rich) (data $d "@@@@") (type $none (func))
  (func $rich (export "rich") (result i32) (local i64 f32) (local $v v128)
    (block (block (br_table 0 1 0 (i32.const 64)))) (drop (f32.const 2.0)) (drop (f64.const 64))
    (local.set $v (v128.const i64x2 0x4040404040404040 64)) (v128.store offset=64 (i32.const 0) (local.get $v))
    (local.set $v (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (local.get $v) (local.get $v)))
    (memory.init $d (i32.const 64) (i32.const 0) (i32.const 4)) (data.drop $d)
    (memory.copy (i32.const 0) (i32.const 64) (i32.const 4)) (memory.fill (i32.const 0) (i32.const 64) (i32.const 4))
    (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $e) (table.set (i32.const 1) (ref.func $rich))
    (table.copy (i32.const 2) (i32.const 0) (i32.const 1)) (table.fill (i32.const 3) (ref.null func) (i32.const 1))
    (drop (ref.is_null (table.get (i32.const 2)))) (drop (table.size)) (call $f (memory.grow (i32.const 2)))
    (drop (select (result funcref) (ref.func $rich) (ref.null func) (i32.const 64)))
    (drop (i32.trunc_sat_f32_s (local.get 1))) (drop (memory.grow (i32.const 0x4040)))
    (if (result i32) (i32.const 1) (then (memory.size)) (else (return_call $rich))))"""


def test_growth_of_memory_beyond_its_limit_ends_the_call_by_name() -> None:
    with instance('(memory (export "memory") 1)', GROW, SIZE, memory=4 * PAGE) as held:
        assert [held.call("grow", pages) for pages in (1, 0, 2, 0)] == [1, 2, 2, 4]
        for _ in range(2):
            with pytest.raises(LimitExceeded) as caught:
                held.call("grow", 1)
            assert (caught.value.limit, caught.value.reason) == ("memory", "limit:memory")
        assert held.call("size") == 4 and held.call("grow", 0) == 4


def test_growth_beyond_the_modules_own_maximum_answers_minus_one() -> None:
    with instance("(memory 1 3)", GROW, SIZE, memory=3 * PAGE) as held:
        assert held.call("grow", 3) == -1 and held.call("grow", -1) == -1
        assert held.call("grow", 2) == 1 and held.call("grow", 1) == -1 and held.call("size") == 3
    with instance("(memory 0)", GROW) as held:
        assert held.call("grow", 65537) == -1
        with pytest.raises(LimitExceeded):
            held.call("grow", 65536)


def test_growth_of_tables_is_held_and_named_too() -> None:
    with instance(TABLES, table=6) as held:
        assert [held.call("t", n) for n in (5, 0)] == [1, 6] and held.call("t", 3) == -1
        with pytest.raises(LimitExceeded) as caught:
            held.call("t", 1)
        assert caught.value.limit == "table"
        assert held.call("u", 6) == 0 and held.call("u", -1) == -1
        with pytest.raises(LimitExceeded) as caught:
            held.call("u", 1)
        assert caught.value.limit == "table"


def test_a_trap_after_a_limit_is_a_trap_again() -> None:
    with instance("(memory 1)", GROW, '(func (export "trap") unreachable)', memory=PAGE) as held:
        with pytest.raises(LimitExceeded):
            held.call("grow", 1)
        with pytest.raises(CallFailed) as caught:
            held.call("trap")
        assert caught.value.reason == "trap:unreachable"


def test_a_module_with_every_kind_of_instruction_grows_as_before() -> None:
    made, seen = module(RICH), []
    rewritten = noting(made.wasm, made.parsed)
    assert rewritten != made.wasm
    wasmtime.Module.validate(engine(), rewritten)
    with made.instantiate(host={"env.f": seen.append}, limits=ModuleLimits(memory=2**32)) as held:
        assert held.call("rich") == 3 + 0x4040 and seen == [1]
    with made.instantiate(host={"env.f": seen.append}) as held, pytest.raises(LimitExceeded):
        held.call("rich")


def test_a_module_that_does_not_grow_is_compiled_as_it_is() -> None:
    made = module(ADD, "(memory 1)", '(data (i32.const 0) "\\40\\00")')
    assert noting(made.wasm, made.parsed) is made.wasm


def test_a_module_that_claims_the_reserved_name_is_refused_or_has_no_part_in_it() -> None:
    for claim in ('(func (export "wasm-engine.limit"))', '(global (export "wasm-engine.limit") i64 (i64.const 1))'):
        with instance(claim, '(func (export "trap") unreachable)') as held:
            with pytest.raises(CallFailed) as caught:
                held.call("trap")
            assert caught.value.reason == "trap:unreachable"
        with pytest.raises(ModuleRefused) as refused:
            instance(claim, "(memory 1)", GROW)
        assert refused.value.check == "format"
