;; guarded: passes every input on to agent 1, as it is, and counts what comes back because it is not valid there.
;; At shutdown one output {tag u32 = 1, 0 u32, passed on u64, back as invalid u64, back for another reason u64}.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))

  ;; 16 passed on · 24 back as invalid · 32 back for another reason
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

  (func $count (param $cell i32)
    (i64.store (local.get $cell) (i64.add (i64.load (local.get $cell)) (i64.const 1))))

  (func (export "agent_init") (result i32)
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (if (i32.eq (i32.load (local.get $at)) (i32.const 5))
      (then
        (call $count (select (i32.const 24) (i32.const 32) (i32.eq (i32.load offset=16 (local.get $at)) (i32.const 7))))
        (return (i32.const 0))))
    (if (i32.ne (i32.load (local.get $at)) (i32.const 3)) (then (return (i32.const 0))))
    (if (call $send (i32.const 1) (i32.add (local.get $at) (i32.const 24)) (i32.load offset=20 (local.get $at)))
      (then (return (i32.const 1))))
    (call $count (i32.const 16))
    (i32.const 0))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (local $at i32)
    (local.set $at (call $alloc (i32.const 32)))
    (if (i32.eqz (local.get $at)) (then (return (i32.const 1))))
    (i64.store (local.get $at) (i64.const 1))
    (i64.store offset=8 (local.get $at) (i64.load (i32.const 16)))
    (i64.store offset=16 (local.get $at) (i64.load (i32.const 24)))
    (i64.store offset=24 (local.get $at) (i64.load (i32.const 32)))
    (drop (call $output (local.get $at) (i32.const 32)))
    (i32.const 0)))
