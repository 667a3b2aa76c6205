"""The watermark: two slots in turn, of which any damage to one leaves the other (LOG-1)."""

from __future__ import annotations

import struct

import google_crc32c
import msgspec
import pytest

from runtime.watermark import SLOT, Watermark, newest, slot_bytes


def mark(serial: int) -> Watermark:
    return Watermark(serial, 1, serial * 3, f"{serial:064x}")


def file_of(*serials: int) -> bytes:
    data = bytearray(2 * SLOT)
    for serial in serials:
        offset, slot = slot_bytes(mark(serial))
        data[offset : offset + len(slot)] = slot
    return bytes(data)


def test_slots_are_written_in_turn_and_the_newest_counts() -> None:
    offsets = [slot_bytes(mark(serial))[0] for serial in range(1, 7)]
    assert offsets == [SLOT, 0] * 3 and all(len(slot_bytes(mark(n))[1]) == SLOT for n in range(6))
    for last in range(1, 9):
        assert newest(file_of(*range(1, last + 1))) == mark(last)


def test_a_file_of_zeros_or_of_nothing_has_no_watermark() -> None:
    for data in (b"", bytes(1), bytes(SLOT), bytes(2 * SLOT), b"\xff" * (2 * SLOT)):
        assert newest(data) is None


@pytest.mark.parametrize("serial", [7, 8])
def test_a_slot_torn_at_any_byte_leaves_the_one_before(serial: int) -> None:
    before = file_of(serial - 2, serial - 1)
    offset, slot = slot_bytes(mark(serial))
    for length in range(SLOT + 1):
        torn = bytearray(before)
        torn[offset : offset + length] = slot[:length]
        expected = mark(serial) if bytes(torn) == file_of(serial - 1, serial) else mark(serial - 1)
        found = newest(bytes(torn))
        assert found == expected or (found == mark(serial) and torn[offset : offset + 200] == slot[:200])


def test_a_zero_filled_slot_leaves_the_other() -> None:
    data = file_of(7, 8)
    assert newest(bytes(SLOT) + data[SLOT:]) == mark(7)
    assert newest(data[:SLOT] + bytes(SLOT)) == mark(8) and newest(data[:SLOT]) == mark(8)


def test_any_flipped_bit_of_a_slot_leaves_the_other() -> None:
    data = file_of(7, 8)
    body = len(slot_bytes(mark(8))[1].rstrip(b"\0"))
    for position in range(body):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        assert newest(bytes(damaged)) == mark(7), position


def test_both_slots_torn_leave_no_watermark() -> None:
    data = bytearray(file_of(7, 8))
    data[20] ^= 1
    data[SLOT + 20] ^= 1
    assert newest(bytes(data)) is None


def test_a_checksummed_slot_of_something_else_is_no_watermark() -> None:
    for content in ([1], ["a", 1, 2, "x"], {}, [1, 2, 3, 4]):
        body = msgspec.msgpack.encode(content)
        slot = struct.pack("<II", len(body), google_crc32c.value(body)) + body
        assert newest(slot.ljust(SLOT, b"\0")) is None
