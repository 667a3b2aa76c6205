"""Which lines of the runtime a run executes, and where in it an exception arose: what blame by spectrum rests on.

The runtime is one deterministic thread in a simulation, so two runs that execute other lines do so for a reason in
their plans. Only the package `runtime` is traced, whichever build it comes from; tracing changes nothing but speed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import runtime
from harness import builds

PORTS = tuple(f"{builds.ROOT / name}{os.sep}" for name in ("harness", "faults"))
FOLDER = str(Path(runtime.__file__ or "").resolve().parent)

Line = tuple[str, int]  # (module, line), the module as `module_of` names it


class Spectrum(NamedTuple):
    """`lines` of the runtime that were executed; `raised` is the innermost one of the last exception, if any.

    An exception that a port raised only passed through the runtime: it has no such line.
    """

    lines: frozenset[Line]
    raised: Line | None


def module_of(path: str) -> str:
    """A file of the runtime as its component is called: `pool`, `wasm.guest`; "" for any other file."""
    if not path.startswith(FOLDER):
        return ""
    name = path[len(FOLDER) + 1 :].removesuffix(".py").replace("/", ".").replace("\\", ".")
    return name.removesuffix(".__init__") if name != "__init__" else ""


def _of_a_port(at: TracebackType | None) -> bool:
    """Whether an exception arose outside of the runtime, in what stands behind its ports."""
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return at is not None and any(at.tb_frame.f_code.co_filename.startswith(folder) for folder in PORTS)


def traced(action: Callable[[], Any]) -> tuple[Any, Spectrum]:
    """What `action` returns, and the spectrum of all that it ran."""
    seen: set[tuple[str, int]] = set()
    ours: dict[str, bool] = {}
    raised: list[tuple[BaseException | None, Line | None]] = []

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        elif event == "exception" and (not raised or raised[-1][0] is not argument[1]):
            mine = (frame.f_code.co_filename, frame.f_lineno)
            raised.append((argument[1], None if _of_a_port(argument[2]) else mine))
            del raised[:-1]  # an exception leaves from the innermost frame first; only the last one is of interest
        return local

    def called(frame: FrameType, event: str, argument: Any) -> Any:
        path = frame.f_code.co_filename
        known = ours.get(path)
        if known is None:
            known = ours[path] = bool(module_of(path))
        return local if known else None

    before = sys.gettrace()
    sys.settrace(called)
    try:
        result = action()
    finally:
        sys.settrace(before)
    lines = frozenset((module_of(path), line) for path, line in seen)
    last = raised[-1][1] if raised else None
    place = (module_of(last[0]), last[1]) if last else None
    return result, Spectrum(lines, place)
