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
from harness.progress_file import FOLDER, KeptLines
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
    "found",
    "shrunk",
    "why",
}
NOTHING = (Edit("versions.py", "ABI = 1\n", "ABI = 1  # nothing\n"),)
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
    ended = here(capsys, "prove", *arguments, "--diagnose", "--json")
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
    assert told["why"] == {"asked": 1, "named_first": 1, "share": 1.0} and found["suspects"][0] == "buffers"
    assert told["shrunk"] == {"cases": 1, "events_max": 3, "few_events": 1, "few_faults": 1, "share": 1.0}
    assert not list((tmp_path / FOLDER).iterdir())


def planted(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> str:
    """A mutant of the list with other fields, as the only one."""
    mutant = replace(NAMES["torn_buffer_accepted"], **changes)
    monkeypatch.setattr("harness.commands.prove.MUTANTS", (mutant,))
    return mutant.name


def test_a_measured_mutant_makes_all_runs_and_says_in_how_many_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--mutant", "torn_buffer_accepted", "--runs", "12", "--clean-runs", "0", "--store", str(tmp_path))
    ended = here(capsys, "prove", *arguments, "--measure", "--json")
    [found] = json.loads((tmp_path / "prove.json").read_text("utf-8"))["mutants"]
    assert ended.code == 0 and ended.json["runs"] == found["of"] == 12
    assert 1 <= found["runs"] < 12 and found["one_in"] == round(12 / found["hits"], 1)


def test_an_interrupted_call_goes_on_with_the_mutants_that_are_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, names = replace(NAMES["torn_buffer_accepted"], edits=NOTHING), ("first", "second", "third")
    monkeypatch.setattr("harness.commands.prove.MUTANTS", tuple(replace(one, name=name) for name in names))
    really, asked = proving.prove, []

    def interrupted(mutant: Mutant, what: proving.Asked) -> proving.Found:
        asked.append(mutant.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return really(mutant, what)

    monkeypatch.setattr(proving, "prove", interrupted)
    arguments = ("--runs", "1", "--clean-runs", "0", "--store", str(tmp_path), "--json")
    assert here(capsys, "prove", *arguments).code == 2
    assert [found["name"] for found in json.loads((tmp_path / "prove.json").read_text("utf-8"))["mutants"]] == ["first"]
    ended = here(capsys, "prove", *arguments)
    assert asked == ["first", "second", "second", "third"] and ended.json["survivors"] == list(names)
    assert "1 of 3 mutants were done before the interruption" in ended.err
    here(capsys, "prove", *arguments)
    assert asked[4:] == list(names), "what came to its end is done anew"


def test_an_interrupted_call_for_another_seed_or_afresh_starts_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, edits=NOTHING)
    monkeypatch.setattr(KeptLines, "close", lambda self, complete: None)  # as if each call had been interrupted
    arguments = ("prove", "--runs", "1", "--clean-runs", "0", "--store", str(tmp_path), "--json")
    assert "before the interruption" not in here(capsys, *arguments).err
    assert "1 of 1 mutants" in here(capsys, *arguments).err
    assert "before the interruption" not in here(capsys, *arguments, "--seed", "2").err
    assert "before the interruption" not in here(capsys, *arguments, "--fresh").err


def test_shares_count_what_why_was_asked_and_what_was_shrunk() -> None:
    def found(faults: int, inputs: int, *suspects: str) -> proving.Found:
        return proving.Found(
            name="m",
            title="",
            scenario="hello",
            oracle="twin",
            outcome=proving.KILLED,
            components=("pool", "fold"),
            faults=faults,
            inputs=inputs,
            suspects=suspects,
        )

    found_ = [found(1, 2, "fold", "pool"), found(3, 1, "worker", "pool"), found(4, 0), found(-1, -1)]
    told = proving.summary(found_, [])
    assert told["why"] == {"asked": 2, "named_first": 1, "share": 0.5}
    assert told["shrunk"] == {"cases": 3, "events_max": 3, "few_events": 1, "few_faults": 2, "share": 1 / 3}
    assert proving.summary([], [])["why"] == {"asked": 0, "named_first": 0, "share": None}
    assert "1 of 2; not for m (worker for pool, fold)" in proving.blamed(found_)


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
    name = planted(monkeypatch, edits=NOTHING)
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
