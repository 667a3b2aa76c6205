"""Built-in scenarios: pure data, and what must hold of their runs.

The registry is loaded on first use, so that `python -m scenarios.build` works where the compiled agents are missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.base import Outcome, Scenario

if TYPE_CHECKING:
    from scenarios.registry import SCENARIOS, get

__all__ = ["SCENARIOS", "Outcome", "Scenario", "get"]


def __getattr__(name: str) -> object:
    if name not in ("SCENARIOS", "get"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from scenarios import registry

    return getattr(registry, name)
