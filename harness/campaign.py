"""Campaigns: many runs over all cores, each range in a child interpreter whose death is a result, not an end.

The parent hands out ranges, collects rows and says how far it is. A child that dies is replaced; the run it had
announced is counted as failed by the oracle "process", and the rest of its range goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO, Any, NamedTuple

import msgspec

from harness import builds
from reports import RunRow

RANGE = 8  # runs that share a workload go to the same child
RUN_SECONDS_MAX = 180  # a run takes a second or two, with all the further runs that oracles need


class Ended(NamedTuple):
    """One run of the campaign; `plan` is its JSON when it did not pass, "" otherwise."""

    row: RunRow
    plan: str


class Task(NamedTuple):
    """Runs for one child: of a random campaign, or of the points of `families` from tick `first` to `last`.

    `profile` is the campaign's as JSON; "" is the default one. `pairs`: the numbers are those of `harness.pairing`.
    """

    scenario: str
    seed: int
    runs: tuple[int, ...]
    workers: int
    families: tuple[str, ...] = ()
    first: int = 0
    last: int = 0
    profile: str = ""
    pairs: bool = False


class _Child:
    """One child interpreter and the range that it has."""

    def __init__(self, build: str | None, stderr: int | None) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "random")}
        self.process = subprocess.Popen(
            builds.command("harness.runner", [], build),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
        )
        self.task: Task | None = None
        self.left: deque[int] = deque()
        self.buffer = b""
        self.heard = time.monotonic()
        self.hung = False

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def give(self, task: Task) -> None:
        self.task = task
        self.left = deque(task.runs)
        assert self.process.stdin is not None
        self.heard = time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # it is dead already, which its end of the other pipe will say
            self.process.stdin.write(json.dumps(task._asdict()).encode() + b"\n")
            self.process.stdin.flush()

    def close(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.stdout.close()
        self.process.wait()


def tasks_of(scenarios: Sequence[str], runs: int, seed: int, workers: int, profile: str = "") -> list[Task]:
    """`runs` spread evenly over the scenarios, in ranges; the scenarios take turns."""
    shares = [runs // len(scenarios) + (i < runs % len(scenarios)) for i in range(len(scenarios))]
    ranges = []
    for order, (name, share) in enumerate(zip(scenarios, shares, strict=True)):
        for first in range(0, share, RANGE):
            numbers = tuple(range(first, min(first + RANGE, share)))
            ranges.append((first, order, Task(name, seed, numbers, workers, profile=profile)))
    return [task for _, _, task in sorted(ranges, key=lambda item: item[:2])]


class Campaign:
    """Runs tasks in `jobs` children; `on_end` is told of every run, and stops the campaign by returning True."""

    def __init__(self, jobs: int, on_end: Callable[[Ended], bool], build: str | None = None) -> None:
        self._jobs, self._on_end, self._build = jobs, on_end, build
        self._waiting: deque[Task] = deque()
        self._selector = selectors.DefaultSelector()
        self._stopped = False

    def run(self, tasks: Sequence[Task]) -> None:
        self._waiting = deque(tasks)
        for _ in range(min(self._jobs, len(self._waiting))):
            self._start()
        try:
            while self._selector.get_map() and not self._stopped:
                for key, _ in self._selector.select(timeout=1.0):
                    self._read(key.data)
                self._end_the_hung()
        finally:
            for key in list(self._selector.get_map().values()):
                child: _Child = key.data
                self._selector.unregister(child.stdout)
                child.process.kill()
                child.close()

    def _end_the_hung(self) -> None:
        """A build may loop for ever; virtual time stands still then, so only the wall clock can tell."""
        for key in self._selector.get_map().values():
            child: _Child = key.data
            if not child.hung and time.monotonic() - child.heard > RUN_SECONDS_MAX:
                child.hung = True
                child.process.kill()

    def _start(self) -> None:
        child = _Child(self._build, subprocess.DEVNULL)
        self._selector.register(child.stdout, selectors.EVENT_READ, child)
        child.give(self._waiting.popleft())

    def _read(self, child: _Child) -> None:
        data = os.read(child.stdout.fileno(), 1 << 16)
        if not data:
            self._died(child)
            return
        child.heard = time.monotonic()
        *lines, child.buffer = (child.buffer + data).split(b"\n")
        for line in lines:
            self._line(child, json.loads(line))
            if self._stopped:
                return

    def _line(self, child: _Child, said: dict[str, Any]) -> None:
        if "row" in said:
            child.left.popleft()
            self._stopped = self._on_end(Ended(msgspec.convert(said["row"], RunRow), said["plan"])) or self._stopped
        elif "end" in said:
            if self._waiting:
                child.give(self._waiting.popleft())
            else:
                self._selector.unregister(child.stdout)
                child.close()

    def _died(self, child: _Child) -> None:
        """The run that was under way ended its interpreter: that is its verdict."""
        self._selector.unregister(child.stdout)
        child.close()
        task = child.task
        assert task is not None
        if child.left:
            guilty = child.left.popleft()
            how = f"was ended after {RUN_SECONDS_MAX} s without a word" if child.hung else "died"
            code = child.process.returncode
            row = RunRow(
                run=guilty,
                scenario=task.scenario,
                seed=task.seed,
                workers=task.workers,
                verdict="FAIL",
                failed_oracles=("process",),
                judged=("process",),
                component="harness",
                detail=f"the interpreter of run {guilty} {how} (exit code {code})",
            )
            self._stopped = self._on_end(Ended(row, "")) or self._stopped
        if child.left:
            self._waiting.appendleft(task._replace(runs=tuple(child.left)))
        if self._waiting and not self._stopped:
            self._start()
