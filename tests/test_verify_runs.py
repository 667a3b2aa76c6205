"""Verification makes real runs: what it varies is varied, what it patches is put back, what it reports is promised."""

from __future__ import annotations

import datetime as datetimes
import gc
import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cli_kit import build, child, here, refused
from msgspec.structs import replace

from faults.plan import parse_fault
from harness.adapters.loop import Loop
from harness.plans import default_plan
from harness.simulation import journal_digest, trace_digest
from harness.verification import surroundings, tail
from harness.verification.axes import AXES, PHYSICAL
from harness.verification.faulty import faulty_plans
from harness.verification.idle import idle_plan
from harness.verification.interpreters import Host, Interpreter, Request
from harness.verification.loops import ShuffledLoop, StalledLoop
from harness.verification.observers import Observers, watched_disk
from harness.verification.variation import Variation, carry_out
from runtime.errors import Refused
from scenarios import get

HELLO = default_plan("hello")


def test_hello_is_equal_on_every_axis_and_says_so_as_promised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = tmp_path / "hello.json"
    ended = here(capsys, "verify", "hello", "--export", str(export), "--json")
    assert ended.code == 0
    told = ended.json
    assert told["equal"] is True and told["divergence"] is None and told["failure"] == ""
    assert set(told["axes"]) == set(AXES) - {"machine"}
    journals = {digest for axis in told["axes"].values() for digest in axis["digests"].values()}
    traces = {digest for axis in told["axes"].values() for digest in axis["traces"].values()}
    assert len(journals) == len(traces) == 1 and all(axis["equal"] is True for axis in told["axes"].values())
    assert {axis["evidence"] for axis in told["axes"].values()} == {"simulated", "physical"}
    assert told["axes"]["observers"]["evidence"] == PHYSICAL and set(told["axes"]["observers"]["digests"]) == {"1", "4"}
    assert set(told["axes"]["workers"]["digests"]) == {"1", "2", "4", "7"}
    against = here(capsys, "verify", "--scenario", "hello", "--against", str(export))
    assert against.code == 0 and "equal on every axis" in against.out and "machine" in against.out


def test_an_export_that_differs_is_unequal_and_its_first_record_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other machine's build has a planted bug; its journal differs from the first transition on."""
    edit = ("lifecycle.py", '(("lifecycle", index, agent.phase, phase))', '(("lifecycle", index, phase, agent.phase))')
    export = tmp_path / "other.json"
    made = child("verify", "hello", "--export", str(export), "--json", "--build", str(build(tmp_path / "b", edit)))
    assert made.code == 0, made.err
    ended = here(capsys, "verify", "hello", "--against", str(export), "--json")
    assert ended.code == 11
    found = ended.json["divergence"]
    assert (found["axis"], found["block"], found["section"], found["field"]) == ("machine", 1, "events", "")
    assert found["here"]["record"] == '["lifecycle",0,"starting","active"]'
    assert found["there"]["record"] == '["lifecycle",0,"active","starting"]'
    assert [name for name, axis in ended.json["axes"].items() if not axis["equal"]] == ["machine"]


def test_a_build_that_cannot_finish_the_plain_run_has_failed_and_is_not_called_undetermined(tmp_path: Path) -> None:
    folder = build(tmp_path, ("fold.py", "    state.block += 1\n", "    raise ValueError('oh')\n"))
    ended = child("verify", "hello", "--json", "--build", str(folder))
    assert ended.code == 1 and "ValueError: oh" in ended.json["failure"] and ended.json["equal"] is False


def test_wrong_input_is_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text("{}", "utf-8")
    refused(here(capsys, "verify", "nosuch"), "'nosuch'")
    refused(here(capsys, "verify", "hello", "--scenario", "ledger"), "--scenario")
    refused(here(capsys, "verify", "hello", "--against", str(tmp_path / "bad.json")), "export version")
    refused(here(capsys, "verify", "hello", "--against", str(tmp_path / "none.json")), "none.json")
    refused(here(capsys, "verify", "hello", "--export", str(tmp_path / "no" / "x.json")), "--export")
    refused(here(capsys, "verify", "--leak", "nosuch"), "'nosuch'", "set_iterated")
    refused(here(capsys, "verify", "hello", "--leaks"), "--leaks")


# --- what is varied ---------------------------------------------------------------------------------------------------


def test_every_variation_takes_another_way_to_the_same_journal() -> None:
    ledger = default_plan("ledger")
    plain = carry_out(get("ledger"), ledger, Variation())
    for variation in (
        Variation(order=1),
        Variation(order=2),
        Variation(slowness=(40, 3, 1)),
        Variation(slowness=(1, 7)),
    ):
        history = carry_out(get("ledger"), ledger, variation)
        assert journal_digest(history) == journal_digest(plain) != ""
        assert trace_digest(history.trace) != trace_digest(plain.trace), variation


