"""Our two trusted modules, linked beside each agent: the shim answers its host calls, the driver makes the step.

They guarantee that a step is one crossing, whatever the agent does: no host call and no message reaches Python. Both
use one memory, the shim's, which no agent can reach:

    0 now_ms i64 | 8 random state i64 | 16 tick u64 | 24 host calls i64 | 32 stop_at i64 | 40 kind | 44 listed |
    48 where the inbox is | 52 agent | 56 agents | 60 topics | 64 buffers | 68 send_limit | 72 max_payload |
    76 effect calls | 80 recorded entries | 84 stopped | 88 models | 92 what a replay is given, 12 bytes |
    128 names of the ops, 16 bytes each | 512 entries of 16 bytes (op, target, pointer, length)

The inbox is the msgpack array of `runtime.state.Message` as it stands in a work frame; the driver makes the envelopes
of it in the agent's memory. What the step did leaves as the msgpack array of `runtime.state.Effect`, byte for byte as
msgspec would write it, where the inbox was; the driver makes it unless `listed` is set, an entry's range lies outside
the agent's memory, or a buffer is written: then the host reads the entries. The host sees to it that the inbox fits
and has 8 bytes behind it; the driver grows the memory for what leaves.
"""

from __future__ import annotations

import struct

from runtime.wasm.replaying import REPLAY

# One write per step: everything up to `models`, counters included, so that a step starts clean.
HEADER = struct.Struct("<QQQQQIIIIIIIIIIIII")
RECORDED = struct.Struct("<II")  # entries, stopped
RECORDED_AT = 80
LIST_AT = 512
_NAMES_AT, _NAME_SIZE = 128, 16
_OPS = ("send", "publish", "subscribe", "unsubscribe", "wake", "buffer", "output", "infer", "read", "cancel")


def _names() -> str:
    """The ops' names as msgpack has them, each behind its length: a data segment."""
    entries = [bytes([len(op) + 1, 0xA0 | len(op)]) + op.encode() for op in _OPS]
    table = b"".join(entry.ljust(_NAME_SIZE, b"\0") for entry in entries)
    text = "".join(f"\\{byte:02x}" for byte in table)
    return f'(data (i32.const {_NAMES_AT}) "{text}")'


