"""Shared buffers: single writer (I14) and no torn read (I15).

I14 compares the store log (what touched the segments) with the trace (who was alive and held a lease). I15 compares
the bytes at the readers' modules with those that the writer's module passed, version by version. Against: stale and
second writers, torn, altered and outdated slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from harness.history import History
from harness.oracles.flows import Execution, place
from harness.oracles.judged import Judged
from harness.oracles.pooled import late_answers
from harness.oracles.verdict import Unjudged
from runtime.state import BUFFER

# At the same nanosecond: what the trace says in its own order, then stores, then losses and crashes.
_SPAWNED, _SENT, _STORED, _RECEIVED, _LOST, _CRASHED = range(6)
_RANKS = {"spawned": _SPAWNED, "sent": _SENT, "received": _RECEIVED, "lost": _LOST}


def single_writer(run: Judged) -> list[str]:
    """I14: no store by a reaped worker; per segment at most one live worker that may store.

    A worker that has answered may repeat its last stores (a repeated frame) while no other has stored there since.
    Stores of the orchestrator itself (worker below 0: repairs of what is published) are not writers' stores.
    No agent is at two workers that live, by the adapter's own record; each incarnation has a higher number. No answer
    counts of a worker that was given up, or that a dead orchestrator had started.
    """
    history = run.history
    if not history.trace or not history.lives:
        raise Unjudged("there is no trace" if not history.trace else "there is no record of the workers' lives")
    found = _fenced(run) + held_once(history) + late_answers(run)
    if not history.stores:
        return found + ([] if not run.config["buffers"] else _no_stores(run))
    ranked = [(i, r, _RANKS[r.kind]) for i, r in run.trace.of(*_RANKS)]
    moments = [(r.at, _LOST if rank == _LOST else _SPAWNED, i, rank) for i, r, rank in ranked]
    moments += [(s.at, _STORED, i, _STORED) for i, s in enumerate(history.stores) if s.worker >= 0]
    moments += [(c.at, _CRASHED, i, _CRASHED) for i, c in enumerate(history.crashes)]
    pool = _Pool()
    for _, _, index, rank in sorted(moments):
        if rank == _STORED:
            store = history.stores[index]
            problem = pool.store(store.segment, store.worker)
            if problem:
                found.append(f"store {index} (segment {store.segment}) by worker {store.worker}: {problem}")
        elif rank == _CRASHED:
            pool.crash(history.crashes[index].incarnation)
        else:
            record = history.trace[index]
            lease = int(record.fields.get("lease", 0))
            pool.move(rank, int(record.fields["worker"]), lease, record.incarnation)
    return found


def _fenced(run: Judged) -> list[str]:
    started = [(index, record.incarnation) for index, record in run.trace.of("started")]
    return [
        f"trace record {index}: incarnation {number} started after incarnation {before}"
        for (_, before), (index, number) in pairwise(started)
        if number <= before
    ]


def held_once(history: History) -> list[str]:
    """A worker that takes over an agent, or a segment, from one that is not dead yet.

    A second execution of a step, which the trace announces, takes nothing over.
    """
    apart = {(r.fields["worker"], r.fields["agent"]) for r in history.trace if r.kind == "checked"}
    died = {life.worker: life.at for life in history.lives if not life.alive}
    found: list[str] = []
    hosts: dict[int, int] = {}  # agent -> the worker that had it last
    for index, event in enumerate(history.guests):
        worker, agent = event.worker, event.agent
        before = hosts.get(agent)
        if before == worker or (apart and (worker, agent) in apart):
            continue
        hosts[agent] = worker
        if before is not None and died.get(before, event.at + 1) > event.at:
            found.append(_both(f"guest event {index}", f"agent {agent}", worker, before))
    owners: dict[int, int] = {}
    for index, store in enumerate(history.stores):
        if store.worker >= 0:
            before = owners.get(store.segment, store.worker)
            owners[store.segment] = store.worker
            if before != store.worker and died.get(before, store.at + 1) > store.at:
                found.append(_both(f"store {index}", f"segment {store.segment}", store.worker, before))
    return found


def _both(where: str, what: str, worker: int, before: int) -> str:
    return f"{where}: {what} at worker {worker}, while worker {before} that had it lives"


class _Pool:
    """Who lives, which leases each one holds, and who stored last into each segment."""

    def __init__(self) -> None:
        self._leases: dict[int, set[int]] = {}
        self._born: dict[int, int] = {}
        self._owner: dict[int, int] = {}

    def move(self, rank: int, worker: int, lease: int, incarnation: int) -> None:
        if rank == _SPAWNED:
            self._leases[worker], self._born[worker] = set(), incarnation
        elif rank == _LOST:
            self._leases.pop(worker, None)
        elif rank == _SENT:
            self._leases.get(worker, set()).add(lease)
        else:
            self._leases.get(worker, set()).discard(lease)

    def crash(self, incarnation: int) -> None:
        """The orchestrator's workers die with it."""
        self._leases = {w: held for w, held in self._leases.items() if self._born[w] > incarnation}

    def store(self, segment: int, worker: int) -> str:
        """What is wrong with this store, "" when nothing is."""
        if worker not in self._leases:
            return "it was reaped before, or never spawned"
        before = self._owner.get(segment, worker)
        self._owner[segment] = worker
        if before == worker:
            return ""
        if self._leases.get(before):
            return f"worker {before}, which stored there before, is alive and holds a lease"
        return "" if self._leases[worker] else f"it holds no lease, and worker {before} has stored there since"


