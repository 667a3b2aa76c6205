"""The orchestrator stops where it must, and only there; what it is given from outside cannot harm it (ORC-1, SCH-4)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from msgspec.structs import replace
from runtime_kit import SEED, booted, carry_on, plan_of, play, simulation, told, twin

from harness.assembly import ModuleArtifacts
from harness.history import History
from harness.simulation import Simulation, journal_digest, trace_digest
from runtime import journal, snapshot, watermark
from runtime.durability import BLOBS, JOURNAL
from runtime.frames import Inputs, Release, pack, unpack
from runtime.recovery import DECREES
from runtime.snapshot import AgentFile, StateFile, pack_file, unpack_agent, unpack_state
from runtime.state import Input, Send, decode, encode
from runtime.versions import ALL
from scenarios.edges import FLOOD, GROW, POINTER, SINK, TRAP
from scenarios.registry import get

Files = dict[str, bytes]
SCENARIOS = ("hello", "ledger", "frames", "edges")


def disk(scenario: str = "hello") -> Files:
    """The disk that a finished run leaves."""
    return dict(twin(scenario).files)


def again(files: Files, scenario: str = "hello") -> History:
    return play(scenario, files=files)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def ended_by(history: History) -> tuple[str, int]:
    """The check that stopped the run, and how many modules' steps and released blocks it let happen."""
    return history.failure, len(history.guests) + len(history.receipts)


# --- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("workers", [1, 2, 3, 7, 16])
def test_the_journal_is_the_same_for_any_number_of_workers(scenario: str, workers: int) -> None:
    """SCH-4."""
    history = play(scenario, workers=workers)
    assert history.finished and history.files[JOURNAL] == twin(scenario).files[JOURNAL]
    assert history.final_state == twin(scenario).final_state


@pytest.mark.parametrize(
    "options", [{"sync_ahead": 1}, {"sync_ahead": 100}, {"keep_snapshots": 1}, {"resend_ns": 60_000}]
)
def test_the_journal_is_the_same_for_any_physical_options(options: dict[str, int]) -> None:
    assert journal_digest(play("ledger", **options)) == journal_digest(twin("ledger"))


def test_the_same_run_again_is_the_same_to_the_bit() -> None:
    first, second = play("hello", "worker.kill@tick:5,agent:0"), play("hello", "worker.kill@tick:5,agent:0")
    assert trace_digest(first.trace) == trace_digest(second.trace) and first.files == second.files


def test_another_seed_is_another_journal() -> None:
    other = play("hello", seed=SEED + 1)
    assert other.finished and journal_digest(other) != journal_digest(twin("hello"))


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize(
    "kills", [(), ("worker.kill@tick:{},agent:{}",), ("worker.kill@tick:{},agent:{},point:after",)]
)
def test_agents_at_the_edges_of_the_abi_fail_alone_and_the_same_everywhere(
    workers: int, kills: tuple[str, ...]
) -> None:
    """ORC-3: a full mailbox, pointer -4, growth before a send, a trap in mid-send."""
    blocks = [line.block for line in journal.read(twin("edges").journal).lines]
    failing = [(b.tick, s.agent) for b in blocks for s in b.steps if s.status != "ok"]
    faults = [kill.format(*step) for kill in kills for step in failing]
    history = play("edges", *faults, workers=workers)
    assert history.finished and len(history.injections) == len(faults)
    assert journal_digest(history) == journal_digest(twin("edges"))


def test_the_edge_agents_end_as_they_are_designed_to() -> None:
    blocks = [line.block for line in journal.read(twin("edges").journal).lines]
    statuses: dict[int, list[str]] = {}
    refused = [event for block in blocks for event in block.events if event[0] == "refused"]
    for block in blocks:
        for step in block.steps:
            statuses.setdefault(step.agent, []).append(step.status)
    assert {a: sorted(set(s)) for a, s in statuses.items()} == {
        SINK: ["ok"],
        FLOOD: ["ok"],
        POINTER: ["bad_pointer", "ok"],
        GROW: ["agent_error:2", "ok"],
        TRAP: ["ok", "trap:unreachable"],
    }
    assert {event[2] for event in refused} == {FLOOD} and len(refused) > 10
    for block in blocks:
        for step in block.steps:
            assert step.status == "ok" or step.effects == ()


