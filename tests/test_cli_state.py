"""`wasm-engine state`: the state at any tick is the run's own, and what cannot be shown is refused in one line."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cli_kit import RUNTIME, child, here, refused
from msgspec.structs import replace

from faults.mutants import MUTANTS, plant
from faults.plan import parse_fault, plan_to_json
from harness import cases, golden, kept
from harness.check import Checker
from harness.inspection import differences
from harness.kept import BLOBS, JOURNAL, find
from harness.refold import Refolded
from runtime import journal, state
from scenarios import SCENARIOS, get

KILLS = ("worker.kill@tick:2,agent:0", "orchestrator.kill@tick:3,phase:sync")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kept run of the scenario with shared buffers, whose payloads stand beside its journal."""
    return kept.keep(
        Checker(get("frames")).check(golden.default_plan("frames")).history,
        get("frames"),
        tmp_path_factory.mktemp("run"),
    )


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name in golden.recorded()])
def test_each_root_of_the_journal_is_that_of_the_state_folded_up_to_it(name: str) -> None:
    run = find(name)
    lines = journal.read(run.journal).lines
    rooted = [line for line in lines if line.block.root]
    assert rooted
    for line in rooted:
        found = Refolded(run, line.block.tick)
        assert (found.block, state.root(found.state)) == (line.number, line.block.root)


@pytest.mark.parametrize("name", ["ledger", "upgrade"])
def test_a_memory_has_the_digest_that_the_journal_has_of_its_image(name: str) -> None:
    run = find(name)
    compared = 0
    for line in journal.read(run.journal).lines[::9]:
        found = Refolded(run, line.block.tick)
        for step in line.block.steps:
            if step.status == "ok" and step.image:
                memory = found.memory(step.agent)
                assert memory is not None and memory.digest == step.image
                compared += 1
    assert compared > 5


def test_a_memory_that_was_reloaded_is_shown_at_every_tick_rolled_back_reloads_included() -> None:
    run = find("upgrade")
    kinds = set()
    for line in journal.read(run.journal).lines:
        steps = [step for step in line.block.steps if step.kind == "reload"]
        kinds |= {step.status for step in steps}
        if steps:
            found = Refolded(run, line.block.tick)
            assert all(found.memory(step.agent) is not None for step in steps)
    assert {"ok", "layout", "refused:digest", "refused:import", "trap:unreachable"} <= kinds


def test_faults_that_do_not_matter_leave_every_tick_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    faults = [word for fault in KILLS for word in ("--fault", fault)]
    for tick in ("0", "3", "12"):
        ended = here(capsys, "state", "hello", *faults, "--against", "hello", "--tick", tick, "--json")
        assert (ended.code, ended.json["equal"], ended.json["differences"]) == (0, True, [])


def test_two_runs_that_differ_are_shown_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    trap = ("--fault", "agent.trap@tick:3,agent:1,hostcall:1")
    ended = here(capsys, "state", "hello", *trap, "--against", "hello", "--tick", "3", "--json")
    assert ended.code == 1 and not ended.json["equal"]
    found = {one["path"]: (one["here"], one["there"]) for one in ended.json["differences"]}
    assert found["agents[1].phase"] == ("backoff", "active")
    assert found["agents[1].memory"][0] is None
    assert not any(path.startswith("agents[2].memory") for path in found)
    text = here(capsys, "state", "hello", *trap, "--against", "hello", "--tick", "3")
    assert text.code == 1 and "agents[1].phase: backoff | active" in text.out


def test_the_bytes_of_an_agents_memory_are_those_of_a_case_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = replace(golden.default_plan("hello"), faults=(parse_fault(KILLS[0]),))
    case = cases.write(Checker(get("hello")).check(plan), get("hello"), tmp_path)
    of_case, of_run = (
        here(capsys, "state", run, "--tick", "4", "--agent", "3", "--bytes", "0x400:32", "--json").json
        for run in (str(case), "hello")
    )
    assert of_case == of_run and len(of_case["agents"]) == 1
    dump = of_case["agents"][0]["memory"]["dump"]
    assert len(dump) == 64 and int(dump, 16) > 0
    text = here(capsys, "state", str(case), "--tick", "4", "--agent", "3", "--bytes", "0x400:32")
    assert bytes.fromhex(dump[:32]).hex(" ") in text.out


