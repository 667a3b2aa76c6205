;; hello: the critic. It joins both halves of an announced task, checks their length, and lets the answer out.
;;
;; in   topic 0 {task u32, length u32}; from the workers {task u32, half u32, hash u64, TEXT}
;; out  {task u32, verdict u32 (1: as long as announced), left hash u64, right hash u64, TEXT of both halves}
;; Tasks are kept in 256 places of 256 bytes at 65536, task mod 256 deciding; a text has at most 192 bytes, more fails
;; the step. Place: {task u32, have u32 (bit 0 left, 1 right, 2 announced), length u32, left length u32, right length
;; u32, pad u32, left hash u64, right hash u64, pad..64, text}.
(module
  (import "engine" "subscribe" (func $subscribe (param i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))

  (memory (export "memory") 3)

  ;; The bump area ends where the places start.
  (global $top (mut i32) (i32.const 1024))
  (global $over (mut i32) (i32.const 0))

  (func $alloc (export "agent_alloc") (param $size i32) (result i32)
    (local $at i32)
    (if (global.get $over)
      (then
        (global.set $top (i32.const 1024))
        (global.set $over (i32.const 0))))
    (local.set $at (global.get $top))
    (if (i32.gt_u (local.get $size) (i32.sub (i32.const 65536) (local.get $at)))
      (then (return (i32.const 0))))
    (global.set $top
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))

  ;; The place of a task, emptied when another task had it before.
  (func $place (param $task i32) (result i32)
    (local $at i32)
    (local.set $at
      (i32.add (i32.const 65536) (i32.shl (i32.and (local.get $task) (i32.const 255)) (i32.const 8))))
    (if (i32.ne (i32.load (local.get $at)) (local.get $task))
      (then
        (memory.fill (local.get $at) (i32.const 0) (i32.const 256))
        (i32.store (local.get $at) (local.get $task))))
    (local.get $at))

  (func $mark (param $place i32) (param $bit i32)
    (i32.store offset=4 (local.get $place) (i32.or (i32.load offset=4 (local.get $place)) (local.get $bit))))

  ;; Keeps one half. The left text is kept at the front of the text area, the right one at its middle.
  (func $keep (param $place i32) (param $half i32) (param $hash i64) (param $text i32) (param $length i32)
    (if (i32.or (i32.gt_u (local.get $length) (i32.const 96)) (i32.gt_u (local.get $half) (i32.const 1)))
      (then (unreachable)))
    (i32.store offset=12 (i32.add (local.get $place) (i32.shl (local.get $half) (i32.const 2))) (local.get $length))
    (i64.store offset=24 (i32.add (local.get $place) (i32.shl (local.get $half) (i32.const 3))) (local.get $hash))
    (memory.copy
      (i32.add (i32.add (local.get $place) (i32.const 64)) (i32.mul (local.get $half) (i32.const 96)))
      (local.get $text) (local.get $length))
    (call $mark (local.get $place) (i32.shl (i32.const 1) (local.get $half))))

  ;; Lets the answer out once both halves and the announcement are there.
  (func $judge (param $place i32) (result i32)
    (local $at i32)
    (local $left i32)
    (local $right i32)
    (if (i32.ne (i32.load offset=4 (local.get $place)) (i32.const 7)) (then (return (i32.const 0))))
    (local.set $left (i32.load offset=12 (local.get $place)))
    (local.set $right (i32.load offset=16 (local.get $place)))
    (local.set $at (call $alloc (i32.add (i32.const 24) (i32.add (local.get $left) (local.get $right)))))
    (if (i32.eqz (local.get $at)) (then (unreachable)))
    (i32.store (local.get $at) (i32.load (local.get $place)))
    (i32.store offset=4 (local.get $at)
      (i32.eq (i32.add (local.get $left) (local.get $right)) (i32.load offset=8 (local.get $place))))
    (i64.store offset=8 (local.get $at) (i64.load offset=24 (local.get $place)))
    (i64.store offset=16 (local.get $at) (i64.load offset=32 (local.get $place)))
    (memory.copy (i32.add (local.get $at) (i32.const 24)) (i32.add (local.get $place) (i32.const 64))
      (local.get $left))
    (memory.copy (i32.add (i32.add (local.get $at) (i32.const 24)) (local.get $left))
      (i32.add (local.get $place) (i32.const 160)) (local.get $right))
    (i32.store offset=4 (local.get $place) (i32.const 0))
    (call $output (local.get $at) (i32.add (i32.const 24) (i32.add (local.get $left) (local.get $right)))))

  (func (export "agent_init") (result i32)
    (call $subscribe (i32.const 0)))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $place i32)
    (if (i32.lt_u (local.get $length) (i32.const 32)) (then (return (i32.const 0))))
    (local.set $place (call $place (i32.load offset=24 (local.get $at))))
    (if (i32.eq (i32.load (local.get $at)) (i32.const 2))
      (then
        (i32.store offset=8 (local.get $place) (i32.load offset=28 (local.get $at)))
        (call $mark (local.get $place) (i32.const 4))))
    (if (i32.and (i32.eq (i32.load (local.get $at)) (i32.const 1)) (i32.ge_u (local.get $length) (i32.const 40)))
      (then
        (call $keep (local.get $place) (i32.load offset=28 (local.get $at)) (i64.load offset=32 (local.get $at))
          (i32.add (local.get $at) (i32.const 40)) (i32.sub (local.get $length) (i32.const 40)))))
    (call $judge (local.get $place)))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (i32.const 0)))
