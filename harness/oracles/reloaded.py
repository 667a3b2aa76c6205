"""I36, hot reload atomicity: each crossing is wholly the old or the new version's, and a rollback leaves all as it was.

The journal says which version an agent has in which tick: its spawn, the reloads that were asked for, and how their
steps ended. The guest log says of which module each crossing's instance was made, repeated and replayed ones included,
and which state a reload was given and the agent's next crossing met. Against: a switch half-way, a rollback that
forgets, steps of the old version replayed by the new one, a reload without a record.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from harness.history import GuestEvent
from harness.oracles.flows import place
from harness.oracles.judged import CUT_SHORT, Judged
from harness.oracles.reading import Block, Step
from harness.oracles.verdict import Unjudged

_ASKED = b'"do":"reload"'
_MIGRATES = b"agent_migrate"  # the export's name, as it stands in a module's bytes


class _Versions(Struct):
    """One agent's modules: `since` are (tick, module), each in force from the tick after; `ends` of its reloads.

    `ends` are tick -> (module asked for, status), `ticks` those of all its steps, in order; in those of `taken` a new
    version took a state over. `alive` says whether it has one.
    """

    since: list[tuple[int, str]]
    number: int = 1
    alive: bool = False
    ends: dict[int, tuple[str, str]] = {}
    taken: list[int] = []
    ticks: list[int] = []

    def at(self, tick: int, kind: str) -> str:
        """The module that must serve a crossing of this kind in this tick."""
        if kind == "reload" and tick in self.ends:
            return self.ends[tick][0]
        return next(module for since, module in reversed(self.since) if since < tick)


def tried(run: Judged) -> bool:
    """Whether any reload was asked for."""
    return _ASKED in run.history.journal


def atomic(run: Judged) -> list[str]:
    """I36: no crossing by another version than the journal's, no rollback that leaves another state, each on record."""
    if not run.crossings:
        raise Unjudged("there is no guest log")
    account = _Account()
    for block in run.journal.blocks:
        account.block(block)
    return account.found + _served(run, account.agents) + _states(run, account.agents)


class _Account:
    """The journal, block by block."""

    def __init__(self) -> None:
        self.agents: dict[int, _Versions] = {}
        self.found: list[str] = []

    def block(self, block: Block) -> None:
        illegal = [event for event in map(tuple, block.events) if event[0] == "illegal"]
        asked: dict[int, list[dict[str, Any]]] = {}
        for item in block.inputs:
            action = item["action"]
            if action["do"] == "spawn" and any(e[2:4] == ("spawn", action["spec"]["name"]) for e in illegal):
                continue
            if action["do"] == "spawn":
                self.agents[len(self.agents)] = _Versions([(-1, action["spec"]["module"])])
            elif action["do"] == "reload" and 0 <= action["version"] < 1 << 31:
                asked.setdefault(action["agent"], []).append(action)
        told = [event for event in map(tuple, block.events) if event[0] in ("reloaded", "rolled_back")]
        due: list[tuple[Any, ...]] = []
        for step in block.steps:
            versions = self.agents.get(step.agent)
            if versions is None:
                continue
            versions.ticks.append(block.tick)
            if step.kind != "reload":
                versions.alive = step.status == "ok"
            else:
                due.append(self._step(block, step, versions, asked.get(step.agent, [])))
        if told != due:
            self.found.append(f"block {block.block}: its reloads ended as {due}, its events say {told}")
        for agent, actions in asked.items():
            refused = sum(event[1:3] == (agent, "reload") and event[3] != "version" for event in illegal)
            steps = sum(step.agent == agent and step.kind == "reload" for step in block.steps)
            if refused + steps != len(actions) or steps > 1:
                what = f"{len(actions)} reloads of agent {agent} asked for, {steps} done or rolled back"
                self.found.append(f"block {block.block}: {what}, {refused} refused")

    def _step(self, block: Block, step: Step, versions: _Versions, asked: list[dict[str, Any]]) -> tuple[Any, ...]:
        if not asked:
            self.found.append(f"{place(step.at)}: a reload of agent {step.agent} that no input asks for")
            return ("unasked",)
        action, before = asked[0], versions.number
        versions.ends[block.tick] = action["module"], step.status
        if step.status != "ok":
            return "rolled_back", step.agent, action["version"], step.status
        versions.since.append((block.tick, action["module"]))
        if versions.alive:
            versions.taken.append(block.tick)
        versions.number = action["version"]
        return "reloaded", step.agent, before, action["version"]


def _served(run: Judged, agents: dict[int, _Versions]) -> list[str]:
    found = []
    for index, event in enumerate(run.history.guests):
        versions = agents.get(event.agent)
        if versions is None or not event.module:
            raise Unjudged(f"guest event {index} has no record of its agent or its module")
        due = versions.at(event.tick, event.kind)
        if event.module != due:
            what = f"agent {event.agent}'s {event.kind} of tick {event.tick} is served by {event.module[:12]}"
            found.append(f"guest event {index}: {what}, not by {due[:12]}")
    for agent, versions in agents.items():
        for tick in versions.taken:
            if (tick, agent, "reload") not in run.executions:
                found.append(f"tick {tick}: agent {agent} is reloaded, and its state was given to no new version")
    return found


def _states(run: Judged, agents: dict[int, _Versions]) -> list[str]:
    """A state that was carried over as it is, or that a failed reload had to leave as it was, in the next crossing."""
    found, given = [], dict[tuple[int, int], tuple[int, GuestEvent]]()
    for index, event in enumerate(run.history.guests):
        place_ = event.worker, event.agent
        if event.kind == "reload":
            given[place_] = index, event
            continue
        before = given.pop(place_, None)
        if before is None or not event.state or not _next_of(agents[event.agent], before[1].tick, event.tick):
            continue
        _, reload = before
        if _kept(run, reload) and event.state != reload.state:
            what = f"agent {event.agent} goes on with another state than guest event {before[0]} was given"
            found.append(f"guest event {index}: {what}, and that reload ended as {reload.status}")
    return found


def _next_of(versions: _Versions, reload: int, tick: int) -> bool:
    """Whether this tick is the agent's next after that of its reload."""
    return next((one for one in versions.ticks if one > reload), -1) == tick


def _kept(run: Judged, reload: GuestEvent) -> bool:
    """Whether the state after this reload must be the one before it."""
    if reload.status in CUT_SHORT:
        return False
    return reload.status != "ok" or _MIGRATES not in run.modules.get(reload.module, _MIGRATES)
