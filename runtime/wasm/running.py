"""A call in slices of fuel (WAS-8): it can be watched, cancelled between two slices, and what it gives can be streamed.

    running = instance.start("work", 7)
    while not running.advance():
        ...
    running.result()

    for chunk in stream.results(instance, "work", 7): ...

Guarantees: the slices are the same in every run, since they are counted in fuel; a call in slices gives what the whole
call gives. A call that is cancelled, dropped or interrupted ends at once and leaves its instance free for the next one;
what the module has left half done is its own. One thread carries a call out; any thread may ask for its end.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING

from runtime.errors import Cancelled, LimitExceeded, Refused
from runtime.wasm import raw
from runtime.wasm.abi import I32, Signature
from runtime.wasm.exclusive import Exclusive
from runtime.wasm.imports import WithMemory
from runtime.wasm.linear import Memory

if TYPE_CHECKING:
    from runtime.wasm.functions import Instance

SLICE = 1_000_000  # fuel, about a millisecond
SLICE_MIN = 100  # a slice ends at a function's entry or a loop's head, so smaller ones are no smaller
PENDING_MAX = 16 << 20  # bytes that a slice may emit

Value = int | float
Result = Value | tuple[Value, ...] | None


class Running:
    """A call that was started. `slices` is how many it has had."""

    def __init__(self, sliced: raw.Sliced, exclusive: Exclusive, ended: Callable[[list[int] | None], Result]) -> None:
        self._sliced, self._exclusive, self._made = sliced, exclusive, ended
        self._thread = threading.get_ident()
        self._wanted = True
        self._ended = False
        self._result: Result = None
        self._error: BaseException | None = None
        self.slices = 0

    @property
    def ended(self) -> bool:
        return self._ended

    def advance(self) -> bool:
        """One slice; whether the call has ended, by its results, a failure or a cancellation. `result` says which.

        Raises Refused to another thread than the one that started it.
        """
        if self._ended:
            return True
        if threading.get_ident() != self._thread:
            raise Refused("another thread started this call", "advance", "let that thread go on with it")
        raw.headroom(60)
        with self._exclusive.entered(between=True):
            if not self._wanted:
                self._finish(Cancelled(f"after {self.slices} slices", "cancel", "start it again"))
                return True
            try:
                ended = self._sliced.poll()
                self.slices += 1
                if ended:
                    self._conclude()
            except BaseException:  # a signal, and nobody knows how far it got: polled again it could abort
                self._finish(Cancelled(f"interrupted after {self.slices} slices", "advance", "start it again"))
                raise
        return self._ended

    def result(self) -> Result:
        """What the call gave; carries out what is left of it. Raises what `Instance.call` raises, and Cancelled."""
        while not self.advance():
            pass
        if self._error is not None:
            raise self._error
        return self._result

    def cancel(self) -> None:
        """Ends it between two slices: now, if it is between two, else when this one is over. Any thread may ask."""
        self._wanted = False
        if threading.get_ident() == self._thread and not self._ended:
            with contextlib.suppress(Refused):  # from within its own slice: then the next `advance` ends it
                self.advance()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def __del__(self) -> None:
        if not self._ended:
            self._free()

    def _conclude(self) -> None:
        try:
            result = self._made(self._sliced.results())
        except BaseException as error:
            self._finish(error)
            return
        self._result = result
        self._finish(None)

    def _finish(self, error: BaseException | None) -> None:
        self._error, self._ended = error, True
        self._free()

    def _free(self) -> None:
        self._sliced.end()
        self._exclusive.suspended = False


class Stream:
    """What a module emits while it is called: it imports `stream.emit(pointer, length)`, as often as it likes."""

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._bytes = 0

    def functions(self) -> dict[str, WithMemory]:
        """What to instantiate with, as `host`."""
        return {"stream.emit": WithMemory(self._emit, Signature(bytes([I32, I32]), b""))}

    def taken(self) -> list[bytes]:
        """What was emitted since the last time, in its order."""
        taken, self._pending, self._bytes = self._pending, [], 0
        return taken

    def results(
        self, instance: Instance, name: str, *arguments: Value, slice: int = SLICE
    ) -> Generator[bytes, None, Result]:
        """Calls the export and yields what it emits, slice by slice; the generator returns the call's result.

        Who stops to listen cancels the call. Raises what the call raises, after all that it emitted before.
        """
        with instance.start(name, *arguments, slice=slice) as running:
            while not running.advance():
                yield from self.taken()
            yield from self.taken()
            return running.result()

    def _emit(self, memory: Memory, pointer: int, length: int) -> None:
        length &= 0xFFFFFFFF
        self._bytes += length
        if self._bytes > PENDING_MAX:
            what = f"more than {PENDING_MAX} bytes in a slice"
            raise LimitExceeded("stream", what, "stream.emit", "take smaller slices, or emit less")
        self._pending.append(memory.read(pointer & 0xFFFFFFFF, length))
