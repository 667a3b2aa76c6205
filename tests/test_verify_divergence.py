"""The first record in which two runs differ is found by halving, and is the one that a plain search finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles_kit import World, world

from harness.verification.divergence import bisect, first_divergence, first_leaf
from harness.verification.sample import PIECE, Sample, chained


def sample(made: World, trace: list[dict[str, Any]] | None = None) -> Sample:
    lines = None if trace is None else b"".join(json.dumps(record).encode() + b"\n" for record in trace)
    return Sample(made.history().journal, lines)


CHANGES: list[tuple[Callable[[World], object], tuple[int, str, int], str]] = [
    (lambda w: w.step(3, 1)["inbox"].reverse(), (3, "steps", 1), "inbox"),
    (lambda w: w.bodies[1]["events"].pop(), (2, "events", 1), ""),
    (lambda w: w.bodies[1]["inputs"][0].update(n=7), (2, "inputs", 0), "n"),
    (lambda w: w.bodies[2]["steps"].pop(), (3, "steps", 2), ""),
    (lambda w: w.bodies[0].update(root="xx"), (1, "root", 0), ""),
    (lambda w: w.bodies[3].update(tick=5), (4, "tick", 0), ""),
    (lambda w: w.bodies.pop(), (4, "tick", 0), ""),
]


@pytest.mark.parametrize(("change", "place", "field"), CHANGES)
def test_the_first_record_that_differs_is_named_from_either_side(
    change: Callable[[World], object], place: tuple[int, str, int], field: str
) -> None:
    changed = world()
    change(changed)
    for ours, theirs in ((sample(changed), sample(world())), (sample(world()), sample(changed))):
        found = first_divergence(ours, theirs)
        assert found is not None and found.part == "journal"
        assert (found.block, found.section, found.index) == place
        assert found.field == field and found.here != found.there


def test_equal_runs_have_no_divergence_and_a_later_one_does_not_hide_the_first() -> None:
    assert first_divergence(sample(world()), sample(world())) is None
    changed = world()
    changed.bodies[3].update(root="later")
    changed.step(2, 1)["n"] = 99
    found = first_divergence(sample(changed), sample(world()))
    assert found is not None and (found.block, found.section, found.value_here) == (2, "steps", 99)


@given(st.lists(st.binary(max_size=2), max_size=40), st.lists(st.binary(max_size=2), max_size=40), st.integers(0, 40))
def test_halving_finds_what_a_search_from_the_start_finds(ours: list[bytes], theirs: list[bytes], shared: int) -> None:
    theirs = [*ours[:shared], *theirs]
    found, probes = bisect(chained(ours), chained(theirs))
    pairs = enumerate(zip(ours, theirs, strict=False))
    first = next((n for n, (a, b) in pairs if a != b), None)
    if first is None and len(ours) != len(theirs):
        first = min(len(ours), len(theirs))
    assert found == first and probes <= 6


def test_of_equal_journals_the_first_record_of_the_trace_is_found_beyond_the_first_piece() -> None:
    records = [{"at": n, "kind": "sent"} for n in range(3 * PIECE)]
    altered = [dict(record) for record in records]
    altered[2 * PIECE + 5]["at"] = -1
    found = first_divergence(sample(world(), records), sample(world(), altered))
    assert found is not None and (found.part, found.block, found.record, found.field) == (
        "trace",
        3,
        2 * PIECE + 5,
        "at",
    )
    assert first_divergence(sample(world(), records), sample(world(), altered), traces=False) is None
    shorter = first_divergence(sample(world(), records[:-1]), sample(world(), records))
    assert shorter is not None and (shorter.record, shorter.here) == (3 * PIECE - 1, "")


def test_a_journal_that_does_not_verify_has_no_digest() -> None:
    good = world().history().journal
    broken = Sample(good.replace(b'"tick":2', b'"tick":3'))
    assert broken.journal_digest == "" and "block 3" in broken.failure
    assert Sample(b"").journal_digest == "" and Sample(good).journal_digest == Sample(good).links[-1]
    assert Sample(good, None, "liveness").journal_digest == ""


@pytest.mark.parametrize(
    ("here", "there", "leaf"),
    [
        ({"a": [1, 2], "b": 3}, {"a": [1, 4], "b": 5}, ("a[1]", 2, 4)),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, ("a.b", "x", "y")),
        (["e", "x", "y"], ["e", "y", "x"], ("", ["e", "x", "y"], ["e", "y", "x"])),
        ({"a": 1}, {"b": 1}, ("", {"a": 1}, {"b": 1})),
        ([1], [1, 2], ("", [1], [1, 2])),
    ],
)
def test_the_first_value_that_differs_is_named_by_its_path(here: Any, there: Any, leaf: tuple[str, Any, Any]) -> None:
    assert first_leaf(here, there) == leaf
