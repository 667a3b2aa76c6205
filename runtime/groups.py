"""Supervision of groups as OTP's supervisors do it: one_for_one, one_for_all, rest_for_one (ORC-3).

The children of a group are its agents, then the groups within it, each in the order declared. A child that fails is
restarted: alone, with all others, or with those after it. Beyond `max_restarts` in `window_ticks` the group itself has
failed and is a failed child of the one around it; the outermost is quarantined, all of it, until an operator releases
its agents. One failure counts once, and of those that one restart covers none counts in the same tick. Guards against
siblings that go on with what a failed one had told them, and against restarts without an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import UNSET

from runtime import broker, lifecycle, requests, tasks
from runtime.journal import Event
from runtime.state import BACKOFF, GONE, QUARANTINED, TERMINATED, Config, Group, State

ONE_FOR_ONE, ONE_FOR_ALL, REST_FOR_ONE = STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")


def problems(groups: tuple[Group, ...]) -> list[str]:
    """What is wrong with the groups beside their numbers."""
    found: list[str] = []
    names: list[str] = []
    owner: dict[int, str] = {}
    for index, group in enumerate(groups):
        where = f"groups[{index}]."
        if group.name in names or not group.name:
            found.append(f"{where}name: {group.name!r} is {'there twice' if group.name else 'no name'}")
        if group.strategy not in STRATEGIES:
            found.append(f"{where}strategy: {group.strategy!r} is unknown, use one of {', '.join(STRATEGIES)}")
        if group.within and group.within not in names:
            found.append(f"{where}within: no group {group.within!r} is declared before this one")
        for agent in group.agents:
            if agent in owner:
                found.append(f"{where}agents: agent {agent} is in group {owner[agent]!r} already")
            owner[agent] = group.name
        names.append(group.name)
    return found


def of(config: Config, agent: int) -> int | None:
    """The place of the agent's group, None for one that is supervised alone."""
    if config.groups is UNSET:
        return None
    return next((place for place, group in enumerate(config.groups) if agent in group.agents), None)


def settle(state: State, failures: Iterable[int], tick: int, events: list[Event]) -> None:
    """Supervise the grouped agents among those whose steps have failed in this tick, in the order of their steps."""
    config = state.config
    assert config is not None
    if config.groups is UNSET:
        return
    if state.restarts is UNSET:
        state.restarts = [[] for _ in config.groups]
    covered: list[int] = []
    for agent in failures:
        place = of(config, agent)
        if place is None or agent in covered or state.agents[agent].phase in GONE:
            continue
        covered += _failed(state, config.groups, state.restarts, place, agent, tick, events)


def _failed(
    state: State,
    groups: tuple[Group, ...],
    restarts: list[list[int]],
    place: int,
    agent: int,
    tick: int,
    events: list[Event],
) -> list[int]:
    """One failure, from the agent's group outwards until a group has a restart left; the agents that it stopped."""
    child: int | Group = agent
    while True:
        group = groups[place]
        restarts[place] = [at for at in restarts[place] if at > tick - group.window_ticks]
        if len(restarts[place]) < group.max_restarts:
            restarts[place].append(tick)
            events.append(("group_restart", group.name, group.strategy, agent))
            victims = []
            for one in _children(groups, group, child):
                if isinstance(one, Group):
                    _anew(groups, restarts, one)
                victims += list(_agents(groups, one))
            for victim in victims:
                _restart(state, victim, agent, tick + max(1, group.backoff_ticks), events)
            return victims
        events.append(("escalated", group.name, agent))
        restarts[place] = []
        if not group.within:
            _anew(groups, restarts, group)
            victims = list(_agents(groups, group))
            for victim in victims:
                _quarantine(state, victim, events)
            return victims
        child = group
        place = next(index for index, one in enumerate(groups) if one.name == group.within)


def _children(groups: tuple[Group, ...], group: Group, child: int | Group) -> list[int | Group]:
    """The children of the group that are restarted when `child` has failed, in order."""
    every: list[int | Group] = [*group.agents, *(one for one in groups if one.within == group.name)]
    if group.strategy == ONE_FOR_ALL:
        return every
    return [child] if group.strategy == ONE_FOR_ONE else every[every.index(child) :]


def _agents(groups: tuple[Group, ...], child: int | Group) -> Iterator[int]:
    """A child's agents in order; groups are declared before those within them, so one pass finds all."""
    if isinstance(child, int):
        yield child
        return
    inside = [child.name]
    for group in groups:
        if group.name in inside or group.within in inside:
            inside.append(group.name)
            yield from group.agents


def _anew(groups: tuple[Group, ...], restarts: list[list[int]], group: Group) -> None:
    """A group that is started again has all its restarts before it, and so have those within."""
    inside = [group.name]
    for place, one in enumerate(groups):
        if one.name in inside or one.within in inside:
            inside.append(one.name)
            restarts[place] = []


def _restart(state: State, index: int, failed: int, at: int, events: list[Event]) -> None:
    """End this life; the next one begins at tick `at`. A pause ends with the life, quarantine does not."""
    agent = state.agents[index]
    if agent.phase in GONE:
        return
    agent.wakes = []
    agent.restart_at = at
    if index != failed:
        requests.forget(state, index, events)
        tasks.restarted(state, index, events)
    if agent.phase != BACKOFF:
        lifecycle.move(index, agent, BACKOFF, events)


def _quarantine(state: State, index: int, events: list[Event]) -> None:
    agent = state.agents[index]
    if agent.phase in (QUARANTINED, TERMINATED):
        return
    agent.wakes = []
    agent.restart_at = -1
    lifecycle.move(index, agent, QUARANTINED, events)
    events.append(("quarantined", index))
    requests.forget(state, index, events)
    broker.discard(state, index, events)
    tasks.gone(state, index, events)
