"""Faults of devices: in simulated runs each takes effect and leaves the journal as it is; and at the wrappers."""

from __future__ import annotations

from functools import cache

import pytest
from faults_kit import Log, Timers, injector

from faults.budget import check
from faults.deaths import DeviceDied, Killed
from faults.effect import effective
from faults.kinds import KINDS
from faults.plan import Plan, parse_fault
from faults.wrappers.accelerators import FaultyAccelerators
from faults.wrappers.crash import Fuse, MortalAccelerators
from faults.wrappers.models import DeviceSite, FaultyModels
from harness.adapters.accelerators import Devices
from harness.adapters.workers import Timing
from harness.check import Checker
from harness.expand import CHECKED, Events, events_of, expand, possible
from harness.history import History
from harness.simulation import journal_digest, simulate, trace_digest
from runtime.errors import ModelFailed
from runtime.frames import Infer, InferenceItem, Inferred, pack
from runtime.physical import Physical
from runtime.ports import Arrival, Decoder
from runtime.state import Inference
from scenarios.registry import get
from scenarios.strategies import draft_from_seed

SEED = 1
NAME = "assistants"


def plan(*texts: str, checked: bool = False) -> Plan:
    faults = tuple(parse_fault(text) for text in texts)
    physical = Physical(check_answers=checked, probe_ns=2_000_000)
    made = Plan(scenario=NAME, seed=SEED, inputs=get(NAME).workload(SEED), faults=faults, physical=physical)
    check(made)
    return made


def run(*texts: str, checked: bool = False, timing: Timing | None = None) -> History:
    return simulate(get(NAME), plan(*texts, checked=checked), timing)


@cache
def twin() -> History:
    return run()


@cache
def events() -> Events:
    return events_of(twin())


def took_effect(history: History) -> list[bool]:
    verdicts = effective(history.plan, history.injections, history.trace, {})
    return [verdicts[index] for index in range(len(history.plan.faults))]


# --- in simulated runs ------------------------------------------------------------------------------------------------

ENDS = ("exit", "failure", "hang", "late")
GOOD = [
    *[["gpu.remove@tick:5,how=" + how] for how in ENDS],
    *[["gpu.remove@tick:5,phase:idle,how=" + how] for how in ENDS],
    *[["gpu.remove@tick:0,phase:load,how=" + how] for how in ENDS],
    ["gpu.remove@tick:5,how=failure,for=0"],
    ["gpu.remove@tick:5,agent:2"],
    ["gpu.remove@tick:3,for=0", "gpu.remove@tick:4,for=0"],
    ["gpu.remove@tick:3,for=0", "gpu.remove@tick:4,phase:load"],
    ["gpu.absent@tick:0,for=5ms"],
    ["gpu.absent@tick:9"],
    ["gpu.oom@tick:4"],
    ["gpu.slow@tick:4,factor=20"],
    ["gpu.slow@tick:4,factor=1000"],
    *[[f"model.load_fail@device:accel,attempts={attempts}"] for attempts in (1, 5)],
    ["gpu.absent@tick:0", "model.load_fail@device:cpu,attempts=5"],
]


@pytest.mark.parametrize("texts", GOOD, ids=" ".join)
def test_a_fault_of_a_device_takes_effect_and_leaves_the_journal_as_it_is(texts: list[str]) -> None:
    history = run(*texts)
    assert history.finished, history.failure_detail
    assert all(took_effect(history))
    assert journal_digest(history) == journal_digest(twin())


@pytest.mark.parametrize("what", ["token", "logits", "kv"])
def test_a_wrong_result_is_found_where_every_answer_is_checked(what: str) -> None:
    history = run(f"gpu.wrong@tick:4,what={what}", checked=True)
    assert took_effect(history) == [True] and journal_digest(history) == journal_digest(twin())


def test_the_journal_is_the_same_on_the_cpu_alone_and_only_the_trace_differs() -> None:
    alone = run(timing=Timing(devices=Devices(accelerator=None)))
    assert {event.device for event in alone.inferences} == {0}
    assert {event.device for event in twin().inferences} == {1}
    assert journal_digest(alone) == journal_digest(twin()) != ""
    assert trace_digest(alone.trace) != trace_digest(twin().trace)


