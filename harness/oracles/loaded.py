"""What instances and sessions are made of: integrity before use (I25) and the ABI (I35).

What artefacts gave by digest was recorded at their side of the port, what an instance or a session was made of at the
engine's side, both hashed and read by the harness. As artefacts are good in a run, each run also tries the runtime's
own worker and device with bad ones: altered bytes, bytes that are altered when they are read again, and a module made
for other ABI versions. Against: a check that is missing, made on other bytes than those that are used, or too lax.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from msgspec import UNSET

from harness.adapters.artifacts import ObservedArtifacts, read, with_abi
from harness.adapters.guests import ObservedGuests
from harness.adapters.memory import SimMemory
from harness.adapters.models import ObservedModels
from harness.history import GuestEvent, LoadEvent, ReplayEvent
from harness.oracles import refusals
from harness.oracles.judged import Judged
from harness.oracles.verdict import Unjudged
from runtime.errors import ModelFailed
from runtime.frames import Base, Done, Infer, InferenceItem, Order, Work, pack, unpack
from runtime.inference import DeviceCore, graph
from runtime.ports import Decoder
from runtime.state import AgentSpec, Library, StepRecord
from runtime.wasm import WasmGuests
from runtime.worker import WorkerCore

MINOR = 2  # the newest minor version of the ABI: the oracle's own, by docs/abi.md
_NEWER = f"1.{MINOR + 1}"
FOREIGN = ("2", "0.9", _NEWER, f"{_NEWER}.0", "one", "")  # versions that no module may have which runs
_ALTERED = 24  # bytes from the end, one of which is another


def integrity(run: Judged) -> list[str]:
    """I25: whatever was used are the bytes that an artefact gave under the declared digest, and have that digest."""
    loads = _loads(run)
    refused = refusals.ended(run, refusals.ALTERED)
    tried = [*_tried_altered(_module(run), run.history.plan.seed % _ALTERED), *_tried_outside()]
    return _used(run) + _unverified(loads) + tried + refused


def abi(run: Judged) -> list[str]:
    """I35: no module for another ABI version is instantiated or run; the refusal of each start is on record once."""
    _loads(run)
    return _foreign(run) + _tried_foreign(_module(run), _major(run)) + refusals.ended(run, refusals.FOREIGN)


def _loads(run: Judged) -> list[LoadEvent]:
    if not run.history.loads:
        raise Unjudged("there is no record of what was loaded")
    return run.history.loads


def _module(run: Judged) -> bytes:
    """One of the run's modules, by the seed alone."""
    if not run.modules:
        raise Unjudged("there are no modules to try")
    return run.modules[sorted(run.modules)[run.history.plan.seed % len(run.modules)]]


def _major(run: Judged) -> int:
    try:
        return int(run.journal.header["versions"]["abi"])
    except KeyError:
        raise Unjudged("the journal's header does not say which ABI it is of") from None


# --- the run's records ------------------------------------------------------------------------------------------------


def _unverified(loads: Sequence[LoadEvent]) -> list[str]:
    """Instances and sessions of bytes that have another digest, or that nobody gave under it."""
    given: set[tuple[str, int, str, str]] = set()
    found = []
    for index, event in enumerate(loads):
        key = (event.place, event.number, event.name, event.digest)
        if event.side == "given":
            given.add(key)
            continue
        where = f"load event {index}: {event.place} {event.number}"
        if event.refused:
            if event.refused == "digest" and event.digest == event.name:
                found.append(f"{where} refused {event.name[:12]} by its digest, which is right")
        elif event.digest != event.name:
            found.append(f"{where} uses bytes with digest {event.digest[:12]} as {event.name[:12]}")
        elif key not in given:
            found.append(f"{where} uses {event.name[:12]}, which no artefact gave it")
    return found


def _used(run: Judged) -> list[str]:
    """What was used is what the journal declares, and no crossing is into an instance that was never made."""
    modules, models = _specs(run), {model["digest"] for model in run.config["models"]}
    made: set[tuple[int, int]] = set()
    found = []
    for index, event in enumerate(run.history.loads):
        if event.side == "given" or event.refused:
            continue
        where = f"load event {index}: {event.place} {event.number}"
        if event.place == "device" and event.name not in models:
            found.append(f"{where} uses model {event.name[:12]}, which the run does not declare")
        elif event.place == "worker":
            made.add((event.number, event.agent))
            if event.name not in modules.get(event.agent, ()):
                found.append(f"{where} uses module {event.name[:12]} for agent {event.agent}, which declares another")
    crossed = {(event.worker, event.agent) for event in run.history.guests}
    return found + [
        f"worker {worker} ran agent {agent}, of which no instance was made" for worker, agent in sorted(crossed - made)
    ]


