"""One contract per port, kept by every adapter of it (Storage), bare and under wrappers with nothing armed.

What a contract says is what the runtime relies on (`runtime.ports`); a live adapter has to pass the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from adapters_kit import immortal
from faults_kit import ToyStorage

from faults.wrappers.disk import Fate
from faults.wrappers.storage import Keep, Lose, Tear
from harness.adapters.disk import SimDisk
from harness.adapters.loop import Loop
from runtime.errors import SyncFailed
from runtime.ports import Storage

SYNC_NS = 400_000


class Bench(NamedTuple):
    """A storage, and how to let enough time pass for what is under way."""

    storage: Storage
    disk: SimDisk
    loop: Loop
    woken: list[int]

    def settle(self) -> list[int]:
        self.loop.run(self.loop.now() + 10 * SYNC_NS, 1000)
        return self.storage.poll()

    def crash(self, policy: Any = None) -> None:
        self.disk.crash(policy or Lose())


def bench(wrapped: bool) -> Bench:
    loop = Loop()
    woken: list[int] = []
    disk = SimDisk(loop, SYNC_NS, lambda: woken.append(loop.now()))
    storage: Storage = immortal(storage=disk).storage if wrapped else disk
    return Bench(storage, disk, loop, woken)


STORAGES = pytest.mark.parametrize("wrapped", [False, True], ids=["SimDisk", "MortalStorage"])


def storages() -> dict[str, Callable[[], Storage]]:
    return {
        "SimDisk": lambda: bench(False).storage,
        "MortalStorage": lambda: bench(True).storage,
        "ToyStorage": ToyStorage,
    }


@pytest.mark.parametrize("name", storages())
def test_what_is_written_can_be_read_at_once(name: str) -> None:
    storage = storages()[name]()
    assert storage.names() == []
    storage.write("b", 0, b"hello")
    storage.write("b", 3, b"LO world")
    storage.write("a", 0, b"")
    assert (storage.names(), storage.read("b"), storage.read("a")) == (["a", "b"], b"helLO world", b"")
    storage.truncate("b", 3)
    assert storage.read("b") == b"hel"
    storage.rename("b", "c")
    storage.write("d", 0, b"old")
    storage.rename("c", "d")
    assert (storage.names(), storage.read("d")) == (["a", "d"], b"hel")
    storage.remove("a")
    assert storage.names() == ["d"]


@STORAGES
def test_a_write_beyond_the_end_fills_the_gap_with_zeros(wrapped: bool) -> None:
    storage = bench(wrapped).storage
    storage.write("f", 4, b"x")
    assert storage.read("f") == b"\0\0\0\0x"


@STORAGES
def test_what_is_not_there_is_a_key_error(wrapped: bool) -> None:
    storage = bench(wrapped).storage
    for call in (
        lambda: storage.read("f"),
        lambda: storage.truncate("f", 0),
        lambda: storage.remove("f"),
        lambda: storage.sync("f"),
    ):
        with pytest.raises(KeyError):
            call()


@STORAGES
def test_each_sync_completes_once_in_order_and_wakes_who_waits(wrapped: bool) -> None:
    world = bench(wrapped)
    world.storage.write("f", 0, b"x")
    tickets = [world.storage.sync("f"), world.storage.sync_dir(), world.storage.sync("f")]
    assert len(set(tickets)) == 3 and world.storage.poll() == [] and world.woken == []
    assert world.settle() == tickets and world.storage.poll() == []
    assert world.woken == [SYNC_NS] * 3


@STORAGES
def test_a_crash_takes_what_was_written_after_the_sync_was_submitted(wrapped: bool) -> None:
    world = bench(wrapped)
    world.storage.write("f", 0, b"synced")
    world.storage.sync("f")
    world.storage.sync_dir()
    world.storage.write("f", 0, b"SYNCED and more")
    world.settle()
    world.crash()
    assert world.storage.read("f") == b"synced"


@STORAGES
def test_a_crash_takes_what_a_sync_under_way_was_for_and_the_sync_never_completes(wrapped: bool) -> None:
    world = bench(wrapped)
    world.storage.write("f", 0, b"old")
    world.storage.sync("f")
    world.storage.sync_dir()
    world.settle()
    world.storage.write("f", 0, b"new")
    world.storage.sync("f")
    world.crash()
    assert world.settle() == [] and world.storage.read("f") == b"old"
    world.storage.write("f", 3, b"!")
    assert len([world.storage.sync("f")]) == len(world.settle())
    world.crash()
    assert world.storage.read("f") == b"old!"


@STORAGES
def test_a_sync_that_fails_is_told_once_and_in_its_turn(wrapped: bool) -> None:
    world = bench(wrapped)
    world.storage.write("f", 0, b"x")
    tickets = [world.storage.sync("f"), world.disk.submit("f", Fate(fails=True)), world.storage.sync_dir()]
    world.loop.run(10 * SYNC_NS, 1000)
    assert world.storage.poll() == tickets[:1]
    with pytest.raises(SyncFailed) as failed:
        world.storage.poll()
    assert (failed.value.ticket, failed.value.file) == (tickets[1], "f")
    assert world.storage.poll() == tickets[2:] and world.storage.poll() == []


@pytest.mark.parametrize("process_dies", [False, True])
def test_what_a_failed_sync_covered_can_be_read_and_no_later_sync_of_that_file_writes_it(process_dies: bool) -> None:
    world = bench(False)
    log = world.disk.log
    world.storage.write("f", 0, b"first ")
    world.disk.submit("f", Fate(fails=True))
    world.storage.sync_dir()
    with pytest.raises(SyncFailed):
        world.settle()
    world.settle()
    if process_dies:
        world.crash(Keep())
    world.storage.write("f", 6, b"second")
    world.storage.sync("f")
    world.settle()
    assert world.storage.read("f") == b"first second"
    assert world.disk.durable_length("f") == 0, "there is a hole at its beginning"
    assert [(s.name, s.good, s.low, s.size) for s in log if s.name] == [("f", False, 0, 6), ("f", True, 6, 12)]
    assert len({s.file for s in log if s.name}) == 1
    world.crash()
    assert world.storage.read("f") == bytes(6) + b"second"


def test_a_file_under_another_name_is_the_same_file_and_one_under_its_old_name_another() -> None:
    world = bench(False)
    log = world.disk.log
    for new in ("g", "h"):
        world.storage.write("f", 0, b"x")
        world.storage.sync("f")
        world.storage.rename("f", new)
        world.storage.sync(new)
    world.settle()
    files = {name: {s.file for s in log if s.name == name} for name in ("f", "g", "h")}
    assert len(files["f"]) == 2 and len(files["g"]) == len(files["h"]) == 1
    assert files["g"] | files["h"] == files["f"]


@STORAGES
def test_a_name_is_durable_only_with_the_directory(wrapped: bool) -> None:
    world = bench(wrapped)
    world.storage.write("f", 0, b"x")
    world.storage.sync("f")
    world.settle()
    world.crash()
    assert world.storage.names() == []
    world.storage.write("f", 0, b"x")
    world.storage.sync("f")
    world.storage.sync_dir()
    world.settle()
    world.storage.rename("f", "g")
    world.storage.write("h", 0, b"h")
    world.crash()
    assert world.storage.names() == ["f"] and world.storage.read("f") == b"x"
    world.storage.remove("f")
    world.storage.sync_dir()
    world.settle()
    world.crash()
    assert world.storage.names() == []


@STORAGES
def test_a_process_that_dies_loses_nothing_and_a_truncation_is_durable_like_a_write(wrapped: bool) -> None:
    world = bench(wrapped)
    world.storage.write("f", 0, b"0123456789")
    world.crash(Keep())
    assert world.storage.read("f") == b"0123456789" and world.disk.durable_length("f") == 0
    world.storage.sync("f")
    world.storage.sync_dir()
    world.settle()
    assert world.disk.durable_content("f") == b"0123456789"
    world.storage.truncate("f", 4)
    world.crash()
    assert world.storage.read("f") == b"0123456789"
    world.storage.truncate("f", 4)
    world.storage.sync("f")
    world.settle()
    world.crash()
    assert world.storage.read("f") == b"0123" and world.disk.durable_length("f") == 4


@pytest.mark.parametrize("seed", range(20))
def test_a_torn_crash_never_touches_what_was_synced(seed: int) -> None:
    world = bench(False)
    world.storage.write("f", 0, b"s" * 1000)
    world.storage.sync("f")
    world.storage.sync_dir()
    world.settle()
    world.storage.write("f", 1000, b"n" * 2000)
    world.crash(Tear(seed, 1))
    content = world.storage.read("f")
    assert content[:1000] == b"s" * 1000 and set(content[1000:]) <= {0, ord("n")} and len(content) <= 3000
