"""A bounded reader of the wasm binary format, and the rewriting that makes a module's state reachable.

It guarantees: no input makes it raise anything but Malformed, every length is checked before it is used, and what it
passes has one own memory, no start function, no shared or imported state, and no state outside memory and mutable
number globals, so that memory + globals are the whole of an instance (SNP-1). It does not replace wasmtime's
validation, which runs on the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from runtime.wasm.abi import GLOBAL_NAME, SECTION, Signature
from runtime.wasm.scan import changes_state, constant_end

CUSTOM, TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, CODE, DATA = range(12)
_NUMBERS = b"\x7f\x7e\x7d\x7c"  # value types that a snapshot holds as raw bits
_VALUES = _NUMBERS + b"\x7b\x70\x6f"
PAGES_MAX = 65_536
_ITEMS_MAX = 200_000  # in one vector; more than any compiler emits, few enough to be read without much memory
_SECTIONS_MAX = 10_000


class Malformed(ValueError):
    """The bytes are not a module that can be an agent; `str()` says why, in one line."""


class Import(NamedTuple):
    """`signature` is a function's; `limits` are those of a memory, in pages."""

    module: str
    name: str
    kind: int
    signature: Signature | None
    limits: tuple[int, int | None] | None = None


class Export(NamedTuple):
    name: str
    kind: int
    place: int


class Section(NamedTuple):
    """`start` to `end` is its content, without the id and the size."""

    id: int
    start: int
    end: int


class Parsed(NamedTuple):
    """What the load checks need to know. Memory in pages, tables in elements; `mutable` are (index, value type)."""

    sections: tuple[Section, ...]
    imports: tuple[Import, ...]
    exports: tuple[Export, ...]
    functions: tuple[Signature, ...]
    memories: tuple[tuple[int, int | None], ...]
    tables: tuple[tuple[int, int | None], ...]
    mutable: tuple[tuple[int, int], ...]
    abi: tuple[bytes, ...]
    references: tuple[int, ...] = ()  # the tables' element types


