"""Restarts from snapshots: the run cut at a block, and carried on from the disk as it was then (I20).

The straight run keeps all its snapshots. For a few of them its journal is cut where a recovery can begin with them, and
everything after is executed again, in fresh instances restored from images: the final state must be the same. What the
recovery did begin with is read from its trace, and named.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from faults.plan import Plan
from faults.streams import draw
from harness.adapters.workers import Timing
from harness.carrying import Taking
from harness.history import History
from harness.simulation import Setting, Simulation
from runtime import exports, journal, snapshot, watermark
from runtime.durability import BLOBS, JOURNAL
from runtime.errors import EngineError
from runtime.state import decode
from runtime.watermark import Watermark
from scenarios.base import Scenario

KEEP_ALL = 1 << 6
RESTARTS = 3
_STATE = "state-"


def from_snapshots(scenario: Scenario, plan: Plan, bare: Plan, timing: Timing) -> Iterator[tuple[str, bytes]]:
    """(what recovery began with, final state's bytes), for an export to another instance and for up to three state
    snapshots, picked by the plan's seed.

    A snapshot that no recovery of this run could begin with (an agent's image is older to the end) is passed over.
    """
    straight_plan = replace(bare, physical=replace(bare.physical, keep_snapshots=KEEP_ALL))
    taking = Taking(draw(plan.seed, "export", 0) % scenario.config(plan.seed).last_tick)
    straight = taking.run = Simulation(scenario, straight_plan, timing, setting=Setting(hook=taking))
    history = straight.run()
    if taking.data is not None or taking.failure:
        yield _imported(scenario, straight_plan, timing, taking)
    lines = journal.read(history.journal).lines
    names = sorted(name for name in history.files if name.startswith(_STATE))[:-1]
    made = 0
    while names and made < RESTARTS:
        name = names.pop(draw(plan.seed, "restart", made + len(names)) % len(names))
        first = usable_from(history.files, lines, name)
        if first is None or first > len(lines) - 1:
            continue
        last = min(first + draw(plan.seed, "restart cut", made) % 8, len(lines) - 1)
        files = cut(history.files, lines[last - 1], name)
        again = Simulation(scenario, straight_plan, timing, files).run()
        made += 1
        yield f"{begun_with(again, name)}, cut after block {last}", again.final_state


def _imported(scenario: Scenario, plan: Plan, timing: Timing, taking: Taking) -> tuple[str, bytes]:
    """The final state of another instance, on an empty disk, that goes on from an export; b"" where it cannot."""
    if taking.data is None:
        return f"export, which was not made ({taking.failure})", b""
    again = Simulation(scenario, plan, timing, {})
    try:
        exports.write(again.disk, taking.data)
    except EngineError as refused:
        return f"export, which is not taken ({refused})", b""
    return f"export of block {exports.read(taking.data).block}", again.run().final_state


def usable_from(files: dict[str, bytes], lines: list[journal.Line], name: str) -> int | None:
    """The first block after which each agent's newest image is not older than this snapshot; None when there is none.

    A failed agent needs no image of the time before: its next life starts from nothing.
    """
    content = snapshot.unpack_state(files[name])
    if isinstance(content, str):
        return None
    waiting = {agent: state.n for agent, state in enumerate(decode(content.state).agents)}
    for line in lines:
        for step in line.block.steps:
            reached = step.n >= waiting.get(step.agent, step.n + 1)
            failed = step.status != "ok" and step.n > waiting.get(step.agent, step.n)
            image = step.status == "ok" and step.image and snapshot.agent_name(step.agent, step.n) in files
            if failed or (reached and image):
                del waiting[step.agent]
        if not waiting and line.number >= content.block:
            return line.number
    return None


def begun_with(again: History, name: str) -> str:
    """The snapshot that the first recovery of a run began with, by its trace; `name` is the one it was meant to be."""
    for record in again.trace:
        if record.kind == "recovered":
            block = int(record.fields["block"]) - int(record.fields["folded"])
            begun = snapshot.state_name(block) if block else "genesis"
            return name if begun == name else f"{begun} (not {name})"
    return f"nothing (not {name})"


def cut(files: dict[str, bytes], line: journal.Line, name: str) -> dict[str, bytes]:
    """The disk as of that block, had `name` been the last state snapshot to be synced.

    Journal and watermark end there; later images are there, but nothing vouches for them. Decrees are all there: those
    of later ticks bind a recovery as they bound the run.
    """
    _, data = watermark.slot_bytes(Watermark(1, 1, line.number, line.hash))
    kept = {
        file: content
        for file, content in files.items()
        if file not in (JOURNAL, watermark.NAME) and not (file.startswith(_STATE) and file > name)
    }
    mark = bytes(watermark.SLOT) + data
    return {**kept, JOURNAL: files[JOURNAL][: line.end], watermark.NAME: mark, BLOBS: files[BLOBS]}
