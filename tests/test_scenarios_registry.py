"""Scenarios are pure data: found by name, complete, and functions of their seed alone."""

from __future__ import annotations

import hashlib

import pytest

import scenarios
from runtime.errors import Refused
from runtime.state import Configure, Reload, Send, Spawn
from scenarios import SCENARIOS, get
from scenarios.streams import Stream

NAMES = [*SCENARIOS, "edges", "noisy", "pipeline"]


def test_the_default_list_is_hello_ledger_frames_assistants_upgrade() -> None:
    assert list(SCENARIOS) == ["hello", "ledger", "frames", "assistants", "upgrade"]


def test_edges_is_found_by_name_though_not_in_the_default_list() -> None:
    assert get("edges").name == "edges"
    assert "edges" not in SCENARIOS


def test_an_unknown_name_is_refused_with_what_there_is() -> None:
    with pytest.raises(Refused) as refused:
        get("legder")
    assert str(refused.value) == (
        "scenarios: unknown scenario 'legder'; use one of hello, ledger, frames, assistants, upgrade, edges, bench, "
        "console, experts, guarded, noisy, pipeline, plugins, readings, shares, swarm, or a scenario's .toml file"
    )


def test_the_package_has_no_other_lazy_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        scenarios.nothing  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_genesis_configures_and_then_spawns_each_agent_at_tick_0(name: str) -> None:
    scenario = get(name)
    first, *rest = scenario.genesis(9)
    assert first.action == Configure(scenario.config(9))
    assert scenario.config(9).seed == 9
    assert [item.action for item in rest] == [Spawn(spec) for spec in scenario.agents]
    assert [item.n for item in (first, *rest)] == list(range(1, len(scenario.agents) + 2))
    assert {(item.source, item.tick) for item in (first, *rest)} == {("genesis", 0)}


@pytest.mark.parametrize("name", NAMES)
def test_modules_are_kept_under_their_digest_and_all_are_used(name: str) -> None:
    scenario = get(name)
    assert {hashlib.sha256(wasm).hexdigest() for wasm in scenario.modules.values()} == set(scenario.modules)
    reloads = {item.action.module for item in scenario.workload(1) if isinstance(item.action, Reload)}
    libraries = {library.module for spec in scenario.agents for library in spec.libraries or ()}
    used = {spec.module for spec in scenario.agents} | libraries | reloads
    assert used - {"0" * 64} == set(scenario.modules)  # one version of `upgrade` does not exist


@pytest.mark.parametrize("name", NAMES)
def test_models_are_kept_under_their_digest_and_are_those_declared(name: str) -> None:
    scenario = get(name)
    assert {hashlib.sha256(onnx).hexdigest() for onnx in scenario.models().values()} == set(scenario.models())
    assert {spec.digest for spec in scenario.config(1).models} == set(scenario.models())


@pytest.mark.parametrize("name", NAMES)
def test_a_workload_is_numbered_ordered_by_tick_and_ends_before_the_run_does(name: str) -> None:
    scenario = get(name)
    inputs = scenario.workload(3)
    assert [item.n for item in inputs] == list(range(1, len(inputs) + 1))
    assert [item.tick for item in inputs] == sorted(item.tick for item in inputs)
    assert 0 < inputs[0].tick <= inputs[-1].tick < scenario.config(3).last_tick
    assert "genesis" not in {item.source for item in inputs}


@pytest.mark.parametrize("name", NAMES)
def test_a_seeds_orders_lie_within_the_bounds(name: str) -> None:
    scenario = get(name)
    for seed in range(20):
        for order in scenario.orders(seed):
            assert len(order) == len(scenario.bounds)
            assert all(low <= value <= high for value, (low, high) in zip(order, scenario.bounds, strict=True))


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_workload_depends_on_the_seed_and_on_nothing_else(name: str) -> None:
    scenario = get(name)
    assert scenario.workload(1) == scenario.workload(1)
    assert scenario.workload(1) != scenario.workload(2)


def test_the_ledgers_mints_come_first_and_every_account_gets_one() -> None:
    actions = [item.action for item in get("ledger").workload(1)[:16]]
    assert [action.agent for action in actions if isinstance(action, Send)] == list(range(16))


def test_streams_are_what_they_were_when_the_golden_digests_were_made() -> None:
    stream = Stream(1, "ledger/orders")
    assert [stream.u64() for _ in range(5)] == [
        0x5EE9EB0262CA92C9,
        0x0E3734292D604CFE,
        0x7AFF04FE07A7ABBB,
        0xC326795CA123A6EB,
        0xAB51E51C25792017,
    ]


def test_streams_of_different_names_or_seeds_differ_and_draws_stay_in_range() -> None:
    heads = {Stream(seed, name).u64() for seed in (1, 2) for name in ("a", "b")}
    assert len(heads) == 4
    stream = Stream(1, "range")
    drawn = [stream.between(-2, 3) for _ in range(200)]
    assert set(drawn) == set(range(-2, 4))
    assert {stream.chance(1, 2) for _ in range(50)} == {False, True}
