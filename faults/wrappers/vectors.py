"""Modules that a load must refuse by name, put together here byte by byte, with what each must end as.

They begin as one good module, an agent that ends every step with one status: where that is in the journal, the module
ran. What the load must say was written down beside each, from docs/abi.md and the core specification; nothing of the
runtime's reader or checks is used, so one that is wrong is found.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from faults.plan import Fault
from runtime.versions import ABI, ABI_MINOR
from runtime.wasm import assemble

KINDS = ("module.malformed", "module.unlinkable", "module.flip", "module.bomb", "module.abi")
LOADED = "agent_error:64"

_CUSTOM, _TYPE, _IMPORT, _FUNCTION, _TABLE, _MEMORY, _GLOBAL, _EXPORT, _START, _ELEMENT, _CODE, _DATA = range(12)
_NEVER = "(func $never unreachable)"  # what would trap, did it run
_EXPORTS = {
    "agent_alloc": "(param i32) (result i32) (i32.const 1024)",
    "agent_init": "(result i32) (i32.const 64)",
    "agent_receive": "(param i32 i32) (result i32) (i32.const 0)",
    "agent_step": "(param i32) (result i32) (i32.const 64)",
    "agent_shutdown": "(result i32) (i32.const 64)",
}
_LOOPS, _FUNCTIONS, _BYTES = 5_000, 100_000, (16 << 20) + 1  # each beyond a limit of docs/abi.md
_HUGE = b"\xff\xff\xff\xff\x0f"  # 2^32 - 1


def endings(fault: Fault) -> tuple[str, ...]:
    """How the step ends that waits for the module."""
    if fault.kind == "module.flip":
        return ("refused:digest",)
    return (_VECTORS[fault.kind][str(fault.get("what"))][0],)


def module(fault: Fault, own: bytes) -> bytes:
    """The bytes that are to be loaded; `own` is the agent's module."""
    if fault.kind == "module.flip":
        place = fault.number("bit") % (8 * len(own))
        return own[: place // 8] + bytes([own[place // 8] ^ 1 << place % 8]) + own[place // 8 + 1 :]
    return _made(fault.kind, str(fault.get("what")))


@cache
def _made(kind: str, what: str) -> bytes:
    made = _VECTORS[kind][what][1]
    return made() if callable(made) else made


# --- the good module, and what can be done to it ---------------------------------------------------------------------


def _text(extra: str = "", memory: str = '(memory (export "memory") 1)', first: str = "", **exports: str) -> str:
    """The good module's text, with `extra`, another memory, or another body of an export ("" leaves it out)."""
    bodies = {**_EXPORTS, **exports}
    functions = "".join(f'(func (export "{name}") {body})' for name, body in bodies.items() if body)
    return f"(module {first} {memory} {extra} {functions})"


@cache
def _good() -> bytes:
    return assemble(_text())


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] > 0x7F:
        value, shift, at = value | (data[at] & 0x7F) << shift, shift + 7, at + 1
    return value | data[at] << shift, at + 1


