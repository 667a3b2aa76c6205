"""Golden answers, tried (part of I24): whatever a device computes otherwise must keep it from being admitted.

In a simulated run all devices compute alike, so each run tries the runtime's own comparison: a decoder of the harness
is recorded, and decoders that differ from it in one field of one kind of request are held against that. Against:
answers that are compared in part, and kinds of requests that a golden conversation leaves out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache

from msgspec.structs import replace

from runtime.frames import InferenceItem
from runtime.inference import golden
from runtime.state import Inference

MODEL = "0" * 64

# Kinds of requests that a device may compute wrong though it computes the others right.
KINDS: dict[str, Callable[[Sequence[InferenceItem], int], bool]] = {
    "a prompt": lambda items, place: items[place].position == 0,
    "one token after others": lambda items, place: items[place].position > 0 and len(items[place].tokens) == 1,
    "tokens after others": lambda items, place: items[place].position > 0 and len(items[place].tokens) > 1,
    "the second of a batch": lambda items, place: place > 0,
    "a long cache": lambda items, place: items[place].position > 8,
}


class _Function:
    """A decoder that is a hash; wrong in one field where it is told so."""

    def __init__(self, field: str = "", where: Callable[[Sequence[InferenceItem], int], bool] | None = None) -> None:
        self._field, self._where = field, where

    def run(self, items: Sequence[InferenceItem]) -> list[Inference]:
        return [self._one(items, place) for place in range(len(items))]

    def _one(self, items: Sequence[InferenceItem], place: int) -> Inference:
        item = items[place]
        said = hashlib.sha256(repr((item.position, item.tokens, item.kv)).encode()).digest()
        result = Inference(item.request, said[0], said.hex(), said[: len(item.tokens)])
        if self._where is None or not self._where(items, place):
            return result
        wrong = {"token": said[0] ^ 1, "logits": said[::-1].hex(), "kv": bytes(len(result.kv))}
        return replace(result, **{self._field: wrong[self._field]})

    def close(self) -> None: ...


@lru_cache(maxsize=1)
def tried() -> tuple[str, ...]:
    """What the runtime's comparison lets through, or finds where there is nothing."""
    try:
        held = golden.record(_Function(), MODEL)
        found = ["the very decoder is refused"] if golden.difference(held, _Function()) else []
        for kind, where in KINDS.items():
            for field in ("token", "logits", "kv"):
                if not golden.difference(held, _Function(field, where)):
                    found.append(f"a device is admitted that gives another {field} for {kind}")
    except Exception as error:
        return (f"golden answers, tried: {type(error).__name__}: {error}",)
    return tuple(f"golden answers, tried: {line}" for line in found)
