"""Hostile modules that take an agent's place for one step, and how such a step must end.

Real modules through the real load checks, under the agent's own limits and grants; each ends its step in a failure,
so that nothing of it stays: the agent's own instance has not run, and is discarded with it. What a step must end as
follows from the fault alone, never from what the module did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

from msgspec import UNSET
from msgspec.structs import replace

from faults.plan import Fault
from faults.wasm_kinds import PAGE, VALUES
from faults.wrappers import floats, libraries, signed, vectors
from runtime.errors import ModuleRefused
from runtime.frames import StepArguments
from runtime.ports import Call, Guest, Guests, GuestStep
from runtime.state import AgentSpec
from runtime.wasm import assemble

_LOADED = (*signed.KINDS, *vectors.KINDS, libraries.KIND)
KINDS = ("wasm.trap", "agent.fuel_out", "wasm.grow_refused", "agent.misuse", floats.KIND, *_LOADED)
FUEL_REASON = "fuel"
_LENGTH = 16
_ENDED = 64  # an intruder ends with this + the status of its host call
_TABLE = 2  # elements of an intruder's table
_GROWN = 82  # to the limit, and not beyond it
_ALLOWED, _LIMIT, _TARGET, _SIZE = 0, 1, 2, 3  # status codes of host calls (docs/abi.md)

_TRAPPING = {
    "unreachable": "unreachable",
    "memory_out_of_bounds": "(drop (i32.load (i32.const -4)))",
    "table_out_of_bounds": "(drop (table.get $t (i32.const 99)))",
    "indirect_call_to_null": "(call_indirect (type $none) (i32.const 1))",
    "bad_signature": "(drop (call_indirect (type $other) (i64.const 0) (i32.const 0)))",
    "integer_overflow": "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
    "integer_division_by_zero": "(drop (i32.rem_u (i32.const 7) (i32.const 0)))",
    "bad_conversion_to_integer": "(drop (i32.trunc_f64_s (f64.const nan)))",
    "stack_overflow": "(call $deep)",
    "out_of_fuel": "(loop $for_ever (br $for_ever))",
}

# A call of each function with an effect: (target, pointer, length) -> status; by capability, in order of preference.
_CALLS = {
    "messages": ("send", "(param i32 i32 i32)", "(local.get 0) (local.get 1) (local.get 2)"),
    "topics": ("publish", "(param i32 i32 i32)", "(local.get 0) (local.get 1) (local.get 2)"),
    "buffers": ("buffer_write", "(param i32 i32 i32)", "(local.get 0) (local.get 1) (local.get 2)"),
    "inference": ("infer", "(param i32 i32 i32)", "(local.get 0) (local.get 1) (local.get 2)"),
    "outside": ("read", "(param i32 i32 i32)", "(local.get 0) (local.get 1) (local.get 2)"),
    "output": ("output", "(param i32 i32)", "(local.get 1) (local.get 2)"),
}
_UNGRANTED = {
    "output": "output",
    "messages": "send",
    "topics": "publish",
    "timers": "wake",
    "buffers": "buffer_write",
    "inference": "infer",
    "outside": "read",
}
_SHAPES = {"wake": "(param i32)", "output": "(param i32 i32)"}


def _module(body: str, imports: str = "", alloc: str = "(i32.const 1024)") -> str:
    return f"""(module
      {imports}
      (type $none (func)) (type $other (func (param i64) (result i64)))
      (memory (export "memory") 1)
      (table $t 2 funcref) (elem (i32.const 0) $nothing)
      (func $nothing)
      (func $deep (call $deep) (call $nothing))
      (func $hostile (result i32) {body})
      (func (export "agent_alloc") (param i32) (result i32) {alloc})
      (func (export "agent_init") (result i32) (call $hostile))
      (func (export "agent_receive") (param i32 i32) (result i32) (i32.const 0))
      (func (export "agent_step") (param i32) (result i32) (call $hostile))
      (func (export "agent_shutdown") (result i32) (call $hostile)))"""


def trapping(code: str) -> str:
    return _module(f"{_TRAPPING[code]} (i32.const {_ENDED})")


def growing(limit: int, pages: int) -> str:
    """Grows to `limit` pages and touches the last byte, then asks for `pages` more; says what became of it."""
    last = limit * PAGE - 1
    return _module(f"""
      (if (i32.eq (memory.grow (i32.sub (i32.const {limit}) (memory.size))) (i32.const -1))
        (then (return (i32.const {_GROWN - 2}))))
      (i32.store8 (i32.const {last}) (i32.const 7))
      (if (i32.ne (memory.grow (i32.const {pages})) (i32.const -1)) (then (return (i32.const {_GROWN - 1}))))
      (i32.const {_GROWN})""")


def _calling(capabilities: Sequence[str], what: str, value: int) -> str | None:
    """One bad argument in one call of what the agent is granted; None where it is granted nothing that has such."""
    unfit = {"target": "output", "length": "buffers"}.get(what)  # without a target; whose length is its buffer's affair
    granted = [_CALLS[name] for name in _CALLS if name in capabilities and name != unfit]
    if not granted:
        return None
    name, parameters, arguments = granted[0]
    imports = f'(import "engine" "{name}" (func $raw {parameters} (result i32)))'
    imports += f"(func $call (param i32 i32 i32) (result i32) (call $raw {arguments}))"
    if what == "flood":
        loop = f"(loop $again (br_if $again (i32.eqz (local.tee $code {_call(0, 0, 0)}))))"
        return _module(f"(local $code i32) {loop} (i32.add (local.get $code) (i32.const {_ENDED}))", imports)
    if what == "reentry":  # host calls and the agent's own step while the host puts a message into its memory
        return _module(_call(0, 0, 0), imports, "(drop (call $hostile)) (drop (call $hostile)) (i32.const 0)")
    place = {"target": (value, 0, _LENGTH), "length": (0, 0, value), "pointer": (0, value, _LENGTH)}[what]
    body = f"(local $code i32) (local.set $code {_call(*place)})"
    if what == "pointer" and value + _LENGTH > PAGE:  # the range is the host's to check: the step itself ends well
        return _module(f"{body} (local.get $code)", imports)
    return _module(f"{body} (i32.add (local.get $code) (i32.const {_ENDED}))", imports)


def _call(target: int, pointer: int, length: int) -> str:
    return f"(call $call (i32.const {target}) (i32.const {pointer}) (i32.const {length}))"


def _ungranted(capabilities: Sequence[str]) -> str | None:
    """A call of a function that the agent was not granted."""
    name = next((function for group, function in _UNGRANTED.items() if group not in capabilities), None)
    if name is None:
        return None
    shape = _SHAPES.get(name, "(param i32 i32 i32)")
    zeros = "(i32.const 0) " * shape.count("i32")
    return _module(f"(call $raw {zeros})", f'(import "engine" "{name}" (func $raw {shape} (result i32)))')


def source(fault: Fault, spec: AgentSpec) -> str | None:
    """The module that carries out the fault in this agent's place; None where it needs what the agent does not have."""
    if spec.limits.memory < PAGE or spec.limits.table < _TABLE:
        return None
    if fault.kind == "wasm.trap":
        return trapping(str(fault.get("code")))
    if fault.kind == floats.KIND:
        return _module(floats.body(str(fault.get("what"))))
    if fault.kind == "wasm.grow_refused":
        return growing(spec.limits.memory // PAGE, fault.number("pages"))
    what, value = str(fault.get("what")), VALUES[str(fault.get("value"))]
    if what == "capability":
        return _ungranted(spec.capabilities)
    if what == "alloc":
        return _module(f"(i32.const {_ENDED})", "", f"(i32.const {value})")
    if what == "handle":
        return None
    return _calling(spec.capabilities, what, value)


def endings(fault: Fault) -> tuple[str, ...]:
    """The statuses that a step may have in the journal when the fault struck it."""
    if fault.kind in signed.KINDS:
        return signed.endings(fault)
    if fault.kind in vectors.KINDS:
        return vectors.endings(fault)
    if fault.kind == libraries.KIND:
        return libraries.endings(fault)
    if fault.kind == "wasm.trap":
        code = fault.get("code")
        return (FUEL_REASON if code == "out_of_fuel" else f"trap:{code}",)
    if fault.kind == "agent.fuel_out":
        return (FUEL_REASON,)
    if fault.kind == floats.KIND:
        return (f"agent_error:{floats.CANONICAL}",)
    if fault.kind == "wasm.grow_refused":
        return (f"agent_error:{_GROWN}",)
    what, value = fault.get("what"), VALUES[str(fault.get("value"))]
    fine = f"agent_error:{_ENDED + _ALLOWED}"
    if what == "pointer":
        return ("bad_pointer",) if value + _LENGTH > PAGE else (fine,)
    if what == "length":
        return (f"agent_error:{_ENDED + _SIZE}",) if value > PAGE else (fine, f"agent_error:{_ENDED + _SIZE}")
    if what == "target":
        return (f"agent_error:{_ENDED + _TARGET}",) if value else (fine, f"agent_error:{_ENDED + _TARGET}")
    if what == "alloc":
        return ("alloc",) if value == 0 or value > PAGE else ("alloc", fine)
    return {
        "handle": ("not_writer", "second_write"),
        "capability": ("refused:import",),
        "reentry": ("alloc",),
        "flood": (f"agent_error:{_ENDED + _LIMIT}",),
    }[str(what)]


@cache
def _assembled(text: str) -> bytes:
    return assemble(text)


@cache
def _digest(wasm: bytes) -> str:
    return hashlib.sha256(wasm).hexdigest()


class Intruder:
    """Makes the hostile instances of one agent; `inner` does the load checks as for the agent's own module, `own`."""

    def __init__(
        self, inner: Guests, agent: int, spec: AgentSpec, own: bytes = b"", given: Sequence[bytes] = ()
    ) -> None:
        self._inner, self._agent, self._spec, self._own = inner, agent, spec, own
        self._libraries = given  # the bytes of its own ones

    def run(self, fault: Fault, arguments: StepArguments) -> tuple[GuestStep, Guest | None] | None:
        """The step as the hostile module makes it, and its instance; None where the agent cannot be misused so."""
        wasm = self._module(fault)
        if wasm is None or self._spec.limits.memory < PAGE:
            return None
        try:
            guest = self._load(fault, wasm, arguments.now_ms)
        except ModuleRefused as refused:
            return GuestStep(f"refused:{refused.check}", [], 0), None
        return guest.run(arguments), guest

    def _module(self, fault: Fault) -> bytes | None:
        if fault.kind in signed.KINDS:
            return signed.module(fault)
        if fault.kind in vectors.KINDS:
            return vectors.module(fault, self._own)
        if fault.kind == libraries.KIND:
            return libraries.module()
        text = source(fault, self._spec)
        return None if text is None else _assembled(text)

    def _load(self, fault: Fault, wasm: bytes, now_ms: int) -> Guest:
        """An instance of the module in the agent's place; raises ModuleRefused."""
        own = self._spec
        hostile = AgentSpec(
            capabilities=own.capabilities,
            libraries=own.libraries,
            limits=own.limits,
            module=own.module if fault.kind == "module.flip" else _digest(wasm),
            name=own.name,
            priority=own.priority,
            reads=own.reads,
        )
        if fault.kind in signed.KINDS:
            return signed.load(fault, self._agent, replace(hostile, libraries=UNSET), wasm, now_ms)
        if fault.kind == libraries.KIND:
            declared, given = libraries.given(fault)
            return self._inner.instantiate(self._agent, replace(hostile, libraries=declared), wasm, given)
        return self._inner.instantiate(self._agent, hostile, wasm, self._libraries)

    def forged(self, fault: Fault) -> Call | None:
        """A write to a buffer under a handle that the agent was never given; None for any other fault."""
        if fault.kind != "agent.misuse" or fault.get("what") != "handle":
            return None
        value = VALUES[str(fault.get("value"))]
        return None if value == 0 and "buffers" in self._spec.capabilities else Call("buffer", value, 0, 4)
