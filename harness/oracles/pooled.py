"""The pool's promises: restarts within budget (I31), answers of the living alone (part of I14), leases (part of I19).

The trace says what the pool did; workers' births and deaths are the adapter's record, crashes the disk's, failures and
restarts the journal's and the final state's. Against: late writers of this or an earlier incarnation, leases that never
grow, crash loops that become storms, lost workers that are taken for failures of an agent.
"""

from __future__ import annotations

from collections import Counter

from harness.history import History, Life
from harness.oracles.grouped import Groups, within_budgets
from harness.oracles.judged import Judged
from harness.oracles.verdict import Unjudged
from runtime.physical import RESPAWN_DOUBLINGS, Physical
from runtime.recovery import DECREES
from runtime.telemetry import Record

MAX_DOUBLINGS = 20
RESENDS = 3  # a wait, what a call may be late by, and one more: a lease as long as these has a resend in it
WORKERS_OF_ONE = 1_000_000  # a worker's number is its incarnation's times this, and which one it is
Place = tuple[int, int]  # incarnation, slot


def late_answers(run: Judged) -> list[str]:
    """Answers that count though their worker was given up, or was started before its orchestrator was."""
    history = run.history
    born = {life.worker: life.at for life in history.lives if life.alive}
    last = max((crash.at for crash in history.crashes), default=-1)
    lost: dict[int, int] = {}
    found: list[str] = []
    for index, record in run.trace.of("lost", "received"):
        worker = int(record.fields["worker"])
        if record.kind == "lost":
            lost[worker] = index
        elif worker in lost or worker not in born or born[worker] < last:
            since = max((crash.at for crash in history.crashes if crash.at < record.at), default=-1)
            where = f"trace record {index}: an answer of worker {worker} counts, "
            if worker in lost:
                found.append(where + f"which was given up in trace record {lost[worker]}")
            elif worker not in born:
                found.append(where + "which was never started")
            elif born[worker] < since:
                found.append(where + f"which was started at {born[worker]}, before the orchestrator died at {since}")
    return found


def hasty_decrees(run: Judged) -> list[str]:
    """I28's part: decrees that were in force in a committed block before a sync of their file had ended well."""
    history, found = run.history, list[str]()
    waiting: dict[tuple[int, int], int] = {}
    if not run.trace.of("decreed"):
        return []
    for index, record in run.trace.of("decreed", "committed"):
        step = (record.incarnation, record.tick)
        if record.kind == "decreed":
            waiting[step] = index
        elif record.kind == "committed" and step in waiting:
            since = history.trace[waiting.pop(step)].at
            synced = [s for s in history.syncs if s.good and s.name.startswith(DECREES) and since < s.at <= record.at]
            if not synced:
                found.append(f"trace record {index}: tick {record.tick} holds a decree of {since} that was not durable")
    return found


def leases(run: Judged) -> list[str]:
    """I19's part: a lease that follows n expiries in a row is 2**n times as long, and no step loses too many workers.

    Not judged where steps run a second time: what a place has in hand may then be another step than before. Where the
    machine's clock was wrong a lease may be shorter, as a leap ends one wait before its time: but a resend comes first.
    """
    history = run.history
    if history.plan.physical.check_ppm or not run.trace.of("lost"):
        return []
    account = _Leases(history.plan.physical, mistimed(history))
    for index, record in run.trace.of(*_OF_LEASES):
        account.take(index, record)
    return account.found


def mistimed(history: History) -> bool:
    """Whether a fault struck the machine's clock."""
    struck = {one.fault for one in history.injections}
    return any(f.kind.startswith("clock.") for index, f in enumerate(history.plan.faults) if index in struck)


_OF_LEASES = ("spawned", "started", "resized", "opened", "sent", "resent", "received", "decreed", "lost")


