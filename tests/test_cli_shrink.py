"""`wasm-engine shrink`: what is left is small, fails ten of ten times, and is on disk at every moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli_kit import Ended, build, child, here, refused, spoiled
from msgspec.structs import replace

from faults.mutants import MUTANTS, plant
from faults.plan import parse_fault, plan_from_json
from harness import builds, cases, golden
from harness.check import Checker
from scenarios import get

TWICE = ("fold.py", "        if item.n <= state.admitted.get(item.source, 0):\n", "        if item.n <= 0:\n")
FAULTS = (
    "worker.kill@tick:2,agent:0",
    "frame.duplicate@direction:inputs,occurrence:2,for=30ms",
    "orchestrator.kill@tick:4,phase:commit",
    "frame.delay@tick:3,agent:1,direction:done,for=9ms",
)
KEYS = {
    "outcome",
    "oracle",
    "again",
    "before",
    "after",
    "runs",
    "whole",
    "fingerprint",
    "faults",
    "case",
    "replay",
}


def recorded(folder: Path, *failed: str) -> Path:
    """A case as a build that is gone recorded it: four faults, and these oracles that failed."""
    plan = replace(golden.default_plan("hello"), faults=tuple(map(parse_fault, FAULTS)))
    place = cases.write(Checker(get("hello")).check(plan), get("hello"), folder)
    content = json.loads((place / "case.json").read_text("utf-8")) | {"failed_oracles": list(failed), "build": "0" * 64}
    (place / "case.json").write_text(json.dumps(content), "utf-8")
    return place


def whole_cases(folder: Path) -> list[Path]:
    """The cases below a folder; each is read, so one that is not whole raises."""
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    assert all(cases.read(path) and (path / "journal.jsonl").read_bytes() for path in found)
    return found


def test_a_case_gets_as_small_as_it_can_and_fails_ten_of_ten_times(tmp_path: Path) -> None:
    case, bad = recorded(tmp_path / "cases", "twin", "I8"), build(tmp_path / "bad", TWICE)
    ended = child("shrink", str(case), "--build", str(bad), "--json")
    told = ended.json
    assert ended.code == 1 and set(told) == KEYS, ended.err
    assert (told["outcome"], told["oracle"], told["again"], told["whole"]) == ("FAILED", "I8", "10 of 10", True)
    assert told["before"]["faults"] == 4 and (told["after"]["faults"], told["after"]["inputs"]) == (1, 0)
    [kind] = [fault.split("@")[0] for fault in told["faults"]]
    assert kind in ("frame.duplicate", "orchestrator.kill"), "either makes the client send again"
    assert told["fingerprint"] == f"I8/broker/{kind}"
    assert "smaller: " in ended.err and "Traceback" not in ended.err
    assert whole_cases(tmp_path / "cases") == sorted([case, Path(told["case"])]), "the old one and the new one"
    small = plan_from_json(cases.read(Path(told["case"])).plan)
    assert [str(fault) for fault in small.faults] == told["faults"] and small.last_tick > 0
    command = told["replay"].split()
    assert command[:2] == ["wasm-engine", "replay"] and child(*command[1:]).code == 1
    assert child("replay", told["case"]).out.startswith("FIXED"), "on the good build"


def test_a_case_that_does_not_fail_here_is_said_to_be_fixed(tmp_path: Path) -> None:
    case = recorded(tmp_path, "I8")
    ended = child("shrink", str(case), "--json")
    assert (ended.code, ended.json["outcome"], ended.json["again"]) == (0, "FIXED", "0 of 10")
    assert ended.json["case"] == str(case) and whole_cases(tmp_path) == [case]
    assert child("shrink", str(case)).out.startswith("FIXED   I8 does not fail it on this build")


def test_a_case_that_fails_now_and_then_is_flaky(tmp_path: Path) -> None:
    count = tmp_path / "count"
    statement = (
        f"p = __import__('pathlib').Path({str(count)!r}); n = len(p.read_bytes()) if p.exists() else 0\n"
        "        p.write_bytes(b'.' * (n + 1))\n"
        "        if n % 3 == 1: raise RuntimeError('oh')"
    )
    bad = spoiled(tmp_path / "bad", "started", statement)
    ended = child("shrink", str(recorded(tmp_path / "cases", "replay")), "--build", str(bad), "--runs", "5")
    assert ended.code == 11 and ended.out.startswith("FLAKY   replay fails it "), ended
    assert "of 10 times" in ended.out and "10 of 10" not in ended.out


def test_a_limit_leaves_the_best_so_far_and_says_so(tmp_path: Path) -> None:
    case, bad = recorded(tmp_path / "cases", "I8"), build(tmp_path / "bad", TWICE)
    ended = child("shrink", str(case), "--build", str(bad), "--runs", "3")
    assert ended.code == 1 and "a limit ended the search" in ended.out and "10 of 10" in ended.out
    assert 1 <= len(whole_cases(tmp_path / "cases")) <= 2


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_an_interruption_leaves_a_whole_case_that_fails_and_no_process(ending: int, tmp_path: Path) -> None:
    home, bad = tmp_path / "cases", build(tmp_path / "bad", TWICE)
    case = recorded(home, "I8")
    command = [sys.executable, "-P", "-m", "harness.bootstrap", str(bad), "harness.cli", "shrink", str(case)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    waited = time.monotonic() + 60
    while len([path for path in home.iterdir() if not path.name.startswith(".")]) < 2 and time.monotonic() < waited:
        time.sleep(0.002)
    family = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, ending)
    _, err = process.communicate(timeout=30)
    assert ending == signal.SIGKILL or (process.returncode == 2 and "best so far" in err and "Traceback" not in err)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    left = [path for path in whole_cases(home) if path != case]
    assert left, "there is a smaller case"
    for path in left:
        assert child("replay", str(path), "--build", str(bad)).out.startswith("FAILED")


@pytest.mark.parametrize(
    ("failed", "arguments", "words"),
    [
        ((), (), ("no oracle failed it",)),
        (("process",), (), ("ended the interpreter",)),
        (("I8",), ("--oracle", "I9"), ("did not fail by 'I9'", "it failed by I8")),
        (("I8",), ("--time", "soon"), ("'soon' is no time",)),
        (("I8",), ("--time", "0s"), ("no time to spend",)),
        (("I8",), ("--runs", "0"), ("--runs",)),
    ],
)
def test_what_cannot_be_shrunk_is_refused_in_one_line(
    failed: tuple[str, ...],
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refused(here(capsys, "shrink", str(recorded(tmp_path, *failed)), *arguments), *words)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b'{"version": 1}', bytes(range(256))])
def test_a_damaged_case_is_refused_in_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "case.json").write_bytes(content)
    refused(here(capsys, "shrink", str(tmp_path), "--json"), "case.json")


def test_a_build_that_ends_its_interpreter_does_not_end_ours(tmp_path: Path) -> None:
    bad = spoiled(tmp_path / "bad", "committed", "__import__('os')._exit(0)")
    ended: Ended = child("shrink", str(recorded(tmp_path / "cases", "I8")), "--build", str(bad), "--json")
    told: dict[str, Any] = ended.json
    assert (ended.code, told["outcome"], told["again"]) == (1, "ENDED", "0 of 10"), "it is anything but fixed"


def unguarded(folder: Path) -> Path:
    """A build that fails `edges` without any fault, by I18 and by the scenario's own rule."""
    bug = next(mutant for mutant in MUTANTS if mutant.name == "mailbox_one_too_many")
    return plant(bug, builds.ROOT / "runtime", folder)


