"""`wasm-engine snapshot`: a run's state in a file, and an instance in another process that goes on from it (SNP-1)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import click

from harness import carrying
from harness.carrying import Arrived, Carried
from harness.commands.common import (
    build_option,
    config_option,
    elsewhere,
    examples,
    json_option,
    print_json,
    seed_option,
    under,
    workers_option,
)
from harness.commands.run import plan_asked
from reports.words import plain
from scenarios import get

SHORT = 16
FAILED = 1
plan_option = click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A plan's JSON file; - is stdin.",
)


@click.group(short_help="A run's state as a file, from which another process goes on: export, import.")
def snapshot() -> None:
    """Carry a run to another process. See `wasm-engine snapshot COMMAND --help`."""


@snapshot.command(
    short_help="Write a run's state, as it is after a tick, to a file.",
    epilog=examples(
        "wasm-engine snapshot export ledger --tick 60 --out ledger.snapshot",
        'wasm-engine snapshot export ledger --tick 60 --out l.snap --fault "worker.kill@tick:41,agent:3,hostcall:2"',
    ),
)
@click.argument("scenario")
@click.option("--tick", type=click.IntRange(0, 2**32 - 1), metavar="N", required=True, help="At or after this tick.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", required=True, help="The file.")
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="A typed fault; see `wasm-engine faults`.")
@plan_option
@seed_option
@workers_option
@config_option
@build_option
@json_option
def export(scenario: str, tick: int, out: Path, build: str, as_json: bool, **options: Any) -> int:
    """Run SCENARIO until its first block at or after tick N is durable, and write all that is durable then to FILE.

    The file has a checksum, and the journal's chain inside; it can be imported by any build of the same versions.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    name = under(scenario, options.pop("config"))
    plan = plan_asked(name, no_faults=False, **options)
    data = carrying.taken(plan, tick)
    carrying.written(out, data)
    told: dict[str, Any] = {"file": str(out), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    told |= _of(carrying.content(data))
    if as_json:
        print_json(told)
    else:
        print(f"exported {plain(told['scenario'])}, seed {told['seed']}, block {told['block']} (tick {told['tick']})")
        print(f"{told['bytes']} B in {out}, sha256 {told['sha256'][:SHORT]}, journal {told['journal'][:SHORT]}")
    return 0


@snapshot.command(
    name="import",
    short_help="Go on from such a file to the end of the run.",
    epilog=examples(
        "wasm-engine snapshot import ledger.snapshot",
        "wasm-engine snapshot import ledger.snapshot --workers 7 --json",
        "wasm-engine snapshot import relay.snapshot --scenario docs/scenario-example",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--scenario", default="", metavar="PATH", help="The file of the scenario, where it is of files.")
@plan_option
@workers_option
@config_option
@build_option
@json_option
def import_(
    file: Path, scenario: str, plan_file: Path | None, workers: int, config: Path | None, build: str, as_json: bool
) -> int:
    """Start an instance on an empty disk from FILE, go on to the end of the run, and compare with a straight run.

    Which run it is says the file. Exit 1 when the journals differ, or the instance does not come to the end; 4 for a
    file that is damaged, of another version, or of another run.
    """
    code = elsewhere(build)
    if code is not None:
        return code
    data, carried = carrying.read(file)
    if scenario:
        under(scenario, config)
    elif config is not None:
        under(carried.scenario.partition("@")[0], config)
    name = get(carried.scenario).name
    asked = plan_asked(name, 0, (), True, workers, plan_file) if plan_file is not None else None
    plan = carrying.plan_for(carried, asked, None if asked else workers)
    found = carrying.arrived(data, carried, plan)
    same = found.finished and found.digest == found.straight != ""
    if as_json:
        print_json({"file": str(file), **_of(carried), **found._asdict(), "equal": same})
    else:
        _print(carried, found, same)
    return 0 if same else FAILED


def _of(carried: Carried) -> dict[str, Any]:
    return {
        "scenario": carried.scenario,
        "seed": carried.seed,
        "block": carried.export.block,
        "tick": carried.tick,
        "journal": carried.export.hash,
    }


def _print(carried: Carried, found: Arrived, same: bool) -> None:
    block = f"block {carried.export.block} (tick {carried.tick})"
    print(f"imported {plain(carried.scenario)}, seed {carried.seed}, {block}")
    if found.failure:
        print(f"stopped: {found.failure}")
    relation = "equal to a straight run" if same else f"a straight run has {found.straight[:SHORT]}"
    print(f"journal  {found.digest[:SHORT] or 'unverifiable':<{SHORT}}   {found.blocks} blocks more, {relation}")
