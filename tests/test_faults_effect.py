"""A fault counts when it was carried out and noticed; hand-made histories for both, and for each way to miss."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from faults.effect import effective
from faults.kinds import KINDS
from faults.plan import Plan, parse_fault
from faults.workload_rules import BLOCK_RULES
from faults.wrappers.guests import STEP_KINDS
from runtime.telemetry import Record

MS = 1_000_000


class Performed(NamedTuple):
    at: int
    fault: int
    fields: dict[str, int | str]


def did(at: int, **fields: Any) -> Performed:
    return Performed(at * MS, 0, fields)


def said(at: int, kind: str, incarnation: int = 1, **fields: Any) -> Record:
    return Record(at * MS, kind, incarnation, 3, fields)


LEASE: dict[str, Any] = {"worker": 5, "lease": 9}
WORK = "tick:3,agent:1,direction:work"
DONE = "tick:3,agent:1,direction:done"


def judge(text: str, injections: list[Performed], trace: list[Record], journal: dict[Any, str] | None = None) -> bool:
    plan = Plan(scenario="hello", seed=1, inputs=(), faults=(parse_fault(text),))
    return effective(plan, injections, trace, journal or {})[0]


RELEASE = "direction:release,block:4"
NOISE = "link.noise@tick:3,direction:work"
BATCH: dict[str, Any] = {"process": 7, "lease": 2, "device": 1, "request": 9}
GONE = said(30, "device_lost", process=7, device=1, cause="lease")
LOST = said(30, "lost", cause="lease", **LEASE)
IN_JOURNAL = Performed(10 * MS, 0, {"name": "journal", "at": 70, "size": 90})
BEFORE_THE_CUT = Performed(10 * MS, 0, {"name": "journal", "at": 60, "size": 90})
STOPPED = said(12, "failstop", 0, check="watermark", block=2)
UNSYNCED = said(11, "unsynced", file="journal")
STALE = said(50, "stale", reason="late", **LEASE)
RESENT = said(15, "resent", **LEASE)


def lost(at: int, worker: int) -> Record:
    return said(at, "lost", worker=worker, lease=9, cause="exit")


WRONG = did(10, worker=5, tick=3, agent=1, what="effect")
HANG, POISON = (f"task.{verb}@tick:3,agent:1,hostcall:2" for verb in ("hang", "poison"))
CANCEL = "step.cancel@tick:3,agent:1"
LOOP = [did(10, worker=5, death=1), did(20, worker=6, death=2)]
NO_START = [did(10, worker=5, attempt=1), did(12, worker=6, attempt=2)]
WOKEN = did(40, worker=5, woken=6)
OTHERS = {"first": 5, "second": 6, "second_lease": 8}
SWAPPED = did(10, port="workers", first_lease=9, **OTHERS)
AT_DEVICES = did(10, port="devices", first_lease=7, **OTHERS)

TAKEN = [
    ("worker.kill@tick:3,agent:1", [did(10, worker=5)], [said(11, "lost", worker=5, lease=9, cause="exit")]),
    ("repair.kill@tick:3,agent:1,during:restore", [did(10, worker=5)], [said(11, "lost", worker=5, cause="exit")]),
    ("repair.kill@request:7,during:failover", [did(10, process=5)], [said(11, "device_lost", process=5, cause="exit")]),
    ("worker.stall@tick:3,agent:1", [did(10, **LEASE)], [LOST, STALE]),
    (f"frame.lose@{WORK}", [did(10, **LEASE)], [RESENT]),
    (f"frame.lose@{DONE}", [did(10, **LEASE)], [LOST]),
    (f"frame.duplicate@{WORK}", [did(10, **LEASE)], [STALE]),
    (f"frame.duplicate@{DONE}", [did(10, **LEASE)], [said(10, "stale", reason="late", **LEASE)]),
    (f"frame.duplicate@{DONE}", [did(10, **LEASE)], [said(10, "received", **LEASE), said(10, "received", **LEASE)]),
    (f"frame.delay@{DONE},for=6ms", [did(10, **{"for": 6 * MS}, **LEASE)], [RESENT]),
    (f"frame.delay@{DONE},for=30ms", [did(10, **{"for": 30 * MS}, **LEASE)], [said(40, "stale", **LEASE)]),
    (f"frame.corrupt@{DONE}", [did(10, **LEASE)], [said(10, "garbled", worker=5)]),
    (f"frame.corrupt@{WORK}", [did(10, **LEASE)], [RESENT]),
    ("buffer.flip@buffer:0,version:4", [did(10, buffer=0, version=4)], [said(11, "repaired", buffer=0, version=4)]),
    ("orchestrator.kill@call:7", [did(10, successor=0)], [said(1, "started"), said(12, "recovered", 2, block=3)]),
    ("orchestrator.kill@call:7", [did(10, successor=0)], [said(12, "started", 1, block=0)]),
    ("disk.lose@crash:1", [did(10, removed=0), did(10, removed=3)], [said(12, "recovered", 2)]),
    ("disk.tear@crash:1", [did(10, removed=3)], [said(12, "recovered", 2)]),
    ("frame.lose@direction:inputs", [did(10, inputs=1), did(20, again=1, source="c", n=4)], []),
    ("frame.delay@direction:inputs,for=30ms", [did(10, **{"for": 30 * MS}), did(20, again=1, n=4)], []),
    ("frame.corrupt@direction:inputs", [did(10, inputs=1)], [said(10, "garbled", worker=-1)]),
    ("frame.duplicate@direction:inputs,for=5ms", [did(10, **{"for": 5 * MS})], [said(15, "stale", worker=-1)]),
    ("frame.lose@direction:release,block:4", [did(10, block=4)], [said(b, "released", block=4) for b in (10, 20)]),
    ("frame.corrupt@direction:release,block:4", [did(10, block=4)], [said(20, "released", block=4)]),
    ("frame.duplicate@direction:release,block:4", [did(10, block=4), did(11, discarded=4)], []),
    ("orchestrator.stall@tick:3,phase:sync", [did(10, **{"for": 30 * MS})], [said(10, "durable"), said(41, "durable")]),
    ("disk.slow@tick:3,file:journal", [did(10, **{"for": 30 * MS})], [said(40, "durable", block=3)]),
    ("disk.slow@crash:1,file:journal", [did(10, **{"for": 30 * MS})], [said(40, "started", 2)]),
    ("disk.sync_error@tick:3,file:journal", [did(10, name="journal")], [UNSYNCED, said(12, "started", 2)]),
    ("disk.sync_error@tick:3,file:snapshot", [did(10, name="agent-1")], [said(10, "discarded", file="agent-1")]),
    ("disk.full@tick:3,file:journal", [did(10, **{"for": 5 * MS})], [said(10, "full"), said(16, "room")]),
    ("disk.read_error@crash:1,file:blobs", [did(10, name="blobs")], [said(10, "unreadable", file="blobs")]),
    ("disk.misdirect@tick:3,file:journal", [did(10, name="journal")], [STOPPED]),
    ("disk.misdirect@crash:1,file:journal", [IN_JOURNAL], [said(11, "recovered", 2, cut=20)]),
    ("disk.rot@crash:1,file:journal", [IN_JOURNAL], [STOPPED]),
    ("disk.rot@crash:1,file:watermark", [did(10, name="watermark")], [said(10, "discarded", file="watermark")]),
    ("disk.rollback@crash:1,file:blobs", [did(10, name="blobs")], [STOPPED]),
    ("journal.forge@crash:1", [IN_JOURNAL], [STOPPED]),
    ("snapshot.damage@crash:1", [did(10, name="agent-1")], [said(12, "discarded", file="agent-1")]),
    ("gpu.remove@tick:3", [did(10, **BATCH)], [said(11, "device_lost", process=7, device=1, cause="exit")]),
    ("gpu.remove@tick:3,how=late", [did(10, **BATCH)], [GONE, said(30, "infer_stale", process=7, lease=2)]),
    ("gpu.absent@tick:3", [did(10, device=1, **{"for": 5 * MS})], [said(14, "infer_sent", process=8, device=0)]),
    ("gpu.oom@tick:3", [did(10, **BATCH)], [said(11, "device_lost", process=7, device=1, cause="memory")]),
    ("gpu.slow@tick:3", [did(10, takes=9 * MS, **BATCH)], [said(19, "infer_received", process=7, lease=2)]),
    ("gpu.slow@tick:3", [did(10, takes=90 * MS, **BATCH)], [GONE]),
    ("gpu.wrong@tick:3", [did(10, **BATCH)], [said(12, "infer_disagreed", request=9, device=1)]),
    ("model.load_fail@device:cpu", [did(10, **BATCH)], [said(11, "device_lost", process=7, device=0, cause="load")]),
    ("model.flip@device:cpu", [did(10, **BATCH)], [said(11, "device_lost", process=7, device=0, cause="load")]),
    ("model.swap@device:accel", [did(10, **BATCH)], [said(11, "device_lost", process=7, device=1, cause="load")]),
    ("model.bad_output@tick:3", [did(10, **BATCH)], [said(11, "device_lost", process=7, device=1, cause="device")]),
    ("model.bad_output@tick:3", [did(10, **BATCH)], [said(11, "device_lost", process=7, device=1, cause="load")]),
    ("model.evict@tick:3", [did(10, **BATCH)], [said(10, "model_evicted", worker=7)]),
    ("clock.jump@tick:3", [did(10)], [said(11, "clock", ns=5)]),
    ("clock.jump@tick:3,way=backwards", [did(10)], [said(11, "clock", ns=-5)]),
    ("clock.strobe@tick:3", [did(10)], [said(11, "clock", ns=5), said(14, "clock", ns=-5)]),
    ("clock.drift@tick:3", [did(10), did(12, rang=1)], []),
    ("clock.drift@tick:3,catch_up=yes", [did(10)], [said(40, "clock", ns=9)]),
    ("clock.drift@tick:3,how=leap_second", [did(10)], [said(11, "clock", ns=-5)]),
    ("tick.repeat@tick:3", [did(10)], [said(9, "opened"), said(11, "committed")]),
    ("tick.repeat@tick:3,how=skipped", [did(10), did(15, called=1)], [said(15, "received", **LEASE)]),
    ("scheduler.permute@tick:3", [SWAPPED], [said(10, "received", **LEASE), said(10, "received", worker=6, lease=8)]),
    ("scheduler.permute@tick:3", [AT_DEVICES],
     [said(10, "infer_received", process=5, lease=7), said(10, "infer_received", process=6, lease=8)]),
    (f"frame.reorder@{WORK}", [did(10, **LEASE), did(16, overtaken=1)], [RESENT]),
    (f"frame.reorder@{DONE}", [did(10, **LEASE), did(20, overtaken=2)], [said(20, "stale", **LEASE)]),
    (f"frame.reorder@{RELEASE}", [did(10, block=4), did(30, overtaken=2)], [said(20, "released", block=4)]),
    (f"{NOISE},verb=lose", [did(10, verb="lose", **{"for": 0}, **LEASE)], [RESENT]),
    (f"{NOISE},verb=duplicate", [did(10, verb="duplicate", **{"for": 0}, **LEASE)], [said(11, "stale", **LEASE)]),
    (f"{NOISE},verb=delay", [did(10, verb="delay", **{"for": 6 * MS}, **LEASE)], [RESENT]),
    (f"{NOISE},verb=corrupt", [did(10, verb="corrupt", **{"for": 0}, **LEASE)], [said(10, "garbled", worker=5)]),
    ("link.noise@tick:3,direction:release", [did(10, verb="lose", block=4, **{"for": 0})],
     [said(20, "released", block=4)]),
    ("link.clog@tick:3", [did(10, **{"for": 9 * MS}), did(11, held=1, **LEASE)], [RESENT]),
    ("link.clog@tick:3", [did(10, **{"for": 99 * MS}), did(11, held=1, **LEASE)], [LOST]),
    ("link.clog@tick:3", [did(10, **{"for": 2 * MS}), did(11, held=1, **LEASE)], [STALE]),
    ("link.partition@tick:3,agent:1", [did(10, **LEASE), did(10, cut=1, **LEASE)], [RESENT]),
    ("link.partition@tick:3", [did(10, worker=-1), did(11, cut=1, block=4)], [said(20, "released", block=4)]),
    ("link.partition@tick:3", [did(10, worker=-1), did(11, cut=1, worker=-1), did(20, again=1, n=4)], []),
    ("client.stall@block:4", [did(10, **{"for": 30 * MS}), did(10, held=1, block=4)], [said(20, "released", block=4)]),
    ("pipe.errno@tick:3,agent:1", [did(10, **LEASE)], [said(11, "lost", cause="exit", **LEASE)]),
    ("lock.abandon@tick:3,agent:1", [did(10, **LEASE)], [LOST]),
    *[
        (f"{kind}@buffer:0,version:4", [did(10, buffer=0, version=4)], [said(11, "repaired", buffer=0, version=4)])
        for kind in ("buffer.torn_read", "buffer.zero", "buffer.stale_handle", "buffer.second_writer")
    ],
    ("buffer.second_writer@buffer:0,version:4", [did(10)], [said(11, "rewritten", buffer=0, version=4)]),
    ("buffer.stuck@buffer:0,version:4", [did(10)], [said(at, "repaired", buffer=0, version=4) for at in (11, 12)]),
    ("worker.oom@tick:3,agent:1", [did(10, worker=5)], [lost(11, 5)]),
    ("pool.resize@tick:3,workers=5", [did(10, workers=5)], [said(11, "resized", workers=5)]),
    ("worker.crash_loop@tick:3,agent:1,times=2", LOOP, [lost(11, 5), said(15, "spawned", worker=6), lost(21, 6)]),
    ("worker.crash_loop@tick:3,agent:1,times=1", LOOP[:1], [lost(11, 5)]),
    ("worker.zombie@tick:3,agent:1", [did(10, **LEASE), WOKEN], [said(41, "stale", 2, reason="late", **LEASE)]),
    ("worker.spawn_fail@tick:3,attempts=2", NO_START,
     [said(10, "spawn_failed", worker=5), said(12, "spawn_failed", worker=6), said(20, "spawned", worker=7)]),
    ("worker.wrong@tick:3,agent:1", [WRONG], [said(12, "disagreed", worker=5, agent=1)]),
    ("worker.wrong@tick:3", [WRONG, WRONG._replace(at=20 * MS)], [said(12, "disagreed", worker=5, agent=1)]),
    (HANG, [did(10, worker=5)] * 4, [said(90, "decreed", agent=1, reason="decree:deadline")]),
    (POISON, [did(10, worker=5)] * 4, [said(30, "decreed", agent=1, reason="decree:lost_workers")]),
    (CANCEL, [did(10)], [said(11, "decreed", agent=1, reason="decree:cancelled")]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "injections", "trace"), TAKEN)
def test_a_fault_that_was_carried_out_and_noticed_counts(
    text: str, injections: list[Performed], trace: list[Record]
) -> None:
    assert judge(text, injections, trace)


@pytest.mark.parametrize(("text", "injections", "trace"), TAKEN)
def test_what_was_never_carried_out_does_not_count(text: str, injections: list[Performed], trace: list[Record]) -> None:
    assert not judge(text, [], trace)


@pytest.mark.parametrize(("text", "injections", "trace"), TAKEN)
def test_what_nobody_noticed_does_not_count(text: str, injections: list[Performed], trace: list[Record]) -> None:
    assert not judge(text, injections[:1], [])


@pytest.mark.parametrize(("text", "injections", "trace"), TAKEN)
def test_what_was_noticed_earlier_was_something_else(
    text: str, injections: list[Performed], trace: list[Record]
) -> None:
    late = [injection._replace(at=injection.at + 1_000 * MS) for injection in injections[:1]]
    assert not judge(text, late, trace)


@pytest.mark.parametrize(
    ("text", "injections", "trace"),
    [
        ("worker.kill@tick:3,agent:1", [did(10, worker=5)], [said(11, "lost", worker=6, lease=9, cause="exit")]),
        ("repair.kill@tick:3,agent:1,during:replay", [did(10, worker=5)], [said(11, "lost", worker=6, cause="exit")]),
        ("repair.kill@request:7,during:failover", [did(10, process=5)], [said(11, "lost", worker=5, cause="exit")]),
        ("worker.stall@tick:3,agent:1", [did(10, **LEASE)], [LOST]),
        ("worker.stall@tick:3,agent:1", [did(10, **LEASE)], [STALE]),
        ("worker.stall@tick:3,agent:1", [did(10, **LEASE)], [said(30, "lost", cause="exit", **LEASE), STALE]),
        # The resend that was itself lost does not answer its own loss.
        (f"frame.lose@{WORK},occurrence:2", [did(15, **LEASE)], [RESENT]),
        (f"frame.lose@{WORK}", [did(10, **LEASE)], [said(15, "resent", worker=5, lease=8)]),
        (f"frame.duplicate@{DONE}", [did(10, **LEASE)], [said(10, "received", **LEASE)]),
        # A delay shorter than the resend: whatever came later was for another reason.
        (f"frame.delay@{DONE},for=4ms", [did(10, **{"for": 4 * MS}, **LEASE)], [RESENT]),
        (f"frame.corrupt@{DONE}", [did(10, **LEASE)], [said(10, "garbled", worker=6)]),
        ("buffer.flip@buffer:0,version:4", [did(10)], [said(11, "repaired", buffer=0, version=5)]),
        # The dead one's own last word is not its successor's first.
        ("orchestrator.kill@call:7", [did(10, successor=0)], [said(10, "started", 1)]),
        ("orchestrator.kill@call:7", [did(10, successor=0)], [said(10, "recovered", 1)]),
        # A lost write that was synced anyway.
        ("disk.lose@crash:1", [did(10, removed=0)], [said(12, "recovered", 2)]),
        ("disk.tear@crash:1", [did(10, removed=3)], [said(9, "recovered", 2)]),
        # Something came before the stall or the slow sync was over.
        (
            "orchestrator.stall@tick:3,phase:sync",
            [did(10, **{"for": 30 * MS})],
            [said(39, "durable")],
        ),
        ("disk.slow@tick:3,file:journal", [did(10, **{"for": 30 * MS})], [said(11, "started", 2)]),
        # It ended, and nobody came after it; another file's sync failed; a snapshot of another file went.
        ("disk.sync_error@tick:3,file:journal", [did(10, name="journal")], [UNSYNCED]),
        ("disk.sync_error@tick:3,file:blobs", [did(10, name="blobs")], [UNSYNCED, said(12, "started", 2)]),
        ("disk.sync_error@tick:3,file:snapshot", [did(10, name="agent-1")], [said(10, "discarded", file="agent-2")]),
        # It never had room again; it said so before there was any.
        ("disk.full@tick:3,file:journal", [did(10, **{"for": 5 * MS})], [said(10, "full")]),
        ("disk.full@tick:3,file:journal", [did(10, **{"for": 5 * MS})], [said(10, "full"), said(14, "room")]),
        # What was cut lies behind the damage; another file was thrown away.
        (
            "disk.rot@crash:1,file:journal",
            [BEFORE_THE_CUT],
            [said(11, "recovered", 2, cut=20)],
        ),
        ("disk.rot@crash:1,file:blobs", [did(10, name="blobs", size=90)], [said(11, "recovered", 2, cut=90)]),
        ("snapshot.damage@crash:1", [did(10, name="agent-1")], [said(12, "discarded", file="agent-2")]),
        ("snapshot.damage@crash:1", [did(10, name="agent-1")], [STOPPED]),
        # What a client repeats by itself is not the second copy.
        ("frame.duplicate@direction:inputs,for=5ms", [did(10, **{"for": 5 * MS})], [said(12, "stale", worker=-1)]),
        ("frame.duplicate@direction:inputs,for=5ms", [did(10, **{"for": 5 * MS})], [said(20, "stale", worker=-1)]),
        ("frame.delay@direction:inputs,for=5ms", [did(10, **{"for": 5 * MS}), did(20, again=1, n=4)], []),
        ("frame.lose@direction:release,block:4", [did(10, block=4)], [said(10, "released", block=4)]),
        ("frame.lose@direction:release,block:4", [did(10, block=4)], [said(20, "released", block=5)]),
        ("frame.corrupt@direction:release,block:4", [did(10, block=4)], [said(10, "garbled", worker=-1)]),
        ("gpu.remove@tick:3", [did(10, **BATCH)], [said(11, "device_lost", process=8, device=1, cause="exit")]),
        ("gpu.remove@tick:3,how=late", [did(10, **BATCH)], [GONE]),
        ("gpu.remove@tick:3,how=late", [did(10, **BATCH)], [said(20, "infer_stale", process=7, lease=2), GONE]),
        # The CPU was not asked while the accelerator was away, or the accelerator itself was.
        ("gpu.absent@tick:3", [did(10, device=1, **{"for": 5 * MS})], [said(16, "infer_sent", process=8, device=0)]),
        ("gpu.absent@tick:3", [did(10, device=1, **{"for": 5 * MS})], [said(14, "infer_sent", process=7, device=1)]),
        ("gpu.oom@tick:3", [did(10, **BATCH)], [GONE]),
        # As soon as if it had not been slow; or lost later, for another batch.
        ("gpu.slow@tick:3", [did(10, takes=9 * MS, **BATCH)], [said(18, "infer_received", process=7, lease=2)]),
        ("gpu.slow@tick:3", [did(10, takes=9 * MS, **BATCH)], [GONE]),
        ("gpu.wrong@tick:3", [did(10, **BATCH)], [said(12, "infer_disagreed", request=8, device=1)]),
        ("model.load_fail@device:cpu", [did(10, **BATCH)], [GONE]),
        ("model.flip@device:cpu", [did(10, **BATCH)], [GONE]),
        ("model.swap@device:cpu", [did(10, **BATCH)], [said(11, "device_lost", process=8, device=0, cause="load")]),
        ("model.bad_output@tick:3", [did(10, **BATCH)], [GONE]),
        ("model.evict@tick:3", [did(10, **BATCH)], [said(11, "model_evicted", worker=7)]),
        ("model.evict@tick:3", [did(10, **BATCH)], [said(10, "model_evicted", worker=8)]),
        # It was noticed too late, the other way, or one way only.
        ("clock.jump@tick:3", [did(10)], [said(31, "clock", ns=5)]),
        ("clock.jump@tick:3", [did(10)], [said(11, "clock", ns=-5)]),
        ("clock.strobe@tick:3", [did(10)], [said(11, "clock", ns=5), said(14, "clock", ns=5)]),
        # No time fell due by it; or it leapt when it was over though it should not have.
        ("clock.drift@tick:3", [did(10)], []),
        ("clock.drift@tick:3", [did(10)], [said(40, "clock", ns=9)]),
        ("clock.drift@tick:3,how=year_2038", [did(10), did(12, rang=1)], [said(11, "clock", ns=-5)]),
        # The tick was closed by then; nothing had come, or nobody was called again.
        ("tick.repeat@tick:3", [did(10)], [said(8, "opened"), said(9, "committed")]),
        ("tick.repeat@tick:3,how=skipped", [did(10), did(15, called=1)], [said(10, "opened")]),
        ("tick.repeat@tick:3,how=skipped", [did(10)], [said(15, "received", **LEASE)]),
        (
            "scheduler.permute@tick:3",
            [SWAPPED],
            [said(10, "received", worker=6, lease=8), said(10, "received", **LEASE)],
        ),
        ("scheduler.permute@tick:3", [SWAPPED], [said(10, "received", **LEASE), said(10, "stale", worker=6, lease=8)]),
        # Nothing overtook it; or it went on before anybody missed it.
        (f"frame.reorder@{WORK}", [did(10, **LEASE), did(40, overtaken=0)], [RESENT]),
        (f"frame.reorder@{WORK}", [did(10, **LEASE), did(12, overtaken=1)], [RESENT]),
        (f"{NOISE},verb=delay", [did(10, verb="delay", **{"for": 2 * MS}, **LEASE)], [RESENT]),
        ("link.clog@tick:3", [did(10, **{"for": 9 * MS})], [RESENT]),
        ("link.clog@tick:3", [did(10, **{"for": 2 * MS}), did(11, held=1, **LEASE)], [RESENT]),
        ("link.partition@tick:3,agent:1", [did(10, **LEASE)], [RESENT]),
        ("client.stall@block:4", [did(10), did(10, held=1, block=4)], [said(20, "released", block=5)]),
        ("lock.abandon@tick:3,agent:1", [did(10, **LEASE)], [said(11, "lost", cause="exit", **LEASE)]),
        ("buffer.stuck@buffer:0,version:4", [did(10)], [said(11, "repaired", buffer=0, version=4)]),
        ("worker.oom@agent:1", [did(10, worker=5)], [lost(11, 6)]),
        ("pool.resize@tick:3,workers=5", [did(10, workers=5)], [said(11, "resized", workers=7)]),
        # One death is no loop; nor are two of workers that were there before it.
        ("worker.crash_loop@tick:3,agent:1", LOOP[:1], [lost(11, 5)]),
        ("worker.crash_loop@tick:3,agent:1,times=2", LOOP, [lost(11, 5), lost(21, 6)]),
        ("worker.crash_loop@tick:3,agent:1,times=2", LOOP, [lost(11, 5), said(15, "spawned", worker=6)]),
        # It never woke; or what is stale came before it woke, or is another's.
        ("worker.zombie@tick:3,agent:1", [did(10, **LEASE)], [LOST, STALE]),
        ("worker.zombie@tick:3,agent:1", [did(10, **LEASE), WOKEN], [said(39, "stale", **LEASE)]),
        ("worker.zombie@tick:3,agent:1", [did(10, **LEASE), WOKEN], [said(41, "stale", worker=5, lease=8)]),
        # Nobody was started in the end; or an attempt failed unsaid.
        (
            "worker.spawn_fail@tick:3,attempts=2",
            NO_START,
            [said(10, "spawn_failed", worker=5), said(12, "spawn_failed", worker=6)],
        ),
        (
            "worker.spawn_fail@tick:3,attempts=2",
            NO_START,
            [said(10, "spawn_failed", worker=5), said(20, "spawned", worker=7)],
        ),
        ("worker.wrong@tick:3,agent:1", [WRONG], [said(12, "disagreed", worker=6, agent=1)]),
        ("worker.wrong@tick:3,agent:1", [WRONG], [said(12, "disagreed", worker=5, agent=2)]),
        # Ended for another reason, in another tick, or another's step.
        (HANG, [did(10, worker=5)], [said(90, "decreed", agent=1, reason="decree:lost_workers")]),
        (POISON, [did(10, worker=5)], [said(90, "decreed", agent=1, reason="decree:deadline")]),
        (CANCEL, [did(10)], [said(11, "decreed", agent=1, reason="decree:lost_workers")]),
        (POISON, [did(10, worker=5)], [said(90, "decreed", agent=2, reason="decree:lost_workers")]),
        (
            POISON,
            [did(10, worker=5)],
            [Record(90 * MS, "decreed", 1, 4, {"agent": 1, "reason": "decree:lost_workers"})],
        ),
    ],
)
def test_what_was_noticed_elsewhere_or_for_another_reason_does_not_count(
    text: str, injections: list[Performed], trace: list[Record]
) -> None:
    assert not judge(text, injections, trace)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("agent.trap@tick:3,agent:1,hostcall:2", "trap:injected"),
        ("agent.bad_pointer@tick:3,agent:1", "bad_pointer"),
        ("wasm.trap@tick:3,agent:1,code=bad_signature", "trap:bad_signature"),
        ("wasm.trap@tick:3,agent:1,code=out_of_fuel", "fuel"),
        ("agent.fuel_out@tick:3,agent:1,fuel=17", "fuel"),
        ("wasm.grow_refused@tick:3,agent:1", "agent_error:82"),
        ("agent.misuse@tick:3,agent:1,what=flood", "agent_error:65"),
        ("module.flip@tick:3,agent:1,bit=9", "refused:digest"),
        ("module.unlinkable@tick:3,agent:1,what=wasi", "refused:import"),
        ("module.bomb@tick:3,agent:1,what=size", "refused:size"),
    ],
)
def test_a_visible_fault_counts_when_the_journal_names_it_at_its_step(text: str, reason: str) -> None:
    assert judge(text, [did(10, tick=3, agent=1)], [], {(3, 1): reason})
    assert not judge(text, [did(10, tick=3, agent=1)], [], {(3, 1): "ok"})
    assert not judge(text, [did(10, tick=3, agent=1)], [], {(3, 2): reason})
    assert not judge(text, [], [], {(3, 1): reason})


def test_faults_are_judged_apart_and_every_kind_has_a_rule() -> None:
    texts = ["worker.kill@tick:3,agent:1", "worker.kill@tick:4,agent:1"]
    plan = Plan(scenario="hello", seed=1, inputs=(), faults=tuple(parse_fault(text) for text in texts))
    injections = [Performed(10, 1, {"worker": 7})]
    trace = [Record(11, "lost", 1, 4, {"worker": 7, "lease": 1, "cause": "exit"})]
    assert effective(plan, injections, trace, {}) == {0: False, 1: True}
    judged = {text.partition("@")[0] for text, _, _ in TAKEN} | set(STEP_KINDS) | set(BLOCK_RULES)
    assert judged == {kind.slug for kind in KINDS}