class _Leases:
    """Per place of the pool, within one tick: expiries in a row, and losses in a row of a step that was alone."""

    def __init__(self, physical: Physical, mistimed: bool) -> None:
        self._physical, self._mistimed = physical, mistimed
        self._size = physical.workers  # of the pool as it is
        self._resent: set[int] = set()  # workers whose frame was sent again; membership only
        self._places: dict[int, Place] = {}
        self._sent: dict[int, tuple[int, int]] = {}  # worker -> when, how many orders
        self._expired: Counter[Place] = Counter()
        self._alone: Counter[Place] = Counter()
        self.found: list[str] = []

    def take(self, index: int, record: Record) -> None:
        worker = int(record.fields.get("worker", -1))
        place = self._places.get(worker, (-1, -1))
        if record.kind == "spawned":
            self._places[worker] = (record.incarnation, int(record.fields["slot"]))
        elif record.kind in ("started", "resized"):
            self._size = int(record.fields.get("workers", self._physical.workers))
        elif record.kind == "opened":
            self._expired, self._alone = Counter(), Counter()
        elif record.kind == "received":
            self._expired[place] = self._alone[place] = 0
        elif record.kind == "decreed":
            # The step is over: what its place is sent next is another step, which has lost no lease yet.
            ended = (record.incarnation, int(record.fields["agent"]) % self._size)
            self._alone[ended] = self._expired[ended] = 0
        elif record.kind == "resent":
            self._resent.add(worker)
        elif record.kind == "sent":
            self._resent.discard(worker)
            self._sent[worker] = (record.at, int(record.fields["orders"]))
            if self._alone[place] >= self._physical.lost_workers_max:
                lost = self._alone[place]
                self.found.append(f"trace record {index}: a step is sent again that has taken {lost} workers, alone")
        elif record.kind == "lost" and record.fields.get("lease") and worker in self._sent:
            self._lost(index, record, place, *self._sent[worker])

    def _lost(self, index: int, record: Record, place: Place, sent: int, orders: int) -> None:
        cause = record.fields["cause"]
        if orders == 1 and cause in ("exit", "lease"):
            self._alone[place] += 1
        if cause == "lease":
            least = self._physical.lease_ns << min(self._expired[place], MAX_DOUBLINGS)
            if self._mistimed:
                if int(record.fields["worker"]) not in self._resent and least >= RESENDS * self._physical.resend_ns:
                    self.found.append(f"trace record {index}: a lease ran out, and its frame was never sent again")
            elif record.at - sent < least:
                self.found.append(f"trace record {index}: a lease ran out after {record.at - sent} ns, not {least}")
            self._expired[place] += 1


def restart_budget(run: Judged) -> list[str]:
    """I31: an agent restarts for its failures alone, as often and as late as configured; workers never in a storm."""
    history = run.history
    if not history.trace or not history.lives:
        raise Unjudged("there is no trace" if not history.trace else "there is no record of the workers' lives")
    found = run.settled_by_journal(_in_windows) + _as_started(run) + _backed_off(run)
    return found + (_counted(run) if history.finished else [])


def _in_windows(run: Judged) -> list[str]:
    """Per agent, or group: at most `max_restarts` in any `window_ticks`, each `backoff_ticks` after its failure."""
    most, window = run.config["max_restarts"], run.config["window_ticks"]
    backoff = max(1, run.config["backoff_ticks"])
    groups = Groups(run.config)
    found = within_budgets(run.config, run.journal.blocks)
    restarts: dict[int, list[int]] = {}
    failed: dict[int, int] = {}
    for block in run.journal.blocks:
        for item in block.inputs:
            if item["action"]["do"] == "operate" and item["action"]["action"] == "release":
                restarts.pop(item["action"]["agent"], None)
        for event in block.events:
            agent = event[1] if len(event) > 1 else -1
            if event[0] == "failed":
                failed[agent] = block.tick
            elif event[0] == "restart" and not groups.has(agent):
                # The budget is spent when the failure is met, not when the agent is back.
                since = failed.get(agent, -1)
                if since < 0 or block.tick - since < backoff:
                    found.append(f"block {block.block}: agent {agent} restarts in tick {block.tick}, failed in {since}")
                mine = [tick for tick in restarts.get(agent, []) if tick > since - window]
                if len(mine) >= most:
                    found.append(f"block {block.block}: agent {agent} restarts after {len(mine)} in {window} ticks")
                restarts[agent] = [*mine, since]
    return found


