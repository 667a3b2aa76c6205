"""Simulated devices: times, memory and death of an accelerator under the virtual clock, around a toy core."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from faults.deaths import DeviceDied
from harness.adapters.accelerators import (
    CPU,
    DEVICE_NAMES,
    SIM_ACCEL,
    Devices,
    DeviceTiming,
    Made,
    Meter,
    MeteredModels,
    SimAccelerators,
)
from harness.adapters.loop import Loop
from harness.adapters.models import ObservedModels
from harness.history import DeviceEvent
from runtime.errors import ModelFailed
from runtime.frames import Infer, InferenceItem, Inferred, pack, unpack
from runtime.inference import DeviceCore
from runtime.ports import Arrival, Decoder, Models
from runtime.state import Inference

ONNX = bytes(4096)
DIGEST = "ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7"  # of ONNX
TIMING = DeviceTiming(spawn_ns=1_000, launch_ns=100, ns_per_token=10, load_ns_per_kib=5, memory=10_000)
DEVICES = Devices(cpu=TIMING, accelerator=TIMING, pipe_ns=2, reap_ns=50)
READY = 1_000 + 100 + 4 * 5 + 3 * 10  # spawn, launch, 4 KiB of weights, three tokens


class Echo:
    """A decoder that answers each request with the number of its tokens; `end` is raised instead."""

    def __init__(self, end: BaseException | None = None) -> None:
        self.end = end
        self.closed = False

    def run(self, items: Sequence[InferenceItem]) -> list[Inference]:
        if self.end:
            raise self.end
        return [Inference(item.request, len(item.tokens), "l", b"kv") for item in items]

    def close(self) -> None:
        self.closed = True


class Echoes:
    def __init__(self, end: BaseException | None = None) -> None:
        self.end = end

    def load(self, digest: str, onnx: bytes) -> Decoder:
        return Echo(self.end)


class Weights:
    def get(self, digest: str) -> bytes:
        return {DIGEST: ONNX}[digest]


class Machine:
    """Devices with a log of what arrives when."""

    def __init__(self, devices: Devices = DEVICES, models: Models | None = None, slow: int = 1) -> None:
        self.loop = Loop()
        self.log: list[DeviceEvent] = []
        self.arrived: list[tuple[int, Arrival]] = []
        self.notes: list[tuple[str, int]] = []
        self.models = models or Echoes()
        self.port = SimAccelerators(
            self.loop,
            devices,
            self.made,
            self.take,
            lambda kind, p: self.notes.append((kind, p)),
            lambda p, ns: ns * slow,
        )
        self.memory = devices.cpu.memory

    def made(self, device: int, process: int) -> Made:
        meter = Meter()
        models = MeteredModels(self.models, self.memory, meter)
        observed = ObservedModels(models, process, device, 1, self.loop.now, self.log, [])
        return Made(DeviceCore(process, observed, Weights()), meter)

    def note(self, kind: str, process: int) -> None:
        self.notes.append((kind, process))

    def take(self) -> None:
        self.arrived += [(self.loop.now(), arrival) for arrival in self.port.poll()]

    def run(self, until: int = 1_000_000) -> list[tuple[int, Inferred | None]]:
        self.loop.run(until, 10_000)
        return [(at, answer(arrival)) for at, arrival in self.arrived]


def answer(arrival: Arrival) -> Inferred | None:
    if arrival.frame is None:
        return None
    frame = unpack(arrival.frame)
    assert isinstance(frame, Inferred)
    return frame


def batch(process: int, *requests: int, kv: bytes = b"", tokens: int = 3, lease: int = 1) -> bytes:
    items = tuple(InferenceItem(request, 0, tuple(range(tokens)), kv) for request in requests)
    return pack(Infer(1, process, lease, DIGEST, items))


def test_both_devices_are_listed_the_cpu_last_and_what_is_simulated_says_so() -> None:
    assert Machine().port.present() == [SIM_ACCEL, CPU]
    assert Machine(Devices(accelerator=None)).port.present() == [CPU]
    assert DEVICE_NAMES[CPU] == "cpu" and "simulated" in DEVICE_NAMES[SIM_ACCEL]


def test_an_answer_takes_spawn_launch_load_and_tokens_the_second_one_no_load() -> None:
    machine = Machine()
    machine.port.spawn(SIM_ACCEL, 7)
    machine.port.send(7, batch(7, 11))
    machine.port.send(7, batch(7, 12, lease=2))
    first, second = machine.run()
    assert (first[0], second[0]) == (READY + 2, READY + 130 + 2)
    assert first[1] is not None and first[1].results == (Inference(11, 3, "l", b"kv"),)
    assert [(e.at, e.device, e.request, e.token) for e in machine.log] == [(1_000, 1, 11, 3), (READY, 1, 12, 3)]


def test_a_slow_device_takes_a_multiple() -> None:
    machine = Machine(slow=50)
    machine.port.spawn(SIM_ACCEL, 7)
    machine.port.send(7, batch(7, 11))
    assert machine.run()[0][0] == 1_000 + 50 * (READY - 1_000) + 2


@pytest.mark.parametrize("at", [500, 1_050, READY - 1])
def test_a_process_killed_before_its_time_is_over_answers_nothing(at: int) -> None:
    machine = Machine()
    machine.port.spawn(SIM_ACCEL, 7)
    machine.port.send(7, batch(7, 11))
    machine.loop.later(at, lambda: machine.port.kill(7))
    assert machine.run() == [(at + 50, None)] and machine.port.live() == 0
    machine.port.kill(7)
    machine.port.send(7, batch(7, 12))
    assert machine.run() == [(at + 50, None)]  # dead: nothing more comes


def test_what_is_in_the_pipe_at_a_kill_still_arrives() -> None:
    machine = Machine()
    machine.port.spawn(SIM_ACCEL, 7)
    machine.port.send(7, batch(7, 11))
    machine.loop.later(READY + 1, lambda: machine.port.kill(7))
    (first, answered), (second, closed) = machine.run()
    assert first == READY + 2 and answered is not None and (second, closed) == (READY + 51, None)


def test_a_death_in_mid_run_closes_the_end_and_is_in_the_log_without_a_result() -> None:
    machine = Machine(models=Echoes(DeviceDied(7)))
    machine.port.spawn(SIM_ACCEL, 7)
    machine.port.send(7, batch(7, 11))
    assert machine.run() == [(READY + 50, None)]
    assert [(e.request, e.token, e.logits, e.added) for e in machine.log] == [(11, -1, "", "")]


def test_an_error_of_the_device_is_an_answer() -> None:
    machine = Machine(models=Echoes(ModelFailed("device", "gone")))
    machine.port.spawn(SIM_ACCEL, 7)
    machine.port.send(7, batch(7, 11))
    answered = machine.run()[0][1]
    assert answered is not None and (answered.failure, answered.results) == ("device", ())


def test_weights_and_caches_beyond_the_memory_are_refused_as_such() -> None:
    small = DEVICES.cpu.memory
    machine = Machine()
    machine.port.spawn(SIM_ACCEL, 7)
    machine.port.send(7, batch(7, 11, kv=bytes((small - 4096) // 4)))
    machine.port.send(7, batch(7, 12, kv=bytes((small - 4096) // 4 + 1), lease=2))
    assert [frame.failure for _, frame in machine.run() if frame] == ["", "memory"]
    machine = Machine()
    machine.memory = 4095
    machine.port.spawn(SIM_ACCEL, 7)
    machine.port.send(7, batch(7, 11))
    assert [frame.failure for _, frame in machine.run() if frame] == ["memory"]


def test_closing_a_decoder_gives_its_memory_back() -> None:
    meter = Meter()
    models = MeteredModels(Echoes(), 5_000, meter)
    first = models.load(DIGEST, ONNX)
    with pytest.raises(ModelFailed, match="memory"):
        models.load(DIGEST, ONNX)
    first.close()
    models.load(DIGEST, ONNX)
    assert (meter.held, meter.loaded) == (4096, 8192)


def test_bytes_that_are_no_frame_are_told_as_garbled() -> None:
    machine = Machine()
    machine.port.spawn(SIM_ACCEL, 7)
    machine.port.send(7, b"noise")
    assert machine.run() == [] and machine.notes == [("garbled", 7)]


def test_nothing_of_an_orphaned_process_arrives() -> None:
    machine = Machine()
    machine.port.spawn(SIM_ACCEL, 7)
    machine.port.send(7, batch(7, 11))
    machine.loop.later(READY + 1, machine.port.orphan)
    assert machine.run() == [] and machine.port.live() == 0
