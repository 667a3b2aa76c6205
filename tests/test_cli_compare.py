"""`compare`: two builds, the same plans; what is worse is said, what is the same is not, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from cli_kit import ROOT, RUNTIME, build, here, refused, spoiled

from harness.records import RecordFile
from harness.seats import Seat
from runtime.errors import Refused

COMMON = ("--jobs", "1", "--scenario", "hello")


def alike(folder: Path) -> Path:
    """A build that is not byte for byte ours, and does the same."""
    place = build(folder)
    (place / "runtime" / "errors.py").open("a", encoding="utf-8").write("# as before\n")
    return place


def test_two_builds_that_are_the_same_have_no_regression_and_no_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = alike(tmp_path / "other")
    ended = here(
        capsys, "compare", "-", str(other), *COMMON, "--runs", "12", "--store", str(tmp_path / "out"), "--json"
    )
    told = ended.json
    assert ended.code == 0 and told["verdict"] == "NO REGRESSION", ended
    assert (told["new"], told["fixed"], told["p"], told["journals_different"]) == (0, 0, 1.0, 0)
    assert told["judged"] + 1 >= told["runs"] == 12 and told["first_difference"] is None
    assert Path(told["report"]).is_file() and (tmp_path / "out" / "latest" / "compare.json").is_file()


def test_a_build_that_lost_a_check_is_a_regression_with_a_case_that_replays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = build(
        tmp_path / "worse",
        (
            "orchestrator.py",
            "        committed = fold.commit(self.state, opened, self._outcomes)\n",
            "        arrived = list(self._outcomes)\n"
            "        opened.records.sort(key=lambda record: arrived.index(record.agent))\n"
            "        committed = fold.commit(self.state, opened, self._outcomes)\n",
        ),
    )
    options = ("--jobs", "1", "--scenario", "ledger", "--runs", "12", "--store", str(tmp_path / "out"), "--json")
    ended = here(capsys, "compare", "-", str(worse), *options)
    told = ended.json
    assert ended.code == 1 and told["verdict"] == "REGRESSION" and told["new"] >= 10
    assert told["journals_different"] >= 10 and told["first_difference"]["path"]
    found = [finding for status in ("new", "rare") for finding in told["findings"][status]]
    commands = [line for finding in found for line in finding["replay"]]
    assert commands and all(finding["base"] == 0 for finding in found)
    assert here(capsys, *commands[0].split()[1:]).code == 1
    assert here(capsys, "replay", commands[0].split()[2]).code == 0
    turned = here(capsys, "compare", str(worse), "-", *options)
    assert turned.code == 0 and turned.json["fixed"] == told["new"]
    assert turned.json["findings"]["resolved"] and not turned.json["findings"]["new"]


def test_a_build_that_ends_its_interpreter_has_failed_and_the_plan_that_did_it_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deadly = spoiled(tmp_path / "deadly", "committed", "import os; os._exit(0)")
    ended = here(
        capsys, "compare", "-", str(deadly), *COMMON, "--runs", "10", "--store", str(tmp_path / "out"), "--json"
    )
    assert ended.code == 1
    [finding] = ended.json["findings"]["new"]
    assert finding["fingerprint"] == "process/process/-" and finding["head"] == 10
    plan = finding["replay"][0].split("--plan ")[1].split()[0]
    assert here(capsys, "run", "hello", "--plan", plan).code in (0, 12)


def test_it_goes_on_after_an_interrupt_and_ends_with_the_pairs_of_one_that_never_stopped(tmp_path: Path) -> None:
    arguments = ["compare", "-", "-", *COMMON, "--runs", "14", "--json"]
    command = [sys.executable, "-P", "-m", "harness.bootstrap", "-", "harness.cli"]
    whole = subprocess.run(
        [*command, *arguments, "--store", str(tmp_path / "a")], capture_output=True, cwd=ROOT, check=False
    )
    cut = subprocess.Popen(
        [*command, *arguments, "--store", str(tmp_path / "b")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        start_new_session=True,
    )
    until, lines = time.monotonic() + 60, 0
    while time.monotonic() < until and lines < 4 and cut.poll() is None:
        files = list((tmp_path / "b").glob("*/pairs.jsonl"))
        lines = files[0].read_bytes().count(b"\n") if files else 0
        time.sleep(0.02)
    os.killpg(cut.pid, signal.SIGKILL)
    cut.wait()
    [file] = (tmp_path / "b").glob("*/pairs.jsonl")
    before = file.read_bytes()
    assert 4 <= before.count(b"\n") < 15
    resumed = subprocess.run(
        [*command, *arguments, "--resume", str(file.parent)], capture_output=True, cwd=ROOT, check=False
    )
    assert resumed.returncode == whole.returncode == 0, resumed.stderr
    assert file.read_bytes().startswith(before.rpartition(b"\n")[0])
    assert {**json.loads(resumed.stdout), "report": ""} == {**json.loads(whole.stdout), "report": ""}


def test_resuming_with_another_build_is_refused_and_more_runs_are_added(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here(capsys, "compare", "-", "-", *COMMON, "--runs", "2", "--store", str(tmp_path)).code == 12
    folder = str((tmp_path / "latest").resolve())
    more = here(capsys, "compare", "-", "-", *COMMON, "--runs", "3", "--resume", folder, "--json")
    assert more.code == 12 and more.json["runs"] == 3 and "a regression shows in" in more.json["because"]
    other = alike(tmp_path / "other")
    refused(here(capsys, "compare", "-", str(other), *COMMON, "--resume", folder), "made from something else", "head")
    refused(here(capsys, "compare", "-", "-", *COMMON, "--resume", str(tmp_path)), "no comparison to go on with")


def test_wrong_input_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ("--store", str(tmp_path / "out"))
    refused(here(capsys, "compare", str(tmp_path / "none"), "-", *store), "no such build")
    refused(here(capsys, "compare", str(tmp_path), "-", *store), "no package 'runtime'")
    (tmp_path / "notes.txt").write_text("")
    refused(here(capsys, "compare", "-", str(tmp_path / "notes.txt"), *store), "neither a wheel nor an interpreter")
    (tmp_path / "bad.whl").write_bytes(b"PK nothing")
    refused(here(capsys, "compare", "-", str(tmp_path / "bad.whl"), *store), "cannot be unpacked")
    refused(here(capsys, "compare", "-", "/bin/true", *store), "has no package 'runtime' installed")
    refused(here(capsys, "compare", "-", "-", "--scenario", "nowhere", *store), "nowhere")
    assert here(capsys, "compare", "-", "-", "--runs", "0").code == 4 and here(capsys, "compare", "-").code == 4
    assert not list((tmp_path / "out").glob("*"))


def wheel(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(RUNTIME.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, f"runtime/{file.relative_to(RUNTIME).as_posix()}")
        for name in names:
            archive.writestr(name, "x")
    return path


def test_a_wheel_is_a_build_and_one_whose_names_lead_out_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = wheel(tmp_path / "engine-1-py3-none-any.whl", "harness/x.py")
    options = (*COMMON, "--runs", "1", "--store", str(tmp_path / "out"))
    ended = here(capsys, "compare", "-", str(good), *options, "--json")
    assert ended.code == 12 and ended.json["journals_different"] == 0
    [unpacked] = (tmp_path / "out" / "latest" / "builds" / "head").iterdir()
    assert [path.name for path in unpacked.iterdir()] == ["runtime"]
    bad = wheel(tmp_path / "bad-1-py3-none-any.whl", "runtime/../../../escaped.py")
    refused(here(capsys, "compare", "-", str(bad), *options), "leads out of the wheel")
    assert not list(tmp_path.rglob("escaped.py"))


def test_an_interpreter_is_a_build_by_the_runtime_that_it_would_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\necho {build(tmp_path / 'there')}/runtime\n")
    script.chmod(0o755)
    ended = here(capsys, "compare", "-", str(script), *COMMON, "--runs", "1", "--store", str(tmp_path / "o"), "--json")
    assert ended.code == 12 and ended.json["journals_different"] == 0


def test_records_survive_a_torn_line_and_belong_to_what_they_were_made_from(tmp_path: Path) -> None:
    path, about = tmp_path / "records", {"seed": 1}
    file = RecordFile(path, about)
    file.append({"n": 1})
    file.append({"n": 2})
    file.close()
    path.write_bytes(path.read_bytes()[:-4])
    file = RecordFile(path, about)
    assert file.known == [{"n": 1}]
    file.append({"n": 3})
    file.close()
    assert RecordFile(path, about).known == [{"n": 1}, {"n": 3}]
    with pytest.raises(Refused, match="made from something else"):
        RecordFile(path, {"seed": 2})


def test_a_seat_whose_child_says_nothing_is_ended_and_the_next_request_gets_a_new_one(tmp_path: Path) -> None:
    from faults.plan import plan_to_json
    from harness.check import Checker
    from harness.runner import campaign_plan
    from scenarios import get

    text = plan_to_json(campaign_plan(Checker(get("hello")), 1, 0, shared=1))
    silent = Seat(str(spoiled(tmp_path, "committed", "import time; time.sleep(600)")), seconds_max=6)
    request = {"do": "check", "plan": text, "n": 1, "journal": str(tmp_path / "journal")}
    try:
        assert silent.ask(request) is None and "without a word" in silent.death
        drawn = silent.ask(
            {"do": "case", "plan": "{}", "n": 0, "oracle": "twin", "runs_max": 1, "folder": str(tmp_path)}
        )
        assert drawn is None and "died" in silent.death
    finally:
        silent.close()
