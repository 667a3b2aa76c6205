"""Exports of verified journals: what another machine compares its own with (`verify --against`).

A file holds, per scenario, the plan's digest, the modules, and every block as its body and its link of the hash chain;
so a comparison finds the first record that differs by the same bisection, and shows both sides. Nothing in a file is
trusted: it is bounded in size and depth, read strictly (no unknown or repeated key, no other type, no other version),
and its chains are computed anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from faults.plan import Plan, depth_of, plan_to_json
from harness import builds
from harness.oracles import reading
from harness.verification.sample import Sample
from runtime.errors import Refused
from runtime.versions import ALL
from scenarios import get

EXPORT_VERSION = 1
BYTES_MAX, DEPTH_MAX = 1 << 26, 16
BLOCKS_MAX, SCENARIOS_MAX = 200_000, 100
BODY_DEPTH_MAX = 64


class ExportedBlock(Struct, frozen=True, forbid_unknown_fields=True):
    """One block: its body as it stands in the journal, and its link (hex)."""

    body: str
    hash: str


class Exported(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One scenario's journal. `plan` and `modules` are digests: a journal of another plan cannot be compared."""

    scenario: str
    seed: int
    plan: str
    modules: str
    equal: bool
    blocks: tuple[ExportedBlock, ...]


class Export(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`machine` says what it was made on: system, machine type, Python; no name and no path."""

    version: int
    versions: dict[str, int]
    build: str
    machine: dict[str, str]
    scenarios: tuple[Exported, ...]


def plan_digest(plan: Plan) -> str:
    return hashlib.sha256(plan_to_json(plan).encode()).hexdigest()


def modules_digest(name: str) -> str:
    return hashlib.sha256("".join(sorted(get(name).modules)).encode()).hexdigest()


def exported(plan: Plan, plain: Sample, equal: bool) -> Exported:
    """What is exported of one scenario's plain run."""
    return Exported(
        scenario=plan.scenario,
        seed=plan.seed,
        plan=plan_digest(plan),
        modules=modules_digest(plan.scenario),
        equal=equal,
        blocks=tuple(ExportedBlock(body.decode(), link) for body, link in zip(plain.bodies, plain.links, strict=True)),
    )


def write(path: Path, found: list[Exported]) -> None:
    """Write an export, whole or not at all; raises Refused for a place that cannot be written."""
    export = Export(
        version=EXPORT_VERSION,
        versions=dict(ALL),
        build=builds.identity(),
        machine={"system": platform.system(), "machine": platform.machine(), "python": platform.python_version()},
        scenarios=tuple(found),
    )
    data = msgspec.json.format(msgspec.json.encode(export, order="sorted"), indent=1) + b"\n"
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", str(path), "give another --export") from None


def read(path: Path) -> Export:
    """An export that is whole and consistent; raises Refused, and nothing else."""
    where = str(path)
    try:
        if path.stat().st_size > BYTES_MAX:
            raise Refused("too large for an export", where, f"at most {BYTES_MAX} bytes")
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}", where, "give a file that --export wrote") from None
    tree = _tree(data, where)
    if not isinstance(tree, dict) or tree.get("version") != EXPORT_VERSION or isinstance(tree.get("version"), bool):
        found = tree.get("version") if isinstance(tree, dict) else None
        raise Refused(f"export version {_short(found)}, this reads {EXPORT_VERSION}", where, "export it anew")
    try:
        export = msgspec.convert(tree, Export)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Refused(f"not an export: {_short(str(error))}", where, "give a file that --export wrote") from None
    if export.versions.get("journal") != ALL["journal"]:
        what = f"journal version {export.versions.get('journal')}, this build writes {ALL['journal']}"
        raise Refused(what, where, "export it from a build with the same version")
    _consistent(export, where)
    return export


def _tree(data: bytes, where: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key is there twice")
        return found

    def refuse(word: str) -> Any:
        raise ValueError(f"{_short(word[:20])} is not an integer")

    def integer(digits: str) -> int:
        return int(digits) if len(digits) <= 19 else refuse(digits)

    try:
        text = data.decode()
        if len(data) > BYTES_MAX or depth_of(text) > DEPTH_MAX:
            raise Refused("nested too deeply", where, f"an export nests at most {DEPTH_MAX} levels")
        return json.loads(text, object_pairs_hook=unique, parse_float=refuse, parse_constant=refuse, parse_int=integer)
    except (UnicodeError, ValueError, RecursionError) as error:
        raise Refused(f"damaged export: {_short(str(error))}", where, "get the file anew") from None


def _consistent(export: Export, where: str) -> None:
    """Names once, bounds kept, and every link the hash of what it says it is the hash of."""
    names = [one.scenario for one in export.scenarios]
    if len(set(names)) != len(names) or not 0 < len(names) <= SCENARIOS_MAX:
        raise Refused("a scenario is there twice, or none is", where, "get the file anew")
    for one in export.scenarios:
        place = f"{where}, scenario {_short(one.scenario)}"
        if not 0 < len(one.blocks) <= BLOCKS_MAX:
            raise Refused(f"{len(one.blocks)} blocks", place, f"from 1 to {BLOCKS_MAX}")
        previous = reading.GENESIS
        for number, block in enumerate(one.blocks, 1):
            body = block.body.encode("utf-8", "surrogatepass")
            link = hashlib.sha256(previous + body).hexdigest()
            if link != block.hash:
                raise Refused(f"block {number} does not continue the chain", place, "get the file anew")
            _is_block(body, block.body, number, place)
            previous = link.encode()


def _is_block(body: bytes, text: str, number: int, place: str) -> None:
    problem = "nested too deeply" if depth_of(text, BODY_DEPTH_MAX) > BODY_DEPTH_MAX else reading.problem(body)
    if problem:
        raise Refused(f"block {number} is chained but not a block: {problem}", place, "get the file anew")


def sample_of(one: Exported) -> Sample:
    """The journal of an export as something to compare with; it has no trace."""
    made = Sample(b"", None, "exported")
    made.failure = ""
    made.links = [block.hash for block in one.blocks]
    made.bodies = [block.body.encode() for block in one.blocks]
    return made


def comparable(one: Exported, plan: Plan, where: str) -> None:
    """Raises Refused where another plan, or other agents, must give another journal."""
    place = f"{where}, scenario {one.scenario}"
    if (one.seed, one.plan) != (plan.seed, plan_digest(plan)):
        raise Refused(
            "it was made from another plan", place, f"export it with --seed {plan.seed} from the same version"
        )
    if one.modules != modules_digest(plan.scenario):
        raise Refused("it was made with other agents", place, "export it from the same version")


def _short(value: object) -> str:
    return " ".join(ascii(value)[:120].split())
