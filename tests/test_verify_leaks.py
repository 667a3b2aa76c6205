"""Planted leaks are located to the record and named; a few here, all of them with WASM_ENGINE_SOAK=1."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faults.leaks import LEAKS, plant_leak
from harness.builds import ROOT
from harness.verification import classes, planted
from harness.verification.planted import Shown, judged
from runtime.errors import Refused

FAST = ("counter_left", "hash_of_a_name", "collected_or_not")
CHOSEN = LEAKS if os.environ.get("WASM_ENGINE_SOAK") else tuple(leak for leak in LEAKS if leak.name in FAST)


def test_there_are_at_least_twelve_leaks_over_every_class() -> None:
    assert len(LEAKS) >= 12 and len({leak.name for leak in LEAKS}) == len(LEAKS)
    assert {leak.class_ for leak in LEAKS} == {
        classes.ORDER,
        classes.ADDRESS,
        classes.CLOCK,
        classes.THREAD,
        classes.FLOAT,
        classes.COLLECTOR,
        classes.STATE,
        classes.RANDOM,
    }


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.name)
def test_every_leak_applies_to_the_runtime_as_it_is(leak: planted.Leak, tmp_path: Path) -> None:
    folder = plant_leak(leak, ROOT / "runtime", tmp_path)
    for edit in leak.edits:
        compile((folder / "runtime" / edit.file).read_text("utf-8"), edit.file, "exec")


def test_a_leak_that_no_longer_applies_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "fold.py").write_text("", "utf-8")
    with pytest.raises(Refused, match="set_iterated"):
        plant_leak(LEAKS[0], tmp_path / "runtime", tmp_path / "out")


@pytest.mark.parametrize("leak", CHOSEN, ids=lambda leak: leak.name)
def test_a_planted_leak_is_located_to_the_record_and_named(leak: planted.Leak) -> None:
    shown = planted.show(leak)
    assert (shown.located, shown.named) == (True, True), shown


def report(**changes: object) -> Shown:
    leak = next(leak for leak in LEAKS if leak.name == "wall_clock")
    side = {"record": '["began",12]'}
    found = {
        "part": "journal",
        "block": 1,
        "section": "events",
        "index": 0,
        "field": "[1]",
        "here": side,
        "there": side,
        "class": classes.CLOCK,
        "axis": "repetition",
        "why": [],
    }
    return judged(leak, {**found, **changes})


def test_another_record_or_another_class_does_not_count() -> None:
    assert (report().located, report().named) == (True, True)
    assert not report(section="steps").located
    assert not report(part="trace").located
    assert not report(here={"record": '["failed",1]'}).located
    assert not report(**{"class": classes.RANDOM}).named
