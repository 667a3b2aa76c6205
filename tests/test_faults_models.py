"""Faults of models: bad files are refused by name at the load, bad results at the engine; journals stay the same."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime
import pytest
from faults_kit import injector

from faults.budget import check
from faults.model_kinds import OUTPUTS, PLACES, SWAPS
from faults.plan import Plan, parse_fault
from faults.wrappers import onnx_edit
from faults.wrappers.model_files import FaultyModelFiles, altered
from faults.wrappers.models import DeviceSite
from harness.check import Checked, Checker
from harness.oracles import Verdict
from harness.simulation import simulate
from runtime.errors import ModelFailed, Refused
from runtime.frames import InferenceItem
from runtime.inference import OrtModels
from runtime.physical import Physical
from scenarios.registry import get

NAME, SEED = "assistants", 1
ITEM = InferenceItem(1, 0, (3, 4, 5), b"")
DIGEST, MODEL = next(iter(get(NAME).models().items()))


def plan(*texts: str) -> Plan:
    faults = tuple(parse_fault(text) for text in texts)
    made = Plan(scenario=NAME, seed=SEED, inputs=get(NAME).workload(SEED), faults=faults, physical=Physical())
    check(made)
    return made


@cache
def checker() -> Checker:
    return Checker(get(NAME))


def checked(*texts: str) -> Checked:
    return checker().check(plan(*texts))


# --- in whole runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "model.flip@device:accel,bit=4000",
        "model.flip@device:accel,attempts=5,bit=1",
        *(f"model.swap@device:accel,what={what}" for what in SWAPS),
    ],
)
def test_a_bad_file_is_refused_at_the_load_and_the_journal_is_that_of_a_good_one(text: str) -> None:
    done = checked(text)
    assert done.effective == {0: True} and done.failed == ()
    assert done.row.journal_digest == done.row.twin_digest
    assert done.findings["I25"].verdict is Verdict.PASS
    causes = [r.fields["cause"] for r in done.history.trace if r.kind == "device_lost"]
    assert causes and set(causes) == {"load"}


def test_a_bad_file_on_the_last_resort_is_read_again_until_it_is_good() -> None:
    done = checked("gpu.absent@tick:0", "model.swap@device:cpu,attempts=5,what=stale")
    assert done.effective == {0: True, 1: True} and done.failed == ()
    lost = [r for r in done.history.trace if r.kind == "device_lost" and r.fields["device"] == 0]
    assert [r.fields["cause"] for r in lost] == ["load"] * 5


@cache
def undisturbed() -> bytes:
    return simulate(get(NAME), plan()).journal


@pytest.mark.parametrize("of", PLACES)
@pytest.mark.parametrize("what", ["nan", "denormal", "shape", "half", "missing"])
def test_bad_results_cost_the_device_and_reach_nobody(what: str, of: str) -> None:
    text = f"model.bad_output@tick:3,what={what},of={of}"
    history = simulate(get(NAME), plan(text))
    assert history.journal == undisturbed()
    assert [r.fields["cause"] for r in history.trace if r.kind == "device_lost"] in (["device"], ["load"])


def test_bad_results_count_and_the_oracles_of_devices_hold() -> None:
    done = checked("model.bad_output@tick:3,agent:1,what=fraction")
    assert done.effective == {0: True} and done.failed == () and done.findings["I24"].verdict is Verdict.PASS


def test_more_bad_files_than_the_last_resort_can_bear_are_refused() -> None:
    with pytest.raises(Refused, match="10 loads would fail on the CPU; at most 8"):
        plan("model.flip@device:cpu,attempts=5", "model.swap@device:cpu,attempts=5")


# --- files -----------------------------------------------------------------------------------------------------------


class _Held:
    def get(self, digest: str) -> bytes:
        return MODEL


def test_the_first_reads_of_a_device_are_bad_over_all_its_processes_and_then_good() -> None:
    found, log = injector("model.flip@device:accel,attempts=2,bit=9")
    reads = [FaultyModelFiles(_Held(), found, DeviceSite(process, 1)).get(DIGEST) for process in (7, 8, 9)]
    assert [data == MODEL for data in reads] == [False, False, True]
    assert reads[0][1] == MODEL[1] ^ 2 and reads[0][2:] == MODEL[2:] and log.fired == [0, 0]
    assert FaultyModelFiles(_Held(), found, DeviceSite(1, 0)).get(DIGEST) == MODEL


def test_a_file_that_is_not_there_is_no_bytes_at_all() -> None:
    found, log = injector("model.swap@device:cpu,what=missing")
    with pytest.raises(KeyError):
        FaultyModelFiles(_Held(), found, DeviceSite(1, 0)).get(DIGEST)
    assert log.fired == [0]


@pytest.mark.parametrize("what", ["stale", "other"])
def test_a_stale_or_another_file_loads_and_answers_otherwise(what: str) -> None:
    bad = altered(parse_fault(f"model.swap@device:cpu,what={what}"), MODEL)
    good, wrong = OrtModels().load(DIGEST, MODEL).run([ITEM]), OrtModels().load("bad", bad).run([ITEM])
    assert len(bad) == len(MODEL) and good[0].logits != wrong[0].logits


@pytest.mark.parametrize("what", ["cut", "empty"])
def test_a_cut_or_empty_file_does_not_load(what: str) -> None:
    with pytest.raises(ModelFailed, match="load"):
        OrtModels().load("bad", altered(parse_fault(f"model.swap@device:cpu,what={what}"), MODEL))


def test_bytes_that_are_no_model_cannot_be_edited() -> None:
    for data in (b"\x0f\1", b"\x0a\x7f\1", b"\xff" * 12, b"\x3a\0"):
        with pytest.raises(ValueError, match=r"wire type|ends too late|without weights"):
            onnx_edit.stale(data)


# --- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["logits", "k0_out"])
@pytest.mark.parametrize("what", OUTPUTS)
def test_the_engine_lets_no_such_result_through(what: str, output: str) -> None:
    with pytest.raises(ModelFailed):
        OrtModels().load(what, onnx_edit.spoiled(MODEL, output, what)).run([ITEM])


@pytest.mark.parametrize(
    ("what", "holds"),
    [
        ("nan", lambda v: np.isnan(v).any()),
        ("inf", lambda v: np.isposinf(v).any()),
        ("minus_inf", lambda v: np.isneginf(v).any()),
        ("denormal", lambda v: ((v != 0) & (np.abs(v) < np.finfo(np.float32).tiny)).any()),
        ("fraction", lambda v: (v != np.rint(v)).any()),
        ("huge", lambda v: np.abs(v).max() >= 1 << 24),
        ("rank", lambda v: v.ndim == 2),
        ("double", lambda v: v.dtype == np.float64),
        ("half", lambda v: v.dtype == np.float16),
        ("integer", lambda v: v.dtype == np.int8),
    ],
)
def test_an_edited_model_gives_what_it_says(what: str, holds: object) -> None:
    session = onnxruntime.InferenceSession(onnx_edit.spoiled(MODEL, "logits", what))
    shapes = {
        value.name: [1 if d == "B" else 0 if d == "P" else d for d in value.shape] for value in session.get_inputs()
    }
    feeds = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name[0] in "kv"}
    feeds |= {"ids": np.array([[3, 4]]), "pos": np.array([[0, 1]]), "mask": np.zeros((2, 2), np.float32)}
    assert callable(holds) and holds(session.run(None, feeds)[0])
