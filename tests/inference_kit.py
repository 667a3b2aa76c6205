"""Conversations with devices, frame by frame, with defaults for the small decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from runtime.frames import Infer, InferenceItem, Inferred, pack, unpack
from runtime.inference import DeviceCore, OrtModels
from runtime.state import Inference
from scenarios.models import SMALL, Exact, build, digest

MODELS = OrtModels()
HELLO = (72, 101, 108, 108, 111)


class Shelf:
    """Artefacts by digest, true or not."""

    def __init__(self, held: Mapping[str, bytes]) -> None:
        self.held = held

    def get(self, digest: str) -> bytes:
        return self.held[digest]


def device(process: int = 1, shape: Exact = SMALL, models: OrtModels = MODELS) -> DeviceCore:
    return DeviceCore(process, models, Shelf({digest(shape): build(shape)}))


def ask(core: DeviceCore, *items: InferenceItem, model: str = "", lease: int = 1) -> Inferred:
    (answer,) = core.handle(pack(Infer(1, core.process, lease, model or digest(SMALL), items)))
    inferred = unpack(answer)
    assert isinstance(inferred, Inferred)
    return inferred


class Said(NamedTuple):
    """A conversation: its results in order, and the KV cache after them."""

    results: list[Inference]
    kv: bytes
    held: int

    @property
    def tokens(self) -> list[int]:
        return [result.token for result in self.results]

    @property
    def logits(self) -> list[str]:
        return [result.logits for result in self.results]


SILENCE = Said([], b"", 0)


def talk(
    core: DeviceCore, count: int, after: Said = SILENCE, prompt: Sequence[int] = HELLO, shape: Exact = SMALL
) -> Said:
    """`count` tokens more: first after the prompt at once, then each after the one before."""
    results, kv, held = list(after.results), after.kv, after.held
    for _ in range(count):
        tokens = (results[-1].token,) if results else tuple(prompt)
        inferred = ask(core, InferenceItem(7, held, tokens, kv), model=digest(shape))
        assert inferred.failure == ""
        results.append(inferred.results[0])
        kv += inferred.results[0].kv
        held += len(tokens)
    return Said(results, kv, held)
