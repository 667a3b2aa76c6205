"""A campaign: the same rows from the same seed whoever runs it, deaths that are results, files that are there."""

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
from cli_kit import build, child, here, spoiled

from harness.campaign import Campaign
from harness.check import Checker
from harness.runner import campaign_run
from reports import Results, load
from scenarios import get


def rows(results: Results) -> list[dict[str, Any]]:
    """All that a campaign says of its runs, less where it was told to put cases."""
    return [
        {str(name): str(value) for name, value in row.items() if name not in ("case", "replay")}
        for row in results.runs.to_dict("records")
    ]


def campaign(store: Path, *arguments: str, **environment: str) -> Results:
    ended = child("stress", *arguments, "--store", str(store), "--json", **environment)
    assert ended.code in (0, 1), ended.err
    return load(store / "latest")


def test_a_seed_gives_the_same_rows_whatever_the_jobs_and_the_hash_seed(tmp_path: Path) -> None:
    common = ("hello", "--runs", "11", "--seed", "5")
    one = campaign(tmp_path / "a", *common, "--jobs", "1", PYTHONHASHSEED="0")
    two = campaign(tmp_path / "b", *common, "--jobs", "2", PYTHONHASHSEED="random")
    assert rows(one) == rows(two) and len(rows(one)) == 11
    assert len({row["plan_digest"] for row in rows(one)}) == 11


def test_only_runs_just_that_run_with_the_same_digests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert here(capsys, "stress", "hello", "--runs", "11", "--jobs", "1", "--store", str(tmp_path)).code == 0
    whole = rows(load(tmp_path / "latest"))
    for number in (3, 10):
        assert here(capsys, "stress", "hello", "--only", str(number), "--store", str(tmp_path)).code == 0
        assert rows(load(tmp_path / "latest")) == [whole[number]]


def test_every_passing_row_names_a_command_that_repeats_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--runs", "2", "--jobs", "1", "--seed", "9", "--workers", "3", "--store", str(tmp_path))
    here(capsys, "stress", "hello", *options)
    commands = list(load(tmp_path / "latest").runs["replay"])
    assert commands == [f"wasm-engine stress hello --seed 9 --only {n} --workers 3" for n in range(2)]


def test_the_report_is_complete_and_latest_points_at_the_newest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        ended = here(capsys, "stress", "hello", "--runs", "2", "--jobs", "1", "--store", str(tmp_path))
        assert ended.code == 0 and "PASSED" in ended.out and "Traceback" not in ended.err
        folder = Path(ended.out.split("report: ")[1].strip()).parent
        assert (tmp_path / "latest").resolve() == folder.resolve()
        names = {path.name for path in folder.iterdir()}
        assert names >= {"run.json", "results.parquet", "results.csv", "report.html", "summary.md", "junit.xml"}
    assert len([path for path in tmp_path.iterdir() if path.name != "latest"]) == 2
    meta = load(tmp_path / "latest").meta
    assert meta.arguments[:2] == ("stress", "hello") and meta.versions["wasmtime"] and meta.not_tested


def test_an_interpreter_that_dies_is_a_failed_run_and_the_others_go_on(tmp_path: Path) -> None:
    dying = spoiled(tmp_path / "build", "lost", "fields['cause'] == 'lease' and __import__('os')._exit(7)")
    bad = rows(campaign(tmp_path / "bad", "hello", "--runs", "8", "--build", str(dying)))
    dead = [row for row in bad if row["verdict"] == "FAIL"]
    assert dead and len(dead) < len(bad) == 8
    assert all(row["failed_oracles"] == "['process']" and "exit code 7" in row["detail"] for row in dead)
    alive = [row for row in bad if row not in dead]
    checker = Checker(get("hello"))
    for row in alive:
        assert row["trace_digest"] == campaign_run(checker, 1, int(row["run"])).row.trace_digest


