"""A report's folder: complete, repeatable, read back as it was written, refused when damaged."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from junitparser import JUnitXml

from reports import Meta, NotTested, RunRow, count, load, verdict, write
from reports.store import TABLE_FILE
from runtime.errors import Refused

FILES = {"results.parquet", "results.csv", "run.json", "report.html", "summary.md", "junit.xml"}
META = Meta(
    arguments=("stress", "--seed", "7"),
    versions={"python": "3.11", "wasmtime": "50.0.1"},
    fault_kinds=("worker.kill", "disk.tear"),
    oracles=("twin", "I8", "I40"),
    not_tested=(NotTested(what="F31", why="not available"),),
)


def row(run: int = 0, **fields: Any) -> RunRow:
    defaults: dict[str, Any] = {
        "scenario": "ledger",
        "seed": 1000 + run,
        "workers": 2,
        "verdict": "PASS",
        "judged": ("twin", "I8"),
        "faults_planned": {"worker.kill": 2},
        "faults_fired": {"worker.kill": 1},
        "steps_redone": 3,
        "workers_lost": 1,
        "recoveries_ns": (2_000_000 + run,),
        "margin_ns": 8_000_000 - run,
        "bound_ns": 10_000_000,
        "replay": f"wasm-engine run ledger --seed {1000 + run}",
    }
    return RunRow(run=run, **(defaults | fields))


def mixed() -> list[RunRow]:
    return [
        row(0),
        row(1, verdict="FAIL", failed_oracles=("twin", "I8"), detail="block 3, record 1", case="cases/1"),
        row(2, verdict="UNKNOWN", unknown_oracles=("I8",), judged=("twin",)),
        row(3, verdict="IDLE", faults_fired={}, recoveries_ns=(), margin_ns=10_000_000),
        row(0, scenario="hello", seed=2**64 - 1),
    ]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_same_results_give_the_same_bytes_in_any_order_of_rows(tmp_path: Path) -> None:
    write(mixed(), META, tmp_path / "one")
    write(list(reversed(mixed())), META, tmp_path / "elsewhere" / "two")
    first, second = bytes_of(tmp_path / "one"), bytes_of(tmp_path / "elsewhere" / "two")
    assert set(first) == FILES
    assert first == second


def test_different_results_give_different_bytes(tmp_path: Path) -> None:
    write(mixed(), META, tmp_path / "one")
    write([*mixed()[:-1], row(0, scenario="hello", steps_redone=4)], META, tmp_path / "two")
    first, second = bytes_of(tmp_path / "one"), bytes_of(tmp_path / "two")
    assert [
        name for name in ("results.parquet", "results.csv", "run.json", "report.html") if first[name] == second[name]
    ] == []


def test_what_is_loaded_is_what_was_written(tmp_path: Path) -> None:
    write(mixed(), META, tmp_path / "out" / "r1")
    results = load(tmp_path / "out" / "latest")
    assert results.meta == META
    assert results.verdict == "FAILED"
    again = [
        msgspec.convert(
            {name: value.tolist() if hasattr(value, "tolist") else value for name, value in line.items()}, RunRow
        )
        for line in results.runs.to_dict("records")
    ]
    assert again == sorted(mixed(), key=lambda item: (item.scenario, item.run))
    assert results.runs["seed"].max() == 2**64 - 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=5)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(0, 2**63 - 1))
def test_any_text_and_number_survives_the_round_trip(tmp_path: Path, text: str, ns: int) -> None:
    write(
        [row(detail=text, scenario=text, recoveries_ns=(ns,), faults_planned={text: 1}, faults_fired={text: 1})],
        META,
        tmp_path / "r",
    )
    line = load(tmp_path / "r").runs.iloc[0]
    assert (line["detail"], line["scenario"], list(line["recoveries_ns"])) == (text, text, [ns])
    assert line["faults_fired"] == {text: 1}


def test_csv_and_parquet_agree(tmp_path: Path) -> None:
    results = write(mixed(), META, tmp_path / "r")
    csv = pd.read_csv(tmp_path / "r" / "results.csv", keep_default_na=False)
    assert list(csv.columns) == list(results.runs.columns) == list(RunRow.__struct_fields__)
    for name in csv.columns:
        for written, read in zip(results.runs[name], csv[name], strict=True):
            expected = written.tolist() if hasattr(written, "tolist") else written
            assert (json.loads(read) if isinstance(expected, list | dict) else read) == expected, name


def test_recoveries_and_faults_come_as_tidy_frames(tmp_path: Path) -> None:
    results = write([row(0, recoveries_ns=(5, 7)), row(1, recoveries_ns=())], META, tmp_path / "r")
    assert results.recoveries.to_dict("list") == {"scenario": ["ledger"] * 2, "run": [0, 0], "recovery_ns": [5, 7]}
    assert results.faults[["kind", "planned", "fired"]].drop_duplicates().values.tolist() == [["worker.kill", 2, 1]]


def test_the_counts_keep_unknown_and_idle_out_of_the_passed() -> None:
    counts = count(mixed())
    assert (counts.runs, counts.passed, counts.failed, counts.unknown, counts.idle) == (5, 2, 1, 1, 1)
    assert counts.faults_fired == {"worker.kill": 4}
    assert counts.oracles_judged == {"I8": 4, "twin": 5}


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        (["PASS", "IDLE"], "PASSED"),
        (["PASS", "UNKNOWN"], "INCONCLUSIVE"),
        (["IDLE", "IDLE"], "INCONCLUSIVE"),
        (["UNKNOWN", "FAIL"], "FAILED"),
        ([], "NOTHING RAN"),
    ],
)
def test_the_verdict_is_the_worst_that_happened(rows: list[Any], word: str) -> None:
    assert verdict(count([row(n, verdict=each) for n, each in enumerate(rows)])) == word


def test_a_report_without_runs_is_written_and_read(tmp_path: Path) -> None:
    results = write([], {}, tmp_path / "r")
    assert results.verdict == "NOTHING RAN"
    assert len(results.runs) == 0
    assert len(results.recoveries) == len(results.faults) == 0
    assert {path.name for path in (tmp_path / "r").iterdir()} == FILES


def test_latest_moves_to_the_last_report_and_stays_relative(tmp_path: Path) -> None:
    write([row()], META, tmp_path / "a")
    write([row()], META, tmp_path / "b")
    assert os.readlink(tmp_path / "latest") == "b"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "latest"]


def test_a_second_report_replaces_the_first_and_keeps_the_cases(tmp_path: Path) -> None:
    (tmp_path / "r" / "cases").mkdir(parents=True)
    write(mixed(), META, tmp_path / "r")
    results = write([row()], META, tmp_path / "r")
    assert results.verdict == "PASSED"
    assert {path.name for path in (tmp_path / "r").iterdir()} == FILES | {"cases"}


def test_junit_has_a_case_per_run_and_only_passes_look_passed(tmp_path: Path) -> None:
    write(mixed(), META, tmp_path / "r")
    document = JUnitXml.fromstring((tmp_path / "r" / "junit.xml").read_bytes())
    assert (document.tests, document.failures, document.errors, document.skipped) == (5, 1, 1, 1)
    failed = [case for suite in document for case in suite if case.is_failure]
    assert "--seed 1001" in failed[0].result[0].text
    assert "twin, I8" in failed[0].result[0].message


def one_line(error: pytest.ExceptionInfo[Refused]) -> str:
    text = str(error.value)
    assert "\n" not in text and "Traceback" not in text
    return text


def test_a_folder_without_a_report_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Refused) as error:
        load(tmp_path / "nowhere")
    assert "no report here" in one_line(error)


@pytest.mark.parametrize("name", ["run.json", "results.parquet"])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone"])
def test_a_damaged_report_is_refused_in_one_line(tmp_path: Path, name: str, damage: str) -> None:
    write(mixed(), META, tmp_path / "r")
    path = tmp_path / "r" / name
    data = bytearray(path.read_bytes())
    data[3] ^= 0x80
    damaged = {"cut": path.read_bytes()[:-40], "flip": bytes(data), "empty": b""}
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(damaged[damage])
    with pytest.raises(Refused) as error:
        load(tmp_path / "r")
    assert str(tmp_path / "r") in one_line(error)


def test_another_version_of_the_report_is_refused_by_name(tmp_path: Path) -> None:
    write(mixed(), META, tmp_path / "r")
    path = tmp_path / "r" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    with pytest.raises(Refused, match="version 99"):
        load(tmp_path / "r")


def test_a_table_of_another_report_is_refused(tmp_path: Path) -> None:
    write(mixed(), META, tmp_path / "a")
    write([row()], META, tmp_path / "b")
    (tmp_path / "a" / TABLE_FILE).write_bytes((tmp_path / "b" / TABLE_FILE).read_bytes())
    with pytest.raises(Refused, match="not the one"):
        load(tmp_path / "a")


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([row(verdict="MAYBE")], "MAYBE"),
        ([row(ticks=-1)], "ticks"),
        ([row(faults_fired={"worker.kill": 3})], "more faults fired than planned: worker.kill"),
        ([row(0), row(0)], "twice"),
        ([row(seed=2**64)], "64 bits"),
        ([row(detail="\ud800")], "run 0"),
        ([row(virtual_ns=2**63)], "2**63"),
    ],
)
def test_a_row_that_no_run_can_have_produced_is_refused_and_nothing_is_written(
    tmp_path: Path, rows: list[RunRow], what: str
) -> None:
    with pytest.raises(Refused) as error:
        write(rows, META, tmp_path / "r")
    assert what in one_line(error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("meta", [{"profil": "default"}, {"random": "yes"}, {"evidence": "rumour"}])
def test_metadata_with_a_mistake_is_refused(tmp_path: Path, meta: dict[str, Any]) -> None:
    with pytest.raises(Refused) as error:
        write([row()], meta, tmp_path / "r")
    assert "meta" in one_line(error)


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused) as error:
        write([row()], META, tmp_path / "file" / "r")
    assert "cannot write the report" in one_line(error)


def test_a_real_folder_named_latest_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine").write_text("kept")
    with pytest.raises(Refused) as error:
        write([row()], META, tmp_path / "r")
    assert "cannot write the report" in one_line(error)
    assert (tmp_path / "latest" / "mine").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_parquet_file_can_be_read_by_pandas_alone(tmp_path: Path) -> None:
    write(mixed(), META, tmp_path / "r")
    frame = pd.read_parquet(io.BytesIO((tmp_path / "r" / TABLE_FILE).read_bytes()))
    assert frame.groupby("scenario")["run"].count().to_dict() == {"hello": 1, "ledger": 4}
