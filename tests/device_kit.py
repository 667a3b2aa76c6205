"""Real devices for tests: the CPU under other settings, in processes that can be killed and stopped."""

from __future__ import annotations

import os
from collections.abc import Callable

from harness.adapters.accelerators import SIM_ACCEL, Devices
from harness.adapters.real_devices import RealDevice, real_device
from harness.adapters.workers import Timing
from runtime.inference.process import Patience, S
from runtime.inference.providers import KNOWN, Provider
from runtime.telemetry import Record
from scenarios.models import SMALL, build, digest

OTHER = next(provider for provider in KNOWN if provider.name == "cpu-other")
MODEL = {digest(SMALL): build(SMALL)}


def timing(provider: Provider = OTHER, answer_ns: int = 5 * S) -> Timing:
    return Timing(devices=Devices(provider=provider, patience=Patience(answer_ns=answer_ns)))


def struck(chosen: Timing, signal: int, at: int = 20) -> tuple[Callable[[Record], None], RealDevice]:
    """A telemetry hook that sends the device's process a signal before its batch number `at`, once; and the device."""
    machine = real_device(chosen.devices)
    sent = 0

    def hook(record: Record) -> None:
        nonlocal sent
        if record.kind == "infer_sent" and record.fields["device"] == SIM_ACCEL:
            sent += 1
            if sent == at:
                os.kill(machine.started[-1].pid, signal)

    return hook, machine
