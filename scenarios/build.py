"""Rebuilds the agents' modules from their WAT sources: `python -m scenarios.build [--check]`.

The assembler is wasmtime's, pinned in the requirements lock, so the bytes are the same everywhere. `--check` writes
nothing and exits with 1 when a module is missing, is not what its source gives, or has no source.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import Refused
from runtime.wasm import assemble
from scenarios.base import AGENTS


def compiled(source: Path) -> bytes:
    """The module that a WAT file gives; raises Refused, with file, line and column."""
    try:
        return assemble(source.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise Refused("not UTF-8", f"{source.name}, byte {error.start}", "save it as UTF-8") from None
    except Refused as error:
        raise Refused(error.what, f"{source.name}, {error.where}", error.todo) from None


def stale(folder: Path) -> list[str]:
    """One line for each module in the folder that is not what its source gives; an empty folder is one as well."""
    sources = sorted(folder.glob("*.wat"))
    problems = [] if sources else [f"{folder.name}: no .wat files"]
    for source in sources:
        module = source.with_suffix(".wasm")
        if not module.exists():
            problems.append(f"{module.name}: missing")
        elif module.read_bytes() != compiled(source):
            problems.append(f"{module.name}: not what {source.name} gives")
    for module in sorted(folder.glob("*.wasm")):
        if not module.with_suffix(".wat").exists():
            problems.append(f"{module.name}: no source")
    return problems


def rebuild(folder: Path) -> list[str]:
    """Writes every module whose bytes differ; returns the names of those written."""
    written = []
    for source in sorted(folder.glob("*.wat")):
        module, wasm = source.with_suffix(".wasm"), compiled(source)
        if not module.exists() or module.read_bytes() != wasm:
            module.write_bytes(wasm)
            written.append(module.name)
    return written


def main(arguments: Sequence[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python -m scenarios.build [--check]", file=sys.stderr)
        return 4
    try:
        lines = stale(AGENTS) if arguments else [f"{name}: written" for name in rebuild(AGENTS)]
    except Refused as error:
        print(error, file=sys.stderr)
        return 4
    for line in lines:
        print(line)
    return 1 if arguments and lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
