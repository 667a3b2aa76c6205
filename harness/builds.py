"""Builds under test: another folder's `runtime` in place of ours, in a child interpreter (HAR-10, DESIGN §9).

Only the package `runtime` is replaced; scenarios, faults, oracles and the driver stay this harness's own. This module
imports nothing of the runtime, so that the finder can be there first.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

PORTS = 7  # the version of `runtime.ports` that this harness drives
ENVIRONMENT = "WASM_ENGINE_BUILD"
DONE = "WASM_ENGINE_DONE"  # the descriptor on which a child says that its command came to its end
OWN = "-"  # in the place of a folder: the harness's own runtime
OURS = ("harness", "faults", "scenarios", "reports")
ROOT = Path(__file__).resolve().parent.parent


INTERRUPTED = 2
PATIENCE_S = 2.0


class BuildRefused(Exception):
    """A build that this harness cannot drive; one line."""


class _Finder(importlib.abc.MetaPathFinder):
    """Finds `runtime` and what is below it in the build's folder, nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name == "runtime":
            return importlib.machinery.PathFinder.find_spec(name, [self._folder])
        if name.startswith("runtime."):
            return importlib.machinery.PathFinder.find_spec(name, path)
        return None


def folder_of(path: str) -> Path:
    """The folder that holds the build's `runtime`; raises BuildRefused when it has none or another ports version."""
    folder = Path(path).resolve()
    package = folder / "runtime"
    if not (package / "__init__.py").is_file():
        raise BuildRefused(f"{path}: there is no package 'runtime' in it; give the folder that contains runtime/")
    versions = package / "versions.py"
    text = versions.read_text("utf-8", "replace") if versions.is_file() else ""
    match = re.search(r"^PORTS\s*=\s*(\d+)\s*$", text, re.MULTILINE)
    found = match.group(1) if match else "none"
    if found != str(PORTS):
        raise BuildRefused(f"{path}: its ports version is {found}, this harness drives version {PORTS}; use its own")
    return folder


def install(folder: Path) -> None:
    """Put the build's `runtime` in the place of ours, and make sure that it is the one that is imported."""
    if "runtime" in sys.modules:
        raise BuildRefused("a runtime is imported already; builds run in an interpreter of their own")
    sys.meta_path.insert(0, _Finder(folder))
    import runtime

    place = Path(runtime.__file__ or "").resolve()
    if not place.is_relative_to(folder):
        raise BuildRefused(f"runtime came from {place.parent}, not from {folder}; take other runtimes off the path")
    for name in OURS:
        spec = importlib.machinery.PathFinder.find_spec(name)
        found = Path(spec.origin if spec and spec.origin else "").resolve()
        if not found.is_relative_to(ROOT / name):
            raise BuildRefused(f"{name} came from {found.parent}, not from {ROOT}; take it off PYTHONPATH")


def current() -> str:
    """The folder of the build that this interpreter runs, "" for the harness's own."""
    return os.environ.get(ENVIRONMENT, "")


def command(module: str, arguments: Sequence[str], build: str | None = None) -> list[str]:
    """The command line that runs `module.main(arguments)` on a build (the present one when None)."""
    folder = current() if build is None else build
    return [sys.executable, "-P", "-m", "harness.bootstrap", folder or OWN, module, *arguments]


def run_on(build: str, module: str, arguments: Sequence[str]) -> int:
    """Run a harness module on a build, with our own input and output; returns its exit code.

    A build that ends its interpreter under the command has failed, whatever code it chose: that is no verdict of ours.
    An interrupt is passed on, and waited for, so that nothing goes on behind our back.
    """
    reading, writing = os.pipe()
    child = subprocess.Popen(
        command(module, arguments, build), pass_fds=(writing,), env={**os.environ, DONE: str(writing)}
    )
    os.close(writing)
    try:
        code = child.wait()
    except KeyboardInterrupt:
        code = _interrupted(child)
    with os.fdopen(reading, "rb") as said:
        if said.read(1) or code == INTERRUPTED:
            return code
    print(f"wasm-engine: {build}: it ended the interpreter with code {code}, in the middle of a run", file=sys.stderr)
    return 1


def _interrupted(child: subprocess.Popen[bytes]) -> int:
    """A terminal interrupts the child as well; who signals us alone does not, and the child is told."""
    try:
        child.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)
        child.wait()
    return INTERRUPTED


def identity(folder: Path | None = None) -> str:
    """sha256 over the runtime's sources, names and bytes: what a case is recorded against."""
    package = (folder or Path(current() or ROOT)) / "runtime"
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".wat", ".wasm") and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
