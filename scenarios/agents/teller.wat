;; readings: a function module that tells a story in chunks, as it makes them (docs/modules.md).
;;
;; `tell` emits as many chunks as the first byte says, {number u32, value u64}: value 0 is 0xcbf29ce484222325, each next one
;; is the one before, mixed 100 times with its number. Behind a second byte "!" it traps when half of them are out, and
;; behind "~" it never ends, and emits no more.
(module
  (import "stream" "emit" (func $emit (param i32 i32)))
  (memory (export "memory") 2)

  (func (export "allocate") (param $size i32) (result i32)
    (if (result i32) (i32.gt_u (local.get $size) (i32.const 65536)) (then (i32.const 0)) (else (i32.const 1024))))

  (func $mix (param $hash i64) (param $word i64) (result i64)
    (local.set $hash (i64.mul (i64.xor (local.get $hash) (local.get $word)) (i64.const 0x9e3779b97f4a7c15)))
    (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 32))))

  (func (export "tell") (param $at i32) (param $length i32)
    (local $chunks i32)
    (local $how i32)
    (local $n i32)
    (local $times i32)
    (local $value i64)
    (if (local.get $length) (then (local.set $chunks (i32.load8_u (local.get $at)))))
    (if (i32.gt_u (local.get $length) (i32.const 1))
      (then (local.set $how (i32.load8_u offset=1 (local.get $at)))))
    (local.set $value (i64.const 0xcbf29ce484222325))
    (block $told
      (loop $next
        (br_if $told (i32.ge_u (local.get $n) (local.get $chunks)))
        (if (i32.and (i32.eq (local.get $how) (i32.const 33))
              (i32.eq (local.get $n) (i32.shr_u (local.get $chunks) (i32.const 1))))
          (then (unreachable)))
        (i32.store (i32.const 16) (local.get $n))
        (i64.store (i32.const 20) (local.get $value))
        (call $emit (i32.const 16) (i32.const 12))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (local.set $times (i32.const 100))
        (loop $again
          (local.set $value (call $mix (local.get $value) (i64.extend_i32_u (local.get $n))))
          (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
        (br $next)))
    (if (i32.eq (local.get $how) (i32.const 126)) (then (loop $forever (br $forever))))))
