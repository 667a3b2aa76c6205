"""The tables on the terminal: what a campaign found, readable in 80 columns, plain text when not on a terminal.

Colour appears only on a terminal and never under NO_COLOR. Commands stand unbroken on lines of their own, so that
they can be copied; everything else keeps to the width. Text of agents is shown escaped and never read as markup.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import IO

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reports import summary
from reports.frames import Meta, RunRow
from reports.summary import Counts, Group, ScenarioLine
from reports.words import COMMAND_MAX, milliseconds, number, plain, plural

GROUPS_MAX = 10
NEVER_MAX = 12
_COLOURS = {"PASSED": "bold green", "FAILED": "bold red", "INCONCLUSIVE": "bold yellow", "NOTHING RAN": "bold yellow"}


def show(rows: Sequence[RunRow], meta: Meta | None = None, file: IO[str] | None = None) -> None:
    """Prints the tables to `file` (stdout by default)."""
    print_to(Console(file=file, highlight=False, markup=False, emoji=False), rows, meta or Meta())


def text(rows: Sequence[RunRow], meta: Meta | None = None, width: int = 80) -> str:
    """The tables as plain text of at most `width` columns, commands excepted."""
    sink = io.StringIO()
    console = Console(
        file=sink, width=width, color_system=None, force_terminal=False, highlight=False, markup=False, emoji=False
    )
    print_to(console, rows, meta or Meta())
    return sink.getvalue()


def print_to(console: Console, rows: Sequence[RunRow], meta: Meta) -> None:
    for line in summary.scenarios(rows):
        _scenario(console, line)
    for group in (found := summary.groups(rows))[:GROUPS_MAX]:
        _group(console, group)
    if len(found) > GROUPS_MAX:
        console.print(Text(f"{plural(len(found) - GROUPS_MAX, 'more group')} of failures in the report"))
    counts = summary.count(rows)
    word = summary.verdict(counts)
    if rows and meta.sometimes:
        _sometimes(console, rows, meta)
    if (together := summary.pairs(rows, meta)).possible:
        of = f"{number(together.covered)} of {number(together.possible)}"
        console.print(Text(f"pairs: {of} pairs of kinds took effect in one run"))
    if rows:
        console.print(Text(f"evidence: {meta.evidence}"))
    console.print(Text.assemble((word, _COLOURS[word]), f"  {_verdicts(counts)}", f"  profile {plain(meta.profile)}"))


def _verdicts(counts: Counts) -> str:
    return (
        f"{plural(counts.runs, 'run')}: {number(counts.passed)} passed, {number(counts.failed)} failed, "
        f"{number(counts.unknown)} unknown, {number(counts.idle)} idle"
    )


def _command(console: Console, command: str) -> None:
    console.print(
        Text("    " + plain(command, COMMAND_MAX)), soft_wrap=True, no_wrap=True, overflow="ignore", crop=False
    )


def _scenario(console: Console, line: ScenarioLine) -> None:
    counts, recovery = line.counts, line.recovery
    console.print(Text(plain(line.scenario, 60), style="bold"))
    verdicts = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("runs", "passed", "failed", "unknown", "idle", "steps redone"):
        verdicts.add_column(name, justify="right", no_wrap=True)
    figures = (counts.runs, counts.passed, counts.failed, counts.unknown, counts.idle, counts.steps_redone)
    styles = ("", "green", "red" if counts.failed else "", "yellow" if counts.unknown else "", "", "")
    cells = [Text(number(value), style=style) for value, style in zip(figures, styles, strict=True)]
    verdicts.add_row(*cells)
    console.print(Padding(verdicts, (0, 0, 0, 2)))
    _faults(console, counts)
    times = [f"{name} {milliseconds(ns)}" for name, ns in zip(("p50", "p99", "worst"), recovery[1:], strict=True)]
    console.print(Text(f"  recovery of {plural(recovery.n, 'tick')}, virtual ms: {', '.join(times)}"))
    if line.closest:
        console.print(Text("  closest calls, virtual ms left before the liveness bound:"))
    for row in line.closest:
        worst = max(row.recoveries_ns)
        share = f" of {milliseconds(row.bound_ns)}" if row.bound_ns else ""
        note = f"  run {row.run}: {milliseconds(row.margin_ns)} left{share}, recovery {milliseconds(worst)}"
        console.print(Text(note))
        _command(console, row.replay)
    console.print()


def _faults(console: Console, counts: Counts) -> None:
    if not counts.faults_planned and not counts.faults_fired:
        console.print(Text("  no faults planned"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("fault", overflow="fold")
    table.add_column("planned", justify="right", no_wrap=True)
    table.add_column("took effect", justify="right", no_wrap=True)
    for kind in sorted({*counts.faults_planned, *counts.faults_fired}):
        fired = counts.faults_fired.get(kind, 0)
        style = "" if fired else "yellow"
        planned = Text(number(counts.faults_planned.get(kind, 0)))
        table.add_row(Text(plain(kind, 60)), planned, Text(number(fired), style=style))
    console.print(Padding(table, (0, 0, 0, 2)))


def _sometimes(console: Console, rows: Sequence[RunRow], meta: Meta) -> None:
    missing = summary.never_reached(rows, meta)
    total = len(meta.sometimes)
    console.print(Text(f"sometimes: {total - len(missing)} of {total} states were reached"))
    for line in missing[:NEVER_MAX]:
        console.print(Text(f"  never reached: {plain(line.name, 60)} ({plain(line.sentence, 200)})", style="yellow"))
    if len(missing) > NEVER_MAX:
        console.print(Text(f"  and {plural(len(missing) - NEVER_MAX, 'more state')}, in the report"))


def _group(console: Console, group: Group) -> None:
    first = group.rows[0]
    names = plain(", ".join(group.oracles)) or "no oracle named"
    head = f" {names} in {plain(group.component)}: {plural(len(group.rows), 'run')}"
    console.print(Text.assemble(("failed", "bold red"), head))
    if first.detail:
        console.print(Text("  " + plain(first.detail, 300)))
    if first.case:
        _command(console, first.case)
    _command(console, first.replay)
    console.print()
