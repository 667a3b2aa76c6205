"""`begin` and `commit`: the two functions that move the logical state, live and in recovery alike.

A tick is a pure function of the state, the admitted inputs and decrees, and the outcomes of its steps. Nothing
physical enters; so whoever folds the same blocks gets the same state, and the block that `commit` makes of a recovered
tick must equal the journal's byte for byte.
"""

from __future__ import annotations

import bisect
import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence

import google_crc32c
import msgspec
from msgspec import UNSET, Struct

from runtime import (
    broker,
    channels,
    groups,
    journal,
    lifecycle,
    reads,
    reloads,
    requests,
    scheduler,
    supervisor,
    tasks,
    tenants,
)
from runtime.config import agent_problems, problems
from runtime.errors import FailStop
from runtime.guards import NONE, Guards
from runtime.journal import Block, Event, InferenceEntry, StepEntry
from runtime.meter import Meter
from runtime.outside import Answer
from runtime.state import (
    ACTIVE,
    BACKOFF,
    GONE,
    OUTSIDE,
    STARTING,
    TERMINATED,
    WAKE,
    AgentState,
    BufferState,
    Change,
    Config,
    Configure,
    Decree,
    Effect,
    Grant,
    Inference,
    Input,
    Join,
    Leave,
    Message,
    Operate,
    Outcome,
    Publish,
    Reload,
    Schedule,
    Send,
    Spawn,
    State,
    StepRecord,
    Submit,
    View,
    encode,
)

GENESIS = "genesis"  # the source that configures a run; its inputs come before all others of their tick
TICKS_MAX = 0xFFFFFFFF  # how far ahead a task may be scheduled, as for an agent's own wakes


class Open(Struct):
    """An open tick: what was admitted, and the steps to run, in the order in which they will be committed."""

    tick: int
    inputs: tuple[Input, ...]
    inferences: tuple[Inference, ...]
    decrees: tuple[Decree, ...]
    records: list[StepRecord]
    events: list[Event]
    guards: Guards = NONE


class Committed(Struct):
    """A closed tick: its block, the blobs it needs, and the state's encoding where a snapshot is due."""

    block: Block
    blobs: list[tuple[str, bytes]]
    snapshot: bytes | None
    messages: int


def begin(
    state: State,
    tick: int,
    inputs: Iterable[Input],
    decrees: tuple[Decree, ...] = (),
    inferences: tuple[Inference, ...] = (),
    guards: Guards = NONE,
) -> Open:
    """Admit and select: sort by (source, n), genesis first; apply what is new, wake who is due, fix the records."""
    state.tick = tick
    events: list[Event] = []
    asked = requests.due(state, tick) if inferences else []
    changes: dict[int, Change] = {}
    admitted = []
    for item in sorted(inputs, key=lambda i: (i.source != GENESIS, i.source, i.n)):
        if item.n <= state.admitted.get(item.source, 0):
            continue  # delivered again: its effect is in the state already
        state.admitted[item.source] = item.n
        admitted.append(item)
        _apply(state, item, events, guards, changes)
    config = state.config
    if config is None:
        raise FailStop("genesis", "the first input does not configure the run", "block 1")
    tasks.give(state)
    if inferences:
        inferences = requests.still_wanted(state, asked, inferences)
    if inferences or state.requests:
        requests.deliver(state, tick, inferences)
    for index, agent in enumerate(state.agents):
        if agent.wakes or agent.tasks or agent.phase == BACKOFF:
            supervisor.restart_due(index, agent, tick, events)
            _wake(state, index, tick, events, guards)
    closing = tick >= config.last_tick
    records = _closing(state, config, events) if closing else _stepping(state, config, events, changes)
    if decrees:  # a decree ends a step, or nothing
        stepping = {record.agent for record in records}
        decrees = tuple(decree for decree in decrees if decree.agent in stepping)
    return Open(tick, tuple(admitted), inferences, decrees, records, events, guards)


