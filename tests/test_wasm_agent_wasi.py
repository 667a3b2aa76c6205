"""WASI for agents (WAS-5): function by function, by capability, and the same whenever a step is run again."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import pytest
from cli_kit import here
from sdk_kit import project
from wasm_kit import arguments, imports, spec_of, wat

from faults.plan import Plan, parse_fault
from harness.check import Checker
from runtime.errors import ModuleRefused
from runtime.wasm import WasmGuest, WasmGuests, assemble
from runtime.wasm.abi import GROUPS, VALUE_NAMES
from runtime.wasm.agent_wasi import FUNCTIONS, LOG_MAX, MODULE, AgentLine
from runtime.wasm.wasi import FUNCTIONS as OF_FUNCTION_MODULES
from scenarios.files import known

ROOT = Path(__file__).resolve().parent.parent


def lines(*names: str) -> str:
    found = []
    for name in names:
        params, results = (" ".join(VALUE_NAMES[k] for k in side) for side in FUNCTIONS[name].signature)
        found.append(f'(import "{MODULE}" "{name}" (func ${name} (param {params}) (result {results})))')
    return "\n".join(found)


def agent(step: str, *names: str, log: list[AgentLine] | None = None, **changes: Any) -> WasmGuest:
    wasm = assemble(wat(before=lines(*names), step=step, after='(data (i32.const 600) "a line")'))
    guests = WasmGuests(log=None if log is None else log.append)
    return guests.instantiate(0, spec_of(wasm, **changes), wasm)


def call(name: str, *values: int) -> str:
    kinds = FUNCTIONS[name].signature.parameters
    given = " ".join(f"({VALUE_NAMES[kind]}.const {value})" for kind, value in zip(kinds, values, strict=True))
    return f"(call ${name} {given})"


def piece(at: int, length: int) -> str:
    """Stores what `write` writes: one piece."""
    return f"(i32.store (i32.const 512) (i32.const {at})) (i32.store (i32.const 516) (i32.const {length}))"


def write(stream: int) -> str:
    return call("fd_write", stream, 512, 1, 520)


def test_what_an_agent_writes_goes_to_its_log_with_its_tick_and_nowhere_else() -> None:
    log: list[AgentLine] = []
    held = agent(f"{piece(600, 6)} (drop {write(1)}) {write(2)}", "fd_write", log=log)
    step = held.run(arguments(tick=9, agent=4, listed=False))
    assert (step.status, step.effects) == ("ok", b"\x90")
    assert log == [AgentLine(4, 9, "step", 1, b"a line"), AgentLine(4, 9, "step", 2, b"a line")]
    assert struct.unpack_from("<I", held.memory(), 520) == (6,)
    held.run(arguments(tick=10, agent=4))
    assert len(log) == 4  # the log of a step begins empty


def test_the_log_of_a_step_is_bounded_and_a_bad_range_fails_the_step_alone() -> None:
    log: list[AgentLine] = []
    size = 10_000
    seven = f"(drop {write(1)})" * 6
    held = agent(f"{piece(0, size)} {seven} {write(1)}", "fd_write", log=log)
    assert held.run(arguments()).status == "agent_error:51"  # six fit
    assert [len(line.data) for line in log] == [size] * (LOG_MAX // (size + 8))
    log.clear()
    for at, length in ((65_530, 100), (-4, 4), (0, -1)):
        held = agent(f"{piece(at, length)} {write(1)}", "fd_write", log=log)
        status = held.run(arguments()).status
        assert status in ("trap:memory_out_of_bounds", "agent_error:51")
        assert held.run(arguments()).status == status and log == []


def test_time_is_the_ticks_and_randomness_the_steps() -> None:
    body = (
        f"(drop {call('clock_time_get', 0, 0, 0)}) (drop {call('clock_time_get', 1, 0, 8)})"
        f" (drop {call('clock_res_get', 0, 16)}) (drop {call('random_get', 24, 13)}) {call('clock_time_get', 9, 0, 0)}"
    )
    seen = []
    for _ in range(2):
        held = agent(body, "clock_time_get", "clock_res_get", "random_get")
        assert held.run(arguments(now_ms=1_234, random_key=7)).status == "agent_error:28"
        memory = bytes(held.memory()[:48])
        seen.append(memory)
        assert struct.unpack_from("<QQQ", memory) == (1_234_000_000, 1_234_000_000, 1_000_000)
        assert any(memory[24:37]) and not any(memory[37:])
    assert seen[0] == seen[1]
    held = agent(body, "clock_time_get", "clock_res_get", "random_get")
    held.run(arguments(now_ms=1_234, random_key=8))
    assert bytes(held.memory()[24:37]) != seen[0][24:37]


@pytest.mark.parametrize(
    ("name", "values", "status"),
    [
        ("args_sizes_get", (0, 4), "ok"),
        ("args_get", (0, 4), "ok"),
        ("environ_sizes_get", (0, 4), "ok"),
        ("environ_get", (0, 4), "ok"),
        ("sched_yield", (), "ok"),
        ("fd_close", (1,), "ok"),
        ("fd_close", (3,), "agent_error:8"),
        ("fd_fdstat_get", (1, 0), "ok"),
        ("fd_fdstat_get", (3, 0), "agent_error:8"),
        ("fd_fdstat_set_flags", (2, 0), "ok"),
        ("fd_prestat_get", (3, 0), "agent_error:8"),
        ("fd_prestat_dir_name", (3, 0, 0), "agent_error:8"),
        ("fd_seek", (1, 0, 0, 0), "agent_error:70"),
        ("fd_seek", (5, 0, 0, 0), "agent_error:8"),
        ("fd_read", (0, 0, 0, 0), "ok"),
        ("fd_read", (1, 0, 0, 0), "agent_error:8"),
        ("fd_write", (0, 0, 0, 0), "agent_error:8"),
        ("fd_write", (3, 0, 0, 0), "agent_error:8"),
        ("random_get", (-1, 100), "trap:memory_out_of_bounds"),
        ("clock_time_get", (0, 0, -1), "trap:memory_out_of_bounds"),
    ],
)
def test_there_are_no_files_and_no_arguments(name: str, values: tuple[int, ...], status: str) -> None:
    assert agent(call(name, *values), name).run(arguments()).status == status


def test_an_agent_that_exits_has_failed_its_step() -> None:
    held = agent(f"{call('proc_exit', 0)} (i32.const 0)", "proc_exit")
    assert held.run(arguments()).status == "trap:unreachable"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_needs_its_capability_and_has_its_type(name: str) -> None:
    wasm = assemble(wat(before=lines(name)))
    group = FUNCTIONS[name].group
    WasmGuests().instantiate(0, spec_of(wasm, capabilities=(group,)), wasm).close()
    with pytest.raises(ModuleRefused, match=f"{name} is not granted; grant the capability '{group}'"):
        others = tuple(other for other in GROUPS if other != group)
        WasmGuests().instantiate(0, spec_of(wasm, capabilities=others), wasm)
    wrong = assemble(wat(before=f'(import "{MODULE}" "{name}" (func (param f64)))'))
    with pytest.raises(ModuleRefused, match=r"is imported as \(f64\) -> \(\)"):
        WasmGuests().instantiate(0, spec_of(wrong), wrong)
    assert FUNCTIONS[name].signature == OF_FUNCTION_MODULES[name][0]


@pytest.mark.parametrize("name", [*sorted(set(OF_FUNCTION_MODULES) - set(FUNCTIONS)), "sock_recv", "nonsense"])
def test_what_a_closed_step_cannot_have_is_refused_by_name(name: str) -> None:
    wasm = assemble(wat(before=f'(import "{MODULE}" "{name}" (func))'))
    with pytest.raises(ModuleRefused, match=f"{name} is not offered"):
        WasmGuests().instantiate(0, spec_of(wasm), wasm)


def test_an_image_continues_elsewhere_and_a_step_that_is_run_again_is_the_same() -> None:
    before = imports("random", "now") + lines("random_get", "fd_write")
    step = (
        "(i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (call $random)))"
        f" (drop {call('random_get', 8, 8)}) (i64.store (i32.const 16) (call $random)) {piece(0, 24)} {write(1)}"
    )
    wasm, seen = assemble(wat(before=before, step=step)), []
    for _ in range(2):
        log: list[AgentLine] = []
        guests = WasmGuests(log=log.append)
        first = guests.instantiate(0, spec_of(wasm), wasm)
        assert first.run(arguments(random_key=3)).status == "ok"
        second = guests.instantiate(0, spec_of(wasm), wasm)
        second.restore(bytes(first.memory()), first.globals())
        for held in (first, second):
            held.run(arguments(random_key=4, tick=8))
        assert bytes(first.memory()) == bytes(second.memory()) and log[1].data == log[2].data != log[0].data
        seen.append(log)
    assert seen[0] == seen[1]


SCENARIO = """
name = "writers"
title = "Two agents that write as a C library would."
last_tick = 20

