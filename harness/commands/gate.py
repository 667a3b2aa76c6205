"""`wasm-engine gate`: a result against limits; the exit code is the answer."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from harness import gating
from harness.commands.common import examples, json_option, print_json
from reports import gate as gates
from reports.gate import BREACHED, PASSED, TOO_LITTLE, Answer
from reports.words import plain

EXIT = {PASSED: 0, BREACHED: 10, TOO_LITTLE: 12}


@click.command(
    short_help="A result against limits: exit 10 when one is breached.",
    epilog=examples(
        "wasm-engine gate gate.toml out/latest",
        "wasm-engine gate gate.toml out/prove --json",
        'wasm-engine gate gate.toml out/latest --markdown >> "$GITHUB_STEP_SUMMARY"',
    ),
)
@click.argument("gate_file", metavar="GATE.toml", type=click.Path(path_type=Path))
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--markdown", "as_markdown", is_flag=True, help="Markdown on stdout.")
@json_option
def gate(gate_file: Path, run: Path, as_markdown: bool, as_json: bool) -> int:
    """Judge the results in RUN by the limits in GATE.toml, and print limit and actual of each.

    RUN is a folder that stress, compare or prove wrote, or a file with what `verify --json` printed. The metrics and
    the file's format are in docs/gate.md. Exit 0 when all hold, 10 when one is breached, 12 with too little data.
    """
    if as_json and as_markdown:
        raise click.UsageError("give --json or --markdown, not both")
    limits, today = gates.read(gate_file), present_day()
    counting = [waiver.fingerprint for waiver in limits.waivers if waiver.counts(today)]
    measured, waived = gating.measured(run, counting)
    answer = gates.judge(limits, measured, waived, today)
    if as_json:
        print_json(msgspec.to_builtins(answer))
    elif as_markdown:
        print(gates.markdown(answer), end="")
    else:
        _print(answer)
    return EXIT[answer.verdict]


def present_day() -> date:
    """Today in UTC: a waiver ends on the same day everywhere."""
    return datetime.now(UTC).date()


def _print(answer: Answer) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("gate", overflow="fold")
    for column in ("limit", "actual"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for one in answer.gates:
        table.add_row(plain(one.name), gates.figure(one.limit), gates.figure(one.actual), one.verdict)
    Console(markup=False, highlight=False, emoji=False).print(table)
    for one in answer.gates:
        if one.why:
            print(f"{plain(one.expression)}: {one.why}")
    for waiver in answer.waivers:
        if waiver.expired:
            said = f"expired on {waiver.expires} and does not count"
        else:
            said = f"until {waiver.expires}, {waiver.runs} failures" + ("" if waiver.runs else ": it covers nothing")
        print(f"waived {waiver.fingerprint}: {said} ({plain(waiver.reason)})")
    if answer.runs < answer.min_runs:
        print(f"{answer.runs:,} runs, at least {answer.min_runs:,} wanted")
    print(f"{answer.verdict}  {answer.runs:,} runs")
