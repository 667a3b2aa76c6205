"""What a gate is judged on: the files of a command's result folder, as metrics, with waived failures taken out.

A failing run's fingerprint needs its minimal fault set. A campaign reduces the first failure of each kind to a case;
the others count as the same where oracle and component are the same and their plan has all of the case's kinds. One
that fits no case keeps all its kinds, so that no waiver ever covers it by accident.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from faults.plan import plan_from_json
from harness import cases, fingerprint, proving
from harness.fingerprint import Fingerprint
from reports import comparison, metrics
from reports.frames import RunRow
from runtime.errors import Refused

CAMPAIGN, PROVEN, VERIFIED = "run.json", proving.FILE, "verify.json"


def measured(run: Path, waived: Iterable[str]) -> tuple[dict[str, float], dict[str, int]]:
    """(metrics, failures let through by each waiver) of a result folder, or of a file that `verify --json` printed.

    A folder with results of several commands has the metrics of all, and their runs together. Raises Refused.
    """
    out = set(waived)
    parts: list[tuple[dict[str, float], Counter[str]]] = []
    if run.is_file():
        parts.append((_verification(run), Counter()))
    if (run / CAMPAIGN).is_file():
        parts.append(_campaign(run, out))
    if (run / comparison.FILE).is_file():
        found = comparison.load(run)
        parts.append((metrics.of_comparison(found, out), Counter(one.fingerprint for one in found.failures)))
    if (run / PROVEN).is_file():
        parts.append((_proven(run / PROVEN), Counter()))
    if (run / VERIFIED).is_file():
        parts.append((_verification(run / VERIFIED), Counter()))
    if not parts:
        names = f"{CAMPAIGN}, {comparison.FILE}, {PROVEN} or {VERIFIED}"
        raise Refused(f"no result here ({names})", str(run), "give a folder that stress, compare or prove wrote")
    together: dict[str, float] = {}
    for part, _ in parts:
        together |= {**part, "runs.total": together.get("runs.total", 0) + part["runs.total"]}
    counted = sum((counts for _, counts in parts), Counter[str]())
    return together, {one: counted[one] for one in sorted(out)}


def _verification(path: Path) -> dict[str, float]:
    told = metrics.read_json(path)
    try:
        return metrics.of_verification(told)
    except (KeyError, TypeError, AttributeError):
        raise Refused("not what `verify --json` prints", str(path), "give its output, or a result folder") from None


def _proven(path: Path) -> dict[str, float]:
    told = metrics.read_json(path)
    try:
        return metrics.of_proving(told["summary"])
    except (KeyError, TypeError, AttributeError):
        raise Refused("not what `prove` writes", str(path), "run prove again") from None


def _campaign(folder: Path, waived: set[str]) -> tuple[dict[str, float], Counter[str]]:
    rows, meta = metrics.load_runs(folder)
    failing = fingerprints(rows, folder)
    return metrics.of_runs(rows, meta, failing, waived), Counter(failing.values())


def fingerprints(rows: Sequence[RunRow], folder: Path) -> dict[tuple[str, int], str]:
    """(scenario, run) -> fingerprint of each failing run of a campaign in `folder`."""
    failing = [row for row in rows if row.verdict == "FAIL"]
    by_case = {case: found for case in sorted({row.case for row in failing}) if (found := _of_case(case, folder))}
    return {(row.scenario, row.run): str(_of_row(row, by_case)) for row in failing}


def _of_case(case: str, folder: Path) -> Fingerprint | None:
    """A case's, from its reduced plan; it lies beside the report, wherever that was moved."""
    place = folder / "cases" / Path(case).name
    if not case or not (place / "case.json").is_file():
        return None
    read = cases.read(place)
    return fingerprint.of(fingerprint.primary(read.failed_oracles), plan_from_json(read.plan, str(place)).faults)


def _of_row(row: RunRow, by_case: dict[str, Fingerprint]) -> Fingerprint:
    oracle = fingerprint.primary(row.failed_oracles)
    planned = Counter(row.faults_planned)
    fits = [
        found
        for found in by_case.values()
        if (found.oracle, found.component) == (oracle, row.component) and not Counter(found.faults) - planned
    ]
    kinds: Any = tuple(sorted(planned.elements()))
    return max(fits, key=lambda found: (len(found.faults), found), default=Fingerprint(oracle, row.component, kinds))
