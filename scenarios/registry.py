"""The scenarios by name: the built-in ones, and those of files by path or `name@digest`."""

from __future__ import annotations

from runtime.errors import Refused
from scenarios.assistants import ASSISTANTS
from scenarios.base import Scenario
from scenarios.bench import BENCH
from scenarios.edges import EDGES
from scenarios.files import known
from scenarios.frames import FRAMES
from scenarios.hello import HELLO
from scenarios.ledger import LEDGER

# The default list, in the order in which it is run and shown.
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in (HELLO, LEDGER, FRAMES, ASSISTANTS)}

_UNLISTED = {scenario.name: scenario for scenario in (EDGES, BENCH)}


def get(name: str) -> Scenario:
    """The scenario of this name (`edges` and `bench` included), path or `name@digest`; raises Refused for any other."""
    scenario = SCENARIOS.get(name) or _UNLISTED.get(name)
    if scenario is not None:
        return scenario
    if known.is_path(name):
        return known.load(name)
    if known.is_reference(name):
        return known.find(name)
    built_in = ", ".join((*SCENARIOS, *_UNLISTED))
    raise Refused(f"unknown scenario {name[:80]!r}", "scenarios", f"use one of {built_in}, or a scenario's .toml file")
