"""Steps of one agent that are fed again, all of them in one crossing (`Guest.replay`).

Guarantees: each step is given what it was given when it was committed, and what it does is what it does in a crossing
of its own; the one difference is fuel, which they have together. The driver reads the records as they stand in a work
frame, so nothing is made of them in Python.

In the shim's memory lie, behind the entries: a table of 32-bit words, the records, and what comes of them. A word of
the table says where its record ends; when its step is over, how many bytes of effects it left. The effects lie one
behind the other, each step's where its inbox was copied to.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise

import msgspec
from msgspec import Struct

from runtime.frames import StepArguments

TASK = struct.Struct("<III")  # end of the table, the table's next word, where effects go: what the driver is given
TASK_AT = 92
DRIVER_FUEL = 1024  # for each record, more than reading it takes: no agent's fuel is spent on it
SLACK = 64  # bytes behind all that is read or written
_WORD = 4

_first = msgspec.msgpack.Decoder(StepArguments)

# A part of the driver (`runtime.wasm.modules`). It counts as its own work what `run` does not have to do.
REPLAY = """
  ;; A record's fields up to its inbox become the header of a step; `runtime.state.StepRecord` gives their order.
  (func $header
    (global.set $at (i32.add (global.get $at)
      (select (i32.const 3) (i32.const 1) (i32.eq (i32.load8_u $shim (global.get $at)) (i32.const 0xdc)))))
    (i32.store $shim (i32.const 52) (i32.wrap_i64 (call $unsigned)))  ;; agent
    (drop (call $unsigned))  ;; n
    (global.set $at (i32.add (global.get $at)  ;; kind: a short string
      (i32.add (i32.and (i32.load8_u $shim (global.get $at)) (i32.const 31)) (i32.const 1))))
    (i64.store $shim (i32.const 16) (call $unsigned))  ;; tick
    (i64.store $shim (i32.const 0) (call $unsigned))  ;; now_ms
    (i64.store $shim (i32.const 8) (call $unsigned))  ;; random key
    (i32.store $shim (i32.const 56) (i32.wrap_i64 (call $unsigned)))  ;; agents
    (i32.store $shim (i32.const 60) (i32.wrap_i64 (call $unsigned)))  ;; topics
    (i32.store $shim (i32.const 64) (i32.wrap_i64 (call $unsigned)))  ;; buffers
    (i32.store $shim (i32.const 88) (i32.wrap_i64 (call $unsigned)))  ;; models
    (i32.store $shim (i32.const 68) (i32.wrap_i64 (call $unsigned)))  ;; send_limit
    (i32.store $shim (i32.const 72) (i32.wrap_i64 (call $unsigned)))  ;; max_payload
    (global.set $at (i32.add (global.get $at) (i32.const 1)))  ;; snapshot: true or false
    (i64.store $shim (i32.const 24) (i64.const 0))  ;; host calls
    (i64.store $shim (i32.const 76) (i64.const 0))  ;; effect calls, entries
    (i32.store $shim (i32.const 84) (i32.const 0)))

  ;; 0 when the memory cannot reach so far.
  (func $reach (param $end i32) (result i32) (local $missing i64)
    (local.set $missing (i64.sub (i64.extend_i32_u (local.get $end))
                                 (i64.shl (i64.extend_i32_u (memory.size $shim)) (i64.const 16))))
    (if (i64.le_s (local.get $missing) (i64.const 0)) (then (return (i32.const 1))))
    (i32.ne (i32.const -1) (memory.grow $shim
      (i32.wrap_i64 (i64.shr_u (i64.add (local.get $missing) (i64.const 65535)) (i64.const 16))))))

  ;; As `run`, for as many steps as there are; the result is that of the last, or of the first that did not end well.
  (func (export "replay") (result i64)
    (local $stop i32) (local $word i32) (local $from i32) (local $end i32) (local $out i32) (local $result i64)
    (local.set $from (local.tee $stop (i32.load $shim (i32.const 92))))
    (local.set $word (i32.load $shim (i32.const 96)))
    (local.set $out (i32.load $shim (i32.const 100)))
    (loop $next
      (local.set $end (i32.load $shim (local.get $word)))
      (global.set $at (local.get $from))
      (call $header)
      (local.set $from (i32.sub (local.get $end) (global.get $at)))  ;; how long the inbox is, and what is behind it
      (if (i32.eqz (call $reach (i32.add (i32.add (local.get $out) (local.get $from)) (i32.const 64))))
        (then (return (call $result (i64.const 4) (i32.const 0)))))
      (memory.copy $shim $shim (local.get $out) (global.get $at) (local.get $from))
      (i32.store $shim (i32.const 48) (local.get $out))
      (local.set $result (call $step))
      (if (i64.ne (i64.and (local.get $result) (i64.const 0xff00000000)) (i64.const 0))
        (then (return (local.get $result))))
      (i32.store $shim (local.get $word) (i32.wrap_i64 (local.get $result)))
      (local.set $out (i32.add (local.get $out) (i32.wrap_i64 (local.get $result))))
      (local.set $word (i32.add (local.get $word) (i32.const 4)))
      (i32.store $shim (i32.const 96) (local.get $word))
      (local.set $from (local.get $end))
      (br_if $next (i32.lt_u (local.get $word) (local.get $stop))))
    (local.get $result))
"""


class Laid(Struct):
    """Records as they lie in the shim's memory from `table` on: a word for each, the records, and then `out`."""

    table: int
    ends: list[int]  # of the table, and of each record
    out: int
    room: int  # up to where the memory must reach before the first step


def first_of(records: Sequence[bytes | msgspec.Raw]) -> StepArguments:
    """The first record's arguments: what all of them have in common."""
    return _first.decode(records[0])


def laid(records: Sequence[bytes | msgspec.Raw], table: int) -> Laid:
    """Where everything is to lie, behind `table`."""
    lengths = list(map(len, records))
    ends = list(accumulate(lengths, initial=table + _WORD * len(lengths)))
    out = ends[-1] + SLACK
    return Laid(table, ends, out, out + max(lengths) + SLACK)


def lay(view: memoryview, place: Laid, records: Sequence[bytes | msgspec.Raw]) -> None:
    """Write the table, the records, and what the driver is told of them."""
    begin, *ends = place.ends
    struct.pack_into(f"<{len(ends)}I", view, place.table, *ends)
    view[begin : ends[-1]] = b"".join(records)
    TASK.pack_into(view, TASK_AT, begin, place.table, place.out)


def done(view: memoryview, place: Laid, nothing: bytes) -> list[bytes]:
    """The effects of each step that ended well, in their order; `nothing` for those that left none."""
    _, word, _ = TASK.unpack_from(view, TASK_AT)
    lengths = struct.unpack_from(f"<{(word - place.table) // _WORD}I", view, place.table)
    ends = list(accumulate(lengths, initial=place.out))
    made = view[place.out : ends[-1]].tobytes()
    begin = place.out
    return [made[start - begin : end - begin] or nothing for start, end in pairwise(ends)]
