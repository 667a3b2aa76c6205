"""Edits of ONNX files, field by field: models that load and give wrong values, and outputs that no decoder gives.

Only what is edited is read (field numbers as in onnx.proto, wire format of protocol buffers); the rest stays byte for
byte. Every edit gives a file that a session accepts, or refuses for what the edit says: a broken file would only show
that broken files do not load.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

_GRAPH = 7  # of a ModelProto
_NODE, _TENSOR, _OUTPUT = 1, 5, 12  # of a GraphProto
_IN, _OUT = 1, 2  # of a NodeProto
_RAW = 9  # of a TensorProto
_FLOAT, _INT8, _HALF, _DOUBLE = 1, 3, 10, 11  # TensorProto.DataType
_TYPES = {"double": _DOUBLE, "half": _HALF, "integer": _INT8}
_CONSTANTS = {
    "nan": ("Add", struct.pack("<f", float("nan"))),
    "inf": ("Add", struct.pack("<f", float("inf"))),
    "minus_inf": ("Add", struct.pack("<f", float("-inf"))),
    "denormal": ("Mul", struct.pack("<f", 1e-42)),
    "fraction": ("Add", struct.pack("<f", 0.5)),
    "huge": ("Add", struct.pack("<f", float(1 << 25))),
}
_OPERATORS = {"shape": "Transpose", "rank": "Flatten"}
_GOOD, _CONSTANT = "spoiled.good", "spoiled.constant"

Field = tuple[int, int | bytes]  # its number; a varint's value, or the bytes of a field of known length


def spoiled(model: bytes, output: str, what: str) -> bytes:
    """The model with another last operator before this output; raises ValueError for a file that is no model."""

    def change(graph: list[Field]) -> list[Field]:
        if what == "missing":
            return [(n, v) for n, v in graph if n != _OUTPUT or _name(v) != output]
        renamed: list[Field] = [(n, _renamed(v, output) if n == _NODE else v) for n, v in graph]
        if what in _TYPES:
            cast = _text(1, "to") + _number(3, _TYPES[what]) + _number(20, 2)
            node = _node("Cast", _GOOD, output) + _chunk(5, cast)
            return [(n, _typed(v, output, _TYPES[what]) if n == _OUTPUT else v) for n, v in renamed] + [(_NODE, node)]
        if what in _OPERATORS:
            return [*renamed, (_NODE, _node(_OPERATORS[what], _GOOD, output))]
        operator, value = _CONSTANTS[what]
        constant = _number(2, _FLOAT) + _text(8, _CONSTANT) + _chunk(_RAW, value)
        return [*renamed, (_NODE, _node(operator, _GOOD, output, _CONSTANT)), (_TENSOR, constant)]

    return _changed(model, change)


def stale(model: bytes) -> bytes:
    """The model with the sign of one weight turned: it loads, and answers otherwise."""
    return _weights(model, lambda raw: raw[:3] + bytes([raw[3] ^ 0x80]) + raw[4:])


def other(model: bytes) -> bytes:
    """A model with other weights: those of the largest tensor, each in its neighbour's place."""
    return _weights(model, lambda raw: raw[4:] + raw[:4])


def _weights(model: bytes, change: Callable[[bytes], bytes]) -> bytes:
    def changed(graph: list[Field]) -> list[Field]:
        tensors = [(len(v), index) for index, (n, v) in enumerate(graph) if n == _TENSOR and isinstance(v, bytes)]
        if not tensors:
            raise ValueError("a model without weights")
        place = max(tensors)[1]
        tensor = _fields(_bytes(graph[place][1]))
        graph[place] = (_TENSOR, _joined([(n, change(_bytes(v)) if n == _RAW else v) for n, v in tensor]))
        return graph

    return _changed(model, changed)


def _changed(model: bytes, change: Callable[[list[Field]], list[Field]]) -> bytes:
    fields = _fields(model)
    return _joined([(n, _joined(change(_fields(_bytes(v)))) if n == _GRAPH else v) for n, v in fields])


def _renamed(node: int | bytes, output: str) -> bytes:
    """The node with its uses and its making of this output under another name."""
    fields = _fields(_bytes(node))
    name = output.encode()
    return _joined([(n, _GOOD.encode() if n in (_IN, _OUT) and v == name else v) for n, v in fields])


def _typed(value: int | bytes, output: str, kind: int) -> int | bytes:
    """An output's declaration, of another element type: ValueInfo.type (2), tensor_type (1), elem_type (1)."""
    if _name(value) != output:
        return value

    def within(data: int | bytes, path: tuple[int, ...]) -> int | bytes:
        if not path:
            return kind
        return _joined([(n, within(v, path[1:]) if n == path[0] else v) for n, v in _fields(_bytes(data))])

    return within(value, (2, 1, 1))


def _name(value: int | bytes) -> str:
    return next((_bytes(v).decode() for n, v in _fields(_bytes(value)) if n == 1), "")


# --- protocol buffers ------------------------------------------------------------------------------------------------


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where bytes should")
    return value


def _fields(data: bytes) -> list[Field]:
    found: list[Field] = []
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value, at = _varint(data, at)
            found.append((key >> 3, value))
        elif key & 7 == 2:
            length, at = _varint(data, at)
            if length > len(data) - at:
                raise ValueError("a field ends too late")
            found.append((key >> 3, data[at : at + length]))
            at += length
        else:
            raise ValueError(f"wire type {key & 7}")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError("a number ends too late")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def _joined(fields: list[Field]) -> bytes:
    return b"".join(_number(n, v) if isinstance(v, int) else _chunk(n, v) for n, v in fields)


def _number(field: int, value: int) -> bytes:
    return _encoded(field << 3) + _encoded(value)


def _chunk(field: int, data: bytes) -> bytes:
    return _encoded(field << 3 | 2) + _encoded(len(data)) + data


def _text(field: int, value: str) -> bytes:
    return _chunk(field, value.encode())


def _node(operator: str, first: str, output: str, *more: str) -> bytes:
    return b"".join(_text(_IN, name) for name in (first, *more)) + _text(_OUT, output) + _text(4, operator)
