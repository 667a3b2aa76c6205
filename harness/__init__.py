"""The harness: simulated adapters, oracles, campaigns, builds and the command line; and what tests in Python use.

`simulate` runs a plan and judges it (docs/api.md). Names are loaded on first use: a build's `runtime` must be in its
place before anything here imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults.plan import Fault, Plan, parse_fault, plan_from_json, plan_to_json
    from harness.api import Run, run_settings, simulate

__all__ = ["Fault", "Plan", "Run", "parse_fault", "plan_from_json", "plan_to_json", "run_settings", "simulate"]

_PLACES = {
    "Fault": "faults.plan",
    "Plan": "faults.plan",
    "Run": "harness.api",
    "parse_fault": "faults.plan",
    "plan_from_json": "faults.plan",
    "plan_to_json": "faults.plan",
    "run_settings": "harness.api",
    "simulate": "harness.api",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
