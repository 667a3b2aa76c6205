"""`wasm-engine why`: planted bugs are explained from records, and what cannot be explained is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cli_kit import RUNTIME, child, here, refused
from msgspec.structs import replace

from faults.mutants import MUTANTS, plant
from faults.plan import parse_fault
from harness import cases, golden
from harness.check import Checker
from scenarios import get


class Planted(NamedTuple):
    build: str
    case: Path


def planted(name: str, scenario: str, folder: Path, *faults: str) -> Planted:
    """A build with a planted bug, and a case of a plan that the bug fails by its oracle.

    The case is of the good build, where the plan passes, but for the oracle that it names.
    """
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    build = plant(mutant, RUNTIME, folder / "build")
    plan = replace(golden.default_plan(scenario), faults=tuple(parse_fault(fault) for fault in faults))
    case = cases.write(Checker(get(scenario)).check(plan), get(scenario), folder / "cases")
    content = json.loads((case / "case.json").read_text("utf-8"))
    (case / "case.json").write_text(json.dumps(content | {"failed_oracles": [mutant.oracle]}), "utf-8")
    return Planted(str(build), case)


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """A reader that does not verify a slot; of the plan's faults only the flip is needed to see it."""
    return planted(
        "torn_buffer_accepted",
        "frames",
        tmp_path_factory.mktemp("torn"),
        "worker.kill@tick:5,agent:1",
        "buffer.flip@buffer:0,version:12,bit=7580,bits=63",
        "frame.lose@tick:9,agent:0,direction:work",
        "orchestrator.kill@tick:20,phase:commit",
    )


@pytest.fixture(scope="module")
def told(torn: Planted) -> Any:
    ended = child("why", str(torn.case), "--build", torn.build, "--json")
    assert ended.code == 1, ended.err
    return ended.json


def test_the_needed_fault_the_first_difference_and_the_component_are_named(told: Any) -> None:
    assert told["outcome"] == "FAILED" and told["oracle"] == "I15"
    assert told["necessary"] and all(fault.startswith("buffer.flip@") for fault in told["necessary"])
    assert len(told["needless"]) >= 3 and told["necessary_alone_fail"] is True
    assert told["difference"]["where"] == "journal" and told["difference"]["block"] > 1
    assert told["difference"]["here"] != told["difference"]["there"]
    assert told["component"] == told["suspects"][0]["component"] == "buffers"
    kinds = [link["kind"] for link in told["chain"]]
    assert kinds[0] == "injected" and kinds[-1] == "oracle" and "difference" in kinds
    assert "did not notice" in told["chain"][0]["text"]
    assert any("other sources of the runtime" in note for note in told["notes"])


def test_the_picture_lies_in_the_case_and_holds_both_runs(told: Any, torn: Planted) -> None:
    picture = Path(told["picture"])
    assert picture == torn.case / "why.html"
    page = picture.read_text("utf-8")
    assert "<svg" in page and "buffers" in page and "default-src 'none'" in page
    assert 'class="difference"' in page and "twin" in page and len(page) < 3_000_000
    assert torn.build in page


def test_the_text_says_the_same(torn: Planted, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "picture.html"
    ended = child("why", str(torn.case), "--build", torn.build, "--out", str(out))
    assert ended.code == 1 and out.is_file()
    for words in ("FAILED   I15", "necessary: buffer.flip@", "not needed:", "blame 1  buffers", f"picture: {out}"):
        assert words in ended.out


def test_on_the_good_build_there_is_nothing_to_explain(torn: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    (torn.case / "why.html").unlink(missing_ok=True)
    ended = here(capsys, "why", str(torn.case), "--json")
    assert (ended.code, ended.json["outcome"], ended.json["suspects"], ended.json["picture"]) == (0, "FIXED", [], "")
    assert ended.json["notes"] == []
    assert not (torn.case / "why.html").exists()
    assert here(capsys, "why", str(torn.case)).out.startswith("FIXED")


def test_a_missing_or_altered_trace_is_made_anew_and_said(torn: Planted, tmp_path: Path) -> None:
    case = shutil.copytree(torn.case, tmp_path / "case", ignore=shutil.ignore_patterns("why.html"))
    (case / "trace.jsonl").unlink()
    ended = child("why", str(case), "--build", torn.build, "--json", "--no-picture")
    assert ended.code == 1 and "trace.jsonl is missing: made anew from the plan" in ended.json["notes"]
    assert ended.json["picture"] == "" and not (case / "why.html").exists()
    (case / "trace.jsonl").write_text("{}\n")
    ended = child("why", str(case), "--build", torn.build, "--json", "--no-picture", "--runs", "0")
    assert any("trace.jsonl is not the recorded one" in note for note in ended.json["notes"])
    assert ended.json["necessary"] == [] and ended.json["untried"], "no run was allowed"


def test_a_bug_that_needs_no_fault_is_in_the_twin_as_well_and_that_is_said(tmp_path: Path) -> None:
    found = planted("watermark_not_synced", "ledger", tmp_path)
    ended = child("why", str(found.case), "--build", found.build, "--json", "--no-picture")
    assert ended.code == 1 and ended.json["necessary"] == []
    assert ended.json["difference"]["where"] == "nothing" and "in both" in ended.json["difference"]["place"]
    assert ended.json["component"] == "durability"


def test_wrong_input_is_refused_in_one_line(torn: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(here(capsys, "why", str(tmp_path / "none")), "cannot be read")
    content = json.loads((torn.case / "case.json").read_text("utf-8"))
    (tmp_path / "case.json").write_text(json.dumps(content | {"version": 7}), "utf-8")
    refused(here(capsys, "why", str(tmp_path)), "case version 7", "record it anew")
    (tmp_path / "case.json").write_text("{", "utf-8")
    refused(here(capsys, "why", str(tmp_path)), "damaged case")
    (tmp_path / "file").write_text("")
    refused(child("why", str(torn.case), "--build", torn.build, "--out", str(tmp_path / "file" / "x")), "--out")
