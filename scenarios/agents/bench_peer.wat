;; bench: one peer of a ring. It folds all it receives into a chain and sends two messages in every step.
;;
;; Payloads, little-endian:
;;   in   start   {agents u32, self u32}                                     from outside, once, before any message
;;        message {from u32, which u32, chain u64, sent u64, received u64}   from a peer
;;   out  final   {self u32, agents u32, chain u64, sent u64, received u64}  at shutdown
;; The first message goes to the next peer, the second to one whose distance changes with the tick; both are
;; permutations, so every peer gets exactly two messages in every tick. `sent` lives in a global, all else in memory.
;; For a program written by hand, which uses wasmtime's public calls: the globals are exported, so that it can snapshot a
;; peer, and `turn` is a whole step, with the inbox at 1024, where what a step is given always begins.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))

  ;; 0 agents · 4 self · 8 chain · 16 received
  (memory (export "memory") 1)
  (global $sent (export "sent") (mut i64) (i64.const 0))

  ;; Bump allocation: what one step was given or passed to the host stays until it is over; the next step starts anew.
  (global $top (export "top") (mut i32) (i32.const 1024))
  (global $over (export "over") (mut i32) (i32.const 0))

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

  ;; One word more. A bijection of both, and the shift brings high bits back down, so that changes do not cancel.
  (func $mix (param $hash i64) (param $word i64) (result i64)
    (local.set $hash (i64.mul (i64.xor (local.get $hash) (local.get $word)) (i64.const 0x9e3779b97f4a7c15)))
    (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 32))))

  ;; A new payload with two words and the peer's counters.
  (func $payload (param $first i32) (param $second i32) (result i32)
    (local $at i32)
    (local.set $at (call $alloc (i32.const 32)))
    (if (i32.eqz (local.get $at)) (then (unreachable)))
    (i32.store (local.get $at) (local.get $first))
    (i32.store offset=4 (local.get $at) (local.get $second))
    (i64.store offset=8 (local.get $at) (i64.load offset=8 (i32.const 0)))
    (i64.store offset=16 (local.get $at) (global.get $sent))
    (i64.store offset=24 (local.get $at) (i64.load offset=16 (i32.const 0)))
    (local.get $at))

  (func $tell (param $distance i32) (param $which i32)
    (local $status i32)
    (local.set $status
      (call $send
        (i32.rem_u (i32.add (i32.load offset=4 (i32.const 0)) (local.get $distance)) (i32.load (i32.const 0)))
        (call $payload (i32.load offset=4 (i32.const 0)) (local.get $which))
        (i32.const 32)))
    (if (local.get $status) (then (unreachable)))
    (global.set $sent (i64.add (global.get $sent) (i64.const 1))))

  (func (export "agent_init") (result i32)
    (i64.store offset=8 (i32.const 0) (i64.const 0xcbf29ce484222325))
    (i32.const 0))

  ;; Envelopes and payloads are whole words, so the chain folds 64 bits at a time. Kind 3 is from outside.
  (func $receive (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $end i32)
    (local $hash i64)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (if (i32.and (i32.eq (i32.load (local.get $at)) (i32.const 3)) (i32.ge_u (local.get $length) (i32.const 32)))
      (then
        (i32.store (i32.const 0) (i32.load offset=24 (local.get $at)))
        (i32.store offset=4 (i32.const 0) (i32.load offset=28 (local.get $at)))))
    (local.set $hash (i64.load offset=8 (i32.const 0)))
    (block $done
      (loop $words
        (br_if $done (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (i32.const 8)))
        (local.set $hash (call $mix (local.get $hash) (i64.load (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $words)))
    (i64.store offset=8 (i32.const 0) (local.get $hash))
    (i64.store offset=16 (i32.const 0) (i64.add (i64.load offset=16 (i32.const 0)) (i64.const 1)))
    (i32.const 0))

  (func $step (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (if (i32.lt_u (i32.load (i32.const 0)) (i32.const 2)) (then (return (i32.const 0))))  ;; nobody to tell
    (global.set $over (i32.const 0))
    (call $tell (i32.const 1) (i32.const 0))
    (call $tell
      (i32.add (i32.const 1)
        (i32.rem_u
          (i32.add (i32.mul (i32.load (local.get $ctx)) (i32.const 7)) (i32.const 3))
          (i32.sub (i32.load (i32.const 0)) (i32.const 1))))
      (i32.const 1))
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "turn") (param $tick i32) (param $length i32)
    (local $at i32)
    (local $end i32)
    (local $one i32)
    (local.set $at (call $alloc (local.get $length)))
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $done
      (loop $envelopes
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $one (i32.add (i32.const 24) (i32.load offset=20 (local.get $at))))
        (drop (call $receive (local.get $at) (local.get $one)))
        (local.set $at (i32.add (local.get $at) (local.get $one)))
        (br $envelopes)))
    (local.set $at (call $alloc (i32.const 16)))
    (i64.store (local.get $at) (i64.extend_i32_u (local.get $tick)))
    (i32.store offset=8 (local.get $at) (i32.load offset=4 (i32.const 0)))
    (i32.store offset=12 (local.get $at) (i32.const 0))
    (drop (call $step (local.get $at))))

  (func (export "agent_shutdown") (result i32)
    (drop (call $output (call $payload (i32.load offset=4 (i32.const 0)) (i32.load (i32.const 0))) (i32.const 32)))
    (i32.const 0)))
