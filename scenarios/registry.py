"""The built-in scenarios by name."""

from __future__ import annotations

from runtime.errors import Refused
from scenarios.assistants import ASSISTANTS
from scenarios.base import Scenario
from scenarios.bench import BENCH
from scenarios.edges import EDGES
from scenarios.frames import FRAMES
from scenarios.hello import HELLO
from scenarios.ledger import LEDGER

# The default list, in the order in which it is run and shown.
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in (HELLO, LEDGER, FRAMES, ASSISTANTS)}

_UNLISTED = {scenario.name: scenario for scenario in (EDGES, BENCH)}


def get(name: str) -> Scenario:
    """The scenario of this name, `edges` and `bench` included; raises Refused for any other, naming those there are."""
    scenario = SCENARIOS.get(name) or _UNLISTED.get(name)
    if scenario is None:
        known = ", ".join((*SCENARIOS, *_UNLISTED))
        raise Refused(f"unknown scenario {name!r}", "scenarios", f"use one of {known}")
    return scenario
