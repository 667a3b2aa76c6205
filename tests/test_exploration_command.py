"""`wasm-engine explore`: it goes on after a finding, tells each once, and loses nothing when it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli_kit import build, child, here, refused, spoiled

from harness import cases
from harness.exploration.ledger import FILE, Ledger
from harness.exploration.shapes import menu_of

TWICE = ("fold.py", "        if item.n <= state.admitted.get(item.source, 0):\n", "        if item.n <= 0:\n")
KEYS = {"runs", "runs_in_all", "pairs", "pairs_new", "growth", "findings", "repeats", "unknown", "store"}


def explored(store: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    ended = child("explore", "hello", "--jobs", "1", "--store", str(store), "--json", *arguments)
    assert ended.code == code, ended.err
    told: dict[str, Any] = ended.json
    assert set(told) == KEYS
    return told


def test_a_good_build_passes_and_the_same_seed_meets_the_same(tmp_path: Path) -> None:
    one = explored(tmp_path / "a", "--runs", "12", "--seed", "3")
    two = explored(tmp_path / "b", "--runs", "12", "--seed", "3")
    assert one["runs"] == 12 and one["pairs"] == one["pairs_new"] > 20 and one["findings"] == []
    assert one["growth"] == two["growth"] and one["growth"][-1] == [12, one["pairs"]]
    assert [pairs for _, pairs in one["growth"]] == sorted(pairs for _, pairs in one["growth"])


def test_the_next_call_goes_on_and_meets_more(tmp_path: Path) -> None:
    first = explored(tmp_path, "--runs", "6")
    second = explored(tmp_path, "--runs", "6")
    assert (second["runs"], second["runs_in_all"]) == (6, 12)
    assert second["pairs"] == first["pairs"] + second["pairs_new"] and second["pairs_new"] > 0


def test_random_runs_are_those_of_a_campaign_and_stay_apart(tmp_path: Path) -> None:
    told = explored(tmp_path, "--runs", "4", "--random")
    assert told["store"].endswith("-random") and told["pairs"] > 0
    again = explored(tmp_path, "--runs", "4")
    assert again["store"] != told["store"] and again["pairs_new"] == again["pairs"]


def test_a_bug_is_found_shrunk_and_told_once_and_the_search_goes_on(tmp_path: Path) -> None:
    bad = build(tmp_path / "bad", TWICE)
    told = explored(tmp_path / "out", "--runs", "5", "--budget", "5m", "--build", str(bad), code=1)
    assert told["runs"] == 5 and told["repeats"] + len(told["findings"]) >= 2
    prints = [finding["fingerprint"] for finding in told["findings"]]
    assert prints and len(set(prints)) == len(prints)
    assert any(finding["oracle"] == "I8" and finding["component"] == "broker" for finding in told["findings"])
    for finding in told["findings"]:
        assert finding["minimal"] and finding["again"] == "10 of 10" and len(finding["faults"]) <= 3
    assert child(*told["findings"][0]["replay"].split()[1:]).code == 1
    left = {path.name for path in (Path(told["store"]) / "cases").iterdir()}
    assert left == {Path(finding["case"]).name for finding in told["findings"]}, "cases that were shrunk are gone"
    again = child(
        "explore", "hello", "--runs", "1", "--jobs", "1", "--store", str(tmp_path / "out"), "--build", str(bad)
    )
    assert again.code == 1 and "FOUND     I8/broker/" in again.out and "replay it: wasm-engine replay" in again.out


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_an_end_at_any_moment_keeps_what_was_found_and_the_next_call_shrinks_it(ending: int, tmp_path: Path) -> None:
    bad, store = spoiled(tmp_path / "bad", "committed", "raise RuntimeError('oh')"), tmp_path / "out"
    arguments = ["explore", "hello", "--jobs", "1", "--store", str(store), "--budget", "5m"]
    command = [sys.executable, "-P", "-m", "harness.bootstrap", str(bad), "harness.cli", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not any(b'"finding"' in path.read_bytes() for path in store.rglob(FILE)) and time.monotonic() < end:
        time.sleep(0.005)
    family = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, ending)
    out, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    assert ending == signal.SIGKILL or (process.returncode == 2 and "goes on from there" in err and "FOUND" in out)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    [folder] = [path.parent for path in store.rglob(FILE)]
    found = [path for path in (folder / "cases").iterdir() if not path.name.startswith(".")]
    assert found and all(cases.read(path).failed_oracles for path in found)
    told = explored(store, "--runs", "1", "--budget", "5m", "--build", str(bad), code=1)
    assert told["findings"] and all(finding["minimal"] for finding in told["findings"])


def test_an_interpreter_that_dies_is_a_finding_with_its_plan(tmp_path: Path) -> None:
    dying = spoiled(tmp_path / "bad", "lost", "__import__('os')._exit(7)")
    told = explored(tmp_path / "out", "--runs", "5", "--build", str(dying), code=1)
    [finding] = [finding for finding in told["findings"] if finding["oracle"] == "process"]
    assert not finding["minimal"] and finding["faults"] and told["runs"] == 5
    command = finding["replay"].split()
    assert command[1] == "run" and child(*command[1:]).code == 1


def test_a_build_that_never_gets_to_a_run_is_refused_and_not_tried_for_ever(tmp_path: Path) -> None:
    code = "'harness.exploration.lane' in __import__('sys').argv and __import__('os')._exit(9)\n"
    dying = build(tmp_path / "bad")
    with (dying / "runtime" / "telemetry.py").open("a", encoding="utf-8") as file:
        file.write(f"\n{code}")
    ended = child("explore", "hello", "--jobs", "1", "--store", str(tmp_path / "out"), "--build", str(dying))
    assert ended.code == 4 and "lanes end with code 9 before they run anything" in ended.err


def test_the_time_to_spend_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    ended = here(capsys, "explore", "hello", "--budget", "2s", "--jobs", "1", "--store", str(tmp_path))
    assert ended.code in (0, 5) and time.monotonic() - started < 30
    assert "kept in" in ended.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), ("unknown scenario",)),
        (("hello", "--budget", "-1s"), ("no time to spend",)),
        (("hello", "--budget", ""), ("no time to spend",)),
        (("hello", "--jobs", "0"), ("--jobs",)),
        (("hello", "--store", ""), ("is empty",)),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    arguments: tuple[str, ...], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    refused(here(capsys, "explore", *arguments), *words)


def test_a_damaged_file_of_findings_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = explored(tmp_path, "--runs", "1")
    (Path(told["store"]) / FILE).write_bytes(b"x" * 100 + b"\n")
    refused(here(capsys, "explore", "hello", "--store", str(tmp_path)), FILE, "line 1 is damaged", "move it away")
    assert Ledger(tmp_path / "other", "hello", "b").state.runs == 0


def test_kinds_that_meet_new_states_are_wanted_more() -> None:
    counts = {"a x worker.kill": 40, "b x worker.kill": 40, "a x frame.lose": 1, "b x frame.lose": 1}
    menu = menu_of(("worker.kill", "frame.lose", "buffer.flip"), counts)
    assert menu.count("worker.kill") == 1 and menu.count("frame.lose") == menu.count("buffer.flip") == 6