SHIM = (
    """
(module
  (memory (export "memory") 1)
  """
    + _names()
    + """

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
    (i32.store offset=512 (local.get $at) (local.get $op))
    (i32.store offset=516 (local.get $at) (local.get $target))
    (i32.store offset=520 (local.get $at) (local.get $ptr))
    (i32.store offset=524 (local.get $at) (local.get $len))
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

  (func (export "read") (param $source i32) (param $ptr i32) (param $len i32) (result i32)
    (call $enter)
    (if (call $limited) (then (return (i32.const 1))))
    (if (i32.gt_u (local.get $len) (i32.load (i32.const 72))) (then (return (i32.const 3))))
    (call $append (i32.const 8) (local.get $source) (local.get $ptr) (local.get $len)))

  (func (export "cancel") (param $source i32) (result i32)
    (call $enter)
    (if (call $limited) (then (return (i32.const 1))))
    (call $append (i32.const 9) (local.get $source) (i32.const 0) (i32.const 0)))

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
)

# `run` returns pages of the memory << 40 | result << 32 | bytes of the effects, or the code of an agent that failed.
DRIVER = (
    """
(module
  (import "agent" "memory" (memory $agent 0))
  (import "shim" "memory" (memory $shim 1))
  (import "agent" "agent_alloc" (func $agent_alloc (param i32) (result i32)))
  (import "agent" "agent_init" (func $agent_init (result i32)))
  (import "agent" "agent_receive" (func $agent_receive (param i32 i32) (result i32)))
  (import "agent" "agent_step" (func $agent_step (param i32) (result i32)))
  (import "agent" "agent_shutdown" (func $agent_shutdown (result i32)))
  (global $at (mut i32) (i32.const 0))  ;; where in the shim's memory is read, or written

  (func $result (param $result i64) (param $low i32) (result i64)
    (i64.or
      (i64.or (i64.shl (i64.extend_i32_u (memory.size $agent)) (i64.const 40))
              (i64.shl (local.get $result) (i64.const 32)))
      (i64.extend_i32_u (local.get $low))))

  (func $finish (param $code i32) (result i64)
    (if (local.get $code) (then (return (call $result (i64.const 2) (local.get $code)))))
    (if (i32.eqz (i32.load $shim (i32.const 80))) (then (return (call $result (i64.const 0) (i32.const 0)))))
    (if (i32.load $shim (i32.const 44)) (then (return (call $result (i64.const 3) (i32.const 0)))))
    (call $effects))

  ;; 0 when agent_alloc failed or gave a range that is not inside its memory.
  (func $room (param $length i32) (result i32) (local $at i32)
    (local.set $at (call $agent_alloc (local.get $length)))
    (if (i64.gt_u (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $length)))
                  (i64.shl (i64.extend_i32_u (memory.size $agent)) (i64.const 16)))
      (then (return (i32.const 0))))
    (local.get $at))

  ;; The bytes of a number in reverse: msgpack is big-endian.
  (func $reversed (param $x i64) (result i64)
    (local.set $x (i64.or
      (i64.shl (i64.and (local.get $x) (i64.const 0x00ff00ff00ff00ff)) (i64.const 8))
      (i64.and (i64.shr_u (local.get $x) (i64.const 8)) (i64.const 0x00ff00ff00ff00ff))))
    (local.set $x (i64.or
      (i64.shl (i64.and (local.get $x) (i64.const 0x0000ffff0000ffff)) (i64.const 16))
      (i64.and (i64.shr_u (local.get $x) (i64.const 16)) (i64.const 0x0000ffff0000ffff))))
    (i64.rotl (local.get $x) (i64.const 32)))

  ;; A number of 1 << `log` bytes.
  (func $number (param $log i32) (result i64) (local $from i32)
    (local.set $from (global.get $at))
    (global.set $at (i32.add (local.get $from) (i32.shl (i32.const 1) (local.get $log))))
    (i64.shr_u (call $reversed (i64.load $shim (local.get $from)))
      (i64.sub (i64.const 64) (i64.shl (i64.const 8) (i64.extend_i32_u (local.get $log))))))

  ;; An unsigned integer: 0 to 0x7f stands for itself, behind 0xcc to 0xcf come 1, 2, 4 or 8 bytes.
  (func $unsigned (result i64) (local $byte i32)
    (local.set $byte (i32.load8_u $shim (global.get $at)))
    (global.set $at (i32.add (global.get $at) (i32.const 1)))
    (if (i32.lt_u (local.get $byte) (i32.const 0x80)) (then (return (i64.extend_i32_u (local.get $byte)))))
    (call $number (i32.and (local.get $byte) (i32.const 3))))

  ;; The next message as an envelope in the agent's memory; then the agent has it. Its code, or -1 << 32 for no room.
  (func $deliver (result i64)
    (local $seq i64) (local $kind i64) (local $sender i64) (local $channel i64) (local $length i32) (local $to i32)
    (global.set $at (i32.add (global.get $at) (i32.const 1)))  ;; an array of five
    (local.set $seq (call $unsigned))
    (local.set $kind (call $unsigned))
    (local.set $sender (call $unsigned))
    (local.set $channel (call $unsigned))
    (global.set $at (i32.add (global.get $at) (i32.const 1)))  ;; 0xc4 to 0xc6: bytes, their number in 1, 2 or 4 bytes
    (local.set $length (i32.wrap_i64 (call $number
      (i32.and (i32.load8_u $shim (i32.sub (global.get $at) (i32.const 1))) (i32.const 3)))))
    (local.set $to (call $room (i32.add (local.get $length) (i32.const 24))))
    (if (i32.eqz (local.get $to)) (then (return (i64.const -4294967296))))
    (i32.store $agent (local.get $to) (i32.wrap_i64 (local.get $kind)))
    (i32.store $agent offset=4 (local.get $to) (i32.wrap_i64 (local.get $sender)))
    (i64.store $agent offset=8 (local.get $to) (local.get $seq))
    (i32.store $agent offset=16 (local.get $to) (i32.wrap_i64 (local.get $channel)))
    (i32.store $agent offset=20 (local.get $to) (local.get $length))
    (memory.copy $agent $shim (i32.add (local.get $to) (i32.const 24)) (global.get $at) (local.get $length))
    (global.set $at (i32.add (global.get $at) (local.get $length)))
    (i64.extend_i32_u (call $agent_receive (local.get $to) (i32.add (local.get $length) (i32.const 24)))))

  (func $step (result i64) (local $count i32) (local $to i32) (local $code i64)
    (global.set $at (i32.load $shim (i32.const 48)))
    (local.set $count (i32.load8_u $shim (global.get $at)))
    (global.set $at (i32.add (global.get $at) (i32.const 1)))
    (if (i32.lt_u (local.get $count) (i32.const 0xa0))  ;; an array of up to 15, or of a number in 2 or 4 bytes
      (then (local.set $count (i32.and (local.get $count) (i32.const 15))))
      (else (local.set $count (i32.wrap_i64 (call $number (i32.sub (local.get $count) (i32.const 0xdb)))))))
    (block $all
      (loop $next
        (br_if $all (i32.eqz (local.get $count)))
        (local.set $code (call $deliver))
        (if (i64.ne (local.get $code) (i64.const 0))
          (then
            (if (i64.lt_s (local.get $code) (i64.const 0)) (then (return (call $result (i64.const 1) (i32.const 0)))))
            (return (call $finish (i32.wrap_i64 (local.get $code))))))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (local.set $to (call $room (i32.const 16)))
    (if (i32.eqz (local.get $to)) (then (return (call $result (i64.const 1) (i32.const 0)))))
    (i64.store $agent (local.get $to) (i64.load $shim (i32.const 16)))
    (i32.store $agent offset=8 (local.get $to) (i32.load $shim (i32.const 52)))
    (i32.store $agent offset=12 (local.get $to) (i32.const 0))
    (call $finish (call $agent_step (local.get $to))))

  (func $put8 (param $value i32)
    (i32.store8 $shim (global.get $at) (local.get $value))
    (global.set $at (i32.add (global.get $at) (i32.const 1))))

  ;; `code` and a number behind it, in as few bytes as it needs: 1 behind `code`, 2 behind `code` + 1, 4 behind + 2.
  (func $put (param $code i32) (param $value i32)
    (if (i32.lt_u (local.get $value) (i32.const 256))
      (then (call $put8 (local.get $code)) (call $put8 (local.get $value)) (return)))
    (if (i32.lt_u (local.get $value) (i32.const 65536))
      (then
        (call $put8 (i32.add (local.get $code) (i32.const 1)))
        (i64.store16 $shim (global.get $at)
          (i64.shr_u (call $reversed (i64.extend_i32_u (local.get $value))) (i64.const 48)))
        (global.set $at (i32.add (global.get $at) (i32.const 2)))
        (return)))
    (call $put8 (i32.add (local.get $code) (i32.const 2)))
    (i64.store32 $shim (global.get $at)
      (i64.shr_u (call $reversed (i64.extend_i32_u (local.get $value))) (i64.const 32)))
    (global.set $at (i32.add (global.get $at) (i32.const 4))))

  ;; Bytes that the effects need at most; 0 when the host must look at the entries.
  (func $size (result i64) (local $entry i32) (local $end i32) (local $total i64) (local $last i64)
    (local.set $entry (i32.const 512))
    (local.set $end (i32.add (local.get $entry) (i32.shl (i32.load $shim (i32.const 80)) (i32.const 4))))
    (local.set $total (i64.const 8))
    (loop $next
      (if (i32.eq (i32.load $shim (local.get $entry)) (i32.const 5)) (then (return (i64.const 0))))
      (local.set $last (i64.load32_u $shim offset=12 (local.get $entry)))
      (if (i64.gt_u (i64.add (i64.load32_u $shim offset=8 (local.get $entry)) (local.get $last))
                    (i64.shl (i64.extend_i32_u (memory.size $agent)) (i64.const 16)))
        (then (return (i64.const 0))))
      (local.set $total (i64.add (local.get $total) (i64.add (local.get $last) (i64.const 32))))
      (local.set $entry (i32.add (local.get $entry) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $entry) (local.get $end))))
    (local.get $total))

  (func $effect (param $entry i32) (local $name i32) (local $length i32)
    (call $put8 (i32.const 0x93))
    (local.set $name (i32.add (i32.const 128) (i32.shl (i32.load $shim (local.get $entry)) (i32.const 4))))
    (i64.store $shim (global.get $at) (i64.load $shim offset=1 (local.get $name)))
    (i32.store $shim offset=8 (global.get $at) (i32.load $shim offset=9 (local.get $name)))
    (global.set $at (i32.add (global.get $at) (i32.load8_u $shim (local.get $name))))
    (if (i32.lt_u (i32.load $shim offset=4 (local.get $entry)) (i32.const 128))
      (then (call $put8 (i32.load $shim offset=4 (local.get $entry))))
      (else (call $put (i32.const 0xcc) (i32.load $shim offset=4 (local.get $entry)))))
    (local.set $length (i32.load $shim offset=12 (local.get $entry)))
    (call $put (i32.const 0xc4) (local.get $length))
    (memory.copy $shim $agent (global.get $at) (i32.load $shim offset=8 (local.get $entry)) (local.get $length))
    (global.set $at (i32.add (global.get $at) (local.get $length))))

  ;; Every entry as an effect, where the inbox was.
  (func $effects (result i64) (local $entry i32) (local $end i32) (local $missing i64) (local $count i32)
    (local.set $missing (call $size))
    (if (i64.eqz (local.get $missing)) (then (return (call $result (i64.const 3) (i32.const 0)))))
    (global.set $at (i32.load $shim (i32.const 48)))
    (local.set $missing (i64.sub (i64.add (local.get $missing) (i64.extend_i32_u (global.get $at)))
                                 (i64.shl (i64.extend_i32_u (memory.size $shim)) (i64.const 16))))
    (if (i64.gt_s (local.get $missing) (i64.const 0))
      (then
        (if (i32.eq (memory.grow $shim (i32.wrap_i64 (i64.shr_u (i64.add (local.get $missing) (i64.const 65535))
                                                                (i64.const 16))))
                    (i32.const -1))
          (then (return (call $result (i64.const 4) (i32.const 0)))))))
    (local.set $count (i32.load $shim (i32.const 80)))
    (if (i32.lt_u (local.get $count) (i32.const 16))
      (then (call $put8 (i32.or (i32.const 0x90) (local.get $count))))
      (else
        (if (i32.lt_u (local.get $count) (i32.const 256))
          (then
            (call $put8 (i32.const 0xdc))
            (call $put8 (i32.const 0))
            (call $put8 (local.get $count)))
          (else (call $put (i32.const 0xdb) (local.get $count))))))
    (local.set $entry (i32.const 512))
    (local.set $end (i32.add (local.get $entry) (i32.shl (local.get $count) (i32.const 4))))
    (loop $next
      (call $effect (local.get $entry))
      (local.set $entry (i32.add (local.get $entry) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $entry) (local.get $end))))
    (call $result (i64.const 0) (i32.sub (global.get $at) (i32.load $shim (i32.const 48)))))

  (func (export "run") (result i64) (local $kind i32)
    (local.set $kind (i32.load $shim (i32.const 40)))
    (if (i32.eq (local.get $kind) (i32.const 1)) (then (return (call $finish (call $agent_init)))))
    (if (i32.eq (local.get $kind) (i32.const 3)) (then (return (call $finish (call $agent_shutdown)))))
    (call $step))
"""
    + REPLAY
    + ")"
)

# The agent's exports in the order in which the driver imports them, after the shim's memory.
DRIVER_CALLS = ("agent_alloc", "agent_init", "agent_receive", "agent_step", "agent_shutdown")
