"""The pool: placement, leases, losses (all physical: trace only, WAS-8).

A worker that closes its end, or lets its lease run out, is killed and reaped before its agents run elsewhere. An
answer counts only under the incarnation, worker and lease that are waited for; a late one is discarded. A lease
doubles with each expiry of the same task. After a loss a batch's steps are sent one by one, so that a step that takes
its worker with it is found out. A place that loses its worker, or gets none, waits longer each time (`respawn_ns`,
doubling) until a worker of it has answered; nothing of that is counted against an agent. Steps that are sampled run a
second time elsewhere before their answer counts (`runtime.second`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from runtime.errors import FrameRefused, SpawnFailed
from runtime.frames import Done, Order, Result, Work, pack, unpack
from runtime.physical import RESPAWN_DOUBLINGS, Physical
from runtime.ports import Ports
from runtime.second import Checks
from runtime.state import StepRecord
from runtime.telemetry import Telemetry

MAX_DOUBLINGS = 20


def step_of(key: int) -> int:
    """The agent whose step a key of a queue is, for its first execution (agent) or its second (~agent)."""
    return key if key >= 0 else ~key


class Slot:
    """One place in the pool; the worker in it changes with every loss. `worker` is -1 when there is none.

    `queue` and `sent` hold agents, or ~agent for a step's second execution, which is always alone. `failures` are the
    losses and failed starts in a row. What was sent is due again, or given up at its `deadline`, when it `rings_at`.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.worker = -1
        self.dying = False
        self.respawn_at = 0
        self.failures = 0
        self.hosted: set[int] = set()  # membership only, never iterated
        self.queue: list[list[int]] = []
        self.sent: list[int] = []
        self.frame = b""
        self.lease = 0
        self.deadline = 0
        self.resend_ns = 0
        self.rings_at = 0


