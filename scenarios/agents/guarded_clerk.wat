;; guarded: adds up the amounts of the messages {"amount":N,...} that pass its guard. It trusts them: anything else traps.
;; At shutdown one output {tag u32 = 2, 0 u32, messages u64, sum u64}.
(module
  (import "engine" "output" (func $output (param i32 i32) (result i32)))

  ;; 16 messages · 24 sum
  (memory (export "memory") 1)

  ;; Bump allocation: what one step was given or passed to the host stays until it is over; the next step starts anew.
  (global $top (mut i32) (i32.const 1024))
  (global $over (mut i32) (i32.const 0))

  (func $alloc (export "agent_alloc") (param $size i32) (result i32)
    (local $at i32)
    (if (global.get $over)
      (then
        (global.set $top (i32.const 1024))
        (global.set $over (i32.const 0))))
    (local.set $at (global.get $top))
    (if (i32.gt_u (local.get $size) (i32.sub (i32.shl (memory.size) (i32.const 16)) (local.get $at)))
      (then (return (i32.const 0))))
    (global.set $top
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))

  (func (export "agent_init") (result i32)
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $digit i32)
    (local $value i64)
    (if (i32.ne (i32.load (local.get $at)) (i32.const 1)) (then (return (i32.const 0))))
    (local.set $at (i32.add (local.get $at) (i32.const 34)))  ;; behind the header and {"amount":
    (if (i32.gt_u (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)) (i32.const 9)) (then (unreachable)))
    (block $done
      (loop $digits
        (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
        (br_if $done (i32.gt_u (local.get $digit) (i32.const 9)))
        (local.set $value
          (i64.add (i64.mul (local.get $value) (i64.const 10)) (i64.extend_i32_u (local.get $digit))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $digits)))
    (i64.store (i32.const 16) (i64.add (i64.load (i32.const 16)) (i64.const 1)))
    (i64.store (i32.const 24) (i64.add (i64.load (i32.const 24)) (local.get $value)))
    (i32.const 0))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (local $at i32)
    (local.set $at (call $alloc (i32.const 24)))
    (if (i32.eqz (local.get $at)) (then (return (i32.const 1))))
    (i64.store (local.get $at) (i64.const 2))
    (i64.store offset=8 (local.get $at) (i64.load (i32.const 16)))
    (i64.store offset=16 (local.get $at) (i64.load (i32.const 24)))
    (drop (call $output (local.get $at) (i32.const 24)))
    (i32.const 0)))
