"""A device's own process: `python -m runtime.inference.child`, one provider, messages in and replies out.

A driver may fail for good, hang, print, or end its process by a signal; here none of that reaches the runtime. A model
answers for anybody only after it has given the golden answers on this very provider, in this very process. It ends when
its pipe does, so it never outlives who started it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from time import perf_counter_ns
from typing import BinaryIO

from runtime.errors import FrameRefused, ModelFailed
from runtime.inference import golden, providers, wire
from runtime.inference.engine import OrtModels
from runtime.inference.providers import Provider
from runtime.ports import Decoder


class Served:
    """What one process holds: its provider once that is known, and its models by digest."""

    def __init__(self) -> None:
        self._provider: Provider | None = None
        self._models = OrtModels()
        self._decoders: dict[str, Decoder] = {}

    def answer(self, message: wire.Message) -> wire.Reply:
        """The reply to one message; whatever ONNX Runtime raises is a reply too."""
        if isinstance(message, wire.Begin):
            return self._begin(message.provider)
        if isinstance(message, wire.Load):
            return self._load(message)
        decoder = self._decoders.get(message.digest)
        if decoder is None:
            return wire.Reply("load", "session", "the model was not loaded here")
        if isinstance(message, wire.Drop):
            self._decoders.pop(message.digest).close()
            return wire.Reply()
        began = perf_counter_ns()
        try:
            results = tuple(decoder.run(message.items))
        except ModelFailed as failed:
            return wire.Reply(failed.failure, "run", failed.reason)
        return wire.Reply(results=results, spent_ns=perf_counter_ns() - began)

    def _begin(self, provider: Provider) -> wire.Reply:
        why = providers.offered(provider)
        if why:
            return wire.Reply("device", "offered", why)
        self._provider, self._models = provider, OrtModels(provider)
        return wire.Reply()

    def _load(self, message: wire.Load) -> wire.Reply:
        if self._provider is None:
            return wire.Reply("device", "offered", "no provider was begun with")
        if hashlib.sha256(message.onnx).hexdigest() != message.digest:
            return wire.Reply("load", "digest", "the model's bytes have another digest")
        if message.golden.model != message.digest:
            return wire.Reply("load", "digest", "the golden answers are another model's")
        began = perf_counter_ns()
        try:
            decoder = self._models.load(message.digest, message.onnx)
        except ModelFailed as failed:
            return wire.Reply(failed.failure, "session", failed.reason)
        nodes = self._models.nodes(message.digest)
        wrong = golden.difference(message.golden, decoder)
        if wrong:
            decoder.close()
            return wire.Reply("device", "golden", wrong, nodes=nodes)
        self._decoders[message.digest] = decoder
        return wire.Reply(nodes=nodes, spent_ns=perf_counter_ns() - began)


def serve(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Until the end of the pipe, or until something else stands in it."""
    served = Served()
    with contextlib.suppress(FrameRefused, OSError):
        while (message := wire.read_message(incoming)) is not None:
            wire.write(outgoing, served.answer(message))


def main() -> None:
    """What prints into this process's output, as drivers do, must not stand between two replies."""
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, private)
    os._exit(0)  # drivers have been seen to hang or crash in their own clean-up


if __name__ == "__main__":
    main()
