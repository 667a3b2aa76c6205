"""Reads of the outside as logical state: an agent asks, an input answers, a replay asks nobody (EXT-1, WAS-8).

A read is an effect. It leaves with its block, once that is durable; the answer is an input with a number of its own,
due `delay_ticks` after the step, and that tick waits for it. So what was read is in the journal before anything that
follows from it can leave, a step that is run again gets the record, and nobody is asked a second time: of an answer
that was not journaled when the orchestrator died nothing is left, and who gave it keeps it until it is acknowledged,
like any input.

An answer may be one part of more (MORE): the next read of the same source by the same agent goes on with that call. So
what a function module gives in slices of fuel arrives as it is produced, in order, and no faster than it is read; and
an end is put to a call between two parts, by its agent or an operator. A call belongs to one life of an agent.
"""

from __future__ import annotations

import struct

from msgspec import UNSET
from msgspec.structs import replace

from runtime import broker
from runtime.errors import FailStop
from runtime.journal import Event
from runtime.outside import Answer, Read, Reads, SourceSpec
from runtime.state import (
    E_FULL,
    E_TARGET,
    OUTSIDE,
    READING,
    REFUSED,
    Config,
    Input,
    Message,
    State,
    StepRecord,
)

END, MORE, FAILED, CANCELLED = 0, 1, 2, 3  # how a reading ends: whole, with parts to come, without, by an operator
STATUS = struct.Struct("<I")  # before the bytes that were read
PREFIX = "read:"  # of the sources of answers


def at_start(config: Config) -> Reads:
    """What a run that declares sources begins with."""
    return Reads(given=[0 for _ in config.sources or ()])


def _sources(state: State) -> tuple[SourceSpec, ...]:
    return (state.config.sources or ()) if state.config is not None else ()


def ask(state: State, record: StepRecord, source: int, payload: bytes, events: list[Event]) -> None:
    """Admit an agent's read, the next part of the call that it has there or a new one.

    Refused on record, and to the agent as a control message: E_TARGET for a source that it may not read, E_FULL while
    an earlier read of it is unanswered.
    """
    agent, reads, specs = record.agent, state.reads, _sources(state)
    request = broker.take_sequence(state, agent)
    status = 0
    if reads is UNSET or not 0 <= source < len(specs) or not _may(specs[source], agent):
        status = E_TARGET
    elif any(r.agent == agent and r.source == source and r.wanted for r in reads.open):
        status = E_FULL
    if status or reads is UNSET:
        events.append(("refused_request", request, agent, source, status))
        broker.deliver_control(state.agents[agent], Message(request, REFUSED, OUTSIDE, status, payload))
        return
    if (agent, source) in reads.cancelled:
        reads.cancelled.remove((agent, source))
        events.append(("cancelled", request, agent))
        _tell(state, agent, source, request, CANCELLED, b"")
        return
    call = _call_of(reads, agent, source)
    if call is not None:
        reads.calls.remove(call)
    reads.given[source] += 1
    n, due = reads.given[source], record.tick + max(1, specs[source].delay_ticks)
    first = n if call is None else call[2]
    reads.open.append(Read(request, agent, source, n, due, first))
    events.append(("asked", specs[source].name, n, agent, request, first, due))


def _may(spec: SourceSpec, agent: int) -> bool:
    return spec.readers is UNSET or agent in spec.readers


def _call_of(reads: Reads, agent: int, source: int) -> tuple[int, int, int] | None:
    return next((call for call in reads.calls if call[:2] == (agent, source)), None)


def _tell(state: State, agent: int, source: int, request: int, status: int, data: bytes) -> None:
    """A reading in reserved room: an agent has one for each source at most."""
    message = Message(request, READING, OUTSIDE, source, STATUS.pack(status) + data)
    broker.deliver_control(state.agents[agent], message)


def answer(state: State, item: Input, given: Answer, events: list[Event]) -> None:
    """Deliver what was read to who asked for it; raises FailStop for an answer that nobody waits for.

    One that is longer than a payload may be is none (FAILED).
    """
    reads, config = state.reads, state.config
    found = waiting_for(state, item)
    if reads is UNSET or config is None or found is None:
        raise FailStop("reads", f"input {item.source} {item.n} answers what nobody asked", f"tick {state.tick}")
    reads.open.remove(found)
    if not found.wanted:
        return
    status, data = given.status, given.data
    if found.cancelled:
        status, data = CANCELLED, b""
    elif len(data) > config.max_payload - STATUS.size:
        status, data = FAILED, b""
    if status == MORE:
        reads.calls.append((found.agent, found.source, found.first))
    _tell(state, found.agent, found.source, found.request, status, data)


def cancel(state: State, agent: int, source: int, events: list[Event]) -> None:
    """The agent itself ends what it reads from a source: nothing more of it comes, and nobody is told."""
    reads = state.reads
    if reads is UNSET:
        return
    _close(state, reads, agent, source, events)
    reads.cancelled = [one for one in reads.cancelled if one != (agent, source)]
    for index, read in enumerate(reads.open):
        if (read.agent, read.source) == (agent, source) and read.wanted:
            reads.open[index] = replace(read, wanted=False)
            if not read.cancelled:
                _closed(state, read.source, read.first, agent, events)
            events.append(("dropped_result", read.request, agent))


def cancel_all(state: State, agent: int, events: list[Event]) -> None:
    """An operator ends all that an agent reads: each call gives CANCELLED where its next part would have come."""
    reads = state.reads
    if reads is UNSET:
        return
    for _, source, _ in [call for call in reads.calls if call[0] == agent]:
        _close(state, reads, agent, source, events)
        reads.cancelled.append((agent, source))
    for index, read in enumerate(reads.open):
        if read.agent == agent and read.wanted and not read.cancelled:
            reads.open[index] = replace(read, cancelled=True)
            _closed(state, read.source, read.first, agent, events)
            events.append(("cancelled", read.request, agent))


def forget(state: State, agent: int, events: list[Event]) -> None:
    """The agent's life is over: nothing that it has asked for is delivered to the next one."""
    for source in range(len(_sources(state))):
        cancel(state, agent, source, events)


def _close(state: State, reads: Reads, agent: int, source: int, events: list[Event]) -> None:
    call = _call_of(reads, agent, source)
    if call is not None:
        reads.calls.remove(call)
        _closed(state, source, call[2], agent, events)


def _closed(state: State, source: int, first: int, agent: int, events: list[Event]) -> None:
    events.append(("closed", _sources(state)[source].name, first, agent))


# --- what is due, and what leaves -----------------------------------------------------------------------------------


def pending(state: State, agent: int) -> bool:
    """Whether the agent waits for an answer."""
    return state.reads is not UNSET and any(read.agent == agent and read.wanted for read in state.reads.open)


def expected(state: State) -> list[tuple[str, int, int]]:
    """The answers that are still to be admitted: source and number of the input, and the tick that waits for it."""
    if state.reads is UNSET:
        return []
    specs = _sources(state)
    return [(PREFIX + specs[read.source].name, read.n, read.due) for read in state.reads.open]


def waiting_for(state: State, item: Input) -> Read | None:
    """The open read that this input answers: of that source and number, due then, under the request's number."""
    if state.reads is UNSET or not isinstance(item.action, Answer) or not END <= item.action.status <= FAILED:
        return None
    specs = _sources(state)
    for read in state.reads.open:
        if (PREFIX + specs[read.source].name, read.n, read.due) == (item.source, item.n, item.tick):
            return read if read.request == item.action.request else None
    return None
