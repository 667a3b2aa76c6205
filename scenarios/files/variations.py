"""A scenario under another configuration, and one made of another (`base`): the same agents and workload, new name.

Guards against a run that is told apart by nothing: what a configuration changes in the journal is in the name's digest.
"""

from __future__ import annotations

import dataclasses
import hashlib

import msgspec

from runtime.configuration import Configuration
from runtime.errors import Refused
from runtime.physical import Physical
from runtime.state import Config
from runtime.wasm import check_module
from runtime.wasm.capabilities import by_name
from runtime.wasm.signatures import Demand
from runtime.wasm.trust import moment
from scenarios.base import Scenario

DIGITS = 16


def named(scenario: Scenario, stem: str) -> Scenario:
    """The scenario as `stem@digest`, of what decides its runs: options, agents, workload of one seed, plugins."""
    options = [scenario.config(0), *scenario.agents, *scenario.workload(0)]
    meaning = [stem, *(msgspec.to_builtins(one) for one in options)]
    meaning += [] if scenario.trust is None else [scenario.trust.model_dump(mode="json", by_alias=True)]
    meaning += _plugins(scenario)
    digest = hashlib.sha256(msgspec.json.encode(meaning, order="sorted")).hexdigest()[:DIGITS]
    return dataclasses.replace(scenario, name=f"{stem}@{digest}")


def _plugins(scenario: Scenario) -> list[str]:
    """Digests of all modules of files that offer their agents plugins; built-in scenarios' are part of the program."""
    offers = bool(scenario.files) and bool(scenario.capabilities())
    modules = (data for name, data in sorted(scenario.files.items()) if not name.endswith(".toml"))
    return [hashlib.sha256(data).hexdigest() for data in modules] if offers else []


def stem_of(name: str) -> str:
    """A scenario's name without the digest."""
    return name.partition("@")[0]


def configured(scenario: Scenario, configuration: Configuration, where: str) -> Scenario:
    """The scenario under a configuration, still under its old name; raises Refused where the two do not go together."""
    if configuration.told("time") and not scenario.files:
        raise Refused(f"time: {stem_of(scenario.name)} states its own", where, "leave the table out")
    configuration.config(scenario.config(0), where)
    agents = tuple(configuration.spec(spec) for spec in scenario.agents)
    trust = configuration.signatures.trust()
    now = moment(configuration.config(scenario.config(0)).epoch_ms)
    demand = None if trust is None else Demand(trust, now)
    offered = by_name(scenario.capabilities(), agents=True)
    for spec in agents:
        libraries = [scenario.modules[library.module] for library in spec.libraries or ()]
        check_module(spec, scenario.modules[spec.module], demand=demand, libraries=libraries, offered=offered)
    before, given = scenario.config, scenario.physical

    def config(seed: int) -> Config:
        return configuration.config(before(seed))

    def physical(options: Physical) -> Physical:
        return configuration.physical(given(options))

    return dataclasses.replace(
        scenario,
        agents=agents,
        config=config,
        physical=physical,
        cache_bytes=configuration.cache.modules,
        devices=configuration.devices.settings(),
        trust=trust,
    )
