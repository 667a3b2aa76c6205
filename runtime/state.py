"""The logical state: one tree of Structs. What is not in here (or in an agent's memory and globals) is not logical.

All times are ticks, all ids integers in order of creation. The tree's encoding is a state snapshot (`encode`), and
its sha256 the root that the journal carries (STA-1).
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import UNSET, Struct, UnsetType

from runtime.outside import Answer, Reads, SourceSpec

OUTSIDE = 0xFFFFFFFF  # the sender of whatever no agent sent

# Kinds of messages, as an agent sees them in the envelope (docs/abi.md).
MESSAGE, TOPIC, INPUT, WAKE, REFUSED, BUFFER, INFERENCE, TASK, READING = 1, 2, 3, 4, 5, 6, 7, 8, 9

# Status codes of host calls and of refused sends (docs/abi.md).
OK, E_LIMIT, E_TARGET, E_SIZE, E_FULL, E_MEMBER, E_QUOTA, E_INVALID = 0, 1, 2, 3, 4, 5, 6, 7

# Phases of an agent's life (ORC-2).
STARTING, ACTIVE, PAUSED = "starting", "active", "paused"
BACKOFF, QUARANTINED, TERMINATED = "backoff", "quarantined", "terminated"
GONE = (QUARANTINED, TERMINATED)

# Phases of a task's life (SCH-3): some parents have not ended; to be given; in the mailbox; in the agent; how it ended.
WAITING, READY, GIVEN, TAKEN, DONE, FAILED, SKIPPED = (
    "waiting",
    "ready",
    "given",
    "taken",
    "done",
    "failed",
    "skipped",
)


class Limits(Struct, frozen=True, kw_only=True, gc=False):
    """What one agent may use (WAS-4): fuel per step in wasmtime's units, memory in bytes, table elements.

    The stack is the engine's (`runtime.wasm.engine`), the same for all; an agent has exactly one instance.
    """

    fuel: int = 1_000_000
    memory: int = 1 << 20
    table: int = 1_000


class Library(Struct, frozen=True, kw_only=True, gc=False):
    """A function module, by sha256 (hex), from which an agent's module imports under `name` (WAS-7)."""

    module: str
    name: str


class AgentSpec(Struct, frozen=True, kw_only=True, gc=False):
    """One agent as declared: module by digest, granted groups of host functions, limits, buffers it reads.

    `guard` is the sha256 of the validator that a message must pass to enter its mailbox (VAL-1).
    """

    capabilities: tuple[str, ...]
    guard: str | UnsetType = UNSET
    libraries: tuple[Library, ...] | UnsetType = UNSET
    limits: Limits = Limits()
    module: str
    name: str
    priority: int = 0
    reads: tuple[int, ...] = ()
    tenant: int | UnsetType = UNSET  # an index of `Config.tenants`; unset: of no declared tenant


class TenantSpec(Struct, frozen=True, kw_only=True, gc=False):
    """What the agents of one tenant may take together (TEN-1); 0 is: no limit.

    Per tick: `tasks` steps, `fuel` granted to them, `messages` sent, each copy counted; at any time: `memory`, the sum
    of their declared maxima in bytes.
    """

    fuel: int = 0
    memory: int = 0
    messages: int = 0
    name: str
    tasks: int = 0


class BufferSpec(Struct, frozen=True, kw_only=True, gc=False):
    """One shared buffer: its capacity in bytes and the id of its only writer."""

    capacity: int
    name: str
    writer: int


class ModelSpec(Struct, frozen=True, kw_only=True, gc=False):
    """One declared model: its ONNX bytes by digest, and what the runtime must know to admit a request (INF-1).

    A decoder: a session holds at most `context` tokens below `vocabulary`, and `kv_bytes` of KV cache per token. A
    result arrives `delay_ticks` after its request, however long the device took. `tier` is "exact": the same bits on
    any device.
    """

    context: int
    delay_ticks: int = 2
    digest: str
    kv_bytes: int
    name: str
    tier: str = "exact"
    version: int = 1
    vocabulary: int


class Group(Struct, frozen=True, kw_only=True, gc=False):
    """Agents that are supervised together, in the order in which they depend on each other (ORC-3).

    `within` names the group, declared before this one, to which it escalates; there it comes after the agents.
    """

    agents: tuple[int, ...]
    backoff_ticks: int = 1
    max_restarts: int = 3
    name: str
    strategy: str = "one_for_one"
    window_ticks: int = 100
    within: str = ""


class ChannelSpec(Struct, frozen=True, kw_only=True, gc=False):
    """One channel (MSG-1): only members post, and every other member gets it. `members` are agents, from the start.

    A `closed` one is joined by an operator's action alone; leaving it is anyone's own.
    """

    closed: bool = False
    members: tuple[int, ...] = ()
    name: str


