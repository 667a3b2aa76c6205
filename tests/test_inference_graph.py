"""INF-1, F56, F57: files that no model may be are refused before ONNX Runtime sees them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_kit import HELLO, Shelf, ask

from faults.wrappers import onnx_edit
from faults.wrappers.model_files import KINDS
from faults.wrappers.onnx_edit import _chunk, _fields, _joined, _number, _text
from runtime.errors import ModelFailed
from runtime.frames import InferenceItem
from runtime.inference import DeviceCore, OrtModels, graph
from scenarios.models import REFERENCE, SMALL, build
from scenarios.onnx_file import FLOAT, INT64, Graph

MODEL = build(SMALL)


def changed(field: int, data: bytes) -> bytes:
    """The small decoder with one more field in its graph."""
    return _joined([(n, v + _chunk(field, data) if n == 7 and isinstance(v, bytes) else v) for n, v in _fields(MODEL)])


def external(location: str) -> bytes:
    """A weight that lies in another file: TensorProto with external_data and data_location EXTERNAL."""
    entry = _text(1, "location") + _text(2, location)
    return _number(1, 1024) + _number(2, FLOAT) + _text(8, "far") + _chunk(13, entry) + _number(14, 1)


def node(operator: str, *more: bytes) -> bytes:
    return _text(1, "ids") + _text(2, "new") + _text(4, operator) + b"".join(more)


BAD = {
    "a file beside": (changed(5, external("weights.bin")), "outside of the file"),
    "a file above": (changed(5, external("../../secret")), "outside of the file"),
    "an absolute path": (changed(5, external("/etc/hostname")), "outside of the file"),
    "a device": (changed(5, external("/dev/zero")), "outside of the file"),
    "a constant outside": (
        changed(1, node("Gather", _chunk(5, _text(1, "value") + _chunk(5, external("x"))))),
        "outside of the file",
    ),
    "a loop": (changed(1, node("Loop", _chunk(5, _text(1, "body") + _chunk(6, b"")))), "holds a graph"),
    "a branch": (changed(1, node("If")), "operator 'If'"),
    "an allocation": (changed(1, node("ConstantOfShape")), "operator 'ConstantOfShape'"),
    "an expansion": (changed(1, node("Expand")), "operator 'Expand'"),
    "another domain": (changed(1, node("Add", _text(7, "com.evil"))), "operator 'com.evil.Add'"),
    "a float operator": (changed(1, node("Softmax")), "operator 'Softmax'"),
    "sparse weights": (changed(15, b""), "sparse"),
    "functions": (MODEL + _chunk(25, b""), "functions"),
    "two graphs": (MODEL + MODEL, "2 graphs"),
    "no graph": (b"", "0 graphs"),
    "cut": (MODEL[:-100], "no ONNX file"),
    "no protocol buffer": (b"\xff" * 40, "no ONNX file"),
    "a number for a graph": (_number(7, 1), "no ONNX file"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_file_that_no_model_may_be_is_refused_by_name_on_a_device(what: str) -> None:
    onnx, words = BAD[what]
    with pytest.raises(ModelFailed) as failed:
        OrtModels().load("0" * 64, onnx)
    assert failed.value.failure == "load" and words in failed.value.reason
    name = hashlib.sha256(onnx).hexdigest()
    core = DeviceCore(1, OrtModels(), Shelf({name: onnx}))
    answer = ask(core, InferenceItem(1, 0, HELLO, b""), model=name)
    assert (answer.failure, answer.results) == ("load", ())


def test_a_flood_of_nodes_is_refused_before_anything_is_built() -> None:
    flood = Graph("flood")
    name = flood.input("x", INT64, (1,))
    for _ in range(graph.NODES_MAX + 1):
        name = flood.node("Abs", name)
    with pytest.raises(ModelFailed, match="more than 20000 nodes"):
        graph.check(flood.encode(17, "test"), "flood")


def test_the_decoders_and_all_their_edits_pass_so_that_what_is_wrong_with_them_is_found_by_what_they_do() -> None:
    graph.check(MODEL, "small")
    graph.check(build(REFERENCE), "reference")
    assert KINDS
    for what in ("nan", "fraction", "double", "shape", "rank", "missing"):
        graph.check(onnx_edit.spoiled(MODEL, "logits", what), what)
    graph.check(onnx_edit.stale(MODEL), "stale")


def test_a_weight_outside_is_not_read_though_the_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(4096))
    opened: list[str] = []
    monkeypatch.setattr(os, "open", lambda path, *rest: opened.append(str(path)) or -1)
    with pytest.raises(ModelFailed, match="outside of the file"):
        OrtModels().load("0" * 64, BAD["a file beside"][0])
    assert opened == []


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(MODEL) - 1), st.integers(0, 7), st.integers(0, 40))
def test_no_altered_file_raises_anything_but_its_refusal(place: int, bit: int, cut: int) -> None:
    """In the structure, which is at the file's beginning and end, as weights are not looked at."""
    place = place % 3000 if cut % 2 else len(MODEL) - 1 - place % 3000
    altered = MODEL[:place] + bytes([MODEL[place] ^ 1 << bit]) + MODEL[place + 1 :]
    try:
        graph.check(altered[: len(altered) - cut], "altered")
    except ModelFailed as failed:
        assert failed.failure == "load" and "\n" not in failed.reason
