"""DeviceCore: one device process for inference; bytes in, bytes out, no clock and no pipe of its own.

Models are held within a budget of bytes, and only while their bytes have the digest that names them
(`runtime.inference.cache`): a flipped bit in weights would load in silence and answer wrongly. A device that failed
once fails from then on, since its later answers mean nothing; whoever sent the request has the KV cache and asks
another process. A frame that does not verify is counted and dropped: its sender sends it again. Nothing of a session is
kept here, so any process can take up any conversation at any token.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.errors import FrameRefused, ModelFailed
from runtime.frames import Infer, Inferred, pack, unpack
from runtime.inference.cache import BUDGET, ModelCache
from runtime.ports import Artifacts, Models
from runtime.state import Inference


class DeviceCore:
    """`handle` takes one frame and returns the frames to send back; `warm` loads `hot` models before the first one.

    Its models take at most `budget` bytes. Cumulative, for whoever accounts time and memory: `tokens_spent` computed
    tokens, `loads` of models that succeeded, models `evicted`, `bytes_loaded` of the models held, `garbled` dropped
    frames. `failed` is the failure that ended this process, or "".
    """

    def __init__(
        self,
        process: int,
        models: Models,
        artifacts: Artifacts,
        budget: int = BUDGET,
        hot: Sequence[str] = (),
    ) -> None:
        self.process = process
        self._cache, self._hot = ModelCache(models, artifacts, budget), tuple(hot)
        self.tokens_spent = 0
        self.garbled = 0
        self.failed = ""

    @property
    def loads(self) -> int:
        return self._cache.loads

    @property
    def evicted(self) -> int:
        return self._cache.evicted

    @property
    def bytes_loaded(self) -> int:
        return self._cache.held

    def warm(self) -> None:
        """Load the hot models that fit."""
        self._cache.preload(self._hot)

    def handle(self, data: bytes) -> list[bytes]:
        try:
            frame = unpack(data)
        except FrameRefused:
            self.garbled += 1
            return []
        if not isinstance(frame, Infer) or frame.device != self.process:
            self.garbled += 1
            return []
        failure, results, cost = self._answer(frame)
        return [pack(Inferred(frame.incarnation, self.process, frame.lease, failure, results, cost))]

    def close(self) -> None:
        self._cache.close()

    def _answer(self, frame: Infer) -> tuple[str, tuple[Inference, ...], int]:
        """The failure or "", the results, and how many tokens were computed for them."""
        if self.failed:
            return self.failed, (), 0
        try:
            with self._cache.hold(frame.model) as decoder:
                results = tuple(decoder.run(frame.items))
        except ModelFailed as failed:
            if failed.failure == "device":
                self.failed = failed.failure
            return failed.failure, (), 0
        cost = sum(len(item.tokens) for item in frame.items)
        self.tokens_spent += cost
        return "", results, cost
