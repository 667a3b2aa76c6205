"""The command line as a user has it: in this process where that is enough, in a child where the process matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from faults.mutants import Edit, Mutant, plant
from harness import cli
from harness.builds import ROOT

RUNTIME = ROOT / "runtime"


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as one JSON value; raises when there is anything else."""
        return json.loads(self.out)


def here(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    """`wasm-engine ARGUMENTS` in this process."""
    capsys.readouterr()
    code = cli.main(arguments)
    captured = capsys.readouterr()
    return Ended(code, captured.out, captured.err)


def child(*arguments: str, module: str = "harness.cli", cwd: Path | None = None, **environment: str) -> Ended:
    """`wasm-engine ARGUMENTS` (or another module's `main`) in an interpreter of its own."""
    command = [sys.executable, "-P", "-m", "harness.bootstrap", "-", module, *arguments]
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}, timeout=120, check=False
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def refused(ended: Ended, *words: str) -> None:
    """Exit 4, nothing on stdout, one line on stderr that says the words; no traceback."""
    assert (ended.code, ended.out) == (4, "")
    assert ended.err.count("\n") == 1 and ended.err.startswith("wasm-engine: ")
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err


def build(folder: Path, *edits: tuple[str, str, str]) -> Path:
    """A build below `folder`: our runtime with (file, before, after) edits."""
    folder.mkdir(parents=True, exist_ok=True)
    planted = Mutant(name="test", title="", scenario="", oracle="", edits=tuple(Edit(*edit) for edit in edits))
    return plant(planted, RUNTIME, folder)


def spoiled(folder: Path, kind: str, statement: str) -> Path:
    """A build that executes `statement` when its telemetry has a record of that kind: a bug that some runs meet."""
    place = build(folder)
    code = (
        "\n_as_it_is = Telemetry.emit\n\n"
        "def _spoiled(self, kind, **fields):\n"
        f"    if kind == {kind!r}:\n        {statement}\n"
        "    return _as_it_is(self, kind, **fields)\n\n"
        "Telemetry.emit = _spoiled\n"
    )
    with (place / "runtime" / "telemetry.py").open("a", encoding="utf-8") as file:
        file.write(code)
    return place
