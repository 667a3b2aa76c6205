"""The life of an agent: which transitions exist, and their record (ORC-2). All happen at a tick boundary."""

from __future__ import annotations

from runtime import broker, requests, tasks
from runtime.journal import Event
from runtime.state import ACTIVE, BACKOFF, PAUSED, QUARANTINED, STARTING, TERMINATED, AgentState, State

ALLOWED = {
    STARTING: (ACTIVE, BACKOFF, QUARANTINED, TERMINATED),
    ACTIVE: (PAUSED, BACKOFF, QUARANTINED, TERMINATED),
    PAUSED: (ACTIVE, BACKOFF, QUARANTINED, TERMINATED),
    BACKOFF: (STARTING, QUARANTINED, TERMINATED),
    QUARANTINED: (STARTING, TERMINATED),
    TERMINATED: (),
}
ACTIONS = {"pause": PAUSED, "resume": ACTIVE, "terminate": TERMINATED, "release": STARTING}
_FROM = {"pause": (ACTIVE,), "resume": (PAUSED,), "terminate": tuple(ALLOWED), "release": (QUARANTINED,)}


def move(index: int, agent: AgentState, phase: str, events: list[Event]) -> None:
    assert phase in ALLOWED[agent.phase], f"{agent.phase} -> {phase}"
    events.append(("lifecycle", index, agent.phase, phase))
    agent.phase = phase


def operate(state: State, index: int, action: str, events: list[Event]) -> None:
    """An operator's action; an illegal one is refused on record, by name.

    A terminated agent's mail, sessions and open requests are dropped on record.
    """
    phase = state.agents[index].phase if 0 <= index < len(state.agents) else "unknown"
    if action not in ACTIONS or phase not in _FROM[action] or phase == TERMINATED:
        events.append(("illegal", index, action, phase))
        return
    agent = state.agents[index]
    if action == "release":
        agent.restarts = []
        agent.life += 1
    move(index, agent, ACTIONS[action], events)
    if agent.phase == TERMINATED:
        requests.forget(state, index, events)
        broker.discard(state, index, events)
        tasks.gone(state, index, events)
