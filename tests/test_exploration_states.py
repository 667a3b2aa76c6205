"""States that faults met: read from records alone, one step of the runtime after the other."""

from __future__ import annotations

from msgspec.structs import replace

from faults.plan import parse_fault
from harness import golden
from harness.check import Checker
from harness.exploration.states import Machine, Met, met
from harness.history import History, Injection
from runtime.telemetry import Record
from scenarios import get


def state_after(*records: tuple[str, dict[str, int | str]], incarnation: int = 1) -> str:
    machine = Machine()
    for kind, fields in records:
        machine.seen(Record(0, kind, incarnation, 1, fields))
    return machine.state()


def run(*faults: str, scenario: str = "hello") -> Met:
    plan = replace(golden.default_plan(scenario), faults=tuple(map(parse_fault, faults)))
    checked = Checker(get(scenario)).check(plan)
    assert not checked.failed and all(checked.effective.values())
    return met(checked.history, checked.effective)


def test_a_tick_is_followed_from_its_opening_to_the_disk() -> None:
    steps: list[tuple[str, dict[str, int | str]]] = [("started", {"block": 0})]
    assert state_after() == "boot, whole, synced, first life"
    assert state_after(*steps) == "idle, whole, synced, first life"
    assert state_after(*steps, ("opened", {})) == "dispatch, whole, synced, first life"
    steps += [("opened", {}), ("sent", {"worker": 1})]
    assert state_after(*steps) == "await, whole, synced, first life"
    steps += [("lost", {"worker": 1})]
    assert state_after(*steps) == "await, one gone, synced, first life"
    assert state_after(*steps, ("lost", {"worker": 2})) == "await, more gone, synced, first life"
    assert state_after(*steps, ("spawned", {"worker": 3})) == "await, restoring, synced, first life"
    steps += [("spawned", {"worker": 3}), ("committed", {"block": 1})]
    assert state_after(*steps, ("opened", {})) == "dispatch, whole, unsynced, first life"
    assert state_after(*steps, ("opened", {}), ("durable", {"block": 1})) == "dispatch, whole, synced, first life"


def test_the_cpu_is_no_accelerator_and_a_lost_one_is_seen() -> None:
    asked = ("infer_sent", {"device": 0})
    assert state_after(asked).endswith("device idle")
    assert state_after(("device_spawned", {"device": 1}), ("infer_sent", {"device": 1})).endswith("device starting")
    trusted = ("device_trusted", {"device": 1})
    assert state_after(trusted, ("infer_sent", {"device": 1})).endswith("device busy")
    assert state_after(trusted, ("device_lost", {"device": 1}), asked).endswith("device lost")


def test_a_successor_recovers_before_it_starts() -> None:
    machine = Machine()
    machine.seen(Record(0, "started", 1, 0, {"block": 0}))
    machine.died()
    assert machine.state() == "down, whole, synced, first life"
    machine.seen(Record(0, "discarded", 2, 0, {"file": "x", "reason": "y"}))
    assert machine.state() == "recovery, whole, synced, successor"
    machine.seen(Record(0, "started", 2, 0, {"block": 3}))
    assert machine.state() == "idle, whole, synced, successor"


def test_a_fault_that_had_no_effect_and_what_it_did_later_count_for_nothing() -> None:
    plan = replace(
        golden.default_plan("hello"), faults=tuple(parse_fault(f"worker.kill@tick:{n},agent:0") for n in (2, 3))
    )
    history = History(plan=plan, trace=[Record(0, "opened", 1, 0, {}), Record(0, "sent", 1, 0, {})])
    history.injections = [Injection(0, 0, {}, 1), Injection(0, 0, {}, 2), Injection(0, 1, {}, 2)]
    assert met(history, {0: True, 1: False}).pairs == ("dispatch, whole, synced, first life x worker.kill",)
    assert met(history, {}).pairs == ()
    both = met(history, {0: True, 1: True})
    assert both.pairs[1] == "await, whole, synced, first life, handling a fault x worker.kill" and both.during == 1


def test_real_runs_meet_the_states_that_their_plans_name() -> None:
    assert run("worker.kill@tick:3,agent:1,hostcall:1").pairs[0].startswith("await, whole, ")
    twice = run("orchestrator.kill@tick:4,phase:commit", "orchestrator.kill@after:1,call:2")
    assert twice.depth == 2 and twice.during == 1, "a death within a recovery"
    assert twice.pairs[1].startswith(("recovery", "down")) and "handling a fault" in twice.pairs[1]
    apart = run("orchestrator.kill@tick:2,phase:commit", "orchestrator.kill@tick:7,phase:commit")
    assert apart.depth == 1 and apart.during == 0 and "successor" in apart.pairs[1]


def test_a_repeated_run_meets_the_same() -> None:
    faults = ("worker.kill@tick:3,agent:1", "frame.lose@tick:3,agent:2,direction:work")
    assert run(*faults) == run(*faults)
