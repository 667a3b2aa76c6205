"""Runs as they are kept: journal, blobs and plan, from which every state in between can be made again (STA-3).

A run is named by its folder (a case, or what `run --keep` wrote), by a plan's file, or by a scenario, which is run
anew. What a folder holds is data and is checked: a journal that does not verify ends where it is damaged, a blob counts
only under its own sha256, and one that is not there is made anew by running the plan.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from faults.plan import Plan, parse_fault, plan_from_json, plan_to_json
from harness import cases
from harness.history import History
from harness.plans import accept
from harness.simulation import simulate
from runtime import journal
from runtime.errors import Refused
from scenarios import SCENARIOS, get
from scenarios.base import Scenario
from scenarios.built_in import built_in
from scenarios.files import known
from scenarios.files.reading import MAIN

PLAN, JOURNAL, TRACE, BLOBS = "plan.json", "journal.jsonl", "trace.jsonl", "blobs.bin"
FILE_BYTES_MAX = 1 << 30


class Kept(Struct, frozen=True):
    """A run that is over: `name` is how a user called it, `journal` the file's bytes, `blobs` by sha256 (hex)."""

    name: str
    plan: Plan
    scenario: Scenario
    journal: bytes
    blobs: dict[str, bytes]


def keep(history: History, scenario: Scenario, folder: Path) -> Path:
    """Write a run's records, and its scenario where that is of files; raises Refused for a folder that is no place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PLAN).write_text(plan_to_json(history.plan), "utf-8")
        (folder / JOURNAL).write_bytes(history.journal)
        lines = (msgspec.json.encode(record, order="sorted") + b"\n" for record in history.trace)
        (folder / TRACE).write_bytes(b"".join(lines))
        (folder / BLOBS).write_bytes(cases.blobs_of(history))
        known.put(scenario, folder)
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", str(folder), "give another folder") from None
    return folder


def find(name: str, seed: int = 1, faults: tuple[str, ...] = (), workers: int | None = None) -> Kept:
    """The run that a user means; seed, faults and workers count for a scenario only. Raises Refused."""
    path = Path(name)
    if built_in(name) is not None or _is_scenario(path):
        scenario = get(name)
        typed = tuple(parse_fault(fault) for fault in faults or scenario.faults)
        inputs, physical = scenario.workload(seed), scenario.options(workers)
        plan = Plan(scenario=scenario.name, seed=seed, inputs=inputs, faults=typed, physical=physical)
        return _run(name, accept(plan, ""))
    if faults:
        raise Refused("faults are typed for a scenario", name, "a folder or a plan has its own")
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _run(name, accept(plan_from_json(_bytes(path), name), name))
    todo = f"give a case, a folder of run --keep, a plan's file, or a scenario ({', '.join(SCENARIOS)})"
    raise Refused("there is no such run", name, todo)


def _is_scenario(path: Path) -> bool:
    return (path.suffix == ".toml" and path.is_file()) or (path / MAIN).is_file()


def _run(name: str, plan: Plan) -> Kept:
    scenario = get(plan.scenario)
    history = simulate(scenario, plan)
    return Kept(name, plan, scenario, history.journal, history.blobs)


def _folder(path: Path) -> Kept:
    if (path / "case.json").is_file():
        plan = cases.plan_of(cases.read(path), str(path))
    else:
        plan = plan_from_json(_bytes(path / PLAN), str(path / PLAN))
        known.adopt(path, plan.scenario)
        plan = accept(plan, str(path / PLAN))
    scenario = get(plan.scenario)
    data = _bytes(path / JOURNAL)
    blobs = journal.read_blobs(_bytes(path / BLOBS))[0] if (path / BLOBS).is_file() else {}
    if any(digest not in blobs for line in journal.read(data).lines for digest in _named(line.block)):
        blobs = simulate(scenario, plan).blobs | blobs
    return Kept(str(path), plan, scenario, data, blobs)


def _named(block: journal.Block) -> list[str]:
    """The blobs that a block needs, by sha256."""
    held = [effect.payload for step in block.steps for effect in step.effects]
    held += [entry.kv for entry in block.inferences]
    return [payload.sha256 for payload in held if isinstance(payload, journal.BlobRef)]


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Refused("too large for a run", str(path), f"at most {FILE_BYTES_MAX} bytes")
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}", str(path), "give a whole case or kept run") from None
