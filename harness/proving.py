"""Proving the tester: planted bugs must be found, by the oracle named for them, and a clean build must not be (HAR-9).

Each mutant runs as a build in child interpreters until its oracle fails it; the failing run is then shrunk to a case,
which must replay as FAILED on the mutant and as FIXED on the good build. Equivalent mutants must never be found.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from faults.mutants import Mutant, plant
from faults.profiles import find
from harness import builds, cases
from harness.campaign import Campaign, Ended, tasks_of
from runtime.errors import Refused

SHRINK_RUNS = 250
SMALL = 3  # events of a plan, faults and inputs, that one can still follow by eye
EQUIVALENT_RUNS = 200  # what shows in none of these is taken to be equal, as its reason says
FILE = "prove.json"
DETAILS_VERSION = 1
KILLED, WRONG, SURVIVED, STALE, EQUIVALENT, VISIBLE = (
    "killed",
    "wrong oracle",
    "survived",
    "stale",
    "equivalent",
    "equivalent, yet found",
)


class Found(Struct, frozen=True, kw_only=True):
    """What became of one mutant. `runs` and `seconds` until its oracle found it, or in all; `hits` of `of` runs did.

    `faults` and `inputs` are those of the shrunk case, -1 without one. `components` are the modules that it changes,
    `suspects` those that `why` names for its case, the first one first; none where it was not asked.
    """

    name: str
    title: str
    scenario: str
    oracle: str
    outcome: str
    runs: int = 0
    seconds: float = 0.0
    hits: int = 0
    of: int = 0
    oracles: tuple[str, ...] = ()
    case: str = ""
    on_mutant: str = ""
    on_good: str = ""
    reason: str = ""
    rare: bool = False
    faults: int = -1
    inputs: int = -1
    components: tuple[str, ...] = ()
    suspects: tuple[str, ...] = ()

    @property
    def one_in(self) -> float | None:
        """In about how many runs it shows once; None for one that never did, or was only looked for until it did."""
        return round(self.of / self.hits, 1) if self.hits and self.of > self.runs else None

    @property
    def named(self) -> bool:
        """Whether `why` names first what the mutant changes."""
        return bool(self.suspects) and self.suspects[0] in self.components


class Asked(NamedTuple):
    """What is asked of every mutant: at most so many runs of a campaign with this seed; its case goes below `store`.

    `diagnose` has `why` explain the case of each one that is found; `measure` makes all runs, also behind the first
    that finds it, to say how often it shows.
    """

    runs: int
    seed: int
    jobs: int
    store: Path
    diagnose: bool = False
    measure: bool = False


def prove(mutant: Mutant, asked: Asked) -> Found:
    """Run one mutant until its oracle finds it."""
    with tempfile.TemporaryDirectory(prefix="wasm-engine-mutant-") as temporary:
        try:
            folder = plant(mutant, builds.ROOT / "runtime", Path(temporary))
        except Refused as refused:
            return _found(mutant, STALE, reason=str(refused))
        ended, found_at = _campaign(mutant, asked, folder)
        hits = [e for e in ended if mutant.oracle in e.row.failed_oracles]
        failures = [e for e in ended if e.row.verdict == "FAIL"]
        named = tuple(sorted({oracle for e in failures for oracle in e.row.failed_oracles}))
        runs, seconds = found_at
        counts = {"runs": runs, "seconds": seconds, "hits": len(hits), "of": len(ended), "oracles": named}
        if mutant.equivalent:
            outcome = VISIBLE if failures else EQUIVALENT
            return _found(mutant, outcome, reason=mutant.equivalent, **counts)
        if not hits:
            outcome = WRONG if failures else SURVIVED
            return _found(mutant, outcome, **counts)
        first = min(e.row.run for e in hits)
        case, on_mutant, on_good = case_of(mutant, first, asked.seed, folder, asked.store)
        outcome = KILLED if (on_mutant, on_good) == ("FAILED", "FIXED") else WRONG
        faults, inputs = size_of(case)
        blamed = suspects_of(case, folder) if asked.diagnose and outcome == KILLED else ()
        found = _found(mutant, outcome, case=case, on_mutant=on_mutant, on_good=on_good, **counts)
        return replace(found, faults=faults, inputs=inputs, suspects=blamed)


def suspects_of(case: str, folder: Path) -> tuple[str, ...]:
    """The components that `why` blames for a case on the mutant, the most suspect first."""
    answer = told(["why", case, "--no-picture", "--json"], str(folder))
    suspects = answer.get("suspects")
    return tuple(str(one["component"]) for one in suspects) if isinstance(suspects, list) else ()


def size_of(case: str) -> tuple[int, int]:
    """How many faults and inputs a case's plan has; -1 each for no case."""
    if not case:
        return -1, -1
    plan = cases.plan_of(cases.read(Path(case)), case)
    return len(plan.faults), len(plan.inputs)


def small(found: list[Found]) -> str:
    """How many of the shrunk cases are small, in a line."""
    many, share = f"at most {SMALL} events (faults and inputs)", _shrunk(found)
    few, faults = share["few_events"], share["few_faults"]
    return f"{few} of {share['cases']} shrunk cases have {many}, {faults} have at most {SMALL} faults"


def blamed(found: list[Found]) -> str:
    """For how many cases `why` names the changed module first, in a line; what it named for the others."""
    share = _why(found)
    others = [f"{f.name} ({f.suspects[0]} for {', '.join(f.components)})" for f in found if f.suspects and not f.named]
    line = f"why names the changed module first for {share['named_first']} of {share['asked']}"
    return f"{line}; not for {', '.join(others)}" if others else line


