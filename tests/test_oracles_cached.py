"""The cache of compiled modules (I23), on hand-made accounts; and on the runtime's own, with a bug in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from oracles_kit import finding, world

from harness.adapters.folder import CompilerEvent, FolderEvent, Seen
from harness.oracles import Verdict, cached
from harness.oracles.cached import Asked, Ended, Given, Let, wrong, wrong_on_disk
from runtime import lru
from runtime.lru import CacheEvent
from runtime.wasm import artefacts

A, B, C = ("a", "a"), ("b", "b"), ("c", "c")


def noted(op: str, key: tuple[str, str], size: int, held: int) -> CacheEvent:
    return CacheEvent(op, key, size, held, 10)


def good() -> Seen:
    """a and b fill the budget of 10; a is used again and let go, so c takes the place of b."""
    return [
        Asked(A, "a"), noted("missed", A, 0, 0), CompilerEvent("compiled", "a", "code a"), noted("kept", A, 4, 4),
        Given(A, 0),
        Asked(B, "b"), noted("missed", B, 0, 4), CompilerEvent("compiled", "b", "code b"), noted("kept", B, 6, 10),
        Given(B, 1), Let(1),
        Asked(A, "a"), noted("hit", A, 4, 10), Given(A, 2), Let(0), Let(2),
        Asked(C, "c"), noted("missed", C, 0, 10), noted("evicted", B, 6, 4), noted("kept", C, 5, 9), Given(C, 3),
        Asked(B, "b"), noted("missed", B, 0, 9), CompilerEvent("loaded", "", "code b"), noted("passed", B, 6, 9),
        Given(B, 4),
    ]  # fmt: skip


def test_a_good_account_is_good_and_so_is_what_was_passed_on_beside_a_pinned_one() -> None:
    account = good()
    assert wrong(account) == []  # c is held: of the 10 bytes 5 are left for b
    account.append(noted("evicted", C, 5, 4))
    assert wrong(account) == ["event 26: c is evicted while it is used"]


@pytest.mark.parametrize(
    ("index", "event", "named"),
    [
        (18, noted("evicted", A, 4, 6), "a is evicted, the least recent is b"),
        (19, noted("kept", C, 7, 11), "11 B are held, the budget is 10"),
        (19, noted("kept", C, 5, 10), "10 B are said to be held, there are 9"),
        (12, noted("missed", A, 0, 10), "a is not found, and was kept"),
        (17, noted("hit", C, 0, 10), "c is found, and was not kept"),
        (3, noted("passed", A, 4, 0), "a is not kept, and fits"),
        (23, CompilerEvent("loaded", "", "code a"), "code code a is loaded, which is not what b compiles to"),
        (23, CompilerEvent("loaded", "", "code x"), "which is not what b compiles to"),
        (14, None, "a is evicted while it is used"),
    ],
)
def test_what_is_wrong_in_an_account_is_named(index: int, event: object, named: str) -> None:
    account = good()
    if event is None:
        account[14:16] = [Let(2)]  # a is still held by the first who asked
        account[17] = noted("evicted", A, 4, 6)
    else:
        account[index] = event
    assert any(named in line for line in wrong(account)), wrong(account)


def test_an_eviction_that_nothing_called_for_is_named() -> None:
    account: Seen = [
        Asked(A, "a"), noted("kept", A, 2, 2), Asked(B, "b"), noted("evicted", A, 2, 0), noted("kept", B, 3, 3)
    ]  # fmt: skip
    assert wrong(account) == ["event 4: 2 B were evicted for b, which fitted without"]


def test_after_the_end_of_a_process_its_memory_is_empty_and_what_it_compiled_is_known() -> None:
    account = [*good(), Ended(), Asked(B, "b"), noted("missed", B, 0, 0), CompilerEvent("loaded", "", "code b")]
    assert wrong(account) == []


def file(op: str, name: str, held: int) -> FolderEvent:
    return FolderEvent(op, name, 4, held)


def test_the_least_recent_file_leaves_and_the_budget_of_files_holds() -> None:
    files: Seen = [file("written", "a", 4), file("written", "b", 8), Asked(A, "a"), file("read", "a", 8)]
    assert wrong_on_disk([*files, Asked(C, "c"), file("removed", "b", 4), file("written", "c", 8)], 8) == []
    assert wrong_on_disk([*files, file("removed", "a", 4)], 8) == []  # it was read, and no good
    assert "file a leaves" in wrong_on_disk([*files, Asked(C, "c"), file("removed", "a", 4)], 8)[0]
    assert wrong_on_disk([*files, file("written", "c", 12)], 8) == ["event 4: 12 B of files, the budget is 8"]


def test_the_runtimes_own_cache_is_good_in_every_trial_and_no_trial_is_empty() -> None:
    for number in range(cached.TRIALS):
        seen: Seen = []
        cached._trial(number, seen)
        assert wrong(seen) == [] and wrong_on_disk(seen, cached.DISK) == []
        ops = {getattr(event, "op", type(event).__name__) for event in seen}
        assert {"hit", "missed", "kept", "passed", "evicted", "pinned", "released", "loaded", "removed", "Ended"} <= ops
    assert finding("I23", world()).verdict is Verdict.PASS


def unverified(self: artefacts.Artefacts, name: str) -> bytes | None:
    try:
        return self._folder.read(name, 1 << 30)[79:]
    except OSError:
        return None


BUGS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "pins are ignored": lambda patch: patch.setattr(lru.Lru, "pin", lambda self, key: lru.Pin(None, self._released)),
    "code is not verified": lambda patch: patch.setattr(artefacts.Artefacts, "get", unverified),
    "it raises": lambda patch: patch.delattr(lru.Lru, "put"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_in_the_runtimes_own_cache_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[bug](monkeypatch)
    cached._tried.cache_clear()
    try:
        assert finding("I23", world()).verdict is Verdict.FAIL
    finally:
        cached._tried.cache_clear()
