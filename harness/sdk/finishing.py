"""From what a compiler gives to what the runtime loads: the same module without what no agent may have or needs.

A start section becomes the beginning of `agent_init`, which is a life's first call and runs in its first step, so a
language whose runtime must set itself up (AssemblyScript's) keeps the meaning of its program. An agent that takes over
the state of another version has no `agent_init` then, so the first call of either kind (`agent_alloc` before
`agent_migrate`) does it, once; a global remembers that it was done. Names, debug information
and other custom sections are left out, and the ABI version is written in. Nothing else is touched; the load checks run
on the result.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.errors import Refused
from runtime.wasm.abi import EXPORTS, RESERVED, SECTION
from runtime.wasm.binary import (
    CODE,
    CUSTOM,
    EXPORT,
    FUNCTION,
    GLOBAL,
    START,
    TYPE,
    Malformed,
    Parsed,
    encode_u32,
    named,
    outline,
    vector,
)

_FIRST, _ALLOC, _MIGRATE = "agent_init", "agent_alloc", "agent_migrate"
_FUNCTION, _GLOBAL = 0, 3
_NOTHING_TO_I32, _I32_TO_I32 = b"\x60\x00\x01\x7f", b"\x60\x01\x7f\x01\x7f"
_ZERO = b"\x7f\x01\x41\x00\x0b"  # a mutable i32 that begins as 0


def finished(wasm: bytes, where: str, abi: str) -> bytes:
    """The module to load, which says that it was made for this version of the ABI, unless it does already.

    Raises Refused for what is no module.
    """
    try:
        parsed = outline(wasm)
        contents = dict(_started(wasm, parsed))
        parts = [wasm[:8]]
        for section in parsed.sections:
            content = contents.pop(section.id, wasm[section.start : section.end])
            if section.id == START or (section.id == CUSTOM and not _kept(content)):
                continue
            if section.id > GLOBAL and GLOBAL in contents:  # there was none
                parts += [bytes([GLOBAL]), encode_u32(len(contents[GLOBAL])), contents.pop(GLOBAL)]
            parts += [bytes([section.id]), encode_u32(len(content)), content]
    except Malformed as error:
        raise Refused(f"the compiler gave no core module: {error}", where, "build a core wasm module") from None
    if not parsed.abi:
        told = named(SECTION) + abi.encode()
        parts += [b"\0", encode_u32(len(told)), told]
    return b"".join(parts)


def stripped(wasm: bytes) -> bytes:
    """A function module without names, debug information and other custom sections; nothing else is touched."""
    parts = [wasm[:8]]
    for section in outline(wasm).sections:
        content = wasm[section.start : section.end]
        if section.id != CUSTOM or _kept(content):
            parts += [bytes([section.id]), encode_u32(len(content)), content]
    return b"".join(parts)


def _kept(content: bytes) -> bool:
    """Custom sections that are the runtime's own."""
    length = content[0] if content else 0  # of a name below 128 bytes, as ours are
    return content[1 : 1 + length].startswith(RESERVED.encode())


def _started(wasm: bytes, parsed: Parsed) -> Iterator[tuple[int, bytes]]:
    """The sections that change where there is a start section: functions that call it, and then the exported ones."""
    sections = {section.id: section for section in parsed.sections if section.id != CUSTOM}
    exports = {export.name: export for export in parsed.exports if export.kind == _FUNCTION}
    called = [_FIRST, _ALLOC] if _MIGRATE in exports else [_FIRST]
    if START not in sections or not {TYPE, FUNCTION, CODE} <= sections.keys():
        return
    if any(name not in exports or parsed.functions[exports[name].place] != EXPORTS[name] for name in called):
        return  # the load checks say so
    start, _ = vector(wasm, sections[START])
    begin = b"\x10" + encode_u32(start)
    if _MIGRATE in exports:
        count, rest = vector(wasm, sections[GLOBAL]) if GLOBAL in sections else (0, b"")
        yield GLOBAL, encode_u32(count + 1) + rest + _ZERO
        done = encode_u32(count + sum(entry.kind == _GLOBAL for entry in parsed.imports))
        begin = b"\x23" + done + b"\x45\x04\x40\x41\x01\x24" + done + begin + b"\x0b"  # if not done: done, begin
    types, rest = vector(wasm, sections[TYPE])
    kinds = [_NOTHING_TO_I32, _I32_TO_I32][: len(called)]
    yield TYPE, encode_u32(types + len(kinds)) + rest + b"".join(kinds)
    functions, rest = vector(wasm, sections[FUNCTION])
    added = b"".join(encode_u32(types + number) for number in range(len(called)))
    yield FUNCTION, encode_u32(functions + len(called)) + rest + added
    bodies, rest = vector(wasm, sections[CODE])
    made = [
        b"\0" + begin + (b"\x20\0" if name == _ALLOC else b"") + b"\x10" + encode_u32(exports[name].place) + b"\x0b"
        for name in called
    ]
    yield CODE, encode_u32(bodies + len(made)) + rest + b"".join(encode_u32(len(body)) + body for body in made)
    places = {name: len(parsed.functions) + number for number, name in enumerate(called)}
    listed = [
        named(export.name) + bytes([export.kind]) + encode_u32(places.get(export.name, export.place))
        for export in parsed.exports
    ]
    yield EXPORT, encode_u32(len(listed)) + b"".join(listed)