def _counted(run: Judged) -> list[str]:
    """The restarts that the final state counts are of ticks in which the journal has that agent fail."""
    failures: dict[int, list[int]] = {}
    for block in run.journal.blocks:
        for event in block.events:
            if event[0] == "failed":
                failures.setdefault(event[1], []).append(block.tick)
    return [
        f"the final state counts a restart of agent {agent} in tick {tick}, in which it did not fail"
        for agent, state in enumerate(run.final.agents)
        for tick in state.restarts
        if tick not in failures.get(agent, [])
    ]


def _as_started(run: Judged) -> list[str]:
    """The adapter started the workers that the pool says it did, each once."""
    history = run.history
    births = Counter(life.worker for life in history.lives if life.alive)
    spawned = Counter(int(record.fields["worker"]) for _, record in run.trace.of("spawned"))
    spawned |= Counter(_started_in_dying(history))  # at least once: one that was told as well is not excused again
    surplus = [worker for worker in sorted(births) if births[worker] > spawned[worker]]
    return [f"worker {worker} was started once more than the trace says" for worker in surplus]


def _started_in_dying(history: History) -> list[int]:
    """Workers whose start was the last thing that an orchestrator did: it died before it could tell.

    That is so only where the fault layer killed it in or after that very call; the worker is the last one that the
    adapter started for it, at that moment.
    """
    last: dict[int, Life] = {life.worker // WORKERS_OF_ONE: life for life in history.lives if life.alive}
    found: list[int] = []
    for injection in history.injections:
        fields, died = injection.fields, int(injection.fields.get("successor", len(history.crashes)))
        if fields.get("port") != "workers.spawn" or fields.get("point") == "before" or died >= len(history.crashes):
            continue
        life = last.get(history.crashes[died].incarnation)
        if life is not None and life.at == injection.at:
            found.append(life.worker)
    return found


def _backed_off(run: Judged) -> list[str]:
    """Between a place's failure and the next start there is `respawn_ns`, doubled for each failure in a row.

    As with leases, not where the machine's clock was wrong: but then still no place has two workers.
    """
    timed = not mistimed(run.history)
    physical: Physical = run.history.plan.physical
    places: dict[int, Place] = {}
    failures: dict[Place, int] = {}
    last: dict[Place, int] = {}
    busy: dict[Place, int] = {}
    found: list[str] = []
    kinds = ("spawned", "spawn_failed", "lost", "resized", "retired", "received")
    for index, record in run.trace.of(*kinds):
        if record.kind in ("spawned", "spawn_failed"):
            place = (record.incarnation, int(record.fields["slot"]))
            worker = int(record.fields["worker"])
            count = failures.get(place, 0)
            least = physical.respawn_ns << min(count - 1, RESPAWN_DOUBLINGS) if count else 0
            if timed and place in last and record.at - last[place] < least:
                what = f"started {record.at - last[place]} ns after failure {count} in a row"
                found.append(f"trace record {index}: worker {worker} is {what}, not {least}")
            if busy.get(place, -1) >= 0:
                found.append(f"trace record {index}: worker {worker} is started while worker {busy[place]} is kept")
            places[worker] = place
            busy[place] = worker if record.kind == "spawned" else -1
        if record.kind in ("lost", "spawn_failed"):
            place = places.get(int(record.fields["worker"]), (-1, -1))
            failures[place] = failures.get(place, 0) + 1
            last[place], busy[place] = record.at, -1
        elif record.kind == "resized":  # its places are other ones, which have not failed yet
            places, failures, last = {}, {}, {}
        elif record.kind == "retired":  # for a pool of another size, which is no failure
            busy[places.get(int(record.fields["worker"]), (-1, -1))] = -1
        elif record.kind == "received":
            failures[places.get(int(record.fields["worker"]), (-1, -1))] = 0
    return found
