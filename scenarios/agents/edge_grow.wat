;; edges: grows its memory before it sends. An input {pages u32} makes it grow by so many pages and send one message
;; {word u64 = pages of memory then} to agent 0 from the last 8 bytes of the grown memory. Beyond its limit the growth
;; fails, which it answers with status 2: that step fails.
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

  (func $obey (param $pages i32) (result i32)
    (local $at i32)
    (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1)) (then (return (i32.const 2))))
    (local.set $at (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 8)))
    (i64.store (local.get $at) (i64.extend_i32_u (memory.size)))
    (call $send (i32.const 0) (local.get $at) (i32.const 8)))

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
