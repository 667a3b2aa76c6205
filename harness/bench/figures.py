"""What a benchmark reports: the figures, what is required of them, and whether each is met.

A ratio is void, and its requirement not met, when the thing it is measured against is not what it claims to be: a floor
above `FLOOR_MAX` bare crossings, a hand-written program slower than `NAIVE_MAX` floors or with another end.
"""

from __future__ import annotations

from msgspec import Struct

from harness.bench import graphs, images, modules, reloads, targets
from harness.bench.graphs import Graphs
from harness.bench.images import Images
from harness.bench.measure import Spread
from harness.bench.modules import ModuleLoad
from harness.bench.reloads import Reloads
from harness.bench.scale import Memory, Ticks
from harness.bench.targets import Target

FLAT_STEP = 1.5  # dearest over cheapest cost of a step
FLAT_BYTES = 256.0  # growth of resident memory per run


class Variant(Struct, frozen=True, kw_only=True):
    """One way of doing the work. Rates are of the median; a step of a fault run counts once, however often it ran."""

    cpu_ms: Spread
    agent_steps_per_s: float
    messages_per_s: float
    scenarios_per_s: float
    us_per_step: float


class Judged(Struct, frozen=True, kw_only=True):
    """Runs with the default faults, judged by every oracle that needs no further runs, the twin's own run included."""

    plans: int
    faults_planned: int
    faults_effective: int
    cpu_s: float
    effective_faults_per_cpu_minute: float
    failed: tuple[str, ...]


class Requirement(Struct, frozen=True, kw_only=True):
    """`value` is None where it is void or was not measured. `better` is "more" or "less"."""

    name: str
    value: float | None
    required: float
    goal: float | None
    better: str
    met: bool
    goal_met: bool
    note: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """Everything one benchmark measured. `differences` is empty when all variants ended alike, bit for bit."""

    agents: int
    ticks: int
    agent_steps: int
    messages: int
    faults_per_plan: float
    plans: int
    rounds: int
    quick: bool
    variants: dict[str, Variant]
    bare_crossing_us: float
    floor_over_bare: float
    naive_over_floor: float
    floor_ratio: float
    floor_ratio_unobserved: float
    fault_ratio: float
    naive_speedup: float
    naive_speedup_no_kills: float
    observation_share: float
    virtual_s_per_cpu_s: float
    agents_s_per_cpu_s: float
    judged: Judged
    tick_work: tuple[Ticks, ...]
    us_per_step_by_agents: dict[str, float]
    us_per_step_flatness: float
    memory: Memory
    modules: tuple[ModuleLoad, ...]
    snapshots: Images
    graphs: Graphs
    reloads: Reloads
    targets: tuple[Target, ...]
    stages: dict[str, float]
    stages_missing: tuple[str, ...]
    differences: tuple[str, ...]
    void: tuple[str, ...]
    requirements: tuple[Requirement, ...]
    met: bool


def requirement(
    name: str, value: float | None, required: float, goal: float | None, better: str, note: str = ""
) -> Requirement:
    def holds(bound: float) -> bool:
        return value is not None and (value >= bound if better == "more" else value <= bound)

    return Requirement(
        name=name,
        value=value,
        required=required,
        goal=goal,
        better=better,
        met=holds(required),
        goal_met=holds(required if goal is None else goal),
        note=note,
    )


def table(report: Report) -> str:
    """The report for people."""
    lines = [
        f"{report.agents} agents, {report.ticks} ticks, {report.messages} messages, {report.agent_steps} agent steps; "
        f"{report.rounds} rounds, CPU time, median (min-max)",
        "",
        f"{'':<18}{'ms':>24}{'steps/s':>11}{'messages/s':>12}{'scenarios/s':>13}{'us/step':>9}",
    ]
    for name, v in report.variants.items():
        milliseconds = f"{v.cpu_ms.median:.1f} ({v.cpu_ms.min:.1f}-{v.cpu_ms.max:.1f})"
        lines.append(
            f"{name:<18}{milliseconds:>24}{v.agent_steps_per_s:>11,.0f}{v.messages_per_s:>12,.0f}"
            f"{v.scenarios_per_s:>13.2f}{v.us_per_step:>9.2f}"
        )
    lines += ["", f"{'':<36}{'measured':>12}{'required':>12}{'goal':>12}"]
    for r in report.requirements:
        value = "void" if r.value is None else f"{r.value:,.2f}"
        sign = ">=" if r.better == "more" else "<="
        goal = "" if r.goal is None else f"{sign} {r.goal:,g}"
        word = "goal met" if r.goal_met else "met" if r.met else "NOT MET"
        lines.append(f"{r.name:<36}{value:>12}{f'{sign} {r.required:,g}':>12}{goal:>12}  {word} {r.note}".rstrip())
    shares = sorted(report.stages.items(), key=lambda item: -item[1])
    lines += ["", "share of the time: " + ", ".join(f"{name} {share:.0%}" for name, share in shares)]
    lines.append(
        f"the harness's own evidence (guest log, trace): {report.observation_share:.0%} of the full runtime; "
        f"without it the floor ratio is {report.floor_ratio_unobserved:.2f}"
    )
    lines.append(
        f"bare crossing {report.bare_crossing_us:.2f} us, floor {report.floor_over_bare:.2f} of them, "
        f"naive {report.naive_over_floor:.1f} floors; naive speedup without kills {report.naive_speedup_no_kills:.2f}"
    )
    j = report.judged
    lines.append(
        f"faults, judged: {j.faults_effective} of {j.faults_planned} took effect in {j.plans} plans, {j.cpu_s:.2f} CPU "
        f"seconds{'; FAILED ' + ', '.join(j.failed) if j.failed else ''}"
    )
    lines += [
        f"tick with {t.agents:,} agents: p50 {t.p50_ms:.2f} ms, p99 {t.p99_ms:.2f} ms, max {t.max_ms:.2f} ms"
        for t in report.tick_work
    ]
    costs = ", ".join(f"{us:.1f} with {int(agents):,}" for agents, us in report.us_per_step_by_agents.items())
    lines.append(f"us per agent step: {costs} agents")
    lines.append(
        f"simulated seconds per CPU second: {report.virtual_s_per_cpu_s:.2f} of the machine's clock, "
        f"{report.agents_s_per_cpu_s:.1f} of the agents'"
    )
    m = report.memory
    lines.append(
        f"memory over {m.runs:,} runs of {m.agents} agents and {m.ticks} ticks: {m.first_mib:.1f} to "
        f"{m.last_mib:.1f} MiB, {m.bytes_per_run:+.1f} bytes per run"
    )
    lines += [*modules.lines(report.modules), graphs.line(report.graphs), *images.lines(report.snapshots)]
    lines.append(reloads.line(report.reloads))
    lines += ["", *targets.lines(report.targets)]
    lines += [f"void: {reason}" for reason in report.void]
    lines += [f"DIFFERS: {difference}" for difference in report.differences]
    lines += [f"not timed as a stage, as it is not there: {place}" for place in report.stages_missing]
    return "\n".join(lines)
