"""A pool resized in mid-run (WAS-8): the same journal, and no agent at two workers at once."""

from __future__ import annotations

import pytest
from runtime_kit import booted, plan_of, simulation

from harness.adapters.workers import Timing
from harness.history import History
from harness.oracles import Judged, Verdict, judge
from harness.oracles.shared import held_once
from harness.simulation import Setting, Simulation, journal_digest
from runtime.errors import Refused
from scenarios import get

CHANGES = ((20, 5), (30, 1), (31, 7), (50, 2))


def resized(name: str, *faults: str, changes: tuple[tuple[int, int], ...] = CHANGES, **physical: int) -> History:
    plan = plan_of(name, *faults, **physical)
    return Simulation(get(name), plan, Timing(), setting=Setting(resizes=changes)).run()


def plain(name: str) -> str:
    return journal_digest(Simulation(get(name), plan_of(name), Timing()).run())


@pytest.mark.parametrize("name", ["ledger", "frames", "upgrade"])
def test_a_resized_pool_gives_the_same_journal_and_hosts_no_agent_twice(name: str) -> None:
    history = resized(name)
    assert history.finished and journal_digest(history) == plain(name)
    assert [record.fields["workers"] for record in history.trace if record.kind == "resized"] == [5, 1, 7, 2]
    assert held_once(history) == []
    assert history.census is not None and len(history.census.workers) == 2


def test_agents_are_restored_where_they_belong_and_nobody_is_counted_as_lost() -> None:
    history = resized("ledger", changes=((20, 5),))
    at = next(index for index, record in enumerate(history.trace) if record.kind == "resized")
    after = [record for record in history.trace[at:] if record.kind in ("spawned", "restored", "lost", "retired")]
    assert len({record.fields["slot"] for record in after if record.kind == "spawned"}) == 5
    assert sum(record.kind == "restored" for record in after) == 16
    assert not [record for record in history.trace if record.kind == "lost"]


@pytest.mark.parametrize(
    "fault",
    [
        "worker.kill@tick:20,agent:3,point:after",
        "worker.kill@tick:21,agent:4",
        "worker.stall@tick:20,agent:3",
        "worker.spawn_fail@tick:20,attempts=3",
        "orchestrator.kill@tick:21,phase:await",
    ],
)
def test_a_fault_beside_a_resize_changes_nothing(fault: str) -> None:
    history = resized("ledger", fault)
    assert history.finished and journal_digest(history) == plain("ledger") and held_once(history) == []


def test_second_executions_go_on_in_a_resized_pool() -> None:
    history = resized("ledger", check_ppm=1_000_000)
    assert history.finished and journal_digest(history) == plain("ledger")


def test_the_same_size_is_no_change() -> None:
    assert not [record for record in resized("hello", changes=((2, 2),)).trace if record.kind == "resized"]


def test_a_pool_that_is_resized_to_nothing_or_before_it_is_there_is_refused() -> None:
    run = simulation("hello")
    orchestrator = booted(run)
    with pytest.raises(Refused, match="there is no pool yet"):
        orchestrator.resize_pool(3)
    for workers in (0, 4097):
        with pytest.raises(Refused, match=f"workers is {workers}"):
            orchestrator.resize_pool(workers)


def test_an_agent_that_a_resized_pool_hosts_twice_is_named_by_i3() -> None:
    good = Simulation(get("ledger"), plan_of("ledger"), Timing()).run()
    bad = resized("ledger", changes=((20, 5),))
    bad.lives = [life for life in bad.lives if life.alive]
    judged = Judged(good, others={1: good}, varied={"I3": {"run whose pool is resized": bad}})
    found = judge(judged, ["I3"])["I3"]
    assert found.verdict is Verdict.FAIL and "while worker" in found.evidence[0]
