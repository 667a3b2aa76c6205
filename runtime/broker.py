"""Delivery: every message goes through here and is delivered, refused or dropped on record.

A message's number comes from its sender's own count: one agent's failure shows in no other agent's envelopes. Order of
commit is order of delivery, so senders are FIFO and all subscribers of a topic see one order (MSG-1..3). Mailboxes are
bounded; control messages use room reserved beyond the bound: at most one refusal per effect call of a sender's step
(`send_limit` of them), the results of its open requests (one per model), one reading per source,
and one wake. What lies in the mailbox of an
agent that is gone is dropped on record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from msgspec import UNSET

from runtime import tenants
from runtime.guards import NONE, Guards
from runtime.journal import Event
from runtime.state import (
    ACTIVE,
    E_FULL,
    E_INVALID,
    GONE,
    INFERENCE,
    INPUT,
    MESSAGE,
    OK,
    OUTSIDE,
    READING,
    REFUSED,
    TOPIC,
    WAKE,
    AgentState,
    Config,
    Effect,
    Message,
    State,
    StepRecord,
    sequence,
)


def take_sequence(state: State, sender: int = OUTSIDE) -> int:
    if sender == OUTSIDE:
        state.outside += 1
        return state.outside
    agent = state.agents[sender]
    agent.sent += 1
    return sequence(sender, agent.sent)


def deliver(
    state: State,
    target: int,
    message: Message,
    sender: int,
    events: list[Event],
    told: bool = False,
    guards: Guards = NONE,
) -> bool:
    """Put a message into the target's mailbox, else record why not; whether the agent that sent it has been `told`."""
    if not 0 <= target < len(state.agents):
        events.append(("refused", message.seq, sender, target))
        return told
    agent = state.agents[target]
    if agent.phase in GONE:
        events.append(("dropped", message.seq, target))
        return told
    assert state.config is not None
    crowded = state.config.tenants is not UNSET and tenants.crowded(state, sender, target)
    status = E_FULL if crowded or full(agent, state.config) else OK
    if not status and agent.spec.guard:  # a full mailbox costs no validator's time
        reason = guards.refuses(state, agent.spec.guard, message.seq, message.payload)
        if reason:
            status = E_INVALID
            events.append(("invalid", message.seq, target, reason))
    if status:
        events.append(("refused", message.seq, sender, target))
        if sender == OUTSIDE or told:
            return told
        deliver_control(state.agents[sender], Message(message.seq, REFUSED, target, status, message.payload))
        return True
    agent.mailbox.append(message)
    return told


def full(agent: AgentState, config: Config) -> bool:
    return len(agent.mailbox) - agent.reserved >= config.mailbox


def bar(state: State, sender: int, status: int, payload: bytes, events: list[Event]) -> None:
    """An agent's message that is refused as a whole, before there is any copy of it; the agent is told why."""
    number = take_sequence(state, sender)
    events.append(("refused_message", number, sender, status))
    deliver_control(state.agents[sender], Message(number, REFUSED, OUTSIDE, status, payload))


def deliver_control(agent: AgentState, message: Message) -> None:
    """A message in reserved room: refusals, results and wakes."""
    agent.mailbox.append(message)
    agent.reserved += 1


def deliver_task(state: State, index: int, payload: bytes, events: list[Event], guards: Guards = NONE) -> None:
    """A scheduled task that is due; it counts against the mailbox as messages do, and is guarded as they are."""
    assert state.config is not None
    agent = state.agents[index]
    if full(agent, state.config):
        refuse_task(index, payload, events)
    elif agent.spec.guard and (reason := guards.refuses(state, agent.spec.guard, state.tick, payload)):
        events.append(("invalid_task", index, _name(payload), reason))
        refuse_task(index, payload, events)
    else:
        agent.mailbox.append(Message(0, WAKE, OUTSIDE, 0, payload))


def refuse_task(index: int, payload: bytes, events: list[Event]) -> None:
    """A task has no number of its own: the record names it by its payload."""
    events.append(("refused_task", index, _name(payload)))


