"""Runs from Python: what may be given, what comes back, and that a repro makes the very same run."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import Ended, here
from hypothesis import given, settings

import harness
from faults.plan import Fault
from harness import Plan, parse_fault, plan_from_json, plan_to_json, run_settings, simulate
from runtime.errors import Refused
from runtime.state import Send
from scenarios import agent, get, plans, scenario
from scenarios.strategies import Draft, draft_from_seed

KILL = "worker.kill@tick:2,agent:1"
SILENT = """(module (memory (export "memory") 1)
  (func (export "agent_alloc") (param i32) (result i32) (i32.const 64))
  (func (export "agent_init") (result i32) (i32.const 0))
  (func (export "agent_receive") (param i32 i32) (result i32) (i32.const 0))
  (func (export "agent_step") (param i32) (result i32) (i32.const 0))
  (func (export "agent_shutdown") (result i32) (i32.const 0)))"""


def test_the_package_imports_nothing_of_the_runtime_before_a_name_is_used() -> None:
    code = "import sys, harness; assert not [n for n in sys.modules if n.split('.')[0] in ('runtime', 'faults')]"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        harness.nothing  # type: ignore[attr-defined]  # noqa: B018
    assert all(getattr(harness, name) is not None for name in harness.__all__)


def test_a_run_without_faults_is_its_own_twin() -> None:
    run = simulate("hello")
    run.assert_ok()
    assert (run.verdict, run.finished, run.failed) == ("PASS", True, ())
    assert run.journal_digest == run.twin_digest == run.twin().journal_digest
    assert len(run.outputs) == 6 and [block.tick for block in run.blocks] == sorted({b.tick for b in run.blocks})


def test_faults_may_be_typed_or_built_and_come_after_those_of_the_plan() -> None:
    fault = Fault(kind="worker.kill", at={"tick": 3, "agent": 1})
    first = simulate("hello", faults=[KILL])
    both = simulate("hello", first.plan, faults=[fault])
    assert both.plan.faults == (parse_fault(KILL), fault)
    assert both.twin().plan.faults == ()


def test_a_number_of_workers_and_further_oracles_can_be_asked_for() -> None:
    run = simulate("hello", workers=7, deep=True)
    assert run.plan.physical.workers == 7 and {"I1", "I3", "I20"} <= set(run.findings)
    assert "--workers 7 --deep" in run.repro


def test_an_idle_run_is_no_failure() -> None:
    run = simulate("hello", faults=["worker.kill@tick:999,agent:0"])
    assert run.verdict == "IDLE"
    run.assert_ok()


def test_equal_drafts_give_equal_runs() -> None:
    draft = draft_from_seed("hello", 3, 1)
    one, other = simulate("hello", draft), simulate("hello", draft)
    assert (one.plan, one.trace_digest) == (other.plan, other.trace_digest)
    assert one.plan.faults


def test_the_transparent_profile_draws_nothing_that_may_change_the_journal() -> None:
    for n in range(8):
        run = simulate("hello", draft_from_seed("hello", 4, n), profile="transparent")
        assert not any(fault.kind.startswith("agent.") for fault in run.plan.faults)
        assert run.journal_digest == simulate("hello", Plan(
            scenario="hello", seed=run.plan.seed, inputs=run.plan.inputs)).journal_digest  # fmt: skip


@given(plan=plans("hello", picks_min=1, picks_max=2))
@settings(run_settings, max_examples=5)
def test_a_drawn_plan_survives_json(plan: Draft) -> None:
    run = simulate("hello", plan)
    again = simulate("hello", plan_from_json(plan_to_json(run.plan)))
    assert (again.trace_digest, again.journal_digest) == (run.trace_digest, run.journal_digest)


def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repro: str) -> Ended:
    """What a shell would do with a repro."""
    command, _, rest = repro.partition(" <<'PLAN'\n")
    if rest:
        file = tmp_path / "plan.json"
        file.write_text(rest.removesuffix("PLAN"), "utf-8")
        monkeypatch.setattr("sys.stdin", file.open(encoding="utf-8"))
    return here(capsys, *shlex.split(command)[1:], "--json")


def test_the_repro_makes_the_same_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    short = simulate("hello", faults=[KILL], seed=5, workers=3)
    assert short.repro == f"wasm-engine run hello --seed 5 --fault {KILL} --workers 3"
    drawn = simulate("hello", draft_from_seed("hello", 3, 2))
    assert drawn.repro.startswith("wasm-engine run hello --plan - <<'PLAN'\n{")
    for run in (short, drawn):
        again = typed(capsys, monkeypatch, tmp_path, run.repro).json
        assert again["trace_digest"] == run.trace_digest


def test_a_failure_names_the_oracle_its_evidence_the_faults_and_the_repro() -> None:
    wrong = scenario(
        "wrong", [agent("silent", SILENT)], [(1, 0, b"x")], last_tick=3, invariant=lambda outcome: ["it never speaks"]
    )
    run = simulate(wrong, faults=["worker.kill@tick:1,agent:0"])
    assert run.verdict == "FAIL" and run.failed == ("scenario",)
    with pytest.raises(AssertionError) as raised:
        run.assert_ok()
    lines = str(raised.value).splitlines()
    assert lines[0] == "wrong, seed 1: FAIL"
    assert "scenario FAIL: it never speaks" in lines
    assert lines[-4:-1] == ["faults of the plan: 1", "  worker.kill@tick:1,agent:0", "replay it:"]
    assert lines[-1].startswith("simulate(wrong, plan_from_json('{")


def test_a_claim_of_ones_own_raises_with_the_repro_and_only_when_it_does_not_hold() -> None:
    run = simulate("hello", faults=[KILL])
    run.assert_that(True, "nothing")
    with pytest.raises(AssertionError, match="hello, seed 1: too slow\n") as raised:
        run.assert_that(False, "too slow")
    assert str(raised.value).endswith(f"wasm-engine run hello --seed 1 --fault {KILL}")


def test_wrong_arguments_are_refused_in_one_line() -> None:
    foreign = Plan(scenario="hello", seed=1, inputs=get("hello").workload(1))
    too_many = [KILL, f"{KILL},point:after", f"{KILL},hostcall:1", f"{KILL},hostcall:2"]
    for text, call in (
        ("unknown scenario 'hallo'", lambda: simulate("hallo")),
        ("a plan for 'hello', not for 'ledger'", lambda: simulate("ledger", foreign)),
        ("a plan for 'hello', not for 'ledger'", lambda: simulate("ledger", draft_from_seed("hello", 1, 1))),
        ("unknown profile 'kind'", lambda: simulate("hello", profile="kind")),
        ("cannot read", lambda: simulate("hello", faults=["worker.kill@tick"])),
        ("would lose 4 workers", lambda: simulate("hello", faults=too_many)),
        ("unknown scenario 'hullo'", lambda: plans("hullo")),
    ):
        with pytest.raises(Refused) as refused:
            call()
        assert text in str(refused.value) and "\n" not in str(refused.value)


def test_a_scenario_that_cannot_be_is_refused(tmp_path: Path) -> None:
    silent = agent("silent", SILENT)
    for call in (
        lambda: agent("none", tmp_path / "none.wat"),
        lambda: agent("broken", "(module"),
        lambda: scenario("s", [silent], [], last_tick=3),
        lambda: scenario("s", [silent], [(1, 1, b"")], last_tick=3),
        lambda: scenario("s", [silent], [(3, 0, b"")], last_tick=3),
    ):
        with pytest.raises(Refused):
            call()


def test_an_agent_is_the_same_from_text_from_a_file_and_from_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.wat").write_text(SILENT)
    text, file = agent("a", SILENT), agent("a", tmp_path / "a.wat")
    (tmp_path / "a.wasm").write_bytes(text.wasm)
    assert text == file == agent("a", text.wasm) == agent("a", tmp_path / "a.wasm")


def test_a_drawn_workload_of_ones_own_keeps_to_the_messages_and_ticks() -> None:
    own = scenario("own", [agent("silent", SILENT)], [(1, 0, b"a"), (2, 0, b"b")], last_tick=4)

    @given(plan=plans(own))
    @settings(run_settings, max_examples=20)
    def drawn(plan: Draft) -> None:
        assert plan.scenario == "own" and all(1 <= item.tick < 4 for item in plan.inputs)
        assert all(isinstance(i.action, Send) and i.action.payload in (b"a", b"b") for i in plan.inputs)

    drawn()
