"""Toy ports, steps and frames with defaults, for the tests of the fault layer: each notes what reached it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from faults.injector import Fields, Injector
from faults.plan import parse_fault
from runtime import frames
from runtime.ports import Arrival, Call, Guest, GuestStep, StepArguments
from runtime.state import AgentSpec, Input, Send, StepRecord, View


class Log(list[tuple[int, Fields]]):
    """Injections as (fault, fields)."""

    def note(self, fault: int, fields: Fields) -> None:
        self.append((fault, dict(fields)))

    @property
    def fired(self) -> list[int]:
        return [fault for fault, _ in self]


def injector(*texts: str, seed: int = 0) -> tuple[Injector, Log]:
    log = Log()
    return Injector([parse_fault(text) for text in texts], log.note, seed), log


class Timers:
    """Delays that run when the test says so."""

    def __init__(self) -> None:
        self.now = 0
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []

    def later(self, delay: int, action: Callable[[], None]) -> None:
        self._waiting.append((self.now + delay, len(self._waiting), action))

    def pass_time(self, ns: int) -> None:
        self.now += ns
        due = sorted(item[:2] for item in self._waiting if item[0] <= self.now)
        for key in due:
            next(item for item in self._waiting if item[:2] == key)[2]()
        self._waiting = [item for item in self._waiting if item[:2] not in due]


class ToyWorkers:
    """What was sent to whom, who was killed, and arrivals that a test puts there."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.spawned: list[int] = []
        self.killed: list[int] = []
        self.arrivals: list[Arrival] = []

    def spawn(self, worker: int) -> None:
        self.spawned.append(worker)

    def send(self, worker: int, frame: bytes) -> None:
        self.sent.append((worker, frame))

    def poll(self) -> list[Arrival]:
        arrivals, self.arrivals = self.arrivals, []
        return arrivals

    def kill(self, worker: int) -> None:
        self.killed.append(worker)


class ToyMemory:
    def __init__(self) -> None:
        self.segments: dict[int, bytearray] = {}

    def reserve(self, segment: int, size: int) -> None:
        self.segments[segment] = bytearray(size)

    def store(self, segment: int, offset: int, data: bytes) -> None:
        self.segments[segment][offset : offset + len(data)] = data

    def load(self, segment: int, offset: int, length: int) -> bytes:
        return bytes(self.segments[segment][offset : offset + length])


class ToyGateway:
    def __init__(self) -> None:
        self.incoming: list[bytes] = []
        self.sent: list[bytes] = []

    def poll(self) -> list[bytes]:
        incoming, self.incoming = self.incoming, []
        return incoming

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)


class ToyStorage:
    """A page cache; syncs complete at the next poll."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.tickets: list[int] = []
        self.submitted = 0

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        return bytes(self.files[name])

    def write(self, name: str, offset: int, data: bytes) -> int:
        self.files.setdefault(name, bytearray())[offset : offset + len(data)] = data
        return len(data)

    def truncate(self, name: str, length: int) -> None:
        del self.files[name][length:]

    def remove(self, name: str) -> None:
        del self.files[name]

    def rename(self, old: str, new: str) -> None:
        self.files[new] = self.files.pop(old)

    def sync(self, name: str) -> int:
        self.submitted += 1
        self.tickets.append(self.submitted)
        return self.submitted

    def sync_dir(self) -> int:
        return self.sync("")

    def poll(self) -> list[int]:
        tickets, self.tickets = self.tickets, []
        return tickets


class ToyGuest:
    """A module that makes `hostcalls` host calls per step, each a send of 4 bytes at 16 times its number."""

    def __init__(self, hostcalls: int = 3) -> None:
        self.hostcalls = hostcalls
        self.ran: list[StepArguments] = []

    def run(self, arguments: StepArguments) -> GuestStep:
        self.ran.append(arguments)
        stopped = 0 < arguments.stop_at <= self.hostcalls
        made = arguments.stop_at - 1 if stopped else self.hostcalls
        calls = [Call("send", 1, 16 * number, 4) for number in range(made)]
        return GuestStep("stopped" if stopped else "ok", calls, 100 * made)

    def replay(self, records: object, fuel: int) -> None:
        return None

    def memory(self) -> memoryview:
        return memoryview(bytearray(65_536))

    def globals(self) -> list[int]:
        return [7]

    def types(self) -> list[int]:
        return [0x7F] * len(self.globals())

    def restore(self, memory: bytes, globals: object) -> None:
        pass

    def close(self) -> None:
        pass


class ToyGuests:
    def instantiate(self, agent: int, spec: AgentSpec, wasm: bytes, libraries: Sequence[bytes] = ()) -> Guest:
        return ToyGuest()


def step_record(agent: int, tick: int, *views: View) -> StepRecord:
    return StepRecord(
        agent=agent, n=tick, kind="step", tick=tick, now_ms=0, random_key=0, agents=9, topics=0, buffers=1, models=0,
        send_limit=8, max_payload=64, snapshot=False, inbox=(), views=views, grants=(),
    )  # fmt: skip


def work(worker: int, lease: int, *steps: tuple[int, int], views: tuple[View, ...] = ()) -> bytes:
    """A work frame with one order per (tick, agent)."""
    orders = tuple(frames.Order(step_record(agent, tick, *views), 1000, None) for tick, agent in steps)
    return frames.pack(frames.Work(1, worker, lease, orders))


def done(worker: int, lease: int, *steps: tuple[int, int]) -> bytes:
    results = tuple(frames.Result(agent, tick, "ok", (), None, 5, 0) for tick, agent in steps)
    return frames.pack(frames.Done(1, worker, lease, results))


def inputs(*numbers: int, cursor: int = 0) -> bytes:
    return frames.pack(frames.Inputs(cursor, tuple(Input(Send(0, b"x"), n, "client", n) for n in numbers)))


def release(block: int) -> bytes:
    return frames.pack(frames.Release(block, block, (("client", block),), (), False))
