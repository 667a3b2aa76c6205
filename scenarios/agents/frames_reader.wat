;; frames: a reader. Agent i wakes every i ticks and folds the newest frame it has not seen into its hash.
;;
;; Output {tag u32, reader u32, fold u64, entries u32, pad u32, entries x {version u32, tick u32}}: the fold after
;; these versions, each with the tick in which it was read. Tag 0 opens a life (no entries), 1 is every fourth frame,
;; 2 is what is left at shutdown.
(module
  (import "engine" "wake" (func $wake (param i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (import "engine" "self" (func $self (result i32)))

  ;; 16 fold · 32.. entries read in this report
  (memory (export "memory") 2)
  (global $entries (mut i32) (i32.const 0))
  (global $fresh (mut i32) (i32.const 0))  ;; entries whose tick is not known yet: ctx comes last
  (global $woken (mut i32) (i32.const 0))

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

  (func $report (param $tag i32) (result i32)
    (local $at i32)
    (local $length i32)
    (local.set $length (i32.add (i32.const 24) (i32.shl (global.get $entries) (i32.const 3))))
    (local.set $at (call $alloc (local.get $length)))
    (if (i32.eqz (local.get $at)) (then (return (i32.const 1))))
    (i32.store (local.get $at) (local.get $tag))
    (i32.store offset=4 (local.get $at) (call $self))
    (i64.store offset=8 (local.get $at) (i64.load offset=16 (i32.const 0)))
    (i32.store offset=16 (local.get $at) (global.get $entries))
    (i32.store offset=20 (local.get $at) (i32.const 0))
    (memory.copy (i32.add (local.get $at) (i32.const 24)) (i32.const 32)
      (i32.shl (global.get $entries) (i32.const 3)))
    (global.set $entries (i32.const 0))
    (call $output (local.get $at) (local.get $length)))

  (func (export "agent_init") (result i32)
    (i64.store offset=16 (i32.const 0) (i64.const 0xcbf29ce484222325))
    (if (call $report (i32.const 0)) (then (return (i32.const 1))))
    (call $wake (call $self)))

  (func (export "agent_receive") (param $at i32) (param $length i32) (result i32)
    (local $hash i64)
    (local $kind i32)
    (local.set $kind (i32.load (local.get $at)))
    (if (i32.eq (local.get $kind) (i32.const 4)) (then (global.set $woken (i32.const 1))))
    (if (i32.ne (local.get $kind) (i32.const 6)) (then (return (i32.const 0))))
    ;; fold = mix(mix(fold, version), hash of the frame), so that a judge hashes each frame only once
    (local.set $hash
      (call $fold (i64.const 0xcbf29ce484222325) (i32.add (local.get $at) (i32.const 24))
        (i32.load offset=20 (local.get $at))))
    (i64.store offset=16 (i32.const 0)
      (call $mix
        (call $mix (i64.load offset=16 (i32.const 0)) (i64.load offset=8 (local.get $at)))
        (local.get $hash)))
    (i32.store offset=32 (i32.shl (global.get $entries) (i32.const 3)) (i32.load offset=8 (local.get $at)))
    (global.set $entries (i32.add (global.get $entries) (i32.const 1)))
    (global.set $fresh (i32.add (global.get $fresh) (i32.const 1)))
    (i32.const 0))

  (func (export "agent_step") (param $ctx i32) (result i32)
    (local $entry i32)
    (loop $stamp
      (if (global.get $fresh)
        (then
          (local.set $entry (i32.sub (global.get $entries) (global.get $fresh)))
          (i32.store offset=36 (i32.shl (local.get $entry) (i32.const 3)) (i32.load (local.get $ctx)))
          (global.set $fresh (i32.sub (global.get $fresh) (i32.const 1)))
          (br $stamp))))
    (if (i32.ge_u (global.get $entries) (i32.const 4))
      (then (if (call $report (i32.const 1)) (then (return (i32.const 1))))))
    (global.set $over (i32.const 1))
    (if (i32.eqz (global.get $woken)) (then (return (i32.const 0))))
    (global.set $woken (i32.const 0))
    (call $wake (call $self)))

  (func (export "agent_shutdown") (result i32)
    (call $report (i32.const 2))))