class Config(Struct, frozen=True, kw_only=True, gc=False):
    """The logical options of a run (CFG-1). Physical ones (workers, leases) are `runtime.physical.Physical`.

    An agent that is in none of the `groups` is supervised alone, by the options here. Channels are numbered on from the
    topics. An option that is unset stands in no journal.
    """

    backoff_ticks: int = 1
    buffers: tuple[BufferSpec, ...] = ()
    channels: tuple[ChannelSpec, ...] | UnsetType = UNSET
    epoch_ms: int = 1_700_000_000_000
    groups: tuple[Group, ...] | UnsetType = UNSET  # left out of the encoding where there are none
    guard: str | UnsetType = UNSET  # sha256 of the validator that payloads from outside must pass to be admitted
    last_tick: int
    mailbox: int = 1024
    max_payload: int = 65_536
    max_restarts: int = 3
    max_tasks_per_tick: int = 1_000_000
    models: tuple[ModelSpec, ...] = ()
    policy: str = "round_robin"
    seed: int
    send_limit: int = 64
    snapshot_every: int = 64
    sources: tuple[SourceSpec, ...] | UnsetType = UNSET
    tenants: tuple[TenantSpec, ...] | UnsetType = UNSET
    tick_ms: int = 10
    topics: tuple[str, ...] = ()
    window_ticks: int = 100


# --- inputs: everything that enters from outside, operator actions included (ORC-4) ---------------------------------


class Configure(Struct, frozen=True, tag_field="do", tag="configure", gc=False):
    config: Config


class Spawn(Struct, frozen=True, tag_field="do", tag="spawn", gc=False):
    spec: AgentSpec


class Send(Struct, frozen=True, tag_field="do", tag="send", gc=False):
    agent: int
    payload: bytes


class Publish(Struct, frozen=True, tag_field="do", tag="publish", gc=False):
    payload: bytes
    topic: int


class Schedule(Struct, frozen=True, tag_field="do", tag="schedule", gc=False):
    """A task for an agent: a WAKE message with this payload, `ticks` from its admission."""

    agent: int
    payload: bytes
    ticks: int


class Join(Struct, frozen=True, tag_field="do", tag="join", gc=False):
    agent: int
    topic: int


class Leave(Struct, frozen=True, tag_field="do", tag="leave", gc=False):
    agent: int
    topic: int


class Operate(Struct, frozen=True, tag_field="do", tag="operate", gc=False):
    """An operator's action on an agent: pause, resume, terminate, release."""

    action: str
    agent: int


class Task(Struct, frozen=True, kw_only=True, gc=False):
    """One task: the agent that does it, its name in the run, and the tasks that must have ended well before.

    It reaches its agent as one message of kind TASK, whatever the policy.
    """

    agent: int
    id: str
    needs: tuple[str, ...] = ()
    payload: bytes = b""
    priority: int = 0


class Submit(Struct, frozen=True, tag_field="do", tag="submit", gc=False):
    """Tasks, all of them or none; they may need each other, whatever their order, and any submitted before."""

    tasks: tuple[Task, ...]


class Reload(Struct, frozen=True, tag_field="do", tag="reload", gc=False):
    """Another module (sha256, hex) for an agent, under the grants and limits that it has; `version` is its number."""

    agent: int
    module: str
    version: int


Action = Configure | Spawn | Send | Publish | Schedule | Join | Leave | Operate | Submit | Reload | Answer


class Input(Struct, frozen=True, gc=False):
    """One input; (source, n) is its identity, n counts from 1 in each source, `tick` is where it is due."""

    action: Action
    n: int
    source: str
    tick: int


class Decree(Struct, frozen=True, gc=False):
    """A verdict that only physical evidence can give, admitted like an input: the step ends as failed(reason)."""

    agent: int
    reason: str
    tick: int


# --- a step ---------------------------------------------------------------------------------------------------------


def sequence(sender: int, number: int) -> int:
    """A message's id: the sender's own count, so that what one agent does shows in no other one's messages."""
    return number if sender == OUTSIDE else (sender + 1) << 32 | number


class Message(Struct, frozen=True, array_like=True, gc=False):
    """One delivered message; `seq` as in `sequence`, 0 for a wake.

    `channel` is the topic or channel, the buffer, or the status code of a refusal.
    """

    seq: int
    kind: int
    sender: int
    channel: int
    payload: bytes


class View(Struct, frozen=True, array_like=True, gc=False):
    """One published version of a buffer that a step reads; `data` is filled in only for a replay."""

    buffer: int
    version: int
    length: int
    crc: int
    capacity: int
    data: bytes | None = None


class Grant(Struct, frozen=True, array_like=True, gc=False):
    """The right to fill the private slot of `version` of a buffer, of at most `capacity` bytes."""

    buffer: int
    version: int
    capacity: int


class Change(Struct, frozen=True, array_like=True, gc=False):
    """What a reload changes: the spec after it, its version, the one before; whether there is a state to take over."""

    spec: AgentSpec
    version: int
    before: int
    carried: bool


