"""Whether faults of the clock, of calls and of the order of arrival took effect: the runtime's own record says so.

A clock that jumped counts when the runtime noticed it, one that stood or drifted when a time fell due by it that the
runtime waits for; a call counts only while a tick is open, an order only if two answers were met the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence

from faults.evidence import Performed, Rule, Trace, seen
from faults.kind import MS
from faults.plan import Fault

SOON = 20 * MS  # a lease: who waits longer is called in between


def leaps(fault: Fault) -> int:
    """How often it makes the clock leap forwards: each ends at most one wait before its time."""
    if fault.kind == "clock.strobe":
        return 1 + fault.number("for") // (2 * fault.number("period"))
    if fault.kind == "clock.jump":
        return int(fault.get("way") == "forwards")
    if fault.kind == "clock.drift":
        return int(fault.get("how") in ("freeze", "year_2038"))
    return 0


def _told(trace: Trace, since: int, until: int, sign: int) -> bool:
    return any(int(record.fields["ns"]) * sign > 0 for record in seen(trace, "clock", {}, since, until))


def _jumped(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    sign = 1 if fault.get("way") == "forwards" else -1
    return _told(trace, mine[0].at, mine[0].at + SOON, sign)


def _strobed(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    until = mine[0].at + fault.number("for") + SOON
    return _told(trace, mine[0].at, until, 1) and _told(trace, mine[0].at, until, -1)


def _drifted(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    how, since = fault.get("how"), mine[0].at
    if how in ("leap_second", "year_2038"):
        return _told(trace, since, since + SOON, -1 if how == "leap_second" else 1)
    caught_up = how == "freeze" and fault.get("catch_up") == "yes"
    end = since + fault.number("for")
    return any("rang" in one.fields for one in mine) or (caught_up and _told(trace, end, end + SOON, 1))


def _called(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """The tick was open when it was called again; or what had come was found only by the next call."""
    if fault.get("how") == "skipped":
        at_last = next((one.at for one in mine if "called" in one.fields), None)
        return at_last is not None and any(mine[0].at < record.at <= at_last for record in trace.records)
    tick = mine[0].fields.get("tick", fault.number("tick"))
    opened = any(record.tick == tick for record in seen(trace, "opened", {}, 0, mine[0].at))
    return opened and any(record.tick == tick for record in seen(trace, "committed", {}, mine[0].at))


def _permuted(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    return any(_the_other_way_round(one, trace) for one in mine)


def _the_other_way_round(one: Performed, trace: Trace) -> bool:
    kind, whose = ("received", "worker") if one.fields["port"] == "workers" else ("infer_received", "process")
    places = []
    for name in ("first", "second"):
        about = {whose: one.fields[name], "lease": one.fields[f"{name}_lease"]}
        met = (i for i, r in trace.of(kind) if r.at >= one.at and about.items() <= r.fields.items())
        places.append(next(met, -1))
    return 0 <= places[0] < places[1]


CLOCK_RULES: dict[str, Rule] = {
    "clock.jump": _jumped,
    "clock.strobe": _strobed,
    "clock.drift": _drifted,
    "tick.repeat": _called,
    "scheduler.permute": _permuted,
}
