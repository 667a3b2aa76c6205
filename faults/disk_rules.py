"""What shows that a fault of the disk took effect: the runtime met it, and said what it did about it."""

from __future__ import annotations

from collections.abc import Sequence

from faults.evidence import Performed, Rule, Trace, seen
from faults.plan import Fault


def succeeded(trace: Trace, death: int) -> bool:
    """A successor has started. The dead one speaks no more; what it said in its last instant does not count."""
    return bool(seen(trace, "recovered", {}, death + 1) or seen(trace, "started", {}, death + 1))


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


DISK_RULES: dict[str, Rule] = {
    "orchestrator.stall": _waited,
    "disk.slow": _waited,
    "disk.sync_error": _sync_failed,
    "disk.full": _was_full,
}
