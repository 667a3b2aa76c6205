"""Supervision, one_for_one (ORC-3): a failed agent restarts alone, from `agent_init`, in a fresh instance.

At most `max_restarts` in any `window_ticks`, then it is quarantined until an operator releases it. Losing a worker
never comes here: that is physical.
"""

from __future__ import annotations

from runtime import lifecycle
from runtime.journal import Event
from runtime.state import BACKOFF, QUARANTINED, STARTING, AgentState, Config


def failed(index: int, agent: AgentState, reason: str, tick: int, config: Config, events: list[Event]) -> None:
    events.append(("failed", index, reason))
    agent.wakes = []
    agent.restarts = [at for at in agent.restarts if at > tick - config.window_ticks]
    if len(agent.restarts) >= config.max_restarts:
        lifecycle.move(index, agent, QUARANTINED, events)
        events.append(("quarantined", index))
        return
    agent.restarts.append(tick)
    agent.restart_at = tick + max(1, config.backoff_ticks)
    lifecycle.move(index, agent, BACKOFF, events)


def restart_due(index: int, agent: AgentState, tick: int, events: list[Event]) -> None:
    if agent.phase == BACKOFF and agent.restart_at <= tick:
        agent.restart_at = -1
        agent.life += 1
        lifecycle.move(index, agent, STARTING, events)
        events.append(("restart", index, agent.life))
