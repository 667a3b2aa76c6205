"""Faults of the clock, of calls and of the order of arrival: each takes effect and leaves the journal as it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from faults_kit import Log, Timers, ToyGateway, ToyWorkers, done, injector, inputs
from oracles_kit import World, finding, record, refuses, world

from faults.budget import check
from faults.clock_rules import leaps
from faults.plan import Fault, Plan, parse_fault
from faults.wrappers.clock import END_OF_31_BITS, SECOND, FaultyClock
from faults.wrappers.driver import Caller
from faults.wrappers.permuted import Permutation, PermutedGateway, PermutedWorkers
from harness.check import Checked, Checker
from harness.history import History, Injection
from harness.oracles import Verdict
from harness.simulation import simulate, trace_digest
from runtime.errors import Refused
from runtime.frames import Inputs, unpack
from runtime.physical import MS, Physical
from runtime.ports import Arrival
from scenarios.registry import get

NAME, SEED = "hello", 1
LOST = "frame.lose@tick:3,agent:1,direction:done"  # so that a resend is waited for
ALONE = [
    "clock.jump@tick:3,by=300s",
    "clock.jump@tick:3,by=12ms",
    "clock.jump@tick:3,way=backwards,by=300s",
    "clock.strobe@tick:3,delta=262s,period=1ms,for=10ms",
    "clock.drift@tick:3,how=leap_second",
    "clock.drift@tick:3,how=year_2038",
    "tick.repeat@tick:3",
    "tick.repeat@tick:3,times=16",
    "tick.repeat@tick:3,how=skipped",
    "scheduler.permute@tick:1,ticks=20",
]
WAITED = [
    "clock.drift@tick:3,how=freeze,for=20ms",
    "clock.drift@tick:3,how=freeze,for=20ms,catch_up=yes",
    "clock.drift@tick:3,how=slow",
    "clock.drift@tick:3,how=fast",
]


def plan(*texts: str, name: str = NAME, workers: int = 2) -> Plan:
    faults = tuple(parse_fault(text) for text in texts)
    physical = Physical(workers=workers)
    made = Plan(scenario=name, seed=SEED, inputs=get(name).workload(SEED), faults=faults, physical=physical)
    check(made)
    return made


@cache
def checker() -> Checker:
    return Checker(get(NAME))


def checked(*texts: str) -> Checked:
    return checker().check(plan(*texts))


# --- in whole runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ALONE)
def test_each_alone_takes_effect_and_the_journal_is_that_of_a_right_clock(text: str) -> None:
    done_ = checked(text)
    assert done_.effective == {0: True} and done_.failed == ()
    assert done_.row.journal_digest == done_.row.twin_digest
    if not text.startswith("scheduler"):
        assert all(done_.findings[oracle].verdict is Verdict.PASS for oracle in ("I13", "I19", "I33"))


@pytest.mark.parametrize("text", WAITED)
def test_a_clock_that_stands_or_drifts_counts_where_something_is_waited_for(text: str) -> None:
    done_ = checked(LOST, text)
    assert done_.effective == {0: True, 1: True} and done_.failed == ()
    assert done_.findings["I33"].verdict is Verdict.PASS
    assert checked(text).effective == {0: False}


@pytest.mark.parametrize("text", [*ALONE, *WAITED])
@pytest.mark.parametrize("second", ["worker.kill@tick:3,agent:1", "orchestrator.kill@tick:3,phase:await"])
def test_a_death_under_a_wrong_clock_is_repaired_and_repeats_bit_for_bit(text: str, second: str) -> None:
    runs = [simulate(get(NAME), plan(text, second)) for _ in range(2)]
    assert all(run.finished and run.journal == undisturbed() for run in runs)
    assert trace_digest(runs[0].trace) == trace_digest(runs[1].trace)


@cache
def undisturbed() -> bytes:
    return simulate(get(NAME), plan()).journal


def test_a_lease_under_a_clock_that_leaps_costs_a_resend_and_no_worker() -> None:
    run = simulate(get(NAME), plan(LOST, "clock.jump@tick:3,by=300s"))
    assert [r.kind for r in run.trace if r.kind in ("resent", "lost")] == ["resent"]


def test_a_wait_under_a_clock_that_goes_back_is_no_longer_than_one_wait() -> None:
    run = simulate(get(NAME), plan(LOST, "clock.jump@tick:3,way=backwards,by=300s"))
    [lost] = [one.at for one in run.injections if one.fault == 0]
    [again] = [r.at for r in run.trace if r.kind == "resent"]
    assert Physical().resend_ns - MS <= again - lost <= 2 * Physical().resend_ns


@pytest.mark.parametrize("name", ["hello", "assistants"])
def test_a_successor_goes_on_at_once_though_the_clock_went_back_below_zero(name: str) -> None:
    texts = ("clock.jump@tick:0,way=backwards,by=69s", "orchestrator.kill@tick:1,phase:await")
    run = simulate(get(name), plan(*texts, name=name))
    assert run.finished and run.virtual_ns < SECOND


def test_the_trace_is_at_the_true_time() -> None:
    run = simulate(get(NAME), plan("clock.drift@tick:3,how=year_2038"))
    assert max(r.at for r in run.trace) <= run.virtual_ns and run.virtual_ns < SECOND


def test_devices_are_waited_for_by_the_same_clock() -> None:
    made = Checker(get("assistants")).check(
        plan("clock.jump@tick:4,by=20s", "gpu.remove@tick:3", "scheduler.permute@tick:2,ticks=9", name="assistants")
    )
    assert made.failed == () and made.effective[0] and made.effective[1]


# --- the budget ------------------------------------------------------------------------------------------------------


def test_leaps_are_counted_and_too_many_are_refused() -> None:
    texts = ["clock.jump@tick:1", "clock.jump@tick:1,way=backwards", "clock.strobe@tick:1,period=1ms,for=8ms"]
    texts += ["clock.drift@tick:1", "clock.drift@tick:1,how=slow", "tick.repeat@tick:1"]
    assert [leaps(parse_fault(text)) for text in texts] == [1, 0, 5, 1, 0, 0]
    with pytest.raises(Refused, match="silent or slow 17 times"):
        plan("clock.strobe@tick:1,period=1ms,for=32ms")
    kills = [f"worker.kill@tick:3,agent:1,hostcall:{n}" for n in (1, 2)]
    plan(*kills, "clock.jump@tick:3", "clock.jump@tick:3,occurrence=2")
    with pytest.raises(Refused, match="would lose 4 workers"):
        plan(*kills, "worker.kill@tick:3,agent:1", *["clock.strobe@tick:1,period=1ms,for=4ms"] * 2)


# --- the wrappers ----------------------------------------------------------------------------------------------------


class Machine:
    def __init__(self) -> None:
        self.true = 0

    def now(self) -> int:
        return self.true


def clock(*texts: str) -> tuple[Callable[[int], int], Log]:
    """What the clock shows at a true time, in ms; and which faults have struck."""
    machine = Machine()
    found, log = injector(*texts)
    faulty = FaultyClock(machine, found)

    def shown(ms: int) -> int:
        machine.true = ms * MS
        return faulty.now() // MS

    return shown, log


def test_a_jump_stays_and_a_strobe_goes_back_and_forth_and_ends() -> None:
    shown, _ = clock("clock.jump@tick:0,by=50ms", "clock.jump@tick:0,by=7ms,way=backwards")
    assert [shown(ms) for ms in (0, 10)] == [43, 53]
    shown, _ = clock("clock.strobe@tick:0,delta=100ms,period=2ms,for=7ms")
    assert [shown(ms) for ms in range(9)] == [100, 101, 2, 3, 104, 105, 6, 7, 8]


def test_a_clock_that_stands_goes_on_late_or_catches_up() -> None:
    late, _ = clock("clock.drift@tick:0,for=5ms")
    assert [late(ms) for ms in (0, 3, 5, 9)] == [0, 0, 0, 4]
    caught_up, _ = clock("clock.drift@tick:0,for=5ms,catch_up=yes")
    assert [caught_up(ms) for ms in (0, 3, 5, 9)] == [0, 0, 5, 9]


def test_a_clock_drifts_by_parts_in_a_million_while_it_lasts() -> None:
    slow, _ = clock("clock.drift@tick:0,how=slow,ppm=100000,for=100ms")
    fast, _ = clock("clock.drift@tick:0,how=fast,ppm=100000,for=100ms")
    assert [slow(ms) for ms in (0, 50, 200)] == [0, 45, 190] and [fast(ms) for ms in (0, 50, 200)] == [0, 55, 210]


def test_a_second_comes_twice_and_2038_comes_at_once() -> None:
    shown, _ = clock("clock.drift@tick:0,how=leap_second")
    assert shown(2000) == 1000
    shown, _ = clock("clock.drift@tick:0,how=year_2038")
    assert (shown(0) * MS, shown(1) * MS) == (END_OF_31_BITS - MS, END_OF_31_BITS)


def test_it_strikes_at_the_reading_that_is_named_and_one_drift_waits_for_another() -> None:
    shown, log = clock("clock.jump@tick:0,occurrence:3,by=1s")
    assert [shown(1), shown(2), shown(3)] == [1, 2, 1003] and log.fired == [0]
    shown, log = clock("clock.drift@tick:0,for=5ms", "clock.drift@tick:0,how=slow,ppm=100000,for=100ms")
    assert shown(1) == 1 and log.fired == [0]
    assert shown(7) == 2 and log.fired == [0, 1] and shown(17) == 11


def test_a_call_is_made_again_or_left_out_once_and_told_of_at_the_next() -> None:
    found, log = injector("tick.repeat@tick:2,occurrence:2,times=3", "tick.repeat@tick:3,how=skipped,for=4ms")
    timers = Timers()
    caller = Caller(found, timers.later)
    assert [caller.calls(2, True), caller.calls(2, False), caller.calls(2, True), caller.calls(2, True)] == [1, 1, 4, 1]
    assert caller.calls(3, True) == 0 and log.fired == [0, 1]
    assert caller.calls(3, True) == 1 and log[-1] == (1, {"called": 1})


def test_a_tick_that_is_over_after_fewer_calls_leaves_the_fault_to_a_later_one() -> None:
    found, log = injector("tick.repeat@tick:2,occurrence:3,times=2")
    caller = Caller(found, Timers().later)
    assert [caller.calls(1, True), caller.calls(2, True), caller.calls(2, True)] == [1, 1, 1] and log.fired == []
    assert caller.calls(5, True) == 3 and log[0] == (0, {"tick": 5, "for": 0})


def permutation(seed: int = 0) -> tuple[Permutation, Timers, list[tuple[int, dict[str, int | str]]]]:
    found, log = injector("scheduler.permute@tick:1,for=1ms", seed=seed)
    timers = Timers()
    return Permutation(found, timers.later, lambda: 1), timers, log


def test_answers_of_a_moment_come_in_another_order_and_those_of_one_worker_in_theirs() -> None:
    orders = set()
    for seed in range(8):
        common, timers, log = permutation(seed)
        toy = ToyWorkers()
        workers = PermutedWorkers(toy, common)
        toy.arrivals = [Arrival(7, done(7, 1, (1, 1))), Arrival(7, None)]
        assert workers.poll() == []
        toy.arrivals = [Arrival(8, done(8, 2, (1, 2)))]
        assert workers.poll() == []
        timers.pass_time(MS)
        given = workers.poll()
        orders.add(tuple(arrival.worker for arrival in given))
        assert [a.frame is None for a in given if a.worker == 7] == [False, True]
        swapped = given[0].worker == 8
        assert bool(log) == swapped
        if swapped:
            assert log[0][1] == {
                "port": "workers",
                "for": 0,
                "first": 8,
                "first_lease": 2,
                "second": 7,
                "second_lease": 1,
            }
    assert orders == {(7, 7, 8), (8, 7, 7)}


def test_what_is_held_when_the_orchestrator_dies_is_never_given() -> None:
    common, timers, _ = permutation()
    toy = ToyWorkers()
    workers = PermutedWorkers(toy, common)
    toy.arrivals = [Arrival(7, done(7, 1, (1, 1)))]
    workers.poll()
    common.close()
    timers.pass_time(MS)
    assert workers.poll() == []


def test_inputs_of_a_frame_are_shuffled_and_none_is_lost() -> None:
    found = set()
    for seed in range(8):
        common, _, _ = permutation(seed)
        toy = ToyGateway()
        toy.incoming = [inputs(1, 2, 3), b"garbled"]
        frame, other = PermutedGateway(toy, common).poll()
        read = unpack(frame)
        assert isinstance(read, Inputs) and other == b"garbled"
        found.add(tuple(item.n for item in read.inputs))
    assert len(found) > 1 and all(sorted(order) == [1, 2, 3] for order in found)


# --- the oracles -----------------------------------------------------------------------------------------------------


def struck(made: World, kind: str = "clock.jump") -> World:
    made.faults = (Fault(kind=kind, at={"tick": 2}),)
    made.injections = [Injection(210, 0, {"tick": 2, "for": 0})]
    return made


@pytest.mark.parametrize("kind", ["clock.jump", "tick.repeat"])
def test_i33_compares_a_run_under_a_wrong_clock_with_its_twin(kind: str) -> None:
    twin: History = world().history()
    assert finding("I33", struck(world(), kind), twin=twin).verdict is Verdict.PASS
    other = struck(world(lambda w: w.step(3, 1)["inbox"].reverse()), kind)
    refuses("I33", other, "block 3 step 1: here", twin=twin)


def lease(*kinds: str) -> World:
    """A lease that ran out 9 ms after its frame was sent, where 20 ms is the least."""
    made = world()
    records = [record(at, kind, 0, worker=12, lease=9, **more) for at, kind, more in _LEASE if kind in kinds]
    made.trace = [*made.trace[:2], *records, *made.trace[2:]]
    return made


_LEASE: list[tuple[int, str, dict[str, int | str]]] = [
    (1 * MS, "sent", {"orders": 1}),
    (6 * MS, "resent", {}),
    (10 * MS, "lost", {"cause": "lease"}),
]


def early(made: World) -> list[str]:
    return [line for line in finding("I19", made).evidence if "a lease ran out" in line]


def test_i19_lets_a_lease_end_early_under_a_wrong_clock_only_after_a_resend() -> None:
    assert "after 9000000 ns" in early(lease("sent", "resent", "lost"))[0]
    assert early(struck(lease("sent", "resent", "lost"))) == []
    assert "was never sent again" in early(struck(lease("sent", "lost")))[0]
