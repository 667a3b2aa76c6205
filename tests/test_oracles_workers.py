"""The oracles of workers refuse hand-made histories: leaks (I21), budgets (I31), late answers (I14), leases (I19)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from oracles_kit import World, finding, record, refuses, world
from runtime_kit import play

from faults.plan import parse_fault
from harness.history import Census, Crash, History, Injection, Life, SyncEvent
from harness.oracles import Judged, Verdict, judge
from runtime.physical import MS, Physical
from runtime.telemetry import Record

Damage = Callable[[World], None]


def traced(*records: Record) -> Damage:
    """These instead of the world's trace, before its end."""

    def damage(made: World) -> None:
        made.trace = [*made.trace[:2], *records, *made.trace[2:]]

    return damage


def census(**changes: Any) -> Damage:
    def damage(made: World) -> None:
        assert made.census is not None
        made.census = made.census._replace(**changes)

    return damage


@pytest.mark.parametrize("oracle", ["I14", "I19", "I21", "I31"])
def test_an_undamaged_world_is_accepted(oracle: str) -> None:
    assert finding(oracle, world()).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (census(workers=(11, 12, 13)), "worker 13 lives at the end, and was given up or never started"),
        (traced(record(1, "lost", 0, worker=12, lease=0, cause="exit")), "worker 12 lives at the end"),
        (traced(record(1, "spawned", 0, worker=13, slot=1)), None),
        (census(devices=((1, 77),)), "device process 77 lives at the end, and was given up"),
        (census(segments=()), "segments () are reserved, the journal configures (0,)"),
        (census(segments=(0, 1)), "segments (0, 1) are reserved, the twin's are (0,)"),
        (census(instances=((11, 0, 2),)), "worker 11 holds 2 instances of agent 0"),
        (census(instances=((11, 0, 1), (12, 0, 1))), "agent 0 has instances at 2 workers"),
        (traced(record(1, "sent", 0, worker=11, lease=99, orders=1)), "lease 99 of worker 11 is open at the end"),
    ],
)
def test_what_is_held_at_the_end_and_not_in_use_is_a_leak(damage: Damage, named: str | None) -> None:
    if named is None:
        assert finding("I21", world(damage)).verdict is Verdict.PASS
    else:
        refuses("I21", world(damage), named)


def test_two_workers_at_one_place_are_a_leak() -> None:
    made = world(traced(record(1, "spawned", 0, worker=13, slot=1)), census(workers=(11, 12, 13)))
    refuses("I21", made, "2 workers live at place 1")


def test_two_processes_of_one_device_are_a_leak() -> None:
    spawned = [record(1, "device_spawned", 0, process=process, device=1) for process in (77, 78)]
    refuses("I21", world(traced(*spawned), census(devices=((1, 77), (1, 78)))), "2 processes live of device 1")
    gone = record(2, "device_lost", 0, process=77, device=1, cause="exit")
    assert finding("I21", world(traced(*spawned, gone), census(devices=((1, 78),)))).verdict is Verdict.PASS
    refuses("I21", world(traced(*spawned, gone), census(devices=((1, 77),))), "device process 77 lives")


@pytest.mark.parametrize("what", ["finished", "census", "trace"])
def test_a_run_that_is_not_at_rest_or_was_not_counted_is_not_judged(what: str) -> None:
    made = world()
    if what == "finished":
        made.finished = False
    elif what == "census":
        made.census = None
    else:
        made.trace = []
    assert finding("I21", made).verdict is Verdict.UNKNOWN


def failing(made: World) -> None:
    """Agent 2 fails in tick 2 and waits nine ticks."""
    made.step(3, 2).update(status="trap:x", effects=[])
    made.bodies[2]["events"] = [["failed", 2, "trap:x"], ["lifecycle", 2, "active", "backoff"]]


def back(tick: int) -> Damage:
    """Agent 2 is back in the last block, which is this tick's."""

    def damage(made: World) -> None:
        failing(made)
        made.bodies[3]["tick"] = tick
        made.bodies[3]["events"].insert(0, ["restart", 2, 1])

    return damage


def test_an_agent_that_is_back_before_its_backoff_is_over_is_refused() -> None:
    refuses("I31", world(back(10)), "agent 2 restarts in tick 10, failed in 2")
    assert finding("I31", world(back(11))).verdict is Verdict.PASS


