"""`summary.md`: the page in short, for a pull request or a job's summary. Foreign text cannot form markup in it."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from reports import summary
from reports.frames import Meta, RunRow
from reports.statistics import upper_bound
from reports.words import COMMAND_MAX, at_most, milliseconds, number, plain, plural

GROUPS_MAX = 20


def _text(text: str) -> str:
    return html.escape(re.sub(r"([\\`*_\[\]#|~$@:])", r"\\\1", plain(text)), quote=False)


def _code(command: str) -> str:
    """A fenced block whose fence is longer than any run of backticks within."""
    body = plain(command, COMMAND_MAX)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    return f"{fence}\n{body}\n{fence}\n"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|" + "|".join([" --- ", *[" ---: "] * (len(head) - 1)]) + "|"
    return "\n".join(["| " + " | ".join(head) + " |", rule, *["| " + " | ".join(line) + " |" for line in lines]]) + "\n"


def _scenarios(rows: Sequence[RunRow]) -> str:
    head = ["Scenario", "Runs", "Passed", "Failed", "Unknown", "Idle", "Steps redone", "p50 ms", "p99 ms", "worst ms"]
    lines = []
    for line in summary.scenarios(rows):
        counts = line.counts
        figures = [counts.runs, counts.passed, counts.failed, counts.unknown, counts.idle, counts.steps_redone]
        times = [line.recovery.p50, line.recovery.p99, line.recovery.worst]
        lines.append([_text(line.scenario), *map(number, figures), *map(milliseconds, times)])
    return _table(head, lines)


def render(rows: Sequence[RunRow], meta: Meta) -> str:
    counts = summary.count(rows)
    word = summary.verdict(counts)
    parts = [
        f"# {word}: {_text(meta.title)}\n",
        f"{plural(counts.runs, 'run')} under profile {_text(meta.profile)} ({meta.evidence}): "
        f"{number(counts.passed)} passed, {number(counts.failed)} failed, {number(counts.unknown)} unknown, "
        f"{number(counts.idle)} idle. Recovery times are virtual ms.\n",
    ]
    trials = summary.trials(rows)
    if meta.random and trials.n:
        bound = at_most(upper_bound(trials.failed, trials.n))
        parts.append(
            f"Failure rate of workloads at most {bound} (95%, exact, one-sided, under this profile): "
            f"{summary.sentence(trials)}\n"
        )
    if counts.wrong_results:
        missed = at_most(upper_bound(counts.wrong_results - counts.wrong_found, counts.wrong_results))
        parts.append(
            f"Of {plural(counts.wrong_results, 'result')} computed wrong, every answer checked, "
            f"{number(counts.wrong_found)} found; missed at most {missed} (95%, exact, one-sided).\n"
        )
    if rows:
        parts += ["## Scenarios\n", _scenarios(rows)]
    groups = summary.groups(rows)
    if groups:
        parts.append("## Failures\n")
        for group in groups[:GROUPS_MAX]:
            names = ", ".join(group.oracles) or "no oracle named"
            parts.append(f"**{_text(names)}** in {_text(group.component)}: {plural(len(group.rows), 'run')}\n")
            parts.append(_code(group.rows[0].replay))
        if len(groups) > GROUPS_MAX:
            parts.append(f"{plural(len(groups) - GROUPS_MAX, 'more group')} in results.csv.\n")
    if meta.sometimes:
        missing = summary.never_reached(rows, meta)
        total = len(meta.sometimes)
        parts += ["## Sometimes\n", f"{total - len(missing)} of {total} states were reached.\n"]
        if missing:
            parts.append(
                "\n".join(f"- never reached: {_text(line.name)} ({_text(line.sentence)})" for line in missing) + "\n"
            )
    kinds = summary.faults(rows, meta)
    if kinds:
        lines = [[_text(line.kind), number(line.planned), number(line.fired), number(line.runs)] for line in kinds]
        parts += ["## Faults\n", _table(["Kind", "Planned", "Took effect", "In runs"], lines)]
    together = summary.pairs(rows, meta)
    if together.possible:
        parts.append(f"Pairs of kinds that took effect in one run: {together.covered} of {together.possible}.\n")
    gaps = summary.not_tested(rows, meta)
    if gaps:
        reasons = [f"- {_text(why)}: {', '.join(map(_text, what))}" for why, what in summary.by_reason(gaps)]
        parts += ["## Not tested\n", "\n".join(reasons) + "\n"]
    return "\n".join(parts)
