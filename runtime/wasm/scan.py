"""Instructions as a regular language: finds those that change state which no snapshot holds, and those that grow.

A function body is flat in the binary format, so one regular expression passes over all instructions that are harmless,
at the speed of the matcher (a megabyte in some 10 ms). It stops at the first other one. What it does not know it
reports: an unknown instruction is never passed over. How deep loops lie in each other is counted one by one, in the
few functions that could have many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LEB = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_MEMORY = rb"(?:[\x00-\x3f]|[\x40-\x7f]" + _LEB + rb")" + _LEB  # alignment, memory index if bit 6 is set, offset


def _regular(one: bytes, bulk: bytes) -> re.Pattern[bytes]:
    """As many instructions as match; `one` are further opcodes with one immediate, `bulk` further 0xfc instructions."""
    return re.compile(
        rb"(?s:"
        rb"[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xc4\xd1]"
        rb"|[\x02-\x04\x0c\x0d\x10\x12\x20-\x25\x3f\x41\x42\xd0\xd2" + one + rb"]" + _LEB
        + rb"|[\x11\x13]" + _LEB + _LEB + rb"|\x1c\x01."
        rb"|[\x28-\x3e]" + _MEMORY + rb"|\x43.{4}|\x44.{8}"
        # saturating conversions, memory.init, data.drop, memory.copy, memory.fill, table.size: without passive segments
        # (which binary.py refuses in agents) the second and third change nothing that lasts
        rb"|\xfc(?:[\x00-\x07]|[\x08\x0a]" + _LEB + _LEB + rb"|[\x09\x0b\x10]" + _LEB + bulk + rb")"
        rb"|\xfd(?:[\x00-\x0b\x5c\x5d]" + _MEMORY + rb"|[\x0c\x0d].{16}|[\x15-\x22].|[\x54-\x5b]" + _MEMORY + rb"."
        rb"|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01)"
        rb")*+"
    )  # fmt: skip


_HARMLESS = _regular(rb"\x40", rb"")
# All that the engine's profile knows but what grows, and branch tables.
_STEADY = _regular(rb"\x26", rb"|[\x0c\x0e]" + _LEB + _LEB + rb"|[\x0d\x11]" + _LEB)
_LOOP, _END = 0x03, 0x0B
_NESTS = (0x02, _LOOP, 0x04)  # block, loop, if
_ONE = re.compile(_STEADY.pattern[: -len(b"*+")])  # one instruction of them
_GROWTH = re.compile(rb"\x40" + _LEB + rb"|\xfc\x0f(" + _LEB + rb")")
_CONSTANT = re.compile(
    rb"(?s:[\x41\x42\x23\xd0\xd2]" + _LEB + rb"|\x43.{4}|\x44.{8}|\xfd\x0c.{16}|[\x6a-\x6c\x7c-\x7e])*+\x0b"
)

_BRANCHES = re.compile(rb"\x0e(" + _LEB + rb")")
_NUMBERS = re.compile(_LEB)

_WRITES = {0x0C: "table.init", 0x0D: "elem.drop", 0x0E: "table.copy", 0x0F: "table.grow", 0x11: "table.fill"}


def constant_end(data: bytes, at: int, end: int) -> int:
    """Where the constant expression at `at` ends, or -1."""
    found = _CONSTANT.match(data, at, end)
    return found.end() if found else -1


def changes_state(data: bytes, at: int, end: int) -> str:
    """Empty if all instructions of `data[at:end]` are harmless; else what is wrong with the first that is not."""
    while True:
        found = _HARMLESS.match(data, at, end)
        at = found.end() if found else at
        if at >= end:
            return ""
        if data[at] != 0x0E:
            return _name(data[at : at + 2])
        at = _after_branches(data, at, end)
        if at < 0:
            return "has a branch table that ends too early"


def growths(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Every memory.grow and table.grow of `data[at:end]`: where it begins and ends, and its table, or -1 for memory.

    Raises ValueError at an instruction that it does not know.
    """
    while True:
        found = _STEADY.match(data, at, end)
        at = found.end() if found else at
        if at >= end:
            return
        if data[at] == 0x0E:
            at = _after_branches(data, at, end)
        else:
            growth = _GROWTH.match(data, at, end)
            if growth:
                table = growth.group(1)
                yield at, growth.end(), -1 if table is None else _number(table)
            at = growth.end() if growth else -1
        if at < 0:
            raise ValueError("an instruction that is not known")


def loops_within(data: bytes, at: int, end: int, allowed: int) -> bool:
    """Whether no more than `allowed` loops of `data[at:end]` lie within each other.

    A compiler may look at what is in the innermost once per loop around it, so such a function is slow to compile far
    out of proportion to its size. Most functions cannot have so many, by their bytes alone. What this does not know it
    does not pass over.
    """
    if data.count(_LOOP, at, end) <= allowed:
        return True
    open_: list[bool] = []
    loops = 0
    while at < end:
        code = data[at]
        if code == 0x0E:
            at = _after_branches(data, at, end)
        else:
            found = _ONE.match(data, at, end) or _GROWTH.match(data, at, end)
            at = found.end() if found else -1
        if at < 0:
            return False
        if code in _NESTS:
            open_.append(code == _LOOP)
            loops += open_[-1]
        elif code == _END and open_:
            loops -= open_.pop()
        if loops > allowed:
            return False
    return True


def _number(leb: bytes) -> int:
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(leb))


def _after_branches(data: bytes, at: int, end: int) -> int:
    found = _BRANCHES.match(data, at, end)
    if found is None:
        return -1
    count = _number(found.group(1))
    at = found.end()
    if count >= end - at:  # every label takes a byte, the default included
        return -1
    for _ in range(count + 1):
        label = _NUMBERS.match(data, at, end)
        if label is None:
            return -1
        at = label.end()
    return at


def _name(code: bytes) -> str:
    if code[0] == 0x26:
        return "changes a table (table.set), which a snapshot cannot hold"
    if code[0] == 0xFC and len(code) > 1 and code[1] in _WRITES:
        return f"changes a table ({_WRITES[code[1]]}), which a snapshot cannot hold"
    return f"has an instruction 0x{code.hex()} that is not supported"
