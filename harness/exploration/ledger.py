"""What an exploration has found, as a file that is whole at every moment and goes on where it was left.

One line per thing found, appended: a checksum, then JSON; each line has its number, so that one that is gone or out of
place shows. A last line that was cut off by a kill is cut away when the file is read; damage anywhere else is refused,
as nobody knows what else is wrong then. Nothing in it is executed, and a case is a plain name below the file's folder.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections import Counter
from pathlib import Path

import google_crc32c
import msgspec
from msgspec import Struct

from harness import fingerprint
from harness.exploration.shapes import Shape
from runtime.errors import Refused

VERSION = 1
FILE = "findings.jsonl"
FILE_BYTES_MAX = 1 << 28
LINE_BYTES_MAX = 1 << 20
CASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Began(Struct, frozen=True, tag_field="is", tag="began", forbid_unknown_fields=True):
    """The first line: what is explored. Another scenario, build or version is another exploration."""

    scenario: str
    build: str
    version: int = VERSION


class Pair(Struct, frozen=True, tag_field="is", tag="pair", forbid_unknown_fields=True):
    """A pair (state x fault) that was met for the first time, and the shape that met it."""

    pair: str
    shape: Shape | None = None


class Progress(Struct, frozen=True, tag_field="is", tag="progress", forbid_unknown_fields=True):
    """Runs and rounds since the last such line, and how often each known pair was met in them."""

    runs: int
    rounds: int
    counts: dict[str, int]
    repeats: int = 0


class Finding(Struct, frozen=True, kw_only=True, tag_field="is", tag="finding", forbid_unknown_fields=True):
    """A failure. `again` of ten runs of its case failed by the same oracle; 0 while it is not `minimal`.

    `instead` names the case that this line takes the place of. `run` counts all runs of the exploration.
    """

    fingerprint: str
    case: str
    run: int
    minimal: bool
    again: int = 0
    inputs: int = 0
    faults: tuple[str, ...] = ()
    instead: str = ""


class Known(Struct, frozen=True, tag_field="is", tag="known", forbid_unknown_fields=True):
    """A failure that turned out to be one that is known: its case is gone."""

    fingerprint: str
    instead: str


Line = Began | Pair | Progress | Finding | Known


class _Numbered(Struct, frozen=True, forbid_unknown_fields=True):
    n: int
    line: Line


class State(Struct):
    """All that the lines say together."""

    runs: int = 0
    rounds: int = 0
    repeats: int = 0
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    corpus: list[Shape] = []
    findings: list[Finding] = []

    def add(self, line: Line) -> None:
        if isinstance(line, Pair):
            self.counts[line.pair] += 0
            if line.shape is not None:
                self.corpus.append(line.shape)
        elif isinstance(line, Progress):
            self.runs += line.runs
            self.rounds += line.rounds
            self.repeats += line.repeats
            self.counts.update(line.counts)
        elif isinstance(line, Finding | Known):
            self.findings = [one for one in self.findings if not line.instead or one.case != line.instead]
            if isinstance(line, Finding):
                self.findings.append(line)


class Ledger:
    """The file in `folder`, open for one exploration at a time; `state` is what it says so far.

    Raises Refused for a file that is damaged, of something else, or in use.
    """

    def __init__(self, folder: Path, scenario: str, build: str) -> None:
        self._path = folder / FILE
        self.state = State()
        self.cut = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise Refused(
                "another exploration is writing there", str(self._path), "wait, or give another --store"
            ) from None
        except OSError as error:
            raise Refused(f"cannot be written: {error.strerror}", str(self._path), "give another --store") from None
        self._n = 0
        self._read(scenario, build)

    def close(self) -> None:
        self._file.close()

    def add(self, line: Line, durable: bool = False) -> None:
        """Append a line; it survives this process at once, and the machine where it is `durable`."""
        body = msgspec.json.encode(_Numbered(self._n, line))
        self._file.write(b"%08x %b\n" % (google_crc32c.value(body), body))
        self._file.flush()
        if durable:
            os.fsync(self._file.fileno())
        self._n += 1
        self.state.add(line)

    def _read(self, scenario: str, build: str) -> None:
        self._file.seek(0, os.SEEK_END)
        if self._file.tell() > FILE_BYTES_MAX:
            raise self._refused(f"more than {FILE_BYTES_MAX} bytes")
        self._file.seek(0)
        data = self._file.read()
        whole = data.rfind(b"\n") + 1
        lines = data[:whole].splitlines()
        for number, raw in enumerate(lines):
            line = self._line(raw, number)
            self._check(line, number, scenario, build)
            self.state.add(line)
        self._n = len(lines)
        if whole < len(data):
            self.cut = len(data) - whole
            self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)
        if not lines:
            self.add(Began(scenario, build), durable=True)

    def _line(self, raw: bytes, number: int) -> Line:
        checksum, _, body = raw.partition(b" ")
        if len(raw) > LINE_BYTES_MAX or checksum != b"%08x" % google_crc32c.value(body):
            raise self._refused(f"line {number + 1} is damaged")
        try:
            found = msgspec.json.decode(body, type=_Numbered)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            what = " ".join(ascii(str(error))[1:-1].split())[:120]
            raise self._refused(f"line {number + 1} is no finding: {what}") from None
        if found.n != number:
            raise self._refused(f"line {number + 1} says that it is number {found.n + 1}")
        return found.line

    def _check(self, line: Line, number: int, scenario: str, build: str) -> None:
        where = f"line {number + 1}"
        if (number == 0) != isinstance(line, Began):
            raise self._refused(f"{where} begins an exploration, or the first one does not")
        if isinstance(line, Began) and line != Began(scenario, build):
            raise self._refused("it is an exploration of another scenario, build or version")
        if isinstance(line, Finding):
            if not CASE.fullmatch(line.case):
                raise self._refused(f"{where} has a case that is no plain name")
            if fingerprint.parse(line.fingerprint) is None:
                raise self._refused(f"{where} has no fingerprint")
        if isinstance(line, Progress) and min(line.runs, line.rounds, line.repeats, *line.counts.values(), 0) < 0:
            raise self._refused(f"{where} has a negative count")

    def _refused(self, what: str) -> Refused:
        self._file.close()
        return Refused(what, str(self._path), "move it away to begin anew, or give another --store")
