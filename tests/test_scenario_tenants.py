"""Tenants in a scenario's file: by name, refused by name, and held to their quotas as built-in ones are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness import simulate
from runtime.errors import Refused
from runtime.state import TenantSpec
from scenarios.base import AGENTS
from scenarios.files.reading import read_scenario

TEXT = """
name = "shares"
last_tick = 12

[[tenants]]
name = "guests"
tasks = 1
messages = 2
memory = "4 MiB"

[[agents]]
module = "edge_sink.wasm"
name = "sink"
capabilities = ["output"]

[[agents]]
module = "edge_flood.wasm"
name = "flood"
count = 2
tenant = "guests"
capabilities = ["messages", "output"]

[[workload]]
tick = 3
times = 2
every = 2
to = "flood"
hex = "05000000"
"""


def folder(at: Path, before: str = "", after: str = "") -> Path:
    for name in ("edge_sink", "edge_flood"):
        shutil.copy(AGENTS / f"{name}.wasm", at)
    assert before in TEXT
    (at / "scenario.toml").write_text(TEXT.replace(before, after, 1), "utf-8")
    return at


def test_agents_belong_to_tenants_by_name_and_are_held_to_their_quotas(tmp_path: Path) -> None:
    scenario = read_scenario(folder(tmp_path))
    assert scenario.config(1).tenants == (TenantSpec(name="guests", tasks=1, messages=2, memory=4 << 20),)
    assert [spec.tenant for spec in scenario.agents][1:] == [0, 0]
    run = simulate(scenario, faults=("worker.kill@tick:3,agent:1,point:after",))
    run.assert_ok()
    events = [event for block in run.blocks for event in block.events]
    assert ("deferred", 0, "tasks") in events and any(event[0] == "refused_message" for event in events)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('tenant = "guests"', 'tenant = "guest"', "agents.1.tenant: there is no tenant 'guest'"),
        ("tasks = 1", "tasks = -1", "tenants.0.tasks"),
        ("messages = 2", "mesages = 2", "tenants.0.mesages"),
        ('memory = "4 MiB"', 'memory = "1 MiB"', "no room in their tenant for flood-1"),
        ("tasks = 1", "tasks = 1\nfuel = 10", "no room in their tenant for flood-0, flood-1"),
        ("[[agents]]", '[[tenants]]\nname = "guests"\n\n[[agents]]', "tenants: the name 'guests' is there twice"),
    ],
)
def test_a_wrong_tenant_is_refused_by_name(tmp_path: Path, before: str, after: str, words: str) -> None:
    with pytest.raises(Refused) as refused:
        read_scenario(folder(tmp_path, before, after))
    assert words in str(refused.value)
