"""A gate: limits on metrics, read from TOML, judged, and shown with limit and actual.

Guarantees: everything that is wrong with a gate is said at once, and nothing of it is judged; a name that no metric has
is an error, never a limit that passes; a waiver without a reason, or past its date, does not count. A bound that fails
for want of trials is TOO LITTLE DATA: what was observed meets the limit, and more runs could show it.
"""

from __future__ import annotations

import difflib
import html
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reports.expressions import Expression, Malformed, parse
from reports.metrics import METRICS, OBSERVED
from reports.statistics import CONFIDENCE, upper_bound
from reports.words import plain
from runtime.errors import Refused

GATES_MAX = 200
WAIVERS_MAX = 1000
BYTES_MAX = 1 << 20
NEAR = 3
TRIALS_MAX = 10_000_000
Word = Literal["PASSED", "BREACHED", "TOO LITTLE DATA"]
PASSED: Word = "PASSED"
BREACHED: Word = "BREACHED"
TOO_LITTLE: Word = "TOO LITTLE DATA"
Fingerprint = Annotated[str, Field(pattern=r"^[\w]{1,32}/[\w.]{1,32}/(?:-|[a-z_.]{1,64}(?:\+[a-z_.]{1,64})*)$")]


class _Waiver(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    fingerprint: Fingerprint
    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]
    expires: date


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    min_runs: Annotated[int, Field(ge=0)] = 0
    gates: Annotated[list[str], Field(min_length=1)] | Annotated[dict[str, str], Field(min_length=1)]
    waivers: Annotated[list[_Waiver], Field(max_length=WAIVERS_MAX)] = []


class Waiver(Struct, frozen=True, kw_only=True):
    """A failure that is known and let through until the end of `expires`."""

    fingerprint: str
    reason: str
    expires: date

    def counts(self, today: date) -> bool:
        return today <= self.expires


class Gate(Struct, frozen=True, kw_only=True):
    """A gate's file as it was read."""

    min_runs: int
    gates: tuple[tuple[str, Expression], ...]
    waivers: tuple[Waiver, ...]


class Judged(Struct, frozen=True, kw_only=True):
    """One limit: `actual` and `limit` are left and right of the comparison, None without data."""

    name: str
    expression: str
    limit: float | None
    actual: float | None
    verdict: Word
    why: str = ""


class Waived(Struct, frozen=True, kw_only=True):
    """What became of a waiver: `runs` are the failures that it let through."""

    fingerprint: str
    reason: str
    expires: str
    expired: bool
    runs: int


class Answer(Struct, frozen=True, kw_only=True):
    """A gate judged."""

    verdict: Word
    runs: int
    min_runs: int
    gates: tuple[Judged, ...]
    waivers: tuple[Waived, ...]


