"""Recorded reads: what agents read outside was asked once, of whom they may ask, and is what they were told (EXT-1).

The world's ledger says what it was asked, with which block, and what it answered; the guest log what agents asked for;
the journal what became of it. Against: a read that is asked again, or before its block is durable, an answer to
another's read or of another tick, two reads of one source at a time, a source that is not the agent's, an answer to a
life that is over, parts of a call that is not the agent's own.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from harness.oracles.flows import Sent
from harness.oracles.judged import Judged
from harness.oracles.verdict import Unjudged
from runtime.state import READING

_PREFIX = "read:"
_MORE = 1
_OVER = ("backoff", "quarantined", "terminated")


def recorded(run: Judged) -> list[str]:
    """What left and what the world was asked, against the calls of agents; what was told, against what it answered."""
    if not run.crossings:
        raise Unjudged("there is no guest log")
    reads = {seq: sent for seq, sent in run.flows.sent.items() if sent.kind == READING}
    if reads and not run.history.receipts:
        raise Unjudged("there is no client's ledger")
    return [*_asked(run, reads), *_answered(run), *_owned(run, reads)]


def reads_outside(run: Judged) -> bool:
    """Whether the run declares sources, or the world was asked for anything."""
    try:
        return bool(run.history.asked) or bool(run.config.get("sources"))
    except Exception:  # no journal, or one that cannot be read: others say so
        return False


def _sources(run: Judged) -> list[dict[str, Any]]:
    return [dict(spec) for spec in run.config.get("sources", ())]


def _asked(run: Judged, reads: dict[int, Sent]) -> Iterator[str]:
    """Each question that the world got, against the call that it comes from; no number and no request twice."""
    specs = _sources(run)
    once: dict[tuple[object, ...], str] = {}
    ends = [block.end for block in run.journal.blocks]
    synced = {receipt.block: receipt.durable_bytes for receipt in run.history.receipts}
    for index, event in enumerate(run.history.asked):
        ask, where = event.ask, f"world event {index}"
        for key in (("number", ask.source, ask.n), ("request", ask.request)):
            if key in once:
                yield f"{where}: {key[0]} {key[-1]} of {ask.source} is asked again, first in {once[key]}"
            once.setdefault(key, where)
        if event.block <= len(ends) and synced.get(event.block, 0) < ends[event.block - 1]:
            yield f"{where}: it left with block {event.block}, which was not durable then"
        sent = reads.get(ask.request)
        if sent is None or sent.sender != ask.agent:
            yield f"{where}: request {ask.request}, which is no read of agent {ask.agent}"
            continue
        if ask.request in run.flows.refusals:
            yield f"{where}: request {ask.request}, which was refused"
        spec = specs[sent.channel] if sent.channel < len(specs) else {"name": "nothing"}
        if ask.source != _PREFIX + spec["name"] or sent.data != ask.payload:
            what = f"request {ask.request} asks {ask.source}"
            yield f"{where}: {what}; {sent.where} passed other bytes, or asked {spec['name']}"
        elif ask.due != sent.tick + max(1, int(spec.get("delay_ticks", 2))):
            yield f"{where}: request {ask.request} of tick {sent.tick} is due in tick {ask.due}"
        elif ask.agent not in spec.get("readers", (ask.agent,)):
            yield f"{where}: agent {ask.agent} is no reader of {spec['name']}"


def _answered(run: Judged) -> Iterator[str]:
    """Each answer in the journal, against what the world gave for it; one that was asked for and fell due is there."""
    ledger = {(event.ask.source, event.ask.n): event for event in run.history.asked}
    last = run.journal.blocks[-1].tick if run.journal.blocks else -1
    missing = dict(ledger)
    for block in run.journal.blocks:
        for number, item in enumerate(block.inputs):
            action = item["action"]
            if action["do"] != "answer":
                continue
            where, key = f"block {block.block} input {number}", (item["source"], item["n"])
            missing.pop(key, None)
            event = ledger.get(key)
            given = (action["request"], action["status"], base64.b64decode(action["data"]))
            if event is None:
                yield f"{where}: answer {key[1]} of {key[0]}, which the world did not give"
            elif given != (event.ask.request, event.status, event.data):
                yield f"{where}: answer {key[1]} of {key[0]} is not what the world gave"
            elif block.tick != event.ask.due:
                yield f"{where}: answer {key[1]} of {key[0]} is admitted in tick {block.tick}, due in {event.ask.due}"
    for (source, n), event in missing.items():
        if event.ask.due <= last:
            yield f"answer {n} of {source}, due in tick {event.ask.due}, is in no block"


def _owned(run: Judged, reads: dict[int, Sent]) -> Iterator[str]:
    """Reads of one source are one after the other, in one life; parts go on with the agent's own call."""
    owners = _Owners(reads, {event.ask.request: event.ask.first for event in run.history.asked})
    for block in run.journal.blocks:
        for item in block.inputs:
            if item["action"]["do"] == "answer":
                owners.answer(item["action"]["request"], item["action"]["status"])
        for number, event in enumerate(block.events):
            yield from owners.event(f"block {block.block} event {number}", event)
        for number, event in enumerate(block.events):
            if event[0] == "lifecycle" and event[3] in _OVER:
                yield from owners.over(f"block {block.block} event {number}", event[1])


class _Owners:
    """By (agent, source): the read that is unanswered, and the first number of the call that has parts to come."""

    def __init__(self, reads: dict[int, Sent], firsts: dict[int, int]) -> None:
        self._reads, self._firsts = reads, firsts
        self._open: dict[tuple[int, int], int] = {}
        self._calls: dict[tuple[int, int], int] = {}

    def answer(self, request: int, status: int) -> None:
        sent = self._reads.get(request)
        key = (sent.sender, sent.channel) if sent else (-1, -1)
        if self._open.get(key) == request:
            del self._open[key]
            if status == _MORE and request in self._firsts:
                self._calls[key] = self._firsts[request]

    def event(self, where: str, event: tuple[Any, ...]) -> Iterator[str]:
        if event[0] == "asked":
            yield from self._asked(where, *event[1:6])
        elif event[0] == "dropped_result":
            self._open = {key: request for key, request in self._open.items() if request != event[1]}
        elif event[0] == "closed":
            calls = self._calls.items()
            self._calls = {key: first for key, first in calls if (first, key[0]) != (event[2], event[3])}

    def over(self, where: str, agent: int) -> Iterator[str]:
        for key in [key for key in self._open if key[0] == agent]:
            yield f"{where}: agent {agent}'s life is over, and read {self._open.pop(key)} goes on to the next one"

    def _asked(self, where: str, name: str, n: int, agent: int, request: int, first: int) -> Iterator[str]:
        sent = self._reads.get(request)
        if sent is None:
            return  # `_asked` of the world's ledger says so
        key = (agent, sent.channel)
        if key in self._open:
            yield f"{where}: agent {agent} reads {name} again, while read {self._open[key]} of it is unanswered"
        if first != n and self._calls.get(key) != first:
            yield f"{where}: read {n} of {name} goes on with call {first}, which is not agent {agent}'s"
        if first == n and key in self._calls:
            yield f"{where}: read {n} of {name} begins anew, while call {self._calls[key]} has parts to come"
        self._calls.pop(key, None)
        self._open[key] = request
