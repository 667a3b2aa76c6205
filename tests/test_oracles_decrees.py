"""Decrees of whole runs under I32: each has its cause in the trace, unless the plan brings it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from runtime_kit import simulation, twin

from harness.history import History
from harness.oracles import Judged, judge
from runtime import journal
from runtime.state import Decree

AGENT = 1  # hello's left worker


KILL, STALL = "worker.kill@tick:{},agent:{},hostcall:1", "worker.stall@tick:{},agent:{}"


def poisoned(*more: str, poison: str = KILL, losses: int = 2, workers: int = 2) -> History:
    """A run with one step that takes every worker with it."""
    blocks = [line.block for line in journal.read(twin("hello").journal).lines]
    steps = [(b.tick, s.agent) for b in blocks for s in b.steps if s.agent == AGENT and s.kind == "step" and s.effects]
    tick, agent = steps[len(steps) // 2]
    return simulation(
        "hello", *[poison.format(tick, agent)] * 12, *more, lost_workers_max=losses, workers=workers
    ).run()


def decrees_of(history: History) -> tuple[Decree, ...]:
    return tuple(d for line in journal.read(history.journal).lines for d in line.block.decrees)


def evidence(history: History, **physical: int) -> tuple[str, ...]:
    """What I32 says of the run, had its plan had these physical options."""
    history.plan = replace(history.plan, physical=replace(history.plan.physical, **physical))
    return judge(Judged(history, baseline=history), ["I32"])["I32"].evidence


@pytest.mark.parametrize("poison", [KILL, STALL])
@pytest.mark.parametrize(("losses", "workers"), [(1, 2), (2, 1), (2, 2), (3, 2), (2, 7)])
def test_a_decree_that_the_runtime_had_reason_for_is_accepted_and_one_loss_fewer_is_not(
    poison: str, losses: int, workers: int
) -> None:
    history = poisoned(poison=poison, losses=losses, workers=workers)
    assert len(decrees_of(history)) == 1
    assert evidence(history) == ()
    (line,) = evidence(history, lost_workers_max=losses + 1)
    assert f"agent {AGENT}'s step was ended by decree after " in line


@pytest.mark.parametrize("call", range(0, 400, 40))
def test_a_decree_is_accepted_whenever_the_orchestrator_died(call: int) -> None:
    history = poisoned(f"orchestrator.kill@call:{call + 1},point:after")
    assert history.finished and decrees_of(history)
    assert evidence(history) == ()


def test_a_decree_that_was_given_needs_no_cause() -> None:
    given = simulation("hello", decrees=decrees_of(poisoned())).run()
    assert evidence(given) == ()
    given.plan = replace(given.plan, decrees=())
    (line,) = evidence(given)
    assert "by decree after 0 lost workers, not" in line
