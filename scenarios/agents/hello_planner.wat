;; hello: the planner. It splits each task's text into two halves, one for each worker, and announces the task.
;;
;; in   input {task u32, text}
;; out  to agent 1 and agent 2: {task u32, half u32, text}; the first half is the shorter one
;;      on topic 0: {task u32, length u32}
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "publish" (func $publish (param i32 i32 i32) (result i32)))

  (memory (export "memory") 2)

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

  (func $hand_out (param $task i32) (param $half i32) (param $text i32) (param $length i32) (result i32)
    (local $at i32)
    (local.set $at (call $alloc (i32.add (local.get $length) (i32.const 8))))
    (if (i32.eqz (local.get $at)) (then (unreachable)))
    (i32.store (local.get $at) (local.get $task))
    (i32.store offset=4 (local.get $at) (local.get $half))
    (memory.copy (i32.add (local.get $at) (i32.const 8)) (local.get $text) (local.get $length))
    (call $send (i32.add (local.get $half) (i32.const 1)) (local.get $at)
      (i32.add (local.get $length) (i32.const 8))))

  (func (export "agent_init") (result i32)
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $task i32)
    (local $text i32)
    (local $whole i32)
    (local $half i32)
    (local $notice i32)
    (if (i32.or (i32.ne (i32.load (local.get $at)) (i32.const 3)) (i32.lt_u (local.get $length) (i32.const 28)))
      (then (return (i32.const 0))))
    (local.set $task (i32.load offset=24 (local.get $at)))
    (local.set $text (i32.add (local.get $at) (i32.const 28)))
    (local.set $whole (i32.sub (local.get $length) (i32.const 28)))
    (local.set $half (i32.shr_u (local.get $whole) (i32.const 1)))
    (local.set $notice (call $alloc (i32.const 8)))
    (if (i32.eqz (local.get $notice)) (then (unreachable)))
    (i32.store (local.get $notice) (local.get $task))
    (i32.store offset=4 (local.get $notice) (local.get $whole))
    (i32.or
      (call $publish (i32.const 0) (local.get $notice) (i32.const 8))
      (i32.or
        (call $hand_out (local.get $task) (i32.const 0) (local.get $text) (local.get $half))
        (call $hand_out (local.get $task) (i32.const 1)
          (i32.add (local.get $text) (local.get $half)) (i32.sub (local.get $whole) (local.get $half))))))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (i32.const 0)))