def discard(state: State, index: int, events: list[Event]) -> None:
    """The agent is gone: what it has not read is dropped, each message on record by what it was."""
    agent = state.agents[index]
    for message in agent.mailbox:
        if message.kind == WAKE:
            events.append(("dropped_wake", index, _name(message.payload)))
        elif message.kind == REFUSED:
            events.append(("dropped_refusal", message.seq, index))
        elif message.kind in (INFERENCE, READING):
            events.append(("dropped_result", message.seq, index))
        else:
            events.append(("dropped", message.seq, index))
    agent.mailbox = []
    agent.reserved = 0


def _name(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()[:16]


def send(
    state: State, sender: int, target: int, payload: bytes, events: list[Event], kind: int, guards: Guards = NONE
) -> int:
    """One message; its number."""
    number = take_sequence(state, sender)
    deliver(state, target, Message(number, kind, sender, 0, payload), sender, events, False, guards)
    return number


def send_effects(
    state: State,
    record: StepRecord,
    effects: Iterable[Effect],
    events: list[Event],
    guards: Guards,
    other: Callable[[State, StepRecord, Effect, list[Event], Guards], int],
) -> int:
    """What an agent's step did, in call order: its messages here, all else by `other`; how many messages these were.

    The way of nearly every message, in one function; what is not plain goes on in `deliver`.
    """
    assert state.config is not None
    agents, box = state.agents, state.config.mailbox
    sender = record.agent
    known, agent, first = len(agents), agents[sender], (sender + 1) << 32
    messages = 0
    for effect in effects:
        if effect.op != "send":
            messages += other(state, record, effect, events, guards)
            continue
        messages += 1
        agent.sent = count = agent.sent + 1
        target = effect.target
        message = Message(first | count, MESSAGE, sender, 0, effect.payload)
        if 0 <= target < known:
            receiver = agents[target]
            if receiver.phase == ACTIVE and len(receiver.mailbox) < box and not receiver.spec.guard:
                receiver.mailbox.append(message)
                continue
        deliver(state, target, message, sender, events, False, guards)
    return messages


def publish(state: State, sender: int, topic: int, payload: bytes, events: list[Event], guards: Guards = NONE) -> int:
    """One sequence number, one copy for each subscriber in order of subscription; one refusal at most comes back."""
    number = take_sequence(state, sender)
    message = Message(number, TOPIC, sender, topic, payload)
    told = False
    for subscriber in state.subscribers[topic]:
        told = deliver(state, subscriber, message, sender, events, told, guards)
    return number


def send_input(state: State, target: int, payload: bytes, events: list[Event], guards: Guards = NONE) -> None:
    """A message from outside; one that is too long, or that the run's guard does not find valid, is refused."""
    if admits(state, payload, target, events, guards):
        send(state, OUTSIDE, target, payload, events, INPUT, guards)
    else:
        events.append(("refused", take_sequence(state), OUTSIDE, target))


def admits(state: State, payload: bytes, target: int, events: list[Event], guards: Guards) -> bool:
    """Whether a payload from outside may enter; it has the number that would be given next."""
    config = state.config
    assert config is not None
    if len(payload) > config.max_payload:
        return False
    number = state.outside + 1
    reason = guards.refuses(state, config.guard, number, payload) if config.guard else ""
    if reason:
        events.append(("invalid", number, target, reason))
    return not reason


def publish_input(state: State, topic: int, payload: bytes, events: list[Event], guards: Guards = NONE) -> None:
    """A publication from outside; to an unknown topic, or too long, it is refused on record: each copy by its name."""
    assert state.config is not None
    known = 0 <= topic < len(state.config.topics)  # nobody outside is a member of a channel
    if known and admits(state, payload, topic, events, guards):
        publish(state, OUTSIDE, topic, payload, events, guards)
        return
    number = take_sequence(state)
    copies = (state.subscribers[topic] if known else ()) or (topic,)
    events += [("refused", number, OUTSIDE, target) for target in copies]


def subscribe(state: State, agent: int, topic: int) -> None:
    if agent not in state.subscribers[topic]:
        state.subscribers[topic].append(agent)


def unsubscribe(state: State, agent: int, topic: int) -> None:
    if agent in state.subscribers[topic]:
        state.subscribers[topic].remove(agent)
