"""What has been run of an enumeration, as it goes: interrupted anywhere, the next call runs only what is left.

One JSON line per run, written and flushed when the run has ended. A file is named by all that its runs depend on (the
build, the harness, the points), so a changed build starts anew. Reading stops at the first line that is not whole: what
follows a torn line is run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec

from harness import builds
from harness.campaign import Ended
from harness.enumeration import Point, Target
from runtime.errors import Refused

FOLDER = "progress"
NAME_LENGTH = 24
OURS = ("harness", "faults", "scenarios")


def key(target: Target, points: Sequence[Point]) -> str:
    """Hex digits over the runtime's and the harness's sources and all points."""
    digest = hashlib.sha256(builds.identity().encode())
    for folder in OURS:
        for path in sorted((builds.ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    digest.update(repr(target).encode())
    for point in points:
        digest.update(f"{point}\n".encode())
    return digest.hexdigest()[:NAME_LENGTH]


class ProgressFile:
    """The runs of one enumeration that have ended; raises Refused where its folder cannot be written."""

    def __init__(self, store: Path, name: str, fresh: bool = False) -> None:
        self._path = store / FOLDER / f"{name}.jsonl"
        self.ended: dict[int, Ended] = {}
        self._file: IO[bytes] | None = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            whole = self._read() if self._path.exists() and not fresh else 0
            self._file = self._path.open("ab")
            self._file.truncate(whole)
        except OSError as error:
            raise Refused(f"cannot be written: {error.strerror}", str(store), "give another --store") from None

    def _read(self) -> int:
        """Take over the whole lines; returns where they end."""
        end = 0
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                one = msgspec.json.decode(line, type=Ended)
            except msgspec.MsgspecError:
                break
            if not line.endswith(b"\n"):
                break
            self.ended[one.row.run] = one
            end += len(line)
        return end

    def add(self, one: Ended) -> None:
        assert self._file is not None
        self.ended[one.row.run] = one
        self._file.write(msgspec.json.encode(one) + b"\n")
        self._file.flush()

    def close(self, complete: bool) -> None:
        """A complete enumeration leaves nothing behind: the next call is to run it, not to read it."""
        assert self._file is not None
        self._file.close()
        if complete:
            self._path.unlink(missing_ok=True)
