"""Restarts begin with the snapshot that they name, and say what they did begin with."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from faults.plan import Plan
from harness import golden
from harness.adapters.workers import Timing
from harness.history import History
from harness.restarts import KEEP_ALL, begun_with, cut, from_snapshots, usable_from
from harness.simulation import Simulation, simulate
from runtime import exports, journal
from runtime.errors import Refused
from runtime.state import Decree
from runtime.telemetry import Record
from scenarios import get


def straight() -> tuple[Plan, History]:
    plan = golden.default_plan("ledger")
    plan = replace(plan, physical=replace(plan.physical, keep_snapshots=KEEP_ALL))
    return plan, simulate(get("ledger"), plan)


def test_each_restart_began_with_the_snapshot_it_names_and_ends_in_the_same_state() -> None:
    plan, history = straight()
    made = list(from_snapshots(get("ledger"), plan, plan, Timing()))
    (exported, state), *snapshots = made
    assert exported.startswith("export of block ") and state == history.final_state
    assert len(snapshots) == 3
    for name, state in snapshots:
        assert name.split(",")[0] in history.files, name
        assert state == history.final_state


def test_an_export_that_is_not_made_or_not_taken_ends_in_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """SNP-1, in I20: each is told by its reason, and fails the comparison with the straight run."""
    plan, history = straight()

    def refuse(*given: object) -> bytes:
        raise Refused("the export is damaged", "export", "export it again")

    for function, words in (("take", "which was not made (Refused"), ("write", "which is not taken (export: the")):
        with monkeypatch.context() as patched:
            patched.setattr(exports, function, refuse)
            name, state = next(iter(from_snapshots(get("ledger"), plan, plan, Timing())))
        assert words in name and state == b"" != history.final_state


@pytest.mark.parametrize(("later", "begun"), [(0, True), (-1, False)])
def test_a_cut_before_the_images_are_young_enough_begins_with_something_else(later: int, begun: bool) -> None:
    plan, history = straight()
    lines = journal.read(history.journal).lines
    name = sorted(name for name in history.files if name.startswith("state-"))[2]
    first = usable_from(history.files, lines, name)
    assert first is not None and int(name[6:]) < first < len(lines)
    files = cut(history.files, lines[first + later - 1], name)
    again = Simulation(get("ledger"), plan, Timing(), files).run()
    assert (begun_with(again, name) == name) == begun
    assert again.final_state == history.final_state


def test_a_restart_keeps_the_decrees_of_the_ticks_that_it_executes_again() -> None:
    plan, history = straight()
    steps = [(e.tick, e.agent) for e in history.guests if e.kind == "step" and e.calls]
    tick, agent = steps[-20]
    plan = replace(plan, decrees=(Decree(agent, "decree:deadline", tick),))
    ended = simulate(get("ledger"), plan)
    made = list(from_snapshots(get("ledger"), plan, plan, Timing()))
    assert made and {state for _, state in made} == {ended.final_state} != {history.final_state}


def test_a_snapshot_that_is_damaged_or_that_no_image_reaches_is_not_usable() -> None:
    _, history = straight()
    lines = journal.read(history.journal).lines
    name = sorted(name for name in history.files if name.startswith("state-"))[1]
    bare = {file: data for file, data in history.files.items() if not file.startswith("agent-00003")}
    assert usable_from(bare, lines, name) is None
    assert usable_from({**history.files, name: history.files[name][:-1]}, lines, name) is None


@pytest.mark.parametrize(
    ("folded", "named"),
    [(4, "state-00000016"), (12, "state-00000008 (not state-00000016)"), (20, "genesis (not state-00000016)")],
)
def test_what_a_recovery_began_with_is_read_from_its_trace(folded: int, named: str) -> None:
    history = History(plan=golden.default_plan("ledger"))
    history.trace = [Record(1, "recovered", 2, 19, {"block": 20, "cut": 0, "folded": folded})]
    assert begun_with(history, "state-00000016") == named
    history.trace = []
    assert begun_with(history, "state-00000016") == "nothing (not state-00000016)"
