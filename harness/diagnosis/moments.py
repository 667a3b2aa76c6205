"""When what an oracle speaks of happened: of several guarantees that are broken, the first one leads to the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from harness.history import History

_NAMED = re.compile(r"\b(guest event|trace record|receipt|store|device event|block) (\d+)")


class Moment(NamedTuple):
    """The virtual time (ns) of record `number` of a list; of one list, an earlier number is earlier."""

    time: int
    records: str
    number: int


def earliest(lines: Sequence[str], history: History) -> Moment | None:
    """That of the earliest record that the lines name first; None where they name none."""
    return min((moment for line in lines if (moment := _moment(line, history)) is not None), default=None)


def leading(moments: Mapping[str, Moment | None]) -> tuple[str, ...]:
    """Who speaks of the first moment: of one time, but not of a later record of the same list; () for no moment."""
    known = {name: moment for name, moment in moments.items() if moment is not None}
    first = min((moment.time for moment in known.values()), default=-1)
    numbers: dict[str, int] = {}
    for moment in known.values():
        if moment.time == first:
            numbers[moment.records] = min(moment.number, numbers.get(moment.records, moment.number))
    return tuple(name for name, m in known.items() if m.time == first and m.number == numbers[m.records])


def _moment(line: str, history: History) -> Moment | None:
    """Of the first record that is named: the others are what it is compared with."""
    match = _NAMED.search(line)
    time = _TIMES[match[1]](history, int(match[2])) if match else None
    return Moment(time, match[1], int(match[2])) if match and time is not None else None


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
