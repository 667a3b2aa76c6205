"""A running instance's state, carried to another process as a file, where another instance goes on from it (SNP-1).

The file is the runtime's own export, nothing added: what a run needs besides, its scenario and seed, is read from the
journal in it. Guards against a continuation of something else: a damaged, forged or foreign file is refused by name, as
is one whose inputs are not those that the client here goes on with; the end is compared with a straight run's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from faults.plan import Plan
from harness.plans import accept, default_plan
from harness.simulation import Setting, Simulation, journal_digest, simulate
from runtime import exports, journal
from runtime.durability import JOURNAL
from runtime.errors import EngineError, Refused
from runtime.exports import Export
from runtime.journal import Line
from runtime.state import Configure, Input
from runtime.telemetry import Record
from runtime.validated import read_bytes
from scenarios import get

BYTES_MAX = 1 << 30
_ANEW = "export it again"


class Carried(NamedTuple):
    """An export that was read: `tick` is that of its last block, -1 where it has none."""

    export: Export
    scenario: str
    seed: int
    tick: int
    inputs: tuple[Input, ...]


class Arrived(NamedTuple):
    """What became of it: the digests of its journal and of a straight run's, and how many blocks it added."""

    finished: bool
    failure: str
    digest: str
    straight: str
    blocks: int


def taken(plan: Plan, tick: int) -> bytes:
    """The export of a run as it is when its first block at or after this tick is durable.

    Raises Refused where the run ends before, or fails.
    """
    taking = Taking(tick)
    taking.run = Simulation(get(plan.scenario), plan, setting=Setting(hook=taking))
    history = taking.run.run()
    if history.failure:
        raise Refused(f"the run fails: {history.failure_detail}", plan.scenario, "export one that comes to its end")
    if taking.failure:
        raise Refused(f"it cannot be exported: {taking.failure}", plan.scenario, "export another run")
    if taking.data is None:
        last = max(taking.ticks.values())
        raise Refused(f"no block at or after tick {tick}", plan.scenario, f"its last one is at {last}")
    return taking.data


class Taking:
    """A hook of a run that takes its export when the first block at or after a tick is durable."""

    def __init__(self, tick: int) -> None:
        self._tick = tick
        self.run: Simulation | None = None
        self.ticks: dict[int, int] = {}  # of blocks that are committed
        self.data: bytes | None = None
        self.failure = ""

    def __call__(self, record: Record) -> None:
        if record.kind == "committed":
            self.ticks[int(record.fields["block"])] = record.tick
        orchestrator = self.run.orchestrator if self.run is not None else None
        durable = record.kind == "durable" and self.ticks.get(int(record.fields["block"]), -1) >= self._tick
        if durable and orchestrator is not None and self.data is None and not self.failure:
            try:
                self.data = orchestrator.snapshot_state()
            except Exception as error:  # a build under test may raise anything
                self.failure = f"{type(error).__name__}: {error}"


def written(path: Path, data: bytes) -> None:
    """The file, whole or not at all; raises Refused."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", str(path), "give another --out") from None


def read(path: Path) -> tuple[bytes, Carried]:
    """The file's bytes and what is in them; raises Refused with the file's name."""
    data = read_bytes(path, BYTES_MAX)
    try:
        return data, content(data)
    except EngineError as error:
        raise Refused(error.what, str(path), _ANEW) from None


def content(data: bytes) -> Carried:
    """What an export says of itself; raises Refused."""
    export = exports.read(data)
    lines = journal.read(export.files[JOURNAL]).lines
    header = export.files[JOURNAL].partition(b"\n")[0]
    try:
        scenario = msgspec.json.decode(header)["header"]["scenario"]
    except (msgspec.MsgspecError, KeyError, TypeError):
        scenario = None
    if not isinstance(scenario, str):
        raise Refused("its journal does not say of which scenario it is", "export", _ANEW)
    admitted = tuple(item for line in lines for item in line.block.inputs)
    configured = [item.action.config for item in admitted if isinstance(item.action, Configure)]
    if not configured:
        raise Refused("it was taken before the run was configured", "export", "export a later tick")
    return Carried(export, scenario, configured[0].seed, _last(lines), admitted)


def _last(lines: list[Line]) -> int:
    return lines[-1].block.tick if lines else -1


def arrived(data: bytes, carried: Carried, plan: Plan) -> Arrived:
    """An instance of this process goes on from the export, on an empty disk, to the end of the plan."""
    scenario = get(plan.scenario)
    run = Simulation(scenario, plan, files={})
    exports.write(run.disk, data)
    history = run.run()
    after = len(journal.read(history.journal).lines) - carried.export.block
    straight = journal_digest(simulate(scenario, plan))
    return Arrived(history.finished, history.failure_detail, journal_digest(history), straight, after)


def plan_for(carried: Carried, plan: Plan | None, workers: int | None) -> Plan:
    """What the client here goes on with: the given plan, or the workload of the export's seed; raises Refused."""
    mine = plan or accept(default_plan(get(carried.scenario).name, carried.seed, workers), "")
    if mine.scenario != carried.scenario or mine.seed != carried.seed:
        what = f"the export is of {carried.scenario}, seed {carried.seed}, not of {mine.scenario}, seed {mine.seed}"
        raise Refused(what, "snapshot import", "give the plan that it was made with")
    source = get(mine.scenario).source
    before = [item for item in carried.inputs if item.source == source]
    if before != list(mine.inputs[: len(before)]):
        what = f"its {len(before)} inputs are not the first of the plan's"
        raise Refused(what, "snapshot import", "give the plan that it was made with by --plan")
    return mine
