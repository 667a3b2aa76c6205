"""The models that devices hold (I23): within the budget, the least recent leaves, what runs stays, loads are verified.

A run's devices are judged by two records of the harness: which sessions were made, at the engine's side of the port,
and which model each batch ran. An LRU of our own, with the plan's budgets and the models' sizes, says what must have
been loaded when. As one device runs one batch at a time, each run also tries the runtime's own cache with several users
of models at once, files that change between two loads, and a device with less memory than the budget.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import NamedTuple

from harness.oracles.judged import Judged
from runtime.errors import ModelFailed
from runtime.frames import InferenceItem
from runtime.inference.cache import ModelCache
from runtime.ports import Decoder
from runtime.state import Inference

TRIALS = 8  # different ones; a process makes each once
STEPS = 60
MODELS = 6
BUDGET, MEMORY = 9_000, 6_500  # bytes: of the cache, and of a device that has less; models have 1,000 to 3,500
CPU = 0


# --- a run's devices --------------------------------------------------------------------------------------------------


class _Event(NamedTuple):
    """Of one process, in its order: a model is made, could not be made (for `failure`), or runs a batch."""

    at: int
    what: str
    model: str
    failure: str = ""


def held(run: Judged) -> list[str]:
    """What a device's process loaded, or answered from, that an LRU within its budget does not call for."""
    physical, trace = run.history.plan.physical, run.history.trace
    devices = {int(r.fields["process"]): int(r.fields["device"]) for r in trace if r.kind == "device_spawned"}
    events: dict[int, list[_Event]] = {}
    for load in run.history.loads:
        if load.place == "device" and load.side != "given":
            events.setdefault(load.number, []).append(_Event(load.at, load.side, load.name, load.refused))
    for event in run.history.inferences:
        events.setdefault(event.process, []).append(_Event(event.at, "runs", event.model))
    found: list[str] = []
    for process in sorted(events):
        budget = physical.host_models if devices.get(process) == CPU else physical.device_models
        ordered = sorted(events[process], key=lambda event: (event.at, event.what == "runs"))
        found += [f"process {process}: {line}" for line in _of_process(ordered, run.models, budget)]
    return found


def _of_process(events: Sequence[_Event], sizes: Mapping[str, int], budget: int) -> Iterator[str]:
    """The first thing that cannot be; what comes after it would only follow from it."""
    kept: OrderedDict[str, int] = OrderedDict()
    for event in events:
        name = f"model {event.model[:12]}"
        if event.what == "runs":
            if event.model not in kept:
                yield f"{name} runs at {event.at} ns, and had to leave before, or was never loaded"
                return
            kept.move_to_end(event.model)
        elif event.what == "failed":
            kept.pop(event.model, None)
            if event.failure == "memory" and kept:
                kept.popitem(last=False)  # one idle model less, and it is tried again
        elif event.model in kept:
            yield f"{name} is loaded at {event.at} ns, and was held"
            return
        else:
            size = sizes.get(event.model, 0)
            if size > budget:
                yield f"{name} is loaded with {size} B, the budget is {budget}"
                return
            while sum(kept.values()) + size > budget:
                kept.popitem(last=False)
            kept[event.model] = size


# --- the runtime's own cache, tried -----------------------------------------------------------------------------------


class _Shelf:
    """Files of models; `damaged` ones are read with another byte."""

    def __init__(self) -> None:
        self.files = dict(_files())
        self.damaged: set[str] = set()  # membership only

    def get(self, digest: str) -> bytes:
        onnx = self.files[digest]
        return onnx[:-1] + bytes([onnx[-1] ^ 1]) if digest in self.damaged else onnx


class _Toy:
    """A decoder that is open until it is closed."""

    def __init__(self, digest: str, size: int) -> None:
        self.digest, self.size, self.open = digest, size, True

    def run(self, items: Sequence[InferenceItem]) -> list[Inference]:
        return []

    def close(self) -> None:
        self.open = False


class _Device:
    """Loads toys while its memory lasts, and remembers all of them."""

    def __init__(self) -> None:
        self.memory = 1 << 30
        self.made: list[_Toy] = []
        self.wrong: list[str] = []

    def load(self, digest: str, onnx: bytes) -> Decoder:
        if hashlib.sha256(onnx).hexdigest() != digest:
            self.wrong.append(f"bytes with another digest are loaded as {digest[:12]}")
        if len(onnx) + sum(toy.size for toy in self.made if toy.open) > self.memory:
            raise ModelFailed("memory", "none is left")
        toy = _Toy(digest, len(onnx))
        self.made.append(toy)
        return toy


