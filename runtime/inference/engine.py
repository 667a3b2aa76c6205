"""Decoders on ONNX Runtime, on the CPU or another provider: the same bits for the same request, or ModelFailed.

What could change a bit of a float model is fixed on the CPU: one thread, sequential, one level of optimisation,
prepacking on. A provider that was not asked for is never used in silence. Whatever ONNX Runtime raises is a failure of
the model's loading or of the device; results are checked to be what a decoder of the exact tier can say, so that a
device that computes wrongly in a gross way is found here. Its telemetry is off before it is imported, and it is
imported only when the first model is loaded.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.errors import ModelFailed
from runtime.frames import InferenceItem
from runtime.inference import graph
from runtime.inference.providers import CPU, Provider, line, nodes, opened
from runtime.ports import Decoder
from runtime.state import Inference

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

MASKED = -1e6  # added to the score of a token that comes later
QUANTUM = 127  # largest absolute value in a KV cache
EXACT_MAX = 1 << 24  # below it every integer is a float32


class Layout(NamedTuple):
    """A decoder's KV cache as its inputs k0, v0, k1, … declare it.

    One token's bytes are int8 in the order (layer, k before v, head, width).
    """

    layers: int
    heads: int
    width: int

    @property
    def token_bytes(self) -> int:
        return 2 * self.layers * self.heads * self.width


class OrtModels:
    """Loads decoders on one provider. A session keeps no state between runs, so decoders of one digest share it.

    It goes with the last of them; with `keep` it stays for the next load.
    """

    def __init__(self, provider: Provider = CPU, *, keep: bool = False) -> None:
        self._provider, self._keep = provider, keep
        self._sessions: dict[str, Any] = {}
        self._users: dict[str, int] = {}

    def load(self, digest: str, onnx: bytes) -> Decoder:
        made = self._sessions.get(digest)
        if made is None:
            graph.check(onnx, digest[:12])
            made = open_session(digest, onnx, self._provider)
        layout = _layout(made, digest)
        self._sessions[digest] = made
        self._users[digest] = self._users.get(digest, 0) + 1
        return OrtDecoder(made, layout, digest[:12], lambda: self._left(digest))

    def nodes(self, digest: str) -> int:
        """How many nodes of a loaded model were read back as placed on the provider; 0 on the CPU."""
        return len(nodes(self._sessions[digest], self._provider))

    @property
    def loaded(self) -> tuple[str, ...]:
        """The digests of the models whose sessions are held."""
        return tuple(self._sessions)

    def _left(self, digest: str) -> None:
        self._users[digest] -= 1
        if not self._users[digest] and not self._keep:
            del self._sessions[digest]


def open_session(digest: str, onnx: bytes, provider: Provider = CPU) -> Any:
    """An onnxruntime.InferenceSession with everything fixed that could change a bit; raises ModelFailed."""
    try:
        return opened(onnx, provider)
    except ModelFailed as failed:
        raise ModelFailed("load", failed.reason, digest[:12]) from None


def _layout(session: Any, where: str) -> Layout:
    """What the model's own inputs and outputs say; raises ModelFailed when it is not a decoder."""
    inputs = {value.name: value.shape for value in session.get_inputs()}
    layers = (len(inputs) - 3) // 2
    expected = {"ids", "pos", "mask", *(f"{kind}{n}" for n in range(layers) for kind in "kv")}
    outputs = ["logits", *(f"{kind}{n}_out" for n in range(layers) for kind in "kv")]
    shapes = {tuple(inputs.get(f"{kind}{n}", ())[1::2]) for n in range(layers) for kind in "kv"}
    types = {value.type for value in session.get_outputs()}
    if layers < 1 or set(inputs) != expected or [value.name for value in session.get_outputs()] != outputs:
        raise ModelFailed("load", "its inputs and outputs are not a decoder's", where[:12])
    if types != {"tensor(float)"}:  # smaller types hold not all integers of the exact tier
        raise ModelFailed("load", f"its outputs are {', '.join(sorted(types))}, not float", where[:12])
    sizes = shapes.pop()
    if shapes or len(sizes) != 2 or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ModelFailed("load", "its KV cache has no fixed heads and width", where[:12])
    heads, width = sizes
    return Layout(layers, heads, width)


