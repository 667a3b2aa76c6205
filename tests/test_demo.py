"""`wasm-engine demo`: what it says was run, holds, and can be done again by the commands that it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from cli_kit import Ended, child, here

from faults.mutants import MUTANTS
from faults.plan import parse_fault
from harness.builds import ROOT
from harness.commands import demo


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def shown(place: Path) -> Ended:
    return child("demo", cwd=place)


def test_everything_that_is_said_holds(shown: Ended) -> None:
    assert shown.code == 0, shown.out + shown.err
    claims = re.findall(r"^   (yes|NO): ", shown.out, re.M)
    assert set(claims) == {"yes"} and len(claims) == 2 * len(demo.ACTS) + 3
    assert re.findall(r"^(\d+)\. ", shown.out, re.M) == [str(n + 1) for n in range(len(claims))]
    assert "All of it held." in shown.out.splitlines()[-1]


def test_it_is_plain_text_where_there_is_no_terminal(shown: Ended) -> None:
    assert "\x1b" not in shown.out + shown.err
    assert all(line == line.rstrip() for line in shown.out.splitlines())


def test_each_scenario_has_one_journal_with_and_without_faults(shown: Ended) -> None:
    digests = re.findall(r"journal ([0-9a-f]{16})", shown.out)
    assert digests[::2] == digests[1::2] and len(set(digests)) == len(demo.ACTS)


def test_the_commands_that_it_shows_give_the_same_journals(shown: Ended, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown.out.replace("\\\n", " ")
    commands = re.findall(r"^   \$ wasm-engine (run .*)$", text, re.M)
    assert len(commands) == 2 * len(demo.ACTS)
    digests = re.findall(r"journal ([0-9a-f]{16})", text)
    for command, digest in zip(commands, digests, strict=True):
        ended = here(capsys, *shlex.split(command), "--json")
        assert ended.code == 0 and ended.json["journal_digest"].startswith(digest)


def test_workers_the_orchestrator_and_the_accelerator_all_go() -> None:
    kinds = {parse_fault(fault).kind for act in demo.ACTS for fault in act.faults}
    assert {"worker.kill", "orchestrator.kill", "gpu.remove"} <= kinds


def test_the_bug_is_named_by_its_oracle_and_its_case_replays_as_it_says(shown: Ended, place: Path) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == demo.BUG)
    assert mutant.title in shown.out and f"by oracle {mutant.oracle} (" in shown.out
    found = re.search(r"(\d+) of its (\d+) faults (?:is|are) enough", shown.out)
    assert found and 0 < int(found[1]) < int(found[2])
    command = re.search(r"\$ wasm-engine (replay \S+)", shown.out)
    assert command and (place / command[1].split()[1] / "REPRO.md").is_file()
    assert child(*command[1].split(), "--json", cwd=place).json["outcome"] == "FIXED"


def test_a_claim_that_does_not_hold_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    never = demo.Act(
        "hello", "A clean run.", "One with a fault at a step that there is not.", ("worker.kill@tick:999,agent:0",)
    )
    monkeypatch.setattr(demo, "ACTS", (never,))
    monkeypatch.setattr(demo, "RUNS", 1)
    ended = here(capsys, "demo", "--json", "--store", str(tmp_path))
    assert ended.code == 1 and ended.json["held"] is False
    assert [claim["held"] for claim in ended.json["claims"]][:2] == [True, False]


def test_the_pages_show_what_the_demo_prints(shown: Ended) -> None:
    for name in ("README.md", "docs/demo.md"):
        page = (ROOT / name).read_text("utf-8")
        block = re.search(r"```console\n\$ wasm-engine demo\n(.*?)```", page, re.S)
        assert block and block[1] == shown.out, f"put what `wasm-engine demo` prints into {name}"
