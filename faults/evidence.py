"""What shows that a fault took effect: what a wrapper carried out, and the records of a trace that answer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


Trace = Sequence[Record]
Rule = Callable[[Fault, Sequence[Performed], Trace], bool]


def seen(trace: Trace, kind: str, match: Mapping[str, int | str], since: int, until: int | None = None) -> list[Record]:
    """Records of a kind in [since, until] whose fields are equal to those of `match`."""
    return [
        record
        for record in trace
        if record.kind == kind
        and since <= record.at
        and (until is None or record.at <= until)
        and all(record.fields.get(name) == value for name, value in match.items())
    ]


def lease_of(injection: Performed) -> dict[str, int | str]:
    return {"worker": injection.fields["worker"], "lease": injection.fields["lease"]}


def sent_again(first: Performed, trace: Trace, until: int | None = None) -> bool:
    """Its lease was resent or lost. A resend in the same instant is the frame that was hit, not the answer to it."""
    lease = lease_of(first)
    return bool(seen(trace, "resent", lease, first.at + 1, until) or seen(trace, "lost", lease, first.at, until))
