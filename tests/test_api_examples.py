"""The examples of docs/api.md, run from its very text as a user's test files would be."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(python|wat)\n(?:#|;;) (\S+)\n(.*?)^```$", re.M | re.S)


def files() -> dict[str, str]:
    """The files that the page contains: a code block whose first line is a comment with a name."""
    return {name: text for _, name, text in BLOCK.findall((ROOT / "docs" / "api.md").read_text("utf-8"))}


def pytest_in(folder: Path, texts: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--rootdir",
        str(folder),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [*command, str(folder)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_page_holds_the_examples_that_it_speaks_of() -> None:
    assert set(files()) == {"test_ledger.py", "test_chosen.py", "adder.wat", "test_adder.py"}
    assert len(files()["test_ledger.py"].strip().splitlines()) <= 15


@pytest.mark.parametrize(
    ("names", "passed"), [(["test_ledger.py", "test_chosen.py"], 2), (["adder.wat", "test_adder.py"], 2)]
)
def test_an_example_passes_as_it_stands(tmp_path: Path, names: list[str], passed: int) -> None:
    ended = pytest_in(tmp_path, {name: files()[name] for name in names})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{passed} passed" in ended.stdout


def test_an_invariant_that_does_not_hold_is_shrunk_and_comes_with_a_command_that_runs(tmp_path: Path) -> None:
    text = files()["test_ledger.py"].replace('"ledger"', '"hello"')
    text = re.sub(r"run\.assert_that\(.*\)", "assert not run.faults_fired", text)
    ended = pytest_in(tmp_path, {"test_planted.py": text})
    assert ended.returncode == 1, ended.stdout
    found = re.search(r"^E +wasm-engine (run hello --plan -) <<'PLAN'\nE +(\{.*\})\nE +PLAN$", ended.stdout, re.M)
    assert found, ended.stdout
    assert found[2].count('"kind"') == 1, "all but one fault can be left out"
    again = subprocess.run(
        [sys.executable, "-P", "-m", "harness.bootstrap", "-", "harness.cli", *found[1].split(), "--json"],
        input=found[2], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert '"verdict": "PASS"' in again.stdout
    assert re.search(r'"faults_fired": \{\s*"', again.stdout)


def test_a_bug_of_an_own_agent_is_found_by_the_own_invariant_and_replays_in_python(tmp_path: Path) -> None:
    texts = {name: files()[name] for name in ("adder.wat", "test_adder.py")}
    texts["adder.wat"] = texts["adder.wat"].replace("(i64.add (global.get $sum)", "(i64.add (i64.const 0)")
    ended = pytest_in(tmp_path, texts)
    assert ended.returncode == 1
    assert "a sum was lost: [" in ended.stdout
    found = re.search(r"^E +simulate\(SUMS, plan_from_json\('(.*)'\)\)$", ended.stdout, re.M)
    assert found, ended.stdout
    texts["test_again.py"] = (
        "from harness import plan_from_json, simulate\nfrom test_adder import SUMS\n\n\n"
        f"def test_again():\n    run = simulate(SUMS, plan_from_json('{found[1]}'))\n"
        "    assert run.verdict in ('PASS', 'IDLE')\n    assert len(run.outputs) >= 2\n"
    )
    del texts["test_adder.py"]
    (tmp_path / "test_adder.py").rename(tmp_path / "adder_scenario.py")
    texts["test_again.py"] = texts["test_again.py"].replace("test_adder", "adder_scenario")
    again = pytest_in(tmp_path, texts)
    assert "1 passed" in again.stdout, again.stdout