def test_a_build_that_never_answers_is_ended_and_its_run_failed(tmp_path: Path) -> None:
    looping = spoiled(tmp_path / "build", "recovered", "__import__('time').sleep(1000)")
    checker = Checker(get("hello"))
    crashes = [
        any(record.kind == "recovered" for record in campaign_run(checker, 1, n).history.trace)
        for n in range(1, 10)  # run 0 is judged deeply, by recoveries of its own
    ]
    without, crashing = 1 + crashes.index(False), 1 + crashes.index(True)
    script = (
        "import sys\nfrom harness import campaign\ncampaign.RUN_SECONDS_MAX = 6\n"
        "ended = []\n"
        f"task = campaign.Task('hello', 1, {without, crashing}, 2)\n"
        f"campaign.Campaign(1, lambda one: bool(ended.append(one)), {str(looping)!r}).run([task])\n"
        "print([(one.row.run, one.row.verdict, one.row.failed_oracles) for one in ended], ended[-1].row.detail)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True).stdout
    assert f"({crashing}, 'FAIL', ('process',))" in said and "without a word" in said
    assert f"({without}, 'PASS', ())" in said


def test_a_build_that_raises_or_prints_is_judged_and_breaks_nothing_of_ours(tmp_path: Path) -> None:
    raising = spoiled(tmp_path / "raising", "committed", "print('chatter'); raise RuntimeError('oh')")
    ended = child(
        "stress",
        "hello",
        "--runs",
        "2",
        "--store",
        str(tmp_path),
        "--build",
        str(raising),
        "--shrink-runs",
        "6",
        "--json",
    )
    assert ended.code == 1 and ended.json["failed"] == 2 and "harness error" not in ended.err
    assert "RuntimeError: oh" in load(tmp_path / "latest").runs["detail"][0] + ended.err or ended.json["cases"]
    assert len(ended.json["cases"]) >= 1


def test_what_the_runs_gave_is_kept_when_the_build_ends_the_interpreter_that_shrinks(tmp_path: Path) -> None:
    statement = "'harness.runner' in __import__('sys').argv or __import__('os')._exit(9); raise RuntimeError('oh')"
    ending = spoiled(tmp_path / "build", "committed", statement)
    ended = child("stress", "hello", "--runs", "2", "--store", str(tmp_path), "--build", str(ending))
    assert ended.code == 1 and "ended the interpreter with code 9" in ended.err
    assert list(load(tmp_path / "latest").runs["verdict"]) == ["FAIL", "FAIL"]


@pytest.mark.parametrize("code", [0, 7])
def test_a_build_that_ends_the_interpreter_never_passes_a_run(code: int, tmp_path: Path) -> None:
    leaving = spoiled(tmp_path, "committed", f"__import__('os')._exit({code})")
    ended = child("run", "hello", "--build", str(leaving))
    assert ended.code == 1 and f"ended the interpreter with code {code}" in ended.err


def test_a_failure_is_shrunk_to_a_case_that_fails_there_and_is_fixed_here(tmp_path: Path) -> None:
    mutant = build(
        tmp_path / "build",
        ("buffers.py", "    if google_crc32c.value(data) != view.crc:\n", "    if len(data) != view.length:\n"),
    )
    common = ("--build", str(mutant), "--json")
    told = child("stress", "frames", "--runs", "8", "--store", str(tmp_path), *common).json
    assert told["failed"] >= 1
    runs = load(tmp_path / "latest").runs
    failed = runs[runs["verdict"] == "FAIL"]
    torn = failed[
        failed["component"] == "buffers"
    ]  # where a step ran again, what it was fed the second time tells first
    assert len(torn) and torn["detail"].str.contains("version").all()
    case = Path(told["cases"][0])
    assert {path.name for path in case.iterdir()} == {
        "case.json",
        "journal.jsonl",
        "trace.jsonl",
        "blobs.bin",
        "REPRO.md",
    }
    text = (case / "REPRO.md").read_text("utf-8")
    assert f"wasm-engine replay {case}\n" in text and "- `buffer." in text and "1 in all" in text
    assert "planted bug `test`; `wasm-engine prove --mutant test` plants it again" in text
    (mutant / "MUTANT").unlink()  # a folder that stays is named by its path
    again = child("stress", "frames", "--runs", "8", "--store", str(tmp_path / "named"), *common).json
    named = (Path(again["cases"][0]) / "REPRO.md").read_text("utf-8")
    assert f"wasm-engine replay {again['cases'][0]} --build {mutant}" in named and "planted" not in named
    failed, fixed = child("replay", str(case), *common), child("replay", str(case), "--json")
    assert (failed.code, failed.json["outcome"]) == (1, "FAILED")
    assert (fixed.code, fixed.json["outcome"]) == (0, "FIXED")
    assert failed.json["mismatches"] == [] and "build" in fixed.json["mismatches"][0]


@pytest.mark.parametrize("on_build", [False, True])
def test_an_interrupt_ends_with_2_leaves_no_process_and_no_broken_latest(on_build: bool, tmp_path: Path) -> None:
    arguments = ["stress", "ledger", "--runs", "4000", "--jobs", "2", "--store", str(tmp_path / "out")]
    if on_build:
        arguments += ["--build", str(build(tmp_path / "build"))]
    command = [sys.executable, "-P", "-m", "harness.bootstrap", "-", "harness.cli", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    family = children_once_there(process.pid, 3 if on_build else 2)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 2, err
    assert "interrupted" in err and "Traceback" not in err
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    if "interrupted after" not in err:  # it came before the first run had ended
        assert out == "" and list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("after", [0, 2])
def test_what_was_run_before_an_interrupt_is_in_the_report(
    after: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Campaign._line
    told: list[object] = []

    def interrupted(campaign: Campaign, child: Any, said: dict[str, Any]) -> None:
        if "row" in said and len(told) == after:
            raise KeyboardInterrupt
        line(campaign, child, said)
        if "row" in said:
            told.append(said)

    monkeypatch.setattr(Campaign, "_line", interrupted)
    ended = here(capsys, "stress", "hello", "--runs", "5", "--jobs", "1", "--store", str(tmp_path))
    assert ended.code == 2 and "interrupted" in ended.err
    if not after:
        assert list(tmp_path.iterdir()) == []
        return
    assert "interrupted after 2 of 5 runs; the report has them" in ended.err
    assert load(str(tmp_path / "latest")).runs.shape[0] == 2 and "2 runs" in ended.out


def test_a_request_to_end_is_an_interrupt(tmp_path: Path) -> None:
    arguments = ["stress", "ledger", "--runs", "4000", "--jobs", "1", "--store", str(tmp_path / "out")]
    command = [sys.executable, "-P", "-m", "harness.bootstrap", "-", "harness.cli", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    family = children_once_there(process.pid, 1)
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2 and "interrupted" in err and "Traceback" not in err
    assert psutil.wait_procs(family, timeout=10)[1] == []


def children_once_there(pid: int, number: int) -> list[psutil.Process]:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        family = psutil.Process(pid).children(recursive=True)
        if len(family) >= number:
            return family
        time.sleep(0.05)
    raise AssertionError("the campaign started no children")


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("stress", "hello", "--runs", "3", "--jobs", "1", "--store", str(tmp_path))
    plain = here(capsys, *arguments)
    assert plain.err.splitlines()[-1] == "runs 3/3 0 failed" and "\x1b" not in plain.out + plain.err
    shown = on_a_terminal(*arguments)
    assert "━" in shown and "3/3" in shown and "\x1b[1;32mPASSED" in shown
    grey = on_a_terminal(*arguments, NO_COLOR="1")
    assert "━" in grey and "\x1b[32m" not in grey and "\x1b[1;32m" not in grey and "PASSED" in grey


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a terminal of 80 columns gets to see, control sequences and all."""
    import pty

    command = [sys.executable, "-P", "-m", "harness.bootstrap", "-", "harness.cli", *arguments]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **environment}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(ours)
    assert process.wait(30) == 0
    return shown.decode("utf-8", "replace")
