"""Images, page differences, checked files (SNP-1, STA-1, STA-2, SCM-1): what does not fit is a message, never run."""

from __future__ import annotations

import hashlib
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from runtime import snapshot
from runtime.errors import FrameRefused
from runtime.frames import Image, ImageDelta
from runtime.snapshot import PAGE, AgentFile, HeldImage, StateFile, pack_file, unpack_agent, unpack_state
from runtime.versions import SNAPSHOT

PAGES = st.lists(st.sampled_from([0, 1, 2, 255]), max_size=6)


def memory_of(fills: list[int]) -> memoryview:
    """One page for each byte, filled with it."""
    return memoryview(b"".join(bytes([fill]) * PAGE for fill in fills))


def fresh(fills: list[int], bits: tuple[int, ...], n: int = 1) -> HeldImage:
    image = HeldImage()
    image.take(n, memory_of(fills), bits)
    return image


@given(st.lists(st.tuples(PAGES, st.lists(st.integers(0, (1 << 64) - 1), max_size=3)), min_size=1, max_size=5))
def test_differences_applied_one_after_the_other_give_the_memory_itself(
    steps: list[tuple[list[int], list[int]]],
) -> None:
    """Growth, shrinking into a new life, pages that come and go: the receiver holds what the sender has."""
    sender, receiver = HeldImage(), HeldImage()
    for n, (fills, bits) in enumerate(steps, 1):
        delta = sender.take(n, memory_of(fills), bits)
        receiver = receiver.apply(delta)
        filled = tuple((index, bytes([fill]) * PAGE) for index, fill in enumerate(fills) if fill)
        expected = Image(sender.digest, n, len(fills) * PAGE, filled, tuple(bits))
        assert receiver.image() == sender.image() == expected
        assert snapshot.memory_of(expected) == bytes(memory_of(fills))
        assert receiver.digest == fresh(fills, tuple(bits)).digest
        adopted = HeldImage()
        adopted.adopt(sender.image())
        assert (adopted.digest, adopted.hashes) == (sender.digest, sender.hashes)


def test_only_pages_that_differ_travel() -> None:
    image = fresh([1, 2, 3, 0], (7,))
    assert image.take(2, memory_of([1, 2, 3, 0]), (7,)).pages == ()
    assert [index for index, _ in image.take(3, memory_of([1, 9, 3, 0]), (7,)).pages] == [1]
    assert image.take(4, memory_of([1, 9, 3, 0, 0, 0]), (7,)).pages == ()
    assert image.digest != fresh([1, 9, 3, 0], (7,)).digest


def test_the_digest_covers_every_page_the_size_and_every_global() -> None:
    pages = [([1, 2], (3,)), ([2, 1], (3,)), ([1, 2, 0], (3,)), ([1, 2], (4,)), ([1, 2], ()), ([1, 2], (3, 0))]
    digests = [fresh(fills, bits).digest for fills, bits in pages]
    assert len(set(digests)) == 6
    assert fresh([1, 2], (3,)).digest == digests[0]


def test_a_difference_for_another_base_is_refused() -> None:
    sender = fresh([1, 2], ())
    delta = sender.take(2, memory_of([1, 3]), ())
    for base in (HeldImage(), fresh([1, 9], ())):
        with pytest.raises(FrameRefused, match="another base"):
            base.apply(delta)
    assert fresh([1, 2], ()).apply(delta).digest == sender.digest


def bad_deltas() -> list[ImageDelta]:
    delta = fresh([1, 2], (5,)).take(2, memory_of([1, 3]), (5,))
    page = bytes(PAGE)
    return [
        replace(delta, digest="0" * 64),
        replace(delta, globals=(6,)),
        replace(delta, globals=()),
        replace(delta, pages=()),
        replace(delta, pages=((0, page),)),
        replace(delta, pages=((2, page),)),
        replace(delta, pages=((-1, page),)),
        replace(delta, pages=((1, page[:-1]),)),
        replace(delta, pages=((1, page), (1, page), (1, page))),
        replace(delta, size=3 * PAGE),
        replace(delta, size=PAGE),
        replace(delta, size=2 * PAGE + 1),
        replace(delta, size=0),
        replace(delta, size=-PAGE, pages=()),
    ]


@pytest.mark.parametrize("number", range(14))
def test_a_difference_that_does_not_give_its_digest_is_refused_and_the_base_kept(number: int) -> None:
    base = fresh([1, 2], (5,))
    with pytest.raises(FrameRefused):
        base.apply(bad_deltas()[number])
    assert base.image() == fresh([1, 2], (5,)).image()


# --- files ------------------------------------------------------------------------------------------------------------

AGENT = AgentFile(3, fresh([1, 0, 2], (9, 1 << 63), n=5).image())
STATE = StateFile(8, b"the state's encoding")


def test_files_come_back_as_they_were() -> None:
    assert unpack_agent(pack_file(AGENT)) == AGENT
    assert unpack_state(pack_file(STATE)) == STATE


@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_a_file_with_any_damaged_byte_is_a_message(flip: int) -> None:
    for data, unpack, step in ((pack_file(AGENT), unpack_agent, 61), (pack_file(STATE), unpack_state, 1)):
        for position in [*range(60), *range(60, len(data), step)]:
            damaged = bytearray(data)
            damaged[position] ^= flip
            assert isinstance(unpack(bytes(damaged)), str), position


def test_a_cut_zeroed_or_lengthened_file_is_a_message() -> None:
    data = pack_file(STATE)
    for length in range(len(data)):
        assert isinstance(unpack_state(data[:length]), str)
        assert isinstance(unpack_state(data[:length].ljust(len(data), b"\0")), str)
    assert isinstance(unpack_state(data + b"\0"), str) and isinstance(unpack_state(bytes(len(data))), str)


def test_a_file_of_the_other_kind_is_a_message() -> None:
    assert isinstance(unpack_agent(pack_file(STATE)), str)
    assert isinstance(unpack_state(pack_file(AGENT)), str)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode({"agent": "x"}), b"\x93\x01\x02\x03"])
def test_a_forged_file_with_a_good_checksum_is_a_message(body: bytes) -> None:
    data = struct.pack("<4sI32s", b"WES1", len(body), hashlib.sha256(body).digest()) + body
    assert isinstance(unpack_agent(data), str) and isinstance(unpack_state(data), str)


def test_a_file_of_another_version_is_a_message_that_names_both() -> None:
    for content, unpack in ((AGENT, unpack_agent), (STATE, unpack_state)):
        message = unpack(pack_file(replace(content, version=SNAPSHOT + 1)))
        assert message == f"snapshot version {SNAPSHOT + 1}, this build reads {SNAPSHOT}"


def test_an_image_that_does_not_give_its_digest_is_a_message() -> None:
    forged = AgentFile(3, replace(AGENT.image, globals=(9, 0)))
    assert unpack_agent(pack_file(forged)) == "image does not give its digest"


def test_names_sort_as_their_numbers() -> None:
    assert snapshot.agent_name(1, 9) < snapshot.agent_name(1, 10) < snapshot.agent_name(2, 1)
    assert snapshot.state_name(9) < snapshot.state_name(10) < snapshot.state_name(100)