[[agents]]
name = "writer"
module = "writer.wat"
capabilities = ["wasi", "random", "time", "messages", "output"]
count = 2

[[workload]]
tick = 2
every = 2
times = 6
to = "writer"
text = "write"
"""


def test_a_run_of_agents_with_wasi_is_its_twins_though_a_worker_dies(tmp_path: Path) -> None:
    step = (
        f"(drop {call('clock_time_get', 0, 0, 0)}) (drop {call('random_get', 8, 16)})"
        f" (drop (call $output (i32.const 0) (i32.const 24))) {piece(0, 24)} {write(1)}"
    )
    names = ("clock_time_get", "random_get", "fd_write")
    text = wat(before=lines(*names) + imports("output", "send"), step=step)
    (tmp_path / "writer.wat").write_text(text)
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    scenario = known.load(str(tmp_path))
    typed = ("worker.kill@tick:6,agent:1,hostcall:2", "orchestrator.kill@tick:9,phase:sync")
    plan = Plan(
        scenario=scenario.name,
        seed=1,
        inputs=scenario.workload(1),
        physical=scenario.options(),
        faults=tuple(parse_fault(each) for each in typed),
    )
    checked = Checker(scenario).check(plan)
    written = {(line.agent, line.tick): line.data for line in checked.history.lines}
    assert len(checked.history.lines) > len(written) == 12  # steps that were run again wrote the same again
    assert all(written[line.agent, line.tick] == line.data for line in checked.history.lines)
    assert checked.failed == () and all(checked.effective.values()), checked.findings


def test_an_agents_log_is_shown_where_it_is_tested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = wat(before=lines("fd_write"), step=f"{piece(600, 6)} {write(2)}", after='(data (i32.const 600) "a line")')
    place = project(tmp_path, "wat", text)
    (place / "agent.toml").write_text(
        (place / "agent.toml").read_text().replace("[capabilities]", "[capabilities]\nwasi = true")
    )
    (place / "conversation.toml").write_text('[[turn]]\ntick = 1\nhears = [{ from = "outside", text = "go" }]\n')
    assert here(capsys, "agent", "build", str(place)).code == 0
    told = here(capsys, "agent", "test", str(place))
    assert told.code == 0 and "tick 1 stderr: a line" in told.out
    assert here(capsys, "agent", "test", str(place), "--json").json["log"] == [
        {"tick": 1, "kind": "step", "stream": "stderr", "text": "a line"}
    ]


def test_inspecting_a_module_names_the_capability_that_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "agent.wat").write_text(wat(before=lines("fd_write", "random_get")))
    told = here(capsys, "module", "inspect", str(tmp_path / "agent.wat"), "--json").json
    assert told["capabilities"] == ["random", "wasi"] and told["refused"]["agent"] is None
    assert {entry["of"] for entry in told["imports"]} == {"WASI"}


def test_the_page_lists_every_function() -> None:
    page = (ROOT / "docs" / "abi.md").read_text("utf-8")
    part = page[page.index("## WASI") :]
    assert set(re.findall(r"`([a-z_]+)`", part[: part.index("\n## ", 5)])) >= set(FUNCTIONS)
