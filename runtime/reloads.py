"""Hot reload, as the state sees it (WAS-7): an operator's input, a step of its own, a new version or none.

Each step is served wholly by one version: the reload takes the agent's turn in its tick, and what comes later is the
new module's. When the step fails for whatever reason (a load check, a trap, a code, fuel, a layout that does not fit, a
decree), nothing but its record remains: the agent keeps its module, its state, its mail, and its place in supervision.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET
from msgspec.structs import replace

from runtime.journal import Event
from runtime.state import ACTIVE, PAUSED, TERMINATED, Change, Reload, State, StepRecord

FIRST = 1  # the version of a module that no reload has brought
VERSION_MAX = (1 << 31) - 1  # the module gets the version before as an i32


def admit(state: State, action: Reload, changes: dict[int, Change], events: list[Event]) -> None:
    """One reload for each agent and tick, of whoever has not ended; any other is refused on record, by name."""
    index, config = action.agent, state.config
    agent = state.agents[index] if 0 <= index < len(state.agents) else None
    why = agent.phase if agent else "unknown"
    if agent and agent.phase != TERMINATED:
        why = "reloading" if index in changes else "version" if not 0 <= action.version <= VERSION_MAX else ""
        if config is not None and state.tick >= config.last_tick:
            why = "closing"
    if why or agent is None:
        events.append(("illegal", index, "reload", why))
        return
    spec = replace(agent.spec, module=action.module)
    before = agent.version if agent.version is not UNSET else FIRST
    changes[index] = Change(spec, action.version, before, agent.phase in (ACTIVE, PAUSED))


def dropped(index: int, changes: dict[int, Change], events: list[Event]) -> None:
    """The agent was terminated in the tick of its reload."""
    del changes[index]
    events.append(("illegal", index, "reload", TERMINATED))


def changing(records: list[StepRecord], changes: Mapping[int, Change]) -> list[StepRecord]:
    """The records of the reloads, each with its change; what migrates writes no buffer."""
    return [replace(record, change=changes[record.agent], grants=()) for record in records]


def done(state: State, index: int, change: Change, events: list[Event]) -> None:
    agent = state.agents[index]
    agent.spec, agent.version = change.spec, change.version
    events.append(("reloaded", index, change.before, change.version))


def rolled_back(record: StepRecord, change: Change, status: str, events: list[Event]) -> None:
    events.append(("rolled_back", record.agent, change.version, status))