def _campaign(mutant: Mutant, asked: Asked, folder: Path) -> tuple[list[Ended], tuple[int, float]]:
    """The runs, and (how many, seconds) it took until the oracle failed one, or in all."""
    ended: list[Ended] = []
    found_at: list[tuple[int, float]] = []
    started = time.monotonic()

    def until_now() -> tuple[int, float]:
        return len(ended), round(time.monotonic() - started, 2)

    def on_end(one: Ended) -> bool:
        ended.append(one)
        if not mutant.equivalent and mutant.oracle in one.row.failed_oracles:
            found_at.append(until_now())
        return bool(found_at) and not asked.measure

    most = min(asked.runs, EQUIVALENT_RUNS) if mutant.equivalent else asked.runs
    Campaign(asked.jobs, on_end, str(folder)).run(tasks_of([mutant.scenario], most, asked.seed, 2, _profile(mutant)))
    return ended, found_at[0] if found_at else until_now()


def _profile(mutant: Mutant) -> str:
    """What its runs are drawn from, as a task carries it; "" is the default."""
    return find(mutant.profile).model_dump_json() if mutant.profile else ""


def case_of(mutant: Mutant, run: int, seed: int, folder: Path, store: Path) -> tuple[str, str, str]:
    """The failing run as a shrunk case, and what it replays as on the mutant and on the good build."""
    arguments = ["stress", mutant.scenario, "--seed", str(seed), "--only", str(run), "--json"]
    arguments += ["--shrink-runs", str(SHRINK_RUNS), "--store", str(store / mutant.name)]
    arguments += ["--profile", mutant.profile] if mutant.profile else []
    answer = told([*arguments, "--prefer", mutant.oracle, "--good", builds.OWN], str(folder))
    paths = answer.get("cases", [])
    if not isinstance(paths, list) or not paths:
        return "", "", ""
    case = str(paths[0])
    outcomes = [str(told(["replay", case, "--json"], build).get("outcome", "")) for build in (str(folder), "-")]
    return case, outcomes[0], outcomes[1]


def told(arguments: list[str], build: str) -> dict[str, object]:
    """The JSON object that a command prints on a build."""
    command = builds.command("harness.cli", arguments, build)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(ended.stdout)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _found(mutant: Mutant, outcome: str, **fields: Any) -> Found:
    return Found(
        name=mutant.name,
        title=mutant.title,
        scenario=mutant.scenario,
        oracle=mutant.oracle,
        outcome=outcome,
        rare=mutant.rare,
        components=mutant.components,
        **fields,
    )


def summary(found: list[Found], clean: list[Ended]) -> dict[str, object]:
    """What `prove --json` prints; rare mutants are counted apart, as they take many more runs."""
    counted = [f for f in found if f.outcome not in (EQUIVALENT, VISIBLE)]
    return {
        **_score([f for f in counted if not f.rare]),
        "shrunk": _shrunk([f for f in counted if not f.rare]),
        "why": _why([f for f in counted if not f.rare]),
        "false_alarms": sum(e.row.verdict in ("FAIL", "UNKNOWN") for e in clean),
        "clean_runs": len(clean),
        "rare": _score([f for f in counted if f.rare]),
        "runs": sum(f.of for f in found),
    }


def _score(counted: list[Found]) -> dict[str, object]:
    """How many were found by the oracle named for them, who was not, and after how long the median one was."""
    killed = [f for f in counted if f.outcome == KILLED]
    return {
        "mutants": len(counted),
        "killed": len(killed),
        "survivors": [f.name for f in counted if f.outcome == SURVIVED],
        "wrong_oracle": [f.name for f in counted if f.outcome == WRONG],
        "stale": [f.name for f in counted if f.outcome == STALE],
        "found": sum(f.outcome in (KILLED, WRONG) for f in counted),
        "median_runs": statistics.median(f.runs for f in killed) if killed else None,
        "median_seconds": statistics.median(f.seconds for f in killed) if killed else None,
    }


def _shrunk(counted: list[Found]) -> dict[str, object]:
    """How many of the shrunk cases are small: in events, which are faults and inputs, and in faults alone."""
    cases_ = [f for f in counted if f.faults >= 0]
    few = sum(f.faults + f.inputs <= SMALL for f in cases_)
    few_faults = sum(f.faults <= SMALL for f in cases_)
    return {
        "cases": len(cases_),
        "events_max": SMALL,
        "few_events": few,
        "few_faults": few_faults,
        "share": few / len(cases_) if cases_ else None,
    }


def _why(counted: list[Found]) -> dict[str, object]:
    """For how many of the cases that `why` was asked to explain it names a changed module first."""
    asked = [f for f in counted if f.suspects]
    named = sum(f.named for f in asked)
    return {"asked": len(asked), "named_first": named, "share": named / len(asked) if asked else None}


def good(found: list[Found], clean: list[Ended]) -> bool:
    """Every mutant found by its oracle, no equivalent one found, no false alarm; a stale one is none of these."""
    alarms = any(e.row.verdict in ("FAIL", "UNKNOWN") for e in clean)
    return not alarms and all(f.outcome in (KILLED, EQUIVALENT) for f in found)


def write_details(found: list[Found], told: dict[str, object], folder: Path) -> Path:
    """prove.json: the summary, and what became of each mutant. Raises Refused for a folder that cannot be written."""
    path = folder / FILE
    mutants = [msgspec.to_builtins(one) | {"one_in": one.one_in} for one in found]
    details = {"version": DETAILS_VERSION, "summary": told, "mutants": mutants}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(details), indent=1) + b"\n")
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", str(path), "give another --store") from None
    return path
