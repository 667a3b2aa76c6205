"""`wasm-engine agent test`: an agent alone in the runtime, under the simulation, against a written conversation."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from harness.commands.common import examples, json_option, print_json
from harness.sdk.conversations import read_conversation
from harness.sdk.playing import play
from harness.sdk.projects import CONVERSATION, MANIFEST, find
from reports.words import plain
from runtime.errors import Refused
from runtime.manifest import load_manifest

FAILED = 1
DIFFERENCES_MAX = 50


@click.command(
    short_help="An agent alone, against a written conversation. Exit 0 or 1.",
    epilog=examples(
        "wasm-engine agent test",
        "wasm-engine agent test greeter --conversation greeter/refusals.toml --json",
    ),
)
@click.argument("folder", default=".", type=click.Path(path_type=Path))
@click.option("--conversation", type=click.Path(path_type=Path), metavar="TOML", help=f"Else FOLDER/{CONVERSATION}.")
@json_option
def test(folder: Path, conversation: Path | None, as_json: bool) -> int:
    """Run the agent in FOLDER in the real runtime under a virtual clock, and compare what it does with what is written.

    Exit 0 when every turn went as written, 1 with every difference. The same files give the same answer everywhere.
    """
    project = find(folder)
    if not project.module.is_file():
        todo = f"run wasm-engine agent build {shlex.quote(str(folder))}"
        raise Refused("is not built yet", str(project.module), todo)
    if any(source.stat().st_mtime_ns > project.module.stat().st_mtime_ns for source in project.sources):
        print(
            f"note: a source is newer than {project.module.name}; wasm-engine agent build makes it anew",
            file=sys.stderr,
        )
    said = read_conversation(conversation or folder / CONVERSATION)
    _, spec, wasm = load_manifest(folder / MANIFEST)
    played = play(spec, wasm, said)
    passed = not played.differences
    if as_json:
        print_json(
            {
                "agent": spec.name,
                "passed": passed,
                "turns": len(said.turn),
                "steps": played.steps,
                "calls": played.calls,
                "journal_digest": played.journal,
                "differences": [difference._asdict() for difference in played.differences],
            }
        )
        return 0 if passed else FAILED
    for difference in played.differences[:DIFFERENCES_MAX]:
        print(plain(str(difference)))
    if len(played.differences) > DIFFERENCES_MAX:
        print(f"and {len(played.differences) - DIFFERENCES_MAX} more")
    told = "as written" if passed else f"{len(played.differences)} differences"
    print(f"{'PASS' if passed else 'FAIL'}  {spec.name}: {len(said.turn)} turns, {played.steps} steps, {told}")
    return 0 if passed else FAILED