class OrtDecoder:
    """One loaded decoder."""

    def __init__(self, session: Any, layout: Layout, where: str, left: Callable[[], None] | None = None) -> None:
        """`left` is called once, when it is closed."""
        self._session, self.layout, self._where, self._left = session, layout, where, left

    def close(self) -> None:
        """A second call does nothing; later runs fail."""
        left, self._left, self._session = self._left, None, None
        if left is not None:
            left()

    def run(self, items: Sequence[InferenceItem]) -> list[Inference]:
        """One run for the whole batch. Each answer comes from the logits of its last position; the lowest token wins.

        Raises ModelFailed: "load" for a batch that this model cannot take, "device" for anything else.
        """
        if not items:
            return []
        count, position = len(items[0].tokens), items[0].position
        for item in items:
            if (len(item.tokens), item.position) != (count, position) or not item.tokens or position < 0:
                raise ModelFailed("load", "the requests of the batch have different shapes", self._where)
            if len(item.kv) != position * self.layout.token_bytes:
                raise ModelFailed("load", f"{position} tokens with a KV cache of {len(item.kv)} bytes", self._where)
        try:
            outputs = self._session.run(None, self._feeds(items, count, position))
        except Exception as error:
            raise ModelFailed("device", line(error), self._where) from None
        return self._results(items, outputs, count, position)

    def _feeds(self, items: Sequence[InferenceItem], count: int, position: int) -> dict[str, Any]:
        import numpy as np

        layers, heads, width = self.layout
        kv = np.frombuffer(b"".join(item.kv for item in items), np.int8)
        kv = kv.reshape(len(items), position, layers, 2, heads, width).transpose(2, 3, 0, 4, 1, 5)
        held = np.ascontiguousarray(kv, np.float32)
        feeds = {f"{kind}{n}": held[n, place] for n in range(layers) for place, kind in enumerate("kv")}
        feeds["ids"] = np.array([item.tokens for item in items], np.int64)
        feeds["pos"] = np.broadcast_to(np.arange(position, position + count), (len(items), count))
        feeds["mask"] = np.triu(np.full((count, position + count), MASKED, np.float32), position + 1)
        return feeds

    def _results(
        self, items: Sequence[InferenceItem], outputs: list[Floats], count: int, position: int
    ) -> list[Inference]:
        import numpy as np

        layers, heads, width = self.layout
        logits = outputs[0]
        if logits.ndim != 3 or logits.shape[:2] != (len(items), count):
            raise ModelFailed("device", f"logits of shape {logits.shape}", self._where)
        for kept in outputs[1:]:
            if kept.shape != (len(items), heads, position + count, width):
                raise ModelFailed("device", f"a KV cache of shape {kept.shape}", self._where)
        last = np.ascontiguousarray(logits[:, -1], "<f4") + np.float32(0)  # a sum may begin with -0, or not
        new = np.stack([kept[:, :, position:] for kept in outputs[1:]])
        self._check(last, EXACT_MAX)
        self._check(new, QUANTUM + 1)
        rows = new.astype(np.int8).reshape(layers, 2, len(items), heads, count, width).transpose(2, 4, 0, 1, 3, 5)
        return [
            Inference(item.request, int(row.argmax()), hashlib.sha256(row.tobytes()).hexdigest(), kv.tobytes())
            for item, row, kv in zip(items, last, rows, strict=True)
        ]

    def _check(self, values: Floats, limit: int) -> None:
        """That all are integers below the limit, as the exact tier promises; NaN and infinity are not."""
        import numpy as np

        largest = float(np.abs(values).max(initial=0.0))
        if not math.isfinite(largest) or largest >= limit or bool((values != np.rint(values)).any()):
            raise ModelFailed("device", "values that an exact model cannot have", self._where)
