"""The benchmark compares equal work, says when a ratio means nothing, and leaves nothing changed behind."""

from __future__ import annotations

import gc
from functools import cache

import pytest
from msgspec.structs import replace

from harness import assembly
from harness.bench import figures, reloads, run, scale, stages, targets
from harness.bench.figures import requirement, table
from harness.bench.floor import bare, cross
from harness.bench.measure import cpu_ns, in_turn, percentile, spread
from harness.bench.naive import naive
from harness.bench.observing import swapped, unobserved
from harness.bench.run import Size, measure
from harness.bench.targets import target
from harness.bench.work import FAULTS, SEED, Work, differences, kills_of, prepare, variants
from harness.check import Checker
from harness.simulation import journal_digest, simulate
from runtime.frames import inbox_of
from runtime.state import decode
from runtime.telemetry import Telemetry
from scenarios.bench import messages

TINY = Size(4, 12, 1, 2, ((6, 8, 1),), ((2, 18), (4, 18)), 20, 1)


@cache
def work() -> Work:
    return prepare(4, 12, 2)


@cache
def report() -> figures.Report:
    return measure(TINY, True, lambda what: None)


def test_a_module_is_loaded_cold_from_disk_and_from_memory_and_each_is_told() -> None:
    small, large = report().modules
    assert 0 < small.bytes < large.bytes and 0 < small.code < large.code
    assert large.cold_us > large.disk_us > 0 and large.cold_us > large.memory_us > 0 < small.call_us
    assert "from disk" in table(report()) and "1,000 functions" in table(report())


def test_snapshots_are_told_per_mebibyte_and_the_next_one_costs_less_than_the_first() -> None:
    taken = report().snapshots
    assert 0 < taken.next_ms < taken.first_ms < taken.restore_ms and taken.file_ms > 0 < taken.read_ms
    assert "ms per MiB" in table(report())


def test_a_hot_reload_is_told_with_and_without_migration() -> None:
    told = report().reloads
    assert (told.agents, told.turns) == (16, 3) and told.adopted_ms > 0 < told.migrated_ms
    assert "hot reload of 16 agents in one tick, ms each" in table(report())


def test_a_run_that_is_measured_with_reloads_has_them_all_and_one_without_has_none() -> None:
    for versions, version in (((), None), ((2, 1), 2), ((3, 3), 3)):
        states = decode(reloads._run(versions)(0).final_state).agents
        assert len(states) == 16 and all((agent.version or None) == version for agent in states)


def test_every_target_of_the_specification_is_told_with_whether_it_is_met_tenfold() -> None:
    asked = {one.name: one for one in report().targets}
    assert len(asked) == 7 and all(one.measured > 0 and one.note for one in asked.values())
    assert "the specification asks" in table(report())
    assert (target("a", "ms", 0.9, 10, "less", "").tenfold, target("a", "ms", 9.0, 10, "less", "").tenfold) == (
        True,
        False,
    )
    late, slow = target("a", "ms", 11, 10, "less", ""), target("b", "1/s", 9, 10, "more", "")
    assert not (late.met or late.tenfold or slow.met or slow.tenfold)
    assert target("b", "1/s", 100, 10, "more", "").tenfold and "NOT MET" in "".join(targets.lines((late,)))


def test_all_ways_of_doing_the_work_end_alike_kills_and_faults_included() -> None:
    assert differences(work()) == []


def test_a_way_that_ends_otherwise_is_named() -> None:
    end = work().end
    other = work()._replace(end=end._replace(outputs=[*end.outputs[:-1], b"another"]))
    found = differences(other)
    assert any("floor" in line for line in found)
    assert any("naive" in line for line in found)
    assert any("full with fault plan" in line for line in found)


def test_the_naive_program_redoes_steps_after_a_kill_and_logs_the_same_lines() -> None:
    calm, shaken = naive(work().scenario, SEED), naive(work().scenario, SEED, [(3, 1), (7, 2), (12, 3)])
    assert calm.redone == 0 < shaken.redone
    assert (calm.memories, calm.globals, calm.log) == (shaken.memories, shaken.globals, shaken.log)
    assert calm.log.count("\n") == 4 * 12


def test_a_plan_of_kills_holds_kills_alone_and_a_plan_of_faults_nothing_visible() -> None:
    for plan in work().kills:
        assert len(kills_of(plan)) == len(plan.faults) > 0
    for plan in work().faulty:
        assert 0 < len(plan.faults) <= FAULTS
        assert not {fault.kind for fault in plan.faults} & {"agent.trap", "agent.bad_pointer"}


def test_the_bare_crossing_is_fed_what_the_floor_was_fed() -> None:
    crossed = cross(work().scenario, SEED, record=True)
    assert len(crossed.inboxes) == work().steps
    assert sum(len(inbox_of(inbox)) for _, _, inbox in crossed.inboxes if inbox) == 4 + messages(4, 11)
    assert bare(work().scenario, crossed) > 0


def test_the_floors_chain_depends_on_what_was_sent() -> None:
    assert cross(work().scenario, SEED).chain == cross(work().scenario, SEED).chain
    assert cross(work().scenario, SEED).chain != cross(prepare(4, 11, 1).scenario, SEED).chain


def test_without_observers_the_journal_is_the_same_and_no_evidence_is_kept() -> None:
    seen = simulate(work().scenario, work().clean)
    with unobserved():
        unseen = simulate(work().scenario, work().clean)
    assert journal_digest(seen) == journal_digest(unseen)
    assert seen.guests and seen.trace
    assert not unseen.guests and not unseen.trace
    assert simulate(work().scenario, work().clean).guests