def _specs(run: Judged) -> dict[int, tuple[str, ...]]:
    """Agent -> digests of its modules, as the journal admitted them: its first one, its libraries, those of reloads."""
    found: dict[int, tuple[str, ...]] = {}
    for block in run.journal.blocks:
        illegal = [event[3] for event in block.events if event[0] == "illegal" and event[2] == "spawn"]
        for item in block.inputs:
            spec: dict[str, Any] | None = item["action"].get("spec")
            if spec is not None and spec["name"] in illegal:
                illegal.remove(spec["name"])
            elif spec is not None:
                found[len(found)] = (spec["module"], *(each["module"] for each in spec.get("libraries", ())))
            elif item["action"]["do"] == "reload" and item["action"]["agent"] in found:
                found[item["action"]["agent"]] += (item["action"]["module"],)
    return found


def runs_here(declared: Sequence[str], major: int) -> bool:
    """Whether a module that declares these versions may run: none, or one of this major and no newer minor."""
    if not declared:
        return True
    parts = declared[0].split(".")
    if len(declared) > 1 or len(parts) > 3 or not all(p.isascii() and p.isdigit() for p in parts):
        return False
    return int(parts[0]) == major and int((*parts, "0")[1]) <= MINOR


def _foreign(run: Judged) -> list[str]:
    """Modules for another version: what was made of them, what ran, and what the journal says of their starts."""
    major = _major(run)
    foreign = {e.name: e.abi for e in run.history.loads if e.side == "given" and not runs_here(e.abi, major)}
    found = _instances(run.history.loads, major)
    if not foreign:
        return found
    agents = {agent for agent, modules in _specs(run).items() if set(modules) <= set(foreign)}
    found += [f"guest event {n}: agent {e.agent} ran" for n, e in enumerate(run.history.guests) if e.agent in agents]
    starts = dict.fromkeys(agents, 1)
    for block in run.journal.blocks:
        for event in block.events:
            if event[0] == "lifecycle" and event[1] in agents and event[3] == "starting":
                starts[event[1]] += 1
        for step in block.steps:
            if step.agent not in agents or step.kind == "reload":
                continue
            told = sum(event == ("failed", step.agent, "refused:abi") for event in map(tuple, block.events))
            starts[step.agent] -= 1
            if (step.kind, step.status, told) != ("init", "refused:abi", 1) or starts[step.agent] < 0:
                what = f"{step.kind} step with status {step.status}, told {told} times"
                found.append(f"block {block.block}: agent {step.agent}, whose ABI is another, has a {what}")
    return found


def _instances(loads: Sequence[LoadEvent], major: int) -> list[str]:
    return [
        f"load event {index}: {event.place} {event.number} has an instance of a module for ABI {', '.join(event.abi)!r}"
        for index, event in enumerate(loads)
        if event.side == "made" and not event.refused and not runs_here(event.abi, major)
    ]


# --- the runtime's own worker and device, given what no run gives them ------------------------------------------------


class _Changing:
    """Artefacts whose bytes are another each time they are asked for, and then stay as the last ones."""

    def __init__(self, *contents: bytes) -> None:
        self._contents = list(contents)

    def get(self, digest: str) -> bytes:
        return self._contents.pop(0) if len(self._contents) > 1 else self._contents[0]


class _NoModels:
    """Models none of which loads: what reached it is on record outside."""

    def load(self, digest: str, onnx: bytes) -> Decoder:
        raise ModelFailed("load", "none loads here", digest[:12])


