"""From what a compiler gives to what the runtime loads: the same module without what no agent may have or needs.

A start section becomes the beginning of `agent_init`, which is a life's first call and runs in its first step, so a
language whose runtime must set itself up (AssemblyScript's) keeps the meaning of its program. Names, debug information
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
    START,
    TYPE,
    Malformed,
    Parsed,
    encode_u32,
    named,
    outline,
    vector,
)

_FIRST, _MIGRATE = "agent_init", "agent_migrate"
_NOTHING_TO_I32 = b"\x60\x00\x01\x7f"


def finished(wasm: bytes, where: str, abi: str) -> bytes:
    """The module to load, which says that it was made for this version of the ABI, unless it does already.

    Raises Refused for what is no module, and for a start section that would not run where it must.
    """
    try:
        parsed = outline(wasm)
        if any(section.id == START for section in parsed.sections) and _MIGRATE in {e.name for e in parsed.exports}:
            todo = "do without what sets itself up at the start, or let the state be carried over as it is"
            raise Refused(f"{_MIGRATE} is called without agent_init, and so without the start section", where, todo)
        contents = dict(_started(wasm, parsed))
        parts = [wasm[:8]]
        for section in parsed.sections:
            content = contents.get(section.id, wasm[section.start : section.end])
            if section.id == START or (section.id == CUSTOM and not _kept(content)):
                continue
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
    """The sections that change where there is a start section: a function that calls it, then the old `agent_init`."""
    sections = {section.id: section for section in parsed.sections if section.id != CUSTOM}
    first = next((export for export in parsed.exports if (export.name, export.kind) == (_FIRST, 0)), None)
    if START not in sections or first is None or not {TYPE, FUNCTION, CODE} <= sections.keys():
        return
    if parsed.functions[first.place] != EXPORTS[_FIRST]:
        return  # the load checks say so
    start, _ = vector(wasm, sections[START])
    types, rest = vector(wasm, sections[TYPE])
    yield TYPE, encode_u32(types + 1) + rest + _NOTHING_TO_I32
    functions, rest = vector(wasm, sections[FUNCTION])
    yield FUNCTION, encode_u32(functions + 1) + rest + encode_u32(types)
    body = b"\0\x10" + encode_u32(start) + b"\x10" + encode_u32(first.place) + b"\x0b"
    bodies, rest = vector(wasm, sections[CODE])
    yield CODE, encode_u32(bodies + 1) + rest + encode_u32(len(body)) + body
    listed = [
        named(export.name)
        + bytes([export.kind])
        + encode_u32(len(parsed.functions) if export is first else export.place)
        for export in parsed.exports
    ]
    yield EXPORT, encode_u32(len(listed)) + b"".join(listed)
