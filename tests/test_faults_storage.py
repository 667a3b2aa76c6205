"""What a crash leaves of a file: never less than what was synced, and what is gone is told."""

from __future__ import annotations

import pytest
from faults_kit import Log, injector
from hypothesis import given
from hypothesis import strategies as st

from faults.wrappers.storage import SECTOR, Keep, Lose, Tear, lost_bytes, policy_at_crash


def test_a_crash_without_a_disk_fault_keeps_the_page_cache() -> None:
    inject, log = injector("disk.lose@crash:2")
    policy = policy_at_crash(inject)
    assert isinstance(policy, Keep)
    assert policy("journal", b"old", b"old and new") == b"old and new" and policy.keeps_entry("x")
    assert inject.crashes == 1 and log == Log()


def test_a_lost_disk_keeps_what_was_synced_and_tells_what_it_took() -> None:
    inject, log = injector("disk.lose@crash:2")
    policy_at_crash(inject)
    policy = policy_at_crash(inject)
    assert policy("same", b"same", b"same") == b"same"
    assert log == Log()  # nothing was lost yet
    assert policy("journal", b"old", b"old and new") == b"old"
    assert not policy.keeps_entry("snapshot")
    removed = [(0, {"crash": 2, "name": "journal", "removed": 8}), (0, {"crash": 2, "name": "snapshot", "removed": 1})]
    assert log == removed
    assert isinstance(policy_at_crash(inject), Keep)


def test_lost_bytes_counts_what_differs_and_what_is_missing() -> None:
    assert lost_bytes(b"abc", b"abc") == 0
    assert lost_bytes(b"a", b"abc") == 2
    assert lost_bytes(b"a\0c", b"abc") == 1
    assert lost_bytes(b"abcd", b"ab") == 2


contents = st.integers(0, 5 * SECTOR).map(lambda size: (b"0123456789abcdef" * SECTOR)[:size])


@given(contents, contents, st.integers(0, 2**32), st.integers(1, 9))
def test_a_torn_file_holds_old_new_or_no_bytes_and_all_that_was_synced_and_unchanged(
    old: bytes, tail: bytes, seed: int, crash: int
) -> None:
    written = old + tail
    kept = Tear(seed, crash)("journal", old, written)
    assert kept == Tear(seed, crash)("journal", old, written)
    assert len(old) <= len(kept) <= len(written) and kept.startswith(old)
    assert all(byte in (0, written[at]) for at, byte in enumerate(kept))


@given(st.binary(max_size=3 * SECTOR), st.binary(max_size=3 * SECTOR), st.integers(0, 2**32))
def test_a_torn_overwrite_mixes_old_and_new_and_invents_nothing(old: bytes, new: bytes, seed: int) -> None:
    kept = Tear(seed, 1)("watermark", old, new)
    assert min(len(old), len(new)) <= len(kept) <= max(len(old), len(new))
    for at, byte in enumerate(kept):
        assert byte in (old[at : at + 1] or b"\0") + new[at : at + 1]


def test_sectors_survive_are_lost_and_are_torn_in_the_middle() -> None:
    old, new = b"o" * 8 * SECTOR, b"n" * 8 * SECTOR
    patterns, torn = set(), 0
    for seed in range(60):
        kept = Tear(seed, 1)("f", old, new)
        kinds = [frozenset(kept[at : at + SECTOR]) for at in range(0, len(kept), SECTOR)]
        mixed = sum(len(kind) == 2 for kind in kinds)
        assert mixed <= 1
        torn += mixed
        patterns.add(tuple(kinds))
    assert len(patterns) > 30 and 30 < torn < 60


def test_unsynced_ends_are_missing_or_zero() -> None:
    lengths, holes = set(), 0
    for seed in range(60):
        kept = Tear(seed, 1)("f", b"", b"n" * 4 * SECTOR)
        lengths.add(len(kept) == 4 * SECTOR)
        holes += b"\0" in kept
    assert lengths == {True, False} and holes > 10


def test_an_unsynced_truncation_happened_or_did_not() -> None:
    kept = {Tear(seed, 1)("f", b"0123456789", b"0123") for seed in range(20)}
    assert kept == {b"0123", b"0123456789"}


def test_names_survive_by_a_draw_of_their_own() -> None:
    assert {Tear(1, 1).keeps_entry(f"snapshot-{n}") for n in range(20)} == {True, False}
    assert not Lose().keeps_entry("snapshot")


@pytest.mark.parametrize("kind", ["disk.lose", "disk.tear"])
def test_synced_bytes_survive_every_policy(kind: str) -> None:
    inject, log = injector(f"{kind}@crash:1")
    assert policy_at_crash(inject)("journal", b"synced", b"synced") == b"synced"
    assert log == Log()
