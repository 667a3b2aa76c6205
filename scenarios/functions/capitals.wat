;; capitals: small letters become capitals, in place.
(module
  (memory (export "memory") 1)
  (global $next (mut i32) (i32.const 16))

  (func (export "allocate") (param $size i32) (result i32)
    (local $at i32)
    (if (i32.gt_u (local.get $size) (i32.const 65000)) (then (return (i32.const 0))))
    (local.set $at (global.get $next))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  (func (export "transform") (param $at i32) (param $length i32) (result i64) (local $i i32) (local $byte i32)
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (local.get $length)))
      (local.set $byte (i32.load8_u (i32.add (local.get $at) (local.get $i))))
      (if (i32.lt_u (i32.sub (local.get $byte) (i32.const 97)) (i32.const 26))
        (then (i32.store8 (i32.add (local.get $at) (local.get $i)) (i32.sub (local.get $byte) (i32.const 32)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $length)))))
