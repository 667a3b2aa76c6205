"""A comparison as Markdown for a pull request, and as JUnit XML. Foreign text forms no markup in either."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports.paired import NEW, Finding, Metric
from reports.words import COMMAND_MAX, milliseconds, number, plain, plural

if TYPE_CHECKING:
    from reports.comparison import Comparison

FINDINGS_MAX = 40
DIFFERENCES_MAX = 10


def figure(value: float | None) -> str:
    """Four significant digits; "–" without a value."""
    return "–" if value is None else f"{value:.4g}"


def interval(metric: Metric) -> str:
    return "–" if metric.low is None else f"{figure(metric.low)} to {figure(metric.high)}"


def _text(text: str) -> str:
    return html.escape(re.sub(r"([\\`*_\[\]#|~$@:])", r"\\\1", plain(text)), quote=False)


def _code(command: str) -> str:
    body = plain(command, COMMAND_MAX)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    return f"{fence}\n{body}\n{fence}\n"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|" + "|".join([" --- ", *[" ---: "] * (len(head) - 1)]) + "|"
    return "\n".join(["| " + " | ".join(head) + " |", rule, *["| " + " | ".join(line) + " |" for line in lines]]) + "\n"


def markdown(found: Comparison) -> str:
    parts = [
        f"# {found.verdict}\n",
        f"{_text(found.because)}\n",
        f"{_text(found.base.name)} ({found.base.identity[:12]}) against {_text(found.head.name)} "
        f"({found.head.identity[:12]}): {plural(found.runs, 'plan')} on both, {number(found.judged)} judged, "
        f"{found.evidence}, under profile {_text(found.profile)}.\n",
        _table(
            ["Metric", "BASE", "HEAD", "Difference", "95% interval", "Worse", "Better", "p (Holm)"],
            [
                [
                    f"{_text(m.name)}, {_text(m.unit)}",
                    *(figure(m.base), figure(m.head), figure(m.difference), interval(m)),
                    *(number(m.tested.new), number(m.tested.fixed), figure(m.tested.p_holm)),
                ]
                for m in found.metrics
            ],
        ),
    ]
    if found.findings:
        parts.append("## Findings\n")
        parts += [_finding(finding) for finding in found.findings[:FINDINGS_MAX]]
    if found.journals_different:
        parts.append(f"## Journals\n\n{plural(found.journals_different, 'plan')} of {number(found.runs)} differ.\n")
        head = ["Plan", "Block", "Tick", "Where", "BASE", "HEAD"]
        lines = [
            [
                f"{_text(one.scenario)} {one.n}",
                *(str(one.difference.block), str(one.difference.tick)),
                *(_text(one.difference.path), _text(one.difference.base), _text(one.difference.head)),
            ]
            for one in found.differences[:DIFFERENCES_MAX]
        ]
        parts.append(_table(head, lines))
    parts += ["## Recovery, virtual ms\n", _recoveries(found), "## Not tested\n"]
    parts.append("\n".join(f"- {_text(gap.what)}: {_text(gap.why)}" for gap in found.not_tested) or "- nothing known")
    parts += ["\n## Assumptions\n", "\n".join(f"- {_text(one)}" for one in found.assumptions) + "\n"]
    return "\n".join(parts)


def _recoveries(found: Comparison) -> str:
    lines = []
    for side, counts in found.counts.items():
        times = (counts.recovery_p50_ns, counts.recovery_p99_ns, counts.recovery_worst_ns)
        lines.append([side.upper(), number(counts.recoveries), *map(milliseconds, times)])
    return _table(["Build", "Recoveries", "p50", "p99", "Worst"], lines)


def _finding(finding: Finding) -> str:
    counted = f"{plural(finding.base, 'plan')} on BASE, {number(finding.head)} on HEAD"
    commands = "".join(f"{_code(one.replay)}" for one in finding.examples if one.replay)
    return f"**{finding.status}** {_text(finding.fingerprint)}: {counted}\n\n{commands}"


def junit(found: Comparison) -> bytes:
    """A case per metric and per finding: what is worse is a failure, what is undecided an error."""
    from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

    document: Any = JUnitXml("wasm-engine compare")
    suite = TestSuite(f"{plain(found.base.name)} against {plain(found.head.name)}")
    suite.add_property("profile", plain(found.profile))
    suite.add_property("evidence", found.evidence)
    cases = []
    for metric in found.metrics:
        case = TestCase(f"{metric.name} is not worse", classname="wasm_engine.compare")
        if metric.tested.worse:
            case.result = [Failure(f"{figure(metric.base)} -> {figure(metric.head)}", "REGRESSION")]
        cases.append(case)
    for finding in found.findings:
        case = TestCase(plain(finding.fingerprint), classname="wasm_engine.findings")
        told = f"{finding.status}: {finding.base} on BASE, {finding.head} on HEAD"
        replay = "\n".join(plain(one.replay, COMMAND_MAX) for one in finding.examples if one.replay)
        if finding.status == NEW or finding.tested.worse:
            failure = Failure(told, "REGRESSION")
            failure.text = replay
            case.result = [failure]
        elif finding.undecided:
            error = Error(told, "UNDECIDED")
            error.text = replay
            case.result = [error]
        cases.append(case)
    suite.add_testcases(cases)
    document.add_testsuite(suite)
    document.update_statistics()
    return bytes(document.tostring())
