"""Comparing two builds: the same plans on both, pair by pair, each on disk before the next, so that it can go on later.

Guarantees: a plan is data and the same on both builds; a build that dies or hangs over a plan has failed that plan; a
comparison that is interrupted anywhere keeps every pair it had finished. A pair is a function of (seed, scenario, n).
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from faults.plan import plan_from_json
from faults.profiles import Profile
from harness import builds
from harness.check import plan_digest
from harness.differences import first_difference
from harness.records import RecordFile
from harness.seats import Seat
from reports.frames import RunRow
from reports.pairs import Difference, Pair, Side

FILE = "pairs.jsonl"
SIDES: tuple[Side, Side] = ("base", "head")


class Builds(NamedTuple):
    """The folders of the two builds."""

    base: Path
    head: Path

    def folder(self, side: Side) -> Path:
        return self.base if side == "base" else self.head


class Wanted(NamedTuple):
    """Which pairs: `runs` plans, the scenarios taking turns."""

    scenarios: tuple[str, ...]
    runs: int
    seed: int
    workers: int
    profile: Profile

    def numbers(self) -> list[tuple[str, int]]:
        """(scenario, n) in order; those of fewer runs are the first of those of more."""
        return [(self.scenarios[i % len(self.scenarios)], i // len(self.scenarios)) for i in range(self.runs)]


def about(both: Builds, wanted: Wanted) -> dict[str, object]:
    """What a file of pairs belongs to; the number of runs may grow."""
    return {
        "base": builds.identity(both.base),
        "head": builds.identity(both.head),
        "harness": builds.identity(builds.ROOT),
        "scenarios": list(wanted.scenarios),
        "seed": wanted.seed,
        "workers": wanted.workers,
        "profile": wanted.profile.model_dump(mode="json"),
    }


class _Lane:
    """Makes pairs one after the other, with a child for each build and one that draws."""

    def __init__(self, both: Builds, wanted: Wanted, scratch: Path) -> None:
        self._wanted, self._scratch = wanted, scratch
        self._drawer = Seat(builds.OWN)
        self._seats = {side: Seat(str(both.folder(side))) for side in SIDES}

    def pair(self, scenario: str, n: int) -> Pair:
        wanted = self._wanted
        request = {"do": "draw", "scenario": scenario, "seed": wanted.seed, "n": n, "workers": wanted.workers}
        drawn = self._drawer.ask({**request, "profile": wanted.profile.model_dump_json()})
        if drawn is None:
            raise RuntimeError(f"no plan {n} of {scenario} could be drawn: {self._drawer.death}")
        text: str = drawn["plan"]
        rows = {side: self._row(side, text, n) for side in SIDES}
        failed = any(row.verdict in ("FAIL", "UNKNOWN") for row in rows.values())
        return Pair(
            n=n,
            scenario=scenario,
            base=rows["base"],
            head=rows["head"],
            plan=text if failed else "",
            difference=self._difference(rows),
        )

    def _journal(self, side: Side) -> Path:
        return self._scratch / f"{threading.get_ident()}-{side}.jsonl"

    def _row(self, side: Side, text: str, n: int) -> RunRow:
        journal = self._journal(side)
        answer = self._seats[side].ask({"do": "check", "plan": text, "n": n, "journal": str(journal)})
        if answer is not None:
            return msgspec.convert(answer["row"], RunRow)
        journal.unlink(missing_ok=True)
        plan = plan_from_json(text)
        return RunRow(
            run=n,
            scenario=plan.scenario,
            seed=plan.seed,
            workers=plan.physical.workers,
            verdict="FAIL",
            failed_oracles=("process",),
            judged=("process",),
            plan_digest=plan_digest(plan),
            component="process",
            detail=f"run {n}: {self._seats[side].death}",
        )

    def _difference(self, rows: dict[Side, RunRow]) -> Difference | None:
        """None as well where a build died, which says more than a journal that is cut short."""
        paths = [self._journal(side) for side in SIDES]
        if rows["base"].component == "process" or rows["head"].component == "process":
            return None
        base, head = (path.read_bytes() for path in paths)
        return None if base == head else first_difference(base, head)

    def kill(self) -> None:
        for seat in (self._drawer, *self._seats.values()):
            seat.kill()

    def close(self) -> None:
        for seat in (self._drawer, *self._seats.values()):
            seat.close()


class Comparison:
    """The pairs of two builds, in `folder`; `run` makes those that are missing."""

    def __init__(self, both: Builds, wanted: Wanted, folder: Path, scratch: Path) -> None:
        self._both, self._wanted, self._scratch = both, wanted, scratch
        self._file = RecordFile(folder / FILE, about(both, wanted))
        numbers = wanted.numbers()
        asked = set(numbers)
        known = [msgspec.convert(record, Pair) for record in self._file.known]
        self.pairs = {(pair.scenario, pair.n): pair for pair in known if (pair.scenario, pair.n) in asked}
        self._missing = [number for number in numbers if number not in self.pairs]

    def in_order(self) -> list[Pair]:
        return [self.pairs[number] for number in self._wanted.numbers() if number in self.pairs]

    def run(self, jobs: int, news: Callable[[Pair], None]) -> None:
        """Raises what a lane raised; on an interrupt the children are ended, and what was made is kept."""
        todo: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        done: queue.SimpleQueue[Pair | BaseException] = queue.SimpleQueue()
        for number in self._missing:
            todo.put(number)
        with self._lanes(min(jobs, len(self._missing)), todo, done):
            for _ in self._missing:
                pair = done.get()
                if isinstance(pair, BaseException):
                    raise pair
                self._file.append(msgspec.to_builtins(pair))
                self.pairs[pair.scenario, pair.n] = pair
                news(pair)

    @contextlib.contextmanager
    def _lanes(
        self, jobs: int, todo: queue.SimpleQueue[tuple[str, int]], done: queue.SimpleQueue[Pair | BaseException]
    ) -> Iterator[None]:
        lanes = [_Lane(self._both, self._wanted, self._scratch) for _ in range(jobs)]
        stopped = threading.Event()

        def work(lane: _Lane) -> None:
            while not stopped.is_set():
                try:
                    done.put(lane.pair(*todo.get_nowait()))
                except queue.Empty:
                    return
                except BaseException as error:  # it is raised where the pairs are awaited
                    done.put(error)
                    return

        threads = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in lanes]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopped.set()
            for lane in lanes:
                lane.kill()
            for thread in threads:
                thread.join()
            for lane in lanes:
                lane.close()

    def close(self) -> None:
        self._file.close()
