"""Built-in scenarios: pure data, and what must hold of their runs.

The registry is loaded on first use, so that `python -m scenarios.build` works where the compiled agents are missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from scenarios.base import Outcome, Scenario

if TYPE_CHECKING:
    from scenarios.builder import agent, scenario
    from scenarios.registry import SCENARIOS, get
    from scenarios.strategies import plans

__all__ = ["SCENARIOS", "Outcome", "Scenario", "agent", "get", "plans", "scenario"]

_PLACES = {
    "SCENARIOS": "scenarios.registry",
    "agent": "scenarios.builder",
    "get": "scenarios.registry",
    "plans": "scenarios.strategies",
    "scenario": "scenarios.builder",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
