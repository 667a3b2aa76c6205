"""Inference followed per session: which tokens and which KV cache each request had, and what its agent must be told.

Requests are those that the agents' modules passed (guest log), results those of the journal. What the runtime kept in
its sessions is computed anew here, from the rules alone: a session ends with a life of its agent, and a request may
begin it anew.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Mapping
from typing import NamedTuple

from harness.oracles.flows import Flows, Result, Sent, place
from harness.oracles.reading import Journal, JournalEffect
from harness.oracles.verdict import Unjudged
from runtime.state import INFERENCE

RESTART = 1
_RESULT = struct.Struct("<II")


class Asked(NamedTuple):
    """One request that was not refused. `kv` is its session's cache before it, `position` tokens long.

    `told` is the payload of the message that brings the result, None when there is no result, or nobody to tell.
    """

    number: int
    sent: Sent
    position: int
    tokens: tuple[int, ...]
    kv: bytes
    answer: Result | None
    added: bytes
    told: bytes | None


class _Session:
    def __init__(self) -> None:
        self.tokens = 0
        self.kv = b""


def follow(journal: Journal, flows: Flows, blobs: Mapping[str, bytes]) -> dict[int, Asked]:
    """The requests in order, by number; raises Unjudged when a KV cache's bytes are missing."""
    asked: dict[int, Asked] = {}
    sessions: dict[tuple[int, int], _Session] = {}
    requests: dict[tuple[int, int], list[int]] = {}
    for number, sent in flows.sent.items():
        if sent.kind == INFERENCE and number not in flows.refusals:
            requests.setdefault((sent.tick, sent.sender), []).append(number)
    for block in journal.blocks:
        for entry in block.inferences:
            _answered(asked, sessions, flows, blobs, entry["request"])
        for step in block.steps:
            if step.status != "ok":
                _over(sessions, step.agent)
                continue
            first = step.seq
            for number in requests.get((step.tick, step.agent), ()):
                if first <= number < first + len(step.effects):
                    asked[number] = _ask(sessions, flows.sent[number], number, place(step.at))
        for event in block.events:
            if event[0] == "lifecycle" and event[3] in ("backoff", "quarantined"):
                _over(sessions, event[1])
    return asked


def _over(sessions: dict[tuple[int, int], _Session], agent: int) -> None:
    """The agent's life has ended, by its own failure or with its group."""
    for key in [key for key in sessions if key[0] == agent]:
        del sessions[key]


def _ask(sessions: dict[tuple[int, int], _Session], sent: Sent, number: int, where: str) -> Asked:
    words = sent.data or b""
    if len(words) < 8 or len(words) % 4:
        raise ValueError(f"{where}: the request {number} of {len(words)} bytes was not refused")
    flags, *tokens = struct.unpack(f"<{len(words) // 4}I", words)
    session = sessions.setdefault((sent.sender, sent.channel), _Session())
    if flags & RESTART:
        session.tokens, session.kv = 0, b""
    return Asked(number, sent, session.tokens, tuple(tokens), session.kv, None, b"", None)


def _answered(
    asked: dict[int, Asked],
    sessions: dict[tuple[int, int], _Session],
    flows: Flows,
    blobs: Mapping[str, bytes],
    number: int,
) -> None:
    one = asked.get(number)
    if one is None or one.answer is not None:
        return  # `flows` has said so
    answer = flows.answers[number]
    added = _bytes(answer.kv, blobs, answer.where)
    told = None
    session = sessions.get((one.sent.sender, one.sent.channel))
    if session is not None and (number, one.sent.sender) not in flows.copies_lost:
        session.kv += added
        session.tokens += len(one.tokens)
        told = _RESULT.pack(answer.token, session.tokens)
    asked[number] = one._replace(answer=answer, added=added, told=told)


def _bytes(held: JournalEffect, blobs: Mapping[str, bytes], where: str) -> bytes:
    payload = held.payload
    if isinstance(payload, str):
        return binascii.a2b_base64(payload)
    data = blobs.get(payload["sha256"])
    if data is None or not held.is_of(data):
        raise Unjudged(f"{where}: the bytes of its KV cache are missing")
    return data
