"""INF-1: load_model, unload_model, infer, batch_infer from Python, with no orchestrator; the CPU where no device is."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from device_kit import OTHER
from inference_kit import HELLO
from msgspec.structs import replace

from faults.wrappers import onnx_edit
from runtime.errors import ModelFailed, Refused
from runtime.inference import Ask, InferenceService, ModelFile, golden, read_library
from runtime.inference.process import Patience, S
from runtime.inference.providers import Provider
from runtime.telemetry import Record, Telemetry
from scenarios import oracle
from scenarios.goldens import golden_of
from scenarios.models import SMALL, Exact, build, digest

SECOND = Exact(seed=2, width=32, layers=2, heads=2, inner=64, context=48)
LIBRARY = {
    ("decoder", version): ModelFile(digest(shape), lambda shape=shape: build(shape))  # type: ignore[misc]
    for version, shape in ((1, SMALL), (2, SECOND))
}
SIZE = len(build(SMALL))


class Told:
    """A service and what it told; `now` moves when a test says so."""

    def __init__(self, device: Provider | None = None, **options: int) -> None:
        self.now, self.records = 0, list[Record]()
        telemetry = Telemetry(lambda: self.now)
        telemetry.register(self.records.append)
        self.service = InferenceService(
            LIBRARY, device, telemetry=telemetry, now=lambda: self.now, patience=Patience(answer_ns=5 * S), **options
        )

    def kinds(self) -> list[str]:
        return [record.kind for record in self.records]

    def served(self) -> list[object]:
        return [record.fields["device"] for record in self.records if record.kind == "served"]


@pytest.fixture
def cpu() -> Iterator[Told]:
    told = Told()
    yield told
    told.service.close()


@pytest.fixture
def other() -> Iterator[Told]:
    told = Told(OTHER)
    yield told
    told.service.close()


def conversation(service: InferenceService, count: int, version: int = 1) -> list[tuple[int, str]]:
    said, kv, held, tokens = list[tuple[int, str]](), b"", 0, HELLO
    for _ in range(count):
        result = service.infer("decoder", version, Ask(tokens, held, kv))
        said.append((result.token, result.logits))
        kv, held, tokens = kv + result.kv, held + len(tokens), (result.token,)
    return said


def due(count: int, shape: Exact = SMALL) -> list[tuple[int, str]]:
    tokens = list(HELLO)
    for _ in range(count):
        answers = oracle.answers(shape, tokens)
        tokens.append(answers.tokens[-1])
    return list(zip(answers.tokens, answers.logits, strict=True))[len(HELLO) - 1 :]


def test_a_conversation_by_calls_is_what_the_integers_say_on_the_cpu_and_on_a_device(cpu: Told, other: Told) -> None:
    assert conversation(cpu.service, 6) == conversation(other.service, 6) == due(6)
    assert set(cpu.served()) == {"cpu"} and set(other.served()) == {"cpu-other"}


def test_versions_of_a_model_are_loaded_side_by_side_and_unloaded_one_by_one(cpu: Told) -> None:
    assert conversation(cpu.service, 2, version=2) == due(2, SECOND) != due(2)
    loaded = cpu.service.load_model("decoder", 1)
    assert (loaded.digest, loaded.device) == (digest(SMALL), "cpu")
    assert cpu.service.loaded() == {"cpu": (("decoder", 1), ("decoder", 2))}
    assert cpu.service.unload_model("decoder", 2) and not cpu.service.unload_model("decoder", 2)
    assert cpu.service.loaded() == {"cpu": (("decoder", 1),)}
    assert conversation(cpu.service, 1, version=2) == due(1, SECOND), "it is loaded again when it is asked for"


def test_a_batch_gives_each_request_what_it_gets_alone(other: Told) -> None:
    asks = [Ask((1, 2, 3)), Ask((9, 9, 9)), Ask(HELLO[:3])]
    together = other.service.batch_infer("decoder", 1, asks)
    alone = [other.service.infer("decoder", 1, ask) for ask in asks]
    assert [(r.token, r.logits, r.kv) for r in together] == [(r.token, r.logits, r.kv) for r in alone]
    assert [r.request for r in together] == [0, 1, 2] and other.service.batch_infer("decoder", 1, []) == []


@pytest.mark.parametrize("call", ["load_model", "unload_model"])
def test_an_unknown_model_or_version_is_refused_by_name(cpu: Told, call: str) -> None:
    for id, version in (("decoder", 3), ("coder", 1)):
        with pytest.raises(Refused, match=f"no model '{id}' of version {version}"):
            getattr(cpu.service, call)(id, version)


def test_a_request_that_the_model_cannot_take_is_the_callers_failure_and_costs_no_device(other: Told) -> None:
    other.service.load_model("decoder", 1)
    for ask in (Ask(()), Ask((1,), 4, b"short")):
        with pytest.raises(ModelFailed) as failed:
            other.service.infer("decoder", 1, ask)
        assert failed.value.failure == "load"
    with pytest.raises(ModelFailed, match="different shapes"):
        other.service.batch_infer("decoder", 1, [Ask((1,)), Ask((1, 2))])
    assert "device_given_up" not in other.kinds() and conversation(other.service, 2) == due(2)
    assert other.served()[-1] == "cpu-other"


def test_a_device_that_dies_in_mid_conversation_changes_no_answer_and_comes_back_later(other: Told) -> None:
    first = other.service.infer("decoder", 1, Ask(HELLO))
    process = other.service._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    second = other.service.infer("decoder", 1, Ask((first.token,), len(HELLO), first.kv))
    assert [(r.token, r.logits) for r in (first, second)] == due(2)
    assert other.served() == ["cpu-other", "cpu"] and "device_given_up" in other.kinds()
    assert conversation(other.service, 1) == due(1) and other.served()[-1] == "cpu", "not before its time"
    other.now += 11 * S
    assert conversation(other.service, 3) == due(3) and set(other.served()[-3:]) == {"cpu-other"}
    assert other.kinds().count("device_admitted") == 2, "it was held to its golden answers anew"


def test_a_device_that_is_not_there_is_told_once_and_the_cpu_serves() -> None:
    told = Told(Provider(name="cuda", execution="NoSuchExecutionProvider"))
    assert conversation(told.service, 3) == due(3)
    assert told.kinds().count("device_given_up") == 1 and set(told.served()) == {"cpu"}
    assert told.service.load_model("decoder", 1).device == "cpu"
    told.service.close()


def test_a_device_with_other_answers_is_refused_for_that_model_and_serves_the_others() -> None:
    held = golden_of(digest(SMALL), build(SMALL))
    first, *rest = held.answers
    wrong = replace(held, answers=(replace(first, logits="0" * 64), *rest))
    models = dict(LIBRARY)
    models["decoder", 1] = models["decoder", 1]._replace(golden=wrong)
    records: list[Record] = []
    telemetry = Telemetry(lambda: 0)
    telemetry.register(records.append)
    service = InferenceService(models, OTHER, telemetry=telemetry)
    assert conversation(service, 2) == due(2) and conversation(service, 2, version=2) == due(2, SECOND)
    served = [record.fields["device"] for record in records if record.kind == "served"]
    assert served == ["cpu", "cpu", "cpu-other", "cpu-other"]
    (refused,) = (record.fields for record in records if record.kind == "device_refused")
    assert "golden answer 1 of 9" in str(refused["reason"])
    service.close()


def test_a_budget_for_one_model_holds_one_at_a_time_here_and_there() -> None:
    told = Told(OTHER, host_bytes=SIZE, device_bytes=SIZE)
    for version in (1, 2, 1, 2):
        assert conversation(told.service, 1, version) == due(1, SMALL if version == 1 else SECOND)
        assert told.service.loaded()["cpu-other"] == (("decoder", version),)
    assert set(told.served()) == {"cpu-other"}
    told.service.close()
    small = Told(host_bytes=SIZE - 1)
    with pytest.raises(ModelFailed) as failed:
        small.service.load_model("decoder", 1)
    assert failed.value.failure == "memory" and "do not fit" in failed.value.reason


def test_a_file_that_was_changed_after_its_first_load_is_refused_at_the_next(cpu: Told) -> None:
    onnx = [build(SMALL)]
    service = InferenceService({("m", 1): ModelFile(digest(SMALL), lambda: onnx[0])})
    service.load_model("m", 1)
    onnx[0] = onnx_edit.stale(build(SMALL))
    assert service.infer("m", 1, Ask(HELLO)).token == due(1)[0][0], "what is loaded was verified"
    service.unload_model("m", 1)
    with pytest.raises(ModelFailed, match="another digest"):
        service.infer("m", 1, Ask(HELLO))
    service.close()


def test_threads_that_call_at_once_get_their_own_answers(cpu: Told) -> None:
    found: dict[int, int] = {}

    def ask(n: int) -> None:
        found[n] = cpu.service.infer("decoder", 1 + n % 2, Ask((n, n + 1))).token

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: oracle.answers((SMALL, SECOND)[n % 2], (n, n + 1)).tokens[-1] for n in range(8)}


# --- the library of a folder ------------------------------------------------------------------------------------------


def written(folder: Path, **changes: str) -> Path:
    onnx = build(SMALL)
    (folder / "decoder.onnx").write_bytes(onnx)
    (folder / "decoder.json").write_bytes(golden.to_json(golden_of(digest(SMALL), onnx)))
    entry = {"id": "decoder", "file": "decoder.onnx", "digest": hashlib.sha256(onnx).hexdigest()} | changes
    lines = [f'{key} = "{value}"' for key, value in entry.items()]
    (folder / "models.toml").write_text("\n".join(["[[model]]", "version = 1", *lines]) + "\n", "utf-8")
    return folder


def test_a_folder_with_a_list_of_models_is_a_library(tmp_path: Path) -> None:
    service = InferenceService(read_library(written(tmp_path, golden="decoder.json")), OTHER)
    assert conversation(service, 2) == due(2)
    service.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file": "../decoder.onnx"}, "file"),
        ({"file": ".hidden"}, "file"),
        ({"digest": "abc"}, "digest"),
        ({"weights": "x"}, "weights: unknown key"),
        ({"golden": "none.json"}, "cannot be read"),
        ({"golden": "decoder.json", "digest": "0" * 64}, "another model's"),
    ],
)
def test_a_list_that_is_wrong_is_refused_in_one_line(changes: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        read_library(written(tmp_path, **changes))
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_version_that_is_there_twice_and_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    text = (written(tmp_path) / "models.toml").read_text("utf-8")
    (tmp_path / "models.toml").write_text(text + text, "utf-8")
    with pytest.raises(Refused, match="it is there twice"):
        read_library(tmp_path)
    service = InferenceService(read_library(written(tmp_path)))
    (tmp_path / "decoder.onnx").unlink()
    with pytest.raises(Refused, match=r"decoder\.onnx: cannot be read"):
        service.load_model("decoder", 1)
    service.close()
