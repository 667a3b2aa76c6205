"""Observers of a run: real processes that tail its files while they are written (I6).

The run's simulated disk is mirrored, write by write, into real files of a folder; each observer is an interpreter of
its own that knows nothing but that folder. One reads everything, one is slow and stays behind, one is killed in
mid-run; more are like the first. The run goes on only when each has seen the journal with something in it, so that
all were attached while it was written, or the run counts as not observed.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from faults.wrappers.storage import CrashPolicy
from harness.adapters.disk import SimDisk
from harness.adapters.loop import Loop
from harness.verification import tail
from runtime.durability import JOURNAL
from runtime.errors import Refused

KINDS = ("all", "slow", "dies")
PATIENCE_S = 20.0


class Observers:
    """`count` observers of the files in `folder`; `told` is what they said at the end.

    `refused` is why one could not attach: what the run did then says nothing, as it was stopped for that.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder, count
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.told: list[str] = []
        self.seen = 0
        self.refused: Refused | None = None

    def __enter__(self) -> Observers:
        self._folder.mkdir(parents=True, exist_ok=True)
        for number in range(self._count):
            how = KINDS[number] if number < len(KINDS) else "all"
            command = [sys.executable, "-I", "-S", str(Path(tail.__file__)), str(self._folder), how]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._processes.append((how, process))
        for _, process in self._processes:
            self._expect(process, b"ready")
        return self

    def attached(self) -> None:
        """Wait until every observer has seen the journal that is being written; raises Refused when one does not."""
        for _, process in self._processes:
            self._expect(process, b"saw ")
            self.seen += 1

    def _expect(self, process: subprocess.Popen[bytes], word: bytes) -> None:
        assert process.stdout is not None
        line = b""
        until = time.monotonic() + PATIENCE_S
        while not line.endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                break
            piece = os.read(process.stdout.fileno(), 1)
            if not piece:
                break
            line += piece
        if not line.startswith(word):
            todo = "let this machine start processes that read"
            self.refused = Refused("an observer could not attach", "observers", todo)
            raise self.refused

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for how, process in self._processes:
            try:
                said, _ = process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
            self.told.append(f"{how}: {said.decode().strip() or 'killed'}")
        self._processes = []


def watched_disk(folder: Path, attached: Callable[[], None]) -> Callable[[Loop, int, Callable[[], None]], SimDisk]:
    """Makes the simulated disk of a run that has its files in `folder` as well, write by write.

    `attached` is called after the first block has been written to the journal, with the run standing still.
    """

    def made(loop: Loop, sync_ns: int, wake: Callable[[], None]) -> SimDisk:
        return _WatchedDisk(loop, sync_ns, wake, folder, attached)

    return made


class _WatchedDisk(SimDisk):
    def __init__(
        self, loop: Loop, sync_ns: int, wake: Callable[[], None], folder: Path, attached: Callable[[], None]
    ) -> None:
        super().__init__(loop, sync_ns, wake)
        self._folder, self._attached = folder, attached
        self._waited = False

    def write(self, name: str, offset: int, data: bytes) -> int:
        written = super().write(name, offset, data)
        file = os.open(self._folder / name, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            os.pwrite(file, data, offset)
        finally:
            os.close(file)
        if name == JOURNAL and data and not self._waited:
            self._waited = True
            self._attached()
        return written

    def truncate(self, name: str, length: int) -> None:
        super().truncate(name, length)
        os.truncate(self._folder / name, length)

    def remove(self, name: str) -> None:
        super().remove(name)
        (self._folder / name).unlink()

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        (self._folder / old).replace(self._folder / new)

    def load(self, files: dict[str, bytes]) -> None:
        super().load(files)
        self._mirror()

    def alter(self, name: str, content: bytes) -> None:
        super().alter(name, content)
        self._mirror()

    def crash(self, policy: CrashPolicy) -> None:
        """What a machine's death took from the simulated disk is gone from the folder as well."""
        super().crash(policy)
        self._mirror()

    def _mirror(self) -> None:
        kept = self.contents()
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink()
        for name, content in kept.items():
            (self._folder / name).write_bytes(content)
