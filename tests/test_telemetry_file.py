"""TEL-1 as a file: the lines are what happened, the run is the same with it and without, whatever the disk does."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from cli_kit import here, refused
from msgspec.structs import replace
from runtime_kit import twin
from telemetry_kit import emitted

from faults.plan import parse_fault
from harness.plans import default_plan
from harness.simulation import Setting, Simulation, journal_digest, trace_digest
from runtime import usage
from runtime.telemetry import Record, Telemetry
from runtime.telemetry_file import TelemetryFile
from runtime.versions import ALL
from scenarios import get

PAGE = (Path(__file__).parent.parent / "docs" / "telemetry.md").read_text("utf-8")


class Full(io.BytesIO):
    """A disk with room for so many bytes."""

    room = 5000

    def write(self, data: object) -> int:
        assert isinstance(data, bytes)
        if self.tell() + len(data) > self.room:
            raise OSError(28, "No space left on device")
        return super().write(data)


def records(file: io.BytesIO) -> list[dict[str, object]]:
    header, *lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert header == {"telemetry": 1, "versions": ALL}
    return lines


def simulated(name: str, hook: TelemetryFile | None, *faults: str) -> Simulation:
    plan = replace(default_plan(name), faults=tuple(parse_fault(fault) for fault in faults))
    run = Simulation(get(name), plan, setting=Setting(hook=hook))
    run.run()
    return run


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("hello", ()),
        ("assistants", ("gpu.remove@tick:6",)),
        ("ledger", ("orchestrator.kill@tick:60,phase:sync", "worker.kill@tick:41,agent:3,hostcall:2")),
    ],
)
def test_a_run_with_a_file_is_the_run_without_and_the_file_is_its_trace(name: str, faults: tuple[str, ...]) -> None:
    file = io.BytesIO()
    with_file = simulated(name, TelemetryFile(file, usage.read), *faults).history
    without = simulated(name, None, *faults).history
    assert journal_digest(with_file) == journal_digest(without) != ""
    assert trace_digest(with_file.trace) == trace_digest(without.trace)
    told = [line for line in records(file) if line["kind"] not in ("stepped", "usage")]
    assert told == [
        {"at": r.at, "kind": r.kind, "incarnation": r.incarnation, "tick": r.tick, "fields": r.fields}
        for r in without.trace
    ]


def test_every_step_tick_inference_and_snapshot_has_its_line() -> None:
    file = io.BytesIO()
    run = simulated("assistants", TelemetryFile(file, usage.read))
    kinds = [line["kind"] for line in records(file)]
    trace = [record.kind for record in run.history.trace]
    steps = sum(int(r.fields["steps"]) for r in run.history.trace if r.kind == "committed")
    assert kinds.count("stepped") == steps > 0
    for kind in ("opened", "committed", "inferred", "snapshot"):
        assert kinds.count(kind) == trace.count(kind) > 0
    states = [r for r in run.history.trace if r.kind == "snapshot" and r.fields["agent"] == -1]
    assert kinds.count("usage") == len(states) > 0 and "usage" not in trace


def test_a_disk_that_is_full_ends_the_file_and_nothing_else() -> None:
    hook = TelemetryFile(Full())
    run = simulated("ledger", hook, "orchestrator.kill@tick:60,phase:sync")
    assert "No space left" in hook.failure and 0 < hook.lines < 100
    assert run.orchestrator is not None and run.orchestrator.telemetry.dropped == 1
    assert run.history.finished and journal_digest(run.history) == journal_digest(twin("ledger"))


def test_a_closed_file_is_a_failure_like_any_other() -> None:
    file = io.BytesIO()
    file.close()
    hook = TelemetryFile(file)
    assert simulated("hello", hook).history.finished and "closed" in hook.failure


def test_a_file_is_bounded_and_says_where_it_was_cut() -> None:
    file = io.BytesIO()
    hook = TelemetryFile(file, longest=3000)
    assert simulated("hello", hook).history.finished and hook.cut and not hook.failure
    assert records(file)[-1]["kind"] == "cut" and [line["kind"] for line in records(file)].count("cut") == 1
    assert len(file.getvalue()) < 3000 + 120


def test_a_hook_that_wants_steps_does_not_give_them_to_others() -> None:
    seen: dict[str, list[str]] = {"all": [], "steps": []}
    telemetry = Telemetry(lambda: 7)
    telemetry.register(lambda record: seen["all"].append(record.kind))
    assert not telemetry.steps
    telemetry.register(lambda record: seen["steps"].append(record.kind), steps=True)
    assert telemetry.steps
    telemetry.emit("opened")
    telemetry.emit("stepped", agent=1, n=1, status="ok", fuel=1, replayed=0)
    assert seen == {"all": ["opened"], "steps": ["opened", "stepped"]}


def test_a_hook_that_fails_at_a_step_is_told_of_no_other() -> None:
    seen: list[str] = []

    def failing(record: Record) -> None:
        seen.append(record.kind)
        raise ValueError("a bug in the hook")

    telemetry = Telemetry(lambda: 7)
    telemetry.register(failing, steps=True)
    telemetry.emit("stepped", agent=1)
    telemetry.emit("stepped", agent=2)
    telemetry.emit("opened")
    assert seen == ["stepped"] and telemetry.dropped == 1 and not telemetry.steps


def test_the_command_writes_it_beside_the_same_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.jsonl"
    ended = here(capsys, "run", "hello", "--json", "--telemetry", str(path))
    assert ended.code == 0 and ended.json == here(capsys, "run", "hello", "--json").json
    lines = path.read_text("utf-8").splitlines()
    assert f"telemetry: {len(lines) - 1} lines in {path}" in ended.err
    refused(here(capsys, "run", "hello", "--telemetry", str(tmp_path / "no" / "t")), "cannot be written", "--telemetry")


def test_the_command_says_when_the_file_was_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    ended = here(capsys, "run", "ledger", "--telemetry", "/dev/full")
    assert ended.code == 0 and "No space left" in ended.err and "PASS" in ended.out


def test_the_page_has_every_kind_and_field_that_the_sources_make(capsys: pytest.CaptureFixture[str]) -> None:
    table = re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE.split("## Kinds")[1], re.M)
    listed = {kind: set(re.findall(r"`(\w+)`", fields)) for kind, fields in table}
    assert listed.pop("cut") == {"bytes"}
    assert listed == emitted()
    assert set(here(capsys, "schema", "telemetry").json["properties"]) == set(Record.__struct_fields__)
