"""INF-1, INF-3: real devices in processes of their own: admitted by golden answers, refused by stage, lost."""

from __future__ import annotations

import os
import signal
import struct
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from device_kit import MODEL, OTHER, struck, timing
from inference_kit import HELLO, MODELS
from msgspec.structs import replace
from runtime_kit import told

from faults.plan import Plan
from faults.wrappers import onnx_edit
from harness.adapters.real_devices import RealDevice
from harness.check import Checker
from harness.simulation import journal_digest, simulate
from runtime.errors import FrameRefused, ModelFailed, Refused
from runtime.frames import InferenceItem
from runtime.inference import golden, providers, wire
from runtime.inference.admission import Admission, DeviceSettings, Latency, Limits, admit, digest_of
from runtime.inference.golden import Golden
from runtime.inference.process import DeviceProcess, Patience, ProcessModels, S
from runtime.inference.providers import CPU, KNOWN, Provider
from runtime.state import Inference
from scenarios import get, goldens, oracle
from scenarios.goldens import golden_of
from scenarios.models import REFERENCE, SMALL, Exact, build, digest

NAME = digest(SMALL)
ANY = Limits()
AZURE = Provider(name="azure", execution="AzureExecutionProvider")  # in this wheel, and it computes nothing itself


def admitted(provider: Provider, onnx: bytes = MODEL[NAME], limits: Limits = ANY, **known: Golden) -> Admission:
    name = digest_of(onnx)
    (found,) = admit(provider, {name: onnx}, lambda model, data: known.get("golden") or golden_of(model, data), limits)
    return found


# --- golden answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [SMALL, REFERENCE], ids=["small", "reference"])
def test_the_golden_answers_beside_a_model_are_those_of_the_integers(shape: Exact) -> None:
    held = golden_of(digest(shape), build(shape))
    assert (goldens.FOLDER / f"{digest(shape)}.json").is_file()
    count = len(held.answers) - 2
    tokens = [*HELLO, *(answer.token for answer in held.answers[: count - 1])]
    due = oracle.answers(shape, tokens)
    assert [answer.token for answer in held.answers[:count]] == due.tokens[4:]
    assert [answer.logits for answer in held.answers[:count]] == due.logits[4:]
    pair = (held.answers[count - 1].token, held.answers[count - 2].token)
    for answer, two in zip(held.answers[count:], (pair, pair[::-1]), strict=True):
        said = oracle.answers(shape, [*tokens, *two])
        assert (answer.token, answer.logits) == (said.tokens[-1], said.logits[-1])


def test_answers_recorded_anew_are_the_ones_in_the_file_and_travel_through_json() -> None:
    again = goldens.recorded(NAME, MODEL[NAME])
    assert again == golden_of(NAME, MODEL[NAME]) == golden.from_json(golden.to_json(again), "here")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "no golden answers"),
        (b"\xff", "no golden answers"),
        (b'{"answers":[],"model":"a","extra":1}', "extra"),
        (b'{"answers":[],"model":"a","version":9}', "version 9"),
        (b'{"answers":[],"model":"a"}', "without a conversation"),
        (b" " * (golden.BYTES_MAX + 1), "at most"),
    ],
)
def test_a_file_that_holds_no_golden_answers_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        golden.from_json(data, "golden.json")


class _Altered:
    """A decoder one of whose answers is another, as if a device computed it wrong."""

    def __init__(self, at: int, field: str) -> None:
        self.inner, self.at, self.field, self.given = MODELS.load(NAME, MODEL[NAME]), at, field, 0

    def run(self, items: list[InferenceItem]) -> list[Inference]:
        results = []
        for result in self.inner.run(items):
            self.given += 1
            if self.given == self.at:
                other = {"token": result.token ^ 1, "logits": "0" * 64, "kv": bytes(len(result.kv))}[self.field]
                result = replace(result, **{self.field: other})
            results.append(result)
        return results

    def close(self) -> None:
        self.inner.close()


@pytest.mark.parametrize("field", ["token", "logits", "kv"])
@pytest.mark.parametrize("at", [1, 5, 9])
def test_any_other_answer_is_named_wherever_it_stands(field: str, at: int) -> None:
    held = golden_of(NAME, MODEL[NAME])
    assert golden.difference(held, _Altered(99, field)) == ""
    found = golden.difference(held, _Altered(at, field))
    named = {"token": "token", "logits": "logits", "kv": "another KV cache"}[field]
    assert found.startswith(f"golden answer {at} of 9") and named in found


# --- admission --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", [CPU, OTHER], ids=["cpu", "cpu-other"])
def test_a_device_that_gives_the_golden_answers_is_admitted_and_its_tokens_are_timed(provider: Provider) -> None:
    found = admitted(provider)
    assert found.admitted and found.latency is not None and 0 < found.latency.p50_ns <= found.latency.p99_ns
    assert "is admitted" in found.line()