def test_what_was_swapped_is_put_back_after_an_error() -> None:
    before = assembly.ObservedGuests
    with pytest.raises(ZeroDivisionError), swapped(assembly, "ObservedGuests", None):
        assert assembly.ObservedGuests is None
        raise ZeroDivisionError
    assert assembly.ObservedGuests is before


def test_variants_take_turns_after_one_unmeasured_round() -> None:
    order: list[str] = []
    times = in_turn({name: lambda n, name=name: order.append(f"{name}{n}") for name in "ab"}, 2)  # type: ignore[misc]
    assert order == ["a0", "b0", "a0", "b0", "a1", "b1"]
    assert {name: len(values) for name, values in times.items()} == {"a": 2, "b": 2}
    assert gc.get_freeze_count() == 0


def test_the_result_of_a_timed_call_is_dropped() -> None:
    gone: list[bool] = []

    class Result:
        def __del__(self) -> None:
            gone.append(True)

    cpu_ns(Result)
    assert gone == [True]


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(n) for n in range(1, 201)]
    assert percentile(values, 0.99) == 198.0
    assert percentile(values, 0.5) == 100.0
    assert percentile([3.0], 0.99) == 3.0
    assert spread([3.0, 1.0, 2.0]) == (measured := spread([1.0, 2.0, 3.0])) and measured.median == 2.0


def test_every_function_that_is_timed_as_a_stage_exists_and_is_put_back() -> None:
    emit = Telemetry.emit
    clock = stages.Clock()
    checker = Checker(work().scenario)
    with stages.watched(clock) as missing:
        assert Telemetry.emit is not emit
        checker.check(work().clean)
    assert missing == []
    assert Telemetry.emit is emit
    for stage in ("admit", "select", "dispatch", "wasm", "commit", "encode", "hash", "sync", "snapshot", "oracles"):
        assert clock.calls[stage] > 0, stage


def test_a_stages_time_leaves_out_what_another_stage_took_inside_it() -> None:
    clock = stages.Clock()
    inner = clock.wrapped("hash", lambda: sum(range(200_000)))
    outer = clock.wrapped("commit", inner)
    outer()
    assert clock.spent["hash"] > 20 * clock.spent["commit"] > 0


def test_a_stage_that_is_not_there_is_reported() -> None:
    with swapped(stages, "STAGES", {"wasm": ("runtime.fold:nothing",)}), stages.watched(stages.Clock()) as missing:
        assert missing == ["runtime.fold:nothing"]


def test_shares_add_up_to_one() -> None:
    shares, _ = stages.shares(lambda: simulate(work().scenario, work().clean), 1)
    assert sum(shares.values()) == pytest.approx(1, abs=0.02)


def test_a_report_has_every_figure_and_says_what_is_met() -> None:
    made = report()
    assert set(made.variants) == set(variants(work()))
    assert {r.name for r in made.requirements} == {
        "naive_speedup",
        "floor_ratio",
        "fault_ratio",
        "effective_faults_per_cpu_minute",
        "tick_p99_ms_100_agents",
        "us_per_step_flatness",
        "memory_bytes_per_run",
    }
    assert made.met == all(r.met for r in made.requirements)
    assert made.judged.failed == ()
    assert made.judged.faults_effective > 0
    assert made.memory.runs == 20
    text = table(made)
    for r in made.requirements:
        assert r.name in text


def test_a_ratio_against_something_else_is_void_and_met_by_nobody() -> None:
    reasons = run.void_ratios(2.6, 20.5, ["the floor has other last words"])
    assert set(reasons) == {"floor_ratio", "naive_speedup"}
    assert run.void_ratios(2.4, 19.0, []) == {}
    judged = {r.name: r for r in run.requirements_of(report(), reasons)}
    assert judged["floor_ratio"].value is None and not judged["floor_ratio"].met
    assert judged["naive_speedup"].value is None and not judged["naive_speedup"].goal_met
    assert judged["fault_ratio"].value is not None
    voided = replace(report(), requirements=tuple(judged.values()), void=tuple(reasons.values()))
    assert "void" in table(voided)


@pytest.mark.parametrize(
    ("value", "better", "met", "goal_met"),
    [(5.0, "more", True, False), (10.0, "more", True, True), (4.9, "more", False, False), (None, "more", False, False)],
)
def test_a_requirement_is_met_at_its_bound(value: float | None, better: str, met: bool, goal_met: bool) -> None:
    made = requirement("speed", value, 5, 10, better)
    assert (made.met, made.goal_met) == (met, goal_met)


def test_less_is_better_where_it_says_so() -> None:
    assert requirement("ratio", 2.5, 5, 2.5, "less").goal_met
    assert not requirement("ratio", 5.1, 5, 2.5, "less").met
    assert requirement("flat", 1.5, 1.5, None, "less").goal_met


def test_ticks_of_start_and_shutdown_are_not_measured() -> None:
    measured = scale.tick_times(3, 7, 2)
    assert measured.ticks == 2 * 7
    assert 0 < measured.p50_ms <= measured.p99_ms <= measured.max_ms


def test_cost_of_a_step_is_over_whole_rounds_of_snapshots() -> None:
    assert scale.step_cost_us(3, scale.SNAPSHOT_EVERY + 2) > 0
    assert scale.flatness([2.0, 3.0, 2.5]) == 1.5