def read(path: Path) -> Gate:
    """The gate in a TOML file; raises Refused with everything that is wrong."""
    where = str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}", where, "give a gate's TOML file") from None
    if len(raw) > BYTES_MAX:
        raise Refused(f"{len(raw)} bytes", where, f"a gate has at most {BYTES_MAX}")
    try:
        found = _File.model_validate(tomllib.loads(raw.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"not TOML: {error}", where, "mend it; see docs/gate.md") from None
    except ValidationError as error:
        wrong = [_one(problem["loc"], problem["msg"]) for problem in error.errors()]
        raise Refused("; ".join([*wrong, *_wrong_gates(raw)]), where, "mend it; see docs/gate.md") from None
    named = _named(found.gates)
    wrong = _wrong(named)
    doubled = [w.fingerprint for w in found.waivers]
    wrong += [f"waived twice: {one}" for one in sorted({one for one in doubled if doubled.count(one) > 1})]
    if wrong:
        raise Refused("; ".join(wrong), where, "mend it; see docs/gate.md")
    waivers = (Waiver(fingerprint=w.fingerprint, reason=w.reason, expires=w.expires) for w in found.waivers)
    gates = tuple((name, parse(text)) for name, text in named)
    return Gate(min_runs=found.min_runs, gates=gates, waivers=tuple(waivers))


def _one(place: Sequence[int | str], message: str) -> str:
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    return f"{name}: {message}"


def _named(gates: object) -> list[tuple[str, str]]:
    """(name, expression); an expression of a list is its own name."""
    if isinstance(gates, dict):
        return [(str(name), text) for name, text in gates.items() if isinstance(text, str)]
    return [(text, text) for text in gates if isinstance(text, str)] if isinstance(gates, list) else []


def _wrong_gates(raw: bytes) -> list[str]:
    """What is wrong with the expressions of a file that is wrong elsewhere."""
    return _wrong(_named(tomllib.loads(raw.decode()).get("gates")))


def _wrong(named: Sequence[tuple[str, str]]) -> list[str]:
    found = [f"{len(named)} gates, at most {GATES_MAX}"] if len(named) > GATES_MAX else []
    for name, text in named:
        place = "" if name == text else f"{name}: "
        try:
            expression = parse(text)
        except Malformed as malformed:
            found.append(f"{place}{text!r}: {malformed}")
            continue
        if not expression.names():
            found.append(f"{place}{text!r}: names no metric")
        found += [f"{place}{_unknown(metric)}" for metric in expression.names() if metric not in METRICS]
    return found


def _unknown(metric: str) -> str:
    near = difflib.get_close_matches(metric, METRICS, NEAR, 0.5)
    group = [name for name in METRICS if name.split(".")[0] == metric.split(".", maxsplit=1)[0]]
    names = near or group or sorted({name.split(".")[0] + ".…" for name in METRICS})
    return f"unknown metric {metric!r}, near it are {', '.join(names)}"


def judge(gate: Gate, metrics: Mapping[str, float], waived: Mapping[str, int], today: date) -> Answer:
    """`metrics` are those of the run, `waived` how many failures each waiver that counts let through."""
    judged = tuple(_judged(name, expression, metrics) for name, expression in gate.gates)
    runs = int(metrics.get("runs.total", 0))
    words = {one.verdict for one in judged}
    verdict: Word = PASSED
    if BREACHED in words:
        verdict = BREACHED
    elif TOO_LITTLE in words or runs < gate.min_runs:
        verdict = TOO_LITTLE
    waivers = tuple(
        Waived(
            fingerprint=one.fingerprint,
            reason=one.reason,
            expires=one.expires.isoformat(),
            expired=not one.counts(today),
            runs=waived.get(one.fingerprint, 0),
        )
        for one in gate.waivers
    )
    return Answer(verdict=verdict, runs=runs, min_runs=gate.min_runs, gates=judged, waivers=waivers)


def _judged(name: str, expression: Expression, metrics: Mapping[str, float]) -> Judged:
    missing = [metric for metric in expression.names() if metric not in metrics]
    if missing:
        why = f"{', '.join(missing)} was not measured in this run"
        return Judged(name=name, expression=expression.text, limit=None, actual=None, verdict=TOO_LITTLE, why=why)
    try:
        actual, limit = expression.left.value(metrics), expression.right.value(metrics)
    except (ZeroDivisionError, OverflowError):
        return Judged(
            name=name, expression=expression.text, limit=None, actual=None, verdict=TOO_LITTLE, why="divides by zero"
        )
    verdict: Word = PASSED if expression.holds(metrics) else BREACHED
    why = ""
    bounds = [metric for metric in expression.names() if metric in OBSERVED]
    if verdict == BREACHED and bounds:
        observed = {**metrics, **{metric: metrics[OBSERVED[metric]] for metric in bounds}}
        if expression.holds(observed):
            verdict, why = TOO_LITTLE, _needed(expression, metrics, bounds)
    return Judged(name=name, expression=expression.text, limit=limit, actual=actual, verdict=verdict, why=why)


def _needed(expression: Expression, metrics: Mapping[str, float], bounds: Sequence[str]) -> str:
    """How many trials without a failure the bound needs, where none failed."""
    if any(metrics[OBSERVED[metric]] for metric in bounds):
        return "what was observed meets the limit, the bound on it does not: more runs could show it"
    low, high = 1, TRIALS_MAX
    while low < high:
        middle = (low + high) // 2
        bound = upper_bound(0, middle, CONFIDENCE)
        if expression.holds({**metrics, **dict.fromkeys(bounds, bound)}):
            high = middle
        else:
            low = middle + 1
    return f"nothing failed, but the bound needs {low:,} independent trials"


def figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def markdown(answer: Answer) -> str:
    """The answer for a pull request or a job's summary; foreign text forms no markup."""
    lines = [f"# {answer.verdict}\n", "| Gate | Limit | Actual | Verdict |", "| --- | ---: | ---: | --- |"]
    for one in answer.gates:
        why = f": {_text(one.why)}" if one.why else ""
        lines.append(f"| {_text(one.name)} | {figure(one.limit)} | {figure(one.actual)} | {one.verdict}{why} |")
    lines.append(f"\n{answer.runs:,} runs, at least {answer.min_runs:,} wanted.")
    for waiver in answer.waivers:
        state = f"expired on {waiver.expires}, does not count" if waiver.expired else f"until {waiver.expires}"
        lines.append(f"- Waived: {_text(waiver.fingerprint)}, {state}, {waiver.runs} runs: {_text(waiver.reason)}")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return html.escape(re.sub(r"([\\`*_\[\]#|~$@:])", r"\\\1", plain(text)), quote=False)