def test_a_provider_that_this_onnx_runtime_lacks_is_refused_by_name_and_nothing_is_computed() -> None:
    missing = admitted(Provider(name="tpu", execution="TpuExecutionProvider"))
    assert (missing.admitted, missing.stage, missing.latency) == (False, "offered", None)
    assert "no TpuExecutionProvider" in missing.line() and "\n" not in missing.line()
    plugin = admitted(Provider(name="far", execution="FarExecutionProvider", plugin="no_such_package"))
    assert plugin.stage == "offered" and "no_such_package" in plugin.reason


def test_a_provider_that_leaves_the_work_to_the_cpu_in_silence_is_refused() -> None:
    found = admitted(AZURE)
    assert (found.admitted, found.stage) == (False, "session") and "CPU" in found.reason


def test_where_each_node_was_placed_is_read_back_though_nothing_was_said_of_a_fallback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = providers._options

    def lenient(ort: Any, provider: Provider) -> Any:
        options = made(ort, provider)
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "0")
        return options

    monkeypatch.setattr(providers, "_options", lenient)
    with pytest.raises(ModelFailed, match=r"nodes are not on AzureExecutionProvider: Abs, Add"):
        providers.opened(MODEL[NAME], AZURE)


def test_a_model_with_one_weight_changed_is_refused_by_its_golden_answers() -> None:
    altered = onnx_edit.stale(MODEL[NAME])
    held = replace(golden_of(NAME, MODEL[NAME]), model=digest_of(altered))
    found = admitted(OTHER, altered, golden=held)
    assert (found.admitted, found.stage) == (False, "golden") and "golden answer" in found.reason


def test_golden_answers_of_another_model_admit_nothing() -> None:
    found = admitted(OTHER, golden=golden_of(digest(REFERENCE), build(REFERENCE)))
    assert (found.admitted, found.stage) == (False, "digest")


@pytest.mark.parametrize("onnx", [onnx_edit.spoiled(MODEL[NAME], "logits", "fraction"), b"no model"])
def test_a_model_that_is_not_exact_or_none_has_no_golden_answers_on_any_device(onnx: bytes) -> None:
    for provider in (CPU, OTHER):
        found = admitted(provider, onnx)
        assert (found.admitted, found.stage) == (False, "golden") and "\n" not in found.line()


def test_a_device_that_is_slower_than_allowed_is_refused_and_by_how_much() -> None:
    fast = Latency(p50_ns=100, p99_ns=100, spread_percent=0)
    found = admit(OTHER, MODEL, golden_of, Limits(slower_percent=2), fast)[0]
    assert (found.admitted, found.stage) == (False, "latency") and "2% are allowed" in found.reason
    slow = Latency(p50_ns=S, p99_ns=S, spread_percent=0)
    assert admit(OTHER, MODEL, golden_of, Limits(slower_percent=2), slow)[0].admitted


def test_a_user_means_one_device_or_those_of_the_order() -> None:
    settings = DeviceSettings(order=("cuda", "cpu-other"))
    assert [one.name for one in settings.asked("auto")] == ["cuda", "cpu-other"]
    assert settings.asked("cuda")[0].execution == "CUDAExecutionProvider"
    with pytest.raises(Refused, match=r"device 'gpu' is unknown.*cuda"):
        settings.asked("gpu")
    own = Provider(name="cuda", execution="OtherExecutionProvider")
    assert DeviceSettings(more=(own,)).asked("cuda") == [own]


def test_the_products_of_a_cuda_session_are_not_rounded_to_tf32() -> None:
    assert ("use_tf32", "0") in next(one for one in KNOWN if one.name == "cuda").options


# --- the process ------------------------------------------------------------------------------------------------------


def started(answer_ns: int = 5 * S) -> tuple[DeviceProcess, ProcessModels]:
    process = DeviceProcess(OTHER, Patience(answer_ns=answer_ns))
    return process, ProcessModels(process, golden_of)


