"""One `sometimes` property: its name, its sentence, where it can be reached, and how it is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.sometimes.seen import Seen

ALL = ("hello", "ledger", "frames", "assistants")


@dataclass(frozen=True)
class Property:
    """`kinds` are patterns (`worker.*`): a profile that draws none of them cannot reach it. `scenarios` can reach it.

    `holds` is a predicate over one run's records; it reads them and nothing else.
    """

    name: str
    sentence: str
    holds: Callable[[Seen], bool]
    kinds: tuple[str, ...] = ("*",)
    scenarios: tuple[str, ...] = ALL
