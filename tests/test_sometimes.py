"""`sometimes` properties: each holds for a hand-made run that is in its state, and not for one that comes near it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from cli_kit import here

from faults.hazards import SITES
from faults.plan import Plan, parse_fault
from faults.profiles import find, from_toml
from harness.check import Checker
from harness.history import Crash, DeviceEvent, History, Life
from harness.runner import campaign_run
from harness.sometimes import PROPERTIES, Seen, reachable, reached
from reports import Meta, RunRow, Sometimes, load, summary
from reports.html import render
from runtime.journal import Block, Event, StepEntry
from runtime.state import OUTSIDE
from runtime.telemetry import Record
from scenarios import SCENARIOS, get

W, W2, GPU = 1_000_001, 1_000_002, 1_500_001
USUAL: dict[str, dict[str, int | str]] = {
    "lost": {"worker": W, "lease": 1, "cause": "exit"},
    "restored": {"worker": W, "agent": 0, "replayed": 0},
    "infer_sent": {"process": GPU, "device": 1, "requests": 1},
    "device_lost": {"process": GPU, "device": 1, "cause": "exit"},
}


def r(kind: str, tick: int = 1, life: int = 1, **fields: int | str) -> Record:
    """One record of the trace; `seen` numbers their times in order."""
    return Record(0, kind, life, tick, USUAL.get(kind, {}) | fields)


def block(tick: int = 1, *statuses: str, events: tuple[Event, ...] = ()) -> Block:
    steps = tuple(StepEntry(a, (), "", (), "step", 1, 1, status, ()) for a, status in enumerate(statuses))
    return Block((), events, (), (), "", steps, tick)


def took(messages: int) -> Block:
    return Block((), (), (), (), "", (StepEntry(0, (), "", tuple(range(messages)), "step", 1, 1, "ok", ()),), 1)


def crash(phase: str = "await", tick: int = 1, lost: int = 0, at: int = 500, journal: bytes = b"line\n") -> Crash:
    return Crash(at, 1, tick, phase, journal + b"x" * lost, journal)


def token(request: int, process: int, device: int, position: int = 3) -> DeviceEvent:
    return DeviceEvent(0, process, device, 1, "m", request, position, (1,), "", 5, "", "")


def seen(
    *trace: Record,
    crashes: Sequence[Crash] = (),
    faults: Sequence[str] = (),
    missed: Sequence[int] = (),
    blocks: Sequence[Block] = (),
    lives: Sequence[Life] = (),
    devices: Sequence[DeviceEvent] = (),
    hazards: dict[str, int] | None = None,
) -> Seen:
    """One run: its trace, and whatever else a test says; all faults took effect but those in `missed`."""
    plan = Plan(scenario="hello", seed=1, inputs=(), faults=tuple(parse_fault(fault) for fault in faults))
    history = History(
        plan=plan,
        trace=[Record(100 + n, one.kind, one.incarnation, one.tick, one.fields) for n, one in enumerate(trace)],
        crashes=list(crashes),
        lives=list(lives),
        inferences=list(devices),
        hazards=hazards or {},
        virtual_ns=1000,
    )
    return Seen(history, blocks, {n: n not in missed for n in range(len(faults))})


def lives(*changes: tuple[int, int, bool]) -> list[Life]:
    return [Life(*change) for change in changes]


KILL = "worker.kill@tick:1,agent:0"
BOTH = ((1, W, True), (2, W2, True), (3, W, False))

# name -> (a run in the state, runs that come near it)
EXAMPLES: dict[str, tuple[Seen, tuple[Seen, ...]]] = {
    "worker_lost": (seen(r("lost", worker=W)), (seen(r("device_lost", device=1)),)),
    "lease_expired": (seen(r("lost", cause="lease")), (seen(r("lost", cause="exit")),)),
    "two_workers_in_one_tick": (
        seen(r("lost", tick=4), r("lost", tick=4)),
        (seen(r("lost", tick=4), r("lost", tick=5)), seen(r("lost", tick=4, life=1), r("lost", tick=4, life=2))),
    ),
    "no_worker_left": (
        seen(lives=lives(*BOTH, (4, W2, False))),
        (
            seen(lives=lives(*BOTH)),
            seen(lives=lives(*BOTH, (500, W2, False)), crashes=[crash()]),
            seen(lives=lives((1, W, True), (2, W, False))),
            seen(lives=lives(*BOTH, (1000, W2, False))),
        ),
    ),
    "restored_twice_in_one_tick": (
        seen(r("restored", agent=2, replayed=1), r("restored", agent=2, replayed=1)),
        (
            seen(r("restored", agent=2, replayed=1), r("restored", agent=3, replayed=1)),
            seen(r("restored", agent=2, tick=1, replayed=1), r("restored", agent=2, tick=2, replayed=1)),
        ),
    ),
    "died_while_restoring": (
        seen(r("restored", worker=W, replayed=1), r("lost", worker=W)),
        (
            seen(r("restored", worker=W, replayed=1), r("received", worker=W), r("lost", worker=W)),
            seen(r("restored", worker=W, replayed=1), r("lost", worker=W2)),
        ),
    ),
    "died_while_replaying": (
        seen(faults=["repair.kill@tick:1,agent:0,during:replay"]),
        (
            seen(faults=["repair.kill@tick:1,agent:0,during:replay"], missed=[0]),
            seen(faults=["repair.kill@tick:1,agent:0,during:restore"]),
        ),
    ),
    "failover_failed": (
        seen(faults=["repair.kill@request:5,during:failover"]),
        (seen(faults=["repair.kill@tick:5,during:probe"]),),
    ),
    "trial_failed": (
        seen(faults=["repair.kill@tick:5,during:probe"]),
        (seen(faults=["repair.kill@request:5,during:failover"]),),
    ),
    "restored_from_image": (seen(r("restored", agent=1, replayed=0)), (seen(r("restored", agent=1, replayed=1)),)),
    "restored_with_replay": (seen(r("restored", agent=1, replayed=1)), (seen(r("restored", agent=1, replayed=0)),)),
    "long_replay": (seen(r("restored", agent=1, replayed=10)), (seen(r("restored", agent=1, replayed=9)),)),
    "died_in_host_call": (
        seen(faults=[f"{KILL},hostcall:2"]),
        (seen(faults=[f"{KILL},hostcall:2"], missed=[0]), seen(faults=[KILL])),
    ),
    "died_with_result": (seen(faults=[f"{KILL},point:after"]), (seen(faults=[KILL]),)),
    "died_in_mid_copy": (seen(faults=[f"{KILL},byte:7"]), (seen(faults=[f"{KILL},hostcall:7"]),)),
    "late_result_refused": (
        seen(r("stale", worker=W, lease=1)),
        (seen(r("stale", worker=-1, lease=1)), seen(r("stale", worker=GPU, lease=1))),
    ),
    "dead_incarnation_answered": (
        seen(r("stale", life=2, worker=W, lease=1)),
        (seen(r("stale", life=1, worker=W, lease=1)), seen(r("stale", life=2, worker=-1, lease=1))),
    ),
    "frame_sent_again": (seen(r("resent", worker=W, lease=1)), (seen(r("sent", worker=W, lease=1)),)),
    "answered_twice": (
        seen(r("resent", worker=W, lease=1), r("stale", worker=W, lease=1)),
        (seen(r("resent", worker=W, lease=1), r("stale", worker=W, lease=2)),),
    ),
    "torn_frame_refused": (
        seen(r("garbled", worker=W)),
        (seen(r("garbled", worker=-1)), seen(r("garbled", worker=GPU))),
    ),
    "torn_client_frame_refused": (seen(r("garbled", worker=-1)), (seen(r("garbled", worker=W)),)),
    "input_offered_twice": (seen(r("stale", worker=-1, lease=3)), (seen(r("stale", worker=W, lease=3)),)),
    "slot_repaired": (seen(r("repaired", buffer=0, version=1)), (seen(r("rewritten", buffer=0, version=1)),)),
    "slot_repaired_twice": (
        seen(r("repaired", buffer=0, version=1), r("repaired", buffer=0, version=1)),
        (seen(r("repaired", buffer=0, version=1), r("repaired", buffer=0, version=2)),),
    ),
    "slot_repaired_amid_loss": (
        seen(r("repaired", tick=3, buffer=0, version=1), r("lost", tick=3)),
        (seen(r("repaired", tick=3, buffer=0, version=1), r("lost", tick=4)),),
    ),
    "recovered": (seen(r("recovered", block=3, cut=0, folded=3)), (seen(r("started", block=0)),)),
    "began_anew": (
        seen(r("started", block=0), r("started", life=2, block=0), crashes=[crash("boot")]),
        (
            seen(r("started", block=0)),
            seen(
                r("started", block=0),
                r("recovered", life=2, block=0, cut=9, folded=0),
                r("started", life=2, block=0),
                crashes=[crash()],
            ),
            seen(r("started", block=0), r("started", life=2, block=4), crashes=[crash()]),
        ),
    ),
    **{
        f"killed_in_{phase}": (seen(crashes=[crash(phase)]), (seen(crashes=[crash("await")]),))
        for phase in ("admit", "dispatch", "commit", "sync", "release", "snapshot")
    },
    "killed_in_recovery": (
        seen(crashes=[crash(), crash("boot")]),
        (
            seen(crashes=[crash("boot")]),
            seen(crashes=[crash(), crash("boot", journal=b"")]),
            seen(crashes=[crash()] * 2),
        ),
    ),
    "killed_twice_in_one_tick": (
        seen(crashes=[crash(tick=3), crash(tick=3)]),
        (seen(crashes=[crash(tick=3), crash(tick=4)]), seen(crashes=[crash(tick=3), crash("boot", tick=3)])),
    ),
    "killed_often": (seen(crashes=[crash()] * 3), (seen(crashes=[crash()] * 2),)),
    "killed_amid_losses": (
        seen(r("lost", tick=5), crashes=[crash(tick=5)]),
        (seen(r("lost", tick=5), crashes=[crash(tick=6)]),),
    ),
    "block_lost": (seen(crashes=[crash(lost=9)]), (seen(crashes=[crash()]),)),
    "torn_tail_cut": (
        seen(r("recovered", block=3, cut=12, folded=3)),
        (seen(r("recovered", block=3, cut=0, folded=3)),),
    ),
    "recovered_from_snapshot": (
        seen(r("recovered", block=9, cut=0, folded=1)),
        (seen(r("recovered", block=9, cut=0, folded=9)),),
    ),
    "recovered_from_older_snapshot": (
        seen(r("snapshot", agent=-1, n=4), r("snapshot", agent=-1, n=8), r("recovered", block=9, cut=0, folded=5)),
        (
            seen(r("snapshot", agent=-1, n=4), r("snapshot", agent=-1, n=8), r("recovered", block=9, cut=0, folded=1)),
            seen(r("snapshot", agent=-1, n=4), r("snapshot", agent=-1, n=8), r("recovered", block=7, cut=0, folded=3)),
            seen(r("snapshot", agent=3, n=8), r("recovered", block=9, cut=0, folded=5)),
            seen(r("recovered", block=9, cut=0, folded=5), r("snapshot", agent=-1, n=8)),
        ),
    ),
    "snapshot_discarded": (seen(r("discarded", file="x", reason="y")), (seen(r("snapshot", agent=1, n=1)),)),
    "released_again": (
        seen(r("released", life=1, block=4), r("released", life=2, block=4)),
        (
            seen(r("released", life=1, block=4), r("released", life=1, block=4)),
            seen(r("released", life=1, block=4), r("released", life=2, block=5)),
        ),
    ),
    "step_failed": (seen(r("failed", agent=1, reason="trap")), (seen(r("lost", worker=W)),)),
    "agent_restarted": (
        seen(blocks=[block(events=(("restart", 2, 1),))]),
        (seen(blocks=[block(events=(("failed", 2, "trap"),))]),),
    ),
    "agent_quarantined": (
        seen(blocks=[block(events=(("quarantined", 2),))]),
        (seen(blocks=[block(events=(("restart", 2, 1),))]),),
    ),
    "two_failed_in_one_tick": (
        seen(blocks=[block(1, "trap", "ok", "fuel")]),
        (seen(blocks=[block(1, "trap", "ok"), block(2, "trap")]),),
    ),
    "failed_amid_losses": (
        seen(r("failed", tick=4, agent=1), r("lost", tick=4)),
        (seen(r("failed", tick=4, agent=1), r("lost", tick=5)),),
    ),
    "failed_amid_a_crash": (
        seen(blocks=[block(3, "trap")], crashes=[crash(tick=3)]),
        (
            seen(blocks=[block(3, "trap")], crashes=[crash(tick=4)]),
            seen(blocks=[block(3, "ok")], crashes=[crash(tick=3)]),
        ),
    ),
    "mailbox_full": (
        seen(blocks=[block(events=(("refused", 7, 1, 2),))]),
        (seen(blocks=[block(events=(("dropped", 7, 2),))]),),
    ),
    "device_lost": (seen(r("device_lost", process=GPU, device=1)), (seen(r("device_lost", process=GPU, device=0)),)),
    "failover_in_mid_generation": (
        seen(
            r("device_lost", process=GPU, device=1),
            r("inferred", request=8, device=0),
            devices=[token(8, GPU, 1), token(8, GPU + 1, 0)],
        ),
        (
            seen(
                r("device_lost", process=GPU, device=1),
                r("inferred", request=8, device=0),
                devices=[token(8, GPU, 1, 0)],
            ),
            seen(
                r("device_lost", process=GPU, device=1), r("inferred", request=8, device=1), devices=[token(8, GPU, 1)]
            ),
            seen(
                r("device_lost", process=GPU, device=1), r("inferred", request=9, device=0), devices=[token(8, GPU, 1)]
            ),
            seen(
                r("device_lost", process=GPU + 1, device=1),
                r("inferred", request=8, device=0),
                devices=[token(8, GPU, 1)],
            ),
        ),
    ),
    "device_lost_in_load": (
        seen(r("device_lost", device=1, cause="load")),
        (seen(r("device_lost", device=1, cause="exit")),),
    ),
    "device_out_of_memory": (
        seen(r("device_lost", device=1, cause="memory")),
        (seen(r("device_lost", device=1, cause="load")),),
    ),
    "device_silent": (seen(r("device_lost", device=1, cause="lease")), (seen(r("lost", worker=W, cause="lease")),)),
    "late_answer_refused": (seen(r("infer_stale", process=GPU, lease=1)), (seen(r("stale", worker=GPU, lease=1)),)),
    "device_trusted_again": (seen(r("device_trusted", device=1)), (seen(r("device_spawned", process=GPU, device=1)),)),
    "device_failed_on_trial": (
        seen(
            r("device_lost", process=GPU, device=1),
            r("infer_sent", process=GPU + 1, device=1),
            r("device_lost", process=GPU + 1, device=1),
        ),
        (
            seen(
                r("device_lost", process=GPU, device=1),
                r("infer_sent", process=GPU + 1, device=1),
                r("device_trusted", device=1),
                r("device_lost", process=GPU + 1, device=1),
            ),
            seen(r("device_lost", process=GPU, device=1), r("device_lost", process=GPU + 1, device=1)),
            seen(
                r("device_lost", process=GPU, device=1),
                r("started", life=2, block=1),
                r("infer_sent", process=GPU + 1, device=1),
                r("device_lost", process=GPU + 1, device=1),
            ),
        ),
    ),
    "device_missing": (seen(r("device_missing", device=1)), (seen(r("device_listed", device=1)),)),
    "cpu_lost": (seen(r("device_lost", process=GPU, device=0)), (seen(r("device_lost", process=GPU, device=1)),)),
    "no_device_left": (
        seen(r("device_lost", tick=2, device=0), r("device_lost", tick=2, device=1)),
        (
            seen(r("device_lost", tick=2, device=0), r("device_lost", tick=3, device=1)),
            seen(r("device_lost", tick=2, device=1), r("device_lost", tick=2, device=1)),
        ),
    ),
    "batch_lost": (
        seen(r("infer_sent", process=GPU, requests=2), r("device_lost", process=GPU, device=1)),
        (
            seen(r("infer_sent", process=GPU, requests=1), r("device_lost", process=GPU, device=1)),
            seen(
                r("infer_sent", process=GPU, requests=2),
                r("infer_received", process=GPU),
                r("device_lost", process=GPU, device=1),
            ),
        ),
    ),
    "device_and_worker_lost": (
        seen(r("lost", tick=6), r("device_lost", tick=6, device=1)),
        (seen(r("lost", tick=6), r("device_lost", tick=7, device=1)),),
    ),
    "requests_survived_a_crash": (
        seen(r("recovered", block=1, cut=0, folded=1), r("infer_sent", process=GPU, requests=1)),
        (
            seen(r("recovered", block=1, cut=0, folded=1), r("opened"), r("infer_sent", process=GPU, requests=1)),
            seen(r("infer_sent", process=GPU, requests=1), r("recovered", block=1, cut=0, folded=1)),
        ),
    ),
    "wrong_answer_caught": (
        seen(r("infer_disagreed", request=1, device=1)),
        (seen(r("infer_stale", process=GPU, lease=1)),),
    ),
    **{f"hazard_{site}": (seen(hazards={site: 1}), (seen(), seen(hazards={"other": 1}))) for site in SITES},
    "reload_amid_a_loss": (
        seen(r("lost", tick=4), blocks=[block(4, events=(("rolled_back", 1, 2, "layout"),))]),
        (
            seen(r("lost", tick=3), blocks=[block(4, events=(("reloaded", 1, 1, 2),))]),
            seen(r("lost", tick=4), blocks=[block(4, events=(("restart", 1),))]),
        ),
    ),
    "reload_amid_a_crash": (
        seen(crashes=[crash(tick=4)], blocks=[block(4, events=(("reloaded", 1, 1, 2),))]),
        (
            seen(crashes=[crash(tick=5)], blocks=[block(4, events=(("reloaded", 1, 1, 2),))]),
            seen(crashes=[crash("boot", tick=4)], blocks=[block(4, events=(("reloaded", 1, 1, 2),))]),
        ),
    ),
    "migration_rolled_back": (
        seen(blocks=[block(4, events=(("rolled_back", 1, 2, "agent_error:7"),))]),
        (
            seen(blocks=[block(4, events=(("rolled_back", 1, 2, "refused:digest"),))]),
            seen(blocks=[block(4, events=(("reloaded", 1, 1, 2),))]),
        ),
    ),
    "rollback_amid_a_loss": (
        seen(r("lost", tick=4), blocks=[block(4, events=(("rolled_back", 1, 2, "layout"),))]),
        (seen(r("lost", tick=4), blocks=[block(4, events=(("reloaded", 1, 1, 2),))]),),
    ),
    "downgraded": (
        seen(blocks=[block(4, events=(("reloaded", 1, 3, 2),))]),
        (
            seen(blocks=[block(4, events=(("reloaded", 1, 2, 2),))]),
            seen(blocks=[block(4, events=(("rolled_back", 1, 1, "x"),))]),
        ),
    ),
    "pool_resized": (seen(r("resized", workers=5)), (seen(r("retired", worker=W)),)),
    "pool_of_one": (seen(r("resized", workers=1)), (seen(r("resized", workers=2)),)),
    "resized_after_a_loss": (
        seen(r("opened", tick=3), r("lost", tick=3), r("opened", tick=5), r("resized", tick=5, workers=5)),
        (
            seen(
                r("opened", tick=2), r("lost", tick=2), r("opened", tick=3), r("opened", tick=5), r("resized", tick=5)
            ),
            seen(r("opened", tick=3), r("lost", tick=3, life=1), r("opened", tick=5), r("resized", tick=5, life=2)),
        ),
    ),
    "shrank_in_recovery": (
        seen(r("recovered", life=2, block=3, cut=0, folded=0), r("resized", life=2, workers=1), r("committed", life=2)),
        (
            seen(r("recovered", life=2, block=3), r("committed", life=2), r("resized", life=2, workers=1)),
            seen(r("recovered", life=2, block=3), r("resized", life=2, workers=7), r("committed", life=2)),
            seen(r("resized", life=1, workers=1), r("recovered", life=2, block=3), r("committed", life=2)),
        ),
    ),
    "flood_refused": (
        seen(blocks=[block(4, events=(("refused", 1, OUTSIDE, 2),) * 100)]),
        (
            seen(blocks=[block(4, events=(("refused", 1, OUTSIDE, 2),) * 99)]),
            seen(blocks=[block(4, events=(("refused", 1, 3, 2),) * 100)]),
        ),
    ),
    "flood_taken": (seen(blocks=[took(100)]), (seen(blocks=[took(99), took(99)]),)),
    "cycle_refused": (
        seen(blocks=[block(4, events=(("refused_tasks", "user", 1, "cycle", "a", "a"),))]),
        (seen(blocks=[block(4, events=(("refused_tasks", "user", 1, "itself", "a"),))]),),
    ),
    "many_skipped": (
        seen(blocks=[block(4, events=(("task_skipped", 1, 2, "a", "b"),) * 3)]),
        (seen(blocks=[block(n, events=(("task_skipped", 1, 2, "a", "b"),) * 2) for n in (4, 5)]),),
    ),
    "came_after_a_failure": (
        seen(
            blocks=[
                block(4, events=(("task_failed", 1, 2, "b", "trap"),)),
                block(5, events=(("task_skipped", 1, 2, "a", "b"),)),
            ]
        ),
        (
            seen(blocks=[block(4, events=(("task_failed", 1, 2, "b", "trap"), ("task_skipped", 1, 2, "a", "b")))]),
            seen(
                blocks=[
                    block(4, events=(("task_done", 1, 2, "b"),)),
                    block(5, events=(("task_skipped", 1, 2, "a", "b"),)),
                ]
            ),
        ),
    ),
    "task_failed_amid_a_crash": (
        seen(crashes=[crash(tick=4)], blocks=[block(4, events=(("task_failed", 1, 2, "b", "trap"),))]),
        (seen(crashes=[crash(tick=4)], blocks=[block(4, events=(("task_skipped", 1, 2, "b", "a"),))]),),
    ),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_holds_in_its_state_and_not_near_it(name: str) -> None:
    there, near = EXAMPLES[name]
    assert PROPERTIES[name].holds(there) and name in reached(there)
    assert near and not any(PROPERTIES[name].holds(one) for one in near)


def test_a_build_whose_trace_has_other_fields_reaches_less_and_breaks_nothing() -> None:
    odd = seen(
        Record(0, "lost", 1, 1, {}), Record(0, "restored", 1, 1, {"replayed": "many"}), Record(0, "stale", 1, 1, {})
    )
    assert reached(odd) == ("worker_lost",)


def test_there_are_at_least_thirty_and_none_holds_in_a_run_in_which_nothing_happened() -> None:
    assert len(PROPERTIES) >= 30 and set(EXAMPLES) == set(PROPERTIES)
    assert reached(seen()) == ()
    sentences = [one.sentence for one in PROPERTIES.values()]
    assert len(set(sentences)) == len(sentences) and all(one.scenarios for one in PROPERTIES.values())


def test_what_cannot_be_reached_is_not_asked_for() -> None:
    stress = find("stress")
    everywhere = set(reachable(SCENARIOS, stress))
    of_graphs = {"cycle_refused", "many_skipped", "came_after_a_failure", "task_failed_amid_a_crash"}
    assert set(PROPERTIES) - everywhere == of_graphs and of_graphs <= set(reachable(["pipeline"], stress))
    assert "failover_in_mid_generation" not in reachable(["hello", "ledger"], stress)
    assert "died_in_mid_copy" not in reachable(["hello"], stress)
    assert reachable(SCENARIOS, find("none")) == ()
    transparent = set(reachable(SCENARIOS, find("transparent")))
    assert "step_failed" not in transparent and "wrong_answer_caught" not in transparent and "recovered" in transparent
    only = from_toml(b'name = "x"\ntitle = "t"\nfaults = [1, 1]\n[weights]\ndefault = 0\n"worker.kill" = 1\n')
    assert "worker_lost" in reachable(SCENARIOS, only) and "recovered" not in reachable(SCENARIOS, only)


def test_a_run_says_what_it_reached_and_one_without_faults_reaches_nothing_of_losses() -> None:
    checker = Checker(get("ledger"))
    names: set[str] = set()
    for n in range(6):
        checked = campaign_run(checker, 1, n)
        names |= set(checked.row.reached)
        if any(record.kind == "lost" for record in checked.history.trace):
            assert "worker_lost" in checked.row.reached
    assert len(names) > 10
    clean = campaign_run(checker, 1, 0, profile=find("none"))
    assert set(clean.row.reached) <= {"mailbox_full", "input_offered_twice"}


# --- reports ----------------------------------------------------------------------------------------------------------

META = Meta(sometimes=(Sometimes(name="a", sentence="something rare"), Sometimes(name="b", sentence="the other")))


def rows(*names: tuple[str, ...]) -> list[RunRow]:
    return [
        RunRow(run=n, scenario="hello", seed=1, workers=2, verdict="PASS", reached=one) for n, one in enumerate(names)
    ]


def test_a_report_counts_runs_and_names_what_was_never_reached() -> None:
    lines = summary.sometimes(rows((), ("a", "unknown"), ("a",)), META)
    assert [(line.name, line.runs, line.first and line.first.run) for line in lines] == [("a", 2, 1), ("b", 0, None)]
    page = render(rows(("a",)), META)
    assert 'Never reached: <a href="#sometimes">the other</a>' in page and "1 of 2" in page
    assert "Never reached" not in render(rows(("a", "b")), META) and "sometimes" not in render(rows(()), Meta())


def test_stress_says_what_it_never_reached_on_the_terminal_and_in_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    common = ("stress", "hello", "--runs", "3", "--jobs", "1", "--store", str(tmp_path))
    told = here(capsys, *common, "--json").json
    results = load(tmp_path / "latest")
    assert set(told["sometimes"]) == set(reachable(["hello"], find("stress")))
    assert set(told["never_reached"]) == {name for name, n in told["sometimes"].items() if not n}
    assert {name for row in results.runs["reached"] for name in row} >= {n for n, k in told["sometimes"].items() if k}
    shown = here(capsys, *common).out
    assert "never reached: " in shown and "of " in shown and "states were reached" in shown
    assert "never reached" in (tmp_path / "latest" / "summary.md").read_text("utf-8")


KILLS = 'name = "kills"\ntitle = "deaths"\nfaults = [3, 6]\nswarm = false\n[weights]\ndefault = 0\n'


def test_until_covered_stops_when_all_is_reached_and_says_after_how_many_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ("worker_lost", "restored_with_replay")
    monkeypatch.setattr("harness.sometimes.reachable", lambda scenarios, profile: wanted)
    common = ("stress", "hello", "--until-covered", "--jobs", "1", "--store", str(tmp_path))
    ended = here(capsys, *common)
    runs = len(load(tmp_path / "latest").runs)
    assert ended.code == 0 and 1 <= runs < 40 and f"covered: all 2 states were reached in {runs} runs" in ended.out


def test_until_covered_is_inconclusive_at_its_bound(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "kills.toml"
    file.write_text(KILLS + '"worker.kill" = 1\n')
    common = ("stress", "hello", "--until-covered", "--runs", "2", "--jobs", "1", "--store", str(tmp_path))
    ended = here(capsys, *common, "--profile", str(file))
    assert ended.code == 12 and "not covered: " in ended.out and "were not reached in 2 runs" in ended.out
