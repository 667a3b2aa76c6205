"""The orchestrator dies before, within or after any call to a port, and its successor writes the same journal (LOG-1).

A selection by stride; WASM_ENGINE_SOAK=1 (make soak) makes it every call, every point and every disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import pytest
from runtime_kit import booted, carry_on, port_calls, simulation, twin

from harness.history import History, ReplayEvent
from harness.simulation import journal_digest
from runtime import journal
from runtime.durability import JOURNAL
from runtime.recovery import DECREES, decree_line
from runtime.state import Decree, decode, encode

SOAK = os.environ.get("WASM_ENGINE_SOAK") == "1"
POINTS = ("before", "within", "after")
DISKS = ("", "disk.lose@crash:1", "disk.tear@crash:1")  # "" keeps the page cache: only the process died
SHARES = 8


@cache
def calls_of(scenario: str) -> int:
    """How many port calls the run makes when nothing happens."""
    run = simulation(scenario)
    run.run()
    return port_calls(run)


def selection(scenario: str, point: str, disk: str, stride: int, share: int) -> Iterator[int]:
    """Every `stride`-th call, spread over `SHARES` tests; the offset differs by point and disk."""
    step = 1 if SOAK else stride
    first = (POINTS.index(point) * 5 + DISKS.index(disk) * 3) % step
    yield from list(range(1 + first, calls_of(scenario) + 1, step))[share::SHARES]


def crash(scenario: str, call: int, point: str, disk: str, *more: str) -> History:
    faults = [f"orchestrator.kill@call:{call},point:{point}", *more, *([disk] if disk else [])]
    history = simulation(scenario, *faults).run()
    where = f"{scenario}, call {call}, {point}, {disk or 'kept'}"
    assert history.finished and not history.failure, f"{where}: {history.failure_detail}"
    assert history.crashes, f"{where}: nobody died"
    assert journal_digest(history) == journal_digest(twin(scenario)), where
    assert history.final_state == twin(scenario).final_state, where
    received = [(r.block, r.outputs, r.acknowledged) for r in history.receipts]
    assert received == [(r.block, r.outputs, r.acknowledged) for r in twin(scenario).receipts], where
    return history


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("point", POINTS)
def test_a_death_at_any_call_of_hello_leaves_the_journal_alone(point: str, share: int) -> None:
    """All calls for one point, every fifth for the others."""
    for call in selection("hello", point, "", 1 if point == "before" else 5, share):
        crash("hello", call, point, "")


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("disk", DISKS[1:])
@pytest.mark.parametrize("point", POINTS)
def test_a_death_of_the_machine_at_any_call_of_hello_leaves_the_journal_alone(
    point: str, disk: str, share: int
) -> None:
    for call in selection("hello", point, disk, 7, share):
        crash("hello", call, point, disk)


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize(("scenario", "stride"), [("ledger", 307), ("frames", 149), ("edges", 41)])
def test_a_death_in_a_longer_run_leaves_the_journal_alone(scenario: str, stride: int, disk: str, share: int) -> None:
    for place, point in enumerate(POINTS):
        for call in list(selection(scenario, point, disk, stride, share))[place % 2 :: 1 if SOAK else 2]:
            crash(scenario, call, point, disk)


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("call", range(1, 25))
def test_a_death_in_the_recovery_from_a_death_is_survived(call: int, disk: str) -> None:
    """At every call of the second boot, with what the first death left."""
    history = crash("hello", 150, "after", disk, f"orchestrator.kill@after:1,call:{call}")
    assert len(history.crashes) == 2


@pytest.mark.parametrize("first", range(3, 27, 4))
def test_many_deaths_one_after_the_other_are_survived(first: int) -> None:
    kills = [f"orchestrator.kill@after:{n},call:{first + 9 * n}" for n in range(1, 9)]
    disks = [f"disk.{'tear' if n % 2 else 'lose'}@crash:{n}" for n in range(2, 10)]
    history = crash("hello", first, "before", DISKS[2], *kills, *disks)
    assert len(history.crashes) == 9


def test_a_recovered_run_goes_on_from_a_snapshot_and_folds_only_what_came_after() -> None:
    history = crash("ledger", calls_of("ledger") - 100, "after", "")
    (recovered,) = [record.fields for record in history.trace if record.kind == "recovered"]
    assert 0 < int(recovered["folded"]) < int(recovered["block"]) // 2


# --- decrees ----------------------------------------------------------------------------------------------------------

AGENT = 1  # hello's left worker


def poison() -> list[str]:
    """A step that takes every worker with it, each in its first host call; beyond the fault budget."""
    tick, agent = poison_step()
    return [f"worker.kill@tick:{tick},agent:{agent},hostcall:1"] * 12


def poisoned(*more: str, losses: int = 2, workers: int = 2) -> History:
    return simulation("hello", *poison(), *more, lost_workers_max=losses, workers=workers).run()


def poison_step() -> tuple[int, int]:
    blocks = [line.block for line in journal.read(twin("hello").journal).lines]
    steps = [(b.tick, s.agent) for b in blocks for s in b.steps if s.agent == AGENT and s.kind == "step" and s.effects]
    return steps[len(steps) // 2]


def decrees_of(history: History) -> tuple[Decree, ...]:
    return tuple(d for line in journal.read(history.journal).lines for d in line.block.decrees)


@pytest.mark.parametrize("losses", [1, 2, 3])
def test_a_step_that_takes_every_worker_with_it_ends_by_decree_and_the_run_goes_on(losses: int) -> None:
    history = poisoned(losses=losses)
    assert history.finished and not history.failure
    tick, agent = poison_step()
    assert decrees_of(history) == (Decree(agent, "decree:lost_workers", tick),)
    blocks = [line.block for line in journal.read(history.journal).lines]
    statuses = {(block.tick, s.agent): s.status for block in blocks for s in block.steps}
    assert [key for key, status in statuses.items() if status != "ok"] == [(tick, agent)]
    assert statuses[tick, agent] == "decree:lost_workers"
    assert decode(history.final_state).agents[agent].life == 1
    assert len(history.injections) in (losses, losses + 1), "one loss may have been that of a whole batch"


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_twin_that_is_given_the_decrees_has_the_same_journal(workers: int) -> None:
    history = poisoned(workers=workers)
    given = simulation("hello", decrees=decrees_of(history)).run()
    assert given.finished and journal_digest(given) == journal_digest(history) != journal_digest(twin("hello"))
    assert given.injections == []


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("point", POINTS)
def test_a_decree_survives_the_orchestrators_death_at_any_call_after_it(point: str, disk: str) -> None:
    """Which decree it was may change, if it was not synced; the journal is the one that its own decrees give."""
    first = decreed_at()
    expected = journal_digest(poisoned())
    for call in range(first - 3, first + (60 if SOAK else 22)):
        faults = [f"orchestrator.kill@call:{call},point:{point}", *([disk] if disk else [])]
        history = poisoned(*faults)
        assert history.finished and history.crashes, (call, history.failure_detail)
        assert journal_digest(history) == expected, (call, point, disk)


@cache
def decreed_at() -> int:
    """The number of the port call by which the decree is written."""
    run = simulation("hello", *poison(), lost_workers_max=2)
    seen: list[int] = []
    orchestrator = booted(run)
    orchestrator.register_telemetry_hook(lambda r: seen.append(port_calls(run)) if r.kind == "decreed" else None)
    carry_on(run)
    assert len(seen) == 1
    return seen[0]


def test_a_decree_for_a_step_that_is_not_there_ends_nothing() -> None:
    tick = poison_step()[0]
    blocks = [line.block for line in journal.read(twin("hello").journal).lines]
    idle = next((b.tick, a) for b in blocks[1:-1] for a in range(4) if a not in [s.agent for s in b.steps])
    decrees = (Decree(idle[1], "decree:lost_workers", idle[0]), Decree(99, "decree:lost_workers", tick))
    history = simulation("hello", decrees=decrees).run()
    assert history.finished and journal_digest(history) == journal_digest(twin("hello"))


def test_a_torn_decree_was_never_acted_on() -> None:
    tick, agent = poison_step()
    files = {DECREES: decree_line(Decree(agent, "decree:lost_workers", tick))[:-1]}
    history = simulation("hello", files=files).run()
    assert history.finished and journal_digest(history) == journal_digest(twin("hello"))


@pytest.mark.parametrize("at", range(0, 60, 7))
def test_a_damaged_decree_ends_the_list_of_them(at: int) -> None:
    """The twin is the run whose list ends before it: a flipped digit is another agent's decree otherwise."""
    tick, agent = poison_step()
    good, bad = Decree(agent, "decree:lost_workers", tick), Decree(1 - min(agent, 1), "decree:lost_workers", tick + 1)
    line = bytearray(decree_line(bad))
    line[at] ^= 1
    files = {DECREES: decree_line(good) + bytes(line) + decree_line(bad)}
    history = simulation("hello", files=files).run()
    assert history.finished
    assert journal_digest(history) == journal_digest(simulation("hello", decrees=(good,)).run())


def test_the_journal_of_a_run_holds_all_that_a_fold_needs() -> None:
    """LOG-2: the final state from the journal alone, without a worker."""
    files = {name: data for name, data in twin("ledger").files.items() if not name.startswith(("agent-", "state-"))}
    run = simulation("ledger", files=files)
    history = run.run()
    assert history.finished and history.guests == []
    assert history.final_state == twin("ledger").final_state == encode(decode(history.final_state))
    assert history.files[JOURNAL] == twin("ledger").files[JOURNAL]


def test_what_a_successor_restores_is_fed_again_in_one_crossing_for_each_agent() -> None:
    history = crash("hello", calls_of("hello") * 2 // 3, "after", "")
    fed = [event for event in history.crossings if isinstance(event, ReplayEvent)]
    assert fed and all(event.incarnation == 2 and event.failed is None for event in fed)
    assert max(len(event.records) for event in fed) > 1
    apart = [event for event in history.crossings if not isinstance(event, ReplayEvent)]
    steps = {(event.tick, event.agent) for event in apart if event.incarnation == 2}
    again = {(event.tick, event.agent) for replay in fed for event in replay.events()}
    assert not steps & again, "no step is fed both ways"
