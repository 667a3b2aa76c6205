"""Everything the runtime sees of the world, as Protocols.

Each has a simulated adapter and any number of fault wrappers.

Calls return at once: what takes time is submitted and comes back from `poll`. An adapter only moves bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from msgspec import Raw

from runtime.frames import InferenceItem, StepArguments
from runtime.state import AgentSpec, Inference
from runtime.usage import Usage


class Clock(Protocol):
    def now(self) -> int:
        """Nanoseconds; monotone; physical, so nothing logical may depend on it."""
        ...


class Arrival(NamedTuple):
    """A frame from a worker; `frame` is None when the worker's end has closed (it died, and is reaped)."""

    worker: int
    frame: bytes | None


class Workers(Protocol):
    def spawn(self, worker: int) -> None:
        """Start a worker under a number never used before. Its death, at once or later, arrives as a closed end.

        Raises SpawnFailed when there is none to be had; nothing arrives of it then, and its number is spent.
        """
        ...

    def send(self, worker: int, frame: bytes) -> None:
        """Put a frame into the worker's pipe; a dead worker's pipe swallows it."""
        ...

    def poll(self) -> list[Arrival]:
        """What has arrived, in order of arrival. Frames that were in the pipe at a kill may still come."""
        ...

    def kill(self, worker: int) -> None:
        """End the worker; it is reaped when its closed end arrives. Killing a dead one does nothing."""
        ...


class Accelerators(Protocol):
    """Devices for inference, by number: 0 is the CPU, others are accelerators. As `Workers`, with presence."""

    def present(self) -> list[int]:
        """The devices that can be spawned now, in order of preference; the CPU is always the last."""
        ...

    def spawn(self, device: int, process: int) -> None:
        """Start a device process under a number never used before."""
        ...

    def send(self, process: int, frame: bytes) -> None: ...

    def poll(self) -> list[Arrival]:
        """Frames by process; `frame` None when its end has closed."""
        ...

    def kill(self, process: int) -> None: ...


class Decoder(Protocol):
    """A loaded decoder on one device."""

    def run(self, items: Sequence[InferenceItem]) -> list[Inference]:
        """Results of a batch of equal shape, in order; raises ModelFailed."""
        ...

    def close(self) -> None: ...


class Models(Protocol):
    def load(self, digest: str, onnx: bytes) -> Decoder:
        """A session for these bytes, whose digest has been checked; raises ModelFailed."""
        ...


class Memory(Protocol):
    """Shared segments, reserved in full at start; stores may be chunked, and torn by a death between chunks."""

    def reserve(self, segment: int, size: int) -> None: ...

    def store(self, segment: int, offset: int, data: bytes) -> None: ...

    def load(self, segment: int, offset: int, length: int) -> bytes: ...


class Storage(Protocol):
    """Flat files. `write` reaches the page cache; only a completed `sync` makes it durable.

    A new name under an old one's (`rename`) is another file: what a failed sync has lost stays lost for the old file
    alone.
    """

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes:
        """The whole file; raises ReadFailed with the bytes before the first sector that cannot be read."""
        ...

    def write(self, name: str, offset: int, data: bytes) -> int:
        """How many bytes were written: fewer than given, or none, where there is no room (now)."""
        ...

    def truncate(self, name: str, length: int) -> None: ...

    def remove(self, name: str) -> None: ...

    def rename(self, old: str, new: str) -> None: ...

    def sync(self, name: str) -> int:
        """Submit; the ticket comes back from `poll` when what was written before is durable."""
        ...

    def sync_dir(self) -> int:
        """Submit; when it completes, created, renamed and removed names are durable."""
        ...

    def poll(self) -> list[int]:
        """Tickets of completed syncs, in order of completion; raises SyncFailed, once, for one that failed."""
        ...


class Gateway(Protocol):
    """The clients' side: frames in both directions (`runtime.frames`: Inputs in, Release out)."""

    def poll(self) -> list[bytes]: ...

    def send(self, frame: bytes) -> None: ...


class Artifacts(Protocol):
    def get(self, digest: str) -> bytes:
        """The bytes with this sha256 (hex); raises KeyError. Who uses them checks the digest."""
        ...


class Hazard(Protocol):
    def __call__(self, name: str, *key: int) -> bool:
        """Whether a rare but legal choice is taken here; in production never."""
        ...


def never(name: str, *key: int) -> bool:
    """The production hazard."""
    return False


class Call(NamedTuple):
    """One host call with an effect, raw: unsigned 32-bit values exactly as the module passed them."""

    op: str
    target: int
    pointer: int
    length: int


class GuestStep(NamedTuple):
    """What one crossing into a module did. `status` is "ok" or a reason; `fuel` is what it consumed.

    `effects` are an ok step's effects as msgpack (`runtime.frames.effects_of`), made inside the crossing; where it is
    None, `calls` are the host calls with an effect as they were made, unchecked. `size` is that of its memory now, in
    bytes; -1 where it was not told.
    """

    status: str
    calls: Sequence[Call]
    fuel: int
    effects: bytes | None = None
    size: int = -1


class Replayed(NamedTuple):
    """What the steps of a replay did, in their order: the effects of each as msgpack, and their fuel together.

    `failed` is the first that did not end well, or whose effects were not made inside the crossing; it ends the replay.
    """

    made: Sequence[bytes]
    fuel: int
    failed: GuestStep | None = None


class Guest(Protocol):
    """One agent's instance. Not one of its methods raises for what the module does."""

    def run(self, arguments: StepArguments) -> GuestStep: ...

    def replay(self, records: Sequence[bytes | Raw], fuel: int) -> Replayed | None:
        """Committed steps once more: records as they stand in a work frame (`frames.Replay.plain`), `fuel` for each.

        None where these steps must be run one by one; nothing has been done then.
        """
        ...

    def memory(self) -> memoryview:
        """The whole linear memory as it is now; taken anew after every run, as a run may grow it."""
        ...

    def globals(self) -> list[int]:
        """The mutable globals as raw bits, in index order."""
        ...

    def types(self) -> Sequence[int]:
        """The value types of the mutable globals as the binary format has them, in index order."""
        ...

    def restore(self, memory: bytes, globals: Sequence[int]) -> None:
        """Only on an instance that has not run."""
        ...

    def close(self) -> None: ...


class Guests(Protocol):
    def instantiate(self, agent: int, spec: AgentSpec, wasm: bytes, libraries: Sequence[bytes] = ()) -> Guest:
        """A fresh instance after all load checks (WAS-3); raises ModuleRefused.

        `libraries` are the bytes of the spec's libraries, in their order.
        """
        ...


class Ports(NamedTuple):
    """What an orchestrator is given, put together in one place by its driver.

    `usage` reads what its own process has used (`runtime.usage.read`); None where a trace must repeat. `artifacts` has
    the validators that guard mailboxes and admission; a run that declares none needs none.
    """

    clock: Clock
    workers: Workers
    memory: Memory
    storage: Storage
    gateway: Gateway
    hazard: Hazard = never
    accelerators: Accelerators | None = None
    usage: Callable[[], Usage] | None = None
    artifacts: Artifacts | None = None
