"""Inference as logical state: requests, sessions with their KV caches, results at the tick that was promised (INF-1).

A request is an effect; its result is delivered `delay_ticks` later, and that tick waits for it: latency is absorbed by
time, never by order. A result is admitted like an input and journaled with what it adds to the KV cache, so a replay
needs no device. A session and its requests belong to one life of an agent and end with it.
"""

from __future__ import annotations

import struct

from msgspec import UNSET

from runtime import broker, reads
from runtime.errors import FailStop
from runtime.journal import Event
from runtime.state import (
    E_FULL,
    E_SIZE,
    INFERENCE,
    OUTSIDE,
    REFUSED,
    Inference,
    Message,
    Request,
    Session,
    State,
    StepRecord,
)

RESTART = 1  # flag of a request: forget the session's tokens first
RESULT = struct.Struct("<II")  # token, tokens in the session now


def request(state: State, record: StepRecord, model: int, payload: bytes, events: list[Event]) -> None:
    """Admit an agent's request: flags u32, then the tokens to append, u32 each, little-endian.

    Refused on record, and to the agent as a control message: E_SIZE for a malformed one, an unknown token or a
    session that would outgrow the model's context; E_FULL while an earlier request of the session is unanswered.
    """
    assert state.config is not None
    agent = state.agents[record.agent]
    number = broker.take_sequence(state, record.agent)
    spec = state.config.models[model]
    flags, tokens = _parse(payload)
    session = session_of(state, record.agent, model)
    held = 0 if session is None or flags & RESTART else session.tokens
    status = 0
    if any(r.agent == record.agent and r.model == model for r in state.requests):
        status = E_FULL
    elif not tokens or flags > RESTART or max(tokens) >= spec.vocabulary or held + len(tokens) > spec.context:
        status = E_SIZE
    if status:
        events.append(("refused_request", number, record.agent, model, status))
        broker.deliver_control(agent, Message(number, REFUSED, OUTSIDE, status, payload))
        return
    if session is None:
        session = Session(record.agent, model)
        state.sessions.append(session)
        state.sessions.sort(key=lambda s: (s.agent, s.model))
    if flags & RESTART:
        session.tokens, session.kv = 0, b""
    due = record.tick + max(1, spec.delay_ticks)
    state.requests.append(Request(number, record.agent, agent.life, model, due, held, tokens))


def _parse(payload: bytes) -> tuple[int, tuple[int, ...]]:
    if len(payload) < 8 or len(payload) % 4:
        return 0, ()
    words = struct.unpack(f"<{len(payload) // 4}I", payload)
    return words[0], words[1:]


def session_of(state: State, agent: int, model: int) -> Session | None:
    return next((s for s in state.sessions if s.agent == agent and s.model == model), None)


def due(state: State, tick: int) -> list[Request]:
    """The requests whose results are delivered in this tick, in order of admission."""
    return [r for r in state.requests if r.due <= tick]


def still_wanted(state: State, asked: list[Request], results: tuple[Inference, ...]) -> tuple[Inference, ...]:
    """The results without those of requests that were open when they were `asked` for and have been dropped since."""
    kept = {request.id for request in state.requests}  # membership only, never iterated
    dropped = {request.id for request in asked if request.id not in kept}  # likewise
    return tuple(result for result in results if result.request not in dropped)


def deliver(state: State, tick: int, results: tuple[Inference, ...]) -> None:
    """Apply the results of all requests that are due: extend the sessions, tell the agents, paused ones as well."""
    assert state.config is not None
    waiting = due(state, tick)
    if [r.id for r in waiting] != [result.request for result in results]:
        raise FailStop("inference", f"tick {tick} needs {len(waiting)} results in order of request", "admission")
    for one, result in zip(waiting, results, strict=True):
        spec = state.config.models[one.model]
        if len(result.kv) != spec.kv_bytes * len(one.tokens) or not 0 <= result.token < spec.vocabulary:
            raise FailStop("inference", f"the result of request {one.id} has another shape", f"tick {tick}")
        agent = state.agents[one.agent]
        session = session_of(state, one.agent, one.model)
        if session is None:
            raise FailStop("inference", f"the session of request {one.id} is gone", f"tick {tick}")
        session.kv += result.kv
        session.tokens += len(one.tokens)
        payload = RESULT.pack(result.token, session.tokens)
        broker.deliver_control(agent, Message(one.id, INFERENCE, OUTSIDE, one.model, payload))
    state.requests = [r for r in state.requests if r.due > tick]


def forget(state: State, agent: int, events: list[Event]) -> None:
    """The agent's life is over: its sessions go, and what it asked for, here or outside, is dropped on record."""
    if state.reads is not UNSET:
        reads.forget(state, agent, events)
    state.sessions = [s for s in state.sessions if s.agent != agent]
    events += [("dropped_result", r.id, r.agent) for r in state.requests if r.agent == agent]
    state.requests = [r for r in state.requests if r.agent != agent]


def next_due(state: State) -> int:
    """The tick in which the first result is delivered of those that are waited for."""
    return min([r.due for r in state.requests])
