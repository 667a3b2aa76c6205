;; edges: floods a small mailbox. An input {count u32} makes it send that many messages {number u64} to agent 0.
;;
;; Every refused one comes back as a REFUSED envelope with its payload; at shutdown the output
;; {tag u32 = 1, agent u32, accepted u64, not accepted u64, refused u64, sum of refused numbers u64} accounts for all.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (import "engine" "self" (func $self (result i32)))

  (memory (export "memory") 2)
  (global $accepted (mut i64) (i64.const 0))
  (global $denied (mut i64) (i64.const 0))
  (global $refused (mut i64) (i64.const 0))
  (global $sum (mut i64) (i64.const 0))

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

  (func $flood (param $count i32)
    (local $at i32)
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $at (call $alloc (i32.const 8)))
        (if (i32.eqz (local.get $at)) (then (unreachable)))
        (i64.store (local.get $at) (i64.add (global.get $accepted) (i64.const 1)))
        (if (call $send (i32.const 0) (local.get $at) (i32.const 8))
          (then (global.set $denied (i64.add (global.get $denied) (i64.const 1))))
          (else (global.set $accepted (i64.add (global.get $accepted) (i64.const 1)))))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $more))))

  (func (export "agent_init") (result i32)
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (if (i32.and (i32.eq (i32.load (local.get $at)) (i32.const 3)) (i32.ge_u (local.get $length) (i32.const 28)))
      (then (call $flood (i32.load offset=24 (local.get $at)))))
    (if (i32.and (i32.eq (i32.load (local.get $at)) (i32.const 5)) (i32.ge_u (local.get $length) (i32.const 32)))
      (then
        (global.set $refused (i64.add (global.get $refused) (i64.const 1)))
        (global.set $sum (i64.add (global.get $sum) (i64.load offset=24 (local.get $at))))))
    (i32.const 0))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (local $at i32)
    (local.set $at (call $alloc (i32.const 40)))
    (if (i32.eqz (local.get $at)) (then (return (i32.const 1))))
    (i32.store (local.get $at) (i32.const 1))
    (i32.store offset=4 (local.get $at) (call $self))
    (i64.store offset=8 (local.get $at) (global.get $accepted))
    (i64.store offset=16 (local.get $at) (global.get $denied))
    (i64.store offset=24 (local.get $at) (global.get $refused))
    (i64.store offset=32 (local.get $at) (global.get $sum))
    (call $output (local.get $at) (i32.const 40))))
