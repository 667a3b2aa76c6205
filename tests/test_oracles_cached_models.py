"""I23 for models, I24 for golden answers: hand-made histories that they must refuse and accept, and planted bugs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from harness.oracles import admitted, cached_models
from harness.oracles.cached_models import _Event, _of_process
from runtime import lru
from runtime.inference import cache, golden

SIZES = {"a": 40, "b": 40, "c": 60}


def wrong(text: str, budget: int = 100) -> list[str]:
    """Events of a process: `+a` a is made, `-a` it could not be, `!a` not for lack of memory, `a` it runs."""
    events = []
    for at, word in enumerate(text.split()):
        what = {"+": "made", "-": "failed", "!": "failed"}.get(word[0], "runs")
        events.append(_Event(at, what, word[-1], "memory" if word[0] == "!" else "load" if word[0] == "-" else ""))
    return list(_of_process(events, SIZES, budget))


@pytest.mark.parametrize(
    "text",
    [
        "+a a +b b a b",
        "+a a +b b a +c c a +b b",
        "+a +b +c c",
        "+a a +b !b +b b",
        "+a -a +a a",
        "",
    ],
)
def test_what_an_lru_calls_for_is_accepted(text: str) -> None:
    assert wrong(text) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("+a a b", "never loaded"),
        ("+a a +b b +c c a", "runs at 6 ns, and had to leave"),
        ("+a a +b b a +c c b", "had to leave"),
        ("+a a +a", "is loaded at 2 ns, and was held"),
        ("+a -a a", "runs at 2 ns"),
        ("+a a +b !b +b b a", "runs at 6 ns"),
    ],
)
def test_anything_else_is_named(text: str, words: str) -> None:
    (line,) = wrong(text)
    assert words in line


def test_a_model_larger_than_the_budget_is_named() -> None:
    assert wrong("+c c", budget=50) == ["model c is loaded with 60 B, the budget is 50"]


def test_the_runtimes_own_cache_and_comparison_are_good_in_every_trial() -> None:
    for number in range(cached_models.TRIALS):
        assert cached_models.tried(number) == ()
    assert admitted.tried() == ()


def test_no_trial_is_empty() -> None:
    for number in range(cached_models.TRIALS):
        trial = cached_models._Trial()
        due: list[str] = []
        take = trial._due

        def noted(digest: str, size: int, take: Callable[[str, int], str] = take, due: list[str] = due) -> str:
            due.append(take(digest, size))
            return due[-1]

        trial._due = noted  # type: ignore[method-assign]
        for step in range(cached_models.STEPS):
            trial.step(hashlib.sha256(f"{number} {step}".encode()).digest())
        assert {"", "load", "memory"} <= set(due) and trial.cache.evicted > 3 and trial.found == []


def unchecked(self: cache.ModelCache, digest: str) -> bytes:
    return self._artifacts.get(digest)


BUGS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "pins are ignored": lambda patch: patch.setattr(lru.Lru, "pin", lambda self, key: lru.Pin(None, self._released)),
    "bytes are not verified": lambda patch: patch.setattr(cache.ModelCache, "_verified", unchecked),
    "nothing ever leaves": lambda patch: patch.setattr(lru.Lru, "room", lambda self, size: True),
    "a device short of memory is given up": lambda patch: patch.setattr(lru.Lru, "spare", lambda self: False),
    "it raises": lambda patch: patch.delattr(lru.Lru, "put"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_in_the_runtimes_own_cache_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[bug](monkeypatch)
    cached_models.tried.cache_clear()
    try:
        assert any(cached_models.tried(number) for number in range(cached_models.TRIALS))
    finally:
        cached_models.tried.cache_clear()


@pytest.mark.parametrize("difference", [lambda held, decoder: "", lambda held, decoder: "always"])
def test_a_comparison_that_finds_nothing_or_always_something_is_found(
    difference: Callable[[object, object], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "difference", difference)
    admitted.tried.cache_clear()
    try:
        assert admitted.tried() != ()
    finally:
        admitted.tried.cache_clear()
