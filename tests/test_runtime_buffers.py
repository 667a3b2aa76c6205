"""The slot protocol: a reader gets exactly its version or nothing (MEM-1, MEM-2)."""

from __future__ import annotations

import itertools

import google_crc32c
import pytest
from faults_kit import ToyMemory
from hypothesis import given
from hypothesis import strategies as st

from runtime import buffers
from runtime.buffers import CHUNK, HEAD, SLOTS
from runtime.state import View


class Died(Exception):
    pass


class TornAt(ToyMemory):
    """A memory whose writer dies at its n-th store, counted from 1, after some of the bytes."""

    def __init__(self, store: int = 0, share: float = 0.0) -> None:
        super().__init__()
        self.left, self.share = store, share

    def store(self, segment: int, offset: int, data: bytes) -> None:
        self.left -= 1
        if self.left == 0:
            super().store(segment, offset, data[: int(len(data) * self.share)])
            raise Died
        super().store(segment, offset, data)


def view(version: int, data: bytes, capacity: int = 5000) -> View:
    return View(0, version, len(data), int(google_crc32c.value(data)), capacity)


def reserved(memory: ToyMemory | None = None, capacity: int = 5000) -> ToyMemory:
    memory = memory or ToyMemory()
    memory.reserve(0, buffers.segment_size(capacity))
    return memory


def data_of(version: int, size: int = 3000) -> bytes:
    return bytes((version * 31 + n) % 251 for n in range(size))


def test_a_version_is_read_as_it_was_written() -> None:
    memory = reserved()
    for version in range(1, 9):
        crc = buffers.write(memory, 0, 5000, version, data_of(version))
        assert crc == view(version, data_of(version)).crc
        assert buffers.read(memory, 5000, view(version, data_of(version))) == data_of(version)


def test_three_versions_stay_readable_and_a_stale_handle_is_refused() -> None:
    memory = reserved()
    for version in range(1, 8):
        buffers.write(memory, 0, 5000, version, data_of(version))
    held = [v for v in range(1, 10) if buffers.read(memory, 5000, view(v, data_of(v))) is not None]
    assert held == [5, 6, 7]


@given(st.integers(0, 10_000), st.integers(0, 1 << 40))
def test_slots_never_overlap_and_lie_inside_their_segment(capacity: int, version: int) -> None:
    spans = sorted(
        (offset := buffers.offset_of(v, capacity), offset + HEAD + capacity) for v in range(version, version + SLOTS)
    )
    assert len({start for start, _ in spans}) == SLOTS and spans[0][0] == 0
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert spans[-1][1] <= buffers.segment_size(capacity)
    assert buffers.offset_of(version, capacity) == buffers.offset_of(version + SLOTS, capacity)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5000])
@pytest.mark.parametrize("capacity", [5000, 5001, 5056])
def test_any_size_up_to_the_capacity_fits_and_touches_no_other_slot(size: int, capacity: int) -> None:
    memory = reserved(capacity=capacity)
    for version in (1, 2, 3):
        buffers.write(memory, 0, capacity, version, bytes([version]) * capacity)
    buffers.write(memory, 0, capacity, 4, data_of(4, size))
    assert buffers.read(memory, capacity, view(4, data_of(4, size), capacity)) == data_of(4, size)
    for version in (2, 3):
        full = bytes([version]) * capacity
        assert buffers.read(memory, capacity, view(version, full, capacity)) == full


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("old", [0, 1])
def test_a_writer_that_dies_at_any_store_leaves_nothing_that_verifies(old: int, share: float) -> None:
    """`old` versions had been in the slot before; a death in the very last store may have finished it."""
    stores = 2 + -(-3000 // CHUNK)
    for store in range(1, stores + 1):
        memory = reserved(TornAt())
        if old:
            buffers.write(memory, 0, 5000, 1, data_of(1))
        assert isinstance(memory, TornAt)
        memory.left, memory.share = store, share
        with pytest.raises(Died):
            buffers.write(memory, 0, 5000, 4, data_of(4))
        assert buffers.read(memory, 5000, view(4, data_of(4))) in (None, data_of(4))
        if store < stores:
            assert buffers.read(memory, 5000, view(4, data_of(4))) is None
        if store > 1 or share == 0.9:
            assert buffers.read(memory, 5000, view(1, data_of(1))) is None
        memory.left = 0
        buffers.write(memory, 0, 5000, 4, data_of(4))
        assert buffers.read(memory, 5000, view(4, data_of(4))) == data_of(4)


def test_any_flipped_bit_of_head_or_payload_is_found() -> None:
    memory = reserved()
    data = data_of(5, 700)
    buffers.write(memory, 0, 5000, 5, data)
    offset = buffers.offset_of(5, 5000)
    verified = 24  # mark, version, length, checksum; the rest of the head is padding
    for place in [*range(verified), *range(HEAD, HEAD + len(data))]:
        for bit in (0, 3, 7):
            memory.segments[0][offset + place] ^= 1 << bit
            assert buffers.read(memory, 5000, view(5, data)) is None, (place, bit)
            memory.segments[0][offset + place] ^= 1 << bit
    assert buffers.read(memory, 5000, view(5, data)) == data


def test_a_handle_with_another_length_checksum_or_generation_gets_nothing() -> None:
    memory = reserved()
    data = data_of(5)
    buffers.write(memory, 0, 5000, 5, data)
    good = view(5, data)
    for bad in (
        View(0, 2, good.length, good.crc, 5000),
        View(0, 8, good.length, good.crc, 5000),
        View(0, 5, good.length - 1, good.crc, 5000),
        View(0, 5, good.length, good.crc ^ 1, 5000),
        view(5, data_of(6)),
    ):
        assert buffers.read(memory, 5000, bad) is None


def test_an_empty_segment_holds_no_version_not_even_an_empty_one() -> None:
    memory = reserved()
    for version in (1, 2, 3):
        assert buffers.read(memory, 5000, view(version, b"")) is None


@given(st.integers(0, 20), st.integers(0, 40))
def test_a_copy_taken_while_it_is_written_is_whole_or_nothing(before: int, during: int) -> None:
    """A reader's two loads interleave with a writer that is at any of its stores."""
    stores: list[tuple[int, bytes]] = []

    class Recorder(ToyMemory):
        def store(self, segment: int, offset: int, data: bytes) -> None:
            stores.append((offset, data))

    for version in (2, 5, 8):
        buffers.write(Recorder(), 0, 5000, version, data_of(version))
    memory = reserved()

    class Racing(ToyMemory):
        """Lets the writer go on between the load of the head and that of the bytes."""

        loads = 0

        def load(self, segment: int, offset: int, length: int) -> bytes:
            loaded = memory.load(segment, offset, length)
            if not self.loads:
                for at, chunk in stores[before : before + during]:
                    memory.store(0, at, chunk)
            self.loads += 1
            return loaded

    for at, chunk in stores[:before]:
        memory.store(0, at, chunk)
    wanted = view(5, data_of(5))
    assert buffers.read(Racing(), 5000, wanted) in (None, data_of(5))
