"""Writes ONNX models: nodes and tensors in, the bytes of a ModelProto out, with no other library.

The same calls give the same bytes everywhere, as the format's own serializer does not promise: fields are written in
the order of their numbers, and nothing is written that depends on a library's version. Field numbers are those of
onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), wire format as in
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

IR_VERSION = 8  # the one that came with opset 17
FLOAT, INT32, INT64 = 1, 6, 7  # TensorProto.DataType

_INTS, _INT = 7, 2  # AttributeProto.AttributeType

Dimension = int | str  # a name stands for a size known only at run time


def varint(value: int) -> bytes:
    """Base 128, low groups first; a negative number as its 64-bit complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, data: bytes) -> bytes:
    """A field of known length: a string, bytes, or a message inside this one."""
    return varint(field << 3 | 2) + varint(len(data)) + data


def text(field: int, value: str) -> bytes:
    return chunk(field, value.encode())


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return text(1, name) + number(3, value) + number(20, _INT)
    return text(1, name) + b"".join(number(8, item) for item in value) + number(20, _INTS)


def _value_info(name: str, kind: int, shape: Sequence[Dimension]) -> bytes:
    dims = (chunk(1, number(1, size) if isinstance(size, int) else text(2, size)) for size in shape)
    tensor = number(1, kind) + chunk(2, b"".join(dims))
    return text(1, name) + chunk(2, chunk(1, tensor))


class Graph:
    """One graph being built, in the order of the calls. Names of inner values are given by counting."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[bytes] = []
        self._tensors: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._constants: dict[tuple[int, tuple[int, ...], bytes], str] = {}

    def input(self, name: str, kind: int, shape: Sequence[Dimension]) -> str:
        self._inputs.append(_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int, shape: Sequence[Dimension]) -> None:
        self._outputs.append(_value_info(name, kind, shape))

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: int | Sequence[int]) -> str:
        """One operator with one output; the output's name."""
        output = output or f"{operator.lower()}_{len(self._nodes)}"
        body = b"".join(text(1, name) for name in inputs) + text(2, output) + text(4, operator)
        body += b"".join(chunk(5, _attribute(name, attributes[name])) for name in sorted(attributes))
        self._nodes.append(body)
        return output

    def floats(self, values: Sequence[float], *shape: int, name: str = "") -> str:
        """A float32 constant, row-major; no shape is a scalar."""
        return self._constant(FLOAT, struct.pack(f"<{len(values)}f", *values), shape, name)

    def integers(self, values: Sequence[int], *shape: int, name: str = "") -> str:
        """An int64 constant."""
        return self._constant(INT64, struct.pack(f"<{len(values)}q", *values), shape, name)

    def _constant(self, kind: int, data: bytes, shape: tuple[int, ...], name: str) -> str:
        """Equal unnamed constants are one tensor."""
        known = self._constants.get((kind, shape, data))
        if known and not name:
            return known
        name = name or f"constant_{len(self._tensors)}"
        self._constants[kind, shape, data] = name
        dims = b"".join(number(1, size) for size in shape)
        self._tensors.append(dims + number(2, kind) + text(8, name) + chunk(9, data))
        return name

    def encode(self, opset: int, producer: str) -> bytes:
        graph = b"".join(chunk(1, node) for node in self._nodes) + text(2, self._name)
        graph += b"".join(chunk(5, tensor) for tensor in self._tensors)
        graph += b"".join(chunk(11, value) for value in self._inputs)
        graph += b"".join(chunk(12, value) for value in self._outputs)
        domain = text(1, "") + number(2, opset)
        return number(1, IR_VERSION) + text(2, producer) + chunk(7, graph) + chunk(8, domain)
