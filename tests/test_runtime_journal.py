"""The journal is found out whatever is done to it (LOG-1), and recovered to the last synced block (STA-2, SCM-1)."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime_kit import busy_world, written

from runtime import journal
from runtime.errors import FailStop, Refused
from runtime.journal import BlobRef, Verified
from runtime.state import Effect
from runtime.versions import ALL, JOURNAL

WORLD = busy_world()
DATA = written(WORLD.blocks)
LINES = DATA.splitlines(keepends=True)  # the header, then the blocks
BLOBS = WORLD.blobs


def block_at(position: int) -> int:
    """The block in which this byte of the file lies; 0 is the header."""
    return DATA[:position].count(b"\n")


def test_a_journal_verifies_and_gives_back_its_blocks() -> None:
    assert journal.verify(DATA) is None
    found = [line.block for line in journal.read(DATA).lines]
    assert list(map(journal.encode_block, found)) == list(map(journal.encode_block, WORLD.blocks))
    assert journal.read(DATA).lines[-1].end == len(DATA)
    assert journal.digest(DATA) == journal.read(DATA).lines[-1].hash


def test_a_journal_is_canonical_json_of_sorted_keys_and_integers() -> None:
    def floats(text: str) -> None:
        raise AssertionError(f"a float: {text}")

    for line in LINES:
        tree = json.loads(line, parse_float=floats, parse_constant=floats)
        assert json.dumps(tree, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode() + b"\n" == line


@pytest.mark.parametrize("bit", range(8))
def test_any_flipped_bit_is_found_and_the_first_bad_block_named(bit: int) -> None:
    for position in range(bit, len(DATA), 5):
        damaged = bytearray(DATA)
        damaged[position] ^= 1 << bit
        assert journal.verify(bytes(damaged)) == block_at(position), (position, bit)


def test_every_bit_of_the_header_counts() -> None:
    for position in range(len(LINES[0])):
        for bit in range(8):
            damaged = bytearray(DATA)
            damaged[position] ^= 1 << bit
            assert journal.verify(bytes(damaged)) == 0, (position, bit)


def test_a_cut_at_any_byte_is_found_or_ends_a_whole_block() -> None:
    ends = {line.end: line.number for line in journal.read(DATA).lines}
    for length in range(1, len(DATA)):
        cut = DATA[:length]
        verified = journal.read(cut)
        if length in ends or length == len(LINES[0]):
            assert journal.verify(cut) is None
        else:
            assert journal.verify(cut) == block_at(length)
        assert [line.end for line in verified.lines] == [end for end in ends if end <= length]


@given(st.data())
def test_swapped_lines_are_found_at_the_first_of_them(data: st.DataObject) -> None:
    first = data.draw(st.integers(1, len(LINES) - 2))
    second = data.draw(st.integers(first + 1, len(LINES) - 1))
    lines = list(LINES)
    lines[first], lines[second] = lines[second], lines[first]
    assert journal.verify(b"".join(lines)) == first


@pytest.mark.parametrize("at", range(1, len(LINES)))
def test_a_line_that_is_missing_or_there_twice_is_found(at: int) -> None:
    twice = [*LINES[: at + 1], *LINES[at:]]
    assert journal.verify(b"".join(twice)) == at + 1
    if at < len(LINES) - 1:
        assert journal.verify(b"".join([*LINES[:at], *LINES[at + 1 :]])) == at


def test_lines_spliced_in_from_another_run_are_found() -> None:
    other = written(busy_world(seed=2).blocks).splitlines(keepends=True)
    assert other[1] != LINES[1]
    for at in range(2, len(LINES)):
        assert journal.verify(b"".join([*LINES[:at], *other[at:]])) == at
    for at in range(1, len(LINES) - 1):
        assert journal.verify(b"".join([*LINES[:at], other[at], *LINES[at + 1 :]])) in (at, at + 1)


@pytest.mark.parametrize("length", [1, 150, 4096])
def test_a_zero_filled_tail_is_found(length: int) -> None:
    assert journal.verify(DATA + bytes(length)) == len(LINES)


def test_a_rewritten_block_is_found_even_with_its_hash_made_anew() -> None:
    line = journal.read(DATA).lines[2]
    body = line.body.replace(b'"tick":2', b'"tick":3')
    assert body != line.body
    prev = journal.read(DATA).lines[1].hash
    forged = journal.line_bytes(3, body, journal.link(prev, body), prev)
    assert journal.verify(b"".join([*LINES[:3], forged, *LINES[4:]])) == 4


def test_bytes_that_are_chained_but_no_block_are_named() -> None:
    prev = journal.read(DATA).lines[-1].hash
    body = b'{"decrees":[],"events":[],"inputs":[],"root":"","steps":[],"tick":1.5}' + b" " * 100
    verified = journal.read(DATA + journal.line_bytes(len(LINES), body, journal.link(prev, body), prev))
    assert verified.damage.startswith(f"block {len(LINES)} is chained but not a block")
    assert len(verified.lines) == len(LINES) - 1


def test_an_empty_file_is_an_empty_journal() -> None:
    assert journal.read(b"") == Verified(b"", [], "") and journal.digest(LINES[0]) == journal.GENESIS


def header_of(body: bytes) -> bytes:
    return b'{"header":%b,"sum":"%b"}\n' % (body, hashlib.sha256(body).hexdigest().encode())


def test_a_journal_of_another_version_is_refused_by_name() -> None:
    body = json.dumps({"versions": {**ALL, "journal": JOURNAL + 1}}).encode()
    with pytest.raises(Refused, match=f"journal version {JOURNAL + 1} .*reads version {JOURNAL}"):
        journal.read(header_of(body + b" " * 60) + b"".join(LINES[1:]))


@pytest.mark.parametrize("body", [b"[]", b'{"versions":[]}', b"not json at all", b'{"versions":1}', b"\xff\xfe"])
def test_a_forged_header_is_damage_or_refused_and_never_an_accident(body: bytes) -> None:
    data = header_of(body + b" " * 80) + b"".join(LINES[1:])
    try:
        assert journal.verify(data) == 0
    except Refused as refused:
        assert "version" in str(refused)


# --- recovery ---------------------------------------------------------------------------------------------------------


def mark(block: int) -> tuple[int, str]:
    return (block, journal.read(DATA).lines[block - 1].hash) if block else (0, journal.GENESIS)


def test_damage_beyond_the_watermark_leaves_the_longest_prefix() -> None:
    damaged = bytearray(DATA)
    damaged[len(b"".join(LINES[:5])) + 40] ^= 1  # in block 5
    for synced in range(5):
        recovered = journal.recover(bytes(damaged), mark(synced), BLOBS)
        assert len(recovered.lines) == 4 and "block 5" in recovered.damage


def test_damage_up_to_the_watermark_stops_the_runtime() -> None:
    damaged = bytearray(DATA)
    damaged[len(b"".join(LINES[:5])) + 40] ^= 1
    for synced in range(5, len(LINES)):
        with pytest.raises(FailStop, match=f"synced up to block {synced}.*block 5") as stop:
            journal.recover(bytes(damaged), mark(synced), BLOBS)
        assert stop.value.check == "watermark"


def test_a_journal_that_ends_before_the_watermark_stops_the_runtime() -> None:
    with pytest.raises(FailStop, match="the journal ends earlier"):
        journal.recover(b"".join(LINES[:4]), mark(4), BLOBS)
    assert len(journal.recover(b"".join(LINES[:4]), mark(3), BLOBS).lines) == 3


def test_another_runs_journal_under_the_watermark_stops_the_runtime() -> None:
    other = written(busy_world(seed=2).blocks)
    with pytest.raises(FailStop, match="block 3 is not the one that was synced"):
        journal.recover(other, mark(3), BLOBS)


def missing_at(block: int) -> dict[str, bytes]:
    """The blobs without the one that this block is the first to need."""
    needed = [
        e.payload.sha256 for s in WORLD.blocks[block - 1].steps for e in s.effects if isinstance(e.payload, BlobRef)
    ]
    assert needed
    return {digest: data for digest, data in BLOBS.items() if digest not in needed}


def test_a_missing_blob_cuts_the_journal_or_stops_the_runtime() -> None:
    first = next(n for n, b in enumerate(WORLD.blocks, 1) if b"sha256" in journal.encode_block(b) and n > 2)
    recovered = journal.recover(DATA, mark(first - 1), missing_at(first))
    assert len(recovered.lines) == first - 1 and "lacks blob" in recovered.damage
    with pytest.raises(FailStop, match="lacks blob"):
        journal.recover(DATA, mark(first), missing_at(first))


# --- blobs ------------------------------------------------------------------------------------------------------------


def blob_file(count: int = 4) -> bytes:
    return b"".join(journal.blob_bytes(digest, data) for digest, data in list(BLOBS.items())[:count])


def test_a_payload_over_the_limit_stands_beside_the_journal_and_comes_back() -> None:
    for size in (0, 1, journal.INLINE_MAX, journal.INLINE_MAX + 1, 5000):
        effect = Effect("output", 0, b"\x07" * size)
        blobs: list[tuple[str, bytes]] = []
        (entry,) = journal.journal_effects((effect,), blobs)
        assert len(blobs) == (size > journal.INLINE_MAX)
        assert journal.effect_of(entry, dict(blobs)) == effect
    with pytest.raises(KeyError):
        journal.effect_of(entry, {})


def test_a_blob_file_is_read_up_to_its_first_damage() -> None:
    data = blob_file()
    size = len(data) // 4
    assert journal.read_blobs(data) == (dict(list(BLOBS.items())[:4]), len(data))
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        blobs, end = journal.read_blobs(bytes(damaged))
        assert end == position // size * size and len(blobs) == position // size


@pytest.mark.parametrize("tail", [b"\0", bytes(36), bytes(4096), b"\xff" * 36])
def test_a_blob_file_with_a_torn_or_zero_filled_tail_ends_before_it(tail: bytes) -> None:
    data = blob_file()
    assert journal.read_blobs(data + tail)[1] == len(data)
    for length in range(len(data) - 30, len(data)):
        assert len(journal.read_blobs(data[:length])[0]) == 3
