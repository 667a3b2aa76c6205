;; noisy: does its work beside neighbours who do not let it. An input {value u64} is mixed into its digest, which it
;; lets out and posts in channel 0; what other members post it mixes, in the order in which it comes, into what it heard.
;; Whatever else reaches it (messages, refusals) it does not look at.
;; Outputs {tag u32 = 1, agent u32, inputs u64, digest u64}; at shutdown {tag u32 = 2, agent u32, posts u64, heard u64}.
(module
  (import "engine" "publish" (func $publish (param i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (import "engine" "self" (func $self (result i32)))

  (memory (export "memory") 2)
  (global $inputs (mut i64) (i64.const 0))
  (global $digest (mut i64) (i64.const 0xcbf29ce484222325))
  (global $posts (mut i64) (i64.const 0))
  (global $heard (mut i64) (i64.const 0xcbf29ce484222325))

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

  (func $mix (param $value i64) (param $word i64) (result i64)
    (local.set $value
      (i64.mul (i64.xor (local.get $value) (local.get $word)) (i64.const 0x9e3779b97f4a7c15)))
    (i64.xor (local.get $value) (i64.shr_u (local.get $value) (i64.const 32))))

  (func $tell (param $tag i32) (param $count i64) (param $value i64)
    (local $at i32)
    (local.set $at (call $alloc (i32.const 24)))
    (if (i32.eqz (local.get $at)) (then (unreachable)))
    (i32.store (local.get $at) (local.get $tag))
    (i32.store offset=4 (local.get $at) (call $self))
    (i64.store offset=8 (local.get $at) (local.get $count))
    (i64.store offset=16 (local.get $at) (local.get $value))
    (drop (call $output (local.get $at) (i32.const 24)))
    (if (i32.eq (local.get $tag) (i32.const 1))
      (then (drop (call $publish (i32.const 0) (i32.add (local.get $at) (i32.const 16)) (i32.const 8))))))

  (func (export "agent_init") (result i32)
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (if (i32.lt_u (local.get $length) (i32.const 32)) (then (return (i32.const 0))))
    (if (i32.eq (i32.load (local.get $at)) (i32.const 3))
      (then
        (global.set $inputs (i64.add (global.get $inputs) (i64.const 1)))
        (global.set $digest (call $mix (global.get $digest) (i64.load offset=24 (local.get $at))))
        (call $tell (i32.const 1) (global.get $inputs) (global.get $digest))))
    (if (i32.eq (i32.load (local.get $at)) (i32.const 2))
      (then
        (global.set $posts (i64.add (global.get $posts) (i64.const 1)))
        (global.set $heard (call $mix (global.get $heard) (i64.load offset=24 (local.get $at))))))
    (i32.const 0))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (call $tell (i32.const 2) (global.get $posts) (global.get $heard))
    (i32.const 0)))
