"""Selection of the tick's agents in one total order (SCH-1, SCH-2, SCH-3, SCH-4).

The policies starve nobody. `round_robin` goes on after the agent that ran last: a ready agent waits at most
ceil(agents / max_tasks_per_tick) ticks, a round. `priority` orders by (ready since + priority x AGING): an agent is
overtaken only by those ready at most `priority x AGING` ticks after it, which bounds its wait by that much plus one
round. `dag` orders by the tasks that agents have: level in the graph, then priority, then sequence; agents without one
come after them. Whoever has been ready for a round comes before all others, which bounds the wait by two rounds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection

from msgspec import UNSET

from runtime import tasks, tenants
from runtime.journal import Event
from runtime.state import ACTIVE, STARTING, AgentState, State

AGING = 4
MAX_PRIORITY = 7
POLICIES = ("round_robin", "priority", "dag")


def ready(agent: AgentState) -> bool:
    return agent.phase == STARTING or (agent.phase == ACTIVE and bool(agent.mailbox))


def wait_bound(agents: int, max_tasks: int, policy: str) -> int:
    """Ticks within which a ready agent runs."""
    rounds = -(-agents // max_tasks)
    aging = MAX_PRIORITY * AGING if policy == "priority" else 0
    return rounds if policy == "round_robin" else rounds * 2 + aging


def select(state: State, events: list[Event], busy: Collection[int] = ()) -> list[int]:
    """The agents that run in this tick, in the order in which their steps are committed; `busy` ones have a turn."""
    config = state.config
    assert config is not None
    agents, candidates = state.agents, []
    for index, agent in enumerate(agents):
        if (agent.phase == ACTIVE and agent.mailbox) or agent.phase == STARTING:
            candidates.append(index)
    alone = config.tenants is UNSET and config.policy == "round_robin"
    if busy or not alone or len(candidates) > config.max_tasks_per_tick:  # else nobody waits, or has to be compared
        _note(state, candidates)
    if busy:
        candidates = [index for index in candidates if index not in busy]
    if config.policy == "round_robin":
        turn = bisect_left(candidates, state.cursor)
        ordered = candidates[turn:] + candidates[:turn]
    elif config.policy == "dag":
        round_ = -(-len(agents) // config.max_tasks_per_tick)
        ordered = sorted(candidates, key=lambda i: _rank(state, i, round_))
    else:
        ordered = sorted(candidates, key=lambda i: (_deadline(state.agents[i]), i))
    if config.tenants is not UNSET:
        chosen = tenants.share(state, config, ordered, events)
    else:
        chosen = ordered[: config.max_tasks_per_tick]
    if config.tenants is UNSET and chosen and len(chosen) < len(ordered):
        state.cursor = (chosen[-1] + 1) % len(state.agents)
    for index in chosen:
        if agents[index].ready_since >= 0:
            agents[index].ready_since = -1
    return chosen


def _note(state: State, candidates: list[int]) -> None:
    """Since when each of them has been ready."""
    for index in candidates:
        agent = state.agents[index]
        if agent.ready_since < 0:
            agent.ready_since = state.tick


def _deadline(agent: AgentState) -> int:
    return agent.ready_since + max(0, min(agent.spec.priority, MAX_PRIORITY)) * AGING


def _rank(state: State, index: int, round_: int) -> tuple[int, ...]:
    since = state.agents[index].ready_since
    if state.tick - since >= round_:
        return 0, since, index
    mine = tasks.rank(state, index)
    return (2, index) if mine is None else (1, *mine)
