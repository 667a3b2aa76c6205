;; upgrade: a meter, version 2. Everything weighs three times as much; the state lies where version 1 has it, so that it
;; is taken over as it is.
;;
;; Payloads, little-endian:
;;   in   work    {amount u32, hops u32}    from outside, or from the meter before; passed on while hops are left
;;   out  report  {version u32, self u32, count u64, total u64, chain u64}   in every step
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (import "engine" "self" (func $self (result i32)))
  (import "chain" "fold" (func $fold (param i32 i64)))

  ;; 0 total u64 · 8 chain u64 · 512 report
  (memory (export "memory") 1)
  (global $count (mut i64) (i64.const 0))
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
    (i64.store offset=8 (i32.const 0) (i64.const 0xcbf29ce484222325))
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $amount i64)
    (if (i32.and (i32.ne (i32.load (local.get $at)) (i32.const 1)) (i32.ne (i32.load (local.get $at)) (i32.const 3)))
      (then (return (i32.const 0)))) ;; a refusal: it was counted when it was sent
    (local.set $amount (i64.load32_u offset=24 (local.get $at)))
    (global.set $count (i64.add (global.get $count) (i64.const 1)))
    (i64.store offset=0 (i32.const 0)
      (i64.add (i64.load offset=0 (i32.const 0)) (i64.mul (local.get $amount) (i64.const 3))))
    (call $fold (i32.const 8) (i64.add (i64.shl (local.get $amount) (i64.const 3)) (i64.const 2)))
    (if (i32.eqz (i32.load offset=28 (local.get $at))) (then (return (i32.const 0))))
    (i32.store offset=28 (local.get $at) (i32.sub (i32.load offset=28 (local.get $at)) (i32.const 1)))
    (drop (call $send
      (i32.rem_u (i32.add (call $self) (i32.const 1)) (i32.const 6))
      (i32.add (local.get $at) (i32.const 24))
      (i32.const 8)))
    (i32.const 0))

  (func (export "agent_step") (param $context i32) (result i32)
    (i32.store (i32.const 512) (i32.const 2))
    (i32.store (i32.const 516) (call $self))
    (i64.store (i32.const 520) (global.get $count))
    (i64.store (i32.const 528) (i64.load offset=0 (i32.const 0)))
    (i64.store (i32.const 536) (i64.load offset=8 (i32.const 0)))
    (global.set $free (i32.const 1024))
    (call $output (i32.const 512) (i32.const 32)))

  (func (export "agent_shutdown") (result i32) (i32.const 0)))