def test_a_kept_run_needs_no_second_run_and_a_blob_that_is_gone_is_made_anew(folder: Path, tmp_path: Path) -> None:
    whole = find(str(folder))
    assert whole.blobs
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / BLOBS).unlink()
    assert find(str(bare)).blobs == whole.blobs
    damaged = bytearray((folder / BLOBS).read_bytes())
    damaged[100] ^= 1
    (bare / BLOBS).write_bytes(damaged)
    again = find(str(bare)).blobs
    assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in again.items())
    assert again == whole.blobs


def test_a_tick_beyond_the_end_is_refused_and_so_is_one_behind_damage(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(here(capsys, "state", "hello", "--tick", "13"), "hello: tick 13 is beyond the run, whose last tick is 12")
    bad = shutil.copytree(folder, tmp_path / "bad")
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    (bad / JOURNAL).write_bytes(b"".join(lines[:5]) + lines[5][:-9] + b"x" + lines[5][-8:] + b"".join(lines[6:]))
    last = journal.read((bad / JOURNAL).read_bytes()).lines[-1].block.tick
    assert here(capsys, "state", str(bad), "--tick", str(last)).code == 0
    refused(here(capsys, "state", str(bad), "--tick", str(last + 1)), "beyond the run", "block 5")


def test_a_journal_that_this_build_does_not_make_is_refused_at_its_first_block(tmp_path: Path) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "message_numbers_global")
    other = plant(mutant, RUNTIME, tmp_path / "other")
    assert child("run", "ledger", "--build", str(other), "--keep", str(tmp_path / "kept"), "--json").code in (0, 1)
    ended = child("state", str(tmp_path / "kept"), "--tick", "90")
    refused(ended, "this build makes another block", "--build")
    assert child("state", str(tmp_path / "kept"), "--tick", "90", "--build", str(other)).code == 0


def test_wrong_input_is_refused_in_one_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(here(capsys, "state", "hallo", "--tick", "1"), "there is no such run", "hello")
    refused(here(capsys, "state", "hello"), "--tick")
    refused(here(capsys, "state", "hello", "--tick", "1", "--agent", "9"), "no agent 9 at tick 1", "there are 4")
    refused(here(capsys, "state", "hello", "--tick", "1", "--bytes", "0:8"), "--agent")
    refused(here(capsys, "state", "hello", "--tick", "1", "--agent", "0", "--bytes", "x"), "0x400:64")
    refused(here(capsys, "state", "hello", "--tick", "1", "--agent", "0", "--bytes", "99999999:8"), "ask within it")
    refused(here(capsys, "state", str(folder), "--tick", "1", "--fault", KILLS[0]), "faults are typed for a scenario")
    (tmp_path / "plan.json").write_text(plan_to_json(golden.default_plan("hello")), "utf-8")
    refused(here(capsys, "state", str(tmp_path), "--tick", "1"), JOURNAL, "cannot be read")
    assert here(capsys, "state", str(tmp_path / "plan.json"), "--tick", "1").code == 0
    case = tmp_path / "case"
    case.mkdir()
    (case / "case.json").write_text(json.dumps({"version": 99}), "utf-8")
    refused(here(capsys, "state", str(case), "--tick", "1"), "case version 99")


def test_trees_differ_where_a_part_is_missing_or_of_another_kind() -> None:
    tree: dict[str, Any] = {"a": [1, {"b": 2}], "c": None}
    assert differences(tree, tree) == []
    assert differences(tree, {"a": [1], "c": None, "d": 0}) == [("a[1]", {"b": 2}, "nothing"), ("d", "nothing", 0)]
    assert differences({"x": [1]}, {"x": 1}) == [("x", [1], 1)]
