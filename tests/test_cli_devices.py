"""`wasm-engine devices` and `run --device`: what is told of each device, and wrong input in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import here, refused

from runtime.configuration import Configuration, configuration_from
from runtime.errors import Refused
from scenarios.models import SMALL, build

AZURE = '[[devices.provider]]\nname = "azure"\nexecution = "AzureExecutionProvider"\n'  # listed, and computes nothing


def test_each_device_is_told_with_its_verdict_and_reason_and_the_evidence_is_physical(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = tmp_path / "decoder.onnx"
    model.write_bytes(build(SMALL))
    config = tmp_path / "engine.toml"
    config.write_text(AZURE, "utf-8")
    ended = here(capsys, "devices", "--json", "--model", str(model), "--config", str(config))
    assert ended.code == 0 and ended.json["evidence"] == "physical"
    found = {one["device"]: one for one in ended.json["devices"]}
    assert set(found) == {"azure", "cuda", "webgpu", "cpu-other", "cpu"}
    assert found["cpu"]["admitted"] and found["cpu-other"]["admitted"] and found["cpu"]["latency"]["p50_ns"] > 0
    assert (found["azure"]["admitted"], found["azure"]["stage"]) == (False, "session")
    for one in found.values():
        assert one["admitted"] or (one["stage"] and one["reason"])
    shown = here(capsys, "devices", "--model", str(model))
    assert shown.code == 0 and "physical: " in shown.out and "the golden ones" in shown.out


def test_a_file_that_is_no_decoder_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = tmp_path / "noise.onnx"
    model.write_bytes(b"noise")
    ended = here(capsys, "devices", "--model", str(model))
    assert ended.code == 4 and "not even the CPU serves it" in ended.err.splitlines()[-1]
    ended = here(capsys, "devices", "--model", str(tmp_path / "none.onnx"))
    refused(ended, "none.onnx")


def test_a_run_on_a_real_device_says_who_served_and_has_the_usual_journal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = here(capsys, "run", "assistants", "--device", "cpu-other", "--json").json
    usual = here(capsys, "run", "assistants", "--json").json
    assert real["journal_digest"] == usual["journal_digest"] and real["verdict"] == usual["verdict"] == "PASS"
    assert (real["device"]["name"], real["device"]["evidence"]) == ("cpu-other", "physical")
    assert set(real["device"]["served"]) == {"1"} and real["device"]["lost"] == 0
    assert "device" not in usual
    shown = here(capsys, "run", "assistants", "--device", "cpu-other")
    assert "device   cpu-other" in shown.out and "lost 0 times" in shown.out


def test_where_a_device_is_refused_the_cpu_serves_and_one_line_says_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "engine.toml"
    config.write_text(f'[devices]\nuse = "azure"\n{AZURE}', "utf-8")
    ended = here(capsys, "run", "assistants", "--config", str(config), "--json")
    assert ended.code == 0 and set(ended.json["device"]["served"]) == {"0"}
    assert ended.json["device"]["name"] == "cpu" and not ended.json["device"]["tried"][0]["admitted"]
    assert ended.err.count("\n") == 1 and ended.err.startswith("device azure is refused [session]: ")
    assert ended.err.endswith("; the CPU serves\n")
    alone = here(capsys, "run", "assistants", "--device", "cpu", "--json").json
    assert alone["device"] == {"name": "cpu", "evidence": "simulated", "served": {"0": 165}, "lost": 0, "tried": []}


def test_an_unknown_device_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    refused(here(capsys, "run", "assistants", "--device", "gpu"), "'gpu' is unknown", "auto, cuda, webgpu")


def test_a_scenario_without_models_runs_on_no_device(capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, "run", "hello", "--device", "cpu-other", "--json")
    assert ended.code == 0 and ended.json["device"]["served"] == {} and ended.json["device"]["tried"] == []


def test_a_configuration_says_which_devices_and_how_long_they_may_take() -> None:
    text = b"""
    [devices]
    use = "auto"
    order = ["rocm", "cpu-other"]
    answer = "250 ms"
    load = "9 s"
    slower_percent = 2
    [[devices.provider]]
    name = "rocm"
    execution = "ROCMExecutionProvider"
    """
    settings = configuration_from(text).devices.settings()
    assert [one.execution for one in settings.asked("auto")] == ["ROCMExecutionProvider", "CPUExecutionProvider"]
    assert (settings.use, settings.limits.slower_percent) == ("auto", 2)
    assert (settings.limits.patience.answer_ns, settings.limits.patience.load_ns) == (250_000_000, 9_000_000_000)
    assert Configuration().devices.settings().use == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('use = "gpu"', "'gpu' is unknown"),
        ('order = ["cuda", "gpu"]', "'gpu' is unknown"),
        ("slower_percent = -2", "slower_percent"),
        ('answer = "soon"', "give a number of ns"),
        ('[[devices.provider]]\nname = "auto"\nexecution = "XExecutionProvider"', "a word of its own"),
        ('[[devices.provider]]\nname = "x"\nexecution = "/lib/x.so"', "execution"),
        ('[[devices.provider]]\nname = "x"\nexecution = "XExecutionProvider"\noptions = {}', "unknown key"),
        ('[[devices.provider]]\nname = "x"\nexecution = "XExecutionProvider"\noptimisation = "most"', "none, basic"),
    ],
)
def test_devices_that_cannot_be_are_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(Refused, match="devices") as caught:
        configuration_from(f"[devices]\n{text}\n".encode())
    assert words in str(caught.value)
