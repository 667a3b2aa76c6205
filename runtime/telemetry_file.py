"""Telemetry as a file in JSON lines (TEL-1): one header, then a line for each record, in the order of what happened.

Guards the run against its own records: a file that cannot be written is given up by raising out of the hook, which
telemetry drops, and `failure` says why; the file is bounded, and says itself where it was cut. With `read` the usage of
the process follows each state snapshot, here and nowhere else, since no run repeats it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

import msgspec

from runtime.telemetry import Record
from runtime.usage import Usage
from runtime.versions import ALL

VERSION = 1
BYTES_MAX = 1 << 30

_encode = msgspec.json.Encoder(order="sorted").encode


class TelemetryFile:
    """A hook; register it with `steps=True` to have every step. `file` is open for bytes and stays its owner's."""

    def __init__(self, file: IO[bytes], read: Callable[[], Usage] | None = None, longest: int = BYTES_MAX) -> None:
        self._file, self._usage, self._longest = file, read, longest
        self.lines = 0
        self.bytes = 0
        self.failure = ""
        self.cut = False

    def __call__(self, record: Record) -> None:
        if self.failure:  # an incarnation later, which does not know yet
            raise OSError(self.failure)
        if not self.bytes:
            self._put(_encode({"telemetry": VERSION, "versions": ALL}))
        self._line(record)
        if self._usage is not None and record.kind == "snapshot" and record.fields["agent"] == -1:
            used = self._usage()
            fields: dict[str, int | str] = {"cpu_ns": used.cpu_ns, "rss_bytes": used.rss_bytes}
            self._line(msgspec.structs.replace(record, kind="usage", fields=fields))

    def _line(self, record: Record) -> None:
        """The record, or the note that there is no more room, once."""
        if self.cut:
            return
        line = _encode(record)
        if self.bytes + len(line) + 1 > self._longest:
            self.cut = True
            line = _encode(msgspec.structs.replace(record, kind="cut", fields={"bytes": self._longest}))
        self._put(line)
        self.lines += 1

    def _put(self, line: bytes) -> None:
        try:
            self._file.write(line + b"\n")
        except (OSError, ValueError) as error:  # a ValueError is a file that somebody closed
            self.failure = str(error)
            raise
        self.bytes += len(line) + 1
