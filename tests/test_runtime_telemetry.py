"""Hooks see the run and cannot change it (TEL-1)."""

from __future__ import annotations

from adapters_kit import nothing_armed
from runtime_kit import booted, carry_on, simulation, told, twin

from faults.wrappers.crash import Fuse, mortal
from harness.simulation import journal_digest, trace_digest
from runtime import usage
from runtime.telemetry import Record, Telemetry


def test_hooks_see_ticks_steps_and_snapshots() -> None:
    history = twin("hello")
    blocks = len(told(history, "committed"))
    assert [fields["block"] for fields in told(history, "durable")][-1] == blocks
    assert {fields["agent"] for fields in told(history, "snapshot")} == {-1, 0, 1, 2, 3}
    ticks = [record.tick for record in history.trace if record.kind == "opened"]
    assert ticks == sorted(set(ticks)) and len(ticks) == blocks


def test_a_hook_that_asks_for_steps_gets_each_of_them_and_no_other_run_has_any() -> None:
    run = simulation("hello")
    seen: list[Record] = []
    booted(run).register_telemetry_hook(seen.append, steps=True)
    history = carry_on(run)
    stepped = [record.fields for record in seen if record.kind == "stepped"]
    assert len(stepped) == sum(int(r.fields["steps"]) for r in seen if r.kind == "committed") > 0
    assert {fields["status"] for fields in stepped} == {"ok"} and all(int(fields["fuel"]) > 0 for fields in stepped)
    assert journal_digest(history) == journal_digest(twin("hello")) and not told(twin("hello"), "stepped")


def test_an_orchestrator_that_can_read_its_own_usage_tells_it_with_each_state_snapshot() -> None:
    run = simulation("ledger")
    orchestrator = booted(run)
    orchestrator.ports = orchestrator.ports._replace(usage=usage.read)
    history = carry_on(run)
    told_usage = told(history, "usage")
    snapshots = [fields for fields in told(history, "snapshot") if fields["agent"] == -1]
    assert len(told_usage) == len(snapshots) > 0
    cpu = [int(fields["cpu_ns"]) for fields in told_usage]
    assert cpu == sorted(cpu) and cpu[0] > 0 and all(int(fields["rss_bytes"]) > 1 << 20 for fields in told_usage)
    assert journal_digest(history) == journal_digest(twin("ledger"))
    rest = [record for record in history.trace if record.kind != "usage"]
    assert trace_digest(rest) == trace_digest(twin("ledger").trace)


def test_no_simulated_trace_holds_a_real_reading() -> None:
    run = simulation("ledger")
    assert booted(run).ports.usage is None
    assert told(twin("ledger"), "usage") == []


def test_the_reading_passes_through_an_incarnation_that_can_die() -> None:
    ports = booted(simulation("hello")).ports._replace(usage=usage.read)
    assert mortal(ports, Fuse(nothing_armed(), lambda: (0, "await"))).usage is usage.read


def test_a_reading_is_of_this_process_and_grows_with_its_work() -> None:
    before = usage.read()
    held = bytearray(b"x") * (64 << 20)
    after = usage.read()
    assert after.cpu_ns > before.cpu_ns and after.rss_bytes >= before.rss_bytes + len(held) // 2


def test_every_record_has_its_time_and_they_never_go_back() -> None:
    times = [record.at for record in twin("hello").trace]
    assert times == sorted(times) and {r.incarnation for r in twin("hello").trace} == {1}


def test_a_failing_hook_is_dropped_and_the_run_is_unchanged() -> None:
    run = simulation("hello")
    seen: list[str] = []
    orchestrator = booted(run)

    def failing(record: Record) -> None:
        seen.append(record.kind)
        if len(seen) == 5:
            raise ValueError("a bug in the hook")

    later: list[str] = []
    orchestrator.register_telemetry_hook(failing)
    orchestrator.register_telemetry_hook(lambda record: later.append(record.kind))
    carry_on(run)
    assert len(seen) == 5 and orchestrator.telemetry.dropped == 1
    assert later == [record.kind for record in run.history.trace]
    assert journal_digest(run.history) == journal_digest(twin("hello"))
    assert trace_digest(run.history.trace) == trace_digest(twin("hello").trace)


def test_a_hook_that_alters_what_it_is_told_alters_it_for_nobody_else() -> None:
    telemetry = Telemetry(lambda: 7)
    seen: list[Record] = []
    telemetry.register(lambda record: record.fields.clear())
    telemetry.register(seen.append)
    telemetry.emit("durable", block=3)
    assert seen == [Record(7, "durable", 0, -1, {"block": 3})] and telemetry.dropped == 0


def test_a_hook_that_is_registered_twice_and_fails_is_dropped_twice() -> None:
    telemetry = Telemetry(lambda: 0)

    def failing(record: Record) -> None:
        raise KeyError("x")

    telemetry.register(failing)
    telemetry.register(failing)
    telemetry.emit("opened")
    telemetry.emit("opened")
    assert telemetry.dropped == 2