def test_same_time_events_run_in_another_order_and_others_do_not() -> None:
    def order(loop: ShuffledLoop) -> list[tuple[int, int]]:
        done: list[tuple[int, int]] = []
        for number in range(20):
            at = number % 2
            loop.later(at, lambda at=at, number=number: done.append((at, number)))  # type: ignore[misc]
        loop.run(10, 100)
        return done

    one, again, two = (order(ShuffledLoop(seed)) for seed in (1, 1, 2))
    assert one == again != two and [at for at, _ in one] == [at for at, _ in two] == [0] * 10 + [1] * 10
    assert sorted(one) == sorted(two) and one != sorted(one)


def test_a_stalled_host_stands_still_for_real() -> None:
    loop = StalledLoop(1)
    for _ in range(200):
        loop.later(0, lambda: None)
    started = time.monotonic()
    loop.run(10, 1000)
    assert loop.stalls > 0 and time.monotonic() > started


def test_an_idle_plan_hits_nothing_and_changes_neither_journal_nor_trace() -> None:
    plan = idle_plan(HELLO)
    assert len(plan.faults) >= 3
    idle = carry_out(get("hello"), plan, Variation(hazards=False))
    plain = carry_out(get("hello"), HELLO, Variation())
    assert idle.injections == [] and idle.trace == plain.trace and idle.journal == plain.journal


def test_faulty_plans_have_faults_that_took_effect() -> None:
    plans = list(faulty_plans(HELLO))
    assert len(plans) == 3
    for plan in plans:
        assert carry_out(get("hello"), plan, Variation()).injections and plan.inputs == HELLO.inputs


# --- observers --------------------------------------------------------------------------------------------------------


def test_observers_read_the_files_while_they_are_written(tmp_path: Path) -> None:
    told: list[str] = []
    history = carry_out(get("hello"), HELLO, Variation(observers=3), tmp_path / "run", told)
    assert history.finished and [line.split(":")[0] for line in told] == ["all", "slow", "dies"]
    word, read, pieces = told[0].removeprefix("all: ").split()
    assert word == "read" and int(read) >= len(history.journal) and int(pieces) > 1
    assert told[2] == "dies: killed"
    for name, content in history.files.items():
        assert (tmp_path / "run" / name).read_bytes() == content


def test_a_run_that_observers_do_not_see_does_not_count_as_observed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.verification.observers.PATIENCE_S", 0.5)
    with Observers(tmp_path, 1) as observers, pytest.raises(Refused, match="could not attach"):
        observers.attached()  # nothing is written, so there is nothing that it could have seen


