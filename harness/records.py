"""A file of records that survives its writer: one checksummed JSON line each, on disk before it counts.

Guards against a writer that is killed in mid-line and a file that was damaged: reading stops at the first line that
does not verify, and writing goes on from there. The first line says what the records belong to.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from runtime.errors import Refused

_SUM = 16


def _line(record: Any) -> bytes:
    body = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(body).hexdigest()[:_SUM].encode() + b" " + body + b"\n"


def _read(data: bytes) -> tuple[list[Any], int]:
    """The records of the longest prefix that verifies, and its length in bytes."""
    found, end = [], 0
    for line in data.splitlines(keepends=True):
        body = line[_SUM + 1 : -1]
        if not line.endswith(b"\n") or hashlib.sha256(body).hexdigest()[:_SUM].encode() != line[:_SUM]:
            break
        found.append(json.loads(body))
        end += len(line)
    return found, end


class RecordFile:
    """Appends records to `path`; `known` are those that it held when it was opened.

    Raises Refused when it belongs to something else than `about`, or cannot be written.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        try:
            self._file = open(path, "ab+")  # noqa: SIM115
            self._file.seek(0)
            records, end = _read(self._file.read())
            self._file.truncate(end)
            if records and records[0] != about:
                what = [key for key in about if records[0].get(key) != about[key]]
                where = f"{path}: {', '.join(what)}"
                raise Refused("it was made from something else", where, "resume it with the same, or start anew")
            self.known: list[Any] = records[1:]
            if not records:
                self.append(about)
        except OSError as error:
            raise Refused(f"cannot be written: {error.strerror}", str(path), "choose another folder") from None

    def append(self, record: Any) -> None:
        """On disk when this returns."""
        self._file.write(_line(record))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
