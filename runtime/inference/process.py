"""A device in a process of its own, seen from the runtime: the `Models` port over pipes, with a limit on waiting.

Guards against devices that end their process, hang in a driver, or answer with something else: each is ModelFailed
("device"), at the latest when the time for an answer is over, and the process is killed. It is lost for good then;
whoever still wants the device starts another one, which is checked against the golden answers anew.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import runtime
from runtime.errors import FrameRefused, ModelFailed
from runtime.frames import InferenceItem
from runtime.inference import wire
from runtime.inference.golden import Golden
from runtime.inference.providers import Provider
from runtime.ports import Decoder
from runtime.state import Inference

S = 1_000_000_000


class Patience(NamedTuple):
    """How long a device's process may take, in ns of wall time: to begin, to load a model and be checked, to answer."""

    begin_ns: int = 120 * S
    load_ns: int = 120 * S
    answer_ns: int = 10 * S


class DeviceProcess:
    """One process for one provider. Not for two threads at once.

    `failed` is why it is lost, "" while it lives; `stage` where the last call ended, "" for a good one. `pid` is the
    operating system's number of it.
    """

    def __init__(self, provider: Provider, patience: Patience = Patience()) -> None:  # noqa: B008  # immutable
        """Raises ModelFailed("device") where the process cannot begin, with why."""
        self.provider, self.patience = provider, patience
        self.failed = ""
        self.stage = ""
        self._replies: queue.SimpleQueue[wire.Reply | None] = queue.SimpleQueue()
        self._process = _started()
        self.pid = self._process.pid
        assert self._process.stdout is not None
        threading.Thread(target=_listen, args=(self._process.stdout, self._replies), daemon=True).start()
        self.ask(wire.Begin(provider), patience.begin_ns)

    def ask(self, message: wire.Message, within_ns: int) -> wire.Reply:
        """The reply; raises ModelFailed as the device said, or "device" where the process is lost."""
        if self.failed:
            raise ModelFailed("device", self.failed, self.provider.name)
        self.stage = ""
        try:
            assert self._process.stdin is not None
            wire.write(self._process.stdin, message)
            reply = self._replies.get(timeout=within_ns / S)
        except queue.Empty:
            raise self.lost(f"no answer within {within_ns / S:g} s") from None
        except OSError:
            reply = None
        if reply is None:
            raise self.lost(self._ended())
        if reply.failure:
            self.stage = reply.stage
            raise ModelFailed(reply.failure, reply.what, self.provider.name)
        return reply

    def close(self) -> None:
        """End it, if it has not ended by itself."""
        self.failed = self.failed or "it was closed"
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()

    def lost(self, why: str) -> ModelFailed:
        self.failed, self.stage = why, "process"
        self.close()
        return ModelFailed("device", why, self.provider.name)

    def _ended(self) -> str:
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return "its process closed its pipe"
        return f"its process ended by signal {-code}" if code < 0 else f"its process ended with code {code}"


def _started() -> subprocess.Popen[bytes]:
    """The very runtime that this process uses, a build under test as well."""
    paths = [str(Path(runtime.__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": os.pathsep.join(paths)}
    errors = None if os.environ.get("WASM_ENGINE_DEBUG") else subprocess.DEVNULL
    command = [sys.executable, "-P", "-m", "runtime.inference.child"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, close_fds=True
    )


def _listen(pipe: IO[bytes], replies: queue.SimpleQueue[wire.Reply | None]) -> None:
    try:
        while (reply := wire.read_reply(pipe)) is not None:
            replies.put(reply)
    except (FrameRefused, OSError, ValueError):  # ValueError: closed under us
        pass
    replies.put(None)


class ProcessModels:
    """The `Models` port of a device in its own process. `golden_of(digest, onnx)` are the answers it is held to."""

    def __init__(self, process: DeviceProcess, golden_of: Callable[[str, bytes], Golden]) -> None:
        self.process, self.golden_of = process, golden_of
        self._loaded: dict[str, int] = {}  # how many decoders of each are open
        self.nodes: dict[str, int] = {}

    def load(self, digest: str, onnx: bytes) -> Decoder:
        """Raises ModelFailed; "device" when an answer is not the golden one."""
        if not self._loaded.get(digest):
            message = wire.Load(digest, onnx, self.golden_of(digest, onnx))
            self.nodes[digest] = self.process.ask(message, self.process.patience.load_ns).nodes
        self._loaded[digest] = self._loaded.get(digest, 0) + 1
        return ProcessDecoder(self.process, digest, lambda: self._left(digest))

    def _left(self, digest: str) -> None:
        self._loaded[digest] -= 1
        if not self._loaded[digest] and not self.process.failed:
            with contextlib.suppress(ModelFailed):  # its process is lost then, and the model with it
                self.process.ask(wire.Drop(digest), self.process.patience.answer_ns)


class ProcessDecoder:
    """One loaded decoder in a device's process. `times_ns` are the wall times of its runs, inside that process."""

    def __init__(self, process: DeviceProcess, digest: str, left: Callable[[], None]) -> None:
        self._process, self._digest, self._left = process, digest, left
        self._open = True
        self.times_ns: list[int] = []

    def run(self, items: Sequence[InferenceItem]) -> list[Inference]:
        """Raises ModelFailed; "device" where the process died, hung or answered with something else."""
        if not items:
            return []
        reply = self._process.ask(wire.Run(self._digest, tuple(items)), self._process.patience.answer_ns)
        if [result.request for result in reply.results] != [item.request for item in items]:
            raise self._process.lost("it answered other requests")
        self.times_ns.append(reply.spent_ns)
        return list(reply.results)

    def close(self) -> None:
        """A second call does nothing."""
        if self._open:
            self._open = False
            self._left()
