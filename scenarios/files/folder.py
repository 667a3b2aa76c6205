"""The folder of a scenario: what was read from it, and everything that was wrong there, instead of the first thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from runtime.errors import Refused
from runtime.validated import BYTES_MAX, read_bytes
from scenarios.files.tables import inside

T = TypeVar("T")


class Folder:
    """The folder of a scenario: what was read from it, and what was wrong there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, bytes] = {}
        self.problems: list[str] = []

    def place(self, name: str) -> Path:
        """The path of a file; raises Refused for one outside, by a link neither."""
        try:
            path = self.root / inside(name)
            if path.resolve().is_relative_to(self.root.resolve()):
                return path
        except (ValueError, OSError):
            pass
        raise Refused("the file does not lie in the scenario's folder or below it", name, "put it there")

    def read(self, name: str, longest: int = BYTES_MAX) -> bytes:
        self.files[name] = read_bytes(self.place(name), longest)
        return self.files[name]

    def attempt(self, place: str, make: Callable[[], T]) -> T | None:
        """What `make` gives, or None and one problem more, with its place."""
        try:
            return make()
        except Refused as refused:
            self.problems.append(f"{place}: {refused}")
            return None


def is_inside(name: str) -> bool:
    """Whether this can be the name of a file of the folder."""
    try:
        return bool(inside(name))
    except ValueError:
        return False
