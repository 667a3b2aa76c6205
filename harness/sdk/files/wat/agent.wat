;; @NAME@: answers each message with its own bytes, and lets out what comes from outside, numbered.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $seen (mut i32) (i32.const 0))    ;; the agent's state: mutable globals and memory
  (global $free (mut i32) (i32.const 1024)) ;; where room begins
  (global $stale (mut i32) (i32.const 0))   ;; whether the step that was given it is over

  (func $room (param $size i32) (result i32) (local $at i32) (local $end i64)
    (if (global.get $stale) (then
      (global.set $free (i32.const 1024))
      (global.set $stale (i32.const 0))))
    (local.set $at (global.get $free))
    (local.set $end (i64.and
      (i64.add (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $size))) (i64.const 7))
      (i64.const -8)))
    (if (i64.gt_u (local.get $end) (i64.extend_i32_u (i32.mul (memory.size) (i32.const 65536))))
      (then (return (i32.const 0))))
    (global.set $free (i32.wrap_i64 (local.get $end)))
    (local.get $at))

  (func (export "agent_alloc") (param $size i32) (result i32) (call $room (local.get $size)))

  (func (export "agent_init") (result i32) (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32) (local $answer i32) (local $bytes i32)
    (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
    (local.set $bytes (i32.load offset=20 (local.get $at)))
    (if (i32.eq (i32.load (local.get $at)) (i32.const 1)) (then ;; a message: back to its sender
      (return (call $send
        (i32.load offset=4 (local.get $at))
        (i32.add (local.get $at) (i32.const 24))
        (local.get $bytes)))))
    (if (i32.ne (i32.load (local.get $at)) (i32.const 3)) (then (return (i32.const 0)))) ;; not from outside
    (local.set $answer (call $room (i32.add (local.get $bytes) (i32.const 8))))
    (if (i32.eqz (local.get $answer)) (then (return (i32.const 1))))
    (i32.store (local.get $answer) (global.get $seen))
    (i32.store offset=4 (local.get $answer) (local.get $bytes))
    (memory.copy
      (i32.add (local.get $answer) (i32.const 8))
      (i32.add (local.get $at) (i32.const 24))
      (local.get $bytes))
    (call $output (local.get $answer) (i32.add (local.get $bytes) (i32.const 8))))

  (func (export "agent_step") (param $context i32) (result i32)
    (global.set $stale (i32.const 1)) ;; what this step was given is free in the next
    (i32.const 0))

  (func (export "agent_shutdown") (result i32) (i32.const 0)))