def _apply(state: State, item: Input, events: list[Event], guards: Guards, changes: dict[int, Change]) -> None:
    if state.config is None and not isinstance(item.action, Configure):
        raise FailStop("genesis", "the first input does not configure the run", "block 1")
    match item.action:
        case Configure(config):
            _configure(state, item, config, events)
        case Spawn(spec) if agent_problems(spec, len(state.buffers)) or not tenants.fits(state, spec):
            events.append(("illegal", OUTSIDE, "spawn", spec.name))
        case Spawn(spec):
            state.agents.append(AgentState(spec=spec, seen=[0] * len(spec.reads)))
        case Send(agent, payload):
            broker.send_input(state, agent, payload, events, guards)
        case Publish(payload, topic):
            broker.publish_input(state, topic, payload, events, guards)
        case Schedule(agent, payload, ticks):
            _schedule(state, agent, payload, ticks, events, guards)
        case Join() | Leave():
            channels.operate(state, item.action, events)
        case Operate() | Reload():
            _operate(state, item.action, changes, events)
        case Submit(batch):
            tasks.submit(state, item.source, item.n, batch, events)
        case Answer():
            reads.answer(state, item, item.action, events)


def _configure(state: State, item: Input, config: Config, events: list[Event]) -> None:
    if state.config is not None:
        events.append(("illegal", OUTSIDE, "configure", item.source))
        return
    if wrong := problems(config):
        raise FailStop("config", "; ".join(wrong), f"input {item.source} {item.n}")
    state.config = config
    state.buffers = [BufferState() for _ in config.buffers]
    state.subscribers = channels.members_at_start(config)
    if config.sources is not UNSET:
        state.reads = reads.at_start(config)


def _operate(state: State, action: Operate | Reload, changes: dict[int, Change], events: list[Event]) -> None:
    if isinstance(action, Reload):
        reloads.admit(state, action, changes, events)
        return
    if action.action == "cancel" and 0 <= action.agent < len(state.agents):
        reads.cancel_all(state, action.agent, events)
        return
    lifecycle.operate(state, action.agent, action.action, events)
    if action.agent in changes and state.agents[action.agent].phase == TERMINATED:
        reloads.dropped(action.agent, changes, events)


def _schedule(state: State, agent: int, payload: bytes, ticks: int, events: list[Event], guards: Guards) -> None:
    assert state.config is not None
    if not 0 <= agent < len(state.agents):
        events.append(("refused", broker.take_sequence(state), OUTSIDE, agent))
    elif not 0 <= ticks <= TICKS_MAX or not broker.admits(state, payload, agent, events, guards):
        broker.refuse_task(agent, payload, events)
    else:
        bisect.insort(state.agents[agent].tasks, (state.tick + ticks, payload), key=lambda task: task[0])


def _wake(state: State, index: int, tick: int, events: list[Event], guards: Guards) -> None:
    """Due wakes and tasks of an active agent become messages; wakes that are due while one is unread are that one."""
    agent = state.agents[index]
    if agent.phase != ACTIVE:
        return
    if agent.wakes and agent.wakes[0] <= tick:
        agent.wakes = [at for at in agent.wakes if at > tick]
        if not any(message.kind == WAKE and not message.payload for message in agent.mailbox):
            broker.deliver_control(agent, Message(0, WAKE, OUTSIDE, 0, b""))
    while agent.tasks and agent.tasks[0][0] <= tick:
        broker.deliver_task(state, index, agent.tasks.pop(0)[1], events, guards)


def _stepping(state: State, config: Config, events: list[Event], changes: dict[int, Change]) -> list[StepRecord]:
    """Reloads come first, each in its agent's turn; then who is selected among the others."""
    chosen = scheduler.select(state, events, changes)
    records = _records(state, config, chosen)
    if not changes:
        return records
    return reloads.changing(_records(state, config, list(changes), "reload"), changes) + records


def _closing(state: State, config: Config, events: list[Event]) -> list[StepRecord]:
    """The last tick: active agents take their shutdown step, the others end as they are."""
    active = [index for index, agent in enumerate(state.agents) if agent.phase == ACTIVE]
    records = _records(state, config, active, "shutdown")
    for index, agent in enumerate(state.agents):
        if agent.phase != TERMINATED:
            lifecycle.move(index, agent, TERMINATED, events)
    return records


