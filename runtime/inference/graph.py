"""What a model's file may hold, checked before ONNX Runtime sees any of it: one graph of the exact tier's operators.

Guards against weights that lie in other files (`../`, absolute, a device: what was hashed is then not what is used),
against loops, branches and functions, and against graphs and constants that are there to take time or memory: an
operator that makes large values from small ones is not among these. Field numbers as in onnx.proto; what is not looked
at is not needed to know that, and a file that is no protocol buffer is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.errors import ModelFailed

OPERATORS = (
    *("Abs", "Add", "Cast", "Clip", "Concat", "Flatten", "Floor", "Gather", "MatMul", "Mul"),
    *("ReduceMax", "ReduceSum", "Relu", "Reshape", "Sub", "Transpose"),
)
NODES_MAX = 20_000
_GRAPH, _FUNCTIONS, _TRAINING = 7, 25, 20  # of a ModelProto
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15  # of a GraphProto
_ATTRIBUTE, _OPERATOR, _DOMAIN = 5, 4, 7  # of a NodeProto
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS, _SPARSE_TENSOR, _SPARSE_TENSORS = 5, 6, 10, 11, 22, 23  # of an AttributeProto
_EXTERNAL, _LOCATION = 13, 14  # of a TensorProto


def check(onnx: bytes, where: str) -> None:
    """Raises ModelFailed("load") with the first thing that no model may hold."""
    try:
        problem = next(_problems(memoryview(onnx)), "")
    except (ValueError, IndexError):
        problem = "it is no ONNX file"
    if problem:
        raise ModelFailed("load", problem, where)


def _problems(model: memoryview) -> Iterator[str]:
    graphs = 0
    for number, value in _fields(model):
        if number in (_FUNCTIONS, _TRAINING):
            yield "it brings functions or training of its own"
        elif number == _GRAPH:
            graphs += 1
            yield from _of_graph(_bytes(value))
    if graphs != 1:
        yield f"it has {graphs} graphs, not one"


def _of_graph(graph: memoryview) -> Iterator[str]:
    nodes = 0
    for number, value in _fields(graph):
        if number == _NODE:
            nodes += 1
            if nodes > NODES_MAX:
                yield f"it has more than {NODES_MAX} nodes"
            yield from _of_node(_bytes(value))
        elif number == _INITIALIZER:
            yield from _of_tensor(_bytes(value))
        elif number == _SPARSE:
            yield "it has sparse weights"


def _of_node(node: memoryview) -> Iterator[str]:
    operator = domain = ""
    for number, value in _fields(node):
        if number == _OPERATOR:
            operator = _bytes(value).tobytes().decode("utf-8", "replace")
        elif number == _DOMAIN:
            domain = _bytes(value).tobytes().decode("utf-8", "replace")
        elif number == _ATTRIBUTE:
            for kind, held in _fields(_bytes(value)):
                if kind in (_SUBGRAPH, _SUBGRAPHS, _SPARSE_TENSOR, _SPARSE_TENSORS):
                    yield "a node holds a graph or a sparse constant"
                elif kind in (_TENSOR, _TENSORS):
                    yield from _of_tensor(_bytes(held))
    if domain not in ("", "ai.onnx") or operator not in OPERATORS:
        yield f"operator {ascii((f'{domain}.' if domain else '') + operator)[:60]} is none of the exact tier's"


def _of_tensor(tensor: memoryview) -> Iterator[str]:
    for number, value in _fields(tensor):
        if number == _EXTERNAL or (number == _LOCATION and value != 0):
            yield "weights of it lie outside of the file"


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where bytes should")
    return value


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field; raises ValueError or IndexError where this is no message."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"wire type {kind}")
        size, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if size > end - at:
            raise ValueError("a field ends too late")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number ends too late")
