"""The history of one run: independent records of it, written on different sides of the ports.

Oracles compare two of them; none is derived from another. The journal is what the runtime wrote; the guest log what
went in and out of the modules; the client's ledger what left and entered; the store log what touched shared memory;
the sync log what the disk made durable, and what not; the device log what inference devices got and gave; the loads
which bytes instances and sessions were made of; the trace what the runtime told its telemetry; injections what the
fault layer did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import msgspec
from msgspec import Struct

from faults.plan import Plan
from runtime.frames import Ask, Output, arguments_of
from runtime.state import Input
from runtime.telemetry import Record
from runtime.wasm.agent_wasi import AgentLine

LINES_MAX = 10_000


class GuestCall(Struct, frozen=True, gc=False):
    """One host call as the module made it; `data` are the bytes in its memory, None when out of range."""

    op: str
    target: int
    length: int
    data: bytes | None


class GuestEvent(Struct, gc=False):
    """One crossing into a module: first runs, repeated runs after a loss, and replays alike.

    `given` is the inbox as it was handed to the driver, a msgpack array of messages; `made` is what the driver made of
    the host calls (msgpack of the effects), or the calls themselves where a step failed.
    """

    at: int
    worker: int
    incarnation: int
    agent: int
    kind: str
    tick: int
    given: bytes
    status: str
    made: bytes | tuple[GuestCall, ...]
    fresh: bool  # the first crossing into this instance
    granted: int = -1  # fuel; -1 in these three is: not on record
    used: int = -1
    memory: int = -1  # bytes of its linear memory afterwards
    module: str = ""  # the digest under which the instance was made
    state: str = ""  # sha256 of the state that a reload was given, and of the one that its agent's next crossing met
    opened: tuple[GuestCall, ...] | None = None

    @property
    def calls(self) -> tuple[GuestCall, ...]:
        """The host calls that had an effect, in their order; opened when somebody looks, as most never are."""
        made = self.made
        if isinstance(made, tuple):
            return made
        if self.opened is None:
            effects = msgspec.msgpack.decode(made)
            self.opened = tuple([GuestCall(op, target, len(data), data) for op, target, data in effects])
        return self.opened


class ReplayEvent(Struct, gc=False):
    """Several steps of one agent in one crossing: their records as they were given, and the effects of each.

    `made` may be shorter: then the next one ended as `failed` says, a status and its host calls. `granted` is the fuel
    for each step, `used` that of all, `memory` as of the last.
    """

    at: int
    worker: int
    incarnation: int
    records: Sequence[bytes | msgspec.Raw]
    made: Sequence[bytes]
    failed: tuple[str, bytes | tuple[GuestCall, ...]] | None
    fresh: bool
    granted: int
    used: int
    memory: int
    module: str

    def events(self) -> list[GuestEvent]:
        """Each step as a crossing of its own; of their fuel each has the same share."""
        outcomes: list[tuple[str, bytes | tuple[GuestCall, ...]]] = [("ok", made) for made in self.made]
        if self.failed is not None:
            outcomes.append(self.failed)
        share = self.used // max(1, len(outcomes))
        found = []
        for number, (data, (status, made)) in enumerate(zip(self.records, outcomes, strict=False)):
            record = arguments_of(data)
            found.append(
                GuestEvent(
                    self.at, self.worker, self.incarnation, record.agent, record.kind, record.tick,
                    bytes(record.inbox), status, made, self.fresh and not number, self.granted, share, self.memory,
                    self.module,
                )
            )  # fmt: skip
        return found


class StoreEvent(NamedTuple):
    """One store by a worker into a shared segment (`offset`, `length` in bytes)."""

    at: int
    worker: int
    segment: int
    offset: int
    length: int


class DeviceEvent(NamedTuple):
    """One request as a device got it in a batch, and its result as it left; `token` is -1 where none did.

    `kv_digest` and `added` are the sha256 (hex) of the KV cache given and of the part that the result adds to it.
    """

    at: int
    process: int
    device: int
    incarnation: int
    model: str
    request: int
    position: int
    tokens: tuple[int, ...]
    kv_digest: str
    token: int
    logits: str
    added: str


class LoadEvent(NamedTuple):
    """Bytes that an artefact gave (`side` "given"), or that an instance or a session was made of ("made"); "failed"
    follows a session that could not be made, with ModelFailed's word in `refused`.

    `place` is "worker" or "device", `number` whose, `agent` -1 where it is not known; `name` is the digest asked for or
    declared, `digest` that of the bytes, `abi` the versions that they declare, `refused` the check that refused them.
    """

    at: int
    side: str
    place: str
    number: int
    agent: int
    name: str
    digest: str
    abi: tuple[str, ...]
    refused: str


class Receipt(NamedTuple):
    """What the client received with one released block, and how much of the journal was durable when it was sent."""

    at: int
    block: int
    tick: int
    acknowledged: tuple[tuple[str, int], ...]
    outputs: tuple[Output, ...]
    durable_bytes: int
    final: bool
    watermark: bytes  # the watermark file as it was synced at that moment
    durable_blobs: int = 0  # bytes of the file of blobs, likewise
    asks: tuple[Ask, ...] = ()
    closed: tuple[tuple[str, int], ...] = ()


class WorldEvent(NamedTuple):
    """What the world outside was asked, and what it answered; `block` is the one with which the question left."""

    at: int
    block: int
    ask: Ask
    status: int
    data: bytes


class SyncEvent(NamedTuple):
    """One sync as the disk ended it: when, of which file (`name` "" is the directory), and whether it was good.

    `file` is the file's number, which it keeps when it is renamed. The sync was for all changes since the one before,
    the first of them at byte `low`, in a file of `size` bytes.
    """

    at: int
    name: str
    file: int
    good: bool
    low: int
    size: int


class Life(NamedTuple):
    """A worker came to life or died, as the adapter that runs it knows."""

    at: int
    worker: int
    alive: bool


class Census(NamedTuple):
    """What the adapters hold at the end: live workers, live device processes, segments, and open instances.

    `devices` are (device, process), `instances` (worker, agent, how many) of live workers.
    """

    workers: tuple[int, ...]
    devices: tuple[tuple[int, int], ...]
    segments: tuple[int, ...]
    instances: tuple[tuple[int, int, int], ...]


class Crash(NamedTuple):
    """One death of the orchestrator; `journal` is the file as written (page cache) just before, `kept` after it."""

    at: int
    incarnation: int
    tick: int
    phase: str
    journal: bytes
    kept: bytes


class Injection(NamedTuple):
    """One thing that a fault wrapper did: index of the fault in the plan, and what it touched.

    `after` is how many records the trace had then: many things happen at one moment of virtual time.
    """

    at: int
    fault: int
    fields: dict[str, int | str]
    after: int = 0


class History(Struct):
    plan: Plan
    journal: bytes = b""
    header: bytes = b""
    blobs: dict[str, bytes] = {}
    trace: list[Record] = []
    crossings: list[GuestEvent | ReplayEvent] = []  # into modules, as they happened; to be read as `guests`
    stores: list[StoreEvent] = []
    lives: list[Life] = []
    syncs: list[SyncEvent] = []
    inferences: list[DeviceEvent] = []
    loads: list[LoadEvent] = []
    sent: list[Input] = []
    receipts: list[Receipt] = []
    asked: list[WorldEvent] = []
    cancelled: list[tuple[int, int]] = []  # (tick, agent) of the steps that the driver had cancelled
    crashes: list[Crash] = []
    injections: list[Injection] = []
    owners: dict[int, int] = {}  # of the inputs that faults add: number -> index of the fault in the plan
    lines: list[AgentLine] = []  # what agents wrote to stdout and stderr, the first LINES_MAX writes, repeated ones too
    hazards: dict[str, int] = {}  # how often each site took its rare choice
    files: dict[str, bytes] = {}  # the disk at the end
    seen: dict[str, bytes] = {}  # what was read of each file last, where the plan has faults that damage files
    final_state: bytes = b""
    census: Census | None = None  # None where the run has none: it never got as far as an orchestrator
    virtual_ns: int = 0
    healed_at: int = 0
    finished: bool = False
    failure: str = ""  # the check that stopped the run, "" when none
    failure_detail: str = ""
    _opened: list[GuestEvent] = []
    _opened_at: int = -1  # how many crossings there were then

    @property
    def guests(self) -> list[GuestEvent]:
        """The guest log, each step of a replay on its own; made when somebody looks."""
        crossings = self.crossings
        if self._opened_at != len(crossings):
            if not any(isinstance(event, ReplayEvent) for event in crossings):
                return cast("list[GuestEvent]", crossings)
            self._opened_at = len(crossings)
            self._opened = [one for event in crossings for one in _steps_of(event)]
        return self._opened

    @guests.setter
    def guests(self, events: list[GuestEvent]) -> None:
        self.crossings, self._opened_at = [*events], -1


def _steps_of(event: GuestEvent | ReplayEvent) -> Sequence[GuestEvent]:
    return event.events() if isinstance(event, ReplayEvent) else (event,)