@pytest.mark.parametrize("place", [0, 1, 7, -1])
def test_a_removal_at_one_request_hits_the_batch_with_that_request(place: int) -> None:
    request = events().requests[place].request
    history = run(f"gpu.remove@request:{request}")
    assert took_effect(history) == [True] and journal_digest(history) == journal_digest(twin())
    (injection,) = history.injections
    broken = [e for e in history.inferences if e.process == injection.fields["process"] and e.token < 0]
    assert request in [event.request for event in broken]
    again = [e for e in history.inferences if e.request == request and e.token >= 0]
    assert [event.device for event in again] == [0]


def test_a_device_that_is_gone_is_not_spawned_until_it_returns() -> None:
    history = run("gpu.remove@tick:3,for=15ms")
    gone = history.injections[0].at
    spawned = [r.at for r in history.trace if r.kind == "device_spawned" and r.fields["device"] == 1]
    assert len(spawned) > 1 and all(at < gone or at >= gone + 15_000_000 for at in spawned)


def test_a_plan_of_devices_and_crashes_passes_all_oracles_those_of_other_devices_too() -> None:
    texts = ["gpu.remove@tick:3,how=late", "orchestrator.kill@tick:9,phase:await", "gpu.remove@tick:12,phase:load"]
    checked = Checker(get(NAME)).check(plan(*texts), deep=True)
    assert (checked.row.verdict, checked.row.detail) == ("PASS", "")
    assert {"I5", "I24"} <= set(checked.findings)
    assert checked.effective[0] and checked.effective[1]


def test_a_twin_is_run_without_wrong_devices_and_the_row_is_judged() -> None:
    checked = Checker(get(NAME)).check(plan("gpu.wrong@tick:4", checked=True))
    assert (checked.row.verdict, checked.row.detail) == ("PASS", "") and checked.twin.injections == []


@pytest.mark.parametrize("tick", range(25, 33))
def test_a_device_is_never_trusted_for_what_it_answered_before_it_was_lost(tick: int) -> None:
    history = run("gpu.remove@tick:8,for=5ms", f"gpu.wrong@tick:{tick}", checked=True)
    assert took_effect(history) == [True, True]
    alive: dict[object, bool] = {}
    trusted = 0
    for record in history.trace:
        if record.kind in ("device_spawned", "device_lost"):
            alive[record.fields["device"]] = record.kind == "device_spawned"
        elif record.kind == "device_trusted":
            trusted += 1
            assert alive[record.fields["device"]]
        elif record.kind == "inferred":
            assert alive[record.fields["device"]]
    assert trusted >= 1


def test_requests_of_the_twin_are_addressable_and_make_faults_of_devices() -> None:
    requests = events().requests
    assert {r.request for r in requests} <= {e.request for e in twin().inferences}  # some are open at the end
    assert len(requests) > 100
    devices = {kind.slug for kind in KINDS if kind.layer in ("inference/GPU", "models/cache")}
    devices.remove("model.evict")  # where there are several models: tests/test_scenarios_experts.py
    assert devices <= set(possible(events()))
    assert devices.isdisjoint(possible(Events((), (), (), (), 1, (0,))))
    kinds: set[str] = set()
    for n in range(60):
        draft = draft_from_seed(NAME, SEED, n)
        kinds |= {fault.kind for fault in expand(draft, events(), Physical()).faults}
        wrong = expand(draft, events(), Physical(check_answers=True), CHECKED).faults
        kinds |= {fault.kind for fault in wrong}
    assert {"gpu.remove", "gpu.absent", "gpu.oom", "gpu.slow", "gpu.wrong", "model.load_fail"} <= kinds


# --- at the wrappers --------------------------------------------------------------------------------------------------

ONE, OTHER = (1 << 32) + 1, (2 << 32) + 1


