"""Our two trusted modules, linked beside each agent: the shim answers its host calls, the driver makes the step.

They guarantee that a step is one crossing, whatever the agent does: no host call reaches Python. Both use one memory,
the shim's, which no agent can reach:

    0 now_ms i64 | 8 random state i64 | 16 tick u64 | 24 host calls i64 | 32 stop_at i64 | 40 kind | 44 count of the
    inbox | 48 where the inbox is | 52 agent | 56 agents | 60 topics | 64 buffers | 68 send_limit | 72 max_payload |
    76 effect calls | 80 recorded entries | 84 stopped | 88 models | 128 entries of 16 bytes (op, target, pointer,
    length)

The inbox is `count` lengths (u32), then the envelopes. The host sees to it that everything fits before a step.
"""

from __future__ import annotations

import struct

# One write per step: everything up to `models`, counters included, so that a step starts clean.
HEADER = struct.Struct("<QQQQQIIIIIIIIIIIII")
RECORDED = struct.Struct("<II")  # entries, stopped
RECORDED_AT = 80
LIST_AT = 128

SHIM = """
(module
  (memory (export "memory") 1)

  (func $enter (local $calls i64)
    (i64.store (i32.const 24) (local.tee $calls (i64.add (i64.load (i32.const 24)) (i64.const 1))))
    (if (i64.eq (local.get $calls) (i64.load (i32.const 32)))
      (then (i32.store (i32.const 84) (i32.const 1)) unreachable)))

  ;; Every effect call counts against the limit, a refused one too. The counter stops at the limit: it cannot wrap.
  (func $limited (result i32) (local $calls i32)
    (if (i32.ge_u (local.tee $calls (i32.load (i32.const 76))) (i32.load (i32.const 68)))
      (then (return (i32.const 1))))
    (i32.store (i32.const 76) (i32.add (local.get $calls) (i32.const 1)))
    (i32.const 0))

  (func $append (param $op i32) (param $target i32) (param $ptr i32) (param $len i32) (result i32)
    (local $n i32) (local $at i32)
    (local.set $at (i32.shl (local.tee $n (i32.load (i32.const 80))) (i32.const 4)))
    (i32.store offset=128 (local.get $at) (local.get $op))
    (i32.store offset=132 (local.get $at) (local.get $target))
    (i32.store offset=136 (local.get $at) (local.get $ptr))
    (i32.store offset=140 (local.get $at) (local.get $len))
    (i32.store (i32.const 80) (i32.add (local.get $n) (i32.const 1)))
    (i32.const 0))

  (func (export "send") (param $target i32) (param $ptr i32) (param $len i32) (result i32)
    (call $enter)
    (if (call $limited) (then (return (i32.const 1))))
    (if (i32.ge_u (local.get $target) (i32.load (i32.const 56))) (then (return (i32.const 2))))
    (if (i32.gt_u (local.get $len) (i32.load (i32.const 72))) (then (return (i32.const 3))))
    (call $append (i32.const 0) (local.get $target) (local.get $ptr) (local.get $len)))

  (func (export "publish") (param $topic i32) (param $ptr i32) (param $len i32) (result i32)
    (call $enter)
    (if (call $limited) (then (return (i32.const 1))))
    (if (i32.ge_u (local.get $topic) (i32.load (i32.const 60))) (then (return (i32.const 2))))
    (if (i32.gt_u (local.get $len) (i32.load (i32.const 72))) (then (return (i32.const 3))))
    (call $append (i32.const 1) (local.get $topic) (local.get $ptr) (local.get $len)))

  (func (export "subscribe") (param $topic i32) (result i32)
    (call $enter)
    (if (call $limited) (then (return (i32.const 1))))
    (if (i32.ge_u (local.get $topic) (i32.load (i32.const 60))) (then (return (i32.const 2))))
    (call $append (i32.const 2) (local.get $topic) (i32.const 0) (i32.const 0)))

  (func (export "unsubscribe") (param $topic i32) (result i32)
    (call $enter)
    (if (call $limited) (then (return (i32.const 1))))
    (if (i32.ge_u (local.get $topic) (i32.load (i32.const 60))) (then (return (i32.const 2))))
    (call $append (i32.const 3) (local.get $topic) (i32.const 0) (i32.const 0)))

  (func (export "wake") (param $ticks i32) (result i32)
    (call $enter)
    (if (call $limited) (then (return (i32.const 1))))
    (call $append (i32.const 4) (local.get $ticks) (i32.const 0) (i32.const 0)))

  (func (export "buffer_write") (param $buffer i32) (param $ptr i32) (param $len i32) (result i32)
    (call $enter)
    (if (call $limited) (then (return (i32.const 1))))
    (if (i32.ge_u (local.get $buffer) (i32.load (i32.const 64))) (then (return (i32.const 2))))
    (call $append (i32.const 5) (local.get $buffer) (local.get $ptr) (local.get $len)))

  (func (export "output") (param $ptr i32) (param $len i32) (result i32)
    (call $enter)
    (if (call $limited) (then (return (i32.const 1))))
    (if (i32.gt_u (local.get $len) (i32.load (i32.const 72))) (then (return (i32.const 3))))
    (call $append (i32.const 6) (i32.const 0) (local.get $ptr) (local.get $len)))

  (func (export "infer") (param $model i32) (param $ptr i32) (param $len i32) (result i32)
    (call $enter)
    (if (call $limited) (then (return (i32.const 1))))
    (if (i32.ge_u (local.get $model) (i32.load (i32.const 88))) (then (return (i32.const 2))))
    (if (i32.gt_u (local.get $len) (i32.load (i32.const 72))) (then (return (i32.const 3))))
    (call $append (i32.const 7) (local.get $model) (local.get $ptr) (local.get $len)))

  (func (export "now") (result i64) (call $enter) (i64.load (i32.const 0)))

  (func (export "self") (result i32) (call $enter) (i32.load (i32.const 52)))

  ;; splitmix64 (Steele, Lea, Flood 2014), seeded with the step's random key.
  (func (export "random") (result i64) (local $z i64)
    (call $enter)
    (i64.store (i32.const 8)
      (local.tee $z (i64.add (i64.load (i32.const 8)) (i64.const 0x9E3779B97F4A7C15))))
    (local.set $z (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 30)))
      (i64.const 0xBF58476D1CE4E5B9)))
    (local.set $z (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 27)))
      (i64.const 0x94D049BB133111EB)))
    (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 31)))))
"""

