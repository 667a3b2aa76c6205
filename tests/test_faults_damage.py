"""Damage to files while nobody runs: what it alters, where it says so, and what is too little to count."""

from __future__ import annotations

import pytest
from faults_kit import Log, injector
from runtime_kit import busy_world, written

from faults.wrappers.damage import damage_at_crash
from faults.wrappers.forgery import forged
from harness.adapters.disk import SimDisk
from harness.adapters.loop import Loop
from runtime import journal, snapshot
from runtime.snapshot import HeldImage
from runtime.watermark import Watermark, slot_bytes

JOURNAL = written(busy_world(12).blocks)
LINES = journal.read(JOURNAL).lines


def disk_of(**files: bytes) -> SimDisk:
    disk = SimDisk(Loop(), 1, lambda: None)
    mark = Watermark(1, 1, len(LINES), LINES[-1].hash)
    offset, slot = slot_bytes(mark)
    given = {"journal": JOURNAL, "watermark": bytes(offset) + slot, "blobs": bytes(20_000)} | files
    disk.load({name.replace("_", "-"): content for name, content in given.items()})
    return disk


def struck(text: str, disk: SimDisk, crashes: int = 1) -> Log:
    inject, log = injector(text)
    inject.crashes = crashes
    damage_at_crash(inject, disk)
    return log


@pytest.mark.parametrize("at", [0, 7, 4000, 10**6])
def test_rot_flips_bits_in_one_run_of_bytes_and_tells_where(at: int) -> None:
    disk = disk_of()
    (told,) = struck(f"disk.rot@crash:1,file:journal,at={at},bytes=50", disk)
    now, first = disk.read("journal"), at % len(JOURNAL)
    differing = [n for n in range(len(JOURNAL)) if now[n] != JOURNAL[n]]
    assert differing[0] == first == told[1]["at"] and differing[-1] < first + 50 and len(now) == len(JOURNAL)
    assert 5 < len(differing) <= 50
    assert disk.durable_content("journal") == now


def test_damage_belongs_to_its_crash_and_to_files_that_there_are() -> None:
    disk = disk_of()
    assert struck("disk.rot@crash:2,file:journal", disk) == Log() and disk.read("journal") == JOURNAL
    assert struck("disk.rot@crash:1,file:decrees", disk) == Log()
    assert struck("disk.rot@crash:1,file:snapshot", disk) == Log()
    assert struck("snapshot.damage@crash:1", disk) == Log()
    assert len(struck("disk.rot@crash:2,file:journal", disk, crashes=2)) == 1


def test_a_rolled_back_file_lacks_what_was_written_since_in_every_fifth_chunk() -> None:
    content = bytes(range(1, 256)) * 200
    disk = disk_of(blobs=content)
    assert len(struck("disk.rollback@crash:1,file:blobs,share=50,chunk=2", disk)) == 1
    now = disk.read("blobs")
    for start in range(0, len(content), 4096):
        end = min(start + 4096, len(content))
        keep = end if start // 4096 % 5 != 2 else min(max(len(content) // 2, start), end)
        assert now[start:keep] == content[start:keep] and not any(now[keep:end])
    assert struck("disk.rollback@crash:1,file:blobs,share=99,chunk=0", disk_of(blobs=content)) == Log()


@pytest.mark.parametrize("how", ["splice", "cut", "swap", "dup", "rechain"])
@pytest.mark.parametrize("block", [1, 2, 5, 1000])
def test_a_forged_journal_is_refused_below_the_watermark(how: str, block: int) -> None:
    mark = len(LINES), LINES[-1].hash
    made = forged(JOURNAL, len(LINES), how, block)
    assert made is not None and made != JOURNAL
    with pytest.raises(journal.FailStop):
        journal.recover(made, mark, {d: b"" for line in LINES for d in _blobs(line)})
    if how == "rechain":
        assert journal.verify(made) is None, "every link is right"
    disk = disk_of()
    assert len(struck(f"journal.forge@crash:1,how={how},block={block}", disk)) == 1
    assert disk.read("journal") == made


def _blobs(line: journal.Line) -> list[str]:
    return [e.payload.sha256 for s in line.block.steps for e in s.effects if isinstance(e.payload, journal.BlobRef)]


def test_too_short_a_journal_and_one_without_a_watermark_cannot_be_forged() -> None:
    assert forged(JOURNAL, 2, "cut", 1) is None
    assert struck("journal.forge@crash:1", disk_of(watermark=bytes(1024))) == Log()


def images() -> dict[str, bytes]:
    held = HeldImage()
    held.take(3, memoryview(bytes(65_536)), [])
    agent = snapshot.pack_file(snapshot.AgentFile(1, held.image()))
    return {
        "agent_00001_00000003": agent,
        "state_00000004": snapshot.pack_file(snapshot.StateFile(4, b"four")),
        "state_00000008": snapshot.pack_file(snapshot.StateFile(8, b"eight")),
    }


@pytest.mark.parametrize("how", ["flip", "cut", "future", "older"])
@pytest.mark.parametrize(("what", "name"), [("agent", "agent-00001-00000003"), ("state", "state-00000008")])
def test_a_spoilt_snapshot_does_not_unpack(how: str, what: str, name: str) -> None:
    disk = disk_of(**images())
    (told,) = struck(f"snapshot.damage@crash:1,what={what},how={how}", disk)
    assert told[1]["name"] == name
    unpack = snapshot.unpack_agent if what == "agent" else snapshot.unpack_state
    reason = unpack(disk.read(name))
    assert isinstance(reason, str)
    assert ("version" in reason) == (how in ("future", "older"))


def test_an_older_snapshot_under_a_newer_name_and_one_of_a_block_that_is_not_there() -> None:
    disk = disk_of(**images())
    assert len(struck("snapshot.damage@crash:1,what=state,how=stale", disk)) == 1
    assert disk.read("state-00000008") == disk.read("state-00000004")
    disk = disk_of(**images())
    (told,) = struck("snapshot.damage@crash:1,what=state,how=ahead", disk)
    content = snapshot.unpack_state(disk.read(str(told[1]["name"])))
    assert isinstance(content, snapshot.StateFile) and content.block == 1008 and content.state == b"eight"
    assert struck("snapshot.damage@crash:1,what=agent,how=ahead", disk) == Log()
