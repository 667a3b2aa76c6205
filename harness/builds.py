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
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

PORTS = 1  # the version of `runtime.ports` that this harness drives
ENVIRONMENT = "WASM_ENGINE_BUILD"
ROOT = Path(__file__).resolve().parent.parent


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
    ours = Path(__file__).resolve()
    if not place.is_relative_to(folder) or not ours.is_relative_to(ROOT):
        raise BuildRefused(f"runtime came from {place.parent}, not from {folder}")


def current() -> str:
    """The folder of the build that this interpreter runs, "" for the harness's own."""
    return os.environ.get(ENVIRONMENT, "")


def command(module: str, arguments: Sequence[str], build: str | None = None) -> list[str]:
    """The command line that runs `module.main(arguments)` on a build (the present one when None)."""
    folder = current() if build is None else build
    return [sys.executable, "-P", "-m", "harness.bootstrap", folder or "-", module, *arguments]


def run_on(build: str, module: str, arguments: Sequence[str]) -> int:
    """Run a harness module on a build, with our own input and output; returns its exit code."""
    return subprocess.run(command(module, arguments, build), check=False).returncode


def identity(folder: Path | None = None) -> str:
    """sha256 over the runtime's sources, names and bytes: what a case is recorded against."""
    package = (folder or Path(current() or ROOT)) / "runtime"
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".wat", ".wasm") and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
