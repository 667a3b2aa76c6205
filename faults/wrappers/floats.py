"""A step that makes NaNs and says which bits came out: the canonical ones, on whatever machine.

IEEE 754 leaves a NaN's sign and payload open, and processors differ in them (x86 gives 0/0 its sign, Arm does not); so
they would reach a journal through any agent that looks. Each operation takes its operands from memory, so that no
compiler can work it out beforehand. Sums have one order: nothing may be fused or taken in another.
"""

from __future__ import annotations

KIND = "wasm.nan"
CANONICAL, OTHER = 83, 84  # what the step returns
_SIGNALLING = 0x7FA12345  # a NaN with a payload
_NAN_32, _NAN_64 = 0x7FC00000, 0x7FF8000000000000
_F32 = "(f32.load (i32.const 0))"  # the NaN
_ONE = "(f32.load (i32.const 4))"
_ZERO = "(f32.load (i32.const 8))"
_F64 = "(f64.load (i32.const 16))"  # 1 + 2**-30

_BITS_32 = {
    "add": f"(f32.add {_F32} {_ONE})",
    "divide": f"(f32.div {_ZERO} {_ZERO})",
    "root": f"(f32.sqrt (f32.sub {_ZERO} {_ONE}))",
    "least": f"(f32.min {_ONE} {_F32})",
    "most": f"(f32.max {_F32} {_ONE})",
    "round": f"(f32.nearest {_F32})",
    "narrow": f"(f32.demote_f64 (f64.div (f64.promote_f32 {_ZERO}) (f64.promote_f32 {_ZERO})))",
}
_BITS_64 = {
    "widen": (f"(f64.promote_f32 {_F32})", _NAN_64),
    # (1 + 2**-30)**2 - (1 + 2**-29) is 0 where the square is rounded first, and 2**-60 where both are one operation
    "order": (f"(f64.sub (f64.mul {_F64} {_F64}) (f64.load (i32.const 24)))", 0),
}


def body(what: str) -> str:
    """The step's body: returns `CANONICAL` or `OTHER`."""
    if what in _BITS_32:
        same = f"(i32.eq (i32.reinterpret_f32 {_BITS_32[what]}) (i32.const {_NAN_32}))"
    elif what in _BITS_64:
        value, bits = _BITS_64[what]
        same = f"(i64.eq (i64.reinterpret_f64 {value}) (i64.const {bits}))"
    else:  # an operation on the sign alone leaves the payload as it is
        same = f"(i32.eq (i32.reinterpret_f32 (f32.neg {_F32})) (i32.const {_SIGNALLING | 1 << 31}))"
    return f"""
      (i32.store (i32.const 0) (i32.const {_SIGNALLING}))
      (f32.store (i32.const 4) (f32.const 1))
      (f32.store (i32.const 8) (f32.const 0))
      (f64.store (i32.const 16) (f64.const 0x1.00000004p0))
      (f64.store (i32.const 24) (f64.const 0x1.00000008p0))
      (select (i32.const {CANONICAL}) (i32.const {OTHER}) {same})"""