# `run` returns pages of the agent's memory << 40 | result << 32 | entries recorded, or the agent's code if it failed.
DRIVER = """
(module
  (import "agent" "memory" (memory $agent 0))
  (import "shim" "memory" (memory $shim 1))
  (import "agent" "agent_alloc" (func $agent_alloc (param i32) (result i32)))
  (import "agent" "agent_init" (func $agent_init (result i32)))
  (import "agent" "agent_receive" (func $agent_receive (param i32 i32) (result i32)))
  (import "agent" "agent_step" (func $agent_step (param i32) (result i32)))
  (import "agent" "agent_shutdown" (func $agent_shutdown (result i32)))

  (func $result (param $result i64) (param $low i32) (result i64)
    (i64.or
      (i64.or (i64.shl (i64.extend_i32_u (memory.size $agent)) (i64.const 40))
              (i64.shl (local.get $result) (i64.const 32)))
      (i64.extend_i32_u (local.get $low))))

  (func $finish (param $code i32) (result i64)
    (if (local.get $code) (then (return (call $result (i64.const 2) (local.get $code)))))
    (call $result (i64.const 0) (i32.load $shim (i32.const 80))))

  ;; 0 when agent_alloc failed or gave a range that is not inside its memory.
  (func $room (param $length i32) (result i32) (local $at i32)
    (local.set $at (call $agent_alloc (local.get $length)))
    (if (i64.gt_u (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $length)))
                  (i64.shl (i64.extend_i32_u (memory.size $agent)) (i64.const 16)))
      (then (return (i32.const 0))))
    (local.get $at))

  (func $step (result i64)
    (local $count i32) (local $lengths i32) (local $from i32) (local $length i32) (local $at i32) (local $code i32)
    (local.set $count (i32.load $shim (i32.const 44)))
    (local.set $lengths (i32.load $shim (i32.const 48)))
    (local.set $from (i32.add (local.get $lengths) (i32.shl (local.get $count) (i32.const 2))))
    (block $all
      (loop $next
        (br_if $all (i32.eqz (local.get $count)))
        (local.set $length (i32.load $shim (local.get $lengths)))
        (local.set $at (call $room (local.get $length)))
        (if (i32.eqz (local.get $at)) (then (return (call $result (i64.const 1) (i32.const 0)))))
        (memory.copy $agent $shim (local.get $at) (local.get $from) (local.get $length))
        (local.set $code (call $agent_receive (local.get $at) (local.get $length)))
        (if (local.get $code) (then (return (call $finish (local.get $code)))))
        (local.set $lengths (i32.add (local.get $lengths) (i32.const 4)))
        (local.set $from (i32.add (local.get $from) (local.get $length)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (local.set $at (call $room (i32.const 16)))
    (if (i32.eqz (local.get $at)) (then (return (call $result (i64.const 1) (i32.const 0)))))
    (i64.store $agent (local.get $at) (i64.load $shim (i32.const 16)))
    (i32.store $agent offset=8 (local.get $at) (i32.load $shim (i32.const 52)))
    (i32.store $agent offset=12 (local.get $at) (i32.const 0))
    (call $finish (call $agent_step (local.get $at))))

  (func (export "run") (result i64) (local $kind i32)
    (local.set $kind (i32.load $shim (i32.const 40)))
    (if (i32.eq (local.get $kind) (i32.const 1)) (then (return (call $finish (call $agent_init)))))
    (if (i32.eq (local.get $kind) (i32.const 3)) (then (return (call $finish (call $agent_shutdown)))))
    (call $step)))
"""

# The agent's exports in the order in which the driver imports them, after the shim's memory.
DRIVER_CALLS = ("agent_alloc", "agent_init", "agent_receive", "agent_step", "agent_shutdown")