def _records(state: State, config: Config, chosen: Sequence[int], only: str = "") -> list[StepRecord]:
    """The records of these agents' steps in a tick, inits or ordinary ones where they are not `only` of one kind.

    What they consume leaves the mailboxes.
    """
    tick, agents = state.tick, state.agents
    keys = random_keys(config.seed, tick, max(chosen) + 1) if chosen else ()
    now_ms = config.epoch_ms + tick * config.tick_ms
    known, topics, buffers, models = len(agents), len(state.subscribers), len(config.buffers), len(config.models)
    send_limit, max_payload = config.send_limit, config.max_payload
    records = []
    for index in chosen:
        agent = agents[index]
        agent.n = n = agent.n + 1
        kind = only or ("init" if agent.phase == STARTING else "step")
        inbox: tuple[Message, ...] = ()
        views: tuple[View, ...] = ()
        snapshot = kind != "step"
        if not snapshot:
            inbox = tuple(agent.mailbox)
            agent.mailbox.clear()
            if agent.reserved:
                agent.reserved = 0
            if agent.spec.reads:
                views = _views(state, config, agent)
            snapshot = tick >= agent.image_due
        if snapshot:
            ahead = (index - tick) % config.snapshot_every
            agent.image_due = tick + (ahead or config.snapshot_every)
        records.append(
            StepRecord(  # in the order of its fields: names cost more than the record does
                index,
                n,
                kind,
                tick,
                now_ms,
                keys[index],
                known,
                topics,
                buffers,
                models,
                send_limit,
                max_payload,
                snapshot,
                inbox,
                views,
                _grants(state, config, index) if buffers else (),
            )
        )
    return records


def random_keys(seed: int, tick: int, agents: int) -> tuple[int, ...]:
    """The keys of the random streams of agents 0 to `agents` - 1 in one tick, 64 bits each.

    One agent's key does not depend on how many there are: SHAKE-256 gives the same first bytes for any length.
    """
    stream = hashlib.shake_256(b"%d/random/%d" % (seed, tick)).digest(8 * agents)
    return struct.unpack(f"<{agents}Q", stream)


def _grants(state: State, config: Config, index: int) -> tuple[Grant, ...]:
    """The next version of each buffer that the agent writes."""
    specs = enumerate(config.buffers)
    return tuple([Grant(b, state.buffers[b].version + 1, s.capacity) for b, s in specs if s.writer == index])


def _views(state: State, config: Config, agent: AgentState) -> tuple[View, ...]:
    """The published versions that the agent has not read yet, one for each of its buffers at most."""
    views = []
    for place, buffer in enumerate(agent.spec.reads):
        published = state.buffers[buffer]
        if published.version > agent.seen[place]:
            agent.seen[place] = published.version
            capacity = config.buffers[buffer].capacity
            views.append(View(buffer, published.version, published.length, published.crc, capacity))
    return tuple(views)


