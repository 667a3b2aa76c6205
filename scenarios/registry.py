"""The scenarios by name: the built-in ones, and those of files by path or `name@digest`."""

from __future__ import annotations

from runtime.errors import Refused
from scenarios.base import Scenario
from scenarios.built_in import SCENARIOS, built_in, names
from scenarios.files import known

__all__ = ["SCENARIOS", "get"]


def get(name: str) -> Scenario:
    """The scenario of this name (the unlisted ones included), path or `name@digest`; raises Refused for any other."""
    scenario = built_in(name)
    if scenario is not None:
        return scenario
    if known.is_path(name):
        return known.load(name)
    if known.is_reference(name):
        return known.find(name)
    todo = f"use one of {', '.join(names())}, or a scenario's .toml file"
    raise Refused(f"unknown scenario {name[:80]!r}", "scenarios", todo)
