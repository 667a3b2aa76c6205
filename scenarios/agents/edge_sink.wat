;; edges: counts what reaches it. At shutdown one output per agent it heard from, in order of agent:
;; {tag u32 = 2, sender u32, received u64, sum of the first words u64}.
(module
  (import "engine" "output" (func $output (param i32 i32) (result i32)))

  ;; 16 + sender * 16: {received u64, sum u64}, for senders below 32
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

  (func (export "agent_init") (result i32)
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $cell i32)
    (if (i32.or (i32.ne (i32.load (local.get $at)) (i32.const 1)) (i32.lt_u (local.get $length) (i32.const 32)))
      (then (return (i32.const 0))))
    (if (i32.ge_u (i32.load offset=4 (local.get $at)) (i32.const 32)) (then (return (i32.const 1))))
    (local.set $cell (i32.add (i32.const 16) (i32.shl (i32.load offset=4 (local.get $at)) (i32.const 4))))
    (i64.store (local.get $cell) (i64.add (i64.load (local.get $cell)) (i64.const 1)))
    (i64.store offset=8 (local.get $cell)
      (i64.add (i64.load offset=8 (local.get $cell)) (i64.load offset=24 (local.get $at))))
    (i32.const 0))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (local $sender i32)
    (local $cell i32)
    (local $at i32)
    (block $done
      (loop $senders
        (br_if $done (i32.ge_u (local.get $sender) (i32.const 32)))
        (local.set $cell (i32.add (i32.const 16) (i32.shl (local.get $sender) (i32.const 4))))
        (if (i64.ne (i64.load (local.get $cell)) (i64.const 0))
          (then
            (local.set $at (call $alloc (i32.const 24)))
            (if (i32.eqz (local.get $at)) (then (return (i32.const 1))))
            (i32.store (local.get $at) (i32.const 2))
            (i32.store offset=4 (local.get $at) (local.get $sender))
            (i64.store offset=8 (local.get $at) (i64.load (local.get $cell)))
            (i64.store offset=16 (local.get $at) (i64.load offset=8 (local.get $cell)))
            (drop (call $output (local.get $at) (i32.const 24)))))
        (local.set $sender (i32.add (local.get $sender) (i32.const 1)))
        (br $senders)))
    (i32.const 0)))
