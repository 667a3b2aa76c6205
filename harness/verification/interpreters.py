"""Child interpreters that make runs for `verify`: each with its own hash seed, share of the processor, and clocks.

A child that dies, or is silent for `PATIENCE_S`, has failed the run that it had; the next request gets a new child.
Against: a build that ends its interpreter, loops for ever, or prints.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from msgspec import Struct

from harness import builds
from harness.verification.sample import Sample
from harness.verification.variation import Variation

PATIENCE_S = 120.0


class Host(Struct, frozen=True, kw_only=True):
    """What an interpreter is started with. `hash_seed` is PYTHONHASHSEED's value; `changes` name surroundings."""

    hash_seed: str = "0"
    nice: int = 0
    one_core: bool = False
    changes: tuple[str, ...] = ()


class Request(Struct, frozen=True, kw_only=True):
    """One run: the file of its plan, and what is varied. A `fork` runs in a copy of the child's process."""

    plan: Path
    variation: Variation = Variation()
    fork: bool = False


class Interpreter:
    """One child. `ask` sends requests without waiting, so that several children work at once; `answer` collects."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._number = 0
        self._asked: list[Path] = []
        self._buffer = b""
        self._got: dict[str, int] | None = None
        arguments = [str(host.nice), "one" if host.one_core else "all", *host.changes]
        self._process = subprocess.Popen(
            builds.command("harness.verification.child", arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONHASHSEED": host.hash_seed},
        )

    def __enter__(self) -> Interpreter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def ask(self, request: Request) -> None:
        out = self._folder / f"{self._number:04}"
        self._number += 1
        self._asked.append(out)
        said = {
            "plan": str(request.plan),
            "variation": msgspec.to_builtins(request.variation),
            "fork": request.fork,
            "out": str(out),
        }
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(said).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # it has died, which `answer` will say
            return

    def answer(self) -> Sample:
        """The run that was asked for first and is not answered yet; a failed one when the child has died."""
        out = self._asked.pop(0)
        said = self._line() if self.got() is not None else None
        if said is None:
            return Sample(b"", None, "the interpreter ended, or was silent, in the middle of the run")
        trace = out.with_suffix(".trace")
        journal = out.with_suffix(".journal")
        return Sample(
            journal.read_bytes() if journal.exists() else b"",
            trace.read_bytes() if trace.exists() else None,
            said["failure"],
            tuple(said["told"]),
        )

    def journal_and_trace(self, request: Request) -> tuple[bytes, bytes] | None:
        """The files that a run left; None when the child ended in the middle of it. They are not kept."""
        self.ask(request)
        out = self._asked.pop(0)
        if self.got() is None or self._line() is None:
            return None
        files = [out.with_suffix(suffix) for suffix in (".journal", ".trace")]
        journal, trace = (file.read_bytes() for file in files)
        for file in files:
            file.unlink()
        return journal, trace

    def run(self, request: Request) -> Sample:
        self.ask(request)
        return self.answer()

    def got(self) -> dict[str, int] | None:
        """What share of the processor it runs with, once it is ready; None when it never was."""
        if self._got is None:
            said = self._line()
            self._got = said["ready"] if said else None
        return self._got

    def _line(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        stdout = self._process.stdout.fileno()
        until = time.monotonic() + PATIENCE_S
        while b"\n" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                self._process.kill()
                return None
            data = os.read(stdout, 1 << 16)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.kill()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