class ToyDevices:
    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.killed: list[int] = []
        self.arrivals: list[Arrival] = []

    def present(self) -> list[int]:
        return [1, 0]

    def spawn(self, device: int, process: int) -> None:
        pass

    def send(self, process: int, frame: bytes) -> None:
        self.sent.append((process, frame))

    def poll(self) -> list[Arrival]:
        arrivals, self.arrivals = self.arrivals, []
        return arrivals

    def kill(self, process: int) -> None:
        self.killed.append(process)


class ToyClock:
    def __init__(self, timers: Timers) -> None:
        self._timers = timers

    def now(self) -> int:
        return self._timers.now


class ToyDecoder:
    def run(self, items: tuple[InferenceItem, ...]) -> list[Inference]:
        return [Inference(item.request, 4, "ab", b"kv") for item in items]

    def close(self) -> None:
        pass


class ToyModels:
    def load(self, digest: str, onnx: bytes) -> Decoder:
        return ToyDecoder()  # type: ignore[return-value]


class Bench:
    """Wrapped toy devices in tick 5, with process 21 on the CPU and 22 on the accelerator."""

    def __init__(self, *texts: str) -> None:
        self.injector, self.log = injector(*texts)
        self.timers, self.inner = Timers(), ToyDevices()
        self.sites: dict[int, DeviceSite] = {}
        clock = ToyClock(self.timers)
        self.port = FaultyAccelerators(self.inner, self.injector, self.sites, clock, self.timers.later, lambda: 5)
        self.port.spawn(0, 21)
        self.port.spawn(1, 22)
        self.models = {p: FaultyModels(ToyModels(), self.injector, self.sites[p], clock) for p in (21, 22)}

    def send(self, process: int, *requests: int, lease: int = 1) -> None:
        self.port.send(process, frame(process, *requests, lease=lease))

    def compute(self, process: int) -> list[Inference]:
        sent = self.sites[process].sent
        assert sent is not None
        return self.models[process].load("m", b"").run(sent.items)


def frame(process: int, *requests: int, lease: int = 1) -> bytes:
    items = tuple(InferenceItem(request, 0, (1,), b"") for request in requests)
    return pack(Infer(1, process, lease, "m", items))


def answer(process: int, lease: int = 1) -> Arrival:
    return Arrival(process, pack(Inferred(1, process, lease, "", (), 0)))


def fired(log: Log) -> list[int]:
    return log.fired


@pytest.mark.parametrize(
    ("address", "hit"),
    [
        ("tick:5", True),
        ("tick:3", True),
        ("tick:6", False),
        ("tick:5,agent:1", True),
        ("tick:5,agent:2", False),
        (f"request:{OTHER}", True),
        (f"request:{OTHER + 1}", False),
    ],
)
def test_a_batch_is_found_by_tick_agent_or_request_on_an_accelerator_only(address: str, hit: bool) -> None:
    bench = Bench(f"gpu.oom@{address}")
    bench.send(21, ONE, OTHER)
    assert len(bench.compute(21)) == 2 and fired(bench.log) == []
    bench.send(22, ONE, OTHER)
    if hit:
        with pytest.raises(ModelFailed, match="memory"):
            bench.compute(22)
        bench.send(22, ONE, OTHER)
    assert len(bench.compute(22)) == 2 and fired(bench.log) == ([0] if hit else [])


def test_a_device_that_died_before_its_batch_gets_its_end_closed() -> None:
    bench = Bench("gpu.remove@tick:5,phase:idle,for=9ns")
    bench.send(22, ONE)
    assert bench.inner.killed == [22] and bench.port.present() == [0]
    bench.timers.pass_time(9)
    assert bench.port.present() == [1, 0]


@pytest.mark.parametrize("phase", ["generation", "load"])
def test_a_device_that_dies_in_mid_batch_raises_a_death_and_one_that_fails_fails_for_good(phase: str) -> None:
    bench = Bench(f"gpu.remove@tick:5,phase:{phase}")
    bench.send(22, ONE)
    with pytest.raises(DeviceDied):
        bench.compute(22)
    bench = Bench(f"gpu.remove@tick:5,phase:{phase},how=failure")
    bench.send(22, ONE)
    for _ in range(2):
        with pytest.raises(ModelFailed, match="device"):
            bench.compute(22)
    assert fired(bench.log) == [0]


