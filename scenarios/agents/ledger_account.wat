;; ledger: one account. It holds a balance, obeys orders from the bank, and never goes below zero.
;;
;; Payloads, little-endian, all starting with {op u32, order u32, amount i64}:
;;   in   1 mint                                   from outside
;;        2 order    + {to u32, pad u32}           from outside
;;        3 transfer + {counter i64, nonce i64, time i64}
;;        4 receipt  + {counter i64}               answers a transfer, carries its counter
;;        5 note     + {counter i64}               ordinary traffic, one per accepted order
;;        6 audit    + {to u32, from u32}          on topic 0, for transfers of 250 or more
;;   out  1 final    {tag u32, agent u32, balance i64, counter i64, received i64, chain u64, receipts i64, audited i64}
;;        2 rejected {tag u32, order u32, amount i64, balance i64, reason u32 (9: beyond the balance, else the status of
;;          send), pad u32}
;; A refused transfer gives its amount back. `counter` lives in a global, all else in memory, so that a snapshot
;; without globals, or without memory, shows in what leaves.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "publish" (func $publish (param i32 i32 i32) (result i32)))
  (import "engine" "subscribe" (func $subscribe (param i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (import "engine" "now" (func $now (result i64)))
  (import "engine" "random" (func $random (result i64)))
  (import "engine" "self" (func $self (result i32)))

  ;; 16 balance · 24 received · 32 chain · 40 receipts · 48 audited
  (memory (export "memory") 2)
  (global $counter (mut i64) (i64.const 0))

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

  ;; One word more. A bijection of both, and the shift brings high bits back down, so that changes do not cancel.
  (func $mix (param $hash i64) (param $word i64) (result i64)
    (local.set $hash (i64.mul (i64.xor (local.get $hash) (local.get $word)) (i64.const 0x9e3779b97f4a7c15)))
    (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 32))))

  ;; The hash of 64-bit little-endian words, the last one padded with zeros.
  (func $fold (param $hash i64) (param $at i32) (param $length i32) (result i64)
    (local $end i32)
    (local $shift i64)
    (local $tail i64)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $words_done
      (loop $words
        (br_if $words_done (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (i32.const 8)))
        (local.set $hash (call $mix (local.get $hash) (i64.load (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $words)))
    (if (i32.eq (local.get $at) (local.get $end)) (then (return (local.get $hash))))
    (loop $bytes
      (local.set $tail
        (i64.or (local.get $tail) (i64.shl (i64.load8_u (local.get $at)) (local.get $shift))))
      (local.set $shift (i64.add (local.get $shift) (i64.const 8)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $bytes (i32.lt_u (local.get $at) (local.get $end))))
    (call $mix (local.get $hash) (local.get $tail)))

  ;; A new payload of `size` bytes with its common head.
  (func $payload (param $size i32) (param $op i32) (param $order i32) (param $amount i64) (result i32)
    (local $at i32)
    (local.set $at (call $alloc (local.get $size)))
    (if (i32.eqz (local.get $at)) (then (unreachable)))
    (i32.store (local.get $at) (local.get $op))
    (i32.store offset=4 (local.get $at) (local.get $order))
    (i64.store offset=8 (local.get $at) (local.get $amount))
    (local.get $at))

  (func $credit (param $amount i64)
    (i64.store offset=16 (i32.const 0) (i64.add (i64.load offset=16 (i32.const 0)) (local.get $amount))))

  (func $reject (param $order i32) (param $amount i64) (param $reason i32)
    (local $at i32)
    (local.set $at (call $payload (i32.const 32) (i32.const 2) (local.get $order) (local.get $amount)))
    (i64.store offset=16 (local.get $at) (i64.load offset=16 (i32.const 0)))
    (i32.store offset=24 (local.get $at) (local.get $reason))
    (i32.store offset=28 (local.get $at) (i32.const 0))
    (drop (call $output (local.get $at) (i32.const 32))))

  ;; Carries out one order: transfer, note, and an announcement when it is big.
  (func $obey (param $order i32) (param $amount i64) (param $to i32)
    (local $at i32)
    (local $status i32)
    (if (i32.or
          (i64.le_s (local.get $amount) (i64.const 0))
          (i64.gt_s (local.get $amount) (i64.load offset=16 (i32.const 0))))
      (then (call $reject (local.get $order) (local.get $amount) (i32.const 9)) (return)))
    (local.set $at (call $payload (i32.const 40) (i32.const 3) (local.get $order) (local.get $amount)))
    (i64.store offset=16 (local.get $at) (i64.add (global.get $counter) (i64.const 1)))
    (i64.store offset=24 (local.get $at) (call $random))
    (i64.store offset=32 (local.get $at) (call $now))
    (local.set $status (call $send (local.get $to) (local.get $at) (i32.const 40)))
    (if (local.get $status)
      (then (call $reject (local.get $order) (local.get $amount) (local.get $status)) (return)))
    (global.set $counter (i64.add (global.get $counter) (i64.const 1)))
    (call $credit (i64.sub (i64.const 0) (local.get $amount)))
    (local.set $at (call $payload (i32.const 24) (i32.const 5) (local.get $order) (local.get $amount)))
    (i64.store offset=16 (local.get $at) (global.get $counter))
    (drop (call $send (i32.and (local.get $order) (i32.const 15)) (local.get $at) (i32.const 24)))
    (if (i64.ge_s (local.get $amount) (i64.const 250))
      (then
        (local.set $at (call $payload (i32.const 24) (i32.const 6) (local.get $order) (local.get $amount)))
        (i32.store offset=16 (local.get $at) (local.get $to))
        (i32.store offset=20 (local.get $at) (call $self))
        (drop (call $publish (i32.const 0) (local.get $at) (i32.const 24))))))

  ;; Books a transfer and answers it with a receipt.
  (func $book (param $sender i32) (param $payload i32)
    (local $at i32)
    (call $credit (i64.load offset=8 (local.get $payload)))
    (local.set $at
      (call $payload (i32.const 24) (i32.const 4)
        (i32.load offset=4 (local.get $payload)) (i64.load offset=8 (local.get $payload))))
    (i64.store offset=16 (local.get $at) (i64.load offset=16 (local.get $payload)))
    (drop (call $send (local.get $sender) (local.get $at) (i32.const 24))))

  (func $add (param $cell i32) (param $amount i64)
    (i64.store (local.get $cell) (i64.add (i64.load (local.get $cell)) (local.get $amount))))

  (func (export "agent_init") (result i32)
    (i64.store offset=32 (i32.const 0) (i64.const 0xcbf29ce484222325))
    (if (i32.eqz (i32.rem_u (call $self) (i32.const 5)))
      (then (return (call $subscribe (i32.const 0)))))
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $kind i32)
    (local $op i32)
    (i64.store offset=32 (i32.const 0)
      (call $fold (i64.load offset=32 (i32.const 0)) (local.get $at) (local.get $length)))
    (call $add (i32.const 24) (i64.const 1))
    (if (i32.lt_u (local.get $length) (i32.const 40)) (then (return (i32.const 0))))
    (local.set $kind (i32.load (local.get $at)))
    (local.set $op (i32.load offset=24 (local.get $at)))
    (if (i32.eq (local.get $kind) (i32.const 3))
      (then
        (if (i32.eq (local.get $op) (i32.const 1)) (then (call $credit (i64.load offset=32 (local.get $at)))))
        (if (i32.and (i32.eq (local.get $op) (i32.const 2)) (i32.ge_u (local.get $length) (i32.const 48)))
          (then
            (call $obey (i32.load offset=28 (local.get $at)) (i64.load offset=32 (local.get $at))
              (i32.load offset=40 (local.get $at)))))))
    (if (i32.eq (local.get $kind) (i32.const 1))
      (then
        (if (i32.and (i32.eq (local.get $op) (i32.const 3)) (i32.ge_u (local.get $length) (i32.const 64)))
          (then (call $book (i32.load offset=4 (local.get $at)) (i32.add (local.get $at) (i32.const 24)))))
        (if (i32.eq (local.get $op) (i32.const 4)) (then (call $add (i32.const 40) (i64.const 1))))))
    (if (i32.and (i32.eq (local.get $kind) (i32.const 5)) (i32.eq (local.get $op) (i32.const 3)))
      (then (call $credit (i64.load offset=32 (local.get $at)))))
    (if (i32.and (i32.eq (local.get $kind) (i32.const 2)) (i32.eq (local.get $op) (i32.const 6)))
      (then (call $add (i32.const 48) (i64.load offset=32 (local.get $at)))))
    (i32.const 0))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (local $at i32)
    (local.set $at
      (call $payload (i32.const 56) (i32.const 1) (call $self) (i64.load offset=16 (i32.const 0))))
    (i64.store offset=16 (local.get $at) (global.get $counter))
    (i64.store offset=24 (local.get $at) (i64.load offset=24 (i32.const 0)))
    (i64.store offset=32 (local.get $at) (i64.load offset=32 (i32.const 0)))
    (i64.store offset=40 (local.get $at) (i64.load offset=40 (i32.const 0)))
    (i64.store offset=48 (local.get $at) (i64.load offset=48 (i32.const 0)))
    (call $output (local.get $at) (i32.const 56))))
