"""Cases: a recorded run replays as what it is, and a damaged or forged one is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cli_kit import here, refused
from msgspec.structs import replace

from faults.plan import parse_fault
from harness import cases, golden
from harness.check import Checker
from scenarios import get


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case of this very build; its run passed, so it replays as FIXED."""
    plan = replace(golden.default_plan("hello"), faults=(parse_fault("worker.kill@tick:2,agent:0"),))
    return cases.write(Checker(get("hello")).check(plan), get("hello"), tmp_path_factory.mktemp("cases"))


def altered(recorded: Path, folder: Path, **changes: Any) -> str:
    """A copy of the case with other fields; "plan" brings its digest along."""
    content = json.loads((recorded / "case.json").read_text("utf-8")) | changes
    if "plan" in changes and "plan_digest" not in changes:
        content["plan_digest"] = hashlib.sha256(changes["plan"].encode()).hexdigest()
    (folder / "case.json").write_text(json.dumps(content), "utf-8")
    return str(folder)


def test_a_case_replays_from_its_folder_and_from_its_file(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (recorded, recorded / "case.json"):
        ended = here(capsys, "replay", str(path), "--json")
        assert ended.code == 0 and ended.err == ""
        assert ended.json["outcome"] == "FIXED" and ended.json["mismatches"] == []
        assert ended.json["trace_digest"] == ended.json["recorded_trace_digest"]
    text = here(capsys, "replay", str(recorded))
    assert text.code == 0 and text.out.startswith("FIXED") and "Traceback" not in text.err


def test_the_journal_and_the_trace_in_the_case_are_those_of_the_run(recorded: Path) -> None:
    case = cases.read(recorded)
    last = (recorded / "journal.jsonl").read_bytes().splitlines()[-1]
    assert case.journal_digest.encode() in last
    assert hashlib.sha256((recorded / "trace.jsonl").read_bytes()).hexdigest() == case.trace_digest


def test_a_case_of_an_oracle_that_there_is_not_is_refused(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = here(capsys, "replay", altered(recorded, tmp_path, failed_oracles=["I99"]), "--json")
    assert ended.code == 4 and "unknown oracle 'I99'" in ended.err and ended.err.count("\n") == 1


@pytest.mark.parametrize("field", ["trace_digest", "journal_digest", "twin_digest"])
def test_another_digest_on_the_recorded_build_is_divergence(
    field: str, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = here(capsys, "replay", altered(recorded, tmp_path, **{field: "0" * 64}), "--json")
    assert (ended.code, ended.json["outcome"]) == (11, "DIVERGED")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"build": "0" * 64}, "build"),
        ({"modules": {"00000 planner": "0" * 64}}, "modules"),
        ({"versions": {"ports": 0}}, "versions"),
    ],
)
def test_another_build_is_named_and_its_trace_may_differ(
    changes: dict[str, Any], named: str, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = here(capsys, "replay", altered(recorded, tmp_path, trace_digest="0" * 64, **changes), "--json")
    assert (ended.code, ended.json["outcome"]) == (0, "FIXED")
    assert [line.split(":")[0] for line in ended.json["mismatches"]] == [named]


def test_a_plan_that_is_not_the_recorded_one_is_refused(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = cases.read(recorded)
    other = case.plan.replace('"seed": 1', '"seed": 2')
    refused(here(capsys, "replay", altered(recorded, tmp_path, plan=other, plan_digest=case.plan_digest)), "recorded")
    refused(here(capsys, "replay", altered(recorded, tmp_path, plan_digest="0" * 64)), "recorded")


FORGED = {
    "a plan of another version": (lambda text: text.replace('"version": 1', '"version": 2'), "version 2"),
    "a plan with an unknown field": (lambda text: text.replace('"seed"', '"sed": 1, "seed"'), "sed"),
    "a plan beyond the budget": (
        lambda text: json.dumps(json.loads(text) | {"faults": 4 * json.loads(text)["faults"]}),
        "budget",
    ),
    "a plan with a gap": (
        lambda text: json.dumps(json.loads(text) | {"inputs": json.loads(text)["inputs"][1:]}),
        "gaps",
    ),
    "a plan that is no JSON": (lambda text: text[:-9], "damaged JSON"),
    "a plan of deep nesting": (lambda text: "[" * 90_000, "nested"),
    "a plan of surrogates": (lambda text: '{"scenario": "\\ud800"}', "plan"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_plan_is_refused_in_one_line(
    name: str, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forge, word = FORGED[name]
    plan = forge(cases.read(recorded).plan)
    refused(here(capsys, "replay", altered(recorded, tmp_path, plan=plan)), word)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"version": 9}, "version 9"),
        ({"version": "1"}, "version"),
        ({"extra": 1}, "extra"),
        ({"failed_oracles": "twin"}, "failed_oracles"),
        ({"plan": None, "plan_digest": ""}, "plan"),
    ],
)
def test_a_case_of_another_shape_or_version_is_refused(
    changes: dict[str, Any], word: str, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(here(capsys, "replay", altered(recorded, tmp_path, **changes), "--json"), word)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", bytes(range(256)), b"[" * 100_000, b"null", b'{"version": 1}', b"\xff\xfe{}", b'{"version": NaN}'],
)
def test_a_damaged_case_is_refused_in_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "case.json").write_bytes(content)
    refused(here(capsys, "replay", str(tmp_path)), "case.json")


def test_each_flipped_byte_of_a_case_is_refused_or_leaves_a_verdict(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a bit does to the file, the answer is one of the promised ones; a sample of places."""
    data = (recorded / "case.json").read_bytes()
    for place in range(0, len(data), len(data) // 40):
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place % 7)
        (tmp_path / "case.json").write_bytes(damaged)
        ended = here(capsys, "replay", str(tmp_path), "--json")
        assert ended.code in (0, 4, 11), (place, ended)
        assert ended.err.count("\n") == (ended.code == 4)


def test_a_folder_without_a_case_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(here(capsys, "replay", str(tmp_path)), "case.json", "give a case's folder")
    (tmp_path / "case.json").mkdir()
    refused(here(capsys, "replay", str(tmp_path)), "Is a directory")