def broken(folder: Path, bad: Path) -> Path:
    """What `stress` finds of it, not shrunk."""
    made = child(
        "stress", "edges", "--only", "0", "--shrink-runs", "0", "--store", str(folder), "--build", str(bad), "--json"
    )
    [case] = made.json["cases"]
    return Path(case)


def test_a_good_build_says_what_a_smaller_workload_may_ask_for(tmp_path: Path) -> None:
    bad = unguarded(tmp_path / "bad")
    case = broken(tmp_path / "out", bad)
    alone = child("shrink", str(case), "--oracle", "I18", "--build", str(bad), "--json").json
    told = child("shrink", str(case), "--oracle", "I18", "--build", str(bad), "--good", "-", "--json").json
    assert told["outcome"] == "FAILED" and told["again"] == "10 of 10"
    assert told["after"]["inputs"] < alone["after"]["inputs"], "no faults needed: without it only what was found counts"
    assert child("replay", told["case"], "--build", str(bad)).out.startswith("FAILED")
    assert child("replay", told["case"]).out.startswith("FIXED")
    assert whole_cases(case.parent) == sorted({case, Path(alone["case"]), Path(told["case"])}), "no refused one is left"


def test_a_build_that_fails_the_case_as_well_is_not_a_good_one(tmp_path: Path) -> None:
    bad = build(tmp_path / "bad", TWICE)
    case = recorded(tmp_path / "cases", "I8")
    ended = child("shrink", str(case), "--build", str(bad), "--good", str(bad))
    assert ended.code == 4 and "the build that is given as good fails the case as well" in ended.err
    for command in (("shrink", str(case)), ("stress", "hello")):
        nowhere = child(*command, "--good", str(tmp_path / "nowhere"))
        assert nowhere.code == 4 and "there is no package 'runtime' in it" in nowhere.err
