"""Every kill point of a run: the same run once per moment at which a worker, the orchestrator, a device can die.

For each step of the twin, the worker that has it dies idle, on entering each of its host calls (every import counts),
within each copy into a shared segment, and after it; the orchestrator dies before, within and after each call to a
port; the accelerator goes at each token, in each of the ways in which one can. Guards what random plans may miss:
after this, no such moment of this scenario and seed is left untried.

How many host calls and port calls there are is found by killing: the first number at which nobody dies is past the end.
Host calls and copies are those of the build under test, not what the harness believes of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from faults.kinds import DEVICE_ENDS
from faults.plan import Fault, Plan, canonical
from harness.check import Checked, Checker
from harness.history import History
from harness.simulation import simulate
from runtime.physical import Physical

WORKERS, ORCHESTRATOR, ACCELERATOR = "workers", "orchestrator", "accelerator"
POINTS = ("before", "within", "after")
REMOVALS = (("idle", "exit"), *(("generation", how) for how in DEVICE_ENDS))  # (phase, how)
NEVER = 2**63
CALLS_MAX = 1 << 20  # port calls of one run; a search takes a run for each power of two

Step = tuple[int, int]  # (tick, agent)


class Target(NamedTuple):
    """What is enumerated; `who` are some of the three above. Deaths from tick `first` to `last`."""

    scenario: str
    seed: int
    workers: int
    who: tuple[str, ...]
    first: int
    last: int


def plan_of(checker: Checker, target: Target, fault: Fault) -> Plan:
    """The run in which only this death happens."""
    return replace(bare_plan(checker, target), faults=(fault,))


def bare_plan(checker: Checker, target: Target) -> Plan:
    inputs = checker.scenario.workload(target.seed)
    return Plan(
        scenario=checker.scenario.name, seed=target.seed, inputs=inputs, physical=Physical(workers=target.workers)
    )


def kill_points(checker: Checker, target: Target) -> list[Fault]:
    """All of them in one order, which depends on the build, the scenario and the target alone."""
    bare = bare_plan(checker, target)
    twin = checker.clean(bare)
    faults: list[Fault] = []
    if WORKERS in target.who:
        faults += _worker_points(bare, twin, checker, target)
    if ORCHESTRATOR in target.who:
        faults += _orchestrator_points(bare, checker, target)
    if ACCELERATOR in target.who:
        faults += _accelerator_points(twin, target)
    return [canonical(fault) for fault in faults]


def check_point(checker: Checker, target: Target, fault: Fault, run: int) -> Checked:
    return checker.check(plan_of(checker, target, fault), run)


# --- workers --------------------------------------------------------------------------------------------------------


def _worker_points(bare: Plan, twin: History, checker: Checker, target: Target) -> list[Fault]:
    steps = sorted({(e.tick, e.agent) for e in twin.guests if target.first <= e.tick <= target.last})
    calls = _host_calls(bare, checker, steps, twin)
    copies = stored_bytes(twin)
    faults = []
    for step in steps:
        at = {"tick": step[0], "agent": step[1]}
        faults.append(Fault(kind="worker.kill", at={**at, "point": "idle"}))
        faults += [Fault(kind="worker.kill", at={**at, "hostcall": n}) for n in range(1, calls[step] + 1)]
        faults += [Fault(kind="worker.kill", at={**at, "byte": n}) for n in byte_points(copies.get(step, ()))]
        faults.append(Fault(kind="worker.kill", at={**at, "point": "after"}))
    return faults


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


# --- orchestrator ---------------------------------------------------------------------------------------------------


def _orchestrator_points(bare: Plan, checker: Checker, target: Target) -> list[Fault]:
    """Calls are numbered from 1 in the first incarnation, as they are when a fault of the plan is about to happen."""

    def tick_of(call: int) -> int:
        """The tick in which the orchestrator makes this call; NEVER for one that it does not make."""
        fault = Fault(kind="orchestrator.kill", at={"call": call})
        history = simulate(checker.scenario, replace(bare, faults=(fault,)), checker.timing)
        return max(int(history.injections[0].fields["tick"]), 0) if history.injections else NEVER

    numbers = range(1, CALLS_MAX)
    first = bisect_left(numbers, target.first, key=tick_of)
    end = bisect_right(numbers, min(target.last, NEVER - 1), lo=first, key=tick_of)
    return [
        Fault(kind="orchestrator.kill", at={"call": call, "point": point})
        for call in numbers[first:end]
        for point in POINTS
    ]


# --- accelerator ----------------------------------------------------------------------------------------------------


def _accelerator_points(twin: History, target: Target) -> list[Fault]:
    """The accelerator goes at each request that the twin had computed on one: a token of a decoder is a request."""
    computed = [r for r in twin.trace if r.kind == "inferred" and int(r.fields["device"]) > 0]
    requests = {(record.tick, int(record.fields["request"])) for record in computed}
    return [
        Fault(kind="gpu.remove", at={"request": request, "phase": phase}, with_={"how": how})
        for tick, request in sorted(requests)
        if target.first <= tick <= target.last
        for phase, how in REMOVALS
    ]
