"""Hazards: two levels, stable names, and each rare choice legal: the journal stays the twin's, all oracles pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults import hazards
from faults.hazards import SITES, Hazards
from faults.plan import Fault, Plan
from harness.check import Checked, Checker
from harness.events import events_of
from runtime.physical import MS, Physical
from scenarios import get

ROOT = Path(__file__).resolve().parent.parent


def test_a_site_is_active_in_one_run_of_four_and_then_fires_one_time_in_four() -> None:
    for name in SITES:
        active = [seed for seed in range(400) if any(Hazards(seed)(name, n) for n in range(60))]
        assert 60 < len(active) < 140
        fired = [Hazards(seed)(name, n) for seed in active for n in range(60)]
        assert 0.2 < sum(fired) / len(fired) < 0.3


def test_a_draw_depends_on_seed_name_and_place_and_on_nothing_that_was_asked_before() -> None:
    names = sorted(SITES)
    forwards = {(name, n): Hazards(3)(name, n) for name in names for n in range(50)}
    one = Hazards(3)
    assert {(name, n): one(name, n) for name in reversed(names) for n in reversed(range(50))} == forwards
    assert any(forwards.values()) and len({Hazards(seed)("pool.tiny_batch", 1) for seed in range(40)}) == 2


def test_what_was_taken_is_counted_by_site() -> None:
    taken: dict[str, int] = {}
    for seed in range(8):
        for n in range(40):
            Hazards(seed, taken)("pool.backwards", n)
    assert set(taken) == {"pool.backwards"} and taken["pool.backwards"] > 5


def test_every_site_is_asked_at_one_place_of_the_runtime_and_every_place_is_a_site() -> None:
    source = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "runtime").rglob("*.py")))
    asked = re.findall(r'hazard\(\s*"([a-z_.]+)"', source)
    assert sorted(asked) == sorted(SITES) and len(SITES) >= 10
    page = (ROOT / "docs" / "coverage.md").read_text("utf-8")
    assert all(f"| `{name}` | {meaning}" in page for name, meaning in SITES.items())


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hazards, "ACTIVE_IN", 1)
    monkeypatch.setattr(hazards, "FIRES_IN", 1)
    yield


def run(name: str) -> Checked:
    """A run with losses all over it: of workers, of the orchestrator with its disk, of devices where there are any."""
    scenario = get(name)
    checker = Checker(scenario)
    plan = Plan(
        scenario=name, seed=2, inputs=scenario.workload(2), physical=Physical(probe_ns=2 * MS, keep_snapshots=3)
    )
    events = events_of(checker.clean(plan))
    third = len(events.steps) // 3
    faults = [
        Fault(kind="worker.kill", at={"tick": step.tick, "agent": step.agent, "point": "after"})
        for step in (events.steps[third], events.steps[2 * third])
    ]
    last = events.ticks[-1]
    faults += [
        Fault(kind="orchestrator.kill", at={"tick": tick, "phase": "sync"}) for tick in (last // 3, last // 2, last - 2)
    ]
    faults.append(Fault(kind="disk.tear", at={"crash": 2}))
    if events.requests:
        middle = events.requests[len(events.requests) // 2]
        faults.append(Fault(kind="gpu.remove", at={"request": middle.request}, with_={"for": 5 * MS}))
    return checker.check(Plan(scenario=name, seed=2, inputs=plan.inputs, faults=tuple(faults), physical=plan.physical))


@pytest.mark.parametrize("site", SITES)
def test_each_choice_alone_taken_every_time_is_legal(site: str, always: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hazards, "SITES", {site: SITES[site]})
    monkeypatch.setattr(Hazards, "__call__", _only(site))
    checked = run("assistants")
    evidence = [line for finding in checked.findings.values() for line in finding.evidence]
    assert checked.row.verdict == "PASS", evidence
    assert checked.row.journal_digest == checked.row.twin_digest != ""
    assert set(checked.history.hazards) == {site}


def _only(site: str) -> Callable[..., bool]:
    real = Hazards.__call__
    return lambda self, name, *key: name == site and real(self, name, *key)


@pytest.mark.parametrize("name", ["hello", "ledger", "frames", "assistants"])
def test_all_choices_taken_every_time_are_legal_together(name: str, always: None) -> None:
    checked = run(name)
    assert checked.row.verdict == "PASS", [f.evidence for f in checked.findings.values() if f.evidence]
    assert checked.row.journal_digest == checked.row.twin_digest != "" and len(checked.history.hazards) >= 7
