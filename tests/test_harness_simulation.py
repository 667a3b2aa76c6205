"""One simulated run: repeatable bit for bit, whatever happens in it is in its history, and how it is judged."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from faults.plan import Plan, parse_fault
from harness import golden
from harness.adapters.workers import Timing
from harness.bounds import liveness_bound
from harness.check import BROAD, COMPONENTS, DEEP, Checker, transparent, verdict_of
from harness.oracles import ORACLES, Finding, Verdict
from harness.restarts import from_snapshots
from harness.simulation import Simulation, journal_digest, simulate, trace_digest
from runtime import journal
from runtime.errors import FailStop
from runtime.orchestrator import Orchestrator
from scenarios import get

KILL = "worker.kill@tick:41,agent:3,hostcall:2"
CRASH = "orchestrator.kill@tick:60,phase:sync"


def ledger(*faults: str, workers: int = 2) -> Plan:
    return replace(golden.default_plan("ledger", workers=workers), faults=tuple(map(parse_fault, faults)))


def test_the_same_plan_gives_the_same_journal_and_the_same_trace() -> None:
    one, two = (simulate(get("ledger"), ledger(KILL, CRASH)) for _ in range(2))
    assert one.finished and one.journal == two.journal and one.trace == two.trace
    assert trace_digest(one.trace) == trace_digest(two.trace) and one.virtual_ns == two.virtual_ns


def test_the_number_of_workers_is_in_the_trace_and_not_in_the_journal() -> None:
    two, seven = (simulate(get("ledger"), ledger(workers=n)) for n in (2, 7))
    assert two.journal == seven.journal and trace_digest(two.trace) != trace_digest(seven.trace)


def test_slower_machines_move_the_trace_alone() -> None:
    slow = Timing(frame_ns=900_000, ns_per_fuel=7, sync_ns=3_000_000, pipe_ns=200_000)
    usual, late = simulate(get("ledger"), ledger()), simulate(get("ledger"), ledger(), slow)
    assert usual.journal == late.journal and late.virtual_ns > 2 * usual.virtual_ns


@pytest.mark.parametrize("error", [RuntimeError("oh"), AssertionError(), KeyError("x"), RecursionError()])
def test_whatever_the_runtime_raises_is_the_run_s_verdict(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Orchestrator) -> None:
        raise error

    monkeypatch.setattr(Orchestrator, "advance", broken)
    history = simulate(get("hello"), golden.default_plan("hello"))
    assert (history.finished, history.failure) == (False, "exception")
    assert type(error).__name__ in history.failure_detail and ".py:" in history.failure_detail
    row = Checker(get("hello")).check(golden.default_plan("hello")).row
    assert row.verdict == "FAIL" and "replay" in row.failed_oracles


def test_a_check_that_stops_the_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(self: Orchestrator) -> None:
        raise FailStop("chain", "block 3 does not verify", "journal")

    monkeypatch.setattr(Orchestrator, "advance", stopped)
    history = simulate(get("hello"), golden.default_plan("hello"))
    assert (history.finished, history.failure) == (False, "chain")


def test_a_run_that_waits_for_ever_ends_at_the_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.orchestrator import Wait

    monkeypatch.setattr(Orchestrator, "advance", lambda self: Wait(None, False))
    monkeypatch.setattr("harness.simulation.HORIZON_NS", 50_000_000)
    history = simulate(get("hello"), golden.default_plan("hello"))
    assert (history.finished, history.failure) == (False, "liveness")


def test_a_run_that_keeps_itself_awake_ends_although_time_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.orchestrator import Wait

    monkeypatch.setattr(Orchestrator, "advance", lambda self: Wait(0, False))
    history = simulate(get("hello"), golden.default_plan("hello"))
    assert (history.finished, history.failure) == (False, "liveness") and " events" in history.failure_detail
    assert history.virtual_ns < 50_000_000


def test_a_run_goes_on_from_the_disk_of_another() -> None:
    straight = simulate(get("ledger"), ledger())
    again = Simulation(get("ledger"), ledger(), files=straight.files).run()
    assert again.finished and again.journal == straight.journal and again.final_state == straight.final_state
    assert {record.kind for record in again.trace} >= {"recovered"}


def test_a_restart_from_a_snapshot_ends_in_the_state_of_the_straight_run() -> None:
    straight = simulate(get("ledger"), ledger())
    restarts = list(from_snapshots(get("ledger"), ledger(), ledger(), Timing()))
    assert restarts and all(state == straight.final_state for _, state in restarts)
    blocks = len(journal.read(straight.journal).lines)
    assert all(int(name.rpartition(" ")[2]) < blocks for name, _ in restarts), "nothing was left to run again"


def test_a_journal_that_does_not_verify_has_no_digest() -> None:
    history = simulate(get("hello"), golden.default_plan("hello"))
    good = journal_digest(history)
    history.journal = history.journal.replace(b'"tick":2', b'"tick":3', 1)
    assert len(good) == 64 and journal_digest(history) == ""


def test_the_bound_follows_from_the_plan_and_grows_with_what_a_loss_costs() -> None:
    scenario, plan, timing = get("ledger"), ledger(), Timing()
    bound = liveness_bound(scenario, plan, timing)
    assert bound > 0 and liveness_bound(scenario, replace(plan, faults=(parse_fault(KILL),)), timing) == bound
    longer = replace(plan, physical=replace(plan.physical, lease_ns=2 * plan.physical.lease_ns))
    assert liveness_bound(scenario, longer, timing) > bound
    assert liveness_bound(scenario, plan, Timing(restart_ns=9 * timing.restart_ns)) > bound


def test_the_twin_is_run_once_for_many_fault_schedules() -> None:
    checker = Checker(get("ledger"))
    one, two = checker.check(ledger(KILL)), checker.check(ledger(CRASH))
    assert one.twin is two.twin and one.row.twin_digest == golden.recorded()["ledger"]


def test_visible_faults_stay_in_the_twin() -> None:
    checked = Checker(get("ledger")).check(ledger(KILL, "agent.trap@tick:30,agent:3,hostcall:1"))
    assert [fault.kind for fault in checked.twin.plan.faults] == ["agent.trap"]
    assert transparent("worker.kill") and not transparent("agent.trap")
    assert checked.row.verdict == "PASS" and checked.row.journal_digest != golden.recorded()["ledger"]


def finding(verdict: Verdict) -> dict[str, Finding]:
    return {"twin": Finding("twin", Verdict.PASS, ()), "I8": Finding("I8", verdict, ())}


def test_the_worst_verdict_counts_and_idle_is_no_pass() -> None:
    plan, bare = ledger(KILL), ledger()
    assert verdict_of(plan, finding(Verdict.FAIL), {0: True}) == "FAIL"
    assert verdict_of(plan, finding(Verdict.UNKNOWN), {0: True}) == "UNKNOWN"
    assert verdict_of(plan, finding(Verdict.PASS), {0: True}) == "PASS"
    assert verdict_of(plan, finding(Verdict.PASS), {0: False}) == "IDLE"
    assert verdict_of(bare, finding(Verdict.PASS), {}) == "PASS"


def test_every_oracle_points_at_a_component() -> None:
    assert set(COMPONENTS) == set(ORACLES) and set(BROAD) < set(ORACLES)


def test_a_deep_check_judges_by_every_oracle_that_needs_further_runs() -> None:
    """Else a case of theirs would replay as FIXED, because nobody judged it."""
    checker, plan = Checker(get("assistants")), golden.default_plan("assistants")
    shallow, deep = checker.check(plan), checker.check(plan, deep=True)
    assert set(deep.findings) - set(shallow.findings) == set(DEEP)
    # There are no shared buffers, tasks or reloads, no sync failed, no module was signed, nothing was damaged.
    assert set(deep.findings) == set(ORACLES) - {"I15", "I16", "I22", "I26", "I29", "I30", "I36", "reads"}


def test_what_a_run_leaves_of_the_liveness_bound_is_counted_from_the_end_of_its_faults() -> None:
    stall = "orchestrator.stall@tick:5,phase:commit,occurrence:1,for=9s"
    checked = Checker(get("ledger")).check(ledger(stall))
    row = checked.row
    assert row.verdict == "PASS" and max(row.recoveries_ns) > row.bound_ns > row.margin_ns > 0.9 * row.bound_ns