def test_a_process_that_is_killed_or_stopped_is_a_failed_device_for_good() -> None:
    for how, words in ((signal.SIGKILL, "signal 9"), (signal.SIGSTOP, "no answer within")):
        process, models = started(answer_ns=S // 5)
        decoder = models.load(NAME, MODEL[NAME])
        assert decoder.run([InferenceItem(1, 0, HELLO, b"")])[0].token == oracle.answers(SMALL, HELLO).tokens[-1]
        os.kill(process.pid, how)
        for _ in range(2):
            with pytest.raises(ModelFailed) as failed:
                decoder.run([InferenceItem(2, 0, HELLO, b"")])
            assert failed.value.failure == "device" and words in failed.value.reason
        decoder.close()
        assert process.failed


def test_a_batch_that_a_model_cannot_take_leaves_the_process_alive() -> None:
    process, models = started()
    decoder = models.load(NAME, MODEL[NAME])
    with pytest.raises(ModelFailed) as failed:
        decoder.run([InferenceItem(1, 3, HELLO, b"")])
    assert failed.value.failure == "load"
    assert decoder.run([]) == [] and len(decoder.run([InferenceItem(1, 0, HELLO, b"")])) == 1
    decoder.close()
    decoder.close()
    with pytest.raises(ModelFailed, match="not loaded here"):
        process.ask(wire.Run(NAME, ()), S)
    process.close()


def test_bytes_of_another_digest_are_refused_by_the_process_itself() -> None:
    process, _ = started()
    with pytest.raises(ModelFailed, match="another digest"):
        process.ask(wire.Load(NAME, MODEL[NAME][:-1], golden_of(NAME, MODEL[NAME])), S)
    process.close()
    with pytest.raises(ModelFailed, match="it was closed"):
        process.ask(wire.Drop(NAME), S)


def test_a_message_that_is_damaged_cut_or_none_of_these_is_refused() -> None:
    pipe = BytesIO()
    wire.write(pipe, wire.Drop(NAME))
    whole = pipe.getvalue()
    assert wire.read_message(BytesIO(whole)) == wire.Drop(NAME)
    assert [wire.read_message(BytesIO(whole[:cut])) for cut in (0, 5, len(whole) - 1)] == [None] * 3
    with pytest.raises(FrameRefused):
        wire.read_message(BytesIO(whole[:-1] + bytes([whole[-1] ^ 1])))
    body = b"\x91\xa3odd"
    with pytest.raises(FrameRefused):
        wire.read_message(BytesIO(struct.pack("<II", len(body), google_crc32c.value(body)) + body))
    with pytest.raises(FrameRefused):
        wire.read_message(BytesIO(struct.pack("<II", wire.MESSAGE_MAX + 1, 0)))


def test_what_waits_for_the_process_does_not_end_the_interpreter() -> None:
    process, _ = started()
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())
    process.close()


# --- in a run ---------------------------------------------------------------------------------------------------------


def plan() -> Plan:
    scenario = get("assistants")
    return Plan(scenario="assistants", seed=1, inputs=scenario.workload(1), physical=scenario.options())


def test_a_run_on_a_real_device_has_the_journal_and_the_trace_of_the_simulated_one() -> None:
    real, simulated = (simulate(get("assistants"), plan(), one) for one in (timing(), None))
    assert journal_digest(real) == journal_digest(simulated)
    assert real.trace == simulated.trace


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_real_device_that_is_lost_in_mid_run_is_in_the_trace_and_not_in_the_journal(how: int) -> None:
    chosen = timing(answer_ns=2 * S)
    hook, machine = struck(chosen, how)
    checked = Checker(get("assistants"), chosen).check(plan(), hook=hook)
    assert checked.failed == () and checked.row.verdict == "PASS"
    assert checked.row.journal_digest == checked.row.twin_digest != ""
    (lost,) = told(checked.history, "device_lost")
    assert (lost["device"], lost["cause"]) == (1, "device")
    assert told(checked.history, "device_trusted"), "it comes back once its answers are the CPU's"
    assert {fields["device"] for fields in told(checked.history, "inferred")} == {0, 1}
    assert len(machine.started) >= 2 and machine.started[0].failed


def test_a_device_whose_answers_are_not_golden_serves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    held = golden_of(NAME, MODEL[NAME])
    first, *rest = held.answers
    wrong = replace(held, answers=(replace(first, token=first.token ^ 1), *rest))
    monkeypatch.setattr("harness.adapters.real_devices.golden_of", lambda model, onnx: wrong)
    chosen = timing(answer_ns=S)
    history = simulate(get("assistants"), plan(), chosen)
    assert journal_digest(history) == journal_digest(simulate(get("assistants"), plan()))
    assert {fields["device"] for fields in told(history, "inferred")} == {0}
    assert {fields["cause"] for fields in told(history, "device_lost")} == {"device"}


def test_a_device_that_cannot_begin_is_a_failed_one(tmp_path: Path) -> None:
    models = RealDevice(timing(AZURE).devices).models()
    with pytest.raises(ModelFailed) as failed:
        models.load(NAME, MODEL[NAME])
    assert failed.value.failure == "load"
    gone = RealDevice(timing(Provider(name="x", execution="NoExecutionProvider")).devices).models()
    with pytest.raises(ModelFailed) as failed:
        gone.load(NAME, MODEL[NAME])
    assert failed.value.failure == "device"
