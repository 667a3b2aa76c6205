"""Restarts from snapshots: the run cut at a block, and carried on from the disk as it was then (I20).

The straight run keeps all its snapshots. For a few of them its journal is cut some blocks later and everything after
is executed again, in fresh instances restored from images: the final state must be the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from faults.plan import Plan
from faults.streams import draw
from harness.adapters.workers import Timing
from harness.simulation import Simulation
from runtime import journal, watermark
from runtime.durability import BLOBS, JOURNAL
from runtime.recovery import DECREES
from runtime.watermark import Watermark
from scenarios.base import Scenario

KEEP_ALL = 1 << 6
RESTARTS = 3


def from_snapshots(scenario: Scenario, plan: Plan, bare: Plan, timing: Timing) -> Iterator[tuple[str, bytes]]:
    """(snapshot's name, final state's bytes) for up to three state snapshots, picked by the plan's seed."""
    straight_plan = replace(bare, physical=replace(bare.physical, keep_snapshots=KEEP_ALL))
    straight = Simulation(scenario, straight_plan, timing)
    history = straight.run()
    names = sorted(name for name in history.files if name.startswith("state-"))[:-1]
    for pick in range(min(RESTARTS, len(names))):
        name = names.pop(draw(plan.seed, "restart", pick) % len(names))
        lines = journal.read(history.journal).lines
        last = min(int(name[6:]) + draw(plan.seed, "restart cut", pick) % 8, len(lines) - 1)
        again = Simulation(scenario, straight_plan, timing, _cut(history.files, lines[last - 1]))
        yield f"{name}, cut after block {last}", again.run().final_state


def _cut(files: dict[str, bytes], line: journal.Line) -> dict[str, bytes]:
    """The disk as of that block: journal and watermark end there; later snapshots are there, but nothing vouches."""
    _, data = watermark.slot_bytes(Watermark(1, 1, line.number, line.hash))
    kept = {name: content for name, content in files.items() if name not in (JOURNAL, watermark.NAME)}
    mark = bytes(watermark.SLOT) + data
    return {**kept, JOURNAL: files[JOURNAL][: line.end], watermark.NAME: mark, BLOBS: files[BLOBS], DECREES: b""}