class _Reader:
    """A cursor over `data[at:end]`."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

    def byte(self) -> int:
        if self.at >= self.end:
            raise Malformed(f"ends too early at byte {self.at}")
        self.at += 1
        return self.data[self.at - 1]

    def u32(self) -> int:
        value = 0
        for shift in (0, 7, 14, 21, 28):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > 0xFFFFFFFF:
                    break
                return value
        raise Malformed(f"number too large at byte {self.at}")

    def take(self, length: int) -> bytes:
        if length > self.end - self.at:
            raise Malformed(f"length {length} at byte {self.at} exceeds what is left")
        self.at += length
        return self.data[self.at - length : self.at]

    def name(self) -> str:
        raw = self.take(self.u32())
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed(f"a name at byte {self.at} is not utf-8") from None

    def constant(self) -> None:
        """Skips a constant expression."""
        at = constant_end(self.data, self.at, self.end)
        if at < 0:
            raise Malformed(f"not a constant expression at byte {self.at}")
        self.at = at

    def value_type(self) -> int:
        kind = self.byte()
        if kind not in _VALUES:
            raise Malformed(f"value type 0x{kind:02x} at byte {self.at - 1} is not supported")
        return kind

    def limits(self, what: str) -> tuple[int, int | None]:
        flags = self.byte()
        if flags & 2:
            raise Malformed(f"shared {what}")
        if flags & 4:
            raise Malformed(f"64-bit {what}")
        if flags > 1:
            raise Malformed(f"unknown {what} flags 0x{flags:02x}")
        minimum = self.u32()
        return minimum, self.u32() if flags else None

    def items(self) -> Iterator[int]:
        """Counts through a vector."""
        count = self.u32()
        if count > _ITEMS_MAX:
            raise Malformed(f"a vector of {count} items at byte {self.at}, allowed are {_ITEMS_MAX}")
        return iter(range(count))


def outline(wasm: bytes) -> Parsed:
    """Reads what any core module declares, without the limits of an agent; `mutable` stays empty. Raises Malformed."""
    sections = _sections(wasm)
    readers = {s.id: _Reader(wasm, s.start, s.end) for s in sections if s.id != CUSTOM}
    types = list(_types(readers[TYPE])) if TYPE in readers else []
    imports = tuple(_imports(readers[IMPORT], types)) if IMPORT in readers else ()
    functions = [entry.signature for entry in imports if entry.signature is not None]
    if FUNCTION in readers:
        reader = readers[FUNCTION]
        functions += [_typed(types, reader.u32()) for _ in reader.items()]
    tables = tuple(_tables(readers[TABLE])) if TABLE in readers else ()
    return Parsed(
        sections=sections,
        imports=imports,
        exports=tuple(_exports(readers[EXPORT])) if EXPORT in readers else (),
        functions=tuple(functions),
        memories=tuple(_limits(readers[MEMORY], "memory")) if MEMORY in readers else (),
        tables=tuple(table for _, table in tables),
        mutable=(),
        abi=tuple(_versions(wasm, sections)),
        references=tuple(kind for kind, _ in tables),
    )


def parse(wasm: bytes) -> Parsed:
    """Reads a module; raises Malformed for anything that cannot be an agent."""
    parsed = outline(wasm)
    readers = {s.id: _Reader(wasm, s.start, s.end) for s in parsed.sections if s.id != CUSTOM}
    if START in readers:
        raise Malformed("it has a start section; do that work in agent_init")
    if len(parsed.memories) > 1:
        raise Malformed(f"it has {len(parsed.memories)} memories; an agent has one")
    mutable = tuple(_mutable(readers[GLOBAL])) if GLOBAL in readers else ()
    if ELEMENT in readers:
        _no_passive_elements(readers[ELEMENT])
    if DATA in readers:
        _no_passive_data(readers[DATA])
    if parsed.tables and CODE in readers:
        _no_table_writes(readers[CODE])
    return parsed._replace(mutable=mutable)


def customs(wasm: bytes, parsed: Parsed) -> Iterator[tuple[str, bytes]]:
    """The custom sections, each with its name and its bytes; raises Malformed for a name that is none."""
    for section in parsed.sections:
        if section.id == CUSTOM:
            reader = _Reader(wasm, section.start, section.end)
            name = reader.name()
            yield name, wasm[reader.at : section.end]


def rewrite(wasm: bytes, parsed: Parsed, memory_pages: int) -> bytes:
    """The module as it is compiled: its memory's maximum is `memory_pages` or less, its mutable globals are exported.

    A maximum inside the module holds the agent to its limit exactly, while the other memories of its store are free.
    """
    parts = [wasm[:8]]
    for section in parsed.sections:
        content = wasm[section.start : section.end]
        if section.id == MEMORY:
            content = _memory_content(parsed.memories[0], memory_pages)
        elif section.id == EXPORT:
            reader = _Reader(content, 0, len(content))
            count = reader.u32()
            added = b"".join(
                named(f"{GLOBAL_NAME}{index}") + b"\x03" + encode_u32(index) for index, _ in parsed.mutable
            )
            content = encode_u32(count + len(parsed.mutable)) + content[reader.at :] + added
        parts += [bytes([section.id]), encode_u32(len(content)), content]
    return b"".join(parts)


def declared_abi(wasm: bytes) -> tuple[bytes, ...]:
    """What a module's sections say of its ABI; nothing where its sections cannot be read (a load check says so)."""
    try:
        return tuple(_versions(wasm, _sections(wasm)))
    except Malformed:
        return ()


def vector(wasm: bytes, section: Section) -> tuple[int, bytes]:
    """How many items a section says that it has, and its bytes behind that number."""
    reader = _Reader(wasm, section.start, section.end)
    return reader.u32(), wasm[reader.at : section.end]


def bodies(wasm: bytes, code: Section, whole: bool = False) -> Iterator[tuple[int, int]]:
    """Where the instructions of each function begin and end; `whole` begins at its locals."""
    reader = _Reader(wasm, code.start, code.end)
    for _ in reader.items():
        size = reader.u32()
        body = _Reader(wasm, reader.at, reader.at + size)
        reader.take(size)
        begin = body.at
        for _ in body.items():
            body.u32()
            body.value_type()
        yield (begin if whole else body.at), body.end


