"""`wasm-engine bench`: one table or one JSON object, exit 0 as measured, 10 with --gate when something is not met."""

from __future__ import annotations

import pytest
from cli_kit import here
from msgspec.structs import replace
from test_bench_measures import report

from harness.bench.figures import Report
from harness.commands import bench


@pytest.fixture(params=[True, False], ids=["met", "not met"])
def measured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Report:
    """What a real, tiny benchmark reported, its verdict turned either way."""
    made = replace(report(), met=request.param)
    monkeypatch.setattr(bench, "measure", lambda size, quick, news: made)
    return made


def test_json_is_one_object_with_required_and_goal_values(measured: Report, capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "bench", "--quick", "--json")
    assert ended.code == 0
    told = ended.json
    assert told["floor_ratio"] == measured.floor_ratio
    assert {"name", "value", "required", "goal", "met", "goal_met"} <= set(told["requirements"][0])


def test_without_json_it_prints_a_table(measured: Report, capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "bench")
    assert ended.code == 0
    assert "scenarios/s" in ended.out and "naive_speedup" in ended.out


def test_the_gate_fails_only_what_is_not_met(measured: Report, capsys: pytest.CaptureFixture[str]) -> None:
    assert here(capsys, "bench", "--gate").code == (0 if measured.met else 10)


def test_the_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "bench" in here(capsys, "--help").out
