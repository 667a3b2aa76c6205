"""Whatever a user types or hands in: one line that says what is wrong and what to do, exit 4, no traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_kit import build, child, here, refused
from msgspec.structs import replace

from faults.plan import Plan, plan_to_json
from harness import golden
from harness.builds import PORTS
from runtime.state import Configure, Operate, Send

KILL = "worker.kill@tick:2,agent:0"

TYPED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "command": (("walk",), ("walk", "--help")),
    "scenario missing": (("run",), ("SCENARIO",)),
    "scenario": (("run", "nosuch"), ("'nosuch'", "hello, ledger, frames")),
    "scenario with control characters": (("run", "\x1b[2Jx\ny"), ("\\x1b[2Jx\\ny",)),
    "scenario of a campaign": (("stress", "hello", "nosuch"), ("'nosuch'",)),
    "option": (("run", "hello", "--frob"), ("--frob",)),
    "option of no bytes": (("run", "hello", "--\udcff"), ("--",)),
    "argument too many": (("run", "hello", "more"), ("more",)),
    "seed below": (("run", "hello", "--seed", "-1"), ("--seed", "-1")),
    "seed above": (("stress", "--seed", str(2**32)), ("--seed", str(2**32))),
    "seed is a word": (("run", "hello", "--seed", "x"), ("--seed", "'x'")),
    "no workers": (("run", "hello", "--workers", "0"), ("--workers", "0")),
    "runs is a word": (("stress", "--runs", "many"), ("--runs", "'many'")),
    "runs below": (("stress", "--runs", "-1"), ("--runs", "-1")),
    "jobs": (("stress", "--jobs", "0"), ("--jobs", "0")),
    "oracle": (("stress", "--prefer", "I99"), ("'I99'", "--prefer", "I28")),
    "mutant": (("prove", "--mutant", "nosuch"), ("'nosuch'", "torn_buffer_accepted")),
    "store": (("stress", "--runs", "1", "--store", "/dev/null/x"), ("/dev/null/x", "--store")),
    "store of prove": (("prove", "--runs", "1", "--store", "/dev/null/x"), ("/dev/null/x", "--store")),
    "case missing": (("replay", "no/such/case"), ("no/such/case", "give a case's folder")),
    "plan missing": (("run", "hello", "--plan", "no.json"), ("no.json", "plan")),
    "build missing": (("run", "hello", "--build", "no/such"), ("no/such", "runtime")),
    "fault": (("run", "hello", "--fault", "worker.kil@tick:1"), ("'worker.kil'", "worker.kill")),
    "fault empty": (("run", "hello", "--fault", ""), ("unknown fault",)),
    "fault key": (("run", "hello", "--fault", "worker.kill@tick:1,agnt:1"), ("agnt", "agent")),
    "fault value": (("run", "hello", "--fault", "worker.kill@tick:1,agent:one"), ("agent", "one")),
    "fault value out of range": (
        ("run", "hello", "--fault", "worker.kill@tick:1,agent:1,hostcall:0"),
        ("hostcall", "0"),
    ),
    "fault word": (("run", "hello", "--fault", "orchestrator.kill@tick:1,phase:lunch"), ("phase", "lunch")),
    "fault key twice": (("run", "hello", "--fault", "worker.kill@tick:1,tick:2,agent:1"), ("tick", "twice")),
    "fault without address": (("run", "hello", "--fault", "worker.kill"), ("worker.kill", "tick")),
    "fault too long": (("run", "hello", "--fault", "worker.kill@" + "x" * 5000), ("5012",)),
    "beyond the budget": (("run", "hello", *("--fault", KILL) * 4), ("lose 4 workers", "budget")),
}


@pytest.mark.parametrize("name", TYPED)
def test_what_is_typed_wrong_is_refused_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, words = TYPED[name]
    refused(here(capsys, *arguments), *words)
    if arguments[0] != "walk":
        refused(here(capsys, *arguments, "--json"), *words)


def plan(**changes: object) -> Plan:
    return replace(golden.default_plan("hello"), **changes)  # type: ignore[arg-type]


def tampered(**changes: object) -> str:
    return json.dumps(json.loads(plan_to_json(plan())) | changes)


TEXT = plan_to_json(plan())
LAST = plan().inputs[-1]
DAMAGED: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "empty": ("", ("damaged JSON",)),
    "truncated": (TEXT[: len(TEXT) // 2], ("damaged JSON",)),
    "binary": (bytes(range(256)), ("not UTF-8",)),
    "a number that is none": (TEXT.replace('"seed": 1', '"seed": NaN'), ("NaN",)),
    "a float": (TEXT.replace('"seed": 1', '"seed": 1.5'), ("1.5",)),
    "a key twice": (TEXT.replace('"seed": 1', '"seed": 1, "seed": 2'), ("twice",)),
    "deep nesting": ("[" * 100_000 + "]" * 100_000, ("nested",)),
    "a list": ("[]", ("object",)),
    "another version": (tampered(version=99), ("version 99", "reads 1")),
    "an unknown field": (tampered(sed=1), ("'sed'", "seed")),
    "a field of another type": (tampered(seed="one"), ("seed",)),
    "a field missing": ('{"scenario": "hello", "seed": 1}', ("inputs",)),
    "another scenario": (tampered(scenario="ledger"), ("'ledger'", "'hello'")),
    "no such scenario": (tampered(scenario="nosuch"), ("nosuch",)),
    "an unknown fault": (tampered(faults=[{"kind": "moon.fall", "at": {}, "with": {}}]), ("moon.fall", "fault 0")),
    "no workers": (tampered(physical={"workers": 0}), ("workers",)),
    "a repeated input": (plan_to_json(plan(inputs=(*plan().inputs, LAST))), ("input 6", "without gaps")),
    "a missing input": (plan_to_json(plan(inputs=plan().inputs[1:])), ("input 0", "without gaps")),
    "a negative agent": (
        plan_to_json(plan(inputs=(replace(plan().inputs[0], action=Send(-1, b"")),))),
        ("agent is -1",),
    ),
    "a foreign source": (
        plan_to_json(plan(inputs=(replace(plan().inputs[0], source="local"),))),
        ("'local'", "'user'"),
    ),
    "an operator below zero": (
        plan_to_json(plan(inputs=(replace(plan().inputs[0], action=Operate("pause", -1)),))),
        ("agent is -1",),
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_or_impossible_plan_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, words = DAMAGED[name]
    file = tmp_path / "plan.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(here(capsys, "run", "hello", "--plan", str(file), "--json"), "plan.json", *words)


def test_a_plan_that_would_configure_the_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from scenarios import get

    forged = replace(plan().inputs[0], action=Configure(get("hello").config(2)))
    (tmp_path / "plan.json").write_text(plan_to_json(plan(inputs=(forged,))), "utf-8")
    refused(here(capsys, "run", "hello", "--plan", str(tmp_path / "plan.json")), "configure")


def test_a_directory_is_no_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(here(capsys, "run", "hello", "--plan", str(tmp_path)), "Is a directory")


def test_a_seed_beside_a_plan_is_refused_and_workers_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.json"
    file.write_text(TEXT, "utf-8")
    refused(here(capsys, "run", "hello", "--plan", str(file), "--seed", "2"), "--seed")
    two, seven = (here(capsys, "run", "hello", "--plan", str(file), "--workers", n, "--json").json for n in ("2", "7"))
    assert two["journal_digest"] == seven["journal_digest"] and two["trace_digest"] != seven["trace_digest"]
    assert two == here(capsys, "run", "hello", "--json").json


def test_a_build_of_another_ports_version_is_refused_with_both_versions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build(tmp_path, ("versions.py", f"PORTS = {PORTS}\n", f"PORTS = {PORTS + 1}\n"))
    for arguments in (("run", "hello"), ("stress", "--runs", "1"), ("replay", "x")):
        refused(here(capsys, *arguments, "--build", str(folder)), f"version is {PORTS + 1}", f"drives version {PORTS}")


def test_a_build_that_cannot_be_imported_is_refused(tmp_path: Path) -> None:
    folder = build(tmp_path, ("fold.py", "def begin(", "def begin begin("))
    refused(child("run", "hello", "--build", str(folder)), "SyntaxError", "cannot be imported")


def test_a_bug_of_the_harness_is_one_line_and_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> None:
        raise KeyError("oh")

    monkeypatch.setattr("harness.commands.run.summary", broken)
    monkeypatch.delenv("WASM_ENGINE_DEBUG", raising=False)
    ended = here(capsys, "run", "hello", "--json")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.count("\n") == 1 and "KeyError: 'oh'" in ended.err and "WASM_ENGINE_DEBUG=1" in ended.err
