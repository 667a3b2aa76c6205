"""Proving the tester: a planted bug is found by its oracle, its case replays, and a stale one is said to be stale."""

from __future__ import annotations

import json
import os
import py_compile
from pathlib import Path
from typing import Any

import pytest
from cli_kit import RUNTIME, here, refused
from msgspec.structs import replace

from faults.mutants import MUTANTS, Edit, Mutant, plant
from harness import proving
from harness.oracles import ORACLES
from runtime.errors import Refused
from scenarios import get

KEYS = {
    "mutants",
    "killed",
    "survivors",
    "wrong_oracle",
    "median_runs",
    "median_seconds",
    "false_alarms",
    "clean_runs",
    "stale",
    "rare",
    "runs",
}
NAMES = {mutant.name: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_a_mutant_applies_to_this_runtime_and_compiles(mutant: Mutant, tmp_path: Path) -> None:
    folder = plant(mutant, RUNTIME, tmp_path)
    for edit in mutant.edits:
        file = folder / "runtime" / edit.file
        assert file.read_bytes() != (RUNTIME / edit.file).read_bytes()
        py_compile.compile(str(file), cfile=str(tmp_path / "compiled"), doraise=True)
    assert mutant.oracle in ORACLES and get(mutant.scenario).name == mutant.scenario


def test_thirty_mutants_are_to_be_found_one_per_oracle_at_least_and_the_others_have_their_reason() -> None:
    assert sum(not mutant.equivalent for mutant in MUTANTS) >= 30
    assert len(NAMES) == len(MUTANTS) and len({m.oracle for m in MUTANTS}) >= 6


def test_a_mutant_is_killed_by_its_oracle_and_its_case_is_failed_there_and_fixed_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--mutant", "torn_buffer_accepted", "--runs", "60", "--clean-runs", "6", "--store", str(tmp_path))
    ended = here(capsys, "prove", *arguments, "--json")
    told = ended.json
    assert ended.code == 0 and set(told) == KEYS
    assert (told["mutants"], told["killed"], told["survivors"], told["wrong_oracle"]) == (1, 1, [], [])
    assert (told["false_alarms"], told["clean_runs"]) == (0, 6)
    assert 1 <= told["median_runs"] <= 60 and told["median_seconds"] > 0
    details = json.loads((tmp_path / "prove.json").read_text("utf-8"))
    [found] = details["mutants"]
    assert details["summary"] == told
    assert (found["outcome"], found["on_mutant"], found["on_good"]) == ("killed", "FAILED", "FIXED")
    assert "I15" in found["oracles"] and Path(found["case"], "case.json").is_file()


def planted(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> str:
    """A mutant of the list with other fields, as the only one."""
    mutant = replace(NAMES["torn_buffer_accepted"], **changes)
    monkeypatch.setattr("harness.commands.prove.MUTANTS", (mutant,))
    return mutant.name


def test_a_mutant_that_no_longer_applies_is_reported_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, edits=(Edit("buffers.py", "no such text\n", ""),))
    ended = here(capsys, "prove", "--clean-runs", "0", "--store", str(tmp_path), "--json")
    assert ended.code == 1 and (ended.json["mutants"], ended.json["killed"]) == (1, 0)
    assert "stale" in ended.err and "runtime/buffers.py" in ended.err and "0 times" in ended.err


def test_a_mutant_that_nothing_finds_is_a_survivor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = planted(monkeypatch, edits=(Edit("versions.py", "ABI = 1\n", "ABI = 1  # nothing\n"),))
    ended = here(capsys, "prove", "--runs", "2", "--clean-runs", "0", "--store", str(tmp_path), "--json")
    assert ended.code == 1 and ended.json["survivors"] == [name] and ended.json["median_runs"] is None


def test_a_mutant_found_by_another_oracle_only_counts_as_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = planted(monkeypatch, oracle="I28")
    ended = here(capsys, "prove", "--runs", "6", "--clean-runs", "0", "--store", str(tmp_path), "--json")
    assert ended.code == 1 and ended.json["wrong_oracle"] == [name] and ended.json["killed"] == 0


def test_a_stale_or_found_equivalent_mutant_and_a_false_alarm_are_no_success() -> None:
    def found(outcome: str) -> proving.Found:
        return proving.Found(name="m", title="", scenario="hello", oracle="twin", outcome=outcome)

    assert proving.good([found(proving.KILLED), found(proving.EQUIVALENT)], [])
    for outcome in (proving.STALE, proving.SURVIVED, proving.WRONG, proving.VISIBLE):
        assert not proving.good([found(proving.KILLED), found(outcome)], [])


def test_a_text_that_stands_twice_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="stands there"):
        plant(replace(MUTANTS[0], edits=(Edit("errors.py", "class ", "klass "),)), RUNTIME, tmp_path)


def test_an_unknown_mutant_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    refused(here(capsys, "prove", "--mutant", "nosuch"), "nosuch", *NAMES)


@pytest.mark.skipif(not os.environ.get("WASM_ENGINE_SOAK"), reason="takes minutes; WASM_ENGINE_SOAK=1 runs it")
def test_every_mutant_is_killed_by_its_oracle_within_2000_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = here(capsys, "prove", "--runs", "2000", "--store", str(tmp_path), "--json")
    assert ended.code == 0, ended
    assert ended.json["killed"] == ended.json["mutants"] >= 30 and ended.json["false_alarms"] == 0