@lru_cache(maxsize=1)
def _files() -> tuple[tuple[str, bytes], ...]:
    contents = [bytes([n]) * (1_000 + 500 * n) for n in range(MODELS)]
    return tuple((hashlib.sha256(one).hexdigest(), one) for one in contents)


@lru_cache(maxsize=TRIALS)
def tried(number: int) -> tuple[str, ...]:
    """What the runtime's cache did wrong in this trial."""
    trial = _Trial()
    try:
        for step in range(STEPS):
            trial.step(hashlib.sha256(f"I23 models {number} {step}".encode()).digest())
    except Exception as error:
        trial.found.append(f"{type(error).__name__}: {error}")
    return tuple(f"trial {number} of models: {line}" for line in (*trial.found, *trial.device.wrong))


class _Trial:
    """Users take models and give them back; what must be held is known from that alone."""

    def __init__(self) -> None:
        self.shelf, self.device = _Shelf(), _Device()
        self.cache = ModelCache(self.device, self.shelf, BUDGET)
        self.users: list[tuple[_Toy, Callable[[], None]]] = []
        self.kept: OrderedDict[str, int] = OrderedDict()  # by recency
        self.found: list[str] = []

    def step(self, draw: bytes) -> None:
        for _ in range(min(len(self.users), (0, 0, 1, 3)[draw[0] % 4])):
            self.users.pop(draw[1] % len(self.users))[1]()
        digest, onnx = _files()[draw[2] % MODELS]
        self.device.memory = MEMORY if draw[3] % 4 == 0 else 1 << 30
        self.shelf.damaged = {digest} if draw[4] % 4 == 0 else set()
        if draw[5] % 8 == 0:
            self._unload(digest)
        self._take(digest, len(onnx))
        self._compare()

    def _used(self) -> set[str]:
        return {toy.digest for toy, _ in self.users}

    def _unload(self, digest: str) -> None:
        due = digest in self.kept and digest not in self._used()
        if self.cache.unload(digest) != due:
            self.found.append(f"{digest[:12]} is {'not ' if due else ''}unloaded")
        if due:
            del self.kept[digest]

    def _take(self, digest: str, size: int) -> None:
        due = self._due(digest, size)
        holding: AbstractContextManager[Decoder] = self.cache.hold(digest)
        try:
            toy = holding.__enter__()
        except ModelFailed as failed:
            if failed.failure != due:
                self.found.append(f"{digest[:12]} fails for {failed.failure}, {due or 'nothing'} is due")
            return
        assert isinstance(toy, _Toy)
        if due:
            self.found.append(f"{digest[:12]} is given, its failure for {due} is due")
        if toy.digest != digest:
            self.found.append(f"{toy.digest[:12]} is given for {digest[:12]}")
        self.users.append((toy, lambda: _leave(holding)))

    def _due(self, digest: str, size: int) -> str:
        """What taking it must come to, "" for well; `kept` is brought up to date."""
        if digest in self.kept:
            self.kept.move_to_end(digest)
            return ""
        if digest in self.shelf.damaged:
            return "load"
        used = self._used()
        if size + sum(self.kept[one] for one in self.kept if one in used) > BUDGET:
            return "memory"
        idle = [one for one in self.kept if one not in used]
        while idle and sum(self.kept.values()) + size > BUDGET:
            del self.kept[idle.pop(0)]
        while idle and sum(self.kept.values()) + size > self.device.memory:
            del self.kept[idle.pop(0)]
        if sum(self.kept.values()) + size > self.device.memory:
            return "memory"
        self.kept[digest] = size
        return ""

    def _compare(self) -> None:
        there = [toy for toy in self.device.made if toy.open]
        self.found += [f"{toy.digest[:12]} leaves while it is used" for toy, _ in self.users if not toy.open]
        if sum(toy.size for toy in there) > BUDGET:
            self.found.append(f"{sum(toy.size for toy in there)} B are loaded, the budget is {BUDGET}")
        if {toy.digest for toy in there} != set(self.kept) or len(there) != len(self.kept):
            names = sorted(toy.digest[:12] for toy in there), sorted(one[:12] for one in self.kept)
            self.found.append(f"{', '.join(names[0])} are loaded, due are {', '.join(names[1])}")
        if self.cache.held != sum(self.kept.values()):
            self.found.append(f"{self.cache.held} B are said to be held, there are {sum(self.kept.values())}")


def _leave(holding: AbstractContextManager[Decoder]) -> None:
    holding.__exit__(None, None, None)
