;; upgrade: a meter, version 3. It keeps its state elsewhere, the count in memory, and takes over that of the versions
;; before it and its own.
;;
;; Payloads, little-endian:
;;   in   work    {amount u32, hops u32}    from outside, or from the meter before; passed on while hops are left
;;   out  report  {version u32, self u32, count u64, total u64, chain u64}   in every step
;;   out  moved   {0 u32, version before u32}   when it has taken a state over
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (import "engine" "self" (func $self (result i32)))
  (import "chain" "fold" (func $fold (param i32 i64)))

  ;; 64 total u64 · 72 chain u64 · 80 count u64 · 512 report
  (memory (export "memory") 2)
  (global $moves (mut i32) (i32.const 0)) ;; how often a state was taken over
  (global $free (mut i32) (i32.const 1024)) ;; what one step was given is free in the next


  (func $alloc (export "agent_alloc") (param $size i32) (result i32)
    (local $at i32)
    (local $missing i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.set $missing (i32.sub (global.get $free) (i32.shl (memory.size) (i32.const 16))))
    (if (i32.gt_s (local.get $missing) (i32.const 0))
      (then
        (if (i32.eq (memory.grow (i32.add (i32.shr_u (local.get $missing) (i32.const 16)) (i32.const 1))) (i32.const -1))
          (then (return (i32.const 0))))))
    (local.get $at))

  (func (export "agent_init") (result i32)
    (i64.store offset=72 (i32.const 0) (i64.const 0xcbf29ce484222325))
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $amount i64)
    (if (i32.and (i32.ne (i32.load (local.get $at)) (i32.const 1)) (i32.ne (i32.load (local.get $at)) (i32.const 3)))
      (then (return (i32.const 0)))) ;; a refusal: it was counted when it was sent
    (local.set $amount (i64.load32_u offset=24 (local.get $at)))
    (i64.store (i32.const 80) (i64.add (i64.load (i32.const 80)) (i64.const 1)))
    (i64.store offset=64 (i32.const 0)
      (i64.add (i64.load offset=64 (i32.const 0)) (i64.mul (local.get $amount) (i64.const 5))))
    (call $fold (i32.const 72) (i64.add (i64.shl (local.get $amount) (i64.const 3)) (i64.const 3)))
    (if (i32.eqz (i32.load offset=28 (local.get $at))) (then (return (i32.const 0))))
    (i32.store offset=28 (local.get $at) (i32.sub (i32.load offset=28 (local.get $at)) (i32.const 1)))
    (drop (call $send
      (i32.rem_u (i32.add (call $self) (i32.const 1)) (i32.const 6))
      (i32.add (local.get $at) (i32.const 24))
      (i32.const 8)))
    (i32.const 0))

  (func (export "agent_step") (param $context i32) (result i32)
    (i32.store (i32.const 512) (i32.const 3))
    (i32.store (i32.const 516) (call $self))
    (i64.store (i32.const 520) (i64.load (i32.const 80)))
    (i64.store (i32.const 528) (i64.load offset=64 (i32.const 0)))
    (i64.store (i32.const 536) (i64.load offset=72 (i32.const 0)))
    (global.set $free (i32.const 1024))
    (call $output (i32.const 512) (i32.const 32)))

  (func (export "agent_shutdown") (result i32) (i32.const 0))

  ;; The state of another version (docs/abi.md): 8 bytes, 16 for each global, the memory. It is told from outside.
  (func (export "agent_migrate") (param $from i32) (param $at i32) (param $length i32) (result i32)
    (local $memory i32)
    (local.set $memory
      (i32.add (i32.add (local.get $at) (i32.const 8)) (i32.shl (i32.load (local.get $at)) (i32.const 4))))
    (if (i32.eq (local.get $from) (i32.const 3))
      (then
        (memory.copy (i32.const 64) (i32.add (local.get $memory) (i32.const 64)) (i32.const 24))
        (global.set $moves (i32.load offset=16 (local.get $at))))
      (else
        (i64.store (i32.const 64) (i64.load (local.get $memory)))
        (i64.store (i32.const 72) (i64.load offset=8 (local.get $memory)))
        (i64.store (i32.const 80) (i64.load offset=16 (local.get $at)))))
    (global.set $moves (i32.add (global.get $moves) (i32.const 1)))
    (i32.store (i32.const 512) (i32.const 0))
    (i32.store (i32.const 516) (local.get $from))
    (global.set $free (i32.const 1024))
    (call $output (i32.const 512) (i32.const 8))))
