"""Every point of a run at which something can go wrong: one run per point, family by family, all of them.

- `kills`: for each step of the twin, the worker that has it dies idle, on entering each of its host calls (every import
  counts), at the last check of its fuel before each and before its end, within each copy into a shared segment, and
  after it; under one, two, four and seven workers.
- `phases`: the orchestrator dies before, within and after its first port call in each phase of each tick.
- `ports`: it dies before, within and after each of its port calls.
- `writes`: it dies within each write to the disk and the machine with it, so that what was not synced is lost or torn:
  each record of the journal, each mark, blob and snapshot.
- `inferences`: the accelerator goes at each request, in each of the ways in which one can.
- `flips`: a bit flips in each version of a shared buffer that anybody reads: in its head, its first byte, its last.
- `frames`: each frame of the pipes and of the client arrives altered.

Guards what random plans may miss: after this, no such moment of this scenario and seed is left untried. How many host
calls there are is found by killing: the first number at which nobody dies is past the end. Host calls, copies and port
calls are those of the build under test, not what the harness believes of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from faults.kinds import DEVICE_ENDS
from faults.plan import Fault, Plan, canonical
from harness.check import Checked, Checker
from harness.history import History
from harness.simulation import simulate
from harness.watching import PortCall, port_calls
from runtime import journal
from runtime.buffers import HEAD
from runtime.durability import JOURNAL

KILLS, PHASES, PORTS, WRITES = "kills", "phases", "ports", "writes"
INFERENCES, FLIPS, FRAMES = "inferences", "flips", "frames"
FAMILIES = (KILLS, PHASES, PORTS, WRITES, INFERENCES, FLIPS, FRAMES)
LEFT_OUT = {
    "other fuel checks": "between the same two host calls, a death at one leaves what a death at the last leaves"
}
POINTS = ("before", "within", "after")
POOLS = (1, 2, 4, 7)
LOSSES = (("within", "disk.tear"), ("after", "disk.tear"), ("after", "disk.lose"))  # of a write: when, and of the disk
REMOVALS = (("idle", "exit"), *(("generation", how) for how in DEVICE_ENDS))  # (phase, how)
NEVER = 2**63
CLIENT_FRAMES_MAX = 1 << 16

Step = tuple[int, int]  # (tick, agent)


class Target(NamedTuple):
    """What is enumerated: `families` from tick `first` to `last`; `workers` is the pool of all but the kills."""

    scenario: str
    seed: int
    workers: int
    families: tuple[str, ...]
    first: int
    last: int

    def holds(self, tick: int) -> bool:
        return self.first <= tick <= self.last


class Point(NamedTuple):
    """One run: these faults and no others, under a pool of so many workers. `kind` is what the point is, in words."""

    family: str
    kind: str
    faults: tuple[Fault, ...]
    workers: int

    def __str__(self) -> str:
        return f"{' and '.join(map(str, self.faults))} under {self.workers} workers"


def plan_of(checker: Checker, target: Target, point: Point) -> Plan:
    """The run in which only this happens."""
    bare = bare_plan(checker, target)
    return replace(bare, faults=point.faults, physical=replace(bare.physical, workers=point.workers))


def bare_plan(checker: Checker, target: Target) -> Plan:
    scenario = checker.scenario
    inputs, physical = scenario.workload(target.seed), scenario.options(target.workers)
    return Plan(scenario=scenario.name, seed=target.seed, inputs=inputs, physical=physical)


def points_of(checker: Checker, target: Target) -> list[Point]:
    """All of them in one order, which depends on the build, the scenario and the target alone."""
    bare = bare_plan(checker, target)
    twin = checker.clean(bare)
    calls: list[PortCall] = []
    if {PHASES, PORTS, WRITES} & set(target.families):
        made = port_calls(checker.scenario, bare, checker.timing)
        calls = [call for call in made if target.holds(call.tick)]
    found: list[Point] = []
    for family in target.families:
        if family == KILLS:
            deaths = list(_kills(bare, twin, checker, target))
            found += [Point(KILLS, kind, (fault,), workers) for workers in POOLS for kind, fault in deaths]
        else:
            listed = _FAMILIES[family](bare, twin, checker, target, calls)
            found += [Point(family, kind, faults, target.workers) for kind, faults in listed]
    return [point._replace(faults=tuple(canonical(fault) for fault in point.faults)) for point in found]


def check_point(checker: Checker, target: Target, point: Point, run: int) -> Checked:
    return checker.check(plan_of(checker, target, point), run)


# --- workers --------------------------------------------------------------------------------------------------------


def _kills(bare: Plan, twin: History, checker: Checker, target: Target) -> Iterator[tuple[str, Fault]]:
    steps = sorted({(e.tick, e.agent) for e in twin.guests if target.holds(e.tick)})
    calls = _host_calls(bare, checker, steps, twin)
    checks = _fuel_checks(bare, checker, calls, twin)
    copies = stored_bytes(twin)
    for step in steps:
        at = {"tick": step[0], "agent": step[1]}
        yield "idle", Fault(kind="worker.kill", at={**at, "point": "idle"})
        for n in range(1, calls[step] + 1):
            yield "host calls", Fault(kind="worker.kill", at={**at, "hostcall": n})
        for n in checks[step]:
            yield "fuel checks", Fault(kind="worker.kill", at={**at, "fuel": n})
        for n in byte_points(copies.get(step, ())):
            yield "within a copy", Fault(kind="worker.kill", at={**at, "byte": n})
        yield "after a step", Fault(kind="worker.kill", at={**at, "point": "after"})


def _host_calls(bare: Plan, checker: Checker, steps: Sequence[Step], twin: History) -> dict[Step, int]:
    """How many host calls each step makes, from runs in which a worker dies in many steps at once.

    The calls with an effect are a lower bound, and nearly always the number: one run then asks for one more of each.
    """
    least = dict.fromkeys(steps, 0)
    for event in twin.guests:
        step = (event.tick, event.agent)
        if step in least:
            least[step] = max(least[step], len(event.calls))
    most: dict[Step, int] = {}
    reach = 1
    while len(most) < len(steps):
        asked = {step: least[step] + reach for step in steps if step not in most}
        reached = _dying(bare, asked, checker)
        least |= {step: asked[step] for step in reached}
        most |= {step: asked[step] - 1 for step in asked if step not in reached}
        reach *= 2
    while asked := {step: (least[step] + most[step] + 1) // 2 for step in steps if least[step] < most[step]}:
        reached = _dying(bare, asked, checker)
        least |= {step: asked[step] for step in reached}
        most |= {step: asked[step] - 1 for step in asked if step not in reached}
    return least


def _fuel_checks(bare: Plan, checker: Checker, calls: dict[Step, int], twin: History) -> dict[Step, list[int]]:
    """Per step, after how much fuel to die: at the last check before each of its host calls, and before its end.

    Found by runs in which each step's worker dies at a check or at that call, whichever comes first.
    """
    used = {(event.tick, event.agent): event.used for event in twin.guests}
    found: dict[Step, list[int]] = {step: [] for step in calls}
    reached = dict.fromkeys(calls, 0)  # with how much fuel the call before was reached
    for call in range(1, max(calls.values(), default=0) + 2):  # the one after the last is the end
        low = {step: reached[step] for step, made in calls.items() if made + 1 >= call}
        high = {step: used[step] for step in low}
        while asked := {step: (low[step] + high[step]) // 2 for step in low if low[step] < high[step]}:
            for step, is_reached in _reaching(bare, asked, call, checker).items():
                low[step], high[step] = (low[step], asked[step]) if is_reached else (asked[step] + 1, high[step])
        for step, fuel in low.items():
            if fuel > reached[step]:
                found[step].append(fuel - 1)
        reached |= low
    return found


def _reaching(bare: Plan, fuel: dict[Step, int], call: int, checker: Checker) -> dict[Step, bool]:
    """Whether each step comes to its n-th host call, or to its end where it has no such call, with so much fuel."""
    faults = []
    for tick, agent in sorted(fuel):
        at = {"tick": tick, "agent": agent}
        faults += [Fault(kind="worker.kill", at={**at, "hostcall": call})]
        faults += [Fault(kind="worker.kill", at={**at, "fuel": fuel[tick, agent]})]
    history = simulate(checker.scenario, replace(bare, faults=tuple(faults)), checker.timing)
    first: dict[Step, bool] = {}
    for injection in history.injections:
        fault = faults[injection.fault]
        first.setdefault((fault.number("tick"), fault.number("agent")), "hostcall" in fault.at)
    return {step: first.get(step, True) for step in fuel}


def _dying(bare: Plan, hostcalls: dict[Step, int], checker: Checker) -> set[Step]:
    """In which of these steps a worker can die at that host call."""
    order = sorted(hostcalls)
    faults = [
        Fault(kind="worker.kill", at={"tick": tick, "agent": agent, "hostcall": hostcalls[tick, agent]})
        for tick, agent in order
    ]
    history = simulate(checker.scenario, replace(bare, faults=tuple(faults)), checker.timing)
    return {order[injection.fault] for injection in history.injections}


def stored_bytes(twin: History) -> dict[Step, tuple[int, ...]]:
    """The lengths of each step's stores into shared segments, in order; steps without any are not there.

    A worker stores what a step wrote in the same instant in which it ran the step, and a segment has one writer.
    """
    ran = {
        (event.at, event.worker, call.target): (event.tick, event.agent)
        for event in twin.guests
        for call in event.calls
        if call.op == "buffer"
    }
    lengths: dict[Step, list[int]] = {}
    for store in twin.stores:
        step = ran.get((store.at, store.worker, store.segment))
        if step is not None:
            lengths.setdefault(step, []).append(store.length)
    return {step: tuple(found) for step, found in lengths.items()}


def byte_points(lengths: Sequence[int]) -> list[int]:
    """After how many bytes of these stores to die: none, one, at the end of each store, and in the middle of it."""
    points: set[int] = set()
    stored = 0
    for length in lengths:
        points |= {stored, stored + length // 2, stored + length}
        stored += length
    return sorted(points | {1}) if stored else []


# --- orchestrator and disk ------------------------------------------------------------------------------------------

Listed = Iterator[tuple[str, tuple[Fault, ...]]]  # (kind, the faults of one point)


def _phases(bare: Plan, twin: History, checker: Checker, target: Target, calls: list[PortCall]) -> Listed:
    for tick, phase in dict.fromkeys((call.tick, call.phase) for call in calls):
        for point in POINTS:
            yield phase, (Fault(kind="orchestrator.kill", at={"tick": tick, "phase": phase, "point": point}),)


def _ports(bare: Plan, twin: History, checker: Checker, target: Target, calls: list[PortCall]) -> Listed:
    for call in calls:
        for point in POINTS:
            yield point, (Fault(kind="orchestrator.kill", at={"call": call.number, "point": point}),)


def _writes(bare: Plan, twin: History, checker: Checker, target: Target, calls: list[PortCall]) -> Listed:
    for call in calls:
        if call.wrote:
            name = "journal records" if call.wrote == JOURNAL else call.wrote.partition("-")[0]
            for point, loss in LOSSES:
                kill = Fault(kind="orchestrator.kill", at={"call": call.number, "point": point})
                yield name, (kill, Fault(kind=loss, at={"crash": 1}))


# --- accelerator, shared memory, pipes ------------------------------------------------------------------------------


def _inferences(bare: Plan, twin: History, checker: Checker, target: Target, calls: list[PortCall]) -> Listed:
    """The accelerator goes at each request that the twin had computed on one: a token of a decoder is a request."""
    computed = [r for r in twin.trace if r.kind == "inferred" and int(r.fields["device"]) > 0]
    requests = {(record.tick, int(record.fields["request"])) for record in computed}
    for tick, request in sorted(requests):
        for phase, how in REMOVALS if target.holds(tick) else ():
            kind = f"{how} before a run" if phase == "idle" else f"{how} in a run"
            yield kind, (Fault(kind="gpu.remove", at={"request": request, "phase": phase}, with_={"how": how}),)


def _flips(bare: Plan, twin: History, checker: Checker, target: Target, calls: list[PortCall]) -> Listed:
    """Versions that nobody reads may hold anything: no bit of them is ever looked at."""
    blocks = [line.block for line in journal.read(twin.journal).lines]
    lengths = {(e[1], e[2]): int(e[3]) for block in blocks for e in block.events if e[0] == "published"}
    read = {view for block in blocks if target.holds(block.tick) for step in block.steps for view in step.views}
    for buffer, version in sorted(read):
        last = (HEAD + lengths[buffer, version]) * 8 - 1
        for kind, bit in (("head", 0), ("first byte", HEAD * 8), ("last byte", last)):
            yield kind, (Fault(kind="buffer.flip", at={"buffer": buffer, "version": version}, with_={"bit": bit}),)


def _frames(bare: Plan, twin: History, checker: Checker, target: Target, calls: list[PortCall]) -> Listed:
    """Steps that share a frame are a point each: the frame is the same, and so is the run."""
    for tick, agent in sorted({(e.tick, e.agent) for e in twin.guests if target.holds(e.tick)}):
        for direction in ("work", "done"):
            yield direction, (Fault(kind="frame.corrupt", at={"tick": tick, "agent": agent, "direction": direction}),)
    for line in journal.read(twin.journal).lines:
        if target.holds(line.block.tick):
            yield "release", (Fault(kind="frame.corrupt", at={"direction": "release", "block": line.number}),)
    if target.first == 0:  # the client's frames are numbered, and belong to no tick
        for n in range(1, _client_frames(bare, checker) + 1):
            yield "inputs", (Fault(kind="frame.corrupt", at={"direction": "inputs", "occurrence": n}),)


def _client_frames(bare: Plan, checker: Checker) -> int:
    """How many frames the client sends: the last one that can be altered."""

    def beyond(n: int) -> bool:
        fault = Fault(kind="frame.corrupt", at={"direction": "inputs", "occurrence": n})
        return not simulate(checker.scenario, replace(bare, faults=(fault,)), checker.timing).injections

    return bisect_left(range(1, CLIENT_FRAMES_MAX), True, key=beyond)


_Lister = Callable[[Plan, History, Checker, Target, list[PortCall]], Listed]
_FAMILIES: dict[str, _Lister] = {
    PHASES: _phases,
    PORTS: _ports,
    WRITES: _writes,
    INFERENCES: _inferences,
    FLIPS: _flips,
    FRAMES: _frames,
}
