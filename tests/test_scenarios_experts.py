"""`experts`: four decoders on devices that hold only some of them; the journal does not know which."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from runtime_kit import told

from faults.plan import Plan, parse_fault
from harness.check import Checker
from harness.devices import cpu_alone
from harness.events import Chooser, events_of
from harness.expand import aimed, possible
from harness.oracles import Verdict
from harness.plans import default_plan
from harness.simulation import journal_digest, simulate
from runtime.errors import Refused
from runtime.physical import Physical
from scenarios import get
from scenarios.experts import SHAPES, sizes


def plan(seed: int = 1, **physical: object) -> Plan:
    scenario = get("experts")
    options = replace(scenario.options(), **physical)
    return Plan(scenario="experts", seed=seed, inputs=scenario.workload(seed), physical=options)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_models_leave_and_come_back_and_all_oracles_hold(seed: int) -> None:
    checked = Checker(get("experts")).check(plan(seed))
    assert checked.row.verdict == "PASS" and checked.findings["I23"].verdict is Verdict.PASS
    assert len(told(checked.history, "model_evicted")) > 50
    assert len({event.model for event in checked.history.inferences}) == len(SHAPES)


def test_budgets_and_hot_models_change_the_trace_and_not_the_journal() -> None:
    usual = simulate(get("experts"), plan())
    one = max(sizes())
    tight = simulate(get("experts"), plan(host_models=one, device_models=one, hot_models=()))
    wide = simulate(get("experts"), plan(device_models=sum(sizes()), hot_models=tuple(f"expert-{n}" for n in range(4))))
    alone = simulate(get("experts"), plan(), cpu_alone())
    assert len({journal_digest(run) for run in (usual, tight, wide, alone)}) == 1
    assert len(told(tight, "model_evicted")) > len(told(usual, "model_evicted")) > len(told(wide, "model_evicted")) == 0
    assert usual.virtual_ns > wide.virtual_ns, "loads cost time"


def test_a_device_too_small_for_a_model_leaves_it_to_the_cpu() -> None:
    small = sorted(sizes())[1]
    history = simulate(get("experts"), plan(device_models=small))
    assert journal_digest(history) == journal_digest(simulate(get("experts"), plan()))
    assert {fields["cause"] for fields in told(history, "device_lost")} == {"memory"}
    assert {fields["device"] for fields in told(history, "inferred")} == {0, 1}


def test_a_hot_model_that_no_run_declares_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="hot_models: there is no model 'expert-9'"):
        simulate(get("experts"), plan(hot_models=("expert-9",)))
    assert Physical().hot_models == ()


FAULTS = [
    "gpu.remove@tick:0,phase:load,how=exit",  # while its process loads what is hot
    "gpu.remove@tick:0,phase:load,how=failure",
    "gpu.remove@tick:20",
    "gpu.oom@tick:9",
    "model.load_fail@device:accel,attempts=3",
    "model.flip@device:accel,attempts=2",
    "orchestrator.kill@tick:30,phase:await",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_devices_and_files_hold_with_a_cache(fault: str) -> None:
    checked = Checker(get("experts")).check(replace(plan(), faults=(parse_fault(fault),)))
    assert checked.failed == () and checked.row.journal_digest == checked.row.twin_digest
    assert checked.history.injections


def test_a_device_with_memory_for_one_model_loads_each_anew_and_the_journal_does_not_know() -> None:
    fault = "model.evict@tick:1,for=8ms"
    wide = plan(device_models=sum(sizes()))
    checked = Checker(get("experts")).check(replace(wide, faults=(parse_fault(fault),)))
    assert checked.row.verdict == "PASS" and checked.effective == {0: True}
    assert checked.row.journal_digest == checked.row.twin_digest
    (begun,) = checked.history.injections
    left = [r for r in checked.history.trace if r.kind == "model_evicted"]
    assert begun.fields["held"] == sum(r.at == begun.at for r in left) >= 1, "all others leave at once"
    assert any(begun.at < r.at <= begun.at + 8_000_000 for r in left), "and again for each while it lasts"
    assert not told(checked.history, "device_lost"), "lack of memory that eviction can mend loses no device"


def test_eviction_is_drawn_where_there_are_several_models_and_nowhere_else() -> None:
    events = {name: events_of(simulate(get(name), default_plan(name))) for name in ("experts", "assistants")}
    assert (events["experts"].models, events["assistants"].models) == (4, 1)
    assert "model.evict" in possible(events["experts"]) and "model.evict" not in possible(events["assistants"])
    drawn = [aimed("model.evict", events["experts"], Chooser((n, n + 1, n + 2)), []) for n in range(8)]
    assert {key for (fault,) in drawn for key in fault.at} == {"tick", "request"}
