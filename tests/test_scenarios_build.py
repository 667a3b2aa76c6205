"""The compiled agents are what their sources give, and the check that says so can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from runtime.errors import Refused
from runtime.wasm import check_module
from scenarios import SCENARIOS, build, get
from scenarios.base import AGENTS

ROOT = Path(__file__).parent.parent


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    """A copy of the agents' folder, to be damaged."""
    return Path(shutil.copytree(AGENTS, tmp_path / "agents"))


def test_every_committed_module_is_what_its_source_gives() -> None:
    assert build.stale(AGENTS) == []


def test_the_command_checks_from_outside_and_succeeds() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scenarios.build", "--check"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_altered_module_fails_the_check_by_name(agents: Path) -> None:
    module = agents / "ledger_account.wasm"
    module.write_bytes(module.read_bytes()[:-1] + b"\x7f")
    assert build.stale(agents) == ["ledger_account.wasm: not what ledger_account.wat gives"]


def test_an_altered_source_fails_the_check_by_name(agents: Path) -> None:
    source = agents / "hello_worker.wat"
    source.write_text(source.read_text().replace("i32.const 97", "i32.const 98"))
    assert build.stale(agents) == ["hello_worker.wasm: not what hello_worker.wat gives"]


def test_missing_modules_and_missing_sources_fail_the_check(agents: Path) -> None:
    (agents / "hello_worker.wasm").unlink()
    (agents / "hello_critic.wat").unlink()
    assert build.stale(agents) == ["hello_worker.wasm: missing", "hello_critic.wasm: no source"]


def test_an_empty_folder_fails_the_check(tmp_path: Path) -> None:
    assert build.stale(tmp_path)


def test_rebuilding_from_nothing_gives_the_committed_bytes(agents: Path) -> None:
    for module in agents.glob("*.wasm"):
        module.unlink()
    written = build.rebuild(agents)
    assert written == sorted(path.name for path in AGENTS.glob("*.wasm"))
    assert all((agents / name).read_bytes() == (AGENTS / name).read_bytes() for name in written)
    assert build.rebuild(agents) == []


def test_the_check_fails_with_exit_code_1(
    agents: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (agents / "hello_worker.wasm").unlink()
    monkeypatch.setattr(build, "AGENTS", agents)
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().out == "hello_worker.wasm: missing\n"
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0


def test_a_source_that_does_not_assemble_is_named_with_its_line(
    agents: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (agents / "hello_worker.wat").write_text("(module\n  (func (nonsense)))\n")
    monkeypatch.setattr(build, "AGENTS", agents)
    assert build.main(["--check"]) == 4
    error = capsys.readouterr().err
    assert error.startswith("hello_worker.wat, line 2, column ") and error.count("\n") == 1


def test_a_source_that_is_not_utf8_is_refused_in_one_line(agents: Path) -> None:
    (agents / "hello_worker.wat").write_bytes(b"(module)\xff")
    with pytest.raises(Refused, match=r"hello_worker\.wat, byte 8: not UTF-8"):
        build.stale(agents)


def test_unknown_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--chekc"]) == 4
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*SCENARIOS, "edges"])
def test_every_agent_passes_the_load_checks_with_its_own_capabilities_and_no_fewer(name: str) -> None:
    for spec in get(name).agents:
        wasm = get(name).modules[spec.module]
        libraries = [get(name).modules[library.module] for library in spec.libraries or ()]
        check_module(spec, wasm, libraries=libraries)
        for capability in spec.capabilities:
            fewer = tuple(c for c in spec.capabilities if c != capability)
            with pytest.raises(Refused, match="import"):
                check_module(replace(spec, capabilities=fewer), wasm, libraries=libraries)
