;; readings: an agent that reads outside when it is told to, tells what it read, and passes it on.
;;
;; Payloads, little-endian:
;;   in   order {op u32 (1 read, 2 cancel, 3 trap), source u32, keep u32 (parts that it wants; 0: all), text}
;;   out  1 told  {tag u32, agent u32, source u32, status u32, request u64, chain u64}    for each reading
;;        2 final {tag u32, agent u32, readings u32, refusals u32, chain u64}             at shutdown
;; A reading goes on to the next of three agents as it came. The chain folds every envelope.
(module
  (import "engine" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (import "engine" "read" (func $read (param i32 i32 i32) (result i32)))
  (import "engine" "cancel" (func $cancel (param i32) (result i32)))
  (import "engine" "self" (func $self (result i32)))

  ;; 16 chain u64 | u32: 24 readings · 28 refusals | 64 per source, 8 bytes each {keep u32, parts u32}
  (memory (export "memory") 4)

  ;; Bump allocation: what one step was given or passed to the host stays until it is over; the next step starts anew.
  (global $top (mut i32) (i32.const 8192))
  (global $over (mut i32) (i32.const 0))

  (func $alloc (export "agent_alloc") (param $size i32) (result i32)
    (local $at i32)
    (if (global.get $over)
      (then
        (global.set $top (i32.const 8192))
        (global.set $over (i32.const 0))))
    (local.set $at (global.get $top))
    (if (i32.gt_u (local.get $size) (i32.sub (i32.shl (memory.size) (i32.const 16)) (local.get $at)))
      (then (return (i32.const 0))))
    (global.set $top
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))

  (func $room (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (call $alloc (local.get $size)))
    (if (i32.eqz (local.get $at)) (then (unreachable)))
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

  (func $count (param $cell i32)
    (i32.store (local.get $cell) (i32.add (i32.load (local.get $cell)) (i32.const 1))))

  (func $order (param $at i32) (param $length i32) (result i32)
    (local $source i32)
    (local $cell i32)
    (local.set $source (i32.load offset=4 (local.get $at)))
    (local.set $cell
      (i32.add (i32.const 64) (i32.shl (i32.and (local.get $source) (i32.const 15)) (i32.const 3))))
    (if (i32.eq (i32.load (local.get $at)) (i32.const 3)) (then (unreachable)))
    (if (i32.eq (i32.load (local.get $at)) (i32.const 2)) (then (return (call $cancel (local.get $source)))))
    (i32.store (local.get $cell) (i32.load offset=8 (local.get $at)))
    (i32.store offset=4 (local.get $cell) (i32.const 0))
    (call $read (local.get $source) (i32.add (local.get $at) (i32.const 12))
      (i32.sub (local.get $length) (i32.const 12))))

  ;; A reading: told, passed on, and gone on with where there is more.
  (func $reading (param $at i32) (param $length i32) (result i32)
    (local $told i32)
    (local $source i32)
    (local $cell i32)
    (local $status i32)
    (local.set $source (i32.load offset=16 (local.get $at)))
    (local.set $cell
      (i32.add (i32.const 64) (i32.shl (i32.and (local.get $source) (i32.const 15)) (i32.const 3))))
    (call $count (i32.const 24))
    (call $count (i32.add (local.get $cell) (i32.const 4)))
    (local.set $told (call $room (i32.const 32)))
    (i32.store (local.get $told) (i32.const 1))
    (i32.store offset=4 (local.get $told) (call $self))
    (i32.store offset=8 (local.get $told) (local.get $source))
    (i32.store offset=12 (local.get $told) (i32.load offset=24 (local.get $at)))
    (i64.store offset=16 (local.get $told) (i64.load offset=8 (local.get $at)))
    (i64.store offset=24 (local.get $told) (i64.load (i32.const 16)))
    (local.set $status (call $output (local.get $told) (i32.const 32)))
    (local.set $status
      (i32.or (local.get $status)
        (call $send (i32.rem_u (i32.add (call $self) (i32.const 1)) (i32.const 3))
          (i32.add (local.get $at) (i32.const 24)) (i32.sub (local.get $length) (i32.const 24)))))
    (if (i32.ne (i32.load offset=24 (local.get $at)) (i32.const 1)) (then (return (local.get $status))))
    (if (i32.eq (i32.load (local.get $cell)) (i32.load offset=4 (local.get $cell)))
      (then (return (i32.or (local.get $status) (call $cancel (local.get $source))))))
    (i32.or (local.get $status) (call $read (local.get $source) (i32.const 0) (i32.const 0))))

  (func (export "agent_init") (result i32)
    (i64.store (i32.const 16) (i64.const 0xcbf29ce484222325))
    (i32.const 0))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $kind i32)
    (i64.store (i32.const 16) (call $fold (i64.load (i32.const 16)) (local.get $at) (local.get $length)))
    (local.set $kind (i32.load (local.get $at)))
    (if (i32.and (i32.eq (local.get $kind) (i32.const 3)) (i32.ge_u (local.get $length) (i32.const 36)))
      (then
        (return (call $order (i32.add (local.get $at) (i32.const 24)) (i32.sub (local.get $length) (i32.const 24))))))
    (if (i32.eq (local.get $kind) (i32.const 9))
      (then (return (call $reading (local.get $at) (local.get $length)))))
    (if (i32.eq (local.get $kind) (i32.const 5)) (then (call $count (i32.const 28))))
    (i32.const 0))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (global.set $over (i32.const 1))
    (i32.const 0))

  (func (export "agent_shutdown") (result i32)
    (local $at i32)
    (local.set $at (call $room (i32.const 24)))
    (i32.store (local.get $at) (i32.const 2))
    (i32.store offset=4 (local.get $at) (call $self))
    (i32.store offset=8 (local.get $at) (i32.load (i32.const 24)))
    (i32.store offset=12 (local.get $at) (i32.load (i32.const 28)))
    (i64.store offset=16 (local.get $at) (i64.load (i32.const 16)))
    (call $output (local.get $at) (i32.const 24))))
