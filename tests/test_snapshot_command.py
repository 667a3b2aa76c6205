"""SNP-1: a run's state as a file, from which an instance in another process goes on to the same end."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from cli_kit import build, child, here, refused

from faults.mutants import MUTANTS
from faults.plan import plan_to_json
from harness import carrying
from harness.plans import default_plan
from harness.simulation import journal_digest, simulate
from runtime import exports
from runtime.durability import JOURNAL
from runtime.errors import Refused
from scenarios import get
from scenarios.files import known

EXAMPLE = Path(__file__).parent.parent / "docs" / "scenario-example"
_HEAD = exports._HEAD


def forged(data: bytes, **changes: object) -> bytes:
    """An export with other content under a good checksum."""
    export = msgspec.structs.replace(exports.read(data), **changes)
    body = msgspec.msgpack.encode(export, order="sorted")
    return _HEAD.pack(data[:4], exports.EXPORT, len(body), hashlib.sha256(body).digest()) + body


@pytest.fixture(scope="module")
def ledger() -> bytes:
    return carrying.taken(default_plan("ledger"), 50)


@pytest.mark.parametrize("tick", range(13))
def test_every_tick_of_a_run_can_be_carried_away(tick: int) -> None:
    data = carrying.taken(default_plan("hello"), tick)
    carried = carrying.content(data)
    assert carried.tick >= tick and (carried.scenario, carried.seed) == ("hello", 1)
    found = carrying.arrived(data, carried, carrying.plan_for(carried, None, 3))
    assert found.finished and found.digest == found.straight == journal_digest(
        simulate(get("hello"), default_plan("hello"))
    )


@pytest.mark.parametrize("name", ["frames", "assistants", "edges", str(EXAMPLE)])
def test_any_scenario_can(name: str) -> None:
    plan = default_plan(get(name).name)
    data = carrying.taken(plan, get(name).config(1).last_tick // 2)
    carried = carrying.content(data)
    found = carrying.arrived(data, carried, carrying.plan_for(carried, None, None))
    assert found.finished and found.digest == found.straight != "" and found.blocks > 0


def test_another_process_goes_on_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.snapshot"
    fault = "orchestrator.kill@tick:20,phase:sync"
    told = child("snapshot", "export", "ledger", "--tick", "50", "--out", str(path), "--fault", fault, "--json").json
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() and told["tick"] >= 50
    gone_on = child("snapshot", "import", str(path), "--workers", "5", "--json", PYTHONHASHSEED="77")
    assert gone_on.code == 0, gone_on.err
    assert gone_on.json["equal"] and gone_on.json["block"] == told["block"] and gone_on.json["blocks"] > 0


def test_a_file_that_is_damaged_cut_or_something_else_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ledger: bytes
) -> None:
    path = tmp_path / "d.snapshot"
    for data in (
        ledger[:3000] + bytes([ledger[3000] ^ 1]) + ledger[3001:],
        ledger[:-1],
        ledger + b"x",
        ledger[: _HEAD.size],
        b"",
        b"something else" * 20,
    ):
        path.write_bytes(data)
        refused(here(capsys, "snapshot", "import", str(path)), "d.snapshot: ", "export")
    refused(here(capsys, "snapshot", "import", str(tmp_path / "none")), "none: cannot be read")


def test_a_forged_file_with_a_good_checksum_is_refused_or_comes_to_the_same_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ledger: bytes
) -> None:
    """The journal outranks the snapshots that came with it; a journal that is no chain is refused."""
    path = tmp_path / "f.snapshot"
    files = exports.read(ledger).files
    broken = files[JOURNAL].replace(b'"tick":40', b'"tick":41', 1)
    path.write_bytes(forged(ledger, files={**files, JOURNAL: broken}))
    refused(here(capsys, "snapshot", "import", str(path)), "f.snapshot: ")
    path.write_bytes(forged(ledger, versions={**exports.read(ledger).versions, "state": 99}))
    refused(here(capsys, "snapshot", "import", str(path)), "f.snapshot: state version 99")
    images = {name: data[:-1] + b"\x00" if name.startswith("state-") else data for name, data in files.items()}
    path.write_bytes(forged(ledger, files=images))
    ended = here(capsys, "snapshot", "import", str(path), "--json")
    assert ended.code == 0 and ended.json["equal"]


def test_inputs_that_are_not_the_plans_first_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ledger: bytes
) -> None:
    path, plan_file = tmp_path / "l.snapshot", tmp_path / "plan.json"
    path.write_bytes(ledger)
    plan = default_plan("ledger")
    other = msgspec.structs.replace(plan, inputs=plan.inputs[1:])
    other = msgspec.structs.replace(
        other, inputs=tuple(msgspec.structs.replace(item, n=n) for n, item in enumerate(other.inputs, 1))
    )
    plan_file.write_text(plan_to_json(other), "utf-8")
    refused(here(capsys, "snapshot", "import", str(path), "--plan", str(plan_file)), "inputs are not the first")
    plan_file.write_text(plan_to_json(plan), "utf-8")
    assert here(capsys, "snapshot", "import", str(path), "--plan", str(plan_file)).code == 0
    plan_file.write_text(plan_to_json(default_plan("ledger", seed=2)), "utf-8")
    refused(here(capsys, "snapshot", "import", str(path), "--plan", str(plan_file)), "seed 1, not of ledger, seed 2")


def test_a_build_that_restores_something_else_is_found(tmp_path: Path, ledger: bytes) -> None:
    path = tmp_path / "l.snapshot"
    path.write_bytes(ledger)
    bug = next(mutant for mutant in MUTANTS if mutant.name == "snapshot_without_globals")
    wrong = build(tmp_path / "build", *((edit.file, edit.before, edit.after) for edit in bug.edits))
    ended = child("snapshot", "import", str(path), "--build", str(wrong), "--json")
    assert ended.code == 1 and not ended.json["equal"]


def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "x")
    refused(here(capsys, "snapshot", "export", "hello", "--tick", "999", "--out", out), "no block at or after tick 999")
    refused(here(capsys, "snapshot", "export", "nothing", "--tick", "1", "--out", out), "unknown scenario 'nothing'")
    nowhere = str(tmp_path / "no" / "x")
    refused(here(capsys, "snapshot", "export", "hello", "--tick", "1", "--out", nowhere), "cannot be written", "--out")
    with pytest.raises(Refused, match="no block at or after"):
        carrying.taken(default_plan("hello"), 10**6)


def test_a_scenario_of_files_is_named_and_given_again(tmp_path: Path) -> None:
    path = str(tmp_path / "r.snapshot")
    assert child("snapshot", "export", str(EXAMPLE), "--tick", "20", "--out", path).code == 0
    nothing_known = {known.ENVIRONMENT: ""}
    refused(
        child("snapshot", "import", path, **nothing_known),
        "the files of scenario 'relay@",
        "give the path of its .toml file",
    )
    assert child("snapshot", "import", path, "--scenario", str(EXAMPLE), **nothing_known).code == 0
