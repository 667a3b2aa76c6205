"""What `verify` reports of one scenario, or of several: axes, digests, and the first divergence with its class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from faults.plan import Plan
from harness.verification import classes
from harness.verification.axes import Axis, Unequal, Verified, bench, verify
from harness.verification.sample import Sample
from harness.verification.variation import Variation, carry_out
from scenarios import get


class Side(Struct, frozen=True, kw_only=True):
    """One side: which run, its record as JSON text ("" where it has none), and the value that differs."""

    run: str
    record: str
    value: Any


class Diverged(Struct, frozen=True, kw_only=True):
    """The first record that differs, side by side, and what it comes from."""

    scenario: str
    axis: str
    variant: str
    part: str
    block: int
    record: int
    section: str
    index: int
    field: str
    here: Side
    there: Side
    class_: str = msgspec.field(name="class")
    why: tuple[str, ...]
    probes: int


class Report(Struct, frozen=True, kw_only=True):
    """One scenario: `equal` when every axis is. A build that cannot carry out the plain run says why in `failure`."""

    scenario: str
    seed: int
    equal: bool
    axes: dict[str, Axis]
    divergence: Diverged | None
    failure: str = ""


def report_of(plan: Plan, against: tuple[str, Sample] | None, news: Callable[[str], None]) -> tuple[Report, Sample]:
    """Verify one plan's scenario; the report, and the plain run."""
    broken = failure_of(plan)
    if broken:
        report = Report(scenario=plan.scenario, seed=plan.seed, equal=False, axes={}, divergence=None, failure=broken)
        return report, Sample(b"", None, broken)
    with bench(plan) as on:
        verified = verify(on, news, against)
        found = classes.worst(verified)
        divergence = None
        if found is not None:
            news("what the divergence comes from")
            divergence = _diverged(plan.scenario, found, classes.classify(on, verified, found))
    return Report(
        scenario=plan.scenario, seed=plan.seed, equal=verified.equal, axes=verified.axes, divergence=divergence
    ), plain_of(verified)


def failure_of(plan: Plan) -> str:
    """Why a plan cannot be carried out, "" when it can: a build that always stops is broken, not undetermined."""
    history = carry_out(get(plan.scenario), plan, Variation())
    return f"{history.failure}: {history.failure_detail}" if history.failure else ""


def plain_of(verified: Verified) -> Sample:
    return verified.samples[0][1]


def _diverged(scenario: str, found: Unequal, classified: classes.Classified) -> Diverged:
    at = found.divergence
    return Diverged(
        scenario=scenario,
        axis=found.variant.axis,
        variant=found.variant.label,
        part=at.part,
        block=at.block,
        record=at.record,
        section=at.section,
        index=at.index,
        field=at.field,
        here=Side(run="plain", record=at.here, value=at.value_here),
        there=Side(run=f"{found.variant.axis}: {found.variant.label}", record=at.there, value=at.value_there),
        class_=classified.class_,
        why=classified.why,
        probes=at.probes,
    )


def told(reports: list[Report]) -> dict[str, Any]:
    """The JSON of one report; of several, with all of them below `scenarios` and the axes put together."""
    if len(reports) == 1:
        made: dict[str, Any] = msgspec.to_builtins(reports[0])
        return made
    names = list(dict.fromkeys(name for report in reports for name in report.axes))
    axes = {name: _together({r.scenario: r.axes[name] for r in reports if name in r.axes}) for name in names}
    first = next((report.divergence for report in reports if report.divergence is not None), None)
    return {
        "equal": all(report.equal for report in reports),
        "axes": axes,
        "divergence": msgspec.to_builtins(first),
        "failure": next((report.failure for report in reports if report.failure), ""),
        "scenarios": {report.scenario: msgspec.to_builtins(report) for report in reports},
    }


def _together(axes: Mapping[str, Axis]) -> dict[str, Any]:
    first = next(iter(axes.values()))
    return {
        "equal": all(axis.equal for axis in axes.values()),
        "evidence": first.evidence,
        "digests": {scenario: axis.digests for scenario, axis in axes.items()},
        "traces": {scenario: axis.traces for scenario, axis in axes.items() if axis.traces},
    }