def _sections(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 8
    while at < len(data):
        size, start = _read(data, at + 1)
        found.append((data[at], data[start : start + size]))
        at = start + size
    return found


def _joined(sections: list[tuple[int, bytes]]) -> bytes:
    return b"\0asm\1\0\0\0" + b"".join(bytes([kind]) + _number(len(body)) + body for kind, body in sections)


def _with(kind: int, change: Callable[[bytes], bytes]) -> bytes:
    """The good module with one section changed."""
    return _joined([(number, change(body) if number == kind else body) for number, body in _sections(_good())])


def _added(kind: int, body: bytes) -> bytes:
    """The good module with one more section, in its place."""
    sections = _sections(_good())
    place = sum(1 for number, _ in sections if number < kind)
    return _joined([*sections[:place], (kind, body), *sections[place:]])


def _more(kind: int, item: bytes, count: int = 1) -> Callable[[bytes], bytes]:
    """Appends items to a section's vector."""

    def change(body: bytes) -> bytes:
        there, start = _read(body, 0)
        return _number(there + count) + body[start:] + item * count

    return change


def _function(body: bytes, locals_: bytes = b"\0", count: int = 1) -> bytes:
    """The good module with more functions of the type () -> (), each with this body."""
    whole = locals_ + body
    entry = _number(len(whole)) + whole
    sections = []
    for kind, data in _sections(_good()):
        if kind == _TYPE:
            place, start = _read(data, 0)
            data = _number(place + 1) + data[start:] + b"\x60\0\0"
        elif kind == _FUNCTION:
            data = _more(_FUNCTION, _number(place), count)(data)
        elif kind == _CODE:
            data = _more(_CODE, entry, count)(data)
        sections.append((kind, data))
    return _joined(sections)


def _custom(name: bytes, body: bytes) -> bytes:
    return _good() + b"\0" + _number(len(name) + 1 + len(body)) + _number(len(name)) + name + body


def _abi(version: bytes) -> bytes:
    return _custom(b"wasm-engine.abi", version)


def _swapped() -> bytes:
    sections = _sections(_good())
    return _joined([sections[1], sections[0], *sections[2:]])


def _imports(text: str) -> Callable[[], bytes]:
    return lambda: assemble(_text(first=text))


Vector = tuple[str, Callable[[], bytes] | bytes]
_FORMAT, _LINK, _LIMIT, _OTHER = "refused:format", "refused:import", "refused:limit", "refused:abi"

_MALFORMED: dict[str, Callable[[], bytes] | bytes] = {
    "cut": lambda: _good()[: len(_good()) // 2],
    "empty": b"",
    "magic": lambda: b"\0asn" + _good()[4:],
    "version": lambda: _good()[:4] + b"\2\0\0\0" + _good()[8:],
    "component": lambda: _good()[:4] + b"\x0d\0\1\0" + _good()[8:],
    "section_order": _swapped,
    "section_twice": lambda: _joined([_sections(_good())[0], *_sections(_good())]),
    "section_length": lambda: _good() + b"\0\x7f\1a",
    "number_long": lambda: _good()[:8] + b"\1" + b"\x80" * 5 + b"\1" + _good()[10:],
    "vector_length": lambda: _with(_TYPE, lambda body: _HUGE + body[1:]),
    "name": lambda: _with(_EXPORT, _more(_EXPORT, b"\2\xc3\x28\0\0")),
    "type_form": lambda: _with(_TYPE, _more(_TYPE, b"\x61\0\0")),
    "operand_type": lambda: _function(b"\x42\0\x45\x1a\x0b"),  # i32.eqz of an i64
    "stack_empty": lambda: _function(b"\x6a\x1a\x0b"),  # i32.add of nothing
    "end_missing": lambda: _function(b"\x41\0\x1a"),
    "opcode": lambda: _function(b"\xff\x0b"),
    "local": lambda: _function(b"\x20\x07\x1a\x0b"),
    "function": lambda: _function(b"\x10\xff\x7f\x0b"),
    "branch": lambda: _function(b"\x0c\x09\x0b"),
    "alignment": lambda: _function(b"\x41\0\x28\x09\0\x1a\x0b"),
    "export_twice": lambda: _with(_EXPORT, _more(_EXPORT, b"\x06memory\2\0")),
    "export_place": lambda: _with(_EXPORT, _more(_EXPORT, b"\1x\0\x7f")),
    "trailing": lambda: _with(_MEMORY, lambda body: body + b"\0"),
    "count_mismatch": lambda: _with(_FUNCTION, _more(_FUNCTION, b"\0")),
    "pages": lambda: _with(_MEMORY, lambda body: b"\1\0" + _number(65_537)),
    "constant": lambda: _added(_GLOBAL, b"\1\x7f\0\x41\1\x41\2\x0b"),
    "memory_shared": lambda: _with(_MEMORY, lambda body: b"\1\3\1\2"),
    "memory_64": lambda: _with(_MEMORY, lambda body: b"\1\4\1"),
    "memories": lambda: _with(_MEMORY, lambda body: b"\2\0\1\0\1"),
    "table_write": lambda: assemble(_text("(table 2 funcref) (func (table.set (i32.const 0) (ref.null func)))")),
}

_UNLINKABLE: dict[str, Vector] = {
    "module": (_LINK, _imports('(import "env" "now" (func (result i64)))')),
    "function": (_LINK, _imports('(import "engine" "nothing" (func))')),
    "wasi": (_LINK, _imports('(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))')),
    "type": (_LINK, _imports('(import "engine" "self" (func (param i32) (result i32)))')),
    "memory": (_LINK, lambda: _added(_IMPORT, b"\1\6engine\6memory\2\0\1")),
    "table": (_LINK, _imports('(import "engine" "self" (table 1 funcref))')),
    "global": (_LINK, _imports('(import "engine" "self" (global i32))')),
    "start": (_FORMAT, lambda: assemble(_text("(func $begin) (start $begin)"))),
    "start_trap": (_FORMAT, lambda: assemble(_text(f"{_NEVER} (start $never)"))),
    "data": (_FORMAT, lambda: assemble(_text('(data (i32.const 65535) "ab")'))),
    "elements": (_FORMAT, lambda: assemble(_text(f"{_NEVER} (table 1 funcref) (elem (i32.const 1) $never)"))),
    "good": (LOADED, _good),
}

_BOMBS: dict[str, Vector] = {
    "functions": (_LIMIT, lambda: _function(b"\x0b", count=_FUNCTIONS)),
    "loops": (_LIMIT, lambda: _function(b"\3\x40" * _LOOPS + b"\x0b" * (_LOOPS + 1))),
    "size": ("refused:size", lambda: _custom(b"padding", bytes(_BYTES - len(_good())))),
    "vector": (_FORMAT, lambda: _with(_TYPE, _more(_TYPE, b"\x60\0\0", 1_000_001))),
    "locals": (_FORMAT, lambda: _function(b"\x0b", b"\1" + _HUGE + b"\x7f")),
    "branches": (_FORMAT, lambda: _function(b"\x41\0\x0e" + _HUGE + b"\0\x0b")),
    "memory": (_LIMIT, lambda: _with(_MEMORY, lambda body: b"\1\0" + _number(65_536))),
    "elements": (_LIMIT, lambda: _added(_TABLE, b"\1\x70\0" + _HUGE)),
}

_FOREIGN: dict[str, Vector] = {
    "major": (_OTHER, lambda: _abi(b"2")),
    "minor": (_OTHER, lambda: _abi(f"{ABI}.{ABI_MINOR + 1}".encode())),  # one newer than ours (docs/abi.md)
    "older": (_OTHER, lambda: _abi(b"0.9")),
    "word": (_OTHER, lambda: _abi(b"one")),
    "empty": (_OTHER, lambda: _abi(b"")),
    "twice": (_OTHER, lambda: _joined([*_sections(_abi(b"1")), (_CUSTOM, b"\x0fwasm-engine.abi1")])),
    "missing": (_OTHER, lambda: assemble(_text(agent_receive=""))),
    "extra": (LOADED, lambda: assemble(_text(agent_more="(result i32) (i32.const 7)"))),
    "type": (_OTHER, lambda: assemble(_text(agent_step="(param i64) (result i32) (i32.const 64)"))),
    "kind": (_OTHER, lambda: assemble(_text('(global (export "agent_step") i32 (i32.const 64))', agent_step=""))),
    "reserved": (_OTHER, lambda: assemble(_text('(func (export "wasm-engine.global.0"))'))),
    "memory": (_OTHER, lambda: assemble(_text(memory='(memory (export "heap") 1)'))),
    "good": (LOADED, lambda: _abi(b"1.0")),
}

_VECTORS: dict[str, dict[str, Vector]] = {
    "module.malformed": {what: (_FORMAT, made) for what, made in _MALFORMED.items()},
    "module.unlinkable": _UNLINKABLE,
    "module.bomb": _BOMBS,
    "module.abi": _FOREIGN,
}
