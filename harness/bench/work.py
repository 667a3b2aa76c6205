"""The work that is measured: one scenario, its plans, and each variant as a function that does it once.

Every variant must end as the full runtime without faults does, bit for bit; `same_end` says where one does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from faults.plan import Plan
from faults.profiles import Mix
from harness import expand
from harness.bench.floor import cross
from harness.bench.naive import Kill, naive
from harness.bench.observing import unobserved
from harness.history import History
from harness.simulation import journal_digest, simulate
from runtime import snapshot
from runtime.physical import Physical
from scenarios.base import Scenario
from scenarios.bench import bench
from scenarios.strategies import draft_from_seed

SEED = 1
FAULTS = 12
KILLS = Mix((("worker.kill", 1),))
PICKS = 40  # drawn for one plan; those beyond the fault budget are left out, and the first `FAULTS` of the rest stay


class Work(NamedTuple):
    """`clean` is the plan without faults; `kills` hold worker kills alone, `faulty` the default profile's mix."""

    scenario: Scenario
    clean: Plan
    kills: tuple[Plan, ...]
    faulty: tuple[Plan, ...]
    end: End
    steps: int
    ticks: int


class End(NamedTuple):
    """What every way of doing the work must leave, by agent: last words, sha256 of the memory, globals."""

    outputs: list[bytes]
    memories: list[str]
    globals: list[tuple[int, ...]]


def plan_of(scenario: Scenario, seed: int = SEED) -> Plan:
    return Plan(scenario=scenario.name, seed=seed, inputs=scenario.workload(seed), physical=Physical())


def prepare(agents: int, ticks: int, plans: int) -> Work:
    """The work with `plans` fault schedules of each sort; raises RuntimeError when the runtime cannot do it."""
    scenario = bench(agents, ticks)
    clean = plan_of(scenario)
    history = simulate(scenario, clean)
    if history.failure:
        raise RuntimeError(f"the work fails without faults: {history.failure_detail}")
    events = expand.events_of(history)
    return Work(
        scenario,
        clean,
        tuple(_drawn(clean, events, n, KILLS) for n in range(plans)),
        tuple(_drawn(clean, events, n, expand.TRANSPARENT) for n in range(plans)),
        end_of(history),
        len(events.steps),
        len(events.ticks),
    )


def _drawn(clean: Plan, events: expand.Events, n: int, mix: Mix) -> Plan:
    """The n-th plan: the whole workload, and the first faults that the budget allows."""
    draft = draft_from_seed("bench", SEED, n, PICKS, PICKS)
    full = expand.expand(replace(draft, seed=clean.seed, inputs=clean.inputs), events, clean.physical, mix)
    return replace(clean, faults=full.faults[:FAULTS])


def end_of(history: History) -> End:
    """The end of a simulated run, from its last snapshots and from what its client received."""
    outputs = [output.payload for receipt in history.receipts for output in receipt.outputs]
    newest: dict[int, str] = {}
    for name in sorted(history.files):
        if name.startswith("agent-"):
            newest[int(name[6:11])] = name
    memories, globals_ = [], []
    for agent in sorted(newest):
        content = snapshot.unpack_agent(history.files[newest[agent]])
        if isinstance(content, str):
            raise RuntimeError(f"{newest[agent]}: {content}")
        memories.append(hashlib.sha256(snapshot.memory_of(content.image)).hexdigest())
        globals_.append(content.image.globals)
    return End(outputs, memories, globals_)


def kills_of(plan: Plan) -> list[Kill]:
    """The worker kills of a plan, for the program written by hand."""
    return [(fault.number("tick"), fault.number("agent")) for fault in plan.faults if fault.kind == "worker.kill"]


Variant = Callable[[int], object]  # does the work once; the number chooses the fault schedule


def variants(work: Work) -> dict[str, Variant]:
    """Every way of doing the work, in the order in which they take turns."""

    def pick(plans: tuple[Plan, ...], n: int) -> Plan:
        return plans[n % len(plans)]

    def quietly(n: int) -> object:
        with unobserved():
            return simulate(work.scenario, work.clean)

    return {
        "floor": lambda n: cross(work.scenario, SEED),
        "full": lambda n: simulate(work.scenario, work.clean),
        "full unobserved": quietly,
        "full, faults": lambda n: simulate(work.scenario, pick(work.faulty, n)),
        "full, kills": lambda n: simulate(work.scenario, pick(work.kills, n)),
        "naive": lambda n: naive(work.scenario, SEED),
        "naive, kills": lambda n: naive(
            work.scenario, SEED, kills_of(pick(work.kills, n)), work.clean.physical.workers
        ),
    }


def differences(work: Work) -> list[str]:
    """What does not end as the full runtime without faults does; empty when all is well."""
    found = []
    if cross(work.scenario, SEED).outputs != work.end.outputs:
        found.append("the floor has other last words")
    for n, plan in enumerate(work.kills):
        by_hand = naive(work.scenario, SEED, kills_of(plan), plan.physical.workers)
        if (by_hand.outputs, by_hand.memories, by_hand.globals) != tuple(work.end):
            found.append(f"naive with kill plan {n} ends otherwise")
    digest = journal_digest(simulate(work.scenario, work.clean))
    for name, plans in (("kill", work.kills), ("fault", work.faulty)):
        for n, plan in enumerate(plans):
            history = simulate(work.scenario, plan)
            if history.failure or journal_digest(history) != digest or end_of(history) != work.end:
                found.append(f"full with {name} plan {n} ends otherwise ({history.failure_detail or 'journal'})")
    with unobserved():
        if journal_digest(simulate(work.scenario, work.clean)) != digest:
            found.append("full without observers has another journal")
    return found
