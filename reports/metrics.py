"""Metrics: what a gate may name, each with its meaning, taken from the files that a command wrote.

`METRICS` is all there are, whichever command measures them; a result folder has some. A metric without data (no
recovery, so no p99) is not there, rather than zero. Bounds are exact and one-sided, over independent trials.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from reports import store, summary
from reports.comparison import Comparison
from reports.frames import Meta, RunRow
from reports.statistics import percentile, upper_bound
from runtime.errors import Refused

FILE_BYTES_MAX = 1 << 28
SAMENESS = ("I1", "I2", "I3", "I4", "I5", "I6")  # oracles that compare a run with repetitions of it

METRICS: dict[str, str] = {
    "runs.total": "runs (stress), plans (compare), runs on mutants and clean ones (prove), digests compared (verify)",
    "runs.judged": "runs with a verdict: not unknown, and a fault took effect",
    "runs.failed": "runs that failed and are not waived",
    "runs.unknown": "runs that an oracle could not judge",
    "runs.idle": "runs in which no fault took effect",
    "workloads.total": "independent trials: runs that share a workload are one",
    "workloads.failed": "trials with a failed run that is not waived",
    "failure_rate.observed": "share of trials that failed; compare: on HEAD",
    "failure_rate.upper95": "exact one-sided 95% bound on it (Clopper-Pearson)",
    "failure_rate.base": "share of plans that failed on BASE",
    "recovery_ms.p50": "virtual ms from a fault to the commit of the tick that it interrupted, median",
    "recovery_ms.p99": "the same, 99th percentile (nearest rank)",
    "recovery_ms.max": "the same, the longest",
    "recovery_ms.base_p99": "the 99th percentile on BASE",
    "recovery_ms.count": "how many ticks were interrupted",
    "margin_ms.min": "what the longest open tick left of the liveness bound, the least of all runs",
    "faults.fired": "faults that took effect",
    "faults.kinds": "kinds of faults of which one took effect at least",
    "faults.kinds_missed": "kinds of the profile of which none took effect",
    "oracles.judged": "oracles that judged a run at least",
    "oracles.silent": "oracles that could have judged and never did",
    "steps.redone": "steps that ran again after a loss",
    "wrong_results.total": "results computed wrong, silently, that reached the runtime",
    "wrong_results.missed": "of those, the ones that it did not find",
    "findings.total": "fingerprints that failed and are not waived",
    "findings.waived": "fingerprints that failed and are waived",
    "findings.new": "compare: on HEAD alone, more often than chance allows",
    "findings.rare": "compare: on one build, in too few plans to tell",
    "findings.ongoing": "compare: on both builds",
    "findings.resolved": "compare: on BASE alone",
    "failures.new": "compare: plans that fail on HEAD alone",
    "failures.fixed": "compare: plans that fail on BASE alone",
    "regressions.count": "compare: metrics and findings that are worse on HEAD",
    "journals.different": "compare: plans whose journals differ",
    "determinism.checked": "runs judged by an oracle that repeats them (stress); axes (verify)",
    "determinism.mismatches": "runs that such an oracle failed (stress); axes that are unequal (verify)",
    "mutants.total": "planted bugs, equivalent ones not counted",
    "mutants.killed": "those found by the oracle named for them, with a case that replays",
    "mutants.killed_share": "the share of them",
    "mutants.found": "those that failed a run by any oracle",
    "mutants.found_share": "the share of them",
    "mutants.median_runs": "runs until a mutant was found, the median",
    "mutants.median_seconds": "seconds until a mutant was found, the median",
    "mutants.rare_found": "rare mutants that were found, counted apart",
    "mutants.rare_total": "rare mutants",
    "mutants.few_events_share": "the share of the shrunk cases that have at most three events",
    "mutants.named_first_share": "the share of the cases for which `why` names a changed module first (--diagnose)",
    "false_alarms.count": "clean runs in which an oracle failed, or could not judge",
    "false_alarms.observed": "their share",
    "false_alarms.upper95": "exact one-sided 95% bound on their share",
}

# A bound that is not met although what was observed meets the limit lacks trials, not quality.
OBSERVED = {"failure_rate.upper95": "failure_rate.observed", "false_alarms.upper95": "false_alarms.observed"}


def of_runs(
    rows: Iterable[RunRow], meta: Meta, failing: Mapping[tuple[str, int], str], waived: set[str]
) -> dict[str, float]:
    """A campaign's. `failing` says the fingerprint of each failing run; a waived one counts as not run at all."""
    everything = list(rows)
    kept = [row for row in everything if failing.get((row.scenario, row.run), "") not in waived]
    counts, trials = summary.count(kept), summary.trials(kept)
    prints = set(failing.values())
    found: dict[str, float] = {
        "runs.total": len(everything),
        "runs.judged": trials.runs,
        "runs.failed": counts.failed,
        "runs.unknown": counts.unknown,
        "runs.idle": counts.idle,
        "faults.fired": sum(counts.faults_fired.values()),
        "faults.kinds": sum(1 for n in counts.faults_fired.values() if n),
        "faults.kinds_missed": sum(1 for line in summary.faults(kept, meta) if not line.fired),
        "oracles.judged": len(counts.oracles_judged),
        "oracles.silent": sum(1 for line in summary.oracles(kept, meta) if not line.judged),
        "steps.redone": counts.steps_redone,
        "wrong_results.total": counts.wrong_results,
        "wrong_results.missed": counts.wrong_results - counts.wrong_found,
        "findings.total": len(prints - waived),
        "findings.waived": len(prints & waived),
    }
    if meta.random:
        found |= {"workloads.total": trials.n, "workloads.failed": trials.failed}
        found |= _rate("failure_rate", trials.failed, trials.n)
    found |= _times(summary.recoveries(kept))
    margins = [row.margin_ns for row in kept if row.recoveries_ns]
    if margins:
        found["margin_ms.min"] = min(margins) / 1e6
    repeated = [row for row in kept if any(oracle in SAMENESS for oracle in row.judged)]
    found["determinism.checked"] = len(repeated)
    if repeated:
        failed = [row for row in repeated if any(oracle in SAMENESS for oracle in row.failed_oracles)]
        found["determinism.mismatches"] = len(failed)
    return found


