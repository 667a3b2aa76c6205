"""`wasm-engine agent test`: an agent alone in the runtime, under the simulation, against a written conversation."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.common import build_option, elsewhere, examples, json_option, print_json
from harness.sdk.conversations import Conversation, read_conversation
from harness.sdk.playing import Played, play
from harness.sdk.projects import CONVERSATION, MANIFEST, find
from reports.words import plain
from runtime.errors import Refused
from runtime.manifest import Package, load_package
from runtime.wasm.agent_wasi import AgentLine

if TYPE_CHECKING:
    from harness.sdk.disturbing import Disturbed

FAILED = 1
DIFFERENCES_MAX = 50
LINES_MAX = 200  # of its log, for people
RUNS_MAX = 10_000


@click.command(
    short_help="An agent alone, against a written conversation. Exit 0 or 1.",
    epilog=examples(
        "wasm-engine agent test",
        "wasm-engine agent test greeter --conversation greeter/refusals.toml --json",
        "wasm-engine agent test --runs 50",
    ),
)
@click.argument("folder", default=".", type=click.Path(path_type=Path))
@click.option("--conversation", type=click.Path(path_type=Path), metavar="TOML", help=f"Else FOLDER/{CONVERSATION}.")
@click.option(
    "--runs",
    type=click.IntRange(0, RUNS_MAX),
    default=0,
    metavar="N",
    help="And so many times under random faults, which must change nothing.",
)
@build_option
@json_option
def test(folder: Path, conversation: Path | None, runs: int, build: str, as_json: bool) -> int:
    """Run the agent in FOLDER in the real runtime under a virtual clock, and compare what it does with what is written.

    Exit 0 when every turn went as written, 1 with every difference. The same files give the same answer everywhere.
    With --runs the conversation is played N more times, while workers, the orchestrator, frames and disks fail: the
    journal must stay the same, byte for byte.
    """
    code = elsewhere(build)
    if code is not None:
        return code
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
    package = load_package(folder / MANIFEST)
    spec = package.spec
    played = play(spec, package.wasm, said, package.libraries)
    disturbed = _disturbed(package, said, runs) if runs else None
    passed = not played.differences and not (disturbed and disturbed.failures)
    if as_json:
        told = {
            "agent": spec.name,
            "passed": passed,
            "turns": len(said.turn),
            "steps": played.steps,
            "calls": played.calls,
            "journal_digest": played.journal,
            "differences": [difference._asdict() for difference in played.differences],
            "log": [_told(line) for line in played.history.lines],
        }
        print_json(told | ({"faults": disturbed._asdict()} if disturbed else {}))
        return 0 if passed else FAILED
    _print(spec.name, said, played, disturbed)
    return 0 if passed else FAILED


def _disturbed(package: Package, said: Conversation, runs: int) -> Disturbed:
    from harness.sdk.disturbing import disturb  # draws, judges, compares: much to import for who asks for none of it

    return disturb(package.spec, package.wasm, said, runs, package.libraries)


def _told(line: AgentLine) -> dict[str, Any]:
    stream = "stdout" if line.stream == 1 else "stderr"
    return {
        "tick": line.tick,
        "kind": line.kind,
        "stream": stream,
        "text": line.data.decode("utf-8", "backslashreplace"),
    }


def _print(name: str, said: Conversation, played: Played, disturbed: Disturbed | None) -> None:
    for line in played.history.lines[:LINES_MAX]:
        entry = _told(line)
        print(f"tick {entry['tick']} {entry['stream']}: {plain(entry['text'].rstrip())}")
    for difference in played.differences[:DIFFERENCES_MAX]:
        print(plain(str(difference)))
    if len(played.differences) > DIFFERENCES_MAX:
        print(f"and {len(played.differences) - DIFFERENCES_MAX} more")
    told = "as written" if not played.differences else f"{len(played.differences)} differences"
    print(f"{'FAIL' if played.differences else 'PASS'}  {name}: {len(said.turn)} turns, {played.steps} steps, {told}")
    if disturbed is None:
        return
    for failure in disturbed.failures[:DIFFERENCES_MAX]:
        print(plain(failure))
    fired = sum(disturbed.faults_fired.values())
    told = f"{disturbed.passed} with the same journal, {disturbed.idle} in which no fault took effect"
    print(f"{'FAIL' if disturbed.failures else 'PASS'}  {disturbed.runs} runs under faults: {told}; {fired} faults")
