"""A module's memory as its user has it: bytes in and out, every range checked, no view that anybody could keep."""

from __future__ import annotations

from runtime.errors import Refused
from runtime.wasm import raw
from runtime.wasm.exclusive import Exclusive
from runtime.wasm.values import told


class Memory:
    """The memory that a module exports: bytes in and out, every range checked. Nobody keeps a view of it."""

    def __init__(self, linear: raw.Linear | None, exclusive: Exclusive, where: str) -> None:
        self._linear, self._exclusive, self._where = linear, exclusive, where

    def __len__(self) -> int:
        """Bytes, now."""
        with self._exclusive.shared():
            return self._present().size()

    def read(self, offset: int, length: int) -> bytes:
        """A copy; raises Refused for a range that is not inside."""
        with self._exclusive.shared():
            view = self._range(offset, length)
            return bytes(view[offset : offset + length])

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Raises Refused for a range that is not inside; then nothing is written."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise Refused(f"data is a {type(data).__name__}", f"memory of {self._where}", "give bytes")
        raw_bytes = bytes(data)
        with self._exclusive.shared():
            view = self._range(offset, len(raw_bytes))
            view[offset : offset + len(raw_bytes)] = raw_bytes

    def extended(self, pages: int) -> int:
        """Grows it; how many bytes it had before, or -1 where its limit does not allow so many pages more."""
        with self._exclusive.shared():
            linear = self._present()
            before = linear.size()
            try:
                if pages:
                    linear.grow(pages)
            except raw.Unavailable:
                return -1
            return before

    def _present(self) -> raw.Linear:
        if self._linear is None:
            raise Refused("it exports no memory", self._where, "export one, best under the name 'memory'")
        return self._linear

    def _range(self, offset: int, length: int) -> memoryview:
        """A view of all of it, once the range is known to be inside."""
        given: tuple[object, object] = offset, length
        for value in given:
            if not isinstance(value, int) or value < 0:
                what = f"a range is given by {told(value)}"
                raise Refused(what, f"memory of {self._where}", "give an offset and a length, from 0")
        view = self._present().view()
        if offset + length > len(view):
            what = f"bytes {told(offset)} to {told(offset + length)} are not inside, it has {len(view)}"
            raise Refused(
                what, f"memory of {self._where}", "give a range inside; as unsigned, if it came from the module"
            )
        return view