def test_more_restarts_than_the_budget_within_a_window_are_refused_and_a_release_gives_a_new_one() -> None:
    def budget(made: World, *operated: dict[str, Any]) -> World:
        back(11)(made)
        made.bodies[0]["inputs"][0]["action"]["config"]["max_restarts"] = 1
        made.bodies[3]["events"].insert(1, ["failed", 2, "trap:x"])
        again = {**made.bodies[3], "tick": 20, "inputs": list(operated), "steps": [], "events": [["restart", 2, 2]]}
        made.bodies.append(again)
        return made

    refuses("I31", budget(world()), "agent 2 restarts after 1 in 100 ticks")
    release = {"source": "bank", "n": 3, "tick": 20, "action": {"do": "operate", "agent": 2, "action": "release"}}
    assert finding("I31", budget(world(), release)).verdict is Verdict.PASS


def test_a_restart_in_the_final_state_that_no_failure_explains_is_refused() -> None:
    made = world()
    made.restarts = {1: [2]}
    made.seal()
    refuses("I31", made, "the final state counts a restart of agent 1 in tick 2, in which it did not fail")
    made = world(failing)
    made.restarts = {2: [2]}
    made.seal()
    assert finding("I31", made).verdict is Verdict.PASS


LOST = record(1, "lost", 0, worker=12, lease=0, cause="exit")


def again(*gaps_ms: float) -> list[Record]:
    """Worker 12's place loses one worker after the other, and gets the next one so much later."""
    at, worker, records = 1, 12, [LOST]
    for gap in gaps_ms:
        at, worker = at + int(gap * MS), worker + 1
        records.append(record(at, "spawned", 0, worker=worker, slot=1))
        records.append(record(at, "lost", 0, worker=worker, lease=0, cause="exit"))
    return records


@pytest.mark.parametrize(
    ("gaps", "wrong"),
    [((1,), False), ((1, 2, 4, 8, 16, 32, 64, 64, 64), False), ((0.9,), True), ((1, 1), True), ((1, 2, 4, 7), True)],
)
def test_a_place_that_does_not_wait_longer_after_each_loss_is_a_storm(gaps: tuple[float, ...], wrong: bool) -> None:
    made = world(traced(*again(*gaps)))
    if wrong:
        refuses("I31", made, "in a row, not")
    else:
        assert finding("I31", made).verdict is Verdict.PASS


def test_an_answer_ends_the_row_of_failures_and_a_failed_start_is_one() -> None:
    first, second = again(1)[:2], record(MS + 1, "received", 0, worker=13, lease=1, orders=1)
    third = [record(MS + 2, "lost", 0, worker=13, lease=0, cause="exit")]
    third.append(record(2 * MS + 2, "spawned", 0, worker=14, slot=1))
    assert finding("I31", world(traced(*first, second, *third))).verdict is Verdict.PASS
    refuses("I31", world(traced(*first, *third)), "failure 2 in a row")
    failed = [LOST, record(MS + 1, "spawn_failed", 0, worker=13, slot=1)]
    refuses("I31", world(traced(*failed, record(2 * MS + 1, "spawned", 0, worker=14, slot=1))), "failure 2 in a row")
    assert finding("I31", world(traced(*failed, record(3 * MS + 1, "spawned", 0, worker=14, slot=1)))).verdict is (
        Verdict.PASS
    )


def test_the_places_of_a_pool_of_another_size_have_not_failed_yet() -> None:
    """As when a resize comes while a place waits for the fourth time: its successor's first wait is a first one."""
    lost, spawned = again(1)[0], [record(3 + MS, "spawned", 0, worker=21, slot=1)]
    resized = record(2, "resized", 0, workers=2)
    thrice = [*again(1, 2)]
    after = [record(4 * MS, "resized", 0, workers=2), record(4 * MS + 1, "spawned", 0, worker=21, slot=1)]
    assert finding("I31", world(traced(*thrice, *after))).verdict is Verdict.PASS
    refuses("I31", world(traced(*thrice, after[1])), "failure 3 in a row")
    again_lost = [record(4 * MS + 2, "lost", 0, worker=21, lease=0, cause="exit")]
    early = [record(4 * MS + 9, "spawned", 0, worker=22, slot=1)]
    refuses("I31", world(traced(*thrice, *after, *again_lost, *early)), "failure 1 in a row")
    assert finding("I31", world(traced(lost, resized, *spawned))).verdict is Verdict.PASS


