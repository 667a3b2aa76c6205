"""A device, frame by frame: what it computes, what it refuses, and that another one can take up any conversation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from inference_kit import HELLO, MODELS, SMALL, Shelf, ask, device, talk

from runtime.errors import ModelFailed
from runtime.frames import Infer, InferenceItem, Work, pack, unpack
from runtime.inference import DeviceCore, OrtModels
from runtime.inference.engine import Layout, OrtDecoder, open_session
from runtime.ports import Decoder
from scenarios import oracle
from scenarios.models import Exact, build, digest
from scenarios.onnx_file import FLOAT, Graph

ROOT = Path(__file__).parent.parent
OTHER = Exact(seed=2, width=32, layers=1, heads=2, inner=64, context=32)


def item(tokens: tuple[int, ...] = HELLO, position: int = 0, kv: bytes = b"", request: int = 7) -> InferenceItem:
    return InferenceItem(request, position, tokens, kv)


# --- what it computes -------------------------------------------------------------------------------------------------


def test_each_answer_is_the_oracles_token_logits_and_kv_cache() -> None:
    said = talk(device(), 20)
    due = oracle.answers(SMALL, [*HELLO, *said.tokens[:-1]])
    assert said.tokens == due.tokens[4:]
    assert said.logits == due.logits[4:]
    assert said.kv == b"".join(due.kv)
    assert len(set(said.tokens)) > 5, "a decoder that says one thing proves nothing"


def test_a_prompt_at_once_in_parts_and_token_by_token_gives_the_same_bits() -> None:
    prompt = tuple(range(40, 52))
    whole = ask(device(), item(prompt)).results[0]
    for part in (1, 5):
        core, kv = device(), b""
        for start in range(0, len(prompt), part):
            last = ask(core, item(prompt[start : start + part], start, kv)).results[0]
            kv += last.kv
        assert (last.token, last.logits, kv) == (whole.token, whole.logits, whole.kv)


@pytest.mark.parametrize("count", [2, 4])
def test_a_batch_gives_each_request_what_it_gets_alone(count: int) -> None:
    prompts = [tuple((17 * n + 3 * place) % 256 for place in range(6)) for n in range(count)]
    together, alone = device(), device()
    kv = [b""] * count
    tokens, position = prompts, 0
    for _ in range(8):
        items = [item(tokens[n], position, kv[n], request=n) for n in range(count)]
        results = ask(together, *items).results
        assert list(results) == [ask(alone, one).results[0] for one in items]
        kv = [held + result.kv for held, result in zip(kv, results, strict=True)]
        position += len(tokens[0])
        tokens = [(result.token,) for result in results]
    assert len({result.logits for result in results}) == count


def test_a_second_device_takes_up_the_conversation_at_any_token() -> None:
    whole = talk(device(), 10)
    for broken_off in range(1, 10):
        first, second = device(1), device(2, models=OrtModels() if broken_off == 5 else MODELS)
        assert talk(second, 10 - broken_off, talk(first, broken_off)) == whole


def test_a_kv_cache_of_another_step_gives_other_bits() -> None:
    said = talk(device(), 3)
    stale = said.kv[: -SMALL.kv_bytes] + bytes(SMALL.kv_bytes)
    right, wrong = (ask(device(), item((5,), said.held, kv)).results[0] for kv in (said.kv, stale))
    assert right.logits != wrong.logits


def test_tokens_and_loads_are_counted_and_a_model_is_loaded_once() -> None:
    core = DeviceCore(1, MODELS, Shelf({digest(SMALL): build(SMALL), digest(OTHER): build(OTHER)}))
    assert (core.loads, core.tokens_spent, core.bytes_loaded) == (0, 0, 0)
    assert ask(core, item(), item(request=8)).cost == 10
    assert ask(core, item((1,))).cost == 1
    assert (core.loads, core.tokens_spent, core.bytes_loaded) == (1, 11, len(build(SMALL)))
    assert ask(core, item((1,)), model=digest(OTHER)).failure == ""
    assert (core.loads, core.tokens_spent) == (2, 12)
    core.close()
    assert core.bytes_loaded == 0


def test_an_answer_carries_the_lease_and_incarnation_of_its_request() -> None:
    core = device(9)
    (answer,) = core.handle(pack(Infer(3, 9, 44, digest(SMALL), (item(),))))
    inferred = unpack(answer)
    assert (inferred.incarnation, inferred.device, inferred.lease) == (3, 9, 44)  # type: ignore[union-attr]


# --- what it refuses --------------------------------------------------------------------------------------------------


def test_a_frame_that_does_not_verify_or_is_for_another_is_dropped_and_counted() -> None:
    core = device(1)
    frame = pack(Infer(1, 1, 1, digest(SMALL), (item(),)))
    foreign = [b"", frame[:-1], frame[:-1] + b"x", pack(Work(1, 1, 1, ())), pack(Infer(1, 2, 1, digest(SMALL), ()))]
    assert [core.handle(data) for data in foreign] == [[]] * len(foreign)
    assert core.garbled == len(foreign)
    assert (core.loads, core.tokens_spent) == (0, 0)


def test_one_flipped_bit_in_the_weights_is_refused_before_anything_is_loaded() -> None:
    onnx = build(SMALL)
    for place in (0, len(onnx) // 2, len(onnx) - 1):
        damaged = onnx[:place] + bytes([onnx[place] ^ 1]) + onnx[place + 1 :]
        core = DeviceCore(1, MODELS, Shelf({digest(SMALL): damaged}))
        answer = ask(core, item())
        assert (answer.failure, answer.results, core.loads) == ("load", (), 0)


def test_a_missing_model_is_a_failure_to_load_and_the_device_lives_on() -> None:
    core = device()
    assert ask(core, item(), model="0" * 64).failure == "load"
    assert ask(core, item()).failure == ""


@pytest.mark.parametrize("onnx", [b"", b"garbage", build(SMALL)[:-100]], ids=["empty", "garbage", "truncated"])
def test_bytes_that_are_no_model_do_not_load(onnx: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelFailed) as failed:
        OrtModels().load("1" * 64, onnx)
    assert failed.value.failure == "load"
    assert "\n" not in str(failed.value)
    assert capfd.readouterr() == ("", "")


def test_a_model_that_is_no_decoder_does_not_load() -> None:
    graph = Graph("relu")
    graph.node("Relu", graph.input("x", FLOAT, (1,)), output="y")
    graph.output("y", FLOAT, (1,))
    with pytest.raises(ModelFailed, match="not a decoder's"):
        OrtModels().load("2" * 64, graph.encode(17, "test"))


@pytest.mark.parametrize(
    "items",
    [
        (item(), item((1, 2))),
        (item(()),),
        (item(kv=bytes(SMALL.kv_bytes)),),
        (item(position=3, kv=bytes(2 * SMALL.kv_bytes)),),
    ],
    ids=["unequal", "no tokens", "too much cache", "too little cache"],
)
def test_a_batch_that_the_model_cannot_take_is_refused_and_the_device_lives_on(
    items: tuple[InferenceItem, ...],
) -> None:
    core = device()
    answer = ask(core, *items)
    assert (answer.failure, answer.results, answer.cost) == ("load", (), 0)
    assert ask(core, item()).failure == ""


def test_after_a_failure_of_the_device_every_later_answer_is_that_failure() -> None:
    core = device()
    assert ask(core, item()).failure == ""
    beyond = ask(core, item((300,)))  # no such row in the embedding: the kernel fails
    assert beyond.failure == "device"
    assert [ask(core, item()).failure for _ in range(3)] == ["device"] * 3
    assert (core.failed, core.tokens_spent) == ("device", 5)
    assert ask(device(2), item()).failure == "", "another process is not concerned"


@pytest.mark.parametrize("spoil", [float("nan"), float("inf"), 0.5, float(1 << 24)])
def test_values_that_an_exact_model_cannot_have_are_a_failure_of_the_device(spoil: float) -> None:
    session = open_session(digest(SMALL), build(SMALL))

    class Spoiled:
        """The session of a device that computes wrong."""

        def run(self, names: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            outputs: list[np.ndarray] = session.run(names, feeds)
            outputs[0][0, -1, 3] = spoil
            return outputs

    decoder = OrtDecoder(Spoiled(), Layout(SMALL.layers, SMALL.heads, SMALL.head), "spoiled")
    with pytest.raises(ModelFailed) as failed:
        decoder.run([item()])
    assert failed.value.failure == "device"


def test_a_failed_load_can_be_tried_again() -> None:
    class Late:
        """Loads at the second attempt."""

        attempts = 0

        def load(self, digest: str, onnx: bytes) -> Decoder:
            self.attempts += 1
            if self.attempts == 1:
                raise ModelFailed("memory", "none left")
            return MODELS.load(digest, onnx)

    core = DeviceCore(1, Late(), Shelf({digest(SMALL): build(SMALL)}))
    assert [ask(core, item()).failure for _ in range(2)] == ["memory", ""]
    assert core.loads == 1


# --- telemetry --------------------------------------------------------------------------------------------------------

_CHILD = """
import sys
import runtime.inference
import scenarios.registry
assert "onnxruntime" not in sys.modules and "numpy" not in sys.modules
from inference_kit import device, talk
print(*talk(device(), 3).tokens)
assert "onnxruntime" in sys.modules
"""


def test_inference_leaves_no_file_below_home_and_nothing_is_imported_before_it_is_needed(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_"))}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        check=False,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [int(token) for token in done.stdout.split()] == talk(device(), 3).tokens
    assert list(tmp_path.rglob("*")) == []
