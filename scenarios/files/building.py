"""A scenario from tables that are right: names become numbers, turns become actions, files become bytes by digest."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from runtime import tenants
from runtime.errors import Refused
from runtime.state import (
    Action,
    AgentSpec,
    AgentState,
    BufferSpec,
    ChannelSpec,
    Config,
    Group,
    Join,
    Leave,
    ModelSpec,
    Operate,
    Publish,
    Schedule,
    Send,
    State,
    Submit,
    Task,
    TenantSpec,
)
from scenarios.base import Outcome, Scenario
from scenarios.builder import Agent, composed
from scenarios.files import rules
from scenarios.files.tables import Description, GroupTable, MeasureTable, ModelTable, TaskTable, WorkTable

SNAPSHOT_EVERY = 8


class Made(NamedTuple):
    """What one entry of `agents` made; `name` is None where nothing says it, `agents` () where a file is bad."""

    name: str | None
    agents: tuple[Agent, ...] = ()


class Files(NamedTuple):
    """What the tables' files hold: models' bytes in order, and validators' by file."""

    models: tuple[bytes, ...]
    guards: dict[str, bytes]


def built(described: Description, made: Sequence[Made], files: Files) -> Scenario:
    """The scenario, still under the name that the file gives it."""
    agents = [one for each in made for one in each.agents]
    ids = {one.spec.name: number for number, one in enumerate(agents)}
    either = {each.name: [ids[one.spec.name] for one in each.agents] for each in made if each.name}
    either |= {name: [number] for name, number in ids.items()}
    guards = {file: _digest(data) for file, data in files.guards.items()}
    config = Config(
        last_tick=described.last_tick,
        seed=0,
        snapshot_every=SNAPSHOT_EVERY,
        topics=described.topics,
        buffers=tuple(BufferSpec(capacity=b.capacity, name=b.name, writer=ids[b.writer]) for b in described.buffers),
        channels=_channels(described, either) or UNSET,
        tenants=_tenants(described) or UNSET,
        groups=tuple(_group(table, either) for table in described.groups) or UNSET,
        guard=guards[described.guard] if described.guard else UNSET,
        models=tuple(_model(table, data) for table, data in zip(described.models, files.models, strict=True)),
    )
    specs = _specs(described, agents, [len(each.agents) for each in made], guards)
    _refuse_crowd(config, specs)
    fixed, actions = _actions(described, either)
    scenario = composed(
        described.name,
        [one._replace(spec=spec) for spec, one in zip(specs, agents, strict=True)],
        actions,
        config=config,
        title=described.title or described.name,
        fixed=fixed,
        faults=described.faults,
        invariant=_invariant(described, either),
    )
    models = {_digest(data): data for data in files.models}
    modules = {**scenario.modules, **{_digest(data): data for data in files.guards.values()}}
    return dataclasses.replace(scenario, models=lambda: models, modules=modules)


def _invariant(described: Description, either: dict[str, list[int]]) -> Callable[[Outcome], list[str]]:
    """The file's rules, with names as numbers."""
    places = (*described.topics, *(channel.name for channel in described.channels))

    def wanted(of: MeasureTable) -> tuple[frozenset[int] | None, int | None]:
        agents = None if of.agent is None else frozenset(either[of.agent])
        return agents, None if of.topic is None else places.index(of.topic)

    return lambda outcome: rules.judged(described.invariants, wanted, outcome)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _specs(described: Description, agents: list[Agent], counts: list[int], guards: dict[str, str]) -> list[AgentSpec]:
    """The agents' specs with the numbers of the buffers that they read, and their guards' digests."""
    number = {buffer.name: index for index, buffer in enumerate(described.buffers)}
    tenant = {one.name: index for index, one in enumerate(described.tenants)}
    tables = [table for table, count in zip(described.agents, counts, strict=True) for _ in range(count)]
    return [
        replace(
            one.spec,
            reads=tuple(number[name] for name in table.reads),
            guard=guards[table.guard] if table.guard else UNSET,
            tenant=tenant[table.tenant] if table.tenant else UNSET,
        )
        for one, table in zip(agents, tables, strict=True)
    ]


def _channels(described: Description, either: dict[str, list[int]]) -> tuple[ChannelSpec, ...]:
    return tuple(
        ChannelSpec(closed=table.closed, members=_all(table.members, either), name=table.name)
        for table in described.channels
    )


def _group(table: GroupTable, either: dict[str, list[int]]) -> Group:
    return Group(
        agents=_all(table.agents, either),
        backoff_ticks=table.backoff_ticks,
        max_restarts=table.max_restarts,
        name=table.name,
        strategy=table.strategy,
        window_ticks=table.window_ticks,
        within=table.within,
    )


def _tenants(described: Description) -> tuple[TenantSpec, ...]:
    return tuple(
        TenantSpec(fuel=t.fuel, memory=t.memory, messages=t.messages, name=t.name, tasks=t.tasks)
        for t in described.tenants
    )


def _refuse_crowd(config: Config, specs: Sequence[AgentSpec]) -> None:
    """Raises Refused for agents whose tenant has no room for them: a run would begin without them."""
    state, crowd = State(config=config), []
    for spec in specs:
        if tenants.fits(state, spec):
            state.agents.append(AgentState(spec=spec))
        else:
            crowd.append(spec.name)
    if crowd:
        todo = "raise its memory or fuel, or lower the agents' limits"
        raise Refused(f"no room in their tenant for {', '.join(crowd)}", "agents", todo)


def _all(names: Sequence[str], either: dict[str, list[int]]) -> tuple[int, ...]:
    """The agents of these names, each once, in the order named."""
    return tuple(dict.fromkeys(agent for name in names for agent in either[name]))


def _model(table: ModelTable, data: bytes) -> ModelSpec:
    return ModelSpec(
        context=table.context,
        delay_ticks=table.delay_ticks,
        digest=_digest(data),
        kv_bytes=table.kv_bytes,
        name=table.name,
        version=table.version,
        vocabulary=table.vocabulary,
    )


def _actions(
    described: Description, either: dict[str, list[int]]
) -> tuple[list[tuple[int, Action]], list[tuple[int, Action]]]:
    """(fixed, drawn from), each (tick, action), in the file's order."""
    fixed: list[tuple[int, Action]] = []
    actions: list[tuple[int, Action]] = []
    places = (*described.topics, *(channel.name for channel in described.channels))
    topics = {name: index for index, name in enumerate(places)}
    for table in described.workload:
        for turn in range(table.times):
            tick = table.tick + turn * table.every
            for target in either[table.to] if table.to is not None else [0]:
                action = _action(table, target, topics)
                if table.tasks is not None:
                    action = Submit(tuple(_task(task, either[task.to][0]) for task in table.tasks))
                (fixed if table.fixed else actions).append((tick, action))
    return fixed, actions


def _task(table: TaskTable, agent: int) -> Task:
    payload = table.text.encode()
    return Task(agent=agent, id=table.id, needs=table.needs, payload=payload, priority=table.priority)


def _action(table: WorkTable, target: int, topics: dict[str, int]) -> Action:
    topic = topics[table.topic] if table.topic is not None else 0
    if table.do == "send":
        return Send(target, table.payload)
    if table.do == "publish":
        return Publish(table.payload, topic)
    if table.do == "schedule":
        return Schedule(target, table.payload, table.ticks or 1)
    if table.do == "join":
        return Join(target, topic)
    return Leave(target, topic) if table.do == "leave" else Operate(table.do, target)