def test_a_run_that_was_stopped_because_nobody_saw_it_is_no_history_of_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the oracle compares half a run with a whole one, and the build is blamed."""
    monkeypatch.setattr("harness.verification.observers.PATIENCE_S", 0.5)
    monkeypatch.setattr("harness.verification.tail.__file__", str(blind(tmp_path)))
    with pytest.raises(Refused, match="could not attach"):
        carry_out(get("hello"), HELLO, Variation(observers=1), tmp_path / "run")


def blind(folder: Path) -> Path:
    """An observer that is there and sees nothing."""
    file = folder / "blind.py"
    file.write_text("import sys\nprint('ready', flush=True)\nsys.stdin.read()\n", "utf-8")
    return file


@pytest.mark.parametrize("how", ["all", "slow", "dies"])
def test_an_observer_follows_a_name_to_the_file_that_a_start_put_there(tmp_path: Path, how: str) -> None:
    """It has the first file open, in which nothing will ever be: an orchestrator died before its first block."""
    folder, new = tmp_path / "run", tmp_path / "new"
    folder.mkdir()
    (folder / "journal").write_bytes(b"")
    command = [sys.executable, "-I", "-S", str(Path(tail.__file__)), str(folder), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        new.write_bytes(b"0123456789")
        new.replace(folder / "journal")
        killer = threading.Timer(10, process.kill)
        killer.start()
        assert process.stdout.readline() == "saw 10\n"
        told, _ = process.communicate()
        killer.cancel()
    assert told == ("" if how == "dies" else "read 10 1\n")


def test_a_run_whose_first_journal_stays_empty_is_observed_and_the_same(tmp_path: Path) -> None:
    plan = replace(HELLO, faults=(parse_fault("orchestrator.kill@call:12,point=after"),))
    history = carry_out(get("hello"), plan, Variation(observers=1), tmp_path / "run")
    assert history.finished and history.crashes and not history.crashes[0].kept
    assert history.journal == carry_out(get("hello"), plan, Variation()).journal


# --- surroundings -----------------------------------------------------------------------------------------------------


def test_clocks_that_are_shifted_or_frozen_are_put_back() -> None:
    real = time.time_ns
    with surroundings.shifted():
        assert time.time() > real() / 1e9 + 300 * 86_400
        assert datetimes.datetime.now().year > 2026
    with surroundings.frozen():
        first, second = time.monotonic_ns(), time.monotonic_ns()
        assert second - first == 1_000 and abs(time.time() - 1e9) < 1
    assert time.time_ns is real and abs(time.time_ns() - real()) < 60e9


def test_entropy_that_is_seeded_repeats_and_then_does_not() -> None:
    def draws() -> tuple[object, ...]:
        return os.urandom(8), random.random(), uuid.uuid4().hex, random.SystemRandom().random()

    with surroundings.seeded():
        first = draws()
    with surroundings.seeded():
        second = draws()
    assert first == second and draws() != draws()


def test_inline_threads_run_one_after_the_other() -> None:
    done: list[int] = []
    with surroundings.inline():
        threads = [threading.Thread(target=done.append, args=(n,)) for n in range(5)]
        for thread in reversed(threads):
            thread.start()
        for thread in threads:
            thread.join()
        with ThreadPoolExecutor(2) as pool:
            assert pool.submit(lambda: 7).result() == 7
            with pytest.raises(KeyError):
                pool.submit({}.__getitem__, "x").result()
    assert done == [4, 3, 2, 1, 0]


def test_the_collector_is_left_as_it_was() -> None:
    before = gc.isenabled(), gc.get_threshold()
    with surroundings.collecting(True):
        assert gc.isenabled() and gc.get_threshold() == surroundings.EAGER
    with surroundings.collecting(False):
        assert not gc.isenabled()
    assert (gc.isenabled(), gc.get_threshold()) == before


# --- interpreters -----------------------------------------------------------------------------------------------------


def test_an_interpreter_runs_with_the_hash_seed_and_share_it_was_given(tmp_path: Path) -> None:
    from faults.plan import plan_to_json

    (tmp_path / "plan.json").write_text(plan_to_json(HELLO), "utf-8")
    request = Request(plan=tmp_path / "plan.json")
    with Interpreter(Host(hash_seed="5", nice=3, changes=("frozen", "seeded", "inline")), tmp_path / "one") as one:
        assert one.run(request).journal_digest == one.run(Request(plan=request.plan, fork=True)).journal_digest != ""
        got = one.got()
        assert got is not None and got["nice"] >= 3


def test_an_interpreter_that_ends_has_failed_its_run(tmp_path: Path) -> None:
    with Interpreter(Host(), tmp_path / "one") as one:
        one.ask(Request(plan=tmp_path / "there is none.json"))
        sample = one.answer()
        assert sample.journal_digest == "" and "ended" in sample.failure
        assert one.run(Request(plan=tmp_path / "there is none.json")).failure, "and so has every run after it"


def test_all_scenarios_have_one_report_with_the_axes_put_together() -> None:
    from harness.verification.axes import Axis
    from harness.verification.report import Report, told

    def report(name: str, equal: bool) -> Report:
        axis = Axis(equal=equal, evidence="simulated", digests={"run 1": name})
        return Report(scenario=name, seed=1, equal=equal, axes={"repetition": axis}, divergence=None)

    both = told([report("hello", True), report("ledger", False)])
    assert both["equal"] is False and both["axes"]["repetition"]["equal"] is False
    assert both["axes"]["repetition"]["digests"] == {"hello": {"run 1": "hello"}, "ledger": {"run 1": "ledger"}}
    assert set(both["scenarios"]) == {"hello", "ledger"} and json.dumps(both)


class _LosesAll:
    """A machine's death that takes whatever was not synced."""

    machine_died = True

    def __call__(self, name: str, synced: bytes, written: bytes) -> bytes:
        return synced

    def keeps_entry(self, name: str) -> bool:
        return False


def test_the_files_that_observers_read_are_those_of_the_disk_after_a_crash_too(tmp_path: Path) -> None:
    """Else the run goes on from files that are not there, and fails because it is observed."""
    disk = watched_disk(tmp_path, lambda: None)(Loop(), 1, lambda: None)
    disk.load({"decrees": b"one"})
    disk.write("journal", 0, b"header")
    disk.write("old", 0, b"x")
    disk.rename("old", "new")

    def folder() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert folder() == disk.contents() == {"decrees": b"one", "journal": b"header", "new": b"x"}
    disk.crash(_LosesAll())
    assert folder() == disk.contents() == {"decrees": b"one"}
    disk.alter("decrees", b"two")
    disk.remove("decrees")
    assert folder() == disk.contents() == {}
