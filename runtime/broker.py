"""Delivery: every message goes through here and is delivered, refused or dropped on record.

A message's number comes from its sender's own count: one agent's failure shows in no other agent's envelopes. Order of
commit is order of delivery, so senders are FIFO and all subscribers of a topic see one order (MSG-1..3). Mailboxes are
bounded; control messages use room reserved beyond the bound, as a sender has at most `send_limit` of them coming.
"""

from __future__ import annotations

from runtime.journal import Event
from runtime.state import E_FULL, GONE, MESSAGE, OUTSIDE, REFUSED, TOPIC, AgentState, Message, State, sequence


def next_sequence(state: State, sender: int) -> int:
    """The number that the sender's next message will have."""
    return sequence(sender, (state.outside if sender == OUTSIDE else state.agents[sender].sent) + 1)


def take_sequence(state: State, sender: int = OUTSIDE) -> int:
    number = next_sequence(state, sender)
    if sender == OUTSIDE:
        state.outside += 1
    else:
        state.agents[sender].sent += 1
    return number


def deliver(state: State, target: int, message: Message, sender: int, events: list[Event]) -> bool:
    """Put a message into the target's mailbox; else record why not, and tell the agent that sent it."""
    if not 0 <= target < len(state.agents):
        events.append(("refused", message.seq, sender, target))
        return False
    agent = state.agents[target]
    if agent.phase in GONE:
        events.append(("dropped", message.seq, target))
        return False
    assert state.config is not None
    if len(agent.mailbox) - agent.reserved >= state.config.mailbox:
        events.append(("refused", message.seq, sender, target))
        if sender != OUTSIDE:
            deliver_control(state.agents[sender], Message(message.seq, REFUSED, target, E_FULL, message.payload))
        return False
    agent.mailbox.append(message)
    return True


def deliver_control(agent: AgentState, message: Message) -> None:
    """A message in reserved room: refusals, wakes and tasks."""
    agent.mailbox.append(message)
    agent.reserved += 1


def send(state: State, sender: int, target: int, payload: bytes, events: list[Event], kind: int = MESSAGE) -> int:
    number = take_sequence(state, sender)
    deliver(state, target, Message(number, kind, sender, 0, payload), sender, events)
    return number


def publish(state: State, sender: int, topic: int, payload: bytes, events: list[Event]) -> int:
    """One sequence number, one copy for each subscriber in order of subscription."""
    number = take_sequence(state, sender)
    message = Message(number, TOPIC, sender, topic, payload)
    for subscriber in state.subscribers[topic]:
        deliver(state, subscriber, message, sender, events)
    return number


def publish_input(state: State, topic: int, payload: bytes, events: list[Event]) -> None:
    """A publication from outside; to an unknown topic it is refused on record."""
    if 0 <= topic < len(state.subscribers):
        publish(state, OUTSIDE, topic, payload, events)
    else:
        events.append(("refused", take_sequence(state), OUTSIDE, topic))


def join(state: State, agent: int, topic: int, events: list[Event]) -> None:
    """An operator's subscription of an agent; an impossible one is refused on record."""
    if 0 <= agent < len(state.agents) and 0 <= topic < len(state.subscribers):
        subscribe(state, agent, topic)
    else:
        events.append(("illegal", agent, "join", topic))


def subscribe(state: State, agent: int, topic: int) -> None:
    if agent not in state.subscribers[topic]:
        state.subscribers[topic].append(agent)


def unsubscribe(state: State, agent: int, topic: int) -> None:
    if agent in state.subscribers[topic]:
        state.subscribers[topic].remove(agent)
