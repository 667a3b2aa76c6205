;; frames: the producer. Every tick it fills one frame and publishes it through shared buffer 0.
;;
;; A frame is {tick u64, now i64} and then a xorshift sequence seeded by the agent's random draw, `size` bytes in all.
;; An input {size u32} changes the size, at least 16; one beyond the buffer's capacity fails the step, and with the new
;; life the size is 2048 again.
(module
  (import "engine" "wake" (func $wake (param i32) (result i32)))
  (import "engine" "buffer_write" (func $buffer_write (param i32 i32 i32) (result i32)))
  (import "engine" "now" (func $now (result i64)))
  (import "engine" "random" (func $random (result i64)))

  (memory (export "memory") 2)
  (global $size (mut i32) (i32.const 2048))

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

  ;; Whole words from a xorshift64 generator; the last one may reach up to 7 bytes beyond the frame.
  (func $fill (param $at i32) (param $end i32) (param $x i64)
    (local.set $x (i64.or (local.get $x) (i64.const 1)))
    (block $done
      (loop $words
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
        (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
        (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
        (i64.store (local.get $at) (local.get $x))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $words))))

  (func (export "agent_init") (result i32)
    (call $wake (i32.const 1)))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $size i32)
    (if (i32.and (i32.eq (i32.load (local.get $at)) (i32.const 3)) (i32.ge_u (local.get $length) (i32.const 28)))
      (then
        (local.set $size (i32.load offset=24 (local.get $at)))
        (if (i32.lt_u (local.get $size) (i32.const 16)) (then (local.set $size (i32.const 16))))
        (if (i32.gt_u (local.get $size) (i32.const 65536)) (then (local.set $size (i32.const 65536))))
        (global.set $size (local.get $size))))
    (i32.const 0))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (local $at i32)
    (local $status i32)
    (local.set $at (call $alloc (i32.add (global.get $size) (i32.const 8))))
    (if (i32.eqz (local.get $at)) (then (return (i32.const 1))))
    (i64.store (local.get $at) (i64.load (local.get $ctx)))
    (i64.store offset=8 (local.get $at) (call $now))
    (call $fill (i32.add (local.get $at) (i32.const 16)) (i32.add (local.get $at) (global.get $size)) (call $random))
    (local.set $status (call $buffer_write (i32.const 0) (local.get $at) (global.get $size)))
    (if (local.get $status) (then (return (local.get $status))))
    (global.set $over (i32.const 1))
    (call $wake (i32.const 1)))

  (func (export "agent_shutdown") (result i32)
    (i32.const 0)))
