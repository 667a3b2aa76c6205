;; noisy: in every tick, as many messages as a step may send, in turn to agent 0 and into channel 0, of which it is no member.
;; What comes back is not looked at, and it never stops.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "publish" (func $publish (param i32 i32 i32) (result i32)))
  (import "engine" "wake" (func $wake (param i32) (result i32)))

  (memory (export "memory") 2)
  (global $sent (mut i64) (i64.const 0))

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

  (func $flood (result i32)
    (local $at i32)
    (loop $more
      (local.set $at (call $alloc (i32.const 8)))
      (if (i32.eqz (local.get $at)) (then (return (i32.const 0))))
      (global.set $sent (i64.add (global.get $sent) (i64.const 1)))
      (i64.store (local.get $at) (global.get $sent))
      (br_if $more
        (i32.eqz
          (if (result i32) (i32.wrap_i64 (i64.and (global.get $sent) (i64.const 1)))
            (then (call $send (i32.const 0) (local.get $at) (i32.const 8)))
            (else (call $publish (i32.const 0) (local.get $at) (i32.const 8)))))))
    (i32.const 0))

  (func (export "agent_init") (result i32)
    (call $wake (i32.const 1)))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (if (i32.ne (i32.load (local.get $at)) (i32.const 4)) (then (return (i32.const 0))))
    (drop (call $wake (i32.const 1)))
    (call $flood))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (i32.const 0)))
