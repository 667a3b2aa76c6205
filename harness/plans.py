"""Plans: the default one of each scenario; and what must hold of one from outside before it is run.

What no correct runtime could carry out would be blamed on the runtime. `faults.budget` judges the faults; this module
judges the rest against the scenario: a client numbers its inputs from 1 without gaps, in order of tick, and asks only
for what a client can ask for. Raises Refused, and nothing else.
"""

from __future__ import annotations

from faults import budget
from faults.plan import Plan
from runtime.errors import Refused
from runtime.state import Configure, Input, Spawn
from scenarios import SCENARIOS, get
from scenarios.base import Scenario

INPUTS_MAX = 100_000
NUMBER_MAX = 2**32 - 1
SEED = 1
# What golden digests, and verification, are for.
NAMES = (*SCENARIOS, "edges", "noisy", "pipeline", "plugins", "readings")


def default_plan(name: str, seed: int = SEED, workers: int | None = None) -> Plan:
    """What `wasm-engine run NAME` runs: the seed's workload, no faults. None: as many workers as the scenario says."""
    scenario = get(name)
    return Plan(scenario=name, seed=seed, inputs=scenario.workload(seed), physical=scenario.options(workers))


def accept(plan: Plan, where: str, scenario: Scenario | None = None) -> Plan:
    """The plan itself; raises Refused for one that no correct runtime could carry out. `where` is its file, if any.

    `scenario` is the plan's own where it is not a built-in one.
    """
    scenario = scenario or get(plan.scenario)
    try:
        budget.check(plan)
    except Refused as refused:
        raise Refused(refused.what, f"{where}, {refused.where}" if where else refused.where, refused.todo) from None
    if len(plan.inputs) > INPUTS_MAX:
        raise Refused(f"{len(plan.inputs)} inputs", where, f"at most {INPUTS_MAX}")
    _check_end(plan, where or "plan", scenario)
    previous = Input(Configure(scenario.config(plan.seed)), 0, scenario.source, 0)
    for index, item in enumerate(plan.inputs):
        place = f"{where or 'plan'}, input {index}"
        if item.source != scenario.source:
            what = f"a source {item.source!r}, but the client of {plan.scenario} is {scenario.source!r}"
            raise Refused(what, place, "name that source")
        if item.n != previous.n + 1 or item.tick < previous.tick:
            what = f"number {item.n} at tick {item.tick}, after number {previous.n} at tick {previous.tick}"
            raise Refused(what, place, "number inputs from 1 without gaps, in order of tick")
        _check_action(item, place)
        previous = item
    for index, decree in enumerate(plan.decrees):
        if decree.tick < 0 or not 0 <= decree.agent < len(scenario.agents):
            what = f"a decree for agent {decree.agent} at tick {decree.tick}"
            raise Refused(what, f"{where}, decree {index}", f"there are {len(scenario.agents)} agents")
    return plan


def _check_end(plan: Plan, where: str, scenario: Scenario) -> None:
    """A run may be cut short, not made longer; and what is due after its end would never be admitted."""
    if not plan.last_tick:
        return
    last = scenario.config(plan.seed).last_tick
    if not 1 <= plan.last_tick <= last:
        raise Refused(f"last_tick is {plan.last_tick}", where, f"give one from 1 to {last}, or 0 for {last}")
    late = next((item for item in plan.inputs if item.tick > plan.last_tick), None)
    if late is not None:
        what = f"input {late.n} is due at tick {late.tick}, after the last tick {plan.last_tick}"
        raise Refused(what, where, "leave it out, or let the run last longer")


def _check_action(item: Input, place: str) -> None:
    if isinstance(item.action, Configure | Spawn):
        raise Refused("a client cannot configure a run or spawn agents", place, "both are the scenario's own")
    for name in ("agent", "topic", "ticks"):
        value = getattr(item.action, name, 0)
        if not 0 <= value <= NUMBER_MAX:
            raise Refused(f"{name} is {value}", place, f"give one from 0 to {NUMBER_MAX}")
