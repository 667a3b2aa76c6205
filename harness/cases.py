"""Cases: a failing run as a folder of files that replays anywhere (HAR-3).

`case.json` holds the expanded plan (never a seed), the oracles that failed, the digests, and what it was recorded on:
the build's identity, the scenario's modules. It is data and read strictly; a damaged or foreign one is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import msgspec
from msgspec import Struct

from faults.mutants import MARK
from faults.plan import Plan, plan_from_json, plan_to_json
from harness import builds
from harness.check import DEEP, UNREPEATABLE, Checked, Checker, encoded
from harness.history import History
from harness.oracles import ORACLES
from harness.plans import accept
from runtime.errors import Refused
from runtime.journal import blob_bytes
from runtime.versions import ALL
from scenarios import get
from scenarios.base import Scenario
from scenarios.files import known
from scenarios.files.reading import MAIN

CASE_VERSION = 1
CASE_BYTES_MAX = 1 << 26


class Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file case.json; `plan` is the plan's JSON as text, covered by `plan_digest` (sha256)."""

    build: str
    evidence: dict[str, list[str]]
    failed_oracles: list[str]
    journal_digest: str
    modules: dict[str, str]
    plan: str
    plan_digest: str
    trace_digest: str
    twin_digest: str
    version: int
    versions: dict[str, int]


def modules_of(scenario: Scenario) -> dict[str, str]:
    """The scenario's agents by name -> module digest, and their libraries."""
    found: dict[str, str] = {}
    for index, spec in enumerate(scenario.agents):
        found[f"{index:05d} {spec.name}"] = spec.module
        found |= {f"{index:05d} {spec.name}, {library.name}": library.module for library in spec.libraries or ()}
    return found


def write(checked: Checked, scenario: Scenario, folder: Path) -> Path:
    """The case's own folder below `folder`, which appears complete; an equal case is written over, file by file."""
    text = plan_to_json(checked.plan)
    digest = hashlib.sha256(text.encode()).hexdigest()
    row = checked.row
    case = Case(
        build=builds.identity(),
        evidence={i: list(checked.findings[i].evidence) for i in row.failed_oracles + row.unknown_oracles},
        failed_oracles=list(row.failed_oracles),
        journal_digest=row.journal_digest,
        modules=modules_of(scenario),
        plan=text,
        plan_digest=digest,
        trace_digest=row.trace_digest,
        twin_digest=row.twin_digest,
        version=CASE_VERSION,
        versions=dict(ALL),
    )
    name = "-".join([row.scenario, *row.failed_oracles[:1], digest[:10]])
    place = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".case-", dir=folder))
    made.chmod(0o777 & ~_umask())
    target = place if place.exists() else made
    _put(target / "journal.jsonl", checked.history.journal)
    _put(target / "trace.jsonl", encoded(checked.history))
    _put(target / "blobs.bin", blobs_of(checked.history))
    _put(target / "REPRO.md", _repro(checked, scenario, place).encode())
    known.put(scenario, target)
    _put(target / "case.json", msgspec.json.format(msgspec.json.encode(case, order="sorted"), indent=1) + b"\n")
    if target is made:
        made.replace(place)
    else:
        made.rmdir()
    return place


def blobs_of(history: History) -> bytes:
    """The payloads that stand beside the journal, framed as the runtime frames them, in order of their sha256."""
    return b"".join(blob_bytes(digest, history.blobs[digest]) for digest in sorted(history.blobs))


