"""Whether faults of whole links took effect: one of the frames that they struck was missed, and the trace says so."""

from __future__ import annotations

from collections.abc import Sequence

from faults.evidence import Performed, Rule, Trace, lease_of, seen, sent_again
from faults.plan import Fault


def _released_again(hit: Performed, trace: Trace, until: int | None = None) -> bool:
    return bool(seen(trace, "released", {"block": hit.fields["block"]}, hit.at + 1, until))


def _missed(hit: Performed, trace: Trace, until: int | None = None) -> bool:
    """What was lost or held was sent again; of client's frames only releases leave a record of that."""
    if "block" in hit.fields:
        return _released_again(hit, trace, until)
    return "lease" in hit.fields and sent_again(hit, trace, until)


def _noisy(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    return any(_noised(hit, trace) for hit in mine)


def _noised(hit: Performed, trace: Trace) -> bool:
    verb, late = hit.fields["verb"], hit.at + int(hit.fields["for"])
    if "block" in hit.fields:
        return _released_again(hit, trace, late if verb == "delay" else None)
    stale = seen(trace, "stale", lease_of(hit), late)
    if verb == "duplicate":
        return bool(stale) or len(seen(trace, "received", lease_of(hit), hit.at)) > 1
    if verb == "delay":
        return bool(stale) or sent_again(hit, trace, late)
    garbled = verb == "corrupt" and seen(trace, "garbled", {"worker": hit.fields["worker"]}, hit.at)
    return bool(garbled) or sent_again(hit, trace)


def _clogged(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """A frame that was held is missed while its link stands still, or met as late when it goes on."""
    until = mine[0].at + int(mine[0].fields["for"])
    held = [hit for hit in mine if "held" in hit.fields]
    late = any("lease" in hit.fields and seen(trace, "stale", lease_of(hit), hit.at) for hit in held)
    return late or any(_missed(hit, trace, until) for hit in held)


def _partitioned(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    lost = [hit for hit in mine if "cut" in hit.fields]
    return any("again" in hit.fields for hit in mine) or any(_missed(hit, trace) for hit in lost)


def _stalled(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """A block that the client did not get, or inputs that it lost on its way, came again."""
    struck = [hit for hit in mine if "cut" in hit.fields or "held" in hit.fields]
    return any("again" in hit.fields for hit in mine) or any(_missed(hit, trace) for hit in struck)


def _overtaken(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """Something passed it, and it was missed before it went on, or refused as late."""
    gone_on = next((hit for hit in mine if int(hit.fields.get("overtaken", 0))), None)
    if gone_on is None:
        return False
    if fault.get("direction") == "release":
        return _missed(mine[0], trace, gone_on.at)
    return _missed(mine[0], trace, gone_on.at) or bool(seen(trace, "stale", lease_of(mine[0]), gone_on.at))


def _broken(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    return bool(seen(trace, "lost", {"worker": mine[0].fields["worker"]}, mine[0].at))


PIPE_RULES: dict[str, Rule] = {
    "frame.reorder": _overtaken,
    "link.noise": _noisy,
    "link.clog": _clogged,
    "link.partition": _partitioned,
    "client.stall": _stalled,
    "pipe.errno": _broken,
}
