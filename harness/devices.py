"""Which device serves a run: the simulated accelerator, the CPU alone, or a real one that has been admitted.

Guards against a device that serves unseen, and against one that was meant and does not: who served is told with each
run, and a device that is refused is named with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import to_builtins

from harness.adapters.accelerators import CPU, Devices
from harness.adapters.workers import Timing
from harness.history import History
from runtime.inference.admission import Admission, DeviceSettings, Latency, Limits, admit
from runtime.inference.providers import CPU as CPU_PROVIDER
from runtime.inference.providers import Provider
from scenarios.base import Scenario
from scenarios.goldens import golden_of

SIMULATED = "simulated"


class Chosen(NamedTuple):
    """`name` is the device that a run has beside the CPU: "simulated", "cpu" for none, or an admitted one's."""

    name: str
    timing: Timing
    tried: tuple[Admission, ...] = ()

    @property
    def physical(self) -> bool:
        return self.name not in (SIMULATED, CPU_PROVIDER.name)

    def lines(self) -> list[str]:
        """A line for each device that was tried; the last one says so where the CPU serves instead."""
        lines = [one.line() for one in self.tried]
        return lines if self.physical or not lines else [*lines[:-1], f"{lines[-1]}; the CPU serves"]


def cpu_alone() -> Timing:
    return Timing(devices=Devices(accelerator=None))


def choose(scenario: Scenario, name: str) -> Chosen:
    """The device of this name, or of the scenario's configuration where the name is ""; raises Refused for an unknown.

    A real one is tried with each of the scenario's models; one that is refused leaves the CPU alone.
    """
    settings = scenario.devices
    wanted = name or settings.use or SIMULATED
    if wanted == SIMULATED:
        return Chosen(SIMULATED, Timing())
    if wanted == CPU_PROVIDER.name:
        return Chosen(CPU_PROVIDER.name, cpu_alone())
    tried: list[Admission] = []
    for provider in settings.asked(wanted):
        beside = next(iter(admit(CPU_PROVIDER, scenario.models(), golden_of, settings.limits)), None)
        found = admit(provider, scenario.models(), golden_of, settings.limits, beside.latency if beside else None)
        tried += found
        if found and all(one.admitted for one in found):
            devices = Devices(provider=provider, patience=settings.limits.patience)
            return Chosen(provider.name, Timing(devices=devices), tuple(tried))
    return Chosen(CPU_PROVIDER.name, cpu_alone(), tuple(tried))


class Served(NamedTuple):
    """Requests that each device served in a run, by its number, and how often one was lost."""

    requests: Mapping[int, int]
    lost: int


def served(history: History) -> Served:
    counts: dict[int, int] = {}
    for record in history.trace:
        if record.kind == "inferred":
            device = int(record.fields["device"])
            counts[device] = counts.get(device, 0) + 1
    lost = sum(record.kind == "device_lost" and record.fields["device"] != CPU for record in history.trace)
    return Served(dict(sorted(counts.items())), lost)


def told(chosen: Chosen, history: History) -> dict[str, Any]:
    """For --json, where a device was asked for: which one the run had, what became of those tried, and who served."""
    if chosen.name == SIMULATED:
        return {}
    by = served(history)
    about = {
        "name": chosen.name,
        "evidence": "physical" if chosen.physical else "simulated",
        "served": {str(number): count for number, count in by.requests.items()},
        "lost": by.lost,
        "tried": [to_builtins(one) for one in chosen.tried],
    }
    return {"device": about}


def survey(models: Mapping[str, bytes], settings: DeviceSettings) -> Iterator[Admission]:
    """Each device that this build knows, with each model; the CPU's latencies are what the others' are held against."""
    found = admit(CPU_PROVIDER, models, golden_of, Limits(settings.limits.patience))
    beside: Latency | None = found[0].latency if found else None
    rest: list[Provider] = [one for one in settings.known() if one.name != CPU_PROVIDER.name]
    for provider in rest:
        yield from admit(provider, models, golden_of, settings.limits, beside)
    yield from found
