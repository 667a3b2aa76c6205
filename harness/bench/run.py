"""One benchmark: all parts one after the other in this process."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from msgspec.structs import replace

from harness.bench import figures, scale, stages
from harness.bench.figures import Judged, Report, Requirement, Variant, requirement
from harness.bench.floor import FLOOR_MAX, bare, cross
from harness.bench.graphs import Graphs, graphs
from harness.bench.images import Images, images
from harness.bench.measure import in_turn, settle, spread
from harness.bench.modules import ModuleLoad, module_loads
from harness.bench.naive import NAIVE_MAX
from harness.bench.reloads import Reloads, reloads
from harness.bench.targets import targets
from harness.bench.work import SEED, Work, differences, prepare, variants
from harness.check import Checker
from harness.simulation import simulate
from scenarios import bench


class Size(NamedTuple):
    """How much is measured. `tick_runs` are (agents, ticks, runs), `step_runs` (agents, ticks)."""

    agents: int
    ticks: int
    plans: int
    rounds: int
    tick_runs: tuple[tuple[int, int, int], ...]
    step_runs: tuple[tuple[int, int], ...]
    memory_runs: int
    stage_runs: int


FULL = Size(
    bench.AGENTS,
    bench.TICKS,
    24,
    9,
    ((100, 200, 3), (1000, 100, 1)),
    ((10, 322), (100, 130), (1000, 34), (10_000, 18)),
    10_000,
    8,
)
QUICK = Size(
    bench.AGENTS, bench.TICKS, 2, 3, ((100, 100, 1), (1000, 20, 1)), ((10, 130), (100, 34), (1000, 18)), 300, 2
)
IMAGE_MIB = 4
BUFFER_OPERATIONS = 20_000
MILLISECONDS_GOAL, MILLISECONDS_MAX = 1.0, 2.0  # the work of one tick with 100 agents, 99th percentile


def measure(size: Size, quick: bool, news: Callable[[str], None]) -> Report:
    """Everything; `news` is told what comes next."""
    news("memory")
    memory = scale.memory_over(size.memory_runs)  # first, while nothing else has filled the heap
    news("the same end for all")
    work = prepare(size.agents, size.ticks, size.plans)
    different = differences(work)
    news("variants in turn")
    times = in_turn(variants(work), size.rounds)
    crossed = cross(work.scenario, SEED, record=True)
    pairs = [(cross(work.scenario, SEED).cpu_ns, bare(work.scenario, crossed)) for _ in range(size.rounds)]
    news("faults, judged")
    judged = _judged(work)
    news("stages")
    shares, missing = _shares(work, size.stage_runs)
    news("ticks")
    ticks = tuple(scale.tick_times(*run) for run in size.tick_runs)
    news("cost of a step among few and many")
    costs = {str(agents): scale.step_cost_us(agents, n) for agents, n in size.step_runs}
    news("modules")
    loads = module_loads(size.rounds)
    news("graphs of tasks")
    graph = graphs()
    news("snapshots")
    taken = images(IMAGE_MIB, size.rounds)
    news("hot reloads")
    reloaded = reloads()
    parts = Parts(times, pairs, judged, shares, missing, ticks, costs, memory, different, loads, taken, graph, reloaded)
    return _report(size, quick, work, parts)


class Parts(NamedTuple):
    """What was measured, raw: CPU ns by variant, (floor, bare) CPU ns, µs per step by agents."""

    times: dict[str, list[int]]
    pairs: list[tuple[int, int]]
    judged: Judged
    shares: dict[str, float]
    missing: list[str]
    ticks: tuple[scale.Ticks, ...]
    costs: dict[str, float]
    memory: scale.Memory
    different: list[str]
    loads: tuple[ModuleLoad, ...]
    taken: Images
    graph: Graphs
    reloaded: Reloads


def _report(size: Size, quick: bool, work: Work, parts: Parts) -> Report:
    times, pairs, judged, shares, missing, ticks, costs, memory, different, loads, taken, graph, reloaded = parts
    ns = {name: median(values) for name, values in times.items()}
    messages = bench.messages(size.agents, size.ticks)
    bare_ns = median(b for _, b in pairs)
    floor_over_bare = median(f for f, _ in pairs) / bare_ns
    naive_over_floor = ns["naive"] / ns["floor"]
    virtual_ns = simulate(work.scenario, work.clean).virtual_ns
    agents_ns = work.ticks * work.scenario.config(SEED).tick_ms * 1_000_000
    void = void_ratios(floor_over_bare, naive_over_floor, different)
    report = Report(
        agents=size.agents,
        ticks=size.ticks,
        agent_steps=work.steps,
        messages=messages,
        faults_per_plan=sum(len(plan.faults) for plan in work.faulty) / len(work.faulty),
        plans=size.plans,
        rounds=size.rounds,
        quick=quick,
        variants={name: _variant(values, work.steps, messages) for name, values in times.items()},
        bare_crossing_us=round(bare_ns / work.steps / 1e3, 3),
        floor_over_bare=round(floor_over_bare, 3),
        naive_over_floor=round(naive_over_floor, 3),
        floor_ratio=_ratio(times, "full", "floor"),
        floor_ratio_unobserved=_ratio(times, "full unobserved", "floor"),
        fault_ratio=_ratio(times, "full, faults", "full"),
        naive_speedup=_ratio(times, "naive, kills", "full, kills"),
        naive_speedup_no_kills=_ratio(times, "naive", "full"),
        observation_share=round(1 - 1 / _ratio(times, "full", "full unobserved"), 3),
        virtual_s_per_cpu_s=round(virtual_ns / ns["full"], 3),
        agents_s_per_cpu_s=round(agents_ns / ns["full"], 3),
        judged=judged,
        tick_work=ticks,
        us_per_step_by_agents=costs,
        us_per_step_flatness=scale.flatness(list(costs.values())),
        memory=memory,
        modules=loads,
        snapshots=taken,
        graphs=graph,
        reloads=reloaded,
        targets=(),
        stages=shares,
        stages_missing=tuple(missing),
        differences=tuple(different),
        void=tuple(void.values()),
        requirements=(),
        met=False,
    )
    requirements = requirements_of(report, void)
    few = next((t for t in ticks if t.agents == 100), ticks[0])
    asked = targets(few.p99_ms, report.variants["full"].messages_per_s, BUFFER_OPERATIONS)
    return replace(report, requirements=requirements, targets=asked, met=all(r.met for r in requirements))


def _ratio(times: dict[str, list[int]], above: str, below: str) -> float:
    """The median of the ratios of neighbours in time: what slows a round down slows both of them."""
    return round(median(a / b for a, b in zip(times[above], times[below], strict=True)), 3)


def _variant(values: list[int], steps: int, messages: int) -> Variant:
    seconds = median(values) / 1e9
    return Variant(
        cpu_ms=spread([value / 1e6 for value in values]),
        agent_steps_per_s=round(steps / seconds, 1),
        messages_per_s=round(messages / seconds, 1),
        scenarios_per_s=round(1 / seconds, 3),
        us_per_step=round(seconds * 1e6 / steps, 3),
    )


def void_ratios(floor_over_bare: float, naive_over_floor: float, different: list[str]) -> dict[str, str]:
    """By ratio, why it means nothing."""
    void = {}
    if floor_over_bare > FLOOR_MAX:
        void["floor_ratio"] = f"the floor takes {floor_over_bare:.2f} bare crossings, at most {FLOOR_MAX} are allowed"
    if naive_over_floor > NAIVE_MAX:
        void["naive_speedup"] = f"naive takes {naive_over_floor:.1f} floors, at most {NAIVE_MAX:g} are allowed"
    if different:
        void["naive_speedup"] = void["floor_ratio"] = f"not the same end: {different[0]}"
    return void


def _judged(work: Work) -> Judged:
    """Every plan checked once, with a twin that they share and that is run first."""
    settle()
    begun = time.process_time_ns()
    checker = Checker(work.scenario)
    effective = planned = 0
    failed: set[str] = set()
    for n, plan in enumerate(work.faulty):
        checked = checker.check(plan, n)
        effective += sum(checked.effective.values())
        planned += len(plan.faults)
        failed.update(checked.failed)
        del checked
    spent = time.process_time_ns() - begun
    gc.unfreeze()
    return Judged(
        plans=len(work.faulty),
        faults_planned=planned,
        faults_effective=effective,
        cpu_s=round(spent / 1e9, 3),
        effective_faults_per_cpu_minute=round(effective / (spent / 60e9), 1),
        failed=tuple(sorted(failed)),
    )


def _shares(work: Work, repeats: int) -> tuple[dict[str, float], list[str]]:
    """Over plans without and with faults in turn, judged."""
    checker = Checker(work.scenario)
    checker.clean(work.clean)
    plans = (work.clean, work.faulty[0])

    def both() -> None:
        for plan in plans:
            checker.check(plan)

    settle()
    shares = stages.shares(both, repeats)
    gc.unfreeze()
    return shares


def requirements_of(report: Report, void: dict[str, str]) -> tuple[Requirement, ...]:
    """What this benchmark requires; a void ratio meets nothing."""

    def valid(name: str, value: float) -> float | None:
        return None if name in void else value

    few = next((t for t in report.tick_work if t.agents == 100), None)
    counts = sorted(int(agents) for agents in report.us_per_step_by_agents)
    sizes = f"{counts[0]:,} to {counts[-1]:,}"
    faults = report.judged.effective_faults_per_cpu_minute
    return (
        requirement("naive_speedup", valid("naive_speedup", report.naive_speedup), 5, 10, "more"),
        requirement("floor_ratio", valid("floor_ratio", report.floor_ratio), 5, 2.5, "less"),
        requirement("fault_ratio", report.fault_ratio, 1.5, 1.3, "less"),
        requirement("effective_faults_per_cpu_minute", faults, 10_000, 20_000, "more"),
        requirement("tick_p99_ms_100_agents", few.p99_ms if few else None, MILLISECONDS_MAX, MILLISECONDS_GOAL, "less"),
        requirement(
            "us_per_step_flatness", report.us_per_step_flatness, figures.FLAT_STEP, None, "less", f"{sizes} agents"
        ),
        requirement(
            "memory_bytes_per_run",
            report.memory.bytes_per_run,
            figures.FLAT_BYTES,
            None,
            "less",
            f"over {report.memory.runs:,} runs",
        ),
    )
