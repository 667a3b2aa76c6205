"""Numbers between Python and wasm: typed, range-checked, as raw bits on the way.

Guarantees: no value is cut or wrapped silently. What does not fit its type is Refused, with the range that does. An
f64 keeps all of its bits; a number given as f32 is rounded to the nearest one, as any compiler does with a literal.
"""

from __future__ import annotations

import struct

from runtime.errors import Refused
from runtime.wasm.abi import VALUE_NAMES
from runtime.wasm.names import shown

I32, I64, F32, F64 = 0x7F, 0x7E, 0x7D, 0x7C
NUMBERS = (I32, I64, F32, F64)
_WIDTH = {I32: 32, I64: 64}


def to_bits(kind: int, value: object, what: str, where: str) -> int:
    """The value as unsigned bits of its type. An integer may be given signed or unsigned.

    `what` names the value in the refusal ("argument 1 of add").
    """
    name = VALUE_NAMES[kind]
    if kind in _WIDTH:
        width = _WIDTH[kind]
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refused(f"{what} is {told(value)}, not an integer", where, f"give an {name}")
        if not -(1 << (width - 1)) <= value < 1 << width:
            todo = f"give {-(1 << (width - 1))} to {(1 << width) - 1}"
            raise Refused(f"{what} does not fit {name}: {told(value)}", where, todo)
        return value & ((1 << width) - 1)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Refused(f"{what} is {told(value)}, not a number", where, f"give an {name}")
    try:
        as_float = float(value)
        packed = struct.pack("<f" if kind == F32 else "<d", as_float)
    except OverflowError:
        raise Refused(f"{what} does not fit {name}: {told(value)}", where, "give a smaller number") from None
    if isinstance(value, int) and int(as_float) != value:
        raise Refused(f"{what} is no {name} exactly: {told(value)}", where, "give a float")
    return int.from_bytes(packed, "little")


def from_bits(kind: int, bits: int) -> int | float:
    """The value of the low bits; integers are signed."""
    if kind in _WIDTH:
        width = _WIDTH[kind]
        bits &= (1 << width) - 1
        return bits - (1 << width) if bits >> (width - 1) else bits
    if kind == F32:
        narrow: float = struct.unpack("<f", (bits & 0xFFFFFFFF).to_bytes(4, "little"))[0]
        return narrow
    wide: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    return wide


def from_text(kind: int, text: str, what: str, where: str) -> int | float:
    """What was typed, as a value of its type: decimal or 0x for integers, any float's spelling for floats."""
    try:
        if len(text) > 400:
            raise ValueError
        return int(text, 0) if kind in _WIDTH else float(text)
    except ValueError:
        todo = f"give an {VALUE_NAMES[kind]}, as in {'42 or 0x2a' if kind in _WIDTH else '1.5'}"
        raise Refused(f"{what} is '{shown(text, 40)}'", where, todo) from None


def told(value: object) -> str:
    """A value as it is named in a refusal: short, whatever it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value) if not isinstance(value, int) or value.bit_length() < 200 else "a far larger integer"
    return f"a {shown(type(value).__name__, 40)}"