def _umask() -> int:
    """What a folder of this process's would not allow; a temporary one allows nothing to others."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _put(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    temporary.replace(path)


def _repro(checked: Checked, scenario: Scenario, place: Path) -> str:
    row = checked.row
    name = str(place / known.FOLDER / MAIN) if scenario.files else row.scenario
    faults = "".join(f"- `{fault}`\n" for fault in checked.plan.faults) or "- none: it fails without any fault\n"
    evidence = "".join(
        f"- **{oracle}**: {line}\n" for oracle in row.failed_oracles for line in checked.findings[oracle].evidence
    )
    typed = " ".join(f'--fault "{fault}"' for fault in checked.plan.faults) or (
        "--no-faults" if scenario.faults else ""
    )
    build, planted = _recorded_on()
    return (
        f"# {row.scenario}: {', '.join(row.failed_oracles) or 'unknown'}\n\n"
        f"Replay it (exit 0 FIXED, 1 FAILED, 11 DIVERGED):\n\n    wasm-engine replay {place}{build}\n\n"
        f"It was recorded on the runtime whose sources hash to `{builds.identity()[:16]}`.{planted}\n\n"
        f"What the oracles found:\n\n{evidence}\n"
        f"The faults of the plan, {len(checked.plan.faults)} in all:\n\n{faults}\n"
        f"The same faults on the default workload (which may or may not fail):\n\n"
        f"    wasm-engine run {name} --seed {row.seed} {typed}{build}\n\n"
        f"Journal `{row.journal_digest}`, twin `{row.twin_digest}`, trace `{row.trace_digest}`.\n"
    )


def _recorded_on() -> tuple[str, str]:
    """The option that names the build, or the sentence that says which bug was planted: such a build does not last."""
    if not builds.current():
        return "", ""
    mark = Path(builds.current()) / MARK
    if not mark.is_file():
        return f" --build {builds.current()}", ""
    name = mark.read_text("utf-8")
    return "", f" It has the planted bug `{name}`; `wasm-engine prove --mutant {name}` plants it again."


def read(path: Path) -> Case:
    """The case in a folder (or its case.json); raises Refused with what is wrong."""
    file = path / "case.json" if path.is_dir() else path
    where = str(file)
    try:
        if file.stat().st_size > CASE_BYTES_MAX:
            raise Refused("too large for a case", where, f"at most {CASE_BYTES_MAX} bytes")
        data = file.read_bytes()
        found = msgspec.json.decode(data)
        if isinstance(found, dict) and found.get("version") != CASE_VERSION:
            what = f"case version {found.get('version')!r}, this build reads {CASE_VERSION}"
            raise Refused(what, where, "record it anew")
        case = msgspec.json.decode(data, type=Case)
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}", where, "give a case's folder") from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Refused(f"damaged case: {error}", where, "get the case anew") from None
    if unknown := sorted(set(case.failed_oracles) - {*ORACLES, "process"}):
        raise Refused(f"unknown oracle {unknown[0]!r}", where, f"there is {', '.join(ORACLES)}")
    if hashlib.sha256(case.plan.encode("utf-8", "replace")).hexdigest() != case.plan_digest:
        raise Refused("the plan is not the one that was recorded", where, "get the case anew")
    return case


def plan_of(case: Case, where: str) -> Plan:
    """The case's plan; the scenario that the case brings is known from now on. `where` is its folder, or case.json."""
    plan = plan_from_json(case.plan, where)
    place = Path(where)
    known.adopt(place if place.is_dir() else place.parent, plan.scenario)
    return accept(plan, where)


class Replayed(Struct, frozen=True):
    """FIXED, FAILED or DIVERGED, and why; `mismatches` name what differs from what it was recorded on."""

    outcome: str
    failed_oracles: tuple[str, ...]
    expected_oracles: tuple[str, ...]
    trace_digest: str
    recorded_trace_digest: str
    mismatches: tuple[str, ...]
    evidence: dict[str, list[str]]


def replay(path: Path) -> Replayed:
    """Run the case's plan on the present build and judge it by the oracles that had failed, and all others."""
    case = read(path)
    plan = plan_of(case, str(path))
    scenario = get(plan.scenario)
    checked = Checker(scenario).check(plan, deep=not set(case.failed_oracles).isdisjoint(DEEP))
    mismatches = []
    same_build = case.build == builds.identity()
    if not same_build:
        mismatches.append("build: other sources of the runtime than recorded")
    if case.modules != modules_of(scenario):
        mismatches.append("modules: other agents than recorded")
    if case.versions != dict(ALL):
        mismatches.append(f"versions: recorded {json.dumps(case.versions)}, here {json.dumps(ALL)}")
    row = checked.row
    outcome = "FAILED" if row.failed_oracles else "FIXED"
    recorded = (case.journal_digest, case.trace_digest, case.twin_digest)
    # A run that failed because it does not repeat fails again by not repeating: that is what was recorded.
    unrepeatable = {*UNREPEATABLE} & set(row.failed_oracles) & set(case.failed_oracles)
    if not mismatches and not unrepeatable and (row.journal_digest, row.trace_digest, row.twin_digest) != recorded:
        outcome = "DIVERGED"
    return Replayed(
        outcome,
        row.failed_oracles,
        tuple(case.failed_oracles),
        row.trace_digest,
        case.trace_digest,
        tuple(mismatches),
        {i: list(f.evidence) for i, f in checked.findings.items() if f.evidence},
    )
