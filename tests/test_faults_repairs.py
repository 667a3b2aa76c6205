"""Faults inside the handling of faults: each strikes a repair, takes effect, and leaves the journal alone."""

from __future__ import annotations

from functools import cache

import pytest

from faults.effect import effective
from faults.plan import Plan, parse_fault
from harness.check import Checked, Checker
from harness.events import Events, events_of
from harness.expand import Chooser, aimed
from harness.plans import accept
from runtime.errors import Refused
from runtime.physical import MS, Physical
from scenarios import get


@cache
def checker(name: str) -> Checker:
    return Checker(get(name))


def plan(name: str, *faults: str) -> Plan:
    return Plan(
        scenario=name, seed=1, inputs=get(name).workload(1), faults=tuple(parse_fault(fault) for fault in faults),
        physical=Physical(probe_ns=2 * MS),
    )  # fmt: skip


def run(name: str, *faults: str) -> Checked:
    return checker(name).check(accept(plan(name, *faults), ""))


@cache
def events(name: str) -> Events:
    return events_of(checker(name).clean(plan(name)))


def step(name: str) -> str:
    steps = [one for one in events(name).steps if one.kind == "step"]
    one = steps[2 * len(steps) // 3]
    return f"tick:{one.tick},agent:{one.agent}"


@pytest.mark.parametrize("name", ["hello", "ledger", "frames"])
@pytest.mark.parametrize("during", ["restore", "replay"])
def test_the_worker_that_restores_an_agent_dies_of_it(during: str, name: str) -> None:
    at = step(name)
    checked = run(name, f"worker.kill@{at},point:after", f"repair.kill@{at},during:{during}")
    assert checked.row.verdict == "PASS" and all(checked.effective.values()), checked.row.detail
    assert checked.row.workers_lost >= 2 and checked.row.journal_digest == checked.row.twin_digest
    [first, second] = [one for one in checked.history.injections if one.fault in (0, 1)]
    assert second.at > first.at and second.fields["worker"] != first.fields["worker"]


def test_where_nothing_is_repaired_nothing_is_struck() -> None:
    checked = run("ledger", f"repair.kill@{step('ledger')},during:restore")
    assert not any(checked.effective.values()) and checked.row.workers_lost == 0
    one = events("assistants").requests[4]
    idle = run("assistants", f"repair.kill@request:{one.request},during:failover", "repair.kill@tick:0,during:probe")
    assert not any(idle.effective.values()) and idle.row.verdict == "IDLE"


def test_the_worker_that_restores_after_the_orchestrator_s_death_dies_of_it() -> None:
    tick, agent = (int(part.split(":")[1]) for part in step("ledger").split(","))
    kill = f"orchestrator.kill@tick:{tick},phase:await"
    checked = run("ledger", kill, f"repair.kill@tick:{tick},agent:{agent},during:restore")
    assert checked.row.verdict == "PASS" and all(checked.effective.values())


@pytest.mark.parametrize("during", ["failover", "probe"])
def test_the_device_that_takes_over_dies_of_it(during: str) -> None:
    one = events("assistants").requests[len(events("assistants").requests) // 2]
    at = f"request:{one.request}" if during == "failover" else f"tick:{one.tick}"
    checked = run("assistants", f"gpu.remove@{at},for=0", f"repair.kill@{at},during:{during}")
    assert checked.row.verdict == "PASS" and all(checked.effective.values()), checked.row.detail
    lost = [record for record in checked.history.trace if record.kind == "device_lost"]
    assert len(lost) >= 2 and checked.row.journal_digest == checked.row.twin_digest


def test_a_repair_that_was_struck_counts_only_if_that_worker_was_lost() -> None:
    at = step("hello")
    checked = run("hello", f"worker.kill@{at},point:after", f"repair.kill@{at},during:restore")
    history = checked.history
    struck = next(one for one in history.injections if one.fault == 1)
    trace = [r for r in history.trace if r.kind != "lost" or r.fields["worker"] != struck.fields["worker"]]
    assert effective(history.plan, history.injections, trace, {})[1] is False


def test_a_step_may_not_lose_more_workers_in_repairs_than_it_can() -> None:
    at = step("hello")
    deaths = [f"worker.kill@{at},point:idle", f"worker.kill@{at},point:after", f"worker.stall@{at}"]
    accept(plan("hello", *deaths), "")
    with pytest.raises(Refused, match="would lose 4 workers"):
        accept(plan("hello", *deaths, f"repair.kill@{at},during:restore"), "")


def test_the_recipes_bring_the_first_fault_with_the_second() -> None:
    for n in range(20):
        chooser = Chooser([n, n * 31, n // 3, n // 5, n // 7])
        first, second = aimed("repair.kill", events("assistants"), chooser, [])
        assert first.kind in ("worker.kill", "gpu.remove") and second.kind == "repair.kill"
        accept(plan("assistants", str(first), str(second)), "")
