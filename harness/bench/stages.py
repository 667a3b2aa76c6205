"""Where the time goes: the functions of each stage wrapped with a clock, in a pass of its own, never in a timed one.

A stage's share is exclusive: time in a wrapped function that another one called is the inner one's. What no stage
claims is `rest` (the event loop, adapters, fault wrappers). The clock's own cost is measured and taken off per call.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from harness.bench.observing import swapped

# stage -> what belongs to it, as "module:function" or "module:Class.method".
STAGES: dict[str, tuple[str, ...]] = {
    "admit": (
        "runtime.orchestrator:Orchestrator._admit",
        "runtime.orchestrator:Orchestrator._message",
        "runtime.fold:begin",
        "runtime.fold:next_tick",
    ),
    "select": ("runtime.scheduler:select", "runtime.fold:_records"),
    "dispatch": (
        "runtime.pool:Pool.open",
        "runtime.pool:Pool.collect",
        "runtime.pool:Pool.advance",
        "runtime.pool:Pool._send",
        "runtime.orchestrator:Orchestrator._take",
        "runtime.worker:WorkerCore.handle",
    ),
    "wasm": (
        "runtime.wasm.guest:WasmGuest.run",
        "runtime.wasm.guest:WasmGuest.replay",
        "runtime.wasm.guest:WasmGuests.instantiate",
        "runtime.wasm.guest:WasmGuest.restore",
    ),
    "commit": (
        "runtime.fold:commit",
        "runtime.orchestrator:Orchestrator._commit",
        "runtime.orchestrator:Orchestrator._keep",
    ),
    "encode": (
        "runtime.frames:pack",
        "runtime.frames:unpack",
        "runtime.journal:encode_block",
        "runtime.state:encode",
        "runtime.snapshot:pack_file",
    ),
    "hash": (
        "runtime.journal:link",
        "runtime.snapshot:image_digest",
        "runtime.frames:outcome_sum",
    ),
    "sync": (
        "runtime.durability:Durability.append",
        "runtime.durability:Durability.pump",
        "runtime.releases:Releases.send",
    ),
    "snapshot": (
        "runtime.orchestrator:Orchestrator._snapshot",
        "runtime.snapshot:HeldImage.take",
        "runtime.snapshot:HeldImage.apply",
    ),
    "observe": (
        "harness.adapters.guests:ObservedGuest._note",
        "runtime.telemetry:Telemetry.emit",
    ),
    "recover": ("runtime.recovery:load",),
    "oracles": ("harness.oracles:judge", "faults.effect:effective", "harness.check:_row"),
}


class Clock:
    """Exclusive ns and calls by stage."""

    def __init__(self) -> None:
        self.spent: dict[str, int] = dict.fromkeys(STAGES, 0)
        self.calls: dict[str, int] = dict.fromkeys(STAGES, 0)
        self._inner = [0]  # ns that wrapped functions took inside the one that is running, by depth

    def wrapped(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        now, inner, spent, calls = time.perf_counter_ns, self._inner, self.spent, self.calls

        def timed(*args: Any, **kwargs: Any) -> Any:
            inner.append(0)
            begun = now()
            try:
                return function(*args, **kwargs)
            finally:
                took = now() - begun
                spent[stage] += took - inner.pop()
                inner[-1] += took
                calls[stage] += 1

        return timed


@contextmanager
def watched(clock: Clock) -> Iterator[list[str]]:
    """Every function of `STAGES` wrapped while inside, wherever it is known by name; yields those that were not found.

    A function that other modules imported by name is swapped there as well.
    """
    missing: list[str] = []
    with ExitStack() as stack:
        for stage, places in STAGES.items():
            for place in places:
                if not _swap(stack, clock, stage, place):
                    missing.append(place)
        yield missing


def _swap(stack: ExitStack, clock: Clock, stage: str, place: str) -> bool:
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part, None)
    function = getattr(owner, name, None)
    if function is None:
        return False
    timed = clock.wrapped(stage, function)
    stack.enter_context(swapped(owner, name, timed))
    if not classes:
        for other in _importers(name, function):
            stack.enter_context(swapped(other, name, timed))
    return True


def _importers(name: str, function: object) -> list[Any]:
    """The engine's own modules that hold this function under this name."""
    packages = ("runtime", "harness", "faults")
    modules = [m for key, m in sorted(sys.modules.items()) if key.partition(".")[0] in packages and m is not None]
    return [module for module in modules if vars(module).get(name) is function]


def cost_of_clock(calls: int = 20_000) -> float:
    """ns that one wrapped call adds inside its own measured time, on this machine now."""
    clock = Clock()
    empty = clock.wrapped("admit", lambda: None)
    for _ in range(calls):
        empty()
    return clock.spent["admit"] / calls


def shares(action: Callable[[], object], repeats: int) -> tuple[dict[str, float], list[str]]:
    """Each stage's share of the time of `action`, `rest` included; and the functions that were not found."""
    clock = Clock()
    own = cost_of_clock()
    with watched(clock) as missing:
        begun = time.perf_counter_ns()
        for _ in range(repeats):
            action()
        total = time.perf_counter_ns() - begun
    spent = {stage: max(0.0, ns - own * clock.calls[stage]) for stage, ns in clock.spent.items()}
    whole = total - 2 * own * sum(clock.calls.values())  # about as much again falls outside of the measured part
    named = {stage: round(ns / whole, 4) for stage, ns in spent.items()}
    return {**named, "rest": round(max(0.0, 1 - sum(named.values())), 4)}, missing