@lru_cache(maxsize=256)
def _tried(name: str, *contents: bytes, library: str = "") -> tuple[str, str, tuple[LoadEvent, ...], int]:
    """A start of an agent with these artefacts: the statuses of the two answers, its loads, its crossings.

    With a `library` (its digest) the agent declares one.
    """
    loads: list[LoadEvent] = []
    guests: list[GuestEvent | ReplayEvent] = []
    observed = ObservedGuests(WasmGuests(), 1, 1, lambda: 0, guests, None, loads)
    core = WorkerCore(1, observed, SimMemory(), ObservedArtifacts(_Changing(*contents), "worker", 1, lambda: 0, loads))
    granted = ("messages", "topics", "timers", "buffers", "output")
    libraries = (Library(name="tried", module=library),) if library else UNSET
    spec = AgentSpec(capabilities=granted, libraries=libraries, module=name, name="tried")
    record = StepRecord(0, 1, "init", 0, 0, 0, 1, 1, 0, 0, 64, 65536, True, (), (), ())
    order = pack(Work(1, 1, 1, (Order(record, spec.limits.fuel, Base(spec, None, ())),)))
    statuses = []
    for _ in range(2):
        done = unpack(core.handle(order)[0])
        assert isinstance(done, Done)
        statuses.append(done.results[0].status)
    core.close()
    return statuses[0], statuses[1], tuple(loads), len(guests)


@lru_cache(maxsize=256)
def _tried_model(name: str, *contents: bytes) -> tuple[LoadEvent, ...]:
    """The loads of a device that is asked for a model with these artefacts; none is a session."""
    loads: list[LoadEvent] = []
    models = ObservedModels(_NoModels(), 1, 0, 1, lambda: 0, [], loads)
    core = DeviceCore(1, models, ObservedArtifacts(_Changing(*contents), "device", 1, lambda: 0, loads))
    core.handle(pack(Infer(1, 1, 1, name, (InferenceItem(1, 0, (0,), b""),))))
    core.close()
    return tuple(loads)


_PLACES = ("weights.bin", "../weights.bin", "/weights.bin", "")


@lru_cache(maxsize=1)
def _tried_outside() -> tuple[str, ...]:
    """A model whose weights lie outside of the bytes that were hashed: a graph (7) with a tensor (5) that names a file
    (external_data, 13), or only says that it is elsewhere (data_location, 14)."""
    found = []
    for place in _PLACES:
        entry = _message(1, b"location") + _message(2, place.encode())
        tensor = b"\x08\x01\x10\x01" + (_message(13, entry) if place else b"") + b"\x70\x01"
        try:
            graph.check(_message(7, _message(5, tensor)), "tried")
        except ModelFailed as failed:
            if failed.failure == "load":
                continue
        found.append(f"tried a model with weights in {place or 'another file'!r}: it is not refused")
    return tuple(found)


def _message(field: int, data: bytes) -> bytes:
    return bytes([field << 3 | 2, len(data)]) + data


def _tried_altered(module: bytes, place: int) -> list[str]:
    altered = bytearray(module)
    altered[-1 - place % len(module)] ^= 1
    bad, name = bytes(altered), read(module)[0]
    found = []
    first, second, loads, crossings = _tried(name, bad)
    found += [f"tried with altered bytes: {line}" for line in _unverified(loads)]
    if (first, second, crossings) != ("refused:digest", "refused:digest", 0):
        found.append(f"tried with altered bytes: the start of an agent ends as {first!r}, not as refused by its digest")
    found += [f"tried with bytes that change: {line}" for line in _unverified(_tried(name, module, bad)[2])]
    first, second, loads, crossings = _tried(name, module, bad, library=name)
    found += [f"tried with an altered library: {line}" for line in _unverified(loads)]
    if (first, second, crossings) != ("refused:digest", "refused:digest", 0):
        found.append(f"tried with an altered library: the start ends as {first!r}, not as refused by its digest")
    for what, contents in (("altered bytes", (bad,)), ("bytes that change", (module, bad))):
        reached = [event for event in _tried_model(name, *contents) if event.side == "made"]
        found += [
            f"tried a model with {what}: bytes with digest {event.digest[:12]} reach the engine as {event.name[:12]}"
            for event in reached
            if event.digest != event.name
        ]
    return found


def _tried_foreign(module: bytes, major: int) -> list[str]:
    found = []
    for version in FOREIGN:
        if runs_here((version,), major):
            continue
        made = with_abi(module, version)
        first, second, loads, crossings = _tried(read(made)[0], made)
        found += [f"tried ABI {version!r}: {line}" for line in _instances(loads, major)]
        if (first, second, crossings) != ("refused:abi", "refused:abi", 0):
            what = f"ends as {first!r} and {second!r} after {crossings} crossings"
            found.append(f"tried ABI {version!r}: the start of an agent {what}, not as refused by its ABI")
    return found
