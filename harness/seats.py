"""A child interpreter that answers one request at a time; its death is an answer, and the next request gets a new one.

Guards against a build that loops for ever, kills its interpreter or closes its pipe: none of it reaches who asks.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from typing import Any

from harness import builds

ANSWER_SECONDS_MAX = 180


class Ended(Exception):
    """The seat was told to end; whoever still asks gets this."""


class Seat:
    """One build's child. One thread asks; `kill` may come from another."""

    def __init__(self, build: str, seconds_max: float = ANSWER_SECONDS_MAX) -> None:
        self._build, self._seconds_max = build, seconds_max
        self._process: subprocess.Popen[bytes] | None = None
        self._hung = ""
        self._ended = False
        self.death = ""

    def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer; None when the child died over it, and `death` says how."""
        if self._ended:
            raise Ended
        process = self._started()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # dead already: there will be no answer
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        line = self._line(process)
        if line is None:
            self.close()
            if self._ended:
                raise Ended
            code = process.returncode
            self.death = f"the interpreter {self._hung or 'died'} (exit code {code})"
            return None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            environment = {**os.environ, "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "random")}
            self._process = subprocess.Popen(
                builds.command("harness.paired_runs", [], self._build),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self._process

    def _line(self, process: subprocess.Popen[bytes]) -> bytes | None:
        assert process.stdout is not None
        self._hung = ""
        until, data = time.monotonic() + self._seconds_max, b""
        while not data.endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                self._hung = f"was ended after {self._seconds_max:.0f} s without a word"
                return None
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                return None
            data += part
        return data

    def kill(self) -> None:
        """No answer comes any more; `close` cleans up."""
        self._ended = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the child, whatever it does."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()
        process.stdout.close()
