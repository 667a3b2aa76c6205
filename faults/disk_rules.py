"""What shows that a fault of the disk took effect: the runtime met it, and said what it did about it."""

from __future__ import annotations

from collections.abc import Sequence

from faults.evidence import Performed, Rule, Trace, seen
from faults.plan import Fault


def succeeded(trace: Trace, death: int) -> bool:
    """A successor has started, or stopped at what it found.

    The dead one speaks no more; what it said in its last instant does not count.
    """
    return any(seen(trace, kind, {}, death + 1) for kind in ("recovered", "started", "failstop"))


def _waited(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """The first thing that waits for a sync came no sooner than the sync that was late, or the stall, was over."""
    answers = [record.at for kind in ("durable", "started") for record in seen(trace, kind, {}, mine[0].at + 1)]
    return bool(answers) and min(answers) >= mine[0].at + int(mine[0].fields["for"])


def _sync_failed(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    name = mine[0].fields["name"]
    ended = seen(trace, "unsynced", {"file": name}, mine[0].at)
    if ended:
        return succeeded(trace, ended[0].at)
    return bool(seen(trace, "discarded", {"file": name}, mine[0].at))


def _was_full(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    until = mine[0].at + int(mine[0].fields["for"])
    return bool(seen(trace, "full", {}, mine[0].at, until) and seen(trace, "room", {}, until))


def _met(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """Who read the file stopped, threw it away, or cut it where the damage is."""
    first = mine[0]
    name, place = first.fields["name"], int(first.fields.get("at", 0))
    if seen(trace, "failstop", {}, first.at) or _thrown_away(fault, mine, trace):
        return True
    cuts = [int(r.fields["cut"]) for r in seen(trace, "recovered", {}, first.at)] if name == "journal" else []
    size = int(first.fields.get("size", 0))
    return any(cut > 0 and place >= size - cut for cut in cuts)


def _thrown_away(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """That file, or some of it; `unreadable` says that the rest of it was not there to be read."""
    about = {"file": mine[0].fields["name"]}
    return bool(seen(trace, "discarded", about, mine[0].at) or seen(trace, "unreadable", about, mine[0].at))


DISK_RULES: dict[str, Rule] = {
    "disk.read_error": _thrown_away,
    "disk.misdirect": _met,
    "disk.rot": _met,
    "disk.rollback": _met,
    "journal.forge": _met,
    "snapshot.damage": _thrown_away,
    "orchestrator.stall": _waited,
    "disk.slow": _waited,
    "disk.sync_error": _sync_failed,
    "disk.full": _was_full,
}
