"""The exact decoders: the same bytes everywhere, their golden figures, and nothing that leaves float32's range."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_kit import HELLO, device, talk

from runtime.inference.engine import open_session
from scenarios import oracle
from scenarios.models import REFERENCE, SMALL, Exact, build, check, digest, parameters, spec, weights
from scenarios.onnx_file import INT64, Graph, varint

ROOT = Path(__file__).parent.parent
GOLDEN = [173, 57, 211, 102, 81, 96, 211, 102, 215, 19, 96, 211]
DIGESTS = {
    "small": "f280b12ed182dbb11f431606451c2fe409b52acea997257d3a85275119a4d769",
    "reference": "8aa3fe7a2706fdae6a7df24329b39138c6fbd0c80089139ffa5ca1dbd6b2ec02",
}


def raw_logits(session: Any, shape: Exact, tokens: list[int]) -> np.ndarray:
    """The logits of the last position, for all tokens at once."""
    count = len(tokens)
    empty = np.zeros((1, shape.heads, 0, shape.head), np.float32)
    feeds = {f"{kind}{n}": empty for n in range(shape.layers) for kind in "kv"}
    feeds["ids"], feeds["pos"] = np.array([tokens], np.int64), np.arange(count)[None]
    feeds["mask"] = np.triu(np.full((count, count), -1e6, np.float32), 1)
    logits: np.ndarray = session.run(["logits"], feeds)[0][0, -1]
    return logits


def test_the_reference_decoder_says_its_golden_tokens_with_its_golden_logits() -> None:
    said = talk(device(shape=REFERENCE), 50, shape=REFERENCE)
    assert said.tokens[:12] == GOLDEN
    session = open_session(digest(REFERENCE), build(REFERENCE))
    history, golden = list(HELLO), hashlib.sha256()
    for result in said.results:
        logits = raw_logits(session, REFERENCE, history).astype("<f4").tobytes()
        assert hashlib.sha256(logits).hexdigest() == result.logits
        golden.update(logits)
        history.append(result.token)
    assert golden.hexdigest().startswith("abc5f189aee028bf")


def test_the_reference_decoder_is_the_oracles_function() -> None:
    said = talk(device(shape=REFERENCE), 50, shape=REFERENCE)
    due = oracle.answers(REFERENCE, [*HELLO, *said.tokens[:-1]])
    assert (said.tokens, said.logits, said.kv) == (due.tokens[4:], due.logits[4:], b"".join(due.kv))


@settings(max_examples=15)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=SMALL.context))
def test_any_prompt_up_to_the_context_gives_what_the_oracle_says(tokens: list[int]) -> None:
    said = talk(device(), 1, prompt=tokens)
    due = oracle.answers(SMALL, tokens)
    assert (said.tokens, said.logits, said.kv) == (due.tokens[-1:], due.logits[-1:], b"".join(due.kv))


def test_the_first_weights_are_those_of_the_construction() -> None:
    assert parameters(REFERENCE)["emb"][:8] == [52, -41, 41, -4, 39, -55, -55, 37]
    assert set(weights("t", 5000, 7)) == set(range(-7, 8))
    assert weights("t", 11, 7) == weights("t", 5000, 7)[:11]


def test_the_models_bytes_are_the_same_in_every_process() -> None:
    code = "from scenarios.models import *; print(digest(SMALL), digest(REFERENCE))"
    printed = set()
    for hash_seed in ("0", "77"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True, timeout=120)
        printed.add(done.stdout.strip())
    assert printed == {" ".join(DIGESTS.values())}


def test_a_declared_model_has_the_shape_that_was_built() -> None:
    declared = spec(SMALL, "decoder", 3)
    assert declared.digest == digest(SMALL)
    assert (declared.context, declared.vocabulary, declared.delay_ticks) == (48, 256, 3)
    assert declared.kv_bytes == 2 * 2 * 2 * 16
    assert spec(REFERENCE, "reference").kv_bytes == 1024


@pytest.mark.parametrize(
    "shape",
    [
        REFERENCE._replace(context=519),
        REFERENCE._replace(inner=19_000),
        REFERENCE._replace(width=1 << 15, heads=1 << 10),
        REFERENCE._replace(heads=3),
        REFERENCE._replace(width=2048, heads=1),
    ],
)
def test_a_shape_whose_values_could_leave_the_exact_range_is_not_built(shape: Exact) -> None:
    with pytest.raises(AssertionError):
        check(shape)


def test_the_largest_context_within_the_bounds_is_518() -> None:
    check(REFERENCE._replace(context=518))


# --- the file format --------------------------------------------------------------------------------------------------


def test_numbers_are_written_in_base_128_and_negative_ones_as_64_bits() -> None:
    assert varint(0) == b"\0"
    assert varint(300) == b"\xac\x02"
    assert varint(-1) == b"\xff" * 9 + b"\x01"


def test_equal_constants_are_one_tensor() -> None:
    graph = Graph("constants")
    first = graph.floats((1.0,))
    assert graph.floats((1.0,)) == first
    assert len({first, graph.floats((1.0,), 1), graph.floats((2.0,)), graph.integers((1,))}) == 4


def test_a_graph_of_two_nodes_is_what_onnxruntime_reads() -> None:
    graph = Graph("sum")
    x = graph.input("x", INT64, ("N", 2))
    total = graph.node("ReduceSum", x, graph.integers((-1,), 1), keepdims=0)
    graph.node("Add", total, graph.integers((5,)), output="y")
    graph.output("y", INT64, ("N",))
    onnx = graph.encode(17, "test")
    session = open_session("sum", onnx)
    assert session.run(None, {"x": np.array([[1, 2], [3, 4]])})[0].tolist() == [8, 12]
    assert struct.pack("<q", 5) in onnx