class Pool:
    """Runs one tick's steps at a time. `orders_of(records, held)` makes their orders; `held` agents need no base."""

    def __init__(
        self,
        ports: Ports,
        physical: Physical,
        incarnation: int,
        telemetry: Telemetry,
        orders_of: Callable[[Sequence[StepRecord], Container[int]], list[Order]],
    ) -> None:
        self._workers, self._clock, self._hazard = ports.workers, ports.clock, ports.hazard
        self._physical, self._telemetry = physical, telemetry
        self._incarnation = incarnation
        self._orders_of = orders_of
        self._slots = [Slot(index) for index in range(physical.workers)]
        self._wanted = physical.workers
        self._leaving: dict[int, Slot] = {}  # workers of a pool of another size that are not reaped yet
        self._by_worker: dict[int, Slot] = {}
        self._pending: dict[int, StepRecord] = {}
        self._expiries: dict[int, int] = {}
        self._losses: dict[int, int] = {}
        self._causes: dict[int, str] = {}
        self._cancelled: list[int] = []  # steps that nobody has been told of yet
        self._checks = Checks(physical.check_ppm)
        self._spawned = 0
        self._leases = 0

    @property
    def idle(self) -> bool:
        return not self._pending

    def open(self, records: list[StepRecord]) -> None:
        """Take a tick's steps and send each worker its batch."""
        if self._wanted != len(self._slots):
            self._begin_anew()
        self._pending = pending = {record.agent: record for record in records}
        self._expiries, self._losses, self._causes = {}, {}, {}
        if self._checks.ppm:
            self._checks.open(records)
        places = len(self._slots)
        batches: list[list[int]] = [[] for _ in self._slots]
        for agent in pending:
            batches[agent % places].append(agent)
        for slot, batch in zip(self._slots, batches, strict=True):
            tiny = self._hazard("pool.tiny_batch", records[0].tick, slot.index)
            slot.queue = [[agent] for agent in batch] if tiny else [batch] if batch else []
        backwards = self._hazard("pool.backwards", records[0].tick)
        for slot in reversed(self._slots) if backwards else self._slots:
            if slot.queue:
                self._next(slot)

    def resize(self, workers: int) -> None:
        """Have this many places from the next tick on, with the same journal: where a step runs is in none (WAS-8)."""
        self._wanted = workers

    def _begin_anew(self) -> None:
        """Other places, and other agents for each: nobody starts before all who had them are reaped."""
        for slot in self._slots:
            if slot.worker >= 0:
                if not slot.dying:
                    self._telemetry.emit("retired", worker=slot.worker)
                    self.retire(slot)
                self._leaving[slot.worker] = slot
        self._slots = [Slot(index) for index in range(self._wanted)]
        self._telemetry.emit("resized", workers=self._wanted)

    def done(self, *agents: int) -> None:
        """These steps' outcomes are settled (by their results or by decree)."""
        pending = self._pending
        for agent in agents:
            pending.pop(agent, None)
        if self._checks.ppm:
            for agent in agents:
                self._checks.drop(agent)

    def cancel(self, agent: int) -> bool:
        """Have a pending step ended by decree; whether there is one. What it is still doing counts for nothing.

        Its worker is left alone: it has lost the agent's state, and is given it again with the next life.
        """
        record = self._pending.get(agent)
        if record is None or record.kind != "step":
            return False
        self.done(agent)
        self.forget(agent)
        self._causes[agent] = "cancel"
        self._cancelled.append(agent)
        return True

    def poisonous(self) -> list[int]:
        """Pending steps that, sent alone, have taken `lost_workers_max` workers with them; and the cancelled, once."""
        limit = self._physical.lost_workers_max
        cancelled, self._cancelled = self._cancelled, []
        return cancelled + [a for a in sorted(self._losses) if self._losses[a] >= limit and a in self._pending]

    def cause(self, agent: int) -> str:
        """What took the workers that this step lost: "exit", "lease", "unable" or "several"; "cancel": it lost none."""
        return self._causes[agent]

    def again(self, agent: int) -> None:
        """Ask for a step once more under a new lease: what it read has been repaired, or its slot was altered.

        Where its answer is there and waits for a second one, it is the second execution that is asked for.
        """
        if self._checks.waiting(agent):
            self._slots[(agent + 1) % len(self._slots)].queue.insert(0, [~agent])
        else:
            self._slots[agent % len(self._slots)].queue.insert(0, [agent])

    def forget(self, agent: int) -> None:
        """The worker does not hold the agent as it should: send its base with the next order."""
        self._slots[agent % len(self._slots)].hosted.discard(agent)

    def unable(self, agent: int) -> None:
        """The agent's module does not load where it must be restored: counts as a worker lost to its step."""
        slot = self._slots[agent % len(self._slots)]
        self._telemetry.emit("unable", worker=slot.worker, agent=agent)
        self._blame(agent, "unable")
        self.forget(agent)
        self.again(agent)

    def collect(self) -> list[Result]:
        """Results that are valid now, in order of arrival; losses are taken note of."""
        results: list[Result] = []
        for worker, data in self._workers.poll():
            slot = self._by_worker.get(worker)
            if data is None:
                self._ended(slot, worker)
                continue
            try:
                frame = unpack(data)
            except FrameRefused:
                self._telemetry.emit("garbled", worker=worker)
                continue
            if not isinstance(frame, Done):
                self._telemetry.emit("garbled", worker=worker)
            elif not self._current(slot, worker, frame):
                self._telemetry.emit("stale", worker=worker, lease=frame.lease, reason="not the lease waited for")
            else:
                assert slot is not None
                self._telemetry.emit("received", worker=worker, lease=frame.lease, orders=len(frame.results))
                results += self._answers(slot, frame)
        return results

    def _answers(self, slot: Slot, frame: Done) -> list[Result]:
        """The answers to the slot's batch, each step's once; a step without one is asked for again."""
        of = self._pending.get
        answers = [r for r in frame.results if (record := of(r.agent)) is not None and record.n == r.n]
        if [result.agent for result in answers] != slot.sent:
            answers = self._matched(slot, frame)
        slot.sent, slot.frame, slot.failures = [], b"", 0
        if self._checks.ppm:
            return [settled for result in answers for settled in self._second(slot.worker, result)]
        return answers

    def _matched(self, slot: Slot, frame: Done) -> list[Result]:
        """The answers, where not just those came that are waited for, or not to first executions."""
        answers: list[Result] = []
        pending, given = self._pending, {result.agent: result for result in frame.results}
        for key in slot.sent:
            agent = key if key >= 0 else ~key
            record, result = pending.get(agent), given.get(agent)
            if record is None:
                continue  # settled meanwhile
            if result is not None and result.n == record.n:
                answers.append(result)
            else:
                self._telemetry.emit("unanswered", worker=slot.worker, lease=slot.lease, agent=agent)
                self.again(agent)
        return answers

    def _second(self, worker: int, result: Result) -> list[Result]:
        """The result, if nothing is open about it any more; else whoever must answer next is asked."""
        if result.unserved:
            return [result]
        ruling = self._checks.take(result, worker)
        for one in (*ruling.wrong, ruling.suspect):
            slot = self._by_worker.get(one)
            if one in ruling.wrong:
                self._telemetry.emit("disagreed", worker=one, agent=result.agent)
            if slot is not None and slot.worker == one and not slot.dying:
                self._lost(slot, "wrong" if one in ruling.wrong else "suspect")
        if ruling.ask:
            self.again(result.agent)
        return [ruling.settled] if ruling.settled else []

    def advance(self) -> bool:
        """Timers, respawns, the next batch of each worker that waits for none; whether any step may be `poisonous`."""
        now = self._clock.now()
        for slot in self._slots:
            if slot.sent and now >= slot.rings_at and not slot.dying:
                if now >= slot.deadline:
                    self._lost(slot, "lease")
                else:
                    self._telemetry.emit("resent", worker=slot.worker, lease=slot.lease)
                    self._workers.send(slot.worker, slot.frame)
                    slot.resend_ns *= 2
                    slot.rings_at = min(slot.deadline, now + slot.resend_ns)
            if slot.queue:
                self._next(slot)
        return bool(self._losses or self._cancelled)

    def deadline(self) -> int | None:
        """The earliest time at which `advance` has something to do."""
        earliest: int | None = None
        for slot in self._slots:
            if slot.sent and not slot.dying:
                at = slot.rings_at
            elif slot.queue and slot.worker < 0 and not self._leaving:
                at = slot.respawn_at
            else:
                continue
            if earliest is None or at < earliest:
                earliest = at
        return earliest

    def _current(self, slot: Slot | None, worker: int, frame: Done) -> bool:
        if slot is None or slot.worker != worker or slot.dying:
            return False
        return frame.incarnation == self._incarnation and frame.worker == worker and frame.lease == slot.lease

    def _next(self, slot: Slot) -> None:
        """Send the next batch, if the slot is free; spawn its worker first, if there is none."""
        while slot.queue and not slot.sent and not slot.dying:
            pending, batch = self._pending, slot.queue[0]
            if batch and batch[0] < 0:
                batch = [~key for key in batch]
            records = [pending[agent] for agent in batch if agent in pending]
            if not records:
                slot.queue.pop(0)
                continue
            now = self._clock.now()
            if slot.worker < 0 and (self._leaving or now < slot.respawn_at or not self._spawn(slot)):
                return
            apart = slot.queue.pop(0)[0] < 0
            self._send(slot, records, now, apart)

    def _spawn(self, slot: Slot) -> bool:
        """Whether the place has a worker now; when it could not be started, it is tried again later."""
        self._spawned += 1
        worker = self._incarnation * 1_000_000 + self._spawned
        try:
            self._workers.spawn(worker)
        except SpawnFailed:
            self._telemetry.emit("spawn_failed", worker=worker, slot=slot.index)
            self._back_off(slot)
            return False
        slot.worker, slot.hosted = worker, set()
        self._by_worker[worker] = slot
        self._telemetry.emit("spawned", worker=worker, slot=slot.index)
        return True

    def _back_off(self, slot: Slot) -> None:
        """Keep away from the place for a while: longer with each failure in a row, or a crash loop is a storm."""
        wait = self._physical.respawn_ns << min(slot.failures, RESPAWN_DOUBLINGS)
        slot.respawn_at = self._clock.now() + wait
        slot.failures += 1

    def _send(self, slot: Slot, records: list[StepRecord], now: int, apart: bool) -> None:
        bases = self._hazard("pool.resend_base", records[0].tick, records[0].agent) or apart
        orders = self._orders_of(records, () if bases else slot.hosted)
        if self._checks.ppm:
            orders = [self._checks.marked(order, apart) for order in orders]
        agents = [record.agent for record in records]
        steps, fuel = len(orders), sum([order.fuel for order in orders])  # that the lease is to cover
        if bases or not slot.hosted.issuperset(agents):
            for order in orders:
                if order.base:
                    replayed = self._from_base(slot, order, apart)
                    steps += replayed
                    fuel += replayed * order.fuel
        if not apart:
            slot.hosted.update(agents)
        budget = self._physical.lease_ns + steps * self._physical.step_ns + fuel * self._physical.worst_ns_per_fuel
        self._leases += 1
        doublings = max(self._expiries.get(agent, 0) for agent in agents) if self._expiries else 0
        slot.lease = self._leases
        try:
            slot.frame = pack(Work(self._incarnation, slot.worker, slot.lease, tuple(orders)))
        except FrameRefused:
            if len(records) == 1:
                raise
            slot.hosted.difference_update(agents)
            slot.queue = [[agent] for agent in agents] + slot.queue
            return
        slot.sent = [~agent for agent in agents] if apart else agents
        slot.deadline = now + (budget << min(doublings, MAX_DOUBLINGS))
        hasty = self._hazard("pool.impatient", records[0].tick, slot.lease)
        slot.resend_ns = self._physical.resend_ns >> hasty
        slot.rings_at = min(slot.deadline, now + slot.resend_ns)
        self._telemetry.emit("sent", worker=slot.worker, lease=slot.lease, orders=len(orders))
        self._workers.send(slot.worker, slot.frame)

    def _from_base(self, slot: Slot, order: Order, apart: bool) -> int:
        """Tell that the worker gets the agent with this order; the number of steps that it replays."""
        agent, replayed = order.record.agent, len(order.base.replay) if order.base else 0
        if apart or order.record.kind != "init":
            self._telemetry.emit("checked" if apart else "restored", worker=slot.worker, agent=agent, replayed=replayed)
        return replayed

    def _ended(self, slot: Slot | None, worker: int) -> None:
        if slot is None or slot.worker != worker:
            return
        self._leaving.pop(worker, None)
        if not slot.dying:
            self._lost(slot, "exit")
        self._by_worker.pop(worker, None)
        slot.worker, slot.dying = -1, False
        self._back_off(slot)

    def _lost(self, slot: Slot, cause: str) -> None:
        self._telemetry.emit("lost", worker=slot.worker, lease=slot.lease if slot.sent else 0, cause=cause)
        self.retire(slot)
        for agent in map(step_of, slot.sent):
            if cause == "lease":
                self._expiries[agent] = self._expiries.get(agent, 0) + 1
            if len(slot.sent) == 1 and cause in ("exit", "lease"):
                self._blame(agent, cause)
        slot.queue = [[key] for batch in [slot.sent, *slot.queue] for key in batch]
        slot.sent, slot.frame = [], b""

    def _blame(self, agent: int, cause: str) -> None:
        """The step was alone when its worker was lost."""
        self._losses[agent] = self._losses.get(agent, 0) + 1
        self._causes[agent] = cause if self._causes.get(agent, cause) == cause else "several"

    def retire(self, slot: Slot) -> None:
        """Kill; nothing of the worker is used again, and its end closes when it is reaped."""
        slot.dying = True
        slot.hosted = set()
        self._workers.kill(slot.worker)
