"""Decoders whose results are the same bits on every device: integers carried in float32.

Every value is an integer with |x| < 2**24 or a power of two, and every operator keeps it so; then no order of
additions, no fused multiplication and no other device can change a bit. There is no Softmax, no division and no
rounding but Floor. The bounds are asserted when a model is built. Weights come from SHA-256 of their own names, so a
model is a pure function of its shape: the same bytes everywhere, with no file to ship.

`Exact` is the shape of one; `build` gives its ONNX bytes, `spec` what a configuration declares of it.
`scenarios.oracle` computes the same function in integers.
"""

from __future__ import annotations

import hashlib
import math
import struct
from functools import cache
from typing import NamedTuple

from runtime.state import ModelSpec
from scenarios.onnx_file import FLOAT, INT32, INT64, Graph

OPSET = 17
EXACT_MAX = 1 << 24  # below it float32 holds every integer
EMBEDDING, POSITION, WEIGHT = 64, 16, 7  # largest absolute values of the weights
QUANTUM, STREAM = 127, 1000  # of activations, and of the residual stream
EXPONENTIALS, NORMS = 256, 1024  # table sizes
HIDDEN_BY_MASK = -1_000_000


class Exact(NamedTuple):
    """The shape of a decoder: vocabulary, width, layers, heads, inner width, context; and the seed of its weights."""

    seed: int = 1
    vocabulary: int = 256
    width: int = 128
    layers: int = 4
    heads: int = 4
    inner: int = 512
    context: int = 512

    @property
    def head(self) -> int:
        """Width of one head."""
        return self.width // self.heads

    @property
    def rescale(self) -> int:
        """The shift after a product with `width` weights: round(log2(sqrt(width) * 4.3))."""
        return round(math.log2(math.sqrt(self.width) * 4.3))

    @property
    def kv_bytes(self) -> int:
        """KV cache of one token, int8: for each layer k, then v, each (head, width of a head)."""
        return 2 * self.width * self.layers


REFERENCE = Exact()
SMALL = Exact(width=32, layers=2, heads=2, inner=64, context=48)


def check(shape: Exact) -> None:
    """That nothing can leave the range in which float32 is exact; AssertionError names what would."""
    widest = max(shape.width, shape.inner)
    assert shape.width == shape.head * shape.heads and shape.width.bit_count() == 1, "width"
    assert QUANTUM * WEIGHT * widest < EXACT_MAX, "a product with weights"
    assert QUANTUM**2 * shape.head < EXACT_MAX, "a score"
    assert (EXPONENTIALS - 1) * QUANTUM * shape.context < EXACT_MAX, "a weighted sum of values"
    assert STREAM * shape.width < EXACT_MAX, "a norm"
    for i in range(EXPONENTIALS):
        tie = 255 * math.exp(-i / 24) + 0.5
        assert abs(tie - round(tie)) > 1e-6, "a table entry that another mathematical library could round otherwise"


