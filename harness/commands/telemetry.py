"""The option `--telemetry FILE`: what happens in a run, as a file that cannot change it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click
from pydantic import BaseModel, ConfigDict, Field

from runtime import usage
from runtime.errors import Refused
from runtime.telemetry_file import TelemetryFile

telemetry_option = click.option(
    "--telemetry",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what happens, step by step, as JSON lines (docs/telemetry.md).",
)


@contextmanager
def telemetry_to(path: Path | None) -> Iterator[TelemetryFile | None]:
    """A hook that writes there, None without a path. A file that fails in mid-run is told of, and costs nothing else.

    Raises Refused for a place where no file can be made.
    """
    if path is None:
        yield None
        return
    try:
        file = path.open("wb")
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", str(path), "give another --telemetry") from None
    hook = TelemetryFile(file, usage.read)
    try:
        yield hook
    finally:
        closed = _closed(file)
        lost = hook.failure or closed or ("it is full" if hook.cut else "")
        print(f"telemetry: {hook.lines} lines in {path}" + (f", then {lost}" if lost else ""), file=sys.stderr)


def _closed(file: IO[bytes]) -> str:
    """Why the file could not be written to its end, or ""."""
    try:
        file.close()
    except OSError as error:
        return str(error)
    return ""


class TelemetryLine(BaseModel):
    """One line of the file; the first is a header, {"telemetry": 1, "versions": {…}}. Times in ns."""

    model_config = ConfigDict(extra="forbid")

    at: int = Field(ge=0)
    fields: dict[str, int | str]
    incarnation: int = Field(ge=0)
    kind: str
    tick: int = Field(ge=-1)
