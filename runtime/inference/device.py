"""DeviceCore: one device process for inference; bytes in, bytes out, no clock and no pipe of its own.

A model runs only when its bytes have the digest it is named by: a flipped bit in its weights would load in silence and
answer wrongly. A device that failed once fails from then on, since its later answers mean nothing; whoever sent the
request has the KV cache and asks another process. A frame that does not verify is counted and dropped: its sender
sends it again. Nothing of a session is kept here, so any process can take up any conversation at any token.
"""

from __future__ import annotations

import hashlib

from runtime.errors import FrameRefused, ModelFailed
from runtime.frames import Infer, Inferred, pack, unpack
from runtime.ports import Artifacts, Decoder, Models
from runtime.state import Inference


class DeviceCore:
    """`handle` takes one frame and returns the frames to send back.

    Cumulative, for whoever accounts time and memory: `tokens_spent` computed tokens, `loads` of models that succeeded,
    `bytes_loaded` of the models held, `garbled` dropped frames. `failed` is the failure that ended this process, or "".
    """

    def __init__(self, process: int, models: Models, artifacts: Artifacts) -> None:
        self.process = process
        self._models, self._artifacts = models, artifacts
        self._decoders: dict[str, Decoder] = {}
        self.tokens_spent = 0
        self.loads = 0
        self.bytes_loaded = 0
        self.garbled = 0
        self.failed = ""

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
        for decoder in self._decoders.values():
            decoder.close()
        self._decoders.clear()
        self.bytes_loaded = 0

    def _answer(self, frame: Infer) -> tuple[str, tuple[Inference, ...], int]:
        """The failure or "", the results, and how many tokens were computed for them."""
        if self.failed:
            return self.failed, (), 0
        try:
            results = tuple(self._decoder(frame.model).run(frame.items))
        except ModelFailed as failed:
            if failed.failure == "device":
                self.failed = failed.failure
            return failed.failure, (), 0
        cost = sum(len(item.tokens) for item in frame.items)
        self.tokens_spent += cost
        return "", results, cost

    def _decoder(self, digest: str) -> Decoder:
        """The loaded model; raises ModelFailed."""
        decoder = self._decoders.get(digest)
        if decoder is None:
            try:
                onnx = self._artifacts.get(digest)
            except KeyError:
                raise ModelFailed("load", "there is no such artefact", digest[:12]) from None
            if hashlib.sha256(onnx).hexdigest() != digest:
                raise ModelFailed("load", "its bytes have another digest", digest[:12])
            decoder = self._decoders[digest] = self._models.load(digest, onnx)
            self.loads += 1
            self.bytes_loaded += len(onnx)
        return decoder
