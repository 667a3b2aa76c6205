"""The inference of a run, rebuilt from its journal: what was asked, what the decoder answered, and when.

It keeps its own account of sessions, from effects alone, and judges by it what the runtime admitted, refused and
promised; a judge of tokens gets each answer with the position it was computed at.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from runtime.journal import InferenceEntry, payload_of
from runtime.state import E_FULL, E_SIZE, INFERENCE, OUTSIDE, REFUSED, Message, ModelSpec

_RESTART = 1
_RESULT = struct.Struct("<II")  # token, tokens in the session


class Asked(NamedTuple):
    """An admitted request: `tokens` to append at `position` of the agent's session; promised for tick `due`."""

    request: int
    agent: int
    model: int
    position: int
    tokens: tuple[int, ...]
    due: int


class Turn(NamedTuple):
    """A delivered answer: the next token, the sha256 (hex) of its logits, the KV cache of the request's tokens."""

    tick: int
    asked: Asked
    token: int
    logits: str
    kv: bytes


class Turns:
    """Folded by `Deliveries` in the order of the journal. `turns` are the delivered answers."""

    def __init__(self, blobs: dict[str, bytes], violations: list[str]) -> None:
        self.turns: list[Turn] = []
        self._blobs, self._violations = blobs, violations
        self._models: tuple[ModelSpec, ...] = ()
        self._open: dict[int, Asked] = {}
        self._held: dict[tuple[int, int], int] = {}  # (agent, model) -> tokens in the session

    def configure(self, models: tuple[ModelSpec, ...]) -> None:
        self._models = models

    def ask(
        self, tick: int, agent: int, model: int, request: int, payload: bytes, refused: dict[int, int]
    ) -> Message | None:
        """One request, refused or admitted as this account says it must be; the message that tells the agent so."""
        words = struct.unpack(f"<{len(payload) // 4}I", payload) if len(payload) % 4 == 0 else ()
        flags, tokens = (words[0], words[1:]) if words else (0, ())
        spec = self._models[model]
        held = 0 if flags & _RESTART else self._held.get((agent, model), 0)
        expected = 0
        if any((asked.agent, asked.model) == (agent, model) for asked in self._open.values()):
            expected = E_FULL
        elif not tokens or flags > _RESTART or max(tokens) >= spec.vocabulary or held + len(tokens) > spec.context:
            expected = E_SIZE
        status = refused.get(request, 0)
        if status != expected:
            self._violations.append(
                f"tick {tick}, agent {agent}: request {request} of {len(tokens)} tokens with {held} held has status"
                f" {status}, not {expected}"
            )
        if status:
            return Message(request, REFUSED, OUTSIDE, status, payload)
        self._held[agent, model] = held
        due = tick + max(1, spec.delay_ticks)
        self._open[request] = Asked(request, agent, model, held, tokens, due)
        return None

    def answer(self, tick: int, entry: InferenceEntry, dropped: set[int]) -> tuple[int, Message] | None:
        """One answer: the agent it goes to and what it is told; None where nobody is."""
        asked = self._open.pop(entry.request, None)
        if asked is None:
            self._violations.append(f"tick {tick}: an answer to request {entry.request}, which nobody waits for")
            return None
        if asked.due != tick:
            self._violations.append(
                f"tick {tick}, agent {asked.agent}: the answer to request {asked.request} was due in tick {asked.due}"
            )
        if entry.request in dropped:
            return None
        held = self._held[asked.agent, asked.model] = asked.position + len(asked.tokens)
        kv = payload_of(entry.kv, self._blobs)
        self.turns.append(Turn(tick, asked, entry.token, entry.logits, kv))
        payload = _RESULT.pack(entry.token, held)
        return asked.agent, Message(asked.request, INFERENCE, OUTSIDE, asked.model, payload)

    def forget(self, tick: int, agent: int, dropped: set[int]) -> None:
        """The agent's life has ended: its sessions go, and its open requests must be dropped on record."""
        for request in [asked.request for asked in self._open.values() if asked.agent == agent]:
            del self._open[request]
            if request not in dropped:
                self._violations.append(f"tick {tick}, agent {agent}: request {request} outlived its agent's life")
        self._held = {key: held for key, held in self._held.items() if key[0] != agent}

    def finish(self, last_tick: int) -> None:
        """After the last block: nothing that was due is unanswered."""
        for asked in self._open.values():
            if asked.due <= last_tick:
                self._violations.append(
                    f"agent {asked.agent}: request {asked.request}, due in tick {asked.due}, was never answered"
                )