def commit(state: State, opened: Open, outcomes: Mapping[int, Outcome]) -> Committed:
    """Apply the outcomes in task order, whatever order they came in; make the block."""
    config = state.config
    assert config is not None
    events = opened.events
    blobs: list[tuple[str, bytes]] = []
    steps, messages = _settled(state, config, opened, outcomes, blobs)
    if config.groups is not UNSET:
        failures = [r.agent for r in opened.records if outcomes[r.agent].status != "ok" and r.change is None]
        groups.settle(state, failures, opened.tick, events)
    tasks.give(state)
    if opened.tick >= config.last_tick:
        state.finished = True
        events.append(("finished",))
    state.block += 1
    snapshot = None
    digest = ""
    if state.finished or opened.tick >= state.root_due:
        state.root_due = (opened.tick // config.snapshot_every + 1) * config.snapshot_every
        snapshot = encode(state)
        digest = hashlib.sha256(snapshot).hexdigest()
    block = Block(
        decrees=tuple(sorted(opened.decrees, key=lambda decree: decree.agent)),  # not as they were synced
        events=tuple(events),
        inferences=tuple(
            [InferenceEntry(journal.stored(i.kv, blobs), i.logits, i.request, i.token) for i in opened.inferences]
        ),
        inputs=opened.inputs,
        root=digest,
        steps=tuple(steps),
        tick=opened.tick,
    )
    return Committed(block, blobs, snapshot, messages)


def _settled(
    state: State, config: Config, opened: Open, outcomes: Mapping[int, Outcome], blobs: list[tuple[str, bytes]]
) -> tuple[list[StepEntry], int]:
    """Every step's outcome applied: their entries, and the number of messages that they sent or published."""
    steps: list[StepEntry] = []
    messages = 0
    meter = None if config.tenants is UNSET else Meter(state, config, opened.guards)
    plain = meter is None and state.graph is UNSET
    agents, events, guards = state.agents, opened.events, opened.guards
    for record in opened.records:
        index, kind, inbox, views = record.agent, record.kind, record.inbox, record.views
        outcome = outcomes[index]
        status, effects = outcome.status, outcome.effects
        first = (index + 1) << 32 | agents[index].sent + 1  # as `sequence` has it
        if plain and kind == "step" and status == "ok":  # nearly every step: all it leaves is effects
            if effects:
                messages += broker.send_effects(state, record, effects, events, guards, _effect)
        else:
            messages += _settle(state, config, record, outcome, opened, meter)
        steps.append(
            StepEntry(  # in the order of its fields: names cost more than the entry does
                index,
                journal.journal_effects(effects, blobs) if effects else (),
                outcome.image,
                tuple([message.seq for message in inbox]) if inbox else (),
                kind,
                record.n,
                first,
                status,
                tuple([(view.buffer, view.version) for view in views]) if views else (),
            )
        )
    return steps, messages


def _settle(
    state: State, config: Config, record: StepRecord, outcome: Outcome, opened: Open, meter: Meter | None
) -> int:
    """Apply one step's outcome; the number of messages that it sent or published."""
    index, events, guards = record.agent, opened.events, opened.guards
    if outcome.status != "ok":
        agent = state.agents[index]
        if record.change is not None:
            reloads.rolled_back(record, record.change, outcome.status, events)
            return 0
        requests.forget(state, index, events)
        if agent.phase == TERMINATED or groups.of(config, index) is not None:
            events.append(("failed", index, outcome.status))  # a group's turn comes when all steps are settled
        else:
            supervisor.failed(index, agent, outcome.status, record.tick, config, events)
        if record.kind == "step":
            tasks.stepped(state, index, outcome.status, events)
        if agent.phase in GONE and agent.phase != TERMINATED:
            broker.discard(state, index, events)
            tasks.gone(state, index, events)
        return 0
    if record.kind == "init":
        lifecycle.move(index, state.agents[index], ACTIVE, events)
    elif record.change is not None:
        reloads.done(state, index, record.change, events)
    effects = outcome.effects if meter is None else meter.passed(index, outcome.effects, events)
    messages = broker.send_effects(state, record, effects, events, guards, _effect)
    if state.graph is not UNSET and record.kind == "step":
        tasks.stepped(state, index, "ok", events)
    return messages


def _effect(state: State, record: StepRecord, effect: Effect, events: list[Event], guards: Guards) -> int:
    """One that is no direct message; 1 for one that is a message to a topic or channel."""
    op, target = effect.op, effect.target
    if op == "publish":
        channels.publish(state, record.agent, target, effect.payload, events, guards)
    elif op == "wake":
        _ask_wake(state, record.agent, record.tick + max(1, target), events)
    elif op == "subscribe":
        channels.subscribe(state, record.agent, target, events)
    elif op == "unsubscribe":
        broker.unsubscribe(state, record.agent, target)
    elif op == "infer":
        requests.request(state, record, target, effect.payload, events)
    elif op == "read":
        reads.ask(state, record, target, effect.payload, events)
    elif op == "cancel":
        reads.cancel(state, record.agent, target, events)
    elif op == "buffer":
        digest = hashlib.sha256(effect.payload).hexdigest()
        crc = google_crc32c.value(effect.payload)
        version = state.buffers[target].version + 1
        state.buffers[target] = BufferState(version, len(effect.payload), crc, digest)
        events.append(("published", target, version, len(effect.payload), crc, digest))
    # an output leaves with the block's release and changes no state
    return int(op == "publish")


def _ask_wake(state: State, index: int, tick: int, events: list[Event]) -> None:
    """An agent's own wake; at most `mailbox` of them are pending, each for another tick."""
    assert state.config is not None
    wakes = state.agents[index].wakes
    place = bisect.bisect_left(wakes, tick)
    if place < len(wakes) and wakes[place] == tick:
        return
    if len(wakes) < state.config.mailbox:
        wakes.insert(place, tick)
    else:
        events.append(("refused_wake", index, tick))


def next_tick(state: State, input_due: int | None) -> int:
    """The next tick in which anything is due; ticks between write no block."""
    config = state.config
    if config is None:
        return 0
    due, soon = config.last_tick, state.tick + 1
    if input_due is not None:
        due = min(due, input_due)
    if state.requests:
        due = min(due, requests.next_due(state))
    for agent in state.agents:
        if agent.phase == STARTING or (agent.phase == ACTIVE and agent.mailbox):
            return min(soon, config.last_tick)
        if agent.phase == BACKOFF:
            due = min(due, agent.restart_at)
        elif agent.phase == ACTIVE:
            if agent.wakes:
                due = min(due, agent.wakes[0])
            if agent.tasks:
                due = min(due, agent.tasks[0][0])
    return max(due, soon)


def copy_state(state: State) -> State:
    """A deep copy through the one encoding."""
    return msgspec.msgpack.decode(encode(state), type=State)
