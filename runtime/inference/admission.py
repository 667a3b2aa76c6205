"""Which devices may serve: each is started in a process of its own, and admitted per model by its golden answers.

Guards against a device that is listed and cannot compute, one that hands the work to the CPU in silence, and one that
computes something else: it is refused in one line that says at which stage, and the CPU serves.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec import Struct

from runtime.errors import ModelFailed, Refused
from runtime.frames import InferenceItem
from runtime.inference import golden
from runtime.inference.golden import Golden
from runtime.inference.process import DeviceProcess, Patience, ProcessDecoder, ProcessModels
from runtime.inference.providers import KNOWN, ORDER, Provider

# Where an admission can end. `offered`: this installation has no such provider, or it finds no device; `session`: no
# session, or not all of its nodes there; `golden`: other answers; `process`: it died or hung; `latency`: too slow.
STAGES = ("offered", "digest", "session", "golden", "run", "process", "latency")
TIMED = 32  # tokens whose times are taken


class Latency(Struct, frozen=True, kw_only=True):
    """Wall time of single tokens in the device's own process, in ns; `spread_percent` is p99 over p50, less 100."""

    p50_ns: int
    p99_ns: int
    spread_percent: int


class Admission(Struct, frozen=True, kw_only=True):
    """What became of one device with one model. `nodes` are those placed on it, 0 for the CPU, which has them all."""

    device: str
    execution: str
    model: str
    admitted: bool
    stage: str = ""
    reason: str = ""
    nodes: int = 0
    latency: Latency | None = None

    def line(self) -> str:
        if self.admitted:
            return f"device {self.device} is admitted for model {self.model[:12]}: its answers are the golden ones"
        return f"device {self.device} is refused [{self.stage}]: {self.reason}"


class Limits(NamedTuple):
    """How long a device's process may take; how many percent slower its tokens may be than the CPU's, -1: any."""

    patience: Patience = Patience()
    slower_percent: int = -1


def admit(
    provider: Provider,
    models: Mapping[str, bytes],
    golden_of: Callable[[str, bytes], Golden],
    limits: Limits = Limits(),  # noqa: B008  # immutable
    beside: Latency | None = None,
) -> list[Admission]:
    """The device with each of these models, by digest; its process has ended then. `beside` is the CPU's latency."""
    try:
        process = DeviceProcess(provider, limits.patience)
    except ModelFailed as failed:
        return [_refused(provider, digest, "offered", failed.reason) for digest in models]
    served = ProcessModels(process, golden_of)
    found = []
    try:
        for digest, onnx in models.items():
            found.append(_admitted(provider, served, digest, onnx, limits, beside))
    finally:
        process.close()
    return found


def _refused(provider: Provider, digest: str, stage: str, reason: str) -> Admission:
    return Admission(
        device=provider.name,
        execution=provider.execution,
        model=digest,
        admitted=False,
        stage=stage,
        reason=reason,
    )


def _admitted(
    provider: Provider, served: ProcessModels, digest: str, onnx: bytes, limits: Limits, beside: Latency | None
) -> Admission:
    process = served.process
    try:
        served.golden_of(digest, onnx)
    except ModelFailed as failed:
        return _refused(provider, digest, "golden", f"there are no golden answers: {failed.reason}")
    try:
        decoder = served.load(digest, onnx)
        assert isinstance(decoder, ProcessDecoder)
        took = latency(decoder)
    except ModelFailed as failed:
        return _refused(provider, digest, process.stage or "process", failed.reason)
    decoder.close()
    slower = 0 if beside is None else 100 * took.p50_ns // beside.p50_ns - 100
    if 0 <= limits.slower_percent < slower:
        what = f"a token takes {slower}% longer than on the CPU, {limits.slower_percent}% are allowed"
        return _refused(provider, digest, "latency", what)
    return Admission(
        device=provider.name,
        execution=provider.execution,
        model=digest,
        admitted=True,
        nodes=served.nodes[digest],
        latency=took,
    )


def latency(decoder: ProcessDecoder) -> Latency:
    """Of single tokens at one position, the first one left out; raises ModelFailed."""
    item = InferenceItem(1, 0, golden.PROMPT[:1], b"")
    for _ in range(TIMED + 1):
        decoder.run([item])
    times = sorted(decoder.times_ns[-TIMED:])
    middle, last = int(statistics.median(times)), times[-1 - TIMED // 100]
    return Latency(p50_ns=middle, p99_ns=last, spread_percent=100 * last // max(middle, 1) - 100)


class DeviceSettings(NamedTuple):
    """What a configuration says of devices. `use` is a device's name, "auto", or "" for what the driver has."""

    use: str = ""
    order: tuple[str, ...] = ORDER
    limits: Limits = Limits()
    more: tuple[Provider, ...] = ()

    def known(self) -> tuple[Provider, ...]:
        """All devices by name: those of the configuration, those that are built in, the CPU last."""
        own = {provider.name for provider in self.more}
        return (*self.more, *(provider for provider in KNOWN if provider.name not in own))

    def asked(self, name: str) -> list[Provider]:
        """The devices that a user means, best first: one by name, or "auto" for those of the order. Raises Refused."""
        by_name = {provider.name: provider for provider in self.known()}
        wanted = self.order if name == "auto" else (name,)
        for one in wanted:
            if one not in by_name:
                raise Refused(f"device {one!a} is unknown", "device", f"use one of auto, {', '.join(by_name)}")
        return [by_name[one] for one in wanted]


def digest_of(onnx: bytes) -> str:
    """sha256 (hex) of a model's bytes, which is its name."""
    return hashlib.sha256(onnx).hexdigest()
