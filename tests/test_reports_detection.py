"""The detection rate of wrong results: what reached the runtime, what it found, and where it is said."""

from __future__ import annotations

import pytest
from runtime_kit import plan_of, play

from faults.effect import detections
from harness.check import Checker
from reports import Meta, count
from reports.frames import RunRow
from reports.markdown import render
from runtime.telemetry import Record
from scenarios import get


def test_every_wrong_result_that_reached_the_runtime_is_counted_and_found_where_all_is_checked() -> None:
    row = Checker(get("ledger")).check(plan_of("ledger", "worker.wrong@tick:1,one_in=15", check_ppm=1_000_000)).row
    assert row.wrong_results == row.wrong_found > 5


@pytest.mark.parametrize("kind", ["disagreed", "received"])
def test_one_that_was_not_found_is_missed_and_one_that_reached_nobody_is_not(kind: str) -> None:
    history = play("ledger", "worker.wrong@tick:1,one_in=15", check_ppm=1_000_000)
    reached, found = detections(history.plan, history.injections, history.trace)
    assert reached == found == len(history.injections)
    worker = history.injections[0].fields["worker"]
    gone = [r for r in history.trace if not (r.kind == "disagreed" and r.fields["worker"] == worker)]
    fewer = sum(i.fields["worker"] == worker for i in history.injections)
    if kind == "disagreed":
        assert detections(history.plan, history.injections, gone) == (reached, found - fewer)
    else:
        gone = [r for r in gone if not (r.kind == "received" and r.fields["worker"] == worker)]
        assert detections(history.plan, history.injections, gone) == (reached - fewer, found - fewer)


def test_an_accelerators_wrong_result_counts_by_its_request() -> None:
    plan = plan_of("assistants", "gpu.wrong@tick:3", check_answers=True)
    history = play("assistants", "gpu.wrong@tick:3", check_answers=True)
    assert detections(plan, history.injections, history.trace) == (1, 1)
    trace: list[Record] = [r for r in history.trace if r.kind != "infer_disagreed"]
    assert detections(plan, history.injections, trace)[1] == 0


def test_the_summary_says_how_many_were_found_and_nothing_where_there_were_none() -> None:
    one = RunRow(run=0, scenario="ledger", seed=1, workers=2, verdict="PASS", wrong_results=40, wrong_found=39)
    text = render([one], Meta())
    assert "Of 40 results computed wrong, every answer checked, 39 found; missed at most 11" in text
    assert (count([one, one]).wrong_results, count([one, one]).wrong_found) == (80, 78)
    assert "computed wrong" not in render([RunRow(run=0, scenario="a", seed=1, workers=2, verdict="PASS")], Meta())
