"""Planted bugs of what agents are told by WASI: time, randomness, the log of what they write; and of NaNs' bits."""

from __future__ import annotations

from faults.mutant import Edit, Mutant

_FILE = "wasm/agent_wasi.py"


def _mutant(name: str, title: str, before: str, after: str) -> Mutant:
    edits = (Edit(_FILE, before, after),)
    return Mutant(name=name, title=title, scenario="console", oracle="scenario", edits=edits)


WASI: tuple[Mutant, ...] = (
    _mutant(
        "wasi_time_in_microseconds",
        "an agent's clock counts microseconds where it says nanoseconds",
        "(i64.mul (call $now) (i64.const 1000000))) (i32.const 0)",
        "(i64.mul (call $now) (i64.const 1000))) (i32.const 0)",
    ),
    _mutant(
        "wasi_random_tail_left_out",
        "of random bytes those behind the last whole word are not written",
        "  (if (local.get 1) (then (local.set $bits (call $random))))\n",
        "",
    ),
    _mutant(
        "wasi_log_never_emptied",
        "what a step has written stays in its agent's log, until nothing more fits",
        "    view[:4] = bytes(4)\n    return found\n",
        "    return found\n",
    ),
    Mutant(
        name="nan_bits_of_the_machine",
        title="a NaN has the sign and the payload that the processor gives it",
        scenario="hello",
        oracle="I32",
        edits=(
            Edit(
                "wasm/engine.py",
                '"cranelift_nan_canonicalization": True,\n',
                '"cranelift_nan_canonicalization": False,\n',
            ),
        ),
        one_in=20,
    ),
)
