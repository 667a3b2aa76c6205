"""The journal does not move: same digest under any number of workers, hash seed, and any transparent fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import child
from msgspec.structs import replace

from faults.plan import Fault, parse_fault
from harness import expand, golden
from harness.check import Checker
from harness.simulation import journal_digest, simulate
from scenarios import get

FAULTS = {
    "hello": ("worker.kill@tick:2,agent:0,hostcall:2", "frame.lose@tick:3,agent:1,direction:done"),
    "ledger": (
        "worker.kill@tick:41,agent:3,hostcall:2",
        "orchestrator.kill@tick:60,phase:sync",
        "disk.tear@crash:1",
        "worker.stall@tick:20,agent:5",
    ),
    "frames": ("worker.kill@tick:10,agent:0,byte:100", "buffer.flip@buffer:0,version:12,bit=7,bits=9"),
    "edges": ("orchestrator.kill@tick:3,phase:commit,point:within", "frame.corrupt@direction:inputs,bit=77"),
}


def transparent_faults(name: str) -> tuple[Fault, ...]:
    """Typed above, or else a kill in the middle of the run and a crash after it."""
    if name in FAULTS:
        return tuple(map(parse_fault, FAULTS[name]))
    calling = expand.events_of(simulate(get(name), golden.default_plan(name))).calling
    step = calling[len(calling) // 2]
    kill = f"worker.kill@tick:{step.tick},agent:{step.agent},hostcall:1"
    return parse_fault(kill), parse_fault(f"orchestrator.kill@tick:{step.tick + 1},phase:commit")


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("name", golden.NAMES)
def test_a_scenario_has_the_recorded_digest_under_any_number_of_workers(name: str, workers: int) -> None:
    history = simulate(get(name), golden.default_plan(name, workers=workers))
    assert journal_digest(history) == golden.recorded()[name]


@pytest.mark.parametrize("name", golden.NAMES)
def test_transparent_faults_that_took_effect_leave_the_recorded_digest(name: str) -> None:
    for workers in (1, 2, 7):
        plan = replace(golden.default_plan(name, workers=workers), faults=transparent_faults(name))
        checked = Checker(get(name)).check(plan)
        assert all(checked.effective.values()), f"no effect under {workers} workers: {checked.effective}"
        assert checked.row.journal_digest == golden.recorded()[name]
        assert checked.row.verdict == "PASS"


def test_another_seed_gives_another_journal() -> None:
    digests = [golden.digests(seed) for seed in (1, 2, 3)]
    for name in golden.NAMES:
        assert len({found[name] for found in digests}) == 3


@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_the_hash_seed_of_the_interpreter_moves_nothing(hash_seed: str) -> None:
    ended = child("--check", module="harness.golden", PYTHONHASHSEED=hash_seed)
    assert (ended.code, ended.out) == (0, ""), ended


def test_a_digest_that_differs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, readme = tmp_path / "golden.json", tmp_path / "README.md"
    readme.write_text("# x\n\n```console\n$ wasm-engine run hello\n```\n", "utf-8")
    monkeypatch.setattr(golden, "FILE", file)
    monkeypatch.setattr(golden, "README", readme)
    assert golden.main(["--write"]) == 0
    assert golden.main(["--check"]) == 0
    file.write_text(file.read_text("utf-8").replace(golden.recorded()["frames"], "0" * 64), "utf-8")
    readme.write_text(readme.read_text("utf-8").replace("PASS", "FAIL"), "utf-8")
    capsys.readouterr()
    assert golden.main(["--check"]) == 1
    said = capsys.readouterr().out
    assert "frames: " in said and "0" * 64 in said and "README.md shows another answer" in said and "ledger" not in said


def test_golden_takes_check_or_write_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert golden.main([]) == 4 and golden.main(["--write", "x"]) == 4
    assert "usage" in capsys.readouterr().err
