"""Channels: messages among members, in one order for all of them (MSG-1, MSG-3).

A channel is a topic with a membership. Only members post; every other member gets the post, in the order in which posts
are committed; nobody else does, the outside neither. Who is a member is decided at the post's own place in that order:
who joined before it gets it, who left before it does not. A post of someone who is no member comes back with E_MEMBER.
A membership belongs to the agent and outlasts its lives; a closed channel is joined by an operator's action alone.
Numbers go on from the topics', so agents post, join and leave with the functions that topics have.
"""

from __future__ import annotations

from runtime import broker
from runtime.guards import NONE, Guards
from runtime.journal import Event
from runtime.state import E_MEMBER, TOPIC, Config, Join, Leave, Message, State


def members_at_start(config: Config) -> list[list[int]]:
    """Who gets what is sent to each topic, nobody yet, and to each channel."""
    return [[] for _ in config.topics] + [list(channel.members) for channel in config.channels or ()]


def publish(state: State, sender: int, target: int, payload: bytes, events: list[Event], guards: Guards = NONE) -> None:
    """An agent's publication on a topic, or its post in a channel."""
    assert state.config is not None
    if target < len(state.config.topics):
        broker.publish(state, sender, target, payload, events, guards)
    elif sender not in state.subscribers[target]:
        broker.bar(state, sender, E_MEMBER, payload, events)
    else:
        _post(state, sender, target, payload, events, guards)


def receivers(state: State, sender: int, target: int) -> int:
    """How many copies a publication on a topic or a post in a channel would have now."""
    assert state.config is not None
    members = state.subscribers[target]
    if target < len(state.config.topics):
        return len(members)
    return len(members) - 1 if sender in members else 0


def _post(state: State, sender: int, channel: int, payload: bytes, events: list[Event], guards: Guards) -> None:
    """One number, one copy for each other member in order of joining; one refusal at most comes back."""
    message = Message(broker.take_sequence(state, sender), TOPIC, sender, channel, payload)
    told = False
    for member in state.subscribers[channel]:
        if member != sender:
            told = broker.deliver(state, member, message, sender, events, told, guards)


def subscribe(state: State, agent: int, target: int, events: list[Event]) -> None:
    """An agent subscribes to a topic or joins a channel itself; a closed channel refuses it on record."""
    assert state.config is not None
    place = target - len(state.config.topics)
    if place >= 0 and (state.config.channels or ())[place].closed and agent not in state.subscribers[target]:
        events.append(("refused_join", agent, target))
    else:
        broker.subscribe(state, agent, target)


def operate(state: State, action: Join | Leave, events: list[Event]) -> None:
    """An operator begins or ends a membership or a subscription; what cannot be is refused on record."""
    agent, target = action.agent, action.topic
    exist = 0 <= agent < len(state.agents) and 0 <= target < len(state.subscribers)
    if exist and isinstance(action, Join):
        broker.subscribe(state, agent, target)
    elif exist and agent in state.subscribers[target]:
        broker.unsubscribe(state, agent, target)
    else:
        events.append(("illegal", agent, "join" if isinstance(action, Join) else "leave", target))
