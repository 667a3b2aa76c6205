"""Faults inside a module: real traps, fuel that runs out, growth that is refused, host calls with hostile arguments.

They are visible: the step fails under a defined name, in the twin as well. A hostile module (`wrappers.intruders`)
takes the agent's place for the one step, so that real instructions under the agent's own limits and grants do it.
"""

from __future__ import annotations

from faults.kind import AGENT, TICK, FaultKind, Form, Key

# wasmtime's names of the trap codes that a module can reach in our engine's profile.
TRAPS = (
    "unreachable",
    "memory_out_of_bounds",
    "table_out_of_bounds",
    "indirect_call_to_null",
    "bad_signature",
    "integer_overflow",
    "integer_division_by_zero",
    "bad_conversion_to_integer",
    "stack_overflow",
    "out_of_fuel",
)
MISUSES = ("pointer", "length", "target", "handle", "capability", "alloc", "reentry", "flood")
PAGE = 65_536
VALUES = {
    "zero": 0,
    "last": PAGE - 16,  # 16 bytes end exactly where the memory of one page does
    "edge": PAGE - 15,  # one byte too far
    "int_max": 2**31 - 1,
    "int_min": 2**31,
    "minus_four": 2**32 - 4,
    "minus_one": 2**32 - 1,
}
FUEL_TOP = 1_000_000
_STEP = Form(needs=("tick", "agent"))

WASM_KINDS: tuple[FaultKind, ...] = (
    FaultKind(
        slug="wasm.trap",
        rows=("F16",),
        class_="visible",
        layer="wasm",
        title="a step runs into a trap of this code, by a real instruction",
        keys=(TICK, AGENT),
        forms=(_STEP,),
        params=(Key(name="code", meaning="wasmtime's name of the trap", words=TRAPS, default=TRAPS[0]),),
        counts_when="the journal says that the step failed so",
    ),
    FaultKind(
        slug="agent.fuel_out",
        rows=("F17",),
        class_="visible",
        layer="wasm",
        title="a step is granted less fuel than it needs",
        keys=(TICK, AGENT),
        forms=(_STEP,),
        params=(Key(name="fuel", meaning="what it is granted", high=FUEL_TOP, default=1),),
        counts_when="the journal says that the step failed for lack of fuel",
    ),
    FaultKind(
        slug="wasm.grow_refused",
        rows=("F19",),
        class_="visible",
        layer="wasm",
        title="a step grows its memory to its limit, which must do, and beyond it, which must be refused",
        keys=(TICK, AGENT),
        forms=(_STEP,),
        params=(Key(name="pages", meaning="pages beyond the limit", low=1, high=65_535, default=1),),
        counts_when="the journal says that the step found itself refused",
    ),
    FaultKind(
        slug="agent.misuse",
        rows=("F23",),
        class_="visible",
        layer="wasm",
        title="a step misuses the host: bad ranges and numbers, forged handles, what is not granted, too many calls",
        keys=(TICK, AGENT),
        forms=(_STEP,),
        params=(
            Key(name="what", meaning="which misuse", words=MISUSES, default="pointer"),
            Key(name="value", meaning="the number it passes", words=tuple(VALUES), default="minus_one"),
        ),
        counts_when="the journal says that the step ended as this misuse must",
    ),
)
