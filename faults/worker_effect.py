"""Whether a fault of a worker took effect: what was done to it, answered by the runtime's own record (`faults.effect`).

A step that is poisoned counts by its decree, a silent wrong result by the disagreement that found it; a late writer
only if what it wrote was met, and thrown away, when another worker had its step.
"""

from __future__ import annotations

from collections.abc import Sequence

from faults.evidence import Performed, Rule, Trace, seen
from faults.plan import Fault


def lost(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    return bool(seen(trace, "lost", {"worker": mine[0].fields["worker"]}, mine[0].at))


def _looped(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """Every one that was hit is lost; a loop is more than one death, of workers that were started in it."""
    if not all(seen(trace, "lost", {"worker": one.fields["worker"]}, one.at) for one in mine):
        return False
    if fault.number("times") == 1:
        return True
    return any(seen(trace, "spawned", {"worker": one.fields["worker"]}, mine[0].at) for one in mine[1:])


def _zombie(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """`woken` says that its step went to another: what it wrote is met then, and not before."""
    woken = next((one for one in mine if "woken" in one.fields), None)
    if woken is None:
        return False
    lease = {"worker": mine[0].fields["worker"], "lease": mine[0].fields["lease"]}
    return bool(seen(trace, "stale", lease, woken.at))


def _not_started(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    told = all(seen(trace, "spawn_failed", {"worker": one.fields["worker"]}, one.at, one.at) for one in mine)
    return told and bool(seen(trace, "spawned", {}, mine[-1].at + 1))


def found_wrong(one: Performed, trace: Trace) -> bool:
    """Whether this one wrong computation was found: its worker's answer to that step stood alone."""
    about = {"worker": one.fields["worker"], "agent": one.fields["agent"]}
    return any(record.tick == one.fields["tick"] for record in seen(trace, "disagreed", about, one.at))


def _miscomputed(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    return any(found_wrong(one, trace) for one in mine)


def _decreed(reason: str) -> Rule:
    def rule(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
        decrees = seen(trace, "decreed", {"agent": fault.number("agent"), "reason": reason}, mine[0].at)
        return any(record.tick == fault.number("tick") for record in decrees)

    return rule


WORKER_RULES: dict[str, Rule] = {
    "worker.oom": lost,
    "worker.crash_loop": _looped,
    "worker.zombie": _zombie,
    "worker.spawn_fail": _not_started,
    "worker.wrong": _miscomputed,
    "task.poison": _decreed("decree:lost_workers"),
    "task.hang": _decreed("decree:deadline"),
    "step.cancel": _decreed("decree:cancelled"),
}
