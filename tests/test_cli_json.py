"""Every command with --json: one object on stdout, with the keys that are promised, and the promised exit code."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from cli_kit import build, child, here

from harness.oracles import ORACLES
from scenarios import SCENARIOS

RUN_KEYS = {
    "verdict",
    "journal_digest",
    "twin_digest",
    "trace_digest",
    "ticks",
    "messages",
    "agent_steps",
    "virtual_ns",
    "faults_fired",
    "oracles",
}
STRESS_KEYS = {
    "sometimes",
    "never_reached",
    "pairs",
    "short_of_each",
    "profile",
    "runs",
    "passed",
    "failed",
    "unknown",
    "idle",
    "faults_fired",
    "wrong_results",
    "oracles_judged",
    "cases",
    "report",
}


def test_run_tells_verdict_digests_and_what_was_judged(capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "run", "hello", "--fault", "worker.kill@tick:2,agent:0", "--json")
    assert ended.code == 0 and ended.err == ""
    told = ended.json
    assert set(told) == RUN_KEYS
    assert told["verdict"] == "PASS" and told["faults_fired"] == {"worker.kill": 1}
    assert told["journal_digest"] == told["twin_digest"] != told["trace_digest"]
    assert set(told["oracles"]) <= set(ORACLES) and set(told["oracles"].values()) == {"PASS"}
    assert all(told[key] > 0 for key in ("ticks", "messages", "agent_steps", "virtual_ns"))


def test_a_deep_run_is_judged_by_every_oracle_that_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    """`assistants` has devices, `frames` shared buffers: between them there is something to judge for each.

    Only I22, I26, I29, I30, I36 and reads judge what neither run has: a graph of tasks, reads outside, a signed
    module, a sync that fails, damage, and a reload.
    """
    told = [here(capsys, "run", name, "--deep", "--json").json["oracles"] for name in ("assistants", "frames")]
    assert set(ORACLES) - set(told[0]) == {"I15", "I16", "I22", "I26", "I29", "I30", "I36", "reads"}
    assert set(ORACLES) - set(told[1]) == {"I5", "I22", "I24", "I26", "I29", "I30", "I36", "reads"}
    assert {verdict for oracles in told for verdict in oracles.values()} == {"PASS"}


def test_a_run_whose_only_fault_does_nothing_is_inconclusive(capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "run", "hello", "--fault", "worker.kill@tick:12000,agent:1", "--json")
    assert (ended.code, ended.json["verdict"], ended.json["faults_fired"]) == (12, "IDLE", {})


def test_no_faults_leaves_out_typed_ones(capsys: pytest.CaptureFixture[str]) -> None:
    typed = here(capsys, "run", "hello", "--fault", "worker.kill@tick:2,agent:0", "--no-faults", "--json")
    assert typed.json == here(capsys, "run", "hello", "--json").json


def test_a_failing_run_says_why_on_stderr_and_ends_with_1(tmp_path: Path) -> None:
    folder = build(
        tmp_path, ("fold.py", "        if item.n <= state.admitted.get(item.source, 0):\n", "        if item.n <= 0:\n")
    )
    fault = "frame.duplicate@direction:inputs,for=30ms"
    ended = child("run", "ledger", "--fault", fault, "--build", str(folder), "--json")
    assert ended.code == 1 and set(ended.json) == RUN_KEYS
    assert ended.json["verdict"] == ended.json["oracles"]["I8"] == "FAIL"
    assert "FAIL I8: " in ended.err and "Traceback" not in ended.err
    text = child("run", "ledger", "--fault", fault, "--build", str(folder))
    assert text.code == 1 and "DIFFERS from the run without faults" in text.out and "FAIL I8: " in text.out


@pytest.mark.parametrize(("command", "key"), [("scenarios", "scenarios"), ("faults", "faults"), ("oracles", "oracles")])
def test_a_list_is_one_object_and_names_what_is_not_there_yet(
    command: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = here(capsys, command, "--json")
    assert ended.code == 0 and ended.err == "" and ended.json[key]
    if command != "scenarios":
        assert ended.json["not_available"]
    text = here(capsys, command)
    assert text.code == 0 and text.err == ""
    for row in ended.json[key]:
        assert str(row.get("name" if command == "scenarios" else "kind", row.get("id"))) in text.out


def test_the_list_of_scenarios_is_what_stress_runs(capsys: pytest.CaptureFixture[str]) -> None:
    rows = here(capsys, "scenarios", "--json").json["scenarios"]
    assert [row["name"] for row in rows if row["by_default"]] == list(SCENARIOS)
    assert {"swarm", "pipeline", "noisy"} <= {row["name"] for row in rows}


def test_doctor_says_for_each_missing_thing_why(capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "doctor", "--json")
    assert ended.code == 0
    found = {check["what"]: check["found"] for check in ended.json["checks"]}
    assert {"python", "wasmtime", "cores", "GPU"} <= set(found) and all(found.values())
    assert found["device 0"].startswith("cpu, by ONNX Runtime")
    assert found["device 1"].startswith("sim-accel (simulated), ")
    assert "NVIDIA driver" in found["GPU"] and "wasm-engine devices" in found["GPU"]


def test_doctor_says_why_the_models_cannot_run_where_their_library_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("harness.commands.show.version", nothing)
    assert "no  device 0       cpu, onnxruntime is not installed" in here(capsys, "doctor").out


@pytest.mark.parametrize("command", ["run", "stress"])
def test_the_evidence_is_said_to_be_simulated_in_help_and_in_text_and_adds_no_key(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "The evidence is simulated" in " ".join(here(capsys, command, "--help").out.split())
    rest = ("--runs", "1", "--jobs", "1", "--store", str(tmp_path)) if command == "stress" else ()
    assert "simulated" in here(capsys, command, "hello", *rest).out
    assert "simulated" not in here(capsys, command, "hello", *rest, "--json").out


def test_doctor_fails_where_a_library_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.commands.show._REQUIRED", ("python", "no-such-library"))
    ended = here(capsys, "doctor")
    assert ended.code == 1 and "no  no-such-library" in ended.out and "run make setup" in ended.out


def test_stress_tells_its_counts_and_where_the_report_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ended = here(capsys, "stress", "hello", "frames", "--runs", "4", "--jobs", "1", "--store", str(tmp_path), "--json")
    told = ended.json
    assert ended.code == 0 and set(told) == STRESS_KEYS
    assert (told["runs"], told["passed"], told["failed"], told["unknown"], told["idle"]) == (4, 4, 0, 0, 0)
    assert told["cases"] == [] and told["faults_fired"] and told["oracles_judged"]["twin"] == 4
    assert Path(told["report"]).is_file()


def test_a_campaign_without_runs_ends_with_5(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ended = here(capsys, "stress", "--runs", "0", "--store", str(tmp_path), "--json")
    assert (ended.code, ended.json["runs"]) == (5, 0)


def test_without_a_command_the_help_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys)
    assert (ended.code, ended.out) == (4, "") and "Commands:" in ended.err


@pytest.mark.parametrize("command", ["stress", "run", "replay", "prove", "scenarios", "faults", "oracles", "doctor"])
def test_every_command_has_a_help_page_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, command, "--help")
    assert ended.code == 0 and "Examples:" in ended.out and f"wasm-engine {command}" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 110
