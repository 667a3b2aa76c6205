"""No leak (I21): when a run has ended, what the adapters still hold is what a run without faults holds.

The census is the adapters' own; the trace says which workers and devices the runtime has not given up, the journal
which buffers there are. Against: workers and devices that are replaced and not killed, instances that are not closed,
segments reserved twice under other names, leases that nobody waits for any more.
"""

from __future__ import annotations

from collections import Counter

from faults.evidence import Trace
from harness.history import Census
from harness.oracles.judged import Judged
from harness.oracles.verdict import Unjudged

_DEVICES = {"device_spawned": 1, "device_lost": -1}


def leaks(run: Judged) -> list[str]:
    """I21: live workers and devices are those in use, one for each place; segments and instances one each."""
    history = run.history
    if not history.finished:
        raise Unjudged("the run did not finish, so it is not at rest")
    if history.census is None or not history.trace:
        raise Unjudged("there is no census" if history.census is None else "there is no trace")
    found = _workers(run.trace, history.census) + _devices(run.trace, history.census) + _instances(history.census)
    reserved = tuple(range(len(run.config["buffers"])))
    if history.census.segments != reserved:
        found.append(f"segments {history.census.segments} are reserved, the journal configures {reserved}")
    if run.twin is not None and run.twin.census is not None and run.twin.census.segments != history.census.segments:
        found.append(f"segments {history.census.segments} are reserved, the twin's are {run.twin.census.segments}")
    return found + _leases(run.trace)


def _last(trace: Trace) -> int:
    return trace.records[-1].incarnation


def _workers(trace: Trace, census: Census) -> list[str]:
    """Live workers are those that the last incarnation has started and not lost."""
    kept: dict[int, int] = {}
    last = _last(trace)
    for _, record in trace.of("spawned", "lost"):
        if record.kind == "spawned" and record.incarnation == last:
            kept[int(record.fields["worker"])] = int(record.fields["slot"])
        elif record.kind == "lost":
            kept.pop(int(record.fields["worker"]), None)
    found = [f"worker {w} lives at the end, and was given up or never started" for w in census.workers if w not in kept]
    places = Counter(kept[worker] for worker in census.workers if worker in kept)
    return found + [f"{count} workers live at place {slot}" for slot, count in sorted(places.items()) if count > 1]


def _devices(trace: Trace, census: Census) -> list[str]:
    kept: Counter[int] = Counter()
    last = _last(trace)
    for _, record in trace.of(*_DEVICES):
        if record.incarnation == last:
            kept[int(record.fields["process"])] += _DEVICES[record.kind]
    found = [f"device process {p} lives at the end, and was given up" for _, p in census.devices if kept[p] < 1]
    places = Counter(device for device, _ in census.devices)
    return found + [f"{count} processes live of device {d}" for d, count in sorted(places.items()) if count > 1]


def _instances(census: Census) -> list[str]:
    """An agent has at most one instance, at one worker."""
    found = [f"worker {w} holds {count} instances of agent {a}" for w, a, count in census.instances if count > 1]
    places = Counter(agent for _, agent, count in census.instances if count)
    return found + [f"agent {a} has instances at {count} workers" for a, count in sorted(places.items()) if count > 1]


def _leases(trace: Trace) -> list[str]:
    """Whatever was sent has been answered, or given up with its worker."""
    sent: dict[tuple[int, int], int] = {}
    last = _last(trace)
    for index, record in trace.of("sent", "received", "lost"):
        if record.incarnation != last:
            continue
        lease = int(record.fields["worker"]), int(record.fields["lease"])
        if record.kind == "sent":
            sent[lease] = index
        else:
            sent.pop(lease, None)
    return [
        f"trace record {at}: lease {lease} of worker {worker} is open at the end"
        for (worker, lease), at in sent.items()
    ]
