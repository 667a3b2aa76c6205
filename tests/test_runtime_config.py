"""Bad options are refused before anything runs, all at once (CFG-1)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from runtime_kit import SEED, World, agent, config, events, plan_of, simulation

from harness.simulation import Simulation
from runtime.config import MEMORY_MAX, PAYLOAD_MAX, physical_problems, problems
from runtime.errors import FailStop, Refused
from runtime.orchestrator import Orchestrator
from runtime.physical import Physical
from runtime.state import BufferSpec, Configure, Input, Limits, ModelSpec, Spawn
from scenarios.registry import get

BUFFER = BufferSpec(capacity=10, name="b", writer=0)
MODEL = ModelSpec(context=8, digest="ab" * 32, kv_bytes=4, name="m", vocabulary=16)


@pytest.mark.parametrize("name", ["hello", "ledger", "frames", "edges", "assistants"])
def test_the_options_of_every_scenario_are_good(name: str) -> None:
    scenario = get(name)
    assert problems(scenario.config(SEED)) == [] and physical_problems(Physical()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"snapshot_every": 0}, "snapshot_every: 0 is not from 1"),
        ({"max_tasks_per_tick": 0}, "max_tasks_per_tick: 0"),
        ({"mailbox": 0}, "mailbox: 0"),
        ({"send_limit": -1}, "send_limit: -1"),
        ({"send_limit": 10**6}, "send_limit: its effects"),
        ({"tick_ms": 0}, "tick_ms: 0"),
        ({"max_payload": 0}, "max_payload: 0"),
        ({"max_payload": PAYLOAD_MAX + 1}, f"is not from 1 to {PAYLOAD_MAX}"),
        ({"policy": "luck"}, "policy: 'luck' is unknown, use one of round_robin, priority"),
        ({"last_tick": 0}, "last_tick: 0"),
        ({"last_tick": 1 << 32}, f"last_tick: {1 << 32}"),
        ({"epoch_ms": -1}, "epoch_ms: -1"),
        ({"epoch_ms": (1 << 63) - 1}, "last_tick: its time"),
        ({"seed": 1 << 64}, f"seed: {1 << 64}"),
        ({"backoff_ticks": -1}, "backoff_ticks: -1"),
        ({"max_restarts": -1}, "max_restarts: -1"),
        ({"window_ticks": 0}, "window_ticks: 0"),
        ({"topics": ("a", "b", "a")}, "topics: 'a' is there twice"),
        ({"buffers": (BUFFER, BUFFER)}, "buffers: 'b' is there twice"),
        ({"buffers": (replace(BUFFER, capacity=0),)}, "buffers[0].capacity: 0"),
        ({"buffers": (replace(BUFFER, writer=-1),)}, "buffers[0].writer: -1"),
        ({"models": (MODEL, MODEL)}, "models: 'm' is there twice"),
        ({"models": (replace(MODEL, context=0),)}, "models[0].context: 0"),
        ({"models": (replace(MODEL, vocabulary=0),)}, "models[0].vocabulary: 0"),
        ({"models": (replace(MODEL, delay_ticks=0),)}, "models[0].delay_ticks: 0"),
        ({"models": (replace(MODEL, kv_bytes=-1),)}, "models[0].kv_bytes: -1"),
        ({"models": (replace(MODEL, digest="x"),)}, "models[0].digest: 'x' is no sha256"),
        ({"models": (replace(MODEL, tier="guess"),)}, "models[0].tier: 'guess' is unknown"),
    ],
    ids=str,
)
def test_a_bad_option_is_named_with_what_it_may_be(changes: dict[str, Any], said: str) -> None:
    (problem,) = problems(config(**changes))
    assert said in problem


@pytest.mark.parametrize("name", Physical.__struct_fields__)
def test_a_physical_option_below_its_bound_or_twice_is_named(name: str) -> None:
    found = physical_problems(replace(Physical(), **{name: ("a", "a") if name == "hot_models" else -1}))
    assert [problem.partition(":")[0] for problem in found] == ([] if name == "check_answers" else [name])


def bad_simulation() -> Simulation:
    run = simulation("hello")
    genesis = run.scenario.genesis(SEED)
    wrong = Input(Configure(config(mailbox=0, tick_ms=0, policy="luck")), 1, "genesis", 0)
    object.__setattr__(run, "scenario", _Other(run.scenario, [wrong, *genesis[1:]]))
    return run


class _Other:
    """A scenario with another genesis."""

    def __init__(self, scenario: Any, genesis: list[Input]) -> None:
        self._scenario, self._genesis = scenario, genesis

    def genesis(self, seed: int) -> list[Input]:
        return self._genesis

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scenario, name)


def test_a_run_that_is_configured_badly_is_refused_with_all_reasons_before_anything_is_on_disk() -> None:
    run = bad_simulation()
    with pytest.raises(Refused, match=r"config\.tick_ms: 0 .*config\.mailbox: 0 .*config\.policy: 'luck'") as refused:
        run._boot()
    assert "\n" not in str(refused.value) and run.disk.names() == []


def test_bad_physical_options_are_refused_likewise() -> None:
    plan = plan_of("hello", workers=0, lost_workers_max=0)
    with pytest.raises(Refused, match=r"physical\.workers: 0 .*physical\.lost_workers_max: 0"):
        Simulation(get("hello"), plan)._boot()


def test_an_import_is_refused_before_it_is_written() -> None:
    run = simulation("hello", files={})
    wrong = [Input(Configure(config(mailbox=0)), 1, "genesis", 0)]
    assert run.world is not None
    with pytest.raises(Refused, match=r"config\.mailbox"):
        Orchestrator.restore(b"", None, Physical(), wrong, {})  # type: ignore[arg-type]
    assert run.disk.names() == []


def test_a_fold_that_meets_bad_options_stops_by_name() -> None:
    world = World(agents=1, started=False, policy="luck", mailbox=0)
    with pytest.raises(FailStop, match=r"'config': mailbox: 0 .*; policy: 'luck'"):
        world.tick(*world.genesis, source="genesis")


def test_a_fold_whose_first_input_does_not_configure_it_stops_by_name() -> None:
    with pytest.raises(FailStop, match="genesis"):
        World(started=False).tick(Spawn(agent()), source="genesis")


@pytest.mark.parametrize(
    "changes",
    [
        {"limits": Limits(fuel=0)},
        {"limits": Limits(fuel=(1 << 62) + 1)},
        {"limits": Limits(memory=0)},
        {"limits": Limits(memory=MEMORY_MAX + 1)},
        {"limits": Limits(table=-1)},
        {"reads": (0,)},
    ],
    ids=str,
)
def test_an_agent_with_impossible_limits_is_refused_on_record_and_the_others_go_on(changes: dict[str, Any]) -> None:
    world = World(agents=1)
    committed = world.tick(Spawn(agent("bad", **changes)), Spawn(agent("good")))
    assert [event[2:] for event in events(committed, "illegal")] == [("spawn", "bad")]
    assert [a.spec.name for a in world.state.agents] == ["a0", "good"]
