"""The parent's side of trials: plans go to a child interpreter, and its death or silence is an answer as well.

A build that loops for ever stands still in virtual time, so the wall clock ends it; the run counts as failed by the
oracle "process", and the next trial gets a new child.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from types import TracebackType
from typing import Self

import msgspec

from faults.plan import Plan, plan_to_json
from harness import builds
from harness.trial import Answer, Request

TRIAL_SECONDS_MAX = 180.0
ENDED = Answer(fails=False, failed=("process",))


class Trials:
    """Asks whether plans fail by `oracle`, of one child at a time; a context manager that leaves none behind.

    `build` is the folder of another build than the present one, "-" for the harness's own.
    """

    def __init__(self, oracle: str, seconds_max: float = TRIAL_SECONDS_MAX, build: str | None = None) -> None:
        self._oracle, self._seconds_max, self._build = oracle, seconds_max, build
        self._child: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.renew()

    def renew(self) -> None:
        """End the child; the next trial runs in a new one, with another seed of hash()."""
        child, self._child, self._buffer = self._child, None, b""
        if child is not None:
            assert child.stdin is not None and child.stdout is not None
            child.kill()
            with contextlib.suppress(BrokenPipeError):
                child.stdin.close()
            child.stdout.close()
            child.wait()

    def run(self, plan: Plan, *, found: bool = False, fresh: bool = False, write: str = "") -> Answer:
        """One run, judged; `ENDED` when it took its interpreter with it or never answered."""
        request = Request(plan=plan_to_json(plan), oracle=self._oracle, fresh=fresh, found=found, write=write)
        child = self._child = self._child or _started(self._build)
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead already, which its end of the other pipe will say
            child.stdin.write(msgspec.json.encode(request) + b"\n")
            child.stdin.flush()
        line = self._line(child)
        if line is None:
            self.renew()
            return ENDED
        return msgspec.json.decode(line, type=Answer)

    def _line(self, child: subprocess.Popen[bytes]) -> bytes | None:
        assert child.stdout is not None
        end = time.monotonic() + self._seconds_max
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([child.stdout], [], [], max(0.0, end - time.monotonic()))
            data = os.read(child.stdout.fileno(), 1 << 16) if ready else b""
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line


class Good(Trials):
    """A build that is known to be good: it says what a correct runtime can do, so what a plan may ask for."""

    def __init__(self, build: str) -> None:
        super().__init__("", build=builds.OWN if build == builds.OWN else str(builds.folder_of(build)))

    def passes(self, plan: Plan) -> bool:
        """Whether no oracle fails a run of the plan there."""
        return not self.run(plan).failed


def _started(build: str | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        builds.command("harness.trial", [], build),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONHASHSEED": "random"},
    )
