"""What a long command has done, as it goes: interrupted anywhere, the next call does only what is left.

One JSON line per result, written and flushed when it is there. A file is named by all that its results depend on (the
build, the harness, what was asked), so a changed build starts anew. Reading stops at the first line that is not whole:
what follows a torn line is done again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Generic, TypeVar

import msgspec

from harness import builds
from harness.campaign import Ended
from harness.enumeration import Point, Target
from runtime.errors import Refused

FOLDER = "progress"
NAME_LENGTH = 24
OURS = ("harness", "faults", "scenarios")


T = TypeVar("T")


def key_of(lines: Iterable[str]) -> str:
    """Hex digits over the runtime's and the harness's sources, and over what was asked, line by line."""
    digest = hashlib.sha256(builds.identity().encode())
    for folder in OURS:
        for path in sorted((builds.ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()[:NAME_LENGTH]


def key(target: Target, points: Sequence[Point]) -> str:
    """The name of an enumeration's file: over the target and all points."""
    return key_of([repr(target), *(f"{point}\n" for point in points)])


class KeptLines(Generic[T]):
    """Values of `kind` as lines of a file below `store`; raises Refused where that cannot be written."""

    def __init__(self, store: Path, name: str, kind: type[T], fresh: bool = False) -> None:
        self._path = store / FOLDER / f"{name}.jsonl"
        self._kind = kind
        self.values: list[T] = []
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
                one = msgspec.json.decode(line, type=self._kind)
            except msgspec.MsgspecError:
                break
            if not line.endswith(b"\n"):
                break
            self.values.append(one)
            end += len(line)
        return end

    def add(self, one: T) -> None:
        assert self._file is not None
        self.values.append(one)
        self._file.write(msgspec.json.encode(one) + b"\n")
        self._file.flush()

    def close(self, complete: bool) -> None:
        """What is complete leaves nothing behind: the next call is to do it, not to read it."""
        assert self._file is not None
        self._file.close()
        if complete:
            self._path.unlink(missing_ok=True)


class ProgressFile(KeptLines[Ended]):
    """The runs of one enumeration; `ended` has them by number."""

    def __init__(self, store: Path, name: str, fresh: bool = False) -> None:
        super().__init__(store, name, Ended, fresh)
        self.ended = {one.row.run: one for one in self.values}

    def add(self, one: Ended) -> None:
        super().add(one)
        self.ended[one.row.run] = one
