"""Each kind of fault in a real simulated run: it takes effect, and the journal is the one it must be."""

from __future__ import annotations

from functools import cache

import pytest

from faults.budget import check
from faults.effect import effective
from faults.injector import Step
from faults.plan import Plan, parse_fault
from harness.check import Checker
from harness.expand import Events, events_of
from harness.history import History
from harness.simulation import journal_digest, simulate, trace_digest
from runtime import journal
from runtime.physical import Physical
from scenarios.registry import get

SEED = 1


def run(*texts: str, scenario: str = "frames", workers: int = 2) -> History:
    chosen = get(scenario)
    plan = Plan(
        scenario=scenario,
        seed=SEED,
        inputs=chosen.workload(SEED),
        faults=tuple(parse_fault(text) for text in texts),
        physical=Physical(workers=workers),
    )
    check(plan)
    return simulate(chosen, plan)


@cache
def twin() -> History:
    return run()


@cache
def events() -> Events:
    return events_of(twin())


def step() -> str:
    """A step in the first third of the run, so that what is late still arrives before its end."""
    at = events().calling[len(events().calling) // 3]
    return f"tick:{at.tick},agent:{at.agent}"


def writing() -> tuple[str, int]:
    """A step that fills a buffer, and how many bytes."""
    at = events().writing[len(events().writing) // 3]
    return f"tick:{at.tick},agent:{at.agent}", at.stored


def statuses(history: History) -> dict[Step, str]:
    blocks = [line.block for line in journal.read(history.journal).lines]
    return {(block.tick, taken.agent): taken.status for block in blocks for taken in block.steps}


def took_effect(history: History) -> list[bool]:
    verdicts = effective(history.plan, history.injections, history.trace, statuses(history))
    return [verdicts[index] for index in range(len(history.plan.faults))]


AT_A_STEP = [
    "worker.kill@{}",
    "worker.kill@{},point:after",
    "worker.kill@{},hostcall:1",
    "worker.stall@{}",
    *[f"frame.lose@{{}},direction:{direction}" for direction in ("work", "done")],
    *[f"frame.duplicate@{{}},direction:{direction}" for direction in ("work", "done")],
    *[f"frame.delay@{{}},direction:{direction},for=7ms" for direction in ("work", "done")],
    *[
        f"frame.corrupt@{{}},direction:{direction},bit=333,mode={mode}"
        for direction in ("work", "done")
        for mode in ("flip", "truncate", "length")
    ],
]
ELSEWHERE = [
    "frame.lose@direction:inputs",
    "frame.delay@direction:inputs",
    "frame.corrupt@direction:inputs,bit=100",
    "frame.duplicate@direction:inputs",
    "frame.lose@direction:release,block:5",
    "frame.delay@direction:release,block:5",
    "frame.corrupt@direction:release,block:5,bit=100",
    "orchestrator.kill@tick:0,phase:boot",
    "orchestrator.kill@call:300,point:within",
    *[f"orchestrator.stall@tick:10,phase:{phase},for=40ms" for phase in ("dispatch", "commit", "sync", "snapshot")],
    *[f"disk.slow@tick:10,file:{file},for=40ms" for file in ("journal", "blobs", "watermark")],
    *[f"disk.sync_error@tick:10,file:{file}" for file in ("journal", "blobs", "watermark", "snapshot", "directory")],
    "disk.sync_error@tick:0,file:watermark",
    "disk.sync_error@tick:0,file:directory",
    *[f"disk.full@tick:10,file:{file},fits={n}" for file in ("journal", "blobs", "watermark") for n in (0, 1, 300)],
    "disk.full@tick:10,file:snapshot,for=90ms",
    *[f"orchestrator.kill@tick:20,phase:{phase}" for phase in ("admit", "dispatch", "await", "commit")],
    *[f"orchestrator.kill@tick:20,phase:{phase},point:after" for phase in ("sync", "release", "snapshot")],
]


def assert_transparent(history: History) -> None:
    assert history.finished and not history.failure
    assert took_effect(history) == [True] * len(history.plan.faults)
    assert journal_digest(history) == journal_digest(twin())
    assert trace_digest(history.trace) != trace_digest(twin().trace)


@pytest.mark.parametrize("form", AT_A_STEP)
def test_a_transparent_fault_at_a_step_takes_effect_and_leaves_the_journal_alone(form: str) -> None:
    assert_transparent(run(form.format(step())))


@pytest.mark.parametrize("text", ELSEWHERE)
def test_a_transparent_fault_elsewhere_takes_effect_and_leaves_the_journal_alone(text: str) -> None:
    assert_transparent(run(text))


@pytest.mark.parametrize("share", range(5))
def test_a_death_in_mid_copy_is_repaired(share: int) -> None:
    at, stored = writing()
    assert_transparent(run(f"worker.kill@{at},byte:{stored * share // 4}"))


@pytest.mark.parametrize("bits", [1, 4096])
def test_a_flipped_buffer_is_repaired(bits: int) -> None:
    buffer, version = events().read[len(events().read) // 3]
    assert_transparent(run(f"buffer.flip@buffer:{buffer},version:{version},bit=17,bits={bits}"))


@pytest.mark.parametrize("kind", ["disk.lose", "disk.tear"])
def test_a_crash_of_the_machine_loses_nothing_that_counted(kind: str) -> None:
    assert_transparent(run("orchestrator.kill@tick:20,phase:sync,point:after", f"{kind}@crash:1"))


@pytest.mark.parametrize("file", ["journal", "blobs", "watermark", "decrees", "directory"])
@pytest.mark.parametrize("fault", ["disk.slow@crash:1,file:{}", "disk.sync_error@crash:1,file:{}"])
def test_a_disk_that_fails_in_the_recovery_is_survived(fault: str, file: str) -> None:
    assert_transparent(run("orchestrator.kill@tick:20,phase:commit", fault.format(file), "disk.tear@crash:1"))


@pytest.mark.parametrize("file", ["journal", "blobs", "watermark"])
def test_a_disk_that_is_full_in_the_recovery_is_waited_for(file: str) -> None:
    assert_transparent(run("orchestrator.kill@tick:20,phase:sync", f"disk.full@crash:1,file:{file},fits=7"))


@pytest.mark.parametrize("file", ["journal", "blobs", "watermark"])
def test_what_a_failed_sync_covered_is_lost_with_the_machine_and_nobody_had_it(file: str) -> None:
    """The bytes can be read until the machine dies, which it does before the successor has written them anew."""
    at = f"disk.sync_error@tick:10,file:{file}"
    assert_transparent(run(at, "orchestrator.kill@after:1,call:9", "disk.lose@crash:2"))


SPOILT = [f"what={what},how={how}" for what in ("agent", "state") for how in ("flip", "cut", "future", "older")]


@pytest.mark.parametrize("how", [*SPOILT, "what=state,how=stale", "what=state,how=ahead"])
def test_a_spoilt_snapshot_is_thrown_away(how: str) -> None:
    assert_transparent(run("orchestrator.kill@tick:40,phase:commit", f"snapshot.damage@crash:1,{how}"))


CRASH = "orchestrator.kill@tick:20,phase:sync"
STOPS = [
    (CRASH, "disk.rot@crash:1,file:journal,at=9000"),
    (CRASH, "disk.rot@crash:1,file:journal,at=20"),
    (CRASH, "disk.rot@crash:1,file:blobs,at=5"),
    (CRASH, "disk.rot@crash:1,file:watermark,at=1,bytes=1000"),
    (CRASH, "disk.read_error@crash:1,file:journal,at=9000"),
    (CRASH, "disk.read_error@crash:1,file:blobs"),
    (CRASH, "disk.misdirect@crash:1,file:journal,at=2000,sectors=3"),
    (CRASH, "disk.rollback@crash:1,file:journal,share=40,chunk=2"),
    *[(CRASH, f"journal.forge@crash:1,how={how},block=5") for how in ("splice", "cut", "swap", "dup", "rechain")],
    ("disk.misdirect@tick:20,file:journal",),
    ("disk.misdirect@tick:20,file:journal,how=elsewhere,sectors=3",),
    ("disk.misdirect@tick:20,file:journal", CRASH, "disk.lose@crash:1"),
]


@pytest.mark.parametrize("texts", STOPS)
def test_damage_to_what_was_synced_stops_the_run_under_a_name_and_passes(texts: tuple[str, ...]) -> None:
    history = run(*texts)
    assert history.failure == "watermark" and took_effect(history) == [True] * len(texts)
    checked = Checker(get("frames")).check(history.plan)
    assert checked.row.verdict == "PASS" and checked.row.judged == ("I27", "I30"), checked.row.detail


@pytest.mark.parametrize(
    "text",
    [
        "disk.rot@crash:1,file:watermark,at=5,bytes=1",
        "disk.rot@crash:1,file:watermark,at=517,bytes=1",
        "disk.rot@crash:1,file:snapshot,at=99",
        "disk.read_error@crash:1,file:snapshot,at=99",
        "disk.misdirect@crash:1,file:snapshot,at=99",
    ],
)
def test_damage_to_what_there_is_a_second_copy_of_leaves_the_journal_alone(text: str) -> None:
    assert_transparent(run("orchestrator.kill@tick:40,phase:commit", text))


def test_a_write_that_went_astray_and_is_rewritten_before_anybody_read_it_did_not_count() -> None:
    """The page cache had it, and the successor of a process writes all that it reads into new files."""
    history = run("disk.misdirect@tick:20,file:journal", "orchestrator.kill@tick:24,phase:commit")
    assert history.finished and took_effect(history) == [False, True]
    assert Checker(get("frames")).check(history.plan).row.verdict == "PASS"


def test_a_crash_in_the_recovery_from_a_crash_is_survived() -> None:
    assert_transparent(
        run("orchestrator.kill@tick:20,phase:commit", "orchestrator.kill@after:1,call:6", "disk.tear@crash:1")
    )


@pytest.mark.parametrize(
    ("form", "reason"),
    [("agent.trap@{},hostcall:1", "trap:injected"), ("agent.bad_pointer@{}", "bad_pointer")],
)
def test_a_visible_fault_gives_one_journal_for_any_workers_and_any_redo(form: str, reason: str) -> None:
    fault = form.format(step())
    alone = [run(fault, workers=workers) for workers in (1, 2, 7)]
    redone = run(fault, f"worker.kill@{step()},point:after", "orchestrator.kill@tick:20,phase:await")
    assert {journal_digest(history) for history in [*alone, redone]} == {journal_digest(alone[0])}
    assert journal_digest(alone[0]) != journal_digest(twin())
    assert took_effect(redone) == [True, True, True]
    assert reason in statuses(alone[0]).values() and reason not in statuses(twin()).values()


def test_faults_that_never_fire_change_neither_journal_nor_trace() -> None:
    history = run(
        "worker.kill@tick:9999,agent:1,hostcall:1", "worker.stall@tick:9999,agent:1", "buffer.flip@buffer:9,version:9",
        "frame.lose@tick:9999,agent:1,direction:work", "frame.lose@direction:release,block:9999", "disk.tear@crash:1",
        "orchestrator.kill@tick:9999,phase:sync", "agent.trap@tick:9999,agent:1,hostcall:1",
    )  # fmt: skip
    assert history.injections == [] and not any(took_effect(history))
    assert journal_digest(history) == journal_digest(twin())
    assert trace_digest(history.trace) == trace_digest(twin().trace)


def test_a_delay_shorter_than_the_resend_is_carried_out_without_effect() -> None:
    history = run(f"frame.delay@{step()},direction:done,for=1ms")
    assert len(history.injections) == 1 and took_effect(history) == [False]
    assert journal_digest(history) == journal_digest(twin())
