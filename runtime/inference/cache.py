"""The models of one device within a budget of bytes (INF-2): loaded on demand, the least recently used leaves first.

Guards against a cache that counts models and not bytes, one that lets go of a model while it runs, and one that trusts
what it verified once: the digest is checked on each load, over the very bytes that are loaded. What does not fit beside
the models in use is refused and nothing leaves for it. A device that has less memory than its budget says so when it
loads; then idle models leave, one by one, until it does not. Which models are held is physical: the journal never
depends on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from runtime.errors import ModelFailed
from runtime.lru import CacheEvent, Lru, Note
from runtime.ports import Artifacts, Decoder, Models

BUDGET = 1 << 30  # bytes of models, as their files have them


class ModelCache:
    """Not for two threads at once; a held model may run in any.

    Cumulative: `loads` that succeeded, `evicted` models. `held` are the bytes of the models now.
    """

    def __init__(self, models: Models, artifacts: Artifacts, budget: int = BUDGET, note: Note | None = None) -> None:
        self._models, self._artifacts, self._budget, self._note = models, artifacts, budget, note
        self._kept: Lru[Decoder] = Lru(budget, self._noted, lambda decoder: decoder.close())
        self.loads = 0
        self.evicted = 0

    @property
    def held(self) -> int:
        return self._kept.held

    def __contains__(self, digest: str) -> bool:
        return (digest, "decoder") in self._kept

    @contextmanager
    def hold(self, digest: str) -> Iterator[Decoder]:
        """The model with this sha256 (hex), loaded if it is not there; it stays for as long as it is held.

        Raises ModelFailed: "load" where its bytes are not there, have another digest or do not load; "memory" where
        they do not fit beside the models in use.
        """
        key = (digest, "decoder")
        decoder = self._kept.get(key)
        if decoder is None:
            onnx = self._verified(digest)
            if not self._kept.room(len(onnx)):
                what = f"{len(onnx)} bytes do not fit beside the models in use, the budget is {self._budget}"
                raise ModelFailed("memory", what, digest[:12])
            decoder = self._loaded(digest, onnx)
            self._kept.put(key, decoder, len(onnx))
        pin = self._kept.pin(key)
        try:
            yield decoder
        finally:
            pin.release()

    def preload(self, digests: Sequence[str]) -> int:
        """Load what fits of these, in their order, and evict nothing for it; how many are there afterwards.

        One that does not load is left for the request that needs it, which will tell.
        """
        for digest in digests:
            try:
                if digest not in self and len(self._artifacts.get(digest)) <= self._budget - self.held:
                    with self.hold(digest):
                        pass
            except (ModelFailed, KeyError):
                continue
        return sum(digest in self for digest in digests)

    def unload(self, digest: str) -> bool:
        """Let go of the model; False where it is not loaded, or is held."""
        return self._kept.remove((digest, "decoder"))

    def close(self) -> None:
        """The device ends: everything is let go of."""
        self._kept.clear()

    def _verified(self, digest: str) -> bytes:
        try:
            onnx = self._artifacts.get(digest)
        except KeyError:
            raise ModelFailed("load", "there is no such artefact", digest[:12]) from None
        if hashlib.sha256(onnx).hexdigest() != digest:
            raise ModelFailed("load", "its bytes have another digest", digest[:12])
        return onnx

    def _loaded(self, digest: str, onnx: bytes) -> Decoder:
        """Idle models leave for it while the device has no memory; each attempt has one model fewer beside it."""
        while True:
            try:
                decoder = self._models.load(digest, onnx)
            except ModelFailed as failed:
                if failed.failure != "memory" or not self._kept.spare():
                    raise
            else:
                self.loads += 1
                return decoder

    def _noted(self, event: CacheEvent) -> None:
        self.evicted += event.op == "evicted"
        if self._note is not None:
            self._note(event)
