"""The scenarios that come with the harness."""

from __future__ import annotations

from scenarios.assistants import ASSISTANTS
from scenarios.base import Scenario
from scenarios.bench import BENCH
from scenarios.console import CONSOLE
from scenarios.edges import EDGES
from scenarios.experts import EXPERTS
from scenarios.frames import FRAMES
from scenarios.guarded import GUARDED
from scenarios.hello import HELLO
from scenarios.ledger import LEDGER
from scenarios.noisy import NOISY, SHARES
from scenarios.pipeline import PIPELINE
from scenarios.plugins import PLUGINS
from scenarios.readings import READINGS
from scenarios.swarm import SWARM
from scenarios.upgrade import UPGRADE

# The default list, in the order in which it is run and shown.
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in (HELLO, LEDGER, FRAMES, ASSISTANTS, UPGRADE)}

_UNLISTED = {
    scenario.name: scenario
    for scenario in (EDGES, BENCH, CONSOLE, EXPERTS, GUARDED, NOISY, PIPELINE, PLUGINS, READINGS, SHARES, SWARM)
}


def built_in(name: str) -> Scenario | None:
    """The built-in scenario of this name, the unlisted ones included, or None."""
    return SCENARIOS.get(name) or _UNLISTED.get(name)


def names() -> tuple[str, ...]:
    """All of them, the listed ones first."""
    return (*SCENARIOS, *_UNLISTED)
