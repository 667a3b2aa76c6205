"""Golden figures: what a stranger's machine must show as well, kept in the repository and checked by the tests.

Two things are promised: one journal digest per scenario, for seed 1 without faults (`tests/golden.json`), and the
block on the README's first screen, whose command is run and whose answer must be the one printed there. Trace digests
are not promised: a trace holds fuel and durations, which differ between releases of the WebAssembly engine.

`python -m harness.golden --check` compares (exit 1 when something differs), `--write` rewrites both files.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import sys
from collections.abc import Sequence

from harness import cli
from harness.builds import ROOT
from harness.plans import NAMES, SEED, default_plan
from harness.simulation import journal_digest, simulate
from scenarios import get

__all__ = ["NAMES", "SEED", "answer", "blocks", "default_plan", "digests", "recorded", "refreshed"]

FILE = ROOT / "tests" / "golden.json"
README = ROOT / "README.md"
_BLOCK = re.compile(r"(?<=```console\n)(\$ wasm-engine run [^\n]*\n)(.*?)(?=```\n)", re.DOTALL)


def digests(seed: int = SEED, workers: int = 2) -> dict[str, str]:
    """Scenario -> journal digest (hex) of its default plan."""
    return {name: journal_digest(simulate(get(name), default_plan(name, seed, workers))) for name in NAMES}


def recorded() -> dict[str, str]:
    """The digests in the repository; empty when there are none."""
    if not FILE.is_file():
        return {}
    found: dict[str, str] = json.loads(FILE.read_text("utf-8"))["journals"]
    return found


def answer(command: str) -> str:
    """What a `wasm-engine …` command line prints on stdout."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        cli.main(shlex.split(command)[1:])
    return printed.getvalue()


def blocks(text: str) -> list[tuple[str, str]]:
    """The README's `$ wasm-engine run …` blocks: (command, the answer printed under it)."""
    return [(match[1][2:].strip(), match[2]) for match in _BLOCK.finditer(text)]


def refreshed(text: str) -> str:
    """The README with every block's answer as it is now."""
    return _BLOCK.sub(lambda match: match[1] + answer(match[1][2:]), text)


def _differences() -> list[str]:
    here, there = digests(), recorded()
    lines = [
        f"{name}: {here[name]} here, {there.get(name)} recorded" for name in NAMES if here[name] != there.get(name)
    ]
    text = README.read_text("utf-8")
    if not blocks(text):
        lines.append("README.md has no block `$ wasm-engine run …`")
    elif refreshed(text) != text:
        lines.append("README.md shows another answer than its command gives")
    return lines


def main(arguments: Sequence[str]) -> int:
    if list(arguments) == ["--write"]:
        found = digests()
        if not all(found.values()):
            print("a scenario's journal does not verify; nothing is written", file=sys.stderr)
            return 1
        FILE.write_text(json.dumps({"journals": found, "seed": SEED}, indent=1, sort_keys=True) + "\n", "utf-8")
        README.write_text(refreshed(README.read_text("utf-8")), "utf-8")
        return 0
    if list(arguments) != ["--check"]:
        print("usage: python -m harness.golden --check | --write", file=sys.stderr)
        return 4
    lines = _differences()
    for line in lines:
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
