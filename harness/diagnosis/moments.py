"""When what an oracle speaks of happened: of several guarantees that are broken, the first one leads to the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from harness.history import History

_NAMED = re.compile(r"\b(guest event|trace record|receipt|store|device event|block) (\d+)")


def earliest(lines: Sequence[str], history: History) -> int | None:
    """The virtual time (ns) of the earliest record that the lines name first; None where they name none."""
    times = [time for line in lines if (time := _moment(line, history)) is not None]
    return min(times, default=None)


def _moment(line: str, history: History) -> int | None:
    """Of the first record that is named: the others are what it is compared with."""
    match = _NAMED.search(line)
    return _TIMES[match[1]](history, int(match[2])) if match else None


def _committed(history: History, block: int) -> int | None:
    return next((r.at for r in history.trace if r.kind == "committed" and r.fields.get("block") == block), None)


def _listed(name: str) -> Callable[[History, int], int | None]:
    def time(history: History, index: int) -> int | None:
        records = getattr(history, name)
        return int(records[index].at) if index < len(records) else None

    return time


_TIMES: dict[str, Callable[[History, int], int | None]] = {
    "guest event": _listed("guests"),
    "trace record": _listed("trace"),
    "receipt": _listed("receipts"),
    "store": _listed("stores"),
    "device event": _listed("inferences"),
    "block": _committed,
}