def _no_stores(run: Judged) -> list[str]:
    for block in run.journal.blocks:
        for number, event in enumerate(block.events):
            if event[0] == "published" and event[3]:
                return [f"block {block.block} event {number}: version {event[2]} was published; the store log is empty"]
    return []


def no_torn_read(run: Judged) -> list[str]:
    """I15: each version that a reader's module got is, whole, what the writer's module passed for that version."""
    if not run.crossings:
        raise Unjudged("there is no guest log")
    others = [Execution(index, event) for index, event, accepted in run.repeats if event.given != accepted.given]
    return run.settled(_whole) + (_as_passed(published(run)[0], others) if others else [])


def _whole(run: Judged) -> list[str]:
    """What the accepted crossings got, against what was published, and against the views in the journal."""
    passed, found = published(run)
    found += _as_passed(passed, run.executions.values())
    for step, execution in run.flows.taken:
        if execution is not None:
            got = tuple([(buffer, version) for kind, _, version, buffer, _ in execution.inbox if kind == BUFFER])
            if got != step.views:
                found.append(f"{place(step.at)}: reads {step.views}, guest event {execution.number} got {got}")
    return found


def _as_passed(passed: Mapping[tuple[int, int], tuple[int, bytes, str]], executions: Iterable[Execution]) -> list[str]:
    found = []
    for execution in executions:
        where = f"guest event {execution.number}"
        for kind, _, version, buffer, payload in execution.inbox:
            if kind != BUFFER:
                continue
            source = passed.get((buffer, version))
            if source is None:
                found.append(f"{where}: got version {version} of buffer {buffer}, which was never published")
            elif source[0] >= execution.event.tick:
                found.append(f"{where}: got version {version} of buffer {buffer} before its tick had closed")
            elif source[1] != payload:
                found.append(
                    f"{where}: version {version} of buffer {buffer} is not the {len(source[1])} B "
                    f"that {source[2]} passed"
                )
    return found


def published(run: Judged) -> tuple[dict[tuple[int, int], tuple[int, bytes, str]], list[str]]:
    """(tick, bytes, where) of each (buffer, version), and what is wrong with them.

    The bytes are those that the writer's module passed, the versions those that the journal counts.
    """
    found: list[str] = []
    writes: dict[tuple[int, int], list[tuple[bytes, str]]] = {}
    for step, execution in run.flows.taken:
        if execution is None or step.status != "ok":
            continue
        for number, call in enumerate(execution.event.calls):
            if call.op == "buffer" and call.data is not None:
                where = f"guest event {execution.number} call {number}"
                writes.setdefault((step.tick, call.target), []).append((call.data, where))
    passed: dict[tuple[int, int], tuple[int, bytes, str]] = {}
    newest: dict[int, int] = {}
    for block in run.journal.blocks:
        for number, event in enumerate(block.events):
            if event[0] != "published":
                continue
            _, buffer, version, length = event[:4]
            written = writes.get((block.tick, buffer))
            where = f"block {block.block} event {number}"
            if version != newest.get(buffer, 0) + 1:
                found.append(f"{where}: version {version} of buffer {buffer} follows {newest.get(buffer, 0)}")
            newest[buffer] = version
            if not written:
                found.append(f"{where}: version {version} of buffer {buffer} was written by nobody")
                continue
            data, source = written.pop(0)
            if len(data) != length:
                found.append(f"{where}: buffer {buffer} version {version} has {length} B, {source} passed {len(data)}")
            passed[buffer, version] = (block.tick, data, source)
    return passed, found
