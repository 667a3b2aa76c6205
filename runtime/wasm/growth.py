"""Growth beyond a limit ends the call, by name (WAS-4).

wasmtime answers memory.grow and table.grow beyond a store's limits with -1, which programs take for a full machine,
each in its own way. So every such instruction is replaced by a call of a function that is appended to the module: it
grows, and where that fails although the module's own maximum would allow it, it notes which limit it was and traps.
Within the module's own maximum the answer stays what the specification says.

A module with an instruction that the scan does not know is left as it is: its limits hold then, without their names.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.wasm.abi import RESERVED
from runtime.wasm.binary import (
    CODE,
    EXPORT,
    FUNCTION,
    GLOBAL,
    PAGES_MAX,
    TYPE,
    Parsed,
    Section,
    bodies,
    encode_u32,
    named,
    vector,
)  # fmt: skip
from runtime.wasm.scan import growths

NOTE = f"{RESERVED}limit"  # the global that tells which limit ended a call
LIMITS = {1: "memory", 2: "table"}
_MEMORY, _TABLE = 1, 2
_ORDER = (TYPE, 2, FUNCTION, 4, 5, 13, GLOBAL, EXPORT, 8, 9, 12, CODE, 11)
_ELEMENTS_MAX = (1 << 32) - 1


def noting(wasm: bytes, parsed: Parsed) -> bytes:
    """The module whose growth beyond a limit traps with a note, or the same bytes where nothing in it grows."""
    code = next((section for section in parsed.sections if section.id == CODE), None)
    if code is None:
        return wasm
    try:
        found = [list(growths(wasm, start, end)) for start, end in bodies(wasm, code)]
    except ValueError:
        return wasm
    if not any(found):
        return wasm
    types, _ = _counted(wasm, parsed, TYPE)
    globals_, _ = _counted(wasm, parsed, GLOBAL)
    note = globals_ + sum(entry.kind == 3 for entry in parsed.imports)
    helpers = [_memory_helper(parsed, note), *(_table_helper(parsed, at, note) for at in range(len(parsed.tables)))]
    first = len(parsed.functions)
    extra = {
        TYPE: [kind for kind, _ in helpers],
        FUNCTION: [encode_u32(types + number) for number in range(len(helpers))],
        GLOBAL: [b"\x7f\x01\x41\x00\x0b"],
        EXPORT: [named(NOTE) + b"\x03" + encode_u32(note)],
        CODE: [encode_u32(len(body)) + body for _, body in helpers],
    }
    return _written(wasm, parsed, extra, _replaced(wasm, code, found, first))


def _counted(wasm: bytes, parsed: Parsed, number: int) -> tuple[int, bytes]:
    """How many items a section has, and its content after the count."""
    for section in parsed.sections:
        if section.id == number:
            return vector(wasm, section)
    return 0, b""


def _replaced(wasm: bytes, code: Section, found: list[list[tuple[int, int, int]]], first: int) -> bytes:
    """The bodies of the code section, every growth a call of its helper."""
    out = []
    for (start, end), places in zip(bodies(wasm, code, whole=True), found, strict=True):
        parts, at = [], start
        for begin, stop, table in places:
            parts += [wasm[at:begin], b"\x10", encode_u32(first + 1 + table)]
            at = stop
        body = b"".join((*parts, wasm[at:end]))
        out.append(encode_u32(len(body)) + body)
    return b"".join(out)


def _written(wasm: bytes, parsed: Parsed, extra: dict[int, list[bytes]], code: bytes) -> bytes:
    """All sections in their order, with what is appended to each; a section that is missing is made."""
    waiting = sorted(extra, key=_ORDER.index)
    parts = [wasm[:8]]

    def made(number: int, content: bytes) -> None:
        parts.extend((bytes([number]), encode_u32(len(content)), content))

    def until(rank: int) -> Iterator[int]:
        while waiting and _ORDER.index(waiting[0]) < rank:
            yield waiting.pop(0)

    for section in parsed.sections:
        if section.id in _ORDER:
            for number in until(_ORDER.index(section.id)):
                made(number, encode_u32(len(extra[number])) + b"".join(extra[number]))
        if section.id not in extra:
            made(section.id, wasm[section.start : section.end])
            continue
        waiting.remove(section.id)
        count, content = vector(wasm, section)
        if section.id == CODE:
            content = code
        made(section.id, encode_u32(count + len(extra[section.id])) + content + b"".join(extra[section.id]))
    return b"".join(parts)


def _memory_helper(parsed: Parsed, note: int) -> tuple[bytes, bytes]:
    """(type, body) of (delta) -> pages before, or -1."""
    most = (parsed.memories[0][1] if parsed.memories else None) or PAGES_MAX
    if not parsed.memories:
        return b"\x60\x01\x7f\x01\x7f", b"\x00\x41\x7f\x0b"
    grow, size = b"\x20\x00\x40\x00", b"\x3f\x00"
    return b"\x60\x01\x7f\x01\x7f", _body(grow, size, 0, 1, most, _MEMORY, note)


def _table_helper(parsed: Parsed, at: int, note: int) -> tuple[bytes, bytes]:
    """(type, body) of (reference, delta) -> elements before, or -1."""
    most = parsed.tables[at][1]
    grow = b"\x20\x00\x20\x01\xfc\x0f" + encode_u32(at)
    size = b"\xfc\x10" + encode_u32(at)
    kind = b"\x60\x02" + bytes([parsed.references[at]]) + b"\x7f\x01\x7f"
    return kind, _body(grow, size, 1, 2, _ELEMENTS_MAX if most is None else most, _TABLE, note)


def _body(grow: bytes, size: bytes, delta: int, local: int, most: int, limit: int, note: int) -> bytes:
    """grow; if it gave -1 and size + delta <= most (in i64), note the limit and trap; what it gave."""
    get, tee = b"\x20" + encode_u32(local), b"\x22" + encode_u32(local)
    within = size + b"\xad\x20" + encode_u32(delta) + b"\xad\x7c\x42" + _signed(most) + b"\x58"
    failed = b"\x04\x40" + b"\x41" + bytes([limit]) + b"\x24" + encode_u32(note) + b"\x00\x0b"
    return b"\x01\x01\x7f" + grow + tee + b"\x41\x7f\x46\x04\x40" + within + failed + b"\x0b" + get + b"\x0b"


def _signed(value: int) -> bytes:
    """Signed LEB128 of a number that is not negative."""
    out = bytearray()
    while value > 0x3F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
