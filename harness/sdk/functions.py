"""Builds the modules of the scenario `plugins`, plugins and agents: `python -m harness.sdk.functions [--check]`.

Compilers differ between machines and give other bytes, so the modules are kept beside their sources, and `built.json`
says of each which source it was made of, by which compiler, and what it is. `--check` needs no compiler: it compares
the digests and exits with 1 when a source or a module is not what is written there.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.sdk.compilers import HOW, SECONDS_MAX, TARGET, Compiler, build, compiler_of
from harness.sdk.finishing import stripped
from harness.sdk.projects import MAIN, create, find
from runtime.errors import Refused
from runtime.wasm import assemble
from scenarios.base import AGENTS

FUNCTIONS, CALLERS = AGENTS.parent / "functions", AGENTS.parent / "callers"
FOLDERS = (FUNCTIONS, CALLERS)
BUILT = "built.json"
_LANGUAGES = {".wat": "wat", ".c": "c", ".rs": "rust", ".ts": "assemblyscript"}
_STACK = 4096


def sources(folder: Path = FUNCTIONS) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in _LANGUAGES)


def module_of(source: Path) -> Path:
    """Where a source's module lies; agents of one name differ by their language."""
    return source.with_name(f"{source.stem}_{source.suffix[1:]}.wasm" if _is_agent(source) else f"{source.stem}.wasm")


def _is_agent(source: Path) -> bool:
    return source.parent.name == CALLERS.name


def built(source: Path) -> tuple[bytes, str]:
    """The module of a source and its compiler; raises Refused where there is none, or it does not compile."""
    language = _LANGUAGES[source.suffix]
    if _is_agent(source):
        with tempfile.TemporaryDirectory() as folder:
            create("caller", language, Path(folder))
            project = find(Path(folder) / "caller")
            (project.folder / MAIN[language]).write_bytes(source.read_bytes())
            return build(project)
    compiler = compiler_of(language, source.parent)
    if compiler is None:
        raise Refused(f"no compiler for {language} on this machine", source.name, HOW[language])
    if language == "wat":
        return stripped(assemble(source.read_text("utf-8"))), compiler.name
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.wasm"
        command = _command(compiler, source, made)
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
        if ended.returncode or not made.is_file():
            raise Refused(f"{compiler.name}: {ended.stderr[-400:]}", source.name, "correct the source")
        return stripped(made.read_bytes()), compiler.name


def _command(compiler: Compiler, source: Path, made: Path) -> list[str]:
    if compiler.name == "zig":
        flags = ["--target=wasm32-freestanding", "-std=c11", "-Wall", "-Wextra", "-Os", "-nostdlib", "-Wl,--no-entry"]
        return [*compiler.command, *flags, f"-Wl,-z,stack-size={_STACK}", "-s", "-o", str(made), str(source)]
    if compiler.name == "cargo":
        flags = ["--target", TARGET, "--crate-type", "cdylib", "--edition", "2021", "-C", "opt-level=s", "-C", "lto"]
        flags += ["-C", "panic=abort", "-C", "strip=symbols", "-C", f"link-arg=-zstack-size={_STACK}"]
        return [compiler.environment["RUSTC"], *flags, "-o", str(made), str(source)]
    flags = ["--outFile", str(made), "-O3", "--shrinkLevel", "2", "--runtime", "stub", "--use", "abort="]
    return [*compiler.command, str(source), *flags]


def _entry(source: Path, compiler: str) -> dict[str, str]:
    module = module_of(source).read_bytes()
    return {
        "compiler": compiler,
        "module": hashlib.sha256(module).hexdigest(),
        "source": hashlib.sha256(source.read_bytes()).hexdigest(),
    }


def recorded(folder: Path = FUNCTIONS) -> dict[str, dict[str, str]]:
    """Source -> what it was built to."""
    file = folder / BUILT
    found: dict[str, dict[str, str]] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return found


def stale(folder: Path = FUNCTIONS) -> list[str]:
    """One line for each source or module that is not what is written of it."""
    written, problems = recorded(folder), []
    for source in sources(folder):
        entry = written.get(source.name)
        if entry is None or not module_of(source).is_file():
            problems.append(f"{source.name}: not built")
        elif entry != _entry(source, entry["compiler"]):
            problems.append(f"{source.name}: it or its module is not what {BUILT} says")
    known = {module_of(source) for source in sources(folder)}
    return problems + [f"{one.name}: no source" for one in sorted(folder.glob("*.wasm")) if one not in known]


def _rebuild(folder: Path) -> None:
    entries = {}
    for source in sources(folder):
        wasm, compiler = built(source)
        module_of(source).write_bytes(wasm)
        entries[source.name] = _entry(source, compiler)
        print(f"{source.name}: {len(wasm)} B, by {compiler}")
    (folder / BUILT).write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n", "utf-8")


def main(arguments: Sequence[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python -m harness.sdk.functions [--check]", file=sys.stderr)
        return 4
    if arguments:
        lines = [line for folder in FOLDERS for line in stale(folder)]
        print("\n".join(lines), end="\n" if lines else "")
        return 1 if lines else 0
    try:
        for folder in FOLDERS:
            _rebuild(folder)
    except Refused as error:
        print(error, file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
