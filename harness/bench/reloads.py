"""What a hot reload costs in mid-run: 16 agents given another module in the same tick, again and again under load.

CPU time of one thread, in ms per reload, the median of the rounds: whole runs with reloads less the same run without
any, taken in turn. A reload makes a fresh instance, takes the state over (as it is, or by `agent_migrate`), and takes
an image that is made durable; the agent's inbox waits for the next tick, so no step is saved by it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from statistics import median

from msgspec import Struct
from msgspec.structs import replace

from faults.plan import Plan
from harness.bench.measure import in_turn
from harness.history import History
from harness.simulation import simulate
from runtime.state import Action, Config, Input, Reload, Send, decode
from scenarios.upgrade import UPGRADE, module_of, work

AGENTS = 16
LAST_TICK, TURNS, ROUNDS = 10, 3, 3
SEED = 1
_NAME = "reloads"
_ITS_STATE, _MIGRATED = (2, 1), (3, 3)  # the versions in turn: 2 and 1 take a state as it is, 3 always migrates


class Reloads(Struct, frozen=True, kw_only=True):
    """Per reload, of so many agents in one tick, so often in one run."""

    agents: int
    turns: int
    adopted_ms: float
    migrated_ms: float


def reloads(rounds: int = ROUNDS) -> Reloads:
    runs = {"none": _run(()), "adopted": _run(_ITS_STATE), "migrated": _run(_MIGRATED)}
    times = in_turn(runs, rounds)
    count = AGENTS * TURNS

    def ms(name: str) -> float:
        spent = [with_them - without for with_them, without in zip(times[name], times["none"], strict=True)]
        return round(median(spent) / 1e6 / count, 3)

    return Reloads(agents=AGENTS, turns=TURNS, adopted_ms=ms("adopted"), migrated_ms=ms("migrated"))


def _run(versions: tuple[int, ...]) -> Callable[[int], History]:
    """A run in which all agents are reloaded to these versions in turn; it is looked at once that they all were."""
    agents = tuple(replace(UPGRADE.agents[0], name=f"meter-{number}") for number in range(AGENTS))
    config = Config(last_tick=LAST_TICK, seed=SEED, snapshot_every=16)
    scenario = dataclasses.replace(UPGRADE, name=_NAME, agents=agents, config=lambda seed: config)
    due: list[tuple[int, Action]] = [
        (tick, Send(agent, work(tick))) for tick in range(1, LAST_TICK - 1) for agent in range(AGENTS)
    ]
    for turn in range(TURNS if versions else 0):
        version = versions[turn % len(versions)]
        due += [(3 + 2 * turn, Reload(agent, module_of(version), version)) for agent in range(AGENTS)]
    due.sort(key=lambda item: item[0])
    inputs = tuple(Input(action, n, scenario.source, tick) for n, (tick, action) in enumerate(due, 1))
    plan = Plan(scenario=_NAME, seed=SEED, inputs=inputs)
    last = versions[(TURNS - 1) % len(versions)] if versions else 1
    final = decode(simulate(scenario, plan).final_state)
    assert all((agent.version or 1) == last for agent in final.agents)
    return lambda n: simulate(scenario, plan)


def line(measured: Reloads) -> str:
    """For people."""
    return (
        f"hot reload of {measured.agents} agents in one tick, ms each: {measured.adopted_ms:.3f} with the state as "
        f"it is, {measured.migrated_ms:.3f} by agent_migrate"
    )
