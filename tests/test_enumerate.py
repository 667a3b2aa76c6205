"""`wasm-engine enumerate`: every point is there, every one is run, and a bug at a single one is found."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from cli_kit import build, child, here, refused, spoiled
from msgspec.structs import replace

from faults.budget import check
from faults.plan import Fault
from harness.check import Checker
from harness.enumeration import (
    FAMILIES,
    FLIPS,
    FRAMES,
    INFERENCES,
    KILLS,
    LOSSES,
    NEVER,
    PHASES,
    POOLS,
    PORTS,
    REMOVALS,
    WRITES,
    Point,
    Target,
    bare_plan,
    byte_points,
    plan_of,
    points_of,
    stored_bytes,
)
from harness.progress_file import FOLDER
from harness.simulation import simulate
from harness.watching import port_calls
from runtime import journal
from runtime.buffers import CHUNK, HEAD
from scenarios import get

HELLO = Checker(get("hello"))
FRAMES_ = Checker(get("frames"))


def target(scenario: str, *families: str, first: int = 0, last: int = NEVER) -> Target:
    return Target(scenario, 1, 2, families or (KILLS,), first, last)


def faults_of(points: list[Point], workers: int = 2) -> list[Fault]:
    return [point.faults[0] for point in points if point.workers == workers]


def test_every_step_of_the_twin_dies_idle_and_after_it_and_at_each_host_call_in_a_row() -> None:
    whole = target("hello")
    points = faults_of(points_of(HELLO, whole))
    twin = HELLO.clean(bare_plan(HELLO, whole))
    steps = {(event.tick, event.agent) for event in twin.guests}
    assert {(f.number("tick"), f.number("agent")) for f in points if f.get("point") == "after"} == steps
    idle = [f for f in points if not {"hostcall", "fuel"} & f.at.keys() and f.get("point") == "idle"]
    assert len(idle) == len(steps)
    for tick, agent in steps:
        mine = [f.number("hostcall") for f in points if (f.number("tick"), f.number("agent")) == (tick, agent)]
        calls = sorted(n for n in mine if n > 0)
        made = max(len(e.calls) for e in twin.guests if (e.tick, e.agent) == (tick, agent))
        assert calls == list(range(1, len(calls) + 1)) and len(calls) >= made


def test_a_worker_dies_at_the_last_fuel_check_before_each_host_call_and_before_the_end() -> None:
    whole = target("hello", first=2, last=3)
    points = faults_of(points_of(HELLO, whole))
    bare = bare_plan(HELLO, whole)
    for tick, agent in {(f.number("tick"), f.number("agent")) for f in points}:
        mine = [f for f in points if (f.number("tick"), f.number("agent")) == (tick, agent)]
        checks = [f.number("fuel") for f in mine if "fuel" in f.at]
        calls = [f for f in mine if "hostcall" in f.at]
        assert len(checks) == len(calls) + 1 and checks == sorted(set(checks))
        for fuel, call in zip(checks, calls, strict=False):  # one unit more, and the call comes first
            for more, first in ((0, 0), (1, 1)):
                at_check = Fault(kind="worker.kill", at={"tick": tick, "agent": agent, "fuel": fuel + more})
                run = simulate(get("hello"), replace(bare, faults=(at_check, call)))
                assert run.injections[0].fault == first


def test_every_kill_point_is_there_under_each_size_of_the_pool() -> None:
    points = points_of(HELLO, target("hello"))
    assert {point.workers for point in points} == set(POOLS)
    assert all(faults_of(points, workers) == faults_of(points) for workers in POOLS)


def test_host_calls_without_an_effect_count_as_well() -> None:
    ledger = Checker(get("ledger"))
    points = faults_of(points_of(ledger, target("ledger", first=0, last=0)))
    twin = ledger.clean(bare_plan(ledger, target("ledger")))
    effects = sum(len(event.calls) for event in twin.guests if event.tick == 0)
    assert sum("hostcall" in fault.at for fault in points) > effects


def test_one_call_more_than_there_are_kills_nobody() -> None:
    whole = target("hello")
    last = [point for point in points_of(HELLO, whole) if "hostcall" in point.faults[0].at][-1]
    fault = last.faults[0]
    beyond = Fault(kind=fault.kind, at={**fault.at, "hostcall": fault.number("hostcall") + 1})
    assert HELLO.check(plan_of(HELLO, whole, last)).row.verdict == "PASS"
    assert HELLO.check(plan_of(HELLO, whole, last._replace(faults=(beyond,)))).row.verdict == "IDLE"


def test_a_copy_is_cut_at_nothing_one_byte_each_store_and_inside_each() -> None:
    assert byte_points(()) == []
    assert byte_points((32, 1024, 32)) == [0, 1, 16, 32, 544, 1056, 1072, 1088]
    faults = faults_of(points_of(FRAMES_, target("frames", first=2, last=2)))
    points = [f.number("byte") for f in faults if "byte" in f.at]
    twin = FRAMES_.clean(bare_plan(FRAMES_, target("frames")))
    lengths = next(found for (tick, _), found in sorted(stored_bytes(twin).items()) if tick == 2)
    assert lengths[0] == lengths[-1] == HEAD and max(lengths) <= CHUNK
    assert {0, 1, HEAD, HEAD + lengths[1] // 2, sum(lengths)} <= set(points)


def test_every_point_is_within_the_fault_budget_and_no_point_is_there_twice() -> None:
    whole = target("hello", *FAMILIES)
    points = points_of(HELLO, whole)
    assert len(set(map(str, points))) == len(points)
    for point in points:
        check(plan_of(HELLO, whole, point))


def test_port_calls_are_numbered_from_one_to_the_last_and_a_range_of_ticks_is_a_part_of_them() -> None:
    points = faults_of(points_of(HELLO, target("hello", PORTS)))
    numbers = [fault.number("call") for fault in points]
    assert numbers == [n for n in range(1, len(points) // 3 + 1) for _ in range(3)]
    parts = [
        faults_of(points_of(HELLO, target("hello", PORTS, first=a, last=b))) for a, b in ((0, 3), (4, 8), (9, NEVER))
    ]
    assert [fault for part in parts for fault in part] == points and all(parts)


def test_the_last_port_call_can_be_the_last_one_and_none_comes_after_it() -> None:
    whole = target("hello", PORTS)
    bare = bare_plan(HELLO, whole)
    last = points_of(HELLO, whole)[-1].faults[0].number("call")
    for call, dies in ((last, 1), (last + 1, 0)):
        fault = Fault(kind="orchestrator.kill", at={"call": call})
        plan = plan_of(HELLO, whole, Point(PORTS, "", (fault,), 2))
        assert len(simulate(get("hello"), plan).injections) == dies
    assert {call.phase for call in port_calls(get("hello"), bare, HELLO.timing)} >= {"boot", "admit", "sync", "release"}


def test_each_phase_of_each_tick_that_calls_a_port_is_there_and_strikes_in_that_tick() -> None:
    whole = target("hello", PHASES)
    points = points_of(HELLO, whole)
    calls = port_calls(get("hello"), bare_plan(HELLO, whole), HELLO.timing)
    assert len(points) == 3 * len({(call.tick, call.phase) for call in calls})
    for point in points[::7]:
        (injection,) = simulate(get("hello"), plan_of(HELLO, whole, point)).injections
        assert max(int(injection.fields["tick"]), 0) == point.faults[0].number("tick")
        assert injection.fields["phase"] == point.faults[0].get("phase")


def test_every_record_of_the_journal_is_torn_and_lost_while_it_is_written() -> None:
    whole = target("hello", WRITES)
    points = points_of(HELLO, whole)
    twin = HELLO.clean(bare_plan(HELLO, whole))
    records = len(journal.read(twin.journal).lines) + 1  # and the header
    assert Counter(point.kind for point in points)["journal records"] == records * len(LOSSES)
    written = []
    for point in [point for point in points if point.kind == "journal records"][::3]:
        (crash, *_) = simulate(get("hello"), plan_of(HELLO, whole, point)).crashes
        written.append(len(crash.journal))
    assert len(set(written)) == len(written) and written == sorted(written), "each dies within another record"


def test_each_version_that_is_read_is_flipped_in_its_head_and_at_both_ends() -> None:
    whole = target("frames", FLIPS, last=9)
    points = points_of(FRAMES_, whole)
    twin = FRAMES_.clean(bare_plan(FRAMES_, whole))
    read = {
        v
        for line in journal.read(twin.journal).lines
        if line.block.tick <= 9
        for s in line.block.steps
        for v in s.views
    }
    versions = {(point.faults[0].number("buffer"), point.faults[0].number("version")) for point in points}
    assert versions == read and len(points) == 3 * len(read) > 6
    for point in points:
        checked = FRAMES_.check(plan_of(FRAMES_, whole, point))
        assert checked.row.verdict == "PASS", str(point)


def test_each_frame_of_pipes_and_client_is_altered() -> None:
    whole = target("hello", FRAMES)
    kinds = Counter(point.kind for point in points_of(HELLO, whole))
    twin = HELLO.clean(bare_plan(HELLO, whole))
    steps = len({(event.tick, event.agent) for event in twin.guests})
    blocks = len(journal.read(twin.journal).lines)
    assert (
        kinds == {"work": steps, "done": steps, "release": blocks, "inputs": kinds["inputs"]} and kinds["inputs"] >= 1
    )
    assert "inputs" not in {point.kind for point in points_of(HELLO, target("hello", FRAMES, first=1))}


def test_all_points_of_hello_give_the_same_journal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ended = here(capsys, "enumerate", "hello", "--json", "--store", str(tmp_path))
    told = ended.json
    assert ended.code == 0
    assert told["points"] == told["run"] == told["passed"] == sum(told["kinds"].values()) > 1000
    assert told["failed"] == told["idle"] == told["unknown"] == told["resumed"] == 0 and told["cases"] == []
    assert list(told["families"]) == list(FAMILIES)
    for name, family in told["families"].items():
        assert family["points"] == family["run"] == family["passed"], name
        assert (family["points"] > 0) == (name not in (INFERENCES, FLIPS)), "hello has neither models nor buffers"
    assert sum(family["points"] for family in told["families"].values()) == told["points"]
    assert 1 < told["distinct_traces"] <= told["points"]
    assert told["kinds"]["kills: fuel checks"] > told["kinds"]["kills: host calls"]
    assert "other fuel checks" in told["not_enumerated"]
    assert told["journal_digest"] == here(capsys, "run", "hello", "--json").json["journal_digest"]
    assert list((tmp_path / FOLDER).iterdir()) == [], "what is complete leaves nothing to go on from"


def test_the_sentence_says_how_many_of_how_many(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ("--family", "ports", "--ticks", "3:3", "--jobs", "1", "--store", str(tmp_path))
    ended = here(capsys, "enumerate", "hello", *arguments)
    assert ended.code == 0
    family, _, whole, same = ended.out.splitlines()
    points = int(whole.split("seed 1: ")[1].split()[0])
    assert f"{points} of {points} points run, {points} passed" in whole and f"{points} gave the same journal" in same
    assert family.split()[:4] == ["ports", str(points), "of", str(points)] and "before" in family


def test_a_bug_that_only_some_points_meet_is_found_and_becomes_a_case(tmp_path: Path) -> None:
    arguments = ("--family", "kills", "--ticks", "2:3", "--json", "--store", str(tmp_path / "s"))
    equal = build(tmp_path / "equal")
    assert child("enumerate", "hello", *arguments, "--build", str(equal)).json["failed"] == 0
    bug = spoiled(tmp_path / "bug", "lost", "raise RuntimeError('a worker was lost')")
    ended = child("enumerate", "hello", *arguments, "--build", str(bug))
    told = ended.json
    assert ended.code == 1 and told["failed"] > 0 and told["passed"] < told["points"] == told["run"]
    (case, *_) = told["cases"]
    assert child("replay", case, "--build", str(bug), "--json").json["outcome"] == "FAILED"
    assert child("replay", case, "--json").json["outcome"] == "FIXED"


def test_a_build_that_ends_its_interpreter_at_a_point_fails_there_alone(tmp_path: Path) -> None:
    bug = spoiled(tmp_path / "bug", "lost", "import os; os._exit(3)")
    arguments = ("--family", "kills", "--ticks", "2:2", "--store", str(tmp_path / "s"))
    bad = child("enumerate", "hello", *arguments, "--build", str(bug))
    assert bad.code == 1, bad.err


def test_a_run_that_fails_where_nothing_goes_wrong_is_said_at_once(tmp_path: Path) -> None:
    bug = spoiled(tmp_path / "bug", "committed", "raise RuntimeError('always')")
    ended = child("enumerate", "hello", "--build", str(bug))
    assert ended.code == 1 and ended.out == ""
    assert "hello fails even where nothing goes wrong" in ended.err


def test_an_interrupted_enumeration_goes_on_where_it_was(tmp_path: Path) -> None:
    arguments = ["enumerate", "hello", "--family", "ports", "--jobs", "1", "--json", "--store", str(tmp_path)]
    command = [sys.executable, "-P", "-m", "harness.bootstrap", "-", "harness.cli", *arguments]
    going = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while time.monotonic() < until and sum(len(f.read_bytes()) for f in tmp_path.glob(f"{FOLDER}/*")) < 20_000:
        time.sleep(0.01)
    going.send_signal(signal.SIGINT)
    out, _ = going.communicate(timeout=60)
    assert going.returncode == 2 and out == b""
    (file,) = (tmp_path / FOLDER).iterdir()
    done = file.read_bytes().splitlines()
    with file.open("ab") as torn:
        torn.write(done[0][:100])
    ended = child(*arguments)
    assert ended.code == 0 and 0 < ended.json["resumed"] == len(done) < ended.json["points"]
    assert ended.json["points"] == ended.json["run"] == ended.json["passed"]
    assert child(*arguments).json["resumed"] == 0


def test_what_another_build_has_done_does_not_count_and_fresh_forgets(tmp_path: Path) -> None:
    arguments = ("enumerate", "hello", "--family", "frames", "--json", "--store", str(tmp_path / "s"))
    first = child(*arguments, "--ticks", "0:0").json
    (tmp_path / "s" / FOLDER).mkdir(exist_ok=True)
    assert first["resumed"] == 0
    bug = spoiled(tmp_path / "bug", "garbled", "raise RuntimeError('a frame was garbled')")
    ended = child(*arguments, "--build", str(bug))
    assert ended.code == 1 and ended.json["resumed"] == 0 and ended.json["failed"] > 0
    assert json.dumps(child(*arguments, "--fresh").json["failed"]) == "0"


def test_the_accelerator_goes_at_every_request_in_every_way() -> None:
    checker, whole = Checker(get("assistants")), target("assistants", INFERENCES)
    points = points_of(checker, whole)
    tokens = [point.faults[0].number("request") for point in points]
    computed = [r.fields["request"] for r in checker.clean(bare_plan(checker, whole)).trace if r.kind == "inferred"]
    assert len(set(computed)) > 100 and set(tokens) == set(computed)
    assert all(tokens.count(token) == len(REMOVALS) for token in tokens)
    for point in points[:: len(points) // 12]:
        row = checker.check(plan_of(checker, whole, point)).row
        assert (row.verdict, row.journal_digest) == ("PASS", row.twin_digest), str(point)


def test_wrong_input_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refused(here(capsys, "enumerate", "hallo"), "unknown scenario 'hallo'")
    refused(here(capsys, "enumerate", "hello", "--ticks", "3"), "--ticks", "as in 3:5")
    refused(here(capsys, "enumerate", "hello", "--ticks", "5:3"), "--ticks")
    refused(here(capsys, "enumerate", "hello", "--jobs", "0"), "--jobs")
    refused(here(capsys, "enumerate", "hello", "--family", "frogs"), "'frogs'", "kills")
    (tmp_path / "file").write_text("")
    refused(here(capsys, "enumerate", "hello", "--ticks", "0:0", "--store", str(tmp_path / "file")), "--store")


def test_ticks_in_which_nothing_happens_have_no_points(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ended = here(capsys, "enumerate", "hello", "--ticks", "900:901", "--json", "--store", str(tmp_path))
    assert (ended.code, ended.json["points"], ended.json["run"]) == (5, 0, 0)
