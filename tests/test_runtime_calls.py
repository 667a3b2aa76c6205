"""The calls of ORC-1: actions as journaled inputs, and a state that another instance goes on from (ORC-4, SNP-1)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import pytest
from faults_kit import ToyStorage
from msgspec.structs import replace
from runtime_kit import agent, booted, carry_on, plan_of, play, restored, simulation, told, twin

from harness.history import History
from harness.simulation import Simulation, journal_digest
from runtime import exports, journal
from runtime.durability import JOURNAL
from runtime.errors import Refused
from runtime.orchestrator import Orchestrator
from runtime.recovery import DECREES, decree_line
from runtime.state import Decree, Input, decode
from runtime.telemetry import Record
from runtime.versions import ALL
from scenarios.registry import get

Act = Callable[[Orchestrator], object]


def started(scenario: str = "hello", **options: Any) -> tuple[Simulation, Orchestrator]:
    """A run that has booted, its genesis about to be admitted."""
    run = simulation(scenario, **options)
    return run, booted(run)


def finish(run: Simulation) -> History:
    history = carry_on(run)
    assert history.finished, history.failure_detail
    return history


def acting(at_block: int, *acts: Act, scenario: str = "hello") -> tuple[History, list[object]]:
    """A run in which somebody calls when this block has been committed; and what the calls returned."""
    run, orchestrator = started(scenario)
    returned: list[object] = []

    def hook(record: Record) -> None:
        if record.kind == "committed" and record.fields["block"] == at_block:
            run.loop.later(0, lambda: returned.extend(act(orchestrator) for act in acts))

    orchestrator.register_telemetry_hook(hook)
    return finish(run), returned


def local(history: History) -> list[tuple[int, Input]]:
    blocks = [line.block for line in journal.read(history.journal).lines]
    return [(block.tick, item) for block in blocks for item in block.inputs if item.source == "local"]


def events(history: History, *kinds: str) -> list[journal.Event]:
    return [e for line in journal.read(history.journal).lines for e in line.block.events if e[0] in kinds]


# --- actions ----------------------------------------------------------------------------------------------------------


def test_each_call_is_a_journaled_input_with_the_id_that_it_returned() -> None:
    acts: list[Act] = [
        lambda o: o.send(0, b"\0\0\0\0text"),
        lambda o: o.publish(0, b"news"),
        lambda o: o.schedule_task(2, b"task", 2),
        lambda o: o.join_channel(1, 0),
        lambda o: o.pause(3),
        lambda o: o.resume(3),
        lambda o: o.terminate(2),
        lambda o: o.release(1),
        lambda o: o.spawn_agent(agent("late")),
    ]
    history, ids = acting(2, *acts)
    assert ids == [("local", n) for n in range(1, 10)]
    assert [(item.source, item.n) for _, item in local(history)] == ids
    assert len({tick for tick, _ in local(history)}) == 1, "all in the next tick"
    assert ("lifecycle", 3, "active", "paused") in events(history, "lifecycle")
    assert ("lifecycle", 2, "active", "terminated") in events(history, "lifecycle")
    assert events(history, "illegal") == [("illegal", 1, "release", "active")]
    final = decode(history.final_state)
    assert [a.spec.name for a in final.agents][4:] == ["late"] and 1 in final.subscribers[0]


def test_a_spawned_agent_runs_or_is_refused_like_any_other() -> None:
    spec = replace(get("hello").agents[3], name="critic-two")
    history, _ = acting(2, lambda o: o.spawn_agent(spec), lambda o: o.spawn_agent(agent("nowhere")))
    lifecycles = events(history, "lifecycle", "failed")
    assert ("lifecycle", 4, "starting", "active") in lifecycles
    assert ("failed", 5, "refused:digest") in lifecycles


def test_what_is_not_there_when_the_action_is_applied_is_refused_on_record() -> None:
    history, _ = acting(2, lambda o: o.send(77, b"x"), lambda o: o.publish(9, b"x"), lambda o: o.pause(77))
    assert [e[0] for e in events(history, "refused", "illegal")] == ["refused", "refused", "illegal"]


BAD: dict[str, Act] = {
    "a negative agent": lambda o: o.send(-1, b""),
    "the outside's number": lambda o: o.pause(0xFFFFFFFF),
    "a topic of 33 bits": lambda o: o.publish(1 << 32, b""),
    "a task in the past": lambda o: o.schedule_task(0, b"", -1),
    "a task in eternity": lambda o: o.schedule_task(0, b"", 1 << 32),
    "a long message": lambda o: o.send(0, bytes(65_537)),
    "a long task": lambda o: o.schedule_task(0, bytes(65_537)),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_an_input_is_refused_by_name_and_leaves_no_trace(name: str) -> None:
    refusals: list[str] = []

    def act(orchestrator: Orchestrator) -> None:
        with pytest.raises(Refused) as refused:
            BAD[name](orchestrator)
        refusals.append(str(refused.value))

    history, _ = acting(2, act)
    assert len(refusals) == 1 and "\n" not in refusals[0]
    assert local(history) == [] and journal_digest(history) == journal_digest(twin("hello"))


def test_a_call_before_the_start_or_after_the_end_is_refused_by_name() -> None:
    run, orchestrator = started()
    with pytest.raises(Refused, match="not started"):
        orchestrator.send(0, b"")
    with pytest.raises(Refused, match="no state yet"):
        orchestrator.snapshot_state()
    finish(run)
    with pytest.raises(Refused, match="it is over"):
        orchestrator.send(0, b"")


def test_an_instance_that_was_killed_numbers_its_actions_on() -> None:
    """No action is taken for one that was admitted before the crash."""
    run = simulation("hello", "orchestrator.kill@tick:5,phase:commit")
    ids: list[tuple[str, int]] = []

    def act(block: int) -> None:
        assert run.orchestrator is not None
        ids.append(run.orchestrator.publish(0, b"block %d" % block))

    class Watching(list):  # type: ignore[type-arg]
        def append(self, record: Record) -> None:
            super().append(record)
            if record.kind == "committed" and record.fields["block"] in (2, 6):
                run.loop.later(0, lambda: act(int(record.fields["block"])))

    run.history.trace = Watching()
    history = run.run()
    assert history.finished and len(history.crashes) == 1
    assert [(item.source, item.n) for _, item in local(history)] == ids == [("local", 1), ("local", 2)]


# --- export and import ------------------------------------------------------------------------------------------------


@cache
def exported(scenario: str = "hello", block: int = 4, *faults: str, **options: int) -> bytes:
    """What `snapshot_state` gives just after this block has become durable."""
    run = simulation(scenario, *faults, **options)
    taken: list[bytes] = []

    class Watching(list):  # type: ignore[type-arg]
        def append(self, record: Record) -> None:
            super().append(record)
            if record.kind == "durable" and int(record.fields["block"]) >= block and not taken:
                assert run.orchestrator is not None
                taken.append(run.orchestrator.snapshot_state())

    run.history.trace = Watching()
    history = run.run()
    assert (history.finished and journal_digest(history) == journal_digest(twin(scenario))) or options
    return taken[0]


def elsewhere(data: bytes, scenario: str = "hello", **options: int) -> History:
    """Another machine, another client, another pool of workers: what it does with the export."""
    run = simulation(scenario, files={}, **options)
    exports.write(run.disk, data)
    return run.run()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    ("scenario", "block"), [("hello", 1), ("hello", 4), ("hello", 9), ("ledger", 40), ("frames", 50), ("edges", 11)]
)
def test_an_instance_restored_elsewhere_goes_on_to_the_same_end(scenario: str, block: int, workers: int) -> None:
    """SNP-1."""
    data = exported(scenario, block)
    history = elsewhere(data, scenario, workers=workers)
    assert history.finished and not history.failure, history.failure_detail
    assert journal_digest(history) == journal_digest(twin(scenario))
    assert history.final_state == twin(scenario).final_state
    assert history.files[JOURNAL] == twin(scenario).files[JOURNAL]
    (recovered,) = told(history, "recovered")
    assert int(recovered["block"]) == exports.read(data).block >= block


def test_a_restored_instance_uses_the_snapshots_that_came_with_it() -> None:
    (recovered,) = told(elsewhere(exported("ledger", 90), "ledger"), "recovered")
    assert 0 < int(recovered["folded"]) < int(recovered["block"])


@pytest.mark.parametrize("block", range(1, 10))
def test_an_export_ends_at_a_synced_block_whenever_it_is_taken(block: int) -> None:
    export = exports.read(exported("hello", block))
    lines = journal.read(export.files[JOURNAL]).lines
    assert [lines[-1].number, lines[-1].hash] == [export.block, export.hash] and export.block >= block
    assert twin("hello").files[JOURNAL].startswith(export.files[JOURNAL])


def test_an_export_from_before_the_first_block_begins_at_the_beginning() -> None:
    run, orchestrator = started()
    taken: list[bytes] = []

    def hook(record: Record) -> None:
        if record.kind == "started":
            run.loop.later(0, lambda: taken.append(orchestrator.snapshot_state()))

    orchestrator.register_telemetry_hook(hook)
    finish(run)
    assert exports.read(taken[0]).block == 0
    history = elsewhere(taken[0])
    assert history.finished and journal_digest(history) == journal_digest(twin("hello"))


def test_restore_starts_an_orchestrator_on_an_empty_storage() -> None:
    run = simulation("hello", files={})
    restored(run, exported())
    history = finish(run)
    assert journal_digest(history) == journal_digest(twin("hello")) and history.final_state == twin("hello").final_state


def test_decrees_travel_with_an_export() -> None:
    blocks = [line.block for line in journal.read(twin("hello").journal).lines]
    tick = next(b.tick for b in blocks[5:] if any(s.agent == 0 for s in b.steps))
    decrees = (Decree(0, "decree:lost_workers", tick),)
    straight = play("hello", decrees=decrees)
    run = simulation("hello", decrees=decrees)
    taken: list[bytes] = []
    orchestrator = booted(run)
    orchestrator.register_telemetry_hook(
        lambda r: taken.append(orchestrator.snapshot_state()) if r.kind == "durable" else None
    )
    finish(run)
    assert len({journal_digest(elsewhere(data)) for data in [*taken[:3], taken[-1]]} | {journal_digest(straight)}) == 1


def test_a_decree_that_is_not_synced_does_not_travel() -> None:
    storage = ToyStorage()
    kept, pending = Decree(1, "decree:lost_workers", 3), Decree(2, "decree:lost_workers", 3)
    for name, data in {"journal": b"", "blobs": b""}.items():
        storage.write(name, 0, data)
    storage.write(DECREES, 0, decree_line(kept) + decree_line(pending))
    mark = exports.Watermark(0, 1, 0, journal.GENESIS)
    assert exports.read(exports.take(storage, mark, [pending])).files[DECREES] == decree_line(kept)


def test_an_export_of_a_restored_instance_is_as_good() -> None:
    first = simulation("hello", files={})
    exports.write(first.disk, exported("hello", 2))
    taken: list[bytes] = []

    class Watching(list):  # type: ignore[type-arg]
        def append(self, record: Record) -> None:
            super().append(record)
            if record.kind == "durable" and first.orchestrator is not None:
                taken.append(first.orchestrator.snapshot_state())

    first.history.trace = Watching()
    assert first.run().finished
    for data in (taken[0], taken[-1]):
        assert journal_digest(elsewhere(data)) == journal_digest(twin("hello"))


def refused(data: bytes) -> str:
    """Why; and nothing is written."""
    storage = ToyStorage()
    with pytest.raises(Refused) as error:
        exports.write(storage, data)
    assert storage.names() == [] and "\n" not in str(error.value)
    return str(error.value)


def test_a_damaged_export_is_refused_and_nothing_written() -> None:
    data = exported()
    for position in [*range(60), *range(60, len(data), 997)]:
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        refused(bytes(damaged))
    for length in (0, 1, 47, 48, 49, len(data) // 2, len(data) - 1):
        refused(data[:length])
    refused(data + b"\0")


def sealed(body: bytes, version: int = exports.EXPORT) -> bytes:
    return struct.pack("<4sIQ32s", b"WEX1", version, len(body), hashlib.sha256(body).digest()) + body


def test_an_export_of_another_version_is_refused_by_name() -> None:
    """SCM-1."""
    export = exports.read(exported())
    body = exported()[48:]
    assert f"export version 2, this build reads {exports.EXPORT}" in refused(sealed(body, 2))
    for name in ("journal", "snapshot", "state"):
        other = replace(export, versions={**ALL, name: 99})
        assert f"{name} version 99, this build reads {ALL[name]}" in refused(sealed(msgspec.msgpack.encode(other)))


def test_a_forged_export_with_a_good_checksum_is_refused_by_name() -> None:
    export = exports.read(exported())
    longer = export.files[JOURNAL].replace(b'"tick":3', b'"tick":4', 1)
    forgeries = {
        "lacks a file": replace(export, files={JOURNAL: b""}),
        "unknown file": replace(export, files={**export.files, "../../etc/passwd": b""}),
        "is not the one that was synced": replace(export, hash="0" * 64),
        "the journal ends earlier": replace(export, block=export.block + 1),
        "does not continue the chain": replace(export, files={**export.files, JOURNAL: longer}),
    }
    for reason, forged in forgeries.items():
        assert reason in refused(sealed(msgspec.msgpack.encode(forged))), reason
    for body in (b"", b"\xc1", msgspec.msgpack.encode([1, 2]), msgspec.msgpack.encode({"block": "x"})):
        assert "holds something else" in refused(sealed(body))


def test_only_an_empty_storage_takes_an_export() -> None:
    storage = ToyStorage()
    storage.write("journal", 0, b"")
    with pytest.raises(Refused, match="not empty"):
        exports.write(storage, exported())
    assert storage.read("journal") == b""


@pytest.mark.parametrize("call", range(1, 20))
@pytest.mark.parametrize("disk", ["", "disk.lose@crash:1", "disk.tear@crash:1"])
def test_a_machine_that_dies_while_it_imports_never_goes_on_from_half(call: int, disk: str) -> None:
    """It goes on rightly, or stops, or was never there; a disk that is empty again runs from the beginning."""
    faults = [f"orchestrator.kill@call:{call}", *([disk] if disk else [])]
    run = Simulation(get("hello"), plan_of("hello", *faults), None, {})
    exports.write(run.disk, exported())
    history = run.run()
    if history.finished:
        assert journal_digest(history) == journal_digest(twin("hello"))
    else:
        assert history.failure == "watermark" and history.receipts == []
