"""`report.html`: one self-contained page that opens from a file, offline, in ten years.

Its Content-Security-Policy allows no script, no font, no request. Every string is escaped by the template engine and
made plain before that, so nothing that an agent controls can act in it; lists are capped, and say what they leave out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import charts, summary
from reports.frames import Meta, RunRow
from reports.statistics import CONFIDENCE, spread, upper_bound, wilson
from reports.summary import Counts, Trials
from reports.words import COMMAND_MAX, at_most, milliseconds, number, percent, plain, plural

if TYPE_CHECKING:
    from jinja2 import Environment

GROUPS_MAX = 40
PAIRS_MAX = 60
EXAMPLES_MAX = 3
SCENARIOS_MAX = 50
_CLASSES = {"PASSED": "good", "FAILED": "bad", "INCONCLUSIVE": "doubt", "NOTHING RAN": "doubt"}


def environment() -> Environment:
    """The engine with which every page is made: what is not markup of ours is made plain and escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    def finalize(value: object) -> object:
        return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "command": lambda text: Markup(escape(plain(text, COMMAND_MAX))),
        "ms": milliseconds,
        "number": number,
        "plural": plural,
    }
    return made


def render(rows: Sequence[RunRow], meta: Meta) -> str:
    """The page; the same text for the same rows and metadata."""
    from markupsafe import Markup

    drawings = charts.recovery_times({line.scenario: summary.recoveries(line.rows) for line in summary.scenarios(rows)})
    drawn = {size: Markup(svg) for size, svg in drawings.items()}
    return environment().get_template("report.html").render(_view(rows, meta) | {"drawings": drawn})


def _view(rows: Sequence[RunRow], meta: Meta) -> dict[str, Any]:
    counts = summary.count(rows)
    word = summary.verdict(counts)
    groups, scenarios, faults = summary.groups(rows), summary.scenarios(rows), summary.faults(rows, meta)
    oracles, gaps = summary.oracles(rows, meta), summary.not_tested(rows, meta)
    return {
        "meta": meta,
        "counts": counts,
        "word": word,
        "tone": _CLASSES[word],
        "because": _because(counts, len(groups)),
        "build": _build(meta),
        "groups": groups[:GROUPS_MAX],
        "groups_left": len(groups[GROUPS_MAX:]),
        "examples_max": EXAMPLES_MAX,
        "scenarios": scenarios[:SCENARIOS_MAX],
        "scenarios_left": len(scenarios[SCENARIOS_MAX:]),
        "faults": faults,
        "faults_effective": sum(1 for line in faults if line.fired),
        "fired": sum(line.fired for line in faults),
        "scale": max([1, *(line.planned for line in faults), *(line.fired for line in faults)]),
        "oracles": oracles,
        "sometimes": summary.sometimes(rows, meta),
        "never": summary.never_reached(rows, meta) if rows else (),
        "pairs": summary.pairs(rows, meta),
        "pairs_max": PAIRS_MAX,
        "recovery": spread(summary.recoveries(rows)),
        "closest": summary.closest_calls(rows),
        "rate": _rate(summary.trials(rows), meta),
        "gaps": gaps,
        "gaps_by_reason": summary.by_reason(gaps),
        "oracles_judged": sum(1 for line in oracles if line.judged),
        "recoveries_at_once": sum(ns < charts.FLOOR_NS for ns in summary.recoveries(rows)),
    }


def _because(counts: Counts, groups: int) -> str:
    """The verdict's reason in one sentence."""
    if counts.failed:
        return f"{plural(counts.failed, 'run')} of {number(counts.runs)} failed, in {plural(groups, 'group')}."
    if not counts.runs:
        return "No run was made, so there is nothing to judge."
    if counts.unknown:
        return f"No oracle failed, but {plural(counts.unknown, 'run')} of {number(counts.runs)} could not be judged."
    if counts.idle == counts.runs:
        return "No fault took effect in any run, so nothing was tested."
    left = f" Not counted: {plural(counts.idle, 'run')} in which no fault took effect." if counts.idle else ""
    return f"No oracle failed in {plural(counts.passed, 'judged run')}.{left}"


def _build(meta: Meta) -> str:
    changes = {True: "with uncommitted changes", False: "clean", None: "not known whether clean"}[meta.dirty]
    commit = f"commit {meta.commit[:12]}, {changes}" if meta.commit else ""
    return "; ".join(part for part in (meta.build, commit) if part) or "not recorded"


def _rate(trials: Trials, meta: Meta) -> dict[str, str] | None:
    """The intervals on the failure rate; None when workloads were chosen rather than drawn, or nothing was judged."""
    if not meta.random or not trials.n:
        return None
    low, high = wilson(trials.failed, trials.n)
    return {
        "counted": summary.sentence(trials),
        "observed": percent(trials.failed / trials.n),
        "bound": at_most(upper_bound(trials.failed, trials.n)),
        "low": percent(low),
        "high": percent(high),
        "confidence": percent(CONFIDENCE),
    }
