"""The lead of an exploration: hands rounds to lanes, keeps what they say, and outlives their deaths.

Each lane is a child interpreter. What it says goes to the ledger before anything else happens, so that an end at any
moment loses at most the run that was under way. A lane that dies, or says nothing for too long, has found something:
its plan is kept as a failure by the oracle "process", and another lane takes its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from faults.plan import plan_from_json
from harness import builds, fingerprint
from harness.exploration.lane import Round
from harness.exploration.ledger import Finding, Known, Ledger, Pair, Progress, State
from harness.exploration.shapes import Shape
from runtime.errors import Refused

ROUND_RUNS = 10  # so few that the next round soon knows what this one met
LED_RUNS = 24  # in every so many rounds there are enough for Hypothesis to climb along its targets
LED_EVERY = 4
SILENCE_S = 300.0  # more than a run, its shrinking and its ten repetitions take
CORPUS_MAX = 48
PROCESS = "process"
STILLBORN_MAX = 3


class Wanted(Struct, frozen=True, kw_only=True):
    """What to explore. It ends after `seconds`, or after `runs` where that is not 0."""

    scenario: str
    seed: int
    workers: int
    jobs: int
    seconds: float
    runs: int
    random: bool = False


class _Lane:
    """One child: the round that it has, and what it said of it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            builds.command("harness.exploration.lane", []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.buffer = b""
        self.plan = ""
        self.heard = time.monotonic()
        self.hung = False
        self.fresh()

    def fresh(self) -> None:
        self.runs, self.repeats, self.asked = 0, 0, 0
        self.counts: Counter[str] = Counter()

    def give(self, asked: Round) -> None:
        self.fresh()
        self.asked = asked.runs
        self.heard = time.monotonic()
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead already, which its end of the other pipe will say
            self.process.stdin.write(msgspec.json.encode(asked) + b"\n")
            self.process.stdin.flush()

    def end(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Lead:
    """Explores until the budget is used; `news` is told after each run."""

    def __init__(self, wanted: Wanted, ledger: Ledger, folder: Path, news: Callable[[State, int], None]) -> None:
        self._wanted, self._ledger, self._folder, self._news = wanted, ledger, folder, news
        self._end = time.monotonic() + wanted.seconds
        self._selector = selectors.DefaultSelector()
        self._handed = 0
        self._rounds, self._before = ledger.state.rounds, ledger.state.runs
        self._pending = tuple(
            one.case for one in ledger.state.findings if not one.minimal and f"-{PROCESS}-" not in one.case
        )
        self._stillborn = 0
        self.runs = 0
        self.unknown = 0
        self.growth: list[tuple[int, int]] = []

    def explore(self) -> None:
        """Hand out rounds until runs or time are used up; the ledger has it all."""
        try:
            for _ in range(self._wanted.jobs):
                self._start()
            while self._selector.get_map():
                for key, _ in self._selector.select(timeout=1.0):
                    self._read(key.data)
                self._end_the_silent()
        finally:
            for key in list(self._selector.get_map().values()):
                lane: _Lane = key.data
                self._selector.unregister(lane.process.stdout)  # type: ignore[arg-type]
                lane.end()
                self._note(lane)

    def _next(self) -> Round | None:
        wanted, state = self._wanted, self._ledger.state
        left = self._end - time.monotonic()
        size = LED_RUNS if self._rounds % LED_EVERY == LED_EVERY - 1 and not wanted.random else ROUND_RUNS
        runs = min(size, wanted.runs - self._handed) if wanted.runs else size
        if left <= 0 or runs <= 0:
            return None
        self._handed += runs
        number, self._rounds = self._rounds, self._rounds + 1
        pending, self._pending = self._pending, ()
        return Round(
            scenario=wanted.scenario,
            seed=wanted.seed,
            number=number,
            runs=runs,
            workers=wanted.workers,
            seconds=left,
            store=str(self._folder),
            counts=dict(state.counts),
            corpus=tuple(state.corpus[-CORPUS_MAX:]),
            known=tuple(one.fingerprint for one in state.findings if one.minimal),
            pending=pending,
            random=wanted.random,
            first=self._before + self._handed - runs,
        )

    def _start(self) -> None:
        asked = self._next()
        if asked is not None:
            lane = _Lane()
            self._selector.register(lane.process.stdout, selectors.EVENT_READ, lane)  # type: ignore[arg-type]
            lane.give(asked)

    def _read(self, lane: _Lane) -> None:
        assert lane.process.stdout is not None
        data = os.read(lane.process.stdout.fileno(), 1 << 16)
        if not data:
            self._died(lane)
            return
        lane.heard = time.monotonic()
        *lines, lane.buffer = (lane.buffer + data).split(b"\n")
        for line in lines:
            self._said(lane, msgspec.json.decode(line))

    def _said(self, lane: _Lane, what: dict[str, Any]) -> None:
        if "start" in what:
            lane.plan = what["start"]
        elif "run" in what:
            self._ran(lane, what)
        elif "finding" in what:
            self._found(what)
        elif "repeat" in what:
            lane.repeats += 1
            if what["instead"]:
                self._ledger.add(Known(what["repeat"], what["instead"]), durable=True)
                self._remove(what["instead"])
        elif "end" in what:
            self._over(lane)

    def _ran(self, lane: _Lane, what: dict[str, Any]) -> None:
        self.runs += 1
        lane.runs += 1
        lane.plan = ""
        lane.counts.update(what["pairs"])
        self.unknown += what["verdict"] == "UNKNOWN"
        state = self._ledger.state
        shape = msgspec.convert(what["shape"], Shape) if what["shape"] else None
        for pair in what["fresh"]:
            if pair not in state.counts:
                self._ledger.add(Pair(pair, shape))
                shape = None  # once is enough
        self.growth.append((self.runs, len(state.counts)))
        self._news(state, self.runs)

    def _found(self, what: dict[str, Any]) -> None:
        one = Finding(
            fingerprint=what["finding"],
            case=what["case"],
            run=self._before + self.runs,
            minimal=what["minimal"],
            again=what["again"],
            inputs=what["inputs"],
            faults=tuple(what["faults"]),
            instead=what["instead"],
        )
        same = any(o.fingerprint == one.fingerprint and o.minimal for o in self._ledger.state.findings)
        if one.minimal and same:  # another lane was faster
            self._ledger.add(Known(one.fingerprint, one.instead), durable=True)
            self._remove(one.case)
        else:
            self._ledger.add(one, durable=True)
        if one.instead and one.instead != one.case:
            self._remove(one.instead)

    def _remove(self, case: str) -> None:
        shutil.rmtree(self._folder / "cases" / case, ignore_errors=True)

    def _note(self, lane: _Lane) -> None:
        """What a lane has done of its round, in one line."""
        if lane.asked:
            self._ledger.add(Progress(lane.runs, 1, dict(lane.counts), lane.repeats), durable=True)
            self._handed -= lane.asked - lane.runs
        lane.fresh()

    def _over(self, lane: _Lane) -> None:
        stuck = lane.asked > 0 and not lane.runs
        self._note(lane)
        asked = None if stuck and self._end <= time.monotonic() else self._next()
        if asked is None:
            self._selector.unregister(lane.process.stdout)  # type: ignore[arg-type]
            lane.end()
        else:
            lane.give(asked)

    def _end_the_silent(self) -> None:
        for key in self._selector.get_map().values():
            lane: _Lane = key.data
            if time.monotonic() - lane.heard > SILENCE_S and not lane.hung:
                lane.hung = True
                lane.process.kill()

    def _died(self, lane: _Lane) -> None:
        """The run that was under way ended its interpreter: that is a failure, and its plan is all there is of it."""
        self._selector.unregister(lane.process.stdout)  # type: ignore[arg-type]
        lane.end()
        if lane.plan:
            lane.runs += 1
            self.runs += 1
            self._kept(lane)
        elif not lane.runs:
            self._stillborn += 1
            if self._stillborn > STILLBORN_MAX:
                code = lane.process.returncode
                raise Refused(
                    f"lanes end with code {code} before they run anything", "explore", "see wasm-engine doctor"
                )
        self._note(lane)
        self._start()

    def _kept(self, lane: _Lane) -> None:
        faults = plan_from_json(lane.plan).faults
        found = fingerprint.of(PROCESS, faults)
        name = f"{self._wanted.scenario}-{PROCESS}-{hashlib.sha256(lane.plan.encode()).hexdigest()[:10]}"
        place = self._folder / "cases" / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "plan.json").write_text(lane.plan, "utf-8")
        if any(one.fingerprint.startswith(f"{PROCESS}/") for one in self._ledger.state.findings):
            lane.repeats += 1
            return
        self._ledger.add(
            Finding(
                fingerprint=str(found),
                case=name,
                run=self._before + self.runs,
                minimal=False,
                faults=tuple(str(fault) for fault in faults),
            ),
            durable=True,
        )
