;; edges: passes a bad pointer. An input {bad u32} makes it send one good message {word u64 = 7} to agent 0 and then,
;; when bad is not 0, one from address -4. That step fails as a whole: agent 0 gets neither.
;; Shutdown outputs {tag u32 = 3, agent u32, inputs obeyed in this life u64}.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (import "engine" "self" (func $self (result i32)))

  (memory (export "memory") 2)
  (global $obeyed (mut i64) (i64.const 0))

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

  (func $word (param $value i64) (result i32)
    (local $at i32)
    (local.set $at (call $alloc (i32.const 8)))
    (if (i32.eqz (local.get $at)) (then (unreachable)))
    (i64.store (local.get $at) (local.get $value))
    (local.get $at))

  (func $obey (param $bad i32) (result i32)
    (local $status i32)
    (local.set $status (call $send (i32.const 0) (call $word (i64.const 7)) (i32.const 8)))
    (if (local.get $bad)
      (then (drop (call $send (i32.const 0) (i32.const -4) (i32.const 8)))))
    (local.get $status))

  (func (export "agent_init") (result i32)
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (if (i32.or (i32.ne (i32.load (local.get $at)) (i32.const 3)) (i32.lt_u (local.get $length) (i32.const 28)))
      (then (return (i32.const 0))))
    (global.set $obeyed (i64.add (global.get $obeyed) (i64.const 1)))
    (call $obey (i32.load offset=24 (local.get $at))))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (local $at i32)
    (local.set $at (call $alloc (i32.const 16)))
    (if (i32.eqz (local.get $at)) (then (return (i32.const 1))))
    (i32.store (local.get $at) (i32.const 3))
    (i32.store offset=4 (local.get $at) (call $self))
    (i64.store offset=8 (local.get $at) (global.get $obeyed))
    (call $output (local.get $at) (i32.const 16))))