def encode_u32(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def named(name: str) -> bytes:
    raw = name.encode()
    return encode_u32(len(raw)) + raw


def _memory_content(limits: tuple[int, int | None], pages: int) -> bytes:
    minimum, maximum = limits
    held = min(pages, PAGES_MAX if maximum is None else maximum, PAGES_MAX)
    return b"\x01\x01" + encode_u32(minimum) + encode_u32(max(held, minimum))


def _sections(wasm: bytes) -> tuple[Section, ...]:
    if wasm[:4] != b"\x00asm":
        raise Malformed("it does not start with the wasm magic number")
    if wasm[4:8] == b"\x0d\x00\x01\x00":
        raise Malformed("it is a component; an agent is a core module")
    if wasm[4:8] != b"\x01\x00\x00\x00":
        raise Malformed("its binary format version is not 1")
    reader = _Reader(wasm, 8, len(wasm))
    sections: list[Section] = []
    seen: set[int] = set()
    while reader.at < reader.end:
        number = reader.byte()
        size = reader.u32()
        start = reader.at
        reader.take(size)
        if number != CUSTOM and number in seen:
            raise Malformed(f"section {number} occurs twice")
        if len(sections) >= _SECTIONS_MAX:
            raise Malformed(f"more than {_SECTIONS_MAX} sections")
        seen.add(number)
        sections.append(Section(number, start, reader.at))
    return tuple(sections)


def _types(reader: _Reader) -> Iterator[Signature]:
    for _ in reader.items():
        if reader.byte() != 0x60:
            raise Malformed(f"type at byte {reader.at - 1} is not a function type")
        parameters = bytes(reader.value_type() for _ in reader.items())
        yield Signature(parameters, bytes(reader.value_type() for _ in reader.items()))


def _typed(types: list[Signature], index: int) -> Signature:
    if index >= len(types):
        raise Malformed(f"type {index} does not exist")
    return types[index]


def _imports(reader: _Reader, types: list[Signature]) -> Iterator[Import]:
    for _ in reader.items():
        module, name, kind = reader.name(), reader.name(), reader.byte()
        signature = limits = None
        if kind == 0:
            signature = _typed(types, reader.u32())
        elif kind == 1:
            reader.value_type()
            reader.limits("table")
        elif kind == 2:
            limits = reader.limits("memory")
        elif kind == 3:
            reader.value_type()
            reader.byte()
        else:
            raise Malformed(f"import kind {kind} is not supported")
        yield Import(module, name, kind, signature, limits)


def _limits(reader: _Reader, what: str) -> Iterator[tuple[int, int | None]]:
    for _ in reader.items():
        yield reader.limits(what)


def _tables(reader: _Reader) -> Iterator[tuple[int, tuple[int, int | None]]]:
    for _ in reader.items():
        yield reader.value_type(), reader.limits("table")


def _mutable(reader: _Reader) -> Iterator[tuple[int, int]]:
    for index in reader.items():
        kind, mutable = reader.value_type(), reader.byte()
        reader.constant()
        if mutable:
            if kind not in _NUMBERS:
                raise Malformed(f"global {index} is a mutable vector or reference, which a snapshot cannot hold")
            yield index, kind


def _exports(reader: _Reader) -> Iterator[Export]:
    for _ in reader.items():
        yield Export(reader.name(), reader.byte(), reader.u32())


def _no_passive_elements(reader: _Reader) -> None:
    for number in reader.items():
        flags = reader.u32()
        if flags > 7:
            raise Malformed(f"unknown flags of element segment {number}")
        if flags & 3 == 1:
            raise Malformed(f"element segment {number} is passive; a snapshot cannot hold whether it was dropped")
        if flags & 3 == 2:
            reader.u32()
        if not flags & 1:
            reader.constant()
        if flags & 3:
            reader.byte()
        for _ in reader.items():
            if flags & 4:
                reader.constant()
            else:
                reader.u32()


def _no_passive_data(reader: _Reader) -> None:
    for number in reader.items():
        flags = reader.u32()
        if flags == 1:
            raise Malformed(f"data segment {number} is passive; a snapshot cannot hold whether it was dropped")
        if flags:
            if flags != 2:
                raise Malformed(f"unknown flags of data segment {number}")
            reader.u32()
        reader.constant()
        reader.take(reader.u32())


def _no_table_writes(reader: _Reader) -> None:
    for number in reader.items():
        size = reader.u32()
        start = reader.at
        reader.take(size)
        body = _Reader(reader.data, start, reader.at)
        for _ in body.items():
            body.u32()
            body.value_type()
        found = changes_state(body.data, body.at, body.end)
        if found:
            raise Malformed(f"own function {number} {found}")


def _versions(wasm: bytes, sections: tuple[Section, ...]) -> Iterator[bytes]:
    marker = named(SECTION)
    for section in sections:
        if section.id == CUSTOM and wasm.startswith(marker, section.start, section.end):
            yield wasm[section.start + len(marker) : section.end]