def test_a_worker_that_is_started_beside_another_or_unsaid_is_refused() -> None:
    refuses("I31", world(traced(record(1, "spawned", 0, worker=13, slot=1))), "while worker 12 is kept")
    history = world().history()
    history.lives.append(Life(5, 13, True))
    found = judge(Judged(history), ["I31"])["I31"]
    assert found.verdict is Verdict.FAIL and found.evidence == ("worker 13 was started once more than the trace says",)


def dying(point: str = "after", port: str = "workers.spawn", at: int = 5, worker: int = 13) -> History:
    """The second orchestrator dies at a port call, and a worker of its was started of which it told nothing."""
    history = world().history()
    history.lives.append(Life(5, worker, True))
    history.crashes = [Crash(3, 9, 0, "sync", b"", b""), Crash(7, worker // 1_000_000, 0, "dispatch", b"", b"")]
    history.injections = [Injection(at, 0, {"successor": 1, "call": 3, "port": port, "point": point})]
    return history


@pytest.mark.parametrize("point", ["within", "after"])
def test_a_worker_whose_start_was_its_orchestrators_last_act_could_not_be_told_of(point: str) -> None:
    assert judge(Judged(dying(point, worker=2_000_013)), ["I31"])["I31"].verdict is Verdict.PASS


@pytest.mark.parametrize(
    "history",
    [
        dying("before", worker=2_000_013),
        dying(port="workers.send", worker=2_000_013),
        dying(at=6, worker=2_000_013),
    ],
    ids=["it was not carried out", "it was another call", "it was another moment"],
)
def test_no_other_death_of_an_orchestrator_excuses_a_worker_that_it_did_not_tell_of(history: History) -> None:
    found = judge(Judged(history), ["I31"])["I31"]
    assert found.verdict is Verdict.FAIL and "worker 2000013 was started once more" in found.evidence[0]


def test_a_death_excuses_one_start_of_the_orchestrator_that_died() -> None:
    two, other, twice, alive = (dying(worker=2_000_013) for _ in range(4))
    two.lives.insert(-1, Life(5, 2_000_012, True))
    other.crashes[1] = other.crashes[1]._replace(incarnation=3)
    twice.lives.append(Life(5, 2_000_013, True))
    alive.crashes = alive.crashes[:1]
    for history in (two, other, twice, alive):
        assert judge(Judged(history), ["I31"])["I31"].verdict is Verdict.FAIL


def test_an_orchestrator_that_dies_in_starting_a_worker_is_judged_well() -> None:
    history = play("hello", "orchestrator.kill@call:12,point=after")
    told = {record.fields["worker"] for record in history.trace if record.kind == "spawned"}
    assert [life.worker for life in history.lives if life.alive and life.worker not in told] == [1_000_001]
    assert judge(Judged(history), ["I31"])["I31"].verdict is Verdict.PASS


def test_an_answer_of_a_worker_that_was_given_up_must_not_count() -> None:
    late = record(5, "received", 0, worker=12, lease=1, orders=1)
    refuses("I14", world(traced(LOST, late)), "an answer of worker 12 counts, which was given up in trace record 2")
    refuses("I14", world(traced(record(5, "received", 0, worker=99, lease=1))), "worker 99 counts, which was never")


def test_an_answer_of_a_dead_orchestrators_worker_must_not_count() -> None:
    made = world()
    made.crashes = [Crash(50, 1, 0, "await", b"", b"")]
    refuses("I14", made, "which was started at 0, before the orchestrator died at 50")


def silent(*durations_ms: int, orders: int = 1, decreed_after: int = 9) -> Damage:
    """Worker 12's place loses one worker after the other to a lease of so long."""

    def damage(made: World) -> None:
        at, records = 1, [record(1, "opened", 9)]
        for number, duration in enumerate(durations_ms):
            if number == decreed_after:
                records.append(record(at, "decreed", 9, agent=1, reason="decree:deadline"))
            worker = 20 + number
            records.append(record(at, "spawned", 9, worker=worker, slot=1))
            records.append(record(at, "sent", 9, worker=worker, lease=number, orders=orders))
            at += duration * MS
            records.append(record(at, "lost", 9, worker=worker, lease=number + 1, cause="lease"))
        made.trace = [*records, record(at, "committed", 9, block=1)]
        made.physical = Physical(lease_ns=20 * MS)
        made.faults = (parse_fault("worker.stall@tick:9,agent:1"),)

    return damage


@pytest.mark.parametrize("wrong", [(19,), (20, 20), (20, 40, 40), (20, 40, 79)])
def test_a_lease_that_does_not_double_with_each_expiry_is_refused(wrong: tuple[int, ...]) -> None:
    refuses("I19", world(silent(*wrong)), "a lease ran out after", bound_ns=10**12)


def test_leases_that_double_are_accepted_and_a_fifth_loss_of_one_step_is_not() -> None:
    assert finding("I19", world(silent(20, 40, 80, 160)), bound_ns=10**12).verdict is Verdict.PASS
    refuses("I19", world(silent(20, 40, 80, 160, 320)), "that has taken 4 workers, alone", bound_ns=10**12)
    ended = world(silent(20, 40, 80, 160, 320, decreed_after=4))
    assert finding("I19", ended, bound_ns=10**12).verdict is Verdict.PASS
    batch = world(silent(20, 40, 80, 160, 320, orders=2))
    assert finding("I19", batch, bound_ns=10**12).verdict is Verdict.PASS


def test_after_a_decree_the_next_step_of_its_place_has_a_lease_of_the_first_length() -> None:
    """What was ended by decree had lost its leases; what its place is sent next has lost none."""
    ended = world(silent(20, 40, 80, 160, 20, decreed_after=4))
    assert finding("I19", ended, bound_ns=10**12).verdict is Verdict.PASS
    assert finding("I19", world(silent(20, 40, 20, 40, decreed_after=2)), bound_ns=10**12).verdict is Verdict.PASS
    refuses("I19", world(silent(20, 40, 80, 160, 20, 20, decreed_after=4)), "a lease ran out after", bound_ns=10**12)
    refuses("I19", world(silent(20, 40, 80, 160, 20)), "a lease ran out after", bound_ns=10**12)


def test_a_wrong_crossing_that_the_fault_layer_knows_of_counts_for_nothing_and_an_unknown_one_fails() -> None:
    fault = "worker.wrong@tick:1,one_in=10"
    history = play("ledger", fault, check_ppm=1_000_000)
    assert parse_fault(fault) in history.plan.faults and history.injections
    assert judge(Judged(history), ["I11", "replay"]).values() and all(
        found.verdict is Verdict.PASS for found in judge(Judged(history), ["I11", "replay"]).values()
    )
    history.injections = []
    found = judge(Judged(history), ["I11", "replay"])
    assert Verdict.FAIL in {one.verdict for one in found.values()}


def test_the_census_of_a_run_with_losses_is_that_of_its_twin() -> None:
    history = play("frames", "worker.crash_loop@tick:5,agent:1", "orchestrator.kill@tick:9,phase:await")
    clean = play("frames")
    assert history.census is not None and clean.census is not None
    assert isinstance(history.census, Census) and history.census.segments == clean.census.segments
    assert len(history.census.workers) == len(clean.census.workers) == 2
    assert [i[1:] for i in sorted(history.census.instances, key=lambda i: i[1])] == (
        [i[1:] for i in sorted(clean.census.instances, key=lambda i: i[1])]
    )


def test_a_decree_that_counts_before_its_sync_has_ended_is_refused() -> None:
    def decreed(made: World, *syncs: SyncEvent) -> World:
        made.trace = [*made.trace, record(305, "decreed", 3, agent=1, reason="decree:deadline")]
        made.trace += [record(330, "committed", 3, block=4, steps=0, messages=0)]
        made.syncs = [*made.syncs, *syncs]
        return made

    def ended(at: int, good: bool = True, name: str = "decrees") -> SyncEvent:
        return SyncEvent(at, name, 9, good, 0, 80)

    assert finding("I28", decreed(world(), ended(320))).verdict is Verdict.PASS
    for syncs in ((), (ended(331),), (ended(305),), (ended(320, good=False),), (ended(320, name="journal"),)):
        refuses("I28", decreed(world(), *syncs), "tick 3 holds a decree of 305 that was not durable")
