"""Who answers what agents read outside: a user's functions, and function modules that run in slices (EXT-1, WAS-8).

    Sources({"dice": roll, "pack": served(Engine().load("pack.wasm"), "pack")})

Guarantees: what a function raises, or a module's end by a trap or a limit, is the answer FAILED and no more; a module
that answers in parts is asked for one slice of fuel at a time, and its call is over, and its instance free, when it was
closed or has given its last part. The parts of a call are the same in every run, as slices are counted in fuel.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from runtime.errors import CallFailed, Refused
from runtime.frames import Ask
from runtime.outside import Answer
from runtime.reads import END, FAILED, MORE, PREFIX
from runtime.state import Input
from runtime.wasm.functions import Instance, Module, ModuleLimits
from runtime.wasm.running import Running, Stream

CALLS_MAX = 256  # that have parts to come; beyond, the oldest is closed
CHUNK = struct.Struct("<I")  # the length of a chunk, before its bytes
LIMITS = ModuleLimits(fuel=5_000_000, memory=4 << 20)

Function = Callable[[bytes], bytes]


class Served:
    """A function module's export as a source: `(pointer, length)` of the payload; what it emits is given in parts.

    It may import `stream.emit(pointer, length)` and nothing else.
    """

    def __init__(self, module: Module, export: str, slice_: int, limits: ModuleLimits) -> None:
        self.module, self.export, self.slice, self.limits = module, export, slice_, limits

    def begin(self, payload: bytes) -> Call:
        return Call(self, payload)


def served(module: Module, export: str, slice_: int = 100_000, limits: ModuleLimits = LIMITS) -> Served:
    """A source for `Sources`; `slice_` is the fuel of one part, `limits` are those of the whole call.

    The module exports a memory, `allocate(size) -> pointer`, and the export, from (pointer, length) to nothing. Raises
    Refused.
    """
    for entry in module.parsed.imports:
        if (entry.module, entry.name) != ("stream", "emit"):
            what = f"it imports {entry.module}.{entry.name}"
            raise Refused(what, module.name, "a source imports stream.emit alone")
    signature = module.signature(export)
    if signature.parameters != b"\x7f\x7f" or signature.results:
        raise Refused(f"{export} has type {signature}", module.name, "give it type (i32, i32) -> ()")
    module.check(limits)
    return Served(module, export, slice_, limits)


class Call:
    """One call of a served module, carried out slice by slice."""

    def __init__(self, source: Served, payload: bytes) -> None:
        self._stream = Stream()
        self._instance: Instance = source.module.instantiate(self._stream.functions(), source.limits)
        pointer = self._instance.put(payload)
        self._running: Running = self._instance.start(source.export, pointer, len(payload), slice=source.slice)

    def part(self) -> tuple[int, bytes]:
        """The next slice: its status, and the chunks that it emitted, each behind its length."""
        status = MORE
        if self._running.advance():
            try:
                self._running.result()
                status = END
            except CallFailed:
                status = FAILED
            self.close()
        return status, b"".join(CHUNK.pack(len(chunk)) + chunk for chunk in self._stream.taken())

    def close(self) -> None:
        """Ends the call between two slices, if it has not ended; a second time does nothing."""
        self._running.cancel()
        self._instance.close()


class Sources:
    """`answer` gives the input that answers an ask; each ask is answered once, in the order in which they left."""

    def __init__(self, sources: Mapping[str, Function | Served]) -> None:
        self._sources = {PREFIX + name: source for name, source in sources.items()}
        self._calls: dict[tuple[str, int], Call] = {}

    @property
    def open(self) -> tuple[tuple[str, int], ...]:
        """The calls that have parts to come: (source, first)."""
        return tuple(self._calls)

    def answer(self, ask: Ask) -> Input:
        status, data = self._read(ask)
        return Input(Answer(data, ask.request, status), ask.n, ask.source, ask.due)

    def close(self, source: str, first: int) -> None:
        """Nobody wants more of this call."""
        call = self._calls.pop((source, first), None)
        if call is not None:
            call.close()

    def _read(self, ask: Ask) -> tuple[int, bytes]:
        source, key = self._sources.get(ask.source), (ask.source, ask.first)
        try:
            if isinstance(source, Served):
                return self._part(source, key, ask)
            return (FAILED, b"") if source is None or ask.first != ask.n else (END, bytes(source(ask.payload)))
        except Exception:  # a user's own function: that it fails is what there is to read
            self.close(*key)
            return FAILED, b""

    def _part(self, source: Served, key: tuple[str, int], ask: Ask) -> tuple[int, bytes]:
        if ask.first == ask.n:
            while len(self._calls) >= CALLS_MAX:
                self.close(*next(iter(self._calls)))
            self._calls[key] = source.begin(ask.payload)
        if key not in self._calls:
            return FAILED, b""
        status, data = self._calls[key].part()
        if status != MORE:
            del self._calls[key]
        return status, data
