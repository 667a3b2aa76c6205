"""The compilers of agents: which one this machine has for a language, and one way to call it.

Guards against a compiler that is there and cannot build for wasm (a cargo without the target is passed over for another
one), that hangs, or that leaves nothing: each is named with what to do. Where none is found, how to get one is said.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.sdk.finishing import finished
from harness.sdk.projects import Project
from runtime.errors import Refused
from runtime.validated import read_bytes
from runtime.wasm.checks import MODULE_BYTES
from runtime.wasm.text import assemble

SECONDS_MAX = 600
OUTPUT_MAX = 8000
_BUILT_IN = "wasmtime's assembler"
_MIGRATES = re.compile(r"(?m)^\s*(?:public\s+|override\s+)*migrate\s*\(")  # a method of an agent.ts
TARGET = "wasm32-unknown-unknown"
STACK = 65_536  # bytes of the agent's memory for what its language keeps on a stack there


class Compiler(NamedTuple):
    """One that was found: `command` is what a build begins with."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]


class BuildFailed(Refused):
    """The source does not compile; `output` is what the compiler said."""

    def __init__(self, what: str, where: str, output: str) -> None:
        self.output = output
        super().__init__(what, where, "correct the source")


def compiler_of(language: str, folder: Path) -> Compiler | None:
    """What this machine builds the language with; None where there is nothing."""
    return _FINDERS[language](folder)


def build(project: Project) -> tuple[bytes, str]:
    """The finished module and its compiler's name. Nothing is written but what a compiler keeps for itself.

    Raises BuildFailed, Refused.
    """
    abi = project.manifest.module.abi
    if project.language == "wat":
        text = read_bytes(project.source, MODULE_BYTES)
        try:
            return finished(assemble(text.decode("utf-8")), str(project.source), abi), _BUILT_IN
        except UnicodeDecodeError as error:
            raise Refused("not UTF-8", f"{project.source}, byte {error.start}", "save it as utf-8") from None
        except Refused as error:
            raise BuildFailed(error.what, f"{project.source}, {error.where}", "") from None
    found = compiler_of(project.language, project.folder)
    if found is None:
        raise Refused(f"no compiler for {project.language} on this machine", str(project.folder), HOW[project.language])
    made = project.folder / "target" / "agent.wasm"
    try:
        made.parent.mkdir(exist_ok=True)
        made.unlink(missing_ok=True)
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", str(made), "make room for it") from None
    _run(found, _entries(project) + _ARGUMENTS[project.language](made), project)
    if project.language == "rust":
        built = sorted((project.folder / "target" / TARGET / "release").glob("*.wasm"))
        if len(built) != 1:
            raise Refused(f"cargo left {len(built)} modules", str(project.folder), "make it one cdylib")
        made = built[0]
    return finished(read_bytes(made, MODULE_BYTES), str(project.source), abi), found.name


def _entries(project: Project) -> list[str]:
    """The files that asc is given. A module exports what they do, and with `agent_migrate` it is reloaded otherwise."""
    if project.language != "assemblyscript":
        return []
    text = read_bytes(project.source, MODULE_BYTES).decode("utf-8", "replace")
    return ["sdk/exports.ts", *(["sdk/migrating.ts"] if _MIGRATES.search(text) else [])]


def _run(compiler: Compiler, arguments: list[str], project: Project) -> None:
    try:
        ended = subprocess.run(
            [*compiler.command, *arguments],
            cwd=project.folder,
            env={**os.environ, **compiler.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"{compiler.name} takes more than {SECONDS_MAX} s", str(project.folder), "look into it") from None
    except OSError as error:
        raise Refused(f"{compiler.name} cannot be run: {error.strerror}", compiler.command[0], "install it") from None
    if ended.returncode:
        output = ended.stdout[:OUTPUT_MAX].decode("utf-8", "replace")
        raise BuildFailed(f"{compiler.name} ended with {ended.returncode}", str(project.source), output)


def _on_path(name: str) -> Iterator[Path]:
    """Programs of this name: beside this interpreter, as a virtual environment has them, then on PATH."""
    folders = [str(Path(sys.executable).parent), *os.get_exec_path()]
    for folder in dict.fromkeys(folders):
        found = shutil.which(name, path=folder)
        if found:
            yield Path(found)


def _zig(folder: Path) -> Compiler | None:
    if importlib.util.find_spec("ziglang") is not None:
        return Compiler("zig", (sys.executable, "-m", "ziglang", "cc"), {})
    return next((Compiler("zig", (str(path), "cc"), {}) for path in _on_path("zig")), None)


def _cargo(folder: Path) -> Compiler | None:
    """The first cargo whose own rustc has the target's library: a rustup toolchain may lack it, a system's have it."""
    for cargo in _on_path("cargo"):
        rustc = cargo.with_name("rustc")
        try:
            asked = [str(rustc), "--print", "target-libdir", "--target", TARGET]
            ended = subprocess.run(asked, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        library = Path(ended.stdout.strip() or "/nowhere")
        if ended.returncode == 0 and any(library.glob("libcore-*.rlib")):
            return Compiler("cargo", (str(cargo),), {"RUSTC": str(rustc)})
    return None


def _asc(folder: Path) -> Compiler | None:
    places = [path / "node_modules" / ".bin" / "asc" for path in (folder.resolve(), *folder.resolve().parents)]
    for path in (*(place for place in places if place.is_file()), *_on_path("asc")):
        return Compiler("asc", (str(path),), {})
    return None


_FINDERS: dict[str, Callable[[Path], Compiler | None]] = {
    "wat": lambda folder: Compiler(_BUILT_IN, (), {}),
    "c": _zig,
    "rust": _cargo,
    "assemblyscript": _asc,
}

HOW = {
    "c": "install zig: pip install 'ziglang>=0.13', or wasm-engine's extra `sdk`",
    "rust": f"install Rust and its target {TARGET}: rustup target add {TARGET}, "
    "or apt install cargo libstd-rust-dev-wasm32 lld",
    "assemblyscript": "install it: npm install assemblyscript (here), or npm install --global assemblyscript",
}

_ARGUMENTS: dict[str, Callable[[Path], list[str]]] = {
    "c": lambda made: [
        "--target=wasm32-freestanding",
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Os",
        "-nostdlib",
        "-Wl,--no-entry",
        f"-Wl,-z,stack-size={STACK}",
        "-s",
        "-o",
        str(made.relative_to(made.parent.parent)),
        "agent.c",
    ],
    "rust": lambda made: ["build", "--release", "--quiet", "--target", TARGET, "--target-dir", "target"],
    "assemblyscript": lambda made: [
        "--outFile",
        str(made.relative_to(made.parent.parent)),
        "-O3",
        "--shrinkLevel",
        "1",
        "--use",
        "abort=",
    ],
}
