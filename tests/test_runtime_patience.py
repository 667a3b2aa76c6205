"""Writes that wait for room: whole in the end, in order, and no sync before them."""

from __future__ import annotations

from typing import Any

import pytest
from faults_kit import ToyStorage

from runtime import exports
from runtime.errors import Refused, SyncFailed
from runtime.patience import PatientStorage
from runtime.telemetry import Record, Telemetry

RETRY_NS = 5


class Cramped(ToyStorage):
    """A storage with so many bytes of room left, which notes what it is asked."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.calls: list[str] = []

    def write(self, name: str, offset: int, data: bytes) -> int:
        fitting = min(self.room, len(data))
        self.room -= fitting
        super().write(name, offset, data[:fitting])
        return fitting

    def truncate(self, name: str, length: int) -> None:
        self.calls.append(f"truncate {name}")
        super().truncate(name, length)

    def rename(self, old: str, new: str) -> None:
        self.calls.append(f"rename {old}")
        super().rename(old, new)

    def remove(self, name: str) -> None:
        self.calls.append(f"remove {name}")
        super().remove(name)

    def sync(self, name: str) -> int:
        self.calls.append(f"sync {name}")
        return super().sync(name)


class Bench:
    def __init__(self, room: int = 1 << 30) -> None:
        self.now = 0
        self.disk = Cramped(room)
        self.told: list[Record] = []
        telemetry = Telemetry(lambda: self.now)
        telemetry.register(self.told.append)
        self.storage = PatientStorage(self.disk, lambda: self.now, telemetry, RETRY_NS)

    def later(self) -> list[int]:
        self.now += RETRY_NS
        return self.storage.poll()

    @property
    def said(self) -> list[tuple[str, Any]]:
        return [(record.kind, record.fields.get("file")) for record in self.told]


def test_with_room_everything_goes_straight_to_the_disk() -> None:
    bench = Bench()
    assert bench.storage.write("f", 0, b"abc") == 3 and bench.disk.read("f") == bench.storage.read("f") == b"abc"
    tickets = [bench.storage.sync("f"), bench.storage.sync_dir()]
    assert bench.storage.poll() == tickets and bench.storage.poll() == []
    assert bench.storage.deadline() is None and bench.told == []


@pytest.mark.parametrize("room", range(7))
def test_a_short_write_is_made_whole_when_there_is_room_and_its_sync_comes_after_it(room: int) -> None:
    bench = Bench(room)
    assert bench.storage.write("f", 0, b"abcdef") == 6
    ticket = bench.storage.sync("f")
    if room == 6:
        assert bench.storage.poll() == [ticket]
        return
    assert bench.disk.calls == [] and bench.disk.read("f") == b"abcdef"[:room]
    assert bench.storage.deadline() == RETRY_NS
    assert bench.later() == [] and bench.storage.deadline() == 2 * RETRY_NS
    bench.disk.room = 1 << 30
    assert bench.later() == [ticket] and bench.disk.read("f") == b"abcdef"
    assert bench.said == [("full", "f"), ("room", None)] and bench.storage.deadline() is None


def test_what_comes_behind_a_write_that_waits_is_done_in_order() -> None:
    bench = Bench(2)
    bench.disk.files["old"] = bytearray(b"xyz")
    bench.storage.write("f", 0, b"ab")
    bench.storage.write("f", 2, b"cd")
    bench.storage.write("f", 4, b"ef")
    bench.storage.truncate("f", 5)
    bench.storage.rename("f", "g")
    bench.storage.remove("old")
    tickets = [bench.storage.sync("g"), bench.storage.sync_dir()]
    assert bench.disk.names() == ["f", "old"] and bench.disk.read("f") == b"ab"
    for _ in range(4):
        bench.disk.room = 1
        assert bench.later() == ([] if bench.disk.names() == ["f", "old"] else tickets)
    assert bench.disk.calls == ["truncate f", "rename f", "remove old", "sync g", "sync "]
    assert bench.disk.read("g") == b"abcde" and bench.storage.poll() == []


def test_nothing_is_tried_again_before_its_time() -> None:
    bench = Bench(0)
    bench.storage.write("f", 0, b"ab")
    bench.disk.room = 9
    bench.now = RETRY_NS - 1
    bench.storage.poll()
    assert bench.disk.room == 9
    bench.now = RETRY_NS
    bench.storage.poll()
    assert bench.disk.room == 7


def test_a_failed_sync_carries_the_ticket_that_was_given_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(0)
    bench.storage.write("f", 0, b"a")
    bench.disk.sync("other")  # so that the disk's numbers are not ours
    bench.disk.poll()
    ticket = bench.storage.sync("f")
    bench.disk.room = 1

    def fails() -> list[int]:
        raise SyncFailed(2, "f")

    monkeypatch.setattr(bench.disk, "poll", fails)
    with pytest.raises(SyncFailed) as failed:
        bench.later()
    assert (failed.value.ticket, failed.value.file) == (ticket, "f")


def test_an_import_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "read", lambda data: exports.Export(0, {"journal": b"x" * 9}, "0" * 64, 1, {}))
    with pytest.raises(Refused, match="the disk is full"):
        exports.write(Cramped(3), b"")
