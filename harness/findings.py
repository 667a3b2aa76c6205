"""From failing pairs to findings: each failure gets a fingerprint, a few are reduced to cases that replay.

A failure is reduced until its fingerprint's fault kinds are known; a later one with the same oracle and component whose
plan has all those kinds is counted as the same. Only so many are reduced; one beyond that whose kinds fit none keeps
all of its plan's kinds, so that it is never taken for something known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from faults.plan import plan_from_json
from harness import builds, fingerprint
from harness.comparing import SIDES, Builds
from harness.fingerprint import Fingerprint
from harness.seats import Seat
from reports.frames import RunRow
from reports.pairs import Failure, Pair, Side
from scenarios.files import known

REDUCED_MAX = 12
SHRINK_RUNS = 40
PROCESS = "process"


def fingerprinted(
    pairs: Sequence[Pair], both: Builds, folder: Path, names: dict[Side, str], news: Callable[[str], None]
) -> list[Failure]:
    """Every failing run of the pairs; cases go below `folder`/cases/SIDE. `names` are the builds for a command."""
    with _Reducer(both, folder, names, news) as reducer:
        return [
            reducer.failure(pair, side)
            for pair in sorted(pairs, key=lambda pair: (pair.n, pair.scenario))
            for side in SIDES
            if pair.row(side).verdict == "FAIL"
        ]


class _Reducer:
    """Keeps the fingerprints found so far; one child per build."""

    def __init__(self, both: Builds, folder: Path, names: dict[Side, str], news: Callable[[str], None]) -> None:
        self._seats = {side: Seat(str(both.folder(side)), seconds_max=600) for side in SIDES}
        self._folder, self._names, self._news = folder, names, news
        self._known: list[Fingerprint] = []
        self._shown: set[tuple[Side, Fingerprint]] = set()
        self._left = REDUCED_MAX

    def __enter__(self) -> _Reducer:
        return self

    def __exit__(self, *_: object) -> None:
        for seat in self._seats.values():
            seat.close()

    def failure(self, pair: Pair, side: Side) -> Failure:
        row = pair.row(side)
        oracle = fingerprint.primary(row.failed_oracles)
        found, case = self._like(row, oracle), ""
        if (found is None or (side, found) not in self._shown) and self._left > 0 and oracle != PROCESS:
            self._left -= 1
            found, case = self._reduced(pair, side, oracle)
        if found is None:
            found = _wide(row, oracle)
        if found not in self._known:
            self._known.append(found)
        first = (side, found) not in self._shown
        self._shown.add((side, found))
        return Failure(
            scenario=pair.scenario,
            n=pair.n,
            side=side,
            fingerprint=str(found),
            oracle=oracle,
            component=found.component,
            detail=row.detail,
            case=case,
            replay=self._command(pair, side, case) if first else "",
        )

    def _like(self, row: RunRow, oracle: str) -> Fingerprint | None:
        """A known fingerprint whose faults are all in this plan; that of most faults, as it says most."""
        planned = Counter(row.faults_planned)
        fits = [
            known
            for known in self._known
            if (known.oracle, known.component) == (oracle, row.component) and not Counter(known.faults) - planned
        ]
        return max(fits, key=lambda known: (len(known.faults), known), default=None)

    def _reduced(self, pair: Pair, side: Side, oracle: str) -> tuple[Fingerprint | None, str]:
        self._news(f"reducing plan {pair.n} of {pair.scenario} on {side.upper()} ({oracle})")
        place = self._folder / "cases" / side
        request = {"do": "case", "plan": pair.plan, "n": pair.n, "oracle": oracle, "runs_max": SHRINK_RUNS}
        answer = self._seats[side].ask({**request, "folder": str(place)})
        if answer is None:
            return None, ""
        plan = plan_from_json(answer["plan"])
        return fingerprint.of(oracle, plan.faults, pair.row(side).component), str(answer["case"])

    def _command(self, pair: Pair, side: Side, case: str) -> str:
        """The case, or where none could be made (the build ends its interpreter) the plan as it was drawn."""
        build = f" --build {self._names[side]}" if self._names[side] != builds.OWN else ""
        if case:
            return f"wasm-engine replay {case}{build}"
        place = self._folder / "plans" / f"{pair.scenario}-{pair.n}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(pair.plan, "utf-8")
        return f"wasm-engine run {known.typed(pair.scenario)} --plan {place}{build}"


def _wide(row: RunRow, oracle: str) -> Fingerprint:
    if oracle == PROCESS:  # a build that ends its interpreter cannot be asked which of its faults it needs
        return Fingerprint(oracle, row.component, ())
    kinds = tuple(kind for kind in sorted(row.faults_planned) for _ in range(row.faults_planned[kind]))
    return Fingerprint(oracle, row.component, kinds)
