"""The function of `scenarios.models` once more, in integers: what a device's answers are judged by.

It shares the weights and tables with the ONNX graph and nothing else: shifts instead of factors, int64 instead of
float32, a whole conversation at once instead of token by token with a cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from scenarios.models import EXPONENTIALS, HIDDEN_BY_MASK, NORMS, QUANTUM, STREAM, Exact, check, parameters, tables

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]


class Answers(NamedTuple):
    """For each position of a conversation: the token that follows, the sha256 (hex) of its logits as little-endian
    float32, and its KV cache as `Exact.kv_bytes` has it."""

    tokens: list[int]
    logits: list[str]
    kv: list[bytes]


class _Arrays:
    """Weights as float64, in which products of these integers are exact and fast; tables as int64."""

    def __init__(self, shape: Exact) -> None:
        import numpy as np

        check(shape)
        dims = {"emb": (-1, shape.width), "pos": (-1, shape.width), "head": (shape.width, -1)}
        dims |= {f"l{n}/{name}": (shape.width, -1) for n in range(shape.layers) for name in ("q", "k", "v", "o", "f1")}
        dims |= {f"l{n}/f2": (shape.inner, -1) for n in range(shape.layers)}
        self.weights = {
            name: np.array(values, np.float64).reshape(dims[name]) for name, values in parameters(shape).items()
        }
        self.exponentials, self.norms, self.reciprocals = (np.array(table, np.int64) for table in tables(shape))


@cache
def _arrays(shape: Exact) -> _Arrays:
    return _Arrays(shape)


def answers(shape: Exact, tokens: Sequence[int]) -> Answers:
    """What the decoder says after each of these tokens, the first one at position 0."""
    import numpy as np

    arrays, count = _arrays(shape), len(tokens)
    x = (arrays.weights["emb"][list(tokens)] + arrays.weights["pos"][:count]).astype(np.int64)
    mask = np.triu(np.full((count, count), HIDDEN_BY_MASK, np.int64), 1)
    kept = []
    for n in range(shape.layers):
        x, k, v = _layer(shape, arrays, n, x, mask)
        kept += [k, v]
    logits = _times(_norm(shape, arrays, x), arrays.weights["head"])
    bits = logits.astype("<f4")
    cache_rows = np.concatenate(kept, axis=1).astype(np.int8)
    return Answers(
        [int(token) for token in logits.argmax(axis=1)],
        [hashlib.sha256(row.tobytes()).hexdigest() for row in bits],
        [row.tobytes() for row in cache_rows],
    )


def _times(x: Integers, y: NDArray[Any]) -> Integers:
    import numpy as np

    product: Integers = (x.astype(np.float64) @ y.astype(np.float64, copy=False)).astype(np.int64)
    return product


def _norm(shape: Exact, arrays: _Arrays, x: Integers) -> Integers:
    mean = (abs(x).sum(axis=1, keepdims=True) >> (shape.width.bit_length() - 1)).clip(0, NORMS - 1)
    scaled: Integers = (x >> arrays.norms[mean]).clip(-QUANTUM, QUANTUM)
    return scaled


def _layer(shape: Exact, arrays: _Arrays, n: int, x: Integers, mask: Integers) -> tuple[Integers, Integers, Integers]:
    weights, rescale = arrays.weights, shape.rescale
    a = _norm(shape, arrays, x)
    q, k, v = ((_times(a, weights[f"l{n}/{w}"]) >> rescale).clip(-QUANTUM, QUANTUM) for w in "qkv")
    heads = [slice(h * shape.head, (h + 1) * shape.head) for h in range(shape.heads)]
    o = x * 0
    for h in heads:
        scores = (_times(q[:, h], k[:, h].T) >> 5) + mask
        p = arrays.exponentials[(scores.max(axis=1, keepdims=True) - scores).clip(0, EXPONENTIALS - 1)]
        reciprocal = arrays.reciprocals[(p.sum(axis=1, keepdims=True) >> 8).clip(0, shape.context)]
        o[:, h] = (_times(p, v[:, h]) >> reciprocal).clip(-QUANTUM, QUANTUM)
    x = (x + (_times(o, weights[f"l{n}/o"]) >> (rescale - 1))).clip(-STREAM, STREAM)
    inner = _times(_norm(shape, arrays, x), weights[f"l{n}/f1"]).clip(0)
    f = (inner >> rescale).clip(0, QUANTUM)
    return (x + (_times(f, weights[f"l{n}/f2"]) >> rescale)).clip(-STREAM, STREAM), k, v
