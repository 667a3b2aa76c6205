"""`wasm-engine enumerate`: every kill point is there, every one is run, and a bug at a single one is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import build, child, here, refused, spoiled

from faults.budget import check
from faults.plan import Fault
from harness.check import Checker
from harness.enumeration import (
    ACCELERATOR,
    NEVER,
    ORCHESTRATOR,
    REMOVALS,
    WORKERS,
    Target,
    bare_plan,
    byte_points,
    kill_points,
    plan_of,
    stored_bytes,
)
from runtime.buffers import CHUNK, HEAD
from scenarios import get

HELLO = Checker(get("hello"))
FRAMES = Checker(get("frames"))


def target(scenario: str, *who: str, first: int = 0, last: int = NEVER) -> Target:
    return Target(scenario, 1, 2, who or (WORKERS,), first, last)


def test_every_step_of_the_twin_dies_idle_and_after_it_and_at_each_host_call_in_a_row() -> None:
    whole = target("hello")
    points = kill_points(HELLO, whole)
    twin = HELLO.clean(bare_plan(HELLO, whole))
    steps = {(event.tick, event.agent) for event in twin.guests}
    assert {(f.number("tick"), f.number("agent")) for f in points if f.get("point") == "after"} == steps
    assert sum("hostcall" not in f.at and f.get("point") == "idle" for f in points) == len(steps)
    for tick, agent in steps:
        mine = [f.number("hostcall") for f in points if (f.number("tick"), f.number("agent")) == (tick, agent)]
        calls = sorted(n for n in mine if n > 0)
        made = max(len(e.calls) for e in twin.guests if (e.tick, e.agent) == (tick, agent))
        assert calls == list(range(1, len(calls) + 1)) and len(calls) >= made


def test_host_calls_without_an_effect_count_as_well() -> None:
    ledger = Checker(get("ledger"))
    points = kill_points(ledger, target("ledger", first=0, last=0))
    twin = ledger.clean(bare_plan(ledger, target("ledger")))
    effects = sum(len(event.calls) for event in twin.guests if event.tick == 0)
    assert sum("hostcall" in fault.at for fault in points) > effects


def test_one_call_more_than_there_are_kills_nobody() -> None:
    whole = target("hello")
    last = [fault for fault in kill_points(HELLO, whole) if "hostcall" in fault.at][-1]
    beyond = Fault(kind=last.kind, at={**last.at, "hostcall": last.number("hostcall") + 1})
    assert HELLO.check(plan_of(HELLO, whole, last)).row.verdict == "PASS"
    assert HELLO.check(plan_of(HELLO, whole, beyond)).row.verdict == "IDLE"


def test_a_copy_is_cut_at_nothing_one_byte_each_store_and_inside_each() -> None:
    assert byte_points(()) == []
    assert byte_points((32, 1024, 32)) == [0, 1, 16, 32, 544, 1056, 1072, 1088]
    points = [f.number("byte") for f in kill_points(FRAMES, target("frames", first=2, last=2)) if "byte" in f.at]
    twin = FRAMES.clean(bare_plan(FRAMES, target("frames")))
    lengths = next(found for (tick, _), found in sorted(stored_bytes(twin).items()) if tick == 2)
    assert lengths[0] == lengths[-1] == HEAD and max(lengths) <= CHUNK
    assert {0, 1, HEAD, HEAD + lengths[1] // 2, sum(lengths)} <= set(points)


def test_every_point_is_within_the_fault_budget_and_no_point_is_there_twice() -> None:
    whole = target("hello", WORKERS, ORCHESTRATOR)
    points = kill_points(HELLO, whole)
    assert len({str(fault) for fault in points}) == len(points)
    for fault in points:
        check(plan_of(HELLO, whole, fault))


def test_port_calls_are_numbered_from_one_to_the_last_and_a_range_of_ticks_is_a_part_of_them() -> None:
    points = kill_points(HELLO, target("hello", ORCHESTRATOR))
    numbers = [fault.number("call") for fault in points]
    assert numbers == [n for n in range(1, len(points) // 3 + 1) for _ in range(3)]
    parts = [
        kill_points(HELLO, target("hello", ORCHESTRATOR, first=a, last=b)) for a, b in ((0, 3), (4, 8), (9, NEVER))
    ]
    assert [fault for part in parts for fault in part] == points and all(parts)


def test_all_kill_points_of_hello_give_the_same_journal(capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "enumerate", "hello", "--json")
    told = ended.json
    assert ended.code == 0
    assert told["points"] == told["run"] == told["passed"] == sum(told["kinds"].values()) > 60
    assert told["failed"] == told["idle"] == told["unknown"] == 0 and told["cases"] == []
    assert 1 < told["distinct_traces"] <= told["points"]
    assert told["journal_digest"] == here(capsys, "run", "hello", "--json").json["journal_digest"]


def test_the_sentence_says_how_many_of_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "enumerate", "hello", "--no-workers", "--orchestrator", "--ticks", "3:3", "--jobs", "1")
    assert ended.code == 0
    first, second = ended.out.splitlines()
    points = int(first.split("seed 1: ")[1].split()[0])
    assert f"{points} of {points} kill points, same journal" in second and "port calls" in first


def test_a_bug_that_only_some_kill_points_meet_is_found_and_becomes_a_case(tmp_path: Path) -> None:
    equal = build(tmp_path / "equal")
    assert child("enumerate", "hello", "--ticks", "2:3", "--build", str(equal), "--json").json["failed"] == 0
    bug = spoiled(tmp_path / "bug", "lost", "raise RuntimeError('a worker was lost')")
    ended = child("enumerate", "hello", "--ticks", "2:3", "--build", str(bug), "--json", "--store", str(tmp_path / "s"))
    told = ended.json
    assert ended.code == 1 and told["failed"] > 0 and told["passed"] < told["points"] == told["run"]
    (case, *_) = told["cases"]
    assert child("replay", case, "--build", str(bug), "--json").json["outcome"] == "FAILED"
    assert child("replay", case, "--json").json["outcome"] == "FIXED"


def test_a_build_that_ends_its_interpreter_at_a_kill_point_fails_there_alone(tmp_path: Path) -> None:
    bug = spoiled(tmp_path / "bug", "lost", "import os; os._exit(3)")
    bad = child("enumerate", "hello", "--ticks", "2:2", "--build", str(bug), "--store", str(tmp_path / "s"))
    assert bad.code == 1, bad.err


def test_a_run_that_fails_where_nobody_dies_is_said_at_once(tmp_path: Path) -> None:
    bug = spoiled(tmp_path / "bug", "committed", "raise RuntimeError('always')")
    ended = child("enumerate", "hello", "--build", str(bug))
    assert ended.code == 1 and ended.out == ""
    assert "hello fails even where nobody dies" in ended.err


def test_the_accelerator_goes_at_every_token_in_every_way() -> None:
    checker, whole = Checker(get("assistants")), target("assistants", ACCELERATOR)
    points = kill_points(checker, whole)
    tokens = [fault.number("request") for fault in points]
    computed = [r.fields["request"] for r in checker.clean(bare_plan(checker, whole)).trace if r.kind == "inferred"]
    assert len(set(computed)) > 100 and set(tokens) == set(computed)
    assert all(tokens.count(token) == len(REMOVALS) for token in tokens)
    for fault in points[:: len(points) // 12]:
        row = checker.check(plan_of(checker, whole, fault)).row
        assert (row.verdict, row.journal_digest) == ("PASS", row.twin_digest), str(fault)


def test_wrong_input_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    refused(here(capsys, "enumerate", "hallo"), "unknown scenario 'hallo'")
    refused(here(capsys, "enumerate", "hello", "--ticks", "3"), "--ticks", "as in 3:5")
    refused(here(capsys, "enumerate", "hello", "--ticks", "5:3"), "--ticks")
    refused(here(capsys, "enumerate", "hello", "--jobs", "0"), "--jobs")


def test_ticks_in_which_nothing_happens_have_no_points(capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "enumerate", "hello", "--ticks", "900:901", "--json")
    assert (ended.code, ended.json["points"], ended.json["run"]) == (5, 0, 0)