def test_a_hung_device_never_answers_and_a_late_one_only_after_it_was_killed_with_other_bits() -> None:
    for how in ("hang", "late"):
        bench = Bench(f"gpu.remove@tick:5,how={how}")
        bench.send(22, ONE)
        assert bench.compute(22)[0].kv != b"kv"
        bench.inner.arrivals = [answer(22), answer(21)]
        assert bench.port.poll() == [answer(21)]
        bench.port.kill(22)
        bench.timers.pass_time(0)
        bench.inner.arrivals = [Arrival(22, None)]
        assert bench.port.poll() == ([answer(22)] if how == "late" else []) + [Arrival(22, None)]


def test_nothing_late_reaches_the_next_incarnation() -> None:
    bench = Bench("gpu.remove@tick:5,how=late")
    bench.send(22, ONE)
    bench.compute(22)
    bench.inner.arrivals = [answer(22)]
    bench.port.poll()
    bench.port.kill(22)
    bench.port.close()
    bench.timers.pass_time(0)
    assert bench.port.poll() == []


def test_an_absent_device_takes_its_process_with_it_and_a_process_of_it_does_not_live() -> None:
    bench = Bench("gpu.absent@tick:5,for=9ns")
    assert bench.port.present() == [0] and bench.inner.killed == [22]
    bench.port.spawn(1, 23)
    assert bench.inner.killed == [22, 23]
    bench.timers.pass_time(9)
    assert bench.port.present() == [1, 0]


def test_only_the_first_loads_on_that_device_fail_over_all_its_processes() -> None:
    bench = Bench("model.load_fail@device:accel,attempts=2")
    bench.send(21, ONE)
    bench.compute(21)
    bench.send(22, ONE)
    for _ in range(2):
        with pytest.raises(ModelFailed, match="load"):
            bench.compute(22)
    bench.compute(22)
    assert [fields["attempt"] for _, fields in bench.log] == [1, 2]


def test_one_batch_is_slowed_and_only_on_an_accelerator() -> None:
    bench = Bench("gpu.slow@tick:5,factor=7")
    bench.send(21, ONE)
    bench.send(22, ONE)
    assert [bench.port.stretch(p, 10) for p in (21, 22, 22)] == [10, 70, 10]
    assert bench.log[0][1]["takes"] == 70


@pytest.mark.parametrize(("what", "index"), [("token", 1), ("logits", 2), ("kv", 3)])
def test_one_result_is_wrong_in_one_part(what: str, index: int) -> None:
    bench = Bench(f"gpu.wrong@tick:5,agent:1,what={what}")
    bench.send(22, ONE, OTHER)
    first, second = bench.compute(22)
    right = (OTHER, 4, "ab", b"kv")
    got = (second.request, second.token, second.logits, second.kv)
    assert (first.token, first.logits, first.kv) == right[1:]
    assert [place for place in range(4) if got[place] != right[place]] == [index]
    assert bench.log[0][1]["request"] == OTHER and len(bench.compute(22)[0].kv) == 2


def test_two_faults_do_not_make_one_result_wrong_and_right_again() -> None:
    bench = Bench("gpu.wrong@tick:5,what=kv", "gpu.wrong@tick:5,what=kv")
    bench.send(22, ONE)
    assert bench.compute(22)[0].kv != b"kv" and fired(bench.log) == [0]
    assert bench.compute(22)[0].kv != b"kv" and fired(bench.log) == [0, 1]


def test_the_orchestrator_may_die_at_a_call_to_a_device_and_makes_none_afterwards() -> None:
    killer, log = injector("orchestrator.kill@call:2,point:after")
    inner = ToyDevices()
    port = MortalAccelerators(inner, Fuse(killer, lambda: (5, "await")))
    assert port.present() == [1, 0] and port.poll() == []
    with pytest.raises(Killed):
        port.send(22, b"x")
    assert inner.sent == [(22, b"x")] and log[0][1]["port"] == "accelerators.send"
    for act in (port.present, port.poll, lambda: port.kill(22), lambda: port.spawn(1, 23)):
        with pytest.raises(Killed):
            act()
    assert inner.killed == []
