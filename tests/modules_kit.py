"""Small function modules, for the tests of modules of any origin."""

from __future__ import annotations

from runtime.wasm import Engine, Instance, Module, ModuleLimits

ADD = '(func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)'
SPIN = '(func (export "spin") (loop br 0))'
RECURSE = '(func $recurse (export "recurse") call $recurse)'
MEMORY = '(memory (export "memory") 1)'
# Room from 1024 on; bytes in capitals, given back as (pointer, length) and as one i64.
UPPER = """(global $next (mut i32) (i32.const 1024))
  (func (export "allocate") (param $size i32) (result i32)
    (if (i32.gt_u (local.get $size) (i32.const 60000)) (then (return (i32.const 0))))
    (global.get $next) (global.set $next (i32.add (global.get $next) (local.get $size))))
  (func $upper (export "upper") (param $at i32) (param $length i32) (result i32 i32) (local $i i32) (local $c i32)
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (local.get $length)))
      (local.set $c (i32.load8_u (i32.add (local.get $at) (local.get $i))))
      (if (i32.and (i32.ge_u (local.get $c) (i32.const 97)) (i32.le_u (local.get $c) (i32.const 122)))
        (then (i32.store8 (i32.add (local.get $at) (local.get $i)) (i32.sub (local.get $c) (i32.const 32)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $next)))
    (local.get $at) (local.get $length))
  (func (export "upper64") (param i32 i32) (result i64) (local i32 i32)
    (call $upper (local.get 0) (local.get 1)) (local.set 3) (local.set 2)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 2)) (i64.const 32)) (i64.extend_i32_u (local.get 3))))"""


def module(*parts: str) -> Module:
    return Engine().load_bytes(f"(module {' '.join(parts)})".encode())


def instance(*parts: str, **limits: int) -> Instance:
    return module(*parts).instantiate(limits=ModuleLimits(**limits))
