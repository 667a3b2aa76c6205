"""WASI preview 1 for agents, as far as a closed step allows: what compilers' libraries ask for, and no file.

Guarantees: an agent's step stays one crossing, since these functions are wasm of ours, linked beside it; what they
answer follows from the step alone, so that a step that is run again sees the same. Time is the tick's, randomness the
step's, there are no arguments and no environment, and what is written to stdout and stderr goes to the agent's log and
nowhere else. Two modules of ours do it, since WASI's functions need the agent's memory, and the agent needs them first:
a front that calls through a table, and behind it the functions, which fill the table once the agent is there.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import NamedTuple

import wasmtime

from runtime.wasm import raw
from runtime.wasm.abi import I32, I64, VALUE_NAMES, Signature
from runtime.wasm.engine import engine
from runtime.wasm.text import assemble

MODULE = "wasi_snapshot_preview1"
GROUP = "wasi"
LOG_MAX = 65_536  # bytes of one step, 8 for each write included; beyond, a write is answered ENOSPC
_LOG_AT = 16
_HEAD = struct.Struct("<II")  # stream, length


class AgentLine(NamedTuple):
    """What one write put out: `stream` is 1 for stdout, 2 for stderr. A step that is run again writes again."""

    agent: int
    tick: int
    kind: str
    stream: int
    data: bytes


Log = Callable[[AgentLine], None]


class AgentFunction(NamedTuple):
    """`group` is the capability that grants it; `body` what it does, in the text format."""

    group: str
    signature: Signature
    body: str


def _function(group: str, parameters: str, body: str, results: str = "i") -> AgentFunction:
    kinds = {"i": I32, "I": I64}
    signature = Signature(bytes(kinds[each] for each in parameters), bytes(kinds[each] for each in results))
    return AgentFunction(group, signature, body)


_NONE = "(i32.store (local.get 0) (i32.const 0)) (i32.store (local.get 1) (i32.const 0)) (i32.const 0)"
_STREAM = "(select (i32.const {0}) (i32.const 8) (i32.le_u (local.get 0) (i32.const 2)))"

_CLOCK = """(if (i32.gt_u (local.get 0) (i32.const 3)) (then (return (i32.const 28))))
  (i64.store (local.get 2) (i64.mul (call $now) (i64.const 1000000))) (i32.const 0)"""

_RANDOM = """(local $bits i64)
  (block $done (loop $words
    (br_if $done (i32.lt_u (local.get 1) (i32.const 8)))
    (i64.store (local.get 0) (call $random))
    (local.set 0 (i32.add (local.get 0) (i32.const 8)))
    (local.set 1 (i32.sub (local.get 1) (i32.const 8))) (br $words)))
  (if (local.get 1) (then (local.set $bits (call $random))))
  (block $end (loop $bytes
    (br_if $end (i32.eqz (local.get 1)))
    (i64.store8 (local.get 0) (local.get $bits))
    (local.set $bits (i64.shr_u (local.get $bits) (i64.const 8)))
    (local.set 0 (i32.add (local.get 0) (i32.const 1)))
    (local.set 1 (i32.sub (local.get 1) (i32.const 1))) (br $bytes)))
  (i32.const 0)"""

# Either a piece fits into what is left of the log, with its head, or nothing of it is written.
_WRITE = f"""(local $at i32) (local $length i32) (local $total i32) (local $used i32)
  (if (i32.gt_u (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)) (then (return (i32.const 8))))
  (block $done (loop $pieces
    (br_if $done (i32.eqz (local.get 2)))
    (local.set $at (i32.load (local.get 1)))
    (local.set $length (i32.load offset=4 (local.get 1)))
    (local.set $used (i32.load $log (i32.const 0)))
    (if (i32.gt_u (local.get $used) (i32.const {LOG_MAX - 8})) (then (return (i32.const 51))))
    (if (i32.gt_u (local.get $length) (i32.sub (i32.const {LOG_MAX - 8}) (local.get $used)))
      (then (return (i32.const 51))))
    (memory.copy $log $agent
      (i32.add (i32.const {_LOG_AT + 8}) (local.get $used)) (local.get $at) (local.get $length))
    (i32.store $log offset={_LOG_AT} (local.get $used) (local.get 0))
    (i32.store $log offset={_LOG_AT + 4} (local.get $used) (local.get $length))
    (i32.store $log (i32.const 0) (i32.add (local.get $used) (i32.add (i32.const 8) (local.get $length))))
    (local.set $total (i32.add (local.get $total) (local.get $length)))
    (local.set 1 (i32.add (local.get 1) (i32.const 8)))
    (local.set 2 (i32.sub (local.get 2) (i32.const 1))) (br $pieces)))
  (i32.store (local.get 3) (local.get $total)) (i32.const 0)"""

_READ = """(if (local.get 0) (then (return (i32.const 8))))
  (i32.store (local.get 3) (i32.const 0)) (i32.const 0)"""

_FDSTAT = """(if (i32.gt_u (local.get 0) (i32.const 2)) (then (return (i32.const 8))))
  (i64.store (local.get 1) (i64.const 2))
  (i64.store offset=8 (local.get 1) (select (i64.const 64) (i64.const 2) (local.get 0)))
  (i64.store offset=16 (local.get 1) (i64.const 0)) (i32.const 0)"""

# What agents may import, in the order of the table. Not here, and so refused by name: files, sockets, polling, signals.
FUNCTIONS: dict[str, AgentFunction] = {
    "args_get": _function(GROUP, "ii", "(i32.const 0)"),
    "args_sizes_get": _function(GROUP, "ii", _NONE),
    "environ_get": _function(GROUP, "ii", "(i32.const 0)"),
    "environ_sizes_get": _function(GROUP, "ii", _NONE),
    "clock_res_get": _function("time", "ii", "(i64.store (local.get 1) (i64.const 1000000)) (i32.const 0)"),
    "clock_time_get": _function("time", "iIi", _CLOCK),
    "random_get": _function("random", "ii", _RANDOM),
    "proc_exit": _function(GROUP, "i", "unreachable", ""),
    "sched_yield": _function(GROUP, "", "(i32.const 0)"),
    "fd_close": _function(GROUP, "i", _STREAM.format(0)),
    "fd_fdstat_get": _function(GROUP, "ii", _FDSTAT),
    "fd_fdstat_set_flags": _function(GROUP, "ii", _STREAM.format(0)),
    "fd_prestat_get": _function(GROUP, "ii", "(i32.const 8)"),
    "fd_prestat_dir_name": _function(GROUP, "iii", "(i32.const 8)"),
    "fd_read": _function(GROUP, "iiii", _READ),
    "fd_seek": _function(GROUP, "iIii", _STREAM.format(70)),
    "fd_write": _function(GROUP, "iiii", _WRITE),
}


def _typed(signature: Signature) -> str:
    names = [" ".join(VALUE_NAMES[kind] for kind in side) for side in signature]
    return f"(param {names[0]}) (result {names[1]})"


@functools.cache
def _front() -> wasmtime.Module:
    """Exports every function, and the table through which it calls."""
    parts = [f'(table (export "table") {len(FUNCTIONS)} funcref)']
    for place, (name, function) in enumerate(FUNCTIONS.items()):
        kind = _typed(function.signature)
        gets = " ".join(f"(local.get {at})" for at in range(len(function.signature.parameters)))
        parts.append(f'(func (export "{name}") {kind} (call_indirect {kind} {gets} (i32.const {place})))')
    return wasmtime.Module(engine(), assemble(f"(module {' '.join(parts)})"))


@functools.cache
def _back() -> wasmtime.Module:
    """The functions, over the agent's memory; they lie in the front's table once this is instantiated."""
    places = " ".join(f"${name}" for name in FUNCTIONS)
    bodies = " ".join(f"(func ${name} {_typed(each.signature)} {each.body})" for name, each in FUNCTIONS.items())
    text = f"""(module
      (import "agent" "memory" (memory $agent 0)) (import "front" "table" (table {len(FUNCTIONS)} funcref))
      (import "shim" "now" (func $now (result i64))) (import "shim" "random" (func $random (result i64)))
      (memory $log (export "log") 2 2) (elem (i32.const 0) {places}) {bodies})"""
    return wasmtime.Module(engine(), assemble(text))


def front(store: wasmtime.Store) -> raw.Linked:
    """What the agent's imports from WASI are linked to."""
    return raw.Linked(store, _front(), ())


def back(fronted: raw.Linked, shim: raw.Linked, agent: raw.Linked) -> raw.Linear:
    """Puts the functions behind the front; the memory of the log."""
    imports = [agent.export("memory"), fronted.export("table"), shim.export("now"), shim.export("random")]
    return raw.Linked(fronted.store, _back(), imports).memory("log")


def drained(log: raw.Linear) -> list[tuple[int, bytes]]:
    """(stream, bytes) of each write since the last time; the log is empty then."""
    view = log.view()
    (used,) = struct.unpack_from("<I", view)
    found, at, end = [], _LOG_AT, _LOG_AT + used
    while at < end:
        stream, length = _HEAD.unpack_from(view, at)
        at += _HEAD.size
        found.append((stream, bytes(view[at : at + length])))
        at += length
    view[:4] = bytes(4)
    return found