def weights(tag: str, count: int, limit: int) -> list[int]:
    """`count` integers within ±limit: the little-endian u32 of SHA-256("tag:0"), of SHA-256("tag:1") and so on."""
    span, prefix = 2 * limit + 1, f"{tag}:"
    stream = b"".join(hashlib.sha256(f"{prefix}{i}".encode()).digest() for i in range(-(-count // 8)))
    return [(value * span >> 32) - limit for value in struct.unpack_from(f"<{count}I", stream)]


class Tables(NamedTuple):
    """What replaces functions that no two devices compute alike.

    `exponentials`[i] = floor(255 e^(-i/24) + 1/2); the others hold exponents e, for a factor of 2**-e.
    """

    exponentials: list[int]
    norms: list[int]  # ceil(log2(max(1, (m + 1) / 32))), at least 0
    reciprocals: list[int]  # ceil(log2(256 (i + 1)))


def tables(shape: Exact) -> Tables:
    return Tables(
        [math.floor(255 * math.exp(-i / 24) + 0.5) for i in range(EXPONENTIALS)],
        [max(0, m.bit_length() - 5) for m in range(NORMS)],
        [8 + i.bit_length() for i in range(shape.context + 1)],
    )


@cache
def parameters(shape: Exact) -> dict[str, list[int]]:
    """All weights by tag (without the seed), row-major, applied as x @ W."""
    width, inner, seed = shape.width, shape.inner, shape.seed
    sizes = {"emb": (shape.vocabulary * width, EMBEDDING), "pos": (shape.context * width, POSITION)}
    for n in range(shape.layers):
        sizes |= {f"l{n}/{name}": (width * width, WEIGHT) for name in ("q", "k", "v", "o")}
        sizes |= {f"l{n}/{name}": (width * inner, WEIGHT) for name in ("f1", "f2")}
    sizes["head"] = (width * shape.vocabulary, WEIGHT)
    return {name: weights(f"{seed}/{name}", count, limit) for name, (count, limit) in sizes.items()}


@cache
def build(shape: Exact) -> bytes:
    """The decoder as ONNX, opset 17.

    Inputs: ids, pos int64 [B, T]; mask float [T, P + T], 0 or -1e6; for each layer k{n}, v{n} float [B, H, P, dh].
    Outputs: logits [B, T, V]; k{n}_out, v{n}_out [B, H, P + T, dh], the cache with this request's tokens appended.
    """
    check(shape)
    return _Builder(shape).build()


@cache
def digest(shape: Exact) -> str:
    """sha256 (hex) of the model's bytes."""
    return hashlib.sha256(build(shape)).hexdigest()


def spec(shape: Exact, name: str, delay_ticks: int = 2) -> ModelSpec:
    return ModelSpec(
        context=shape.context,
        delay_ticks=delay_ticks,
        digest=digest(shape),
        kv_bytes=shape.kv_bytes,
        name=name,
        vocabulary=shape.vocabulary,
    )


class _Builder:
    """The graph, operator by operator."""

    def __init__(self, shape: Exact) -> None:
        self.shape, self.graph = shape, Graph("exact")
        self.weights, self.tables = parameters(shape), tables(shape)

    def build(self) -> bytes:
        g, s = self.graph, self.shape
        ids, pos = g.input("ids", INT64, ("B", "T")), g.input("pos", INT64, ("B", "T"))
        mask = g.input("mask", FLOAT, ("T", "S"))
        x = g.node("Add", g.node("Gather", self.weight("emb", s.vocabulary, s.width), ids),
                   g.node("Gather", self.weight("pos", s.context, s.width), pos))  # fmt: skip
        for n in range(s.layers):
            x = self.layer(n, x, mask)
        g.node("MatMul", self.norm(x), self.weight("head", s.width, s.vocabulary), output="logits")
        g.output("logits", FLOAT, ("B", "T", s.vocabulary))
        for n in range(s.layers):
            for name in (f"k{n}", f"v{n}"):
                g.output(f"{name}_out", FLOAT, ("B", s.heads, "S", s.head))
        return g.encode(OPSET, "wasm-engine")

    def layer(self, n: int, x: str, mask: str) -> str:
        g, s = self.graph, self.shape
        a = self.norm(x)
        q = self.split(self.product(a, f"l{n}/q"))
        k, v = (self.cached(name, self.split(self.product(a, f"l{n}/{name[0]}"))) for name in (f"k{n}", f"v{n}"))
        scores = g.node("Add", self.shift(g.node("MatMul", q, g.node("Transpose", k, perm=(0, 1, 3, 2))), 5), mask)
        below = g.node("Sub", g.node("ReduceMax", scores, axes=(-1,), keepdims=1), scores)
        p = self.table("exponentials", self.clip(below, 0, EXPONENTIALS - 1))
        total = g.node("ReduceSum", p, g.integers((-1,), 1), keepdims=1)
        r = self.table("reciprocals", self.clip(self.shift(total, 8), 0, s.context))
        o = self.quantum(g.node("Floor", g.node("Mul", g.node("MatMul", p, v), r)))
        joined = g.node("Reshape", g.node("Transpose", o, perm=(0, 2, 1, 3)), g.integers((0, 0, s.width), 3))
        projected = g.node("MatMul", joined, self.weight(f"l{n}/o", s.width, s.width))
        x = self.stream(x, self.shift(projected, s.rescale - 1))
        inner = g.node("Relu", g.node("MatMul", self.norm(x), self.weight(f"l{n}/f1", s.width, s.inner)))
        f = self.clip(self.shift(inner, s.rescale), 0, QUANTUM)
        return self.stream(x, self.shift(g.node("MatMul", f, self.weight(f"l{n}/f2", s.inner, s.width)), s.rescale))

    def weight(self, name: str, *dims: int) -> str:
        return self.graph.floats(self.weights[name], *dims, name=f"weight/{name}")

    def product(self, a: str, name: str) -> str:
        s = self.shape
        return self.quantum(self.shift(self.graph.node("MatMul", a, self.weight(name, s.width, s.width)), s.rescale))

    def split(self, x: str) -> str:
        """[B, T, D] -> [B, H, T, dh]"""
        s = self.shape
        apart = self.graph.node("Reshape", x, self.graph.integers((0, 0, s.heads, s.head), 4))
        return self.graph.node("Transpose", apart, perm=(0, 2, 1, 3))

    def cached(self, name: str, new: str) -> str:
        s = self.shape
        held = self.graph.input(name, FLOAT, ("B", s.heads, "P", s.head))
        return self.graph.node("Concat", held, new, axis=2, output=f"{name}_out")

    def norm(self, x: str) -> str:
        """x scaled by a power of two that its mean absolute value decides, within ±127."""
        g = self.graph
        total = g.node("ReduceSum", g.node("Abs", x), g.integers((-1,), 1), keepdims=1)
        mean = self.clip(self.shift(total, self.shape.width.bit_length() - 1), 0, NORMS - 1)
        return self.quantum(g.node("Floor", g.node("Mul", x, self.table("norms", mean))))

    def table(self, name: str, index: str) -> str:
        values = getattr(self.tables, name)
        held = values if name == "exponentials" else [2.0**-exponent for exponent in values]
        return self.graph.node("Gather", self.graph.floats(held, len(held)), self.graph.node("Cast", index, to=INT32))

    def shift(self, x: str, bits: int) -> str:
        return self.graph.node("Floor", self.graph.node("Mul", x, self.graph.floats((2.0**-bits,))))

    def clip(self, x: str, low: int, high: int) -> str:
        return self.graph.node("Clip", x, self.graph.floats((low,)), self.graph.floats((high,)))

    def quantum(self, x: str) -> str:
        return self.clip(x, -QUANTUM, QUANTUM)

    def stream(self, x: str, added: str) -> str:
        return self.clip(self.graph.node("Add", x, added), -STREAM, STREAM)