def _rate(name: str, failed: int, trials: int) -> dict[str, float]:
    if not trials:
        return {}
    return {f"{name}.observed": failed / trials, f"{name}.upper95": upper_bound(failed, trials)}


def _times(sample: list[int]) -> dict[str, float]:
    found: dict[str, float] = {"recovery_ms.count": len(sample)}
    if sample:
        ordered = sorted(sample)
        found |= {"recovery_ms.p50": percentile(ordered, 50) / 1e6, "recovery_ms.p99": percentile(ordered, 99) / 1e6}
        found["recovery_ms.max"] = ordered[-1] / 1e6
    return found


def of_comparison(found: Comparison, waived: set[str]) -> dict[str, float]:
    """A comparison's; of a waived finding neither the plans that fail by it alone nor the finding itself count."""
    out = {(one.scenario, one.n, one.side) for one in found.failures if one.fingerprint in waived}
    failed = {side: {(f.scenario, f.n) for f in found.failures if f.side == side} for side in ("base", "head")}
    kept = {side: {plan for plan in failed[side] if (*plan, side) not in out} for side in failed}
    findings = [finding for finding in found.findings if finding.fingerprint not in waived]
    worse = sum(finding.tested.worse for finding in findings) + sum(m.tested.worse for m in found.metrics[1:])
    rate_worse = found.metrics[0].tested.worse and bool(kept["head"])
    head, base = found.counts["head"], found.counts["base"]
    told: dict[str, float] = {
        "runs.total": found.runs,
        "runs.judged": found.judged,
        "runs.failed": len(kept["head"]),
        "runs.unknown": head.unknown,
        "runs.idle": head.idle,
        "workloads.total": found.judged,
        "workloads.failed": len(kept["head"]),
        "faults.fired": sum(fired for _, fired in found.faults_fired.values()),
        "faults.kinds": sum(1 for _, fired in found.faults_fired.values() if fired),
        "steps.redone": head.steps_redone,
        "findings.total": len(findings),
        "findings.waived": len(found.findings) - len(findings),
        "failures.new": len(kept["head"] - failed["base"]),
        "failures.fixed": len(failed["base"] - failed["head"]),
        "regressions.count": worse + rate_worse,
        "journals.different": found.journals_different,
        "recovery_ms.count": head.recoveries,
    }
    for status in ("new", "rare", "ongoing", "resolved"):
        told[f"findings.{status}"] = sum(finding.status.lower() == status for finding in findings)
    told |= _rate("failure_rate", min(len(kept["head"]), found.judged), found.judged)
    if found.judged:
        told["failure_rate.base"] = len(failed["base"]) / found.judged
    for name, ns in (
        ("p50", head.recovery_p50_ns),
        ("p99", head.recovery_p99_ns),
        ("max", head.recovery_worst_ns),
        ("base_p99", base.recovery_p99_ns),
    ):
        if ns is not None:
            told[f"recovery_ms.{name}"] = ns / 1e6
    return told


