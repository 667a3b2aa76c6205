"""What shows that a fault took effect: what a wrapper carried out, and the records of a trace that answer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Protocol

from faults.injector import Fields
from faults.plan import Fault
from runtime.telemetry import Record


class Performed(Protocol):
    """One injection: when (ns), which fault of the plan, what it touched."""

    @property
    def at(self) -> int: ...

    @property
    def fault(self) -> int: ...

    @property
    def fields(self) -> Fields: ...


class Trace:
    """A trace by kinds of record: who asks is after few of the many."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self._kinds: dict[str, list[tuple[int, Record]]] = {}
        for place, record in enumerate(records):
            self._kinds.setdefault(record.kind, []).append((place, record))

    @classmethod
    def over(cls, records: Trace | Sequence[Record]) -> Trace:
        """These records by kind; a trace is that already."""
        return records if isinstance(records, Trace) else cls(records)

    def of(self, *kinds: str) -> list[tuple[int, Record]]:
        """The records of these kinds, each with its place in the trace, in order."""
        here = [self._kinds[kind] for kind in kinds if kind in self._kinds]
        if len(here) < 2:
            return here[0] if here else []
        return sorted([item for one in here for item in one], key=itemgetter(0))


Rule = Callable[[Fault, Sequence[Performed], Trace], bool]


def seen(trace: Trace, kind: str, match: Mapping[str, int | str], since: int, until: int | None = None) -> list[Record]:
    """Records of a kind in [since, until] whose fields are equal to those of `match`."""
    return [
        record
        for _, record in trace.of(kind)
        if since <= record.at
        and (until is None or record.at <= until)
        and all(record.fields.get(name) == value for name, value in match.items())
    ]


def lease_of(injection: Performed) -> dict[str, int | str]:
    return {"worker": injection.fields["worker"], "lease": injection.fields["lease"]}


def sent_again(first: Performed, trace: Trace, until: int | None = None) -> bool:
    """Its lease was resent or lost. A resend in the same instant is the frame that was hit, not the answer to it."""
    lease = lease_of(first)
    return bool(seen(trace, "resent", lease, first.at + 1, until) or seen(trace, "lost", lease, first.at, until))
