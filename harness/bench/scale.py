"""How cost grows: the work of one tick, an agent step among few and among many agents, memory over many runs.

A tick's work is what lies between the openings of two ticks in one thread: select, dispatch, the workers' steps,
commit, syncs, releases and snapshots, the simulated adapters included. The ticks of start and shutdown are left out.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from faults.plan import Fault
from harness.bench.measure import percentile, settle
from harness.bench.observing import swapped
from harness.bench.work import plan_of
from harness.simulation import simulate
from runtime.telemetry import Hook, Record, Telemetry
from scenarios.bench import bench

SNAPSHOT_EVERY = 16  # in the runs that compare sizes, so that each holds whole rounds of snapshots
SMALL_AGENTS, SMALL_TICKS = 4, 12
NOISE_BYTES = 1 << 20


class Ticks(Struct, frozen=True):
    """The work of one tick in ms, wall clock, and how many were measured."""

    agents: int
    ticks: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Memory(Struct, frozen=True):
    """Resident memory over runs in one process; the slope is between the medians of its second and its last tenth.

    A change of less than `NOISE_BYTES` in all is no slope: the allocator gives and takes as much by itself.
    """

    runs: int
    agents: int
    ticks: int
    first_mib: float
    last_mib: float
    bytes_per_run: float


@contextmanager
def opened(note: Hook) -> Iterator[None]:
    """`note` hears every telemetry record of the simulations started in here, after their own hook."""
    original = Telemetry.register

    def register(telemetry: Telemetry, hook: Hook, steps: bool = False) -> None:
        original(telemetry, hook, steps)
        original(telemetry, note)

    with swapped(Telemetry, "register", register):
        yield


def _openings(agents: int, ticks: int, snapshot_every: int) -> list[tuple[int, int, int]]:
    """(tick, wall ns, CPU ns) at the opening of each tick of one run."""
    scenario = bench(agents, ticks, snapshot_every)
    plan = plan_of(scenario)
    seen: list[tuple[int, int, int]] = []

    def note(record: Record) -> None:
        if record.kind == "opened":
            seen.append((record.tick, time.perf_counter_ns(), time.process_time_ns()))

    settle()
    with opened(note):
        history = simulate(scenario, plan)
    if history.failure:
        raise RuntimeError(f"{agents} agents fail: {history.failure_detail}")
    return seen


def tick_times(agents: int, ticks: int, runs: int, snapshot_every: int = 64) -> Ticks:
    """Percentiles over the sending ticks of `runs` runs, of which each includes its snapshots."""
    spent: list[float] = []
    for _ in range(runs):
        seen = _openings(agents, ticks, snapshot_every)[1:]
        spent += [(after[1] - before[1]) / 1e6 for before, after in pairwise(seen)]
    gc.unfreeze()
    figures = percentile(spent, 0.5), percentile(spent, 0.99), max(spent)
    return Ticks(agents, len(spent), *(round(figure, 3) for figure in figures))


def step_cost_us(agents: int, ticks: int) -> float:
    """CPU µs per agent step over whole rounds of snapshots; `ticks` is at least SNAPSHOT_EVERY + 2."""
    seen = _openings(agents, ticks, SNAPSHOT_EVERY)[2:]
    gc.unfreeze()
    whole = (len(seen) - 1) // SNAPSHOT_EVERY * SNAPSHOT_EVERY
    return round((seen[whole][2] - seen[0][2]) / whole / agents / 1e3, 2)


def flatness(costs: Sequence[float]) -> float:
    """The dearest over the cheapest."""
    return round(max(costs) / min(costs), 2)


def resident_bytes() -> int:
    """Resident memory of this process (Linux)."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_over(runs: int) -> Memory:
    """Small runs in one process, every other one with a worker killed and the orchestrator killed."""
    scenario = bench(SMALL_AGENTS, SMALL_TICKS, 4)
    clean = plan_of(scenario)
    deaths = (
        Fault(kind="worker.kill", at={"tick": 5, "agent": 1, "hostcall": 1}),
        Fault(kind="orchestrator.kill", at={"tick": 8, "phase": "commit", "point": "after"}),
    )
    plans = (clean, replace(clean, faults=deaths))
    resident: list[int] = []
    every = max(1, runs // 100)
    for n in range(runs):
        history = simulate(scenario, plans[n % 2])
        if history.failure:
            raise RuntimeError(f"run {n} fails: {history.failure_detail}")
        del history
        if n % every == every - 1:
            gc.collect()
            resident.append(resident_bytes())
    tenth = max(1, len(resident) // 10)
    early = statistics.median(resident[tenth : 2 * tenth] or resident[:1])
    late = statistics.median(resident[-tenth:])
    between = max(1, (len(resident) - 2 * tenth) * every)
    return Memory(
        runs,
        SMALL_AGENTS,
        SMALL_TICKS,
        round(resident[0] / 2**20, 1),
        round(resident[-1] / 2**20, 1),
        round((late - early) / between, 1) if abs(late - early) >= NOISE_BYTES else 0.0,
    )
