"""A step cancelled while it runs (WAS-8): ended by decree, synced first, the same for every observer and any pool."""

from __future__ import annotations

import pytest
from runtime_kit import booted, plan_of

from harness.adapters.workers import Timing
from harness.check import twin_plan
from harness.history import History
from harness.oracles import Judged, judge
from harness.simulation import Setting, Simulation, journal_digest, simulate
from runtime import journal
from runtime.durability import JOURNAL
from runtime.errors import Refused
from runtime.journal import Block
from runtime.recovery import DECREES
from runtime.state import Decree
from scenarios import get

NAME = "ledger"


def blocks_of(history: History) -> list[Block]:
    return [line.block for line in journal.read(history.journal).lines]


def running(name: str = NAME) -> tuple[int, int]:
    """A tick and an agent whose step in it does something."""
    plain = simulate(get(name), plan_of(name))
    steps = [(b.tick, s.agent) for b in blocks_of(plain) for s in b.steps if s.kind == "step" and s.effects]
    return steps[len(steps) // 2]


def cancelled(*faults: str, name: str = NAME, workers: int = 2, **physical: int) -> History:
    plan = plan_of(name, *faults, workers=workers, **physical)
    return Simulation(get(name), plan, Timing(), setting=Setting(cancels=(running(name),))).run()


def statuses(history: History) -> dict[tuple[int, int], str]:
    return {(b.tick, s.agent): s.status for b in blocks_of(history) for s in b.steps if s.status != "ok"}


def test_a_running_step_ends_as_cancelled_and_the_run_goes_on() -> None:
    history, (tick, agent) = cancelled(), running()
    assert history.finished and history.cancelled == [(tick, agent)]
    assert statuses(history) == {(tick, agent): "decree:cancelled"}
    block = next(b for b in blocks_of(history) if b.tick == tick)
    assert block.decrees == (Decree(agent, "decree:cancelled", tick),)
    (step,) = [s for s in block.steps if s.agent == agent]
    assert step.effects == () and step.inbox and ("failed", agent, "decree:cancelled") in block.events
    assert not [record for record in history.trace if record.kind == "lost"]  # no worker had to die for it
    begun = next(s for b in blocks_of(history) if b.tick > tick for s in b.steps if s.agent == agent)
    assert begun.kind == "init" and begun.status == "ok"


def test_the_twin_that_is_given_the_decree_has_the_same_journal_and_every_oracle_passes() -> None:
    history = cancelled()
    decrees = tuple(decree for block in blocks_of(history) for decree in block.decrees)
    twin = simulate(get(NAME), twin_plan(history.plan, decrees))
    assert journal_digest(twin) == journal_digest(history)
    which = ("twin", "I8", "I9", "I11", "I13", "I14", "I28", "I31", "I32", "I34", "replay", "ledger")
    found = judge(Judged(history, twin=twin, baseline=history), which)
    assert [(id_, finding) for id_, finding in found.items() if str(finding.verdict) != "PASS"] == []


@pytest.mark.parametrize("workers", [1, 3, 7])
def test_the_number_of_workers_changes_nothing(workers: int) -> None:
    assert journal_digest(cancelled(workers=workers)) == journal_digest(cancelled())


@pytest.mark.parametrize("fault", ["worker.kill@tick:{0},agent:{1}", "orchestrator.kill@tick:{0},phase:commit"])
def test_a_death_beside_it_changes_nothing(fault: str) -> None:
    history = cancelled(fault.format(*running()))
    assert journal_digest(history) == journal_digest(cancelled())


def test_a_decree_is_on_the_disk_before_its_block() -> None:
    history, (tick, _) = cancelled(), running()
    number = next(n for n, block in enumerate(blocks_of(history), 1) if block.tick == tick)
    synced = next(sync.at for sync in history.syncs if sync.name == DECREES and sync.size)
    committed = next(r.at for r in history.trace if r.kind == "committed" and r.fields["block"] == number)
    assert synced <= committed and any(sync.name == JOURNAL and sync.at > committed for sync in history.syncs)


def test_a_decree_that_nobody_asked_for_is_found() -> None:
    history = cancelled()
    history.cancelled = []
    evidence = judge(Judged(history, baseline=history), ["I32"])["I32"].evidence
    assert any("was cancelled, and nobody asked for it" in line for line in evidence)


def test_who_is_in_no_step_is_not_cancelled() -> None:
    run = Simulation(get(NAME), plan_of(NAME), Timing())
    with pytest.raises(Refused, match="no pool yet"):
        booted(run).cancel_step(0)
    history = Simulation(get(NAME), plan_of(NAME), Timing(), setting=Setting(cancels=((0, 3), (20, 999)))).run()
    assert history.finished and history.cancelled == []  # an init is no step that can be cancelled, nor is nobody's
    assert journal_digest(history) == journal_digest(simulate(get(NAME), plan_of(NAME)))