# --- what stops it ----------------------------------------------------------------------------------------------------


def test_a_finished_run_that_is_started_again_ends_at_once() -> None:
    history = again(disk())
    assert history.finished and history.guests == [] and history.files[JOURNAL] == disk()[JOURNAL]
    assert len(history.receipts) == len(twin("hello").receipts), "a new client gets all of it"


def test_a_journal_without_a_watermark_stops_the_run() -> None:
    files = disk()
    del files[watermark.NAME]
    assert ended_by(again(files)) == ("watermark", 0)


@pytest.mark.parametrize("mark", [b"", bytes(watermark.SLOT * 2), b"\xff" * 600])
def test_a_watermark_of_which_no_slot_verifies_stops_the_run(mark: bytes) -> None:
    assert ended_by(again({**disk(), watermark.NAME: mark})) == ("watermark", 0)


def test_one_damaged_slot_of_the_watermark_is_survived() -> None:
    mark = disk()[watermark.NAME]
    for at in (20, watermark.SLOT + 20):
        assert again({**disk(), watermark.NAME: flipped(mark, at)}).finished


def test_a_damaged_synced_block_stops_the_run_before_anything_leaves() -> None:
    data = disk()[JOURNAL]
    for at in range(data.index(b"\n") + 30, len(data) - 2, len(data) // 25):
        history = again({**disk(), JOURNAL: flipped(data, at)})
        assert ended_by(history) == ("watermark", 0), at
        assert f"block {data[:at].count(10)} " in history.failure_detail


def test_a_damaged_header_of_a_synced_journal_stops_the_run() -> None:
    data = disk()[JOURNAL]
    for at in (3, 40, data.index(b"\n") - 1, data.index(b"\n")):
        assert ended_by(again({**disk(), JOURNAL: flipped(data, at)})) == ("watermark", 0)


def test_a_journal_that_was_cut_below_the_watermark_stops_the_run() -> None:
    lines = disk()[JOURNAL].splitlines(keepends=True)
    for data in (b"", b"".join(lines[:1]), b"".join(lines[:-1]), b"".join(lines)[:-1]):
        assert ended_by(again({**disk(), JOURNAL: data})) == ("watermark", 0)
    files = disk()
    del files[JOURNAL]
    assert ended_by(again(files)) == ("watermark", 0)


def test_another_runs_journal_stops_the_run() -> None:
    other = play("hello", seed=SEED + 1).files[JOURNAL]
    assert ended_by(again({**disk(), JOURNAL: other}))[0] == "watermark"


def test_a_damaged_blob_that_a_synced_block_needs_stops_the_run() -> None:
    blobs = disk("frames")[BLOBS]
    for at in (0, 40, len(blobs) // 2, len(blobs) - 1):
        assert ended_by(again({**disk("frames"), BLOBS: flipped(blobs, at)}, "frames")) == ("watermark", 0)


def test_blobs_that_no_block_needs_may_be_gone() -> None:
    files = disk()
    assert files[BLOBS] == b""
    del files[BLOBS], files[DECREES]
    assert again(files).finished


def test_a_client_that_has_seen_more_than_the_journal_holds_stops_the_run() -> None:
    """The disk is older than what left from it: a lie about durability, or a restore of an old copy."""
    lines = journal.read(disk()[JOURNAL]).lines
    run = simulation("hello", files=cut(lines[3]))
    run.client.cursor = 5
    history = run.run()
    assert history.failure == "cursor" and history.receipts == [] and history.guests == []


def cut(line: journal.Line, scenario: str = "hello") -> Files:
    """The disk as it would be with the journal ending there, later snapshots and all."""
    _, data = watermark.slot_bytes(watermark.Watermark(2, 1, line.number, line.hash))
    return {**disk(scenario), JOURNAL: disk(scenario)[JOURNAL][: line.end], watermark.NAME: data}


@pytest.mark.parametrize("name", ["journal", "state", "snapshot"])
def test_a_disk_of_another_version_is_refused_by_name(name: str) -> None:
    """SCM-1."""
    data = disk()[JOURNAL]
    held, other = (b'"%b":%d' % (name.encode(), version) for version in (ALL[name], 99))
    body = data[: data.index(b"\n")][10:-74].replace(held, other)
    header = b'{"header":%b,"sum":"%b"}' % (body, hashlib.sha256(body).hexdigest().encode())
    history = again({**disk(), JOURNAL: header + data[data.index(b"\n") :]})
    assert f"{name} version 99 is not readable here" in history.failure_detail and history.guests == []


# --- snapshots: the journal outranks them -----------------------------------------------------------------------------


def snapshots(files: Files) -> list[str]:
    return sorted(name for name in files if name.startswith(("agent-", "state-")))


def in_the_middle(scenario: str = "ledger", keep: int = 64) -> tuple[Files, int]:
    """A disk that ends in mid-run, with all its snapshots: (files, number of blocks)."""
    straight = play(scenario, keep_snapshots=keep)
    lines = journal.read(straight.journal).lines
    line = lines[len(lines) * 2 // 3]
    _, data = watermark.slot_bytes(watermark.Watermark(2, 1, line.number, line.hash))
    return {**straight.files, JOURNAL: straight.files[JOURNAL][: line.end], watermark.NAME: data}, line.number


def carried_on(files: Files, scenario: str = "ledger") -> History:
    history = again(files, scenario)
    assert history.finished and not history.failure, history.failure_detail
    assert journal_digest(history) == journal_digest(twin(scenario))
    assert history.final_state == twin(scenario).final_state
    return history


def test_a_run_goes_on_from_its_snapshots_to_the_same_end() -> None:
    """SNP-1."""
    files, blocks = in_the_middle()
    (recovered,) = told(carried_on(files), "recovered")
    assert recovered["block"] == blocks and 0 < int(recovered["folded"]) < blocks


def without(files: Files) -> Files:
    return {name: data for name, data in files.items() if name not in snapshots(files)}


def all_damaged(files: Files) -> Files:
    return {name: flipped(data, len(data) // 2) if name in snapshots(files) else data for name, data in files.items()}


def all_cut(files: Files) -> Files:
    return {name: data[:50] if name in snapshots(files) else data for name, data in files.items()}


def all_empty(files: Files) -> Files:
    return {name: b"" if name in snapshots(files) else data for name, data in files.items()}


def rotated(files: Files) -> Files:
    """Every snapshot under the name of the next one: agents' files as state's and the other way round."""
    names = snapshots(files)
    moved = {name: files[other] for name, other in zip(names, [*names[1:], names[0]], strict=True)}
    return {**files, **moved}


def agents_swapped(files: Files) -> Files:
    """The images of each agent are those of another one, with the very same module."""
    names = [name for name in snapshots(files) if name.startswith("agent-")]
    moved = {name: files[other] for name, other in zip(names, names[::-1], strict=True)}
    return {**files, **moved}


def renumbered(files: Files) -> Files:
    """Well-made files that say they are of another step than the journal has an image of."""
    changed = dict(files)
    for name in snapshots(files):
        if name.startswith("agent-"):
            content = unpack_agent(files[name])
            assert isinstance(content, AgentFile)
            changed[name] = pack_file(replace(content, image=replace(content.image, n=content.image.n + 1)))
    return changed


def other_states(files: Files) -> Files:
    """Well-made state files with a state that the journal knows nothing of."""
    changed = dict(files)
    for name in snapshots(files):
        if name.startswith("state-"):
            content = unpack_state(files[name])
            assert isinstance(content, StateFile)
            state = decode(content.state)
            state.outside += 1
            changed[name] = pack_file(replace(content, state=encode(state)))
    return changed


def no_states(files: Files) -> Files:
    return {
        name: pack_file(StateFile(int(name[6:]), b"\x93no state at all")) if name.startswith("state-") else data
        for name, data in files.items()
    }


def foreign(files: Files) -> Files:
    names = (
        "agent-",
        "agent-x",
        "agent-00001-",
        "agent-00001-zzzzzzzz",
        "state-",
        "state-x",
        "agent--0001-00000003",
        "x",
    )
    return {**files, **dict.fromkeys(names, b"whatever"), "agent-00099-00000001": b"", "state-99999999": b""}


def only_states(files: Files) -> Files:
    return {name: data for name, data in files.items() if not name.startswith("agent-")}


def only_agents(files: Files) -> Files:
    return {name: data for name, data in files.items() if not name.startswith("state-")}


@pytest.mark.parametrize(
    "damage",
    [without, all_damaged, all_cut, all_empty, rotated, agents_swapped, renumbered, other_states, no_states, foreign,
     only_states, only_agents],
)  # fmt: skip
@pytest.mark.parametrize("scenario", ["ledger", "frames"])
def test_snapshots_that_are_damaged_swapped_or_forged_are_discarded_and_not_fatal(
    damage: Callable[[Files], Files], scenario: str
) -> None:
    """STA-2."""
    files, _ = in_the_middle(scenario)
    carried_on(damage(files), scenario)


@pytest.mark.parametrize("share", range(4))
def test_any_one_snapshot_swapped_for_any_other_is_discarded(share: int) -> None:
    files, _ = in_the_middle("hello")
    names = snapshots(files)
    pairs = [(one, other) for one in names for other in names if one != other][share::16]
    for one, other in pairs:
        history = again({**files, one: files[other]})
        assert history.finished, (one, other, history.failure_detail)
        assert journal_digest(history) == journal_digest(twin("hello")), (one, other)


def test_a_discarded_snapshot_is_told_by_name_and_reason() -> None:
    files, _ = in_the_middle()
    discarded = told(carried_on(all_damaged(files)), "discarded")
    assert {fields["reason"] for fields in discarded} == {"damaged", "the journal has no such block"}
    assert {str(fields["file"])[:6] for fields in discarded} == {"agent-", "state-"}


def test_only_the_newest_snapshots_are_kept() -> None:
    files = play("ledger", keep_snapshots=2).files
    kinds: dict[str, int] = {}
    for name in snapshots(files):
        kinds[name.rpartition("-")[0]] = kinds.get(name.rpartition("-")[0], 0) + 1
    assert set(kinds.values()) == {2} and len(kinds) == 17


# --- what clients send ------------------------------------------------------------------------------------------------


def hostile(*frames: bytes, every_ns: int = 300_000, scenario: str = "hello") -> Simulation:
    """A run whose gateway gets these frames over and over, beside the client's own."""
    run = simulation(scenario)
    for n in range(12):
        for frame in frames:
            run.loop.later(n * every_ns, lambda frame=frame: run.client.arrive(frame))
    return run


def message(n: int, source: str = "user", tick: int = 1) -> Input:
    return Input(Send(0, b"hostile"), n, source, tick)


HOSTILE = {
    "garbage": b"garbage",
    "nothing": b"",
    "another kind": pack(Release(1, 1, (), (), True)),
    "negative cursor": pack(Inputs(-1, ())),
    "very negative cursor": pack(Inputs(-(1 << 60), ())),
    "zeroth input": pack(Inputs(0, (message(0),))),
    "negative input": pack(Inputs(0, (message(-1), message(-100)))),
    "input that nobody planned": pack(Inputs(0, (message(7), message(1 << 60)))),
    "unknown source": pack(Inputs(0, (message(1, "nobody"), message(2, "nobody")))),
    "genesis of its own": pack(Inputs(0, (message(1, "genesis"), message(99, "genesis")))),
    "local of its own": pack(Inputs(0, (message(1, "local"),))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_hostile_client_sends_changes_nothing(name: str) -> None:
    history = hostile(HOSTILE[name]).run()
    assert history.finished, history.failure_detail
    assert journal_digest(history) == journal_digest(twin("hello"))


@pytest.mark.parametrize("cursor", [-1, -2, -3, -5])
def test_nothing_leaves_before_it_is_durable_whatever_a_cursor_says(cursor: int) -> None:
    """LOG-1: in particular not a block from the end of the list."""
    run = hostile(pack(Inputs(cursor, ())), every_ns=70_000)
    ends = {line.number: line.end for line in journal.read(twin("hello").journal).lines}
    early: list[int] = []
    send = run.client.send

    def watched(frame: bytes) -> None:
        release = unpack(frame)
        assert isinstance(release, Release)
        if run.disk.durable_length(JOURNAL) < ends[release.block]:
            early.append(release.block)
        send(frame)

    run.client.send = watched  # type: ignore[method-assign]
    assert run.run().finished and early == []


def test_inputs_that_come_again_and_in_any_order_are_admitted_once_each() -> None:
    """MSG-2."""
    inputs = get("hello").workload(SEED)
    frames = [pack(Inputs(0, (inputs[-1 - n], inputs[n]))) for n in range(len(inputs))]
    history = hostile(*frames).run()
    assert history.finished and journal_digest(history) == journal_digest(twin("hello"))
    assert told(history, "stale") != []


def test_a_tick_waits_for_the_inputs_that_are_due_in_it() -> None:
    two = plan_of("hello").inputs[:2]
    run = simulation("hello")
    run.client.start = lambda: run.client.arrive(pack(Inputs(0, two)))  # type: ignore[method-assign]
    run.client.send = lambda frame: None  # type: ignore[method-assign]
    booted(run)
    carry_on(run, 100_000_000)
    third = get("hello").workload(SEED)[2].tick
    ticks = [line.block.tick for line in journal.read(twin("hello").journal).lines]
    assert run.orchestrator is not None and run.orchestrator.phase == "admit"
    assert run.orchestrator.tick == max(tick for tick in ticks if tick < third)


def test_snapshot_names_are_those_that_recovery_reads() -> None:
    assert {snapshot.agent_name(0, 1), snapshot.state_name(1)} <= set(play("hello", keep_snapshots=64).files)


# --- modules that are gone --------------------------------------------------------------------------------------------


def test_a_run_whose_modules_are_gone_ends_their_steps_by_decree(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore that finds no module is repeated a few times; then the step, and later each init, fails by name."""
    blocks = [line.block for line in journal.read(twin("hello").journal).lines]
    tick, agent = next((b.tick, s.agent) for b in blocks for s in b.steps if s.kind == "step")
    found = ModuleArtifacts.get
    hello, calls = get("hello"), list[str]()

    def vanishing(self: ModuleArtifacts, digest: str) -> bytes:
        calls.append(digest)
        if len(calls) > len(hello.agents):
            raise KeyError(digest)
        return found(self, digest)

    monkeypatch.setattr(ModuleArtifacts, "get", vanishing)
    history = play("hello", f"worker.kill@tick:{tick},agent:{agent}")
    statuses = [s.status for line in journal.read(history.journal).lines for s in line.block.steps if s.status != "ok"]
    assert history.finished and told(history, "unable")
    assert statuses[0] == "decree:lost_workers" and set(statuses[1:]) <= {"decree:lost_workers", "refused:digest"}


def test_two_steps_that_end_by_decree_in_one_tick_are_in_one_order_for_any_number_of_workers() -> None:
    hangs = ("task.hang@tick:7,agent:2,hostcall:1", "task.hang@tick:7,agent:1,hostcall:1")
    runs = [play("hello", *hangs, workers=workers) for workers in (1, 2, 7)]
    assert not any(run.failure for run in runs) and len({journal_digest(run) for run in runs}) == 1
    decrees = [line.block.decrees for line in journal.read(runs[0].journal).lines if line.block.decrees]
    assert [[decree.agent for decree in one] for one in decrees] == [[1, 2]]