def of_proving(told: Mapping[str, Any]) -> dict[str, float]:
    """Those of `prove`'s summary."""
    clean, alarms, mutants = told["clean_runs"], told["false_alarms"], told["mutants"]
    found: dict[str, float] = {
        "runs.total": told.get("runs", 0) + clean,
        "mutants.total": mutants,
        "mutants.killed": told["killed"],
        "mutants.found": mutants - len(told["survivors"]) - len(told.get("stale", [])),
    }
    if mutants:
        found["mutants.killed_share"] = told["killed"] / mutants
        found["mutants.found_share"] = found["mutants.found"] / mutants
    for name in ("median_runs", "median_seconds"):
        if told[name] is not None:
            found[f"mutants.{name}"] = told[name]
    if rare := told.get("rare"):
        found |= {"mutants.rare_found": rare["killed"], "mutants.rare_total": rare["mutants"]}
    for name, part in (("few_events_share", "shrunk"), ("named_first_share", "why")):
        if (share := told.get(part, {}).get("share")) is not None:
            found[f"mutants.{name}"] = share
    if clean:
        found["false_alarms.count"] = alarms
    return found | _rate("false_alarms", alarms, clean)


def of_verification(told: Mapping[str, Any]) -> dict[str, float]:
    """Those of what `verify --json` prints."""
    axes = told["axes"].values()
    unequal = sum(not axis["equal"] for axis in axes)
    if not axes or told.get("failure"):
        return {"runs.total": 0, "determinism.checked": 0}
    return {
        "runs.total": sum(len(axis["digests"]) for axis in axes),
        "determinism.checked": len(axes),
        "determinism.mismatches": max(unequal, int(not told["equal"])),
    }


def read_json(path: Path) -> Any:
    """A JSON file's value; raises Refused for one that is not, is too large, or nests too deeply."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Refused("too large", str(path), f"at most {FILE_BYTES_MAX} bytes")
        return msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}", str(path), "give what a command wrote") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
        raise Refused(f"damaged: {error}", str(path), "run the command again") from None


def load_runs(folder: Path) -> tuple[list[RunRow], Meta]:
    """A campaign's rows, from its table."""
    results = store.load(folder)
    names = RunRow.__struct_fields__
    records = results.runs.to_dict("records")
    rows = [msgspec.convert({name: _plain(record[name]) for name in names}, RunRow, strict=False) for record in records]
    return rows, results.meta


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
