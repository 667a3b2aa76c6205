;; A validator: an object that begins {"amount":N with a number that is not negative is valid. It also logs and draws, so
;; that a verdict that depended on anything but its arguments would show.
(module
  (import "env" "host_random" (func $random (result i64)))
  (import "env" "host_time_ms" (func $time (result i64)))
  (memory (export "memory") 1)
  (@custom "wasm-engine.reasons" "1 no_amount\n2 negative\n3 unlucky\n")
  (data (i32.const 0) "{\22amount\22:")
  (func (export "validate") (param $at i32) (param $length i32) (result i32)
    (local $n i32)
    (if (i32.lt_u (local.get $length) (i32.const 12)) (then (return (i32.const 1))))
    (loop $next
      (if (i32.ne (i32.load8_u (i32.add (local.get $at) (local.get $n))) (i32.load8_u (local.get $n)))
        (then (return (i32.const 1))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $n) (i32.const 10))))
    (local.set $n (i32.load8_u offset=10 (local.get $at)))
    (if (i32.eq (local.get $n) (i32.const 45)) (then (return (i32.const 2))))
    (if (i32.gt_u (i32.sub (local.get $n) (i32.const 48)) (i32.const 9)) (then (return (i32.const 1))))
    ;; One in eight is refused by lot and by the time of its tick.
    (select (i32.const 3) (i32.const 0)
      (i64.eqz (i64.and (i64.add (call $random) (i64.div_u (call $time) (i64.const 10))) (i64.const 7))))))
