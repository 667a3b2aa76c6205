"""The pool: leases, losses, late answers; a worker's agents run elsewhere only after it is reaped (WAS-8, MEM-1)."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import pytest
from faults_kit import ToyGateway, ToyMemory, ToyStorage, ToyWorkers
from runtime_kit import World, agent

from runtime import frames
from runtime.errors import FrameRefused
from runtime.fold import begin
from runtime.frames import Base, Done, Order, Replay, Result, Work, pack, unpack
from runtime.physical import MS, Physical
from runtime.pool import Pool
from runtime.ports import Arrival, Ports
from runtime.state import Send, StepRecord
from runtime.telemetry import Record, Telemetry


class Clock:
    def __init__(self) -> None:
        self.ns = 0

    def now(self) -> int:
        return self.ns


class Bench:
    """A pool over toy workers; time passes when the test says so."""

    def __init__(self, agents: int = 4, hazard: Any = lambda name, *key: False, **physical: int) -> None:
        self.clock, self.workers = Clock(), ToyWorkers()
        self.told: list[Record] = []
        telemetry = Telemetry(self.clock.now)
        telemetry.register(self.told.append)
        ports = Ports(self.clock, self.workers, ToyMemory(), ToyStorage(), ToyGateway(), hazard)
        self.bases: list[tuple[int, bool]] = []
        self.base: Base | None = None
        self.pool = Pool(ports, Physical(**({"workers": 2} | physical)), 3, telemetry, self._orders)
        self.world = World(agents=agents)

    def _orders(self, records: Sequence[StepRecord], held: Container[int]) -> list[Order]:
        self.bases += [(record.agent, record.agent not in held) for record in records]
        return [Order(record, 1000, None if record.agent in held else self.base) for record in records]

    def open(self, *who: int) -> list[StepRecord]:
        opened = begin(self.world.state, self.world.state.tick + 1, [self.world.input(Send(a, b"")) for a in who])
        self.world.close(opened)
        self.pool.open(opened.records)
        return opened.records

    def sent(self) -> list[tuple[int, int, list[int]]]:
        """(worker, lease, agents) of what was sent since the last time."""
        frames_, self.workers.sent = self.workers.sent, []
        seen = []
        for worker, data in frames_:
            work = unpack(data)
            assert isinstance(work, Work) and work.worker == worker
            seen.append((worker, work.lease, [order.record.agent for order in work.orders]))
        return seen

    def answer(self, worker: int, lease: int, *who: int, incarnation: int = 3, inside: int = 0) -> list[int]:
        """The agents whose results count, of an answer that arrives now."""
        n = {record.agent: record.n for record in self.world.records}
        results = tuple(Result(a, n.get(a, 1), "ok", (), None, 0, 0) for a in who)
        self.workers.arrivals.append(Arrival(worker, pack(Done(incarnation, inside or worker, lease, results))))
        accepted = [result.agent for result in self.pool.collect()]
        for index in accepted:
            self.pool.done(index)
        return accepted

    def end(self, worker: int) -> None:
        self.workers.arrivals.append(Arrival(worker, None))
        assert self.pool.collect() == []

    def later(self, ns: int) -> None:
        self.clock.ns += ns
        self.pool.advance()

    def kinds(self, *kinds: str) -> list[str]:
        return [record.kind for record in self.told if record.kind in kinds]


def test_each_worker_gets_its_agents_in_one_batch_and_an_answer_ends_it() -> None:
    bench = Bench()
    bench.open(0, 1, 2, 3)
    (first, second) = bench.sent()
    assert [first[2], second[2]] == [[0, 2], [1, 3]] and not bench.pool.idle
    assert bench.answer(*first[:2], 0, 2) == [0, 2] and bench.answer(*second[:2], 1, 3) == [1, 3]
    assert bench.pool.idle and bench.pool.deadline() is None


def test_a_base_goes_with_the_first_order_only() -> None:
    bench = Bench()
    bench.open(0)
    (sent,) = bench.sent()
    bench.answer(*sent[:2], 0)
    bench.open(0)
    assert bench.bases == [(0, True), (0, False)]
    bench.pool.forget(0)
    bench.pool.again(0)
    (sent,) = bench.sent()
    bench.answer(*sent[:2])
    bench.pool.advance()
    assert bench.bases[-1] == (0, True)


def test_a_lease_covers_the_steps_that_a_worker_which_lacks_the_agent_feeds_again() -> None:
    waits = []
    for replayed in (0, 3):
        bench = Bench(resend_ns=1 << 40, step_ns=1_000, worst_ns_per_fuel=2)
        bench.world.tick(Send(0, b""))
        (step,) = bench.world.records
        bench.base = Base(agent("a"), None, (Replay(step, 0, ""),) * replayed)
        bench.open(0)
        deadline = bench.pool.deadline()
        assert deadline is not None
        waits.append(deadline - bench.clock.ns)
        told = [record.fields["replayed"] for record in bench.told if record.kind == "restored"]
        assert told == [replayed]
    assert waits[1] - waits[0] == 3 * (1_000 + 2 * 1_000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lease": 99},
        {"incarnation": 2},
        {"inside": 3_000_009},
        {"worker": 3_000_002},
        {"worker": 2_000_001},
    ],
)
def test_an_answer_of_another_lease_worker_or_incarnation_does_not_count(wrong: dict[str, int]) -> None:
    bench = Bench()
    bench.open(0, 1)
    (first, _) = bench.sent()
    options = {"worker": first[0], "lease": first[1]} | wrong
    assert bench.answer(options.pop("worker"), options.pop("lease"), 0, **options) == []
    assert bench.kinds("stale") == ["stale"] and not bench.pool.idle
    assert bench.answer(*first[:2], 0) == [0]


def test_a_doubled_answer_counts_once_and_one_for_another_step_never() -> None:
    bench = Bench()
    records = bench.open(0)
    (sent,) = bench.sent()
    old = Result(0, records[0].n - 1, "ok", (), None, 0, 0)
    bench.workers.arrivals.append(Arrival(sent[0], pack(Done(3, sent[0], sent[1], (old,)))))
    assert bench.pool.collect() == []
    bench.pool.advance()
    (again,) = bench.sent()
    assert bench.answer(*sent[:2], 0) == [], "the step was asked for again under another lease"
    assert bench.answer(*again[:2], 0, 0) == [0] and bench.answer(*again[:2], 0) == []


def test_a_step_that_an_answer_lacks_is_asked_for_again() -> None:
    bench = Bench(workers=1)
    bench.open(0, 1, 2)
    (sent,) = bench.sent()
    assert sent[2] == [0, 1, 2] and bench.answer(*sent[:2], 1) == [1]
    seen = []
    for _ in range(2):
        bench.pool.advance()
        ((worker, lease, who),) = bench.sent()
        seen += who
        assert bench.answer(worker, lease, *who) == who
    assert sorted(seen) == [0, 2] and bench.pool.idle
    assert bench.kinds("unanswered") == ["unanswered"] * 2


def test_a_step_whose_agent_no_worker_can_load_ends_like_one_that_loses_workers() -> None:
    bench = Bench(workers=1, lost_workers_max=3)
    bench.open(0, 1)
    for _ in range(3):
        assert bench.pool.poisonous() == []
        bench.pool.unable(1)
    assert bench.pool.poisonous() == [1]


def test_a_batch_that_fits_no_frame_goes_in_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_FRAME", 150)
    bench = Bench(workers=1)
    bench.open(0, 1, 2)
    done: list[int] = []
    while not bench.pool.idle:
        for worker, lease, who in bench.sent():
            assert len(who) == 1
            done += bench.answer(worker, lease, *who)
        bench.pool.advance()
    assert sorted(done) == [0, 1, 2]


def test_a_step_that_fits_no_frame_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_FRAME", 20)
    with pytest.raises(FrameRefused, match=r"frame work: a frame of \d+ bytes; at most 20 fit"):
        Bench().open(0)


@pytest.mark.parametrize("data", [b"", b"garbage", pack(frames.Inputs(0, ()))])
def test_what_is_no_answer_is_told_and_dropped(data: bytes) -> None:
    bench = Bench()
    bench.open(0)
    bench.workers.arrivals.append(Arrival(bench.sent()[0][0], data))
    assert bench.pool.collect() == [] and bench.kinds("garbled") == ["garbled"]


def test_an_unanswered_frame_is_sent_again_at_doubling_intervals() -> None:
    bench = Bench(resend_ns=5 * MS, lease_ns=1000 * MS)
    bench.open(0)
    first = bench.workers.sent[0]
    times = []
    for ms in range(1, 80):
        before = len(bench.workers.sent)
        bench.later(MS)
        if len(bench.workers.sent) > before:
            times.append(ms)
    assert times == [5, 15, 35, 75] and set(bench.workers.sent) == {first}


def test_a_lease_that_runs_out_costs_the_worker_and_doubles_for_the_same_step() -> None:
    bench = Bench(workers=1, lease_ns=10 * MS, step_ns=1, worst_ns_per_fuel=1, resend_ns=10**12, respawn_ns=1)
    bench.open(0)
    lengths = []
    for _ in range(3):
        ((worker, _, who),) = bench.sent()
        start = bench.clock.ns
        while worker not in bench.workers.killed:
            bench.later(MS)
        lengths.append((bench.clock.ns - start) // MS)
        bench.end(worker)
        bench.later(MS)
        assert who == [0]
    assert lengths == [11, 21, 41]  # 10 ms and a step's worth, seen by a clock of whole milliseconds
    ((worker, lease, _),) = bench.sent()
    bench.answer(worker, lease, 0)
    bench.open(0)
    bench.later(11 * MS)
    assert worker in bench.workers.killed, "the next tick's step begins with a short lease again"


def test_nothing_runs_elsewhere_before_the_lost_worker_is_reaped() -> None:
    bench = Bench(workers=1, lease_ns=MS, resend_ns=10**12, respawn_ns=2 * MS)
    bench.open(0, 1)
    ((worker, lease, _),) = bench.sent()
    bench.later(100 * MS)
    assert bench.workers.killed == [worker]
    for _ in range(5):
        bench.later(100 * MS)
    assert bench.sent() == [] and len(bench.workers.spawned) == 1
    assert bench.answer(worker, lease, 0, 1) == [], "it was given up"
    bench.end(worker)
    bench.later(MS)
    assert bench.sent() == [] and bench.pool.deadline() == bench.clock.ns + MS
    bench.later(MS)
    ((other, _, who),) = bench.sent()
    assert other not in (worker,) and who == [0], "after a loss steps go one by one"
    assert len(bench.workers.spawned) == len(set(bench.workers.spawned)) == 2


def test_only_a_step_that_was_alone_is_blamed_for_its_worker() -> None:
    bench = Bench(workers=1, lost_workers_max=2, respawn_ns=1)
    bench.open(0, 1)
    blamed: list[int] = []
    for loss in range(3):
        ((worker, _, who),) = bench.sent()
        assert who == ([0, 1] if loss == 0 else [0])
        assert bench.pool.poisonous() == []
        bench.end(worker)
        bench.later(MS)
        blamed = bench.pool.poisonous()
    assert blamed == [0]
    bench.pool.done(0)
    ((worker, _, _),) = bench.sent()
    bench.end(worker)
    bench.later(MS)
    ((worker, lease, who),) = bench.sent()
    assert who == [1] and bench.answer(worker, lease, 1) == [1] and bench.pool.idle


def test_losses_of_one_tick_are_not_counted_in_the_next() -> None:
    bench = Bench(workers=1, lost_workers_max=2, respawn_ns=1)
    for _ in range(4):
        bench.open(0)
        ((worker, _, _),) = bench.sent()
        bench.end(worker)
        bench.later(MS)
        assert bench.pool.poisonous() == []
        ((worker, lease, _),) = bench.sent()
        assert bench.answer(worker, lease, 0) == [0]


def test_an_idle_worker_that_dies_is_replaced_when_there_is_work() -> None:
    bench = Bench(workers=1, respawn_ns=MS)
    bench.open(0)
    ((worker, lease, _),) = bench.sent()
    bench.answer(worker, lease, 0)
    bench.end(worker)
    bench.open(0)
    assert bench.sent() == [] and bench.pool.deadline() == bench.clock.ns + MS
    bench.later(MS)
    ((other, _, _),) = bench.sent()
    assert other != worker and bench.bases[-1] == (0, True)


def test_batches_of_one_are_as_good() -> None:
    bench = Bench(hazard=lambda name, *key: name == "pool.tiny_batch")
    bench.open(0, 1, 2, 3)
    done: list[int] = []
    while not bench.pool.idle:
        for worker, lease, who in bench.sent():
            assert len(who) == 1
            done += bench.answer(worker, lease, *who)
        bench.pool.advance()
    assert sorted(done) == [0, 1, 2, 3]


def test_a_result_for_an_agent_that_nobody_asked_for_does_not_count() -> None:
    bench = Bench()
    bench.open(0, 1)
    (sent, _) = bench.sent()
    assert bench.answer(*sent[:2], 77, 0) == [0] and not bench.pool.idle