class StepRecord(Struct, frozen=True, array_like=True, gc=False):
    """All that a step may observe beside its own state, fixed at select. `kind` is init, step, shutdown or reload."""

    agent: int
    n: int
    kind: str
    tick: int
    now_ms: int
    random_key: int
    agents: int
    topics: int
    buffers: int
    models: int
    send_limit: int
    max_payload: int
    snapshot: bool
    inbox: tuple[Message, ...]
    views: tuple[View, ...]
    grants: tuple[Grant, ...]
    change: Change | None = None  # a reload without one was rolled back: run again, it does nothing


class Effect(Struct, frozen=True, array_like=True, gc=False):
    """One host call that had an effect; `op` as in `runtime.wasm.abi.OPS`."""

    op: str
    target: int
    payload: bytes = b""


class Outcome(Struct, frozen=True, array_like=True, gc=False):
    """What a step did: "ok" with effects in call order, or a reason with none; the image's digest if it took one."""

    status: str
    effects: tuple[Effect, ...]
    image: str = ""


class Request(Struct, frozen=True, array_like=True, gc=False):
    """One admitted inference request: append `tokens` to the agent's session with a model, which holds `position`.

    `id` is a message number of the agent; `due` the tick in which its result is delivered; `life` the agent's life.
    """

    id: int
    agent: int
    life: int
    model: int
    due: int
    position: int
    tokens: tuple[int, ...]


class Inference(Struct, frozen=True, array_like=True, gc=False):
    """A request's result: the next token, the sha256 (hex) of the last position's logits, the KV cache of its tokens.

    `logits` covers little-endian float32 bytes, `kv` is int8, kv_bytes for each token, in order.
    """

    request: int
    token: int
    logits: str
    kv: bytes


class Session(Struct):
    """An agent's session with a model: the KV cache of all its tokens (int8, kv_bytes each)."""

    agent: int
    model: int
    tokens: int = 0
    kv: bytes = b""


# --- the tree -------------------------------------------------------------------------------------------------------


class AgentState(Struct):
    """`n` counts executed steps over all lives; `ready_since` is -1 when there is nothing to do."""

    spec: AgentSpec
    phase: str = STARTING
    life: int = 0
    n: int = 0
    ready_since: int = -1
    restart_at: int = -1
    image_due: int = 0
    mailbox: list[Message] = []
    reserved: int = 0  # control messages in the mailbox, beyond its bound
    restarts: list[int] = []
    sent: int = 0  # numbers given to its messages, over all lives
    seen: list[int] = []  # newest version read, in the order of spec.reads
    tasks: list[tuple[int, bytes]] = []  # scheduled from outside: (tick, payload), in order of tick
    wakes: list[int] = []  # ticks the agent asked to be woken at; a new life starts without them
    version: int | UnsetType = UNSET  # of its module, by the reload that brought it; before the first one it is 1


class TaskState(Struct):
    """A task that was submitted. `level` is 1 more than the highest of those that it needs, `seq` its message's number,
    `waits` how many of what it needs have not ended. The payload is dropped when it ends."""

    agent: int
    level: int
    payload: bytes
    priority: int
    seq: int
    waits: int = 0
    phase: str = WAITING
    children: list[tuple[int, str]] = []  # seq and id


class Queue(Struct):
    """The tasks of one agent that are ready: two heaps of the same ones, by rank and by how long they have been ready.

    `given` counts the tasks it was given, `current` is the one that it has ("": none). An entry whose task is no
    longer ready was taken from the other heap.
    """

    current: str = ""
    given: int = 0
    ranked: list[tuple[int, int, int, str]] = []  # level, -priority, seq, id
    oldest: list[tuple[int, int, str]] = []  # `given` when it became ready, seq, id


class Graph(Struct):
    """All tasks that are known, by id; `ended` are the ids of those that have ended, oldest first."""

    tasks: dict[str, TaskState] = {}
    ended: list[str] = []
    queues: list[Queue] = []  # by agent, as far as there are any


class BufferState(Struct):
    version: int = 0
    length: int = 0
    crc: int = 0
    digest: str = ""


class State(Struct):
    config: Config | None = None
    tick: int = -1
    block: int = 0
    outside: int = 0  # numbers given to messages from outside
    cursor: int = 0  # round robin: the agent whose turn is next; where there are tenants: the tenant
    root_due: int = 0
    agents: list[AgentState] = []
    admitted: dict[str, int] = {}
    buffers: list[BufferState] = []
    requests: list[Request] = []
    sessions: list[Session] = []
    subscribers: list[list[int]] = []
    finished: bool = False
    # Left out of the encoding where there are none.
    graph: Graph | UnsetType = UNSET
    reads: Reads | UnsetType = UNSET
    restarts: list[list[int]] | UnsetType = UNSET  # of each group, as `AgentState.restarts`


_encoder = msgspec.msgpack.Encoder(order="sorted")
_decoder = msgspec.msgpack.Decoder(State)


def encode(state: State) -> bytes:
    """The state's one encoding; equal states give equal bytes."""
    return _encoder.encode(state)


def decode(data: bytes) -> State:
    """The inverse of `encode`; raises msgspec.DecodeError on anything else."""
    return _decoder.decode(data)


def root(state: State) -> str:
    return hashlib.sha256(encode(state)).hexdigest()
