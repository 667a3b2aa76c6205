"""Tenants: what the agents of one may take of a tick and of the machine, and fair shares where all compete (TEN-1).

Quotas charge what is granted, never what is measured, so they are part of the logical history. They are decided at
spawn (an agent whose declared memory does not fit beside those of its tenant's others is refused), at select (steps and
granted fuel per tick: who does not fit waits, the oldest first) and at commit (copies of messages per tick, in task
order: see `runtime.meter`). Where `max_tasks_per_tick` binds, tenants take turns, one step each, and a mailbox of
another tenant's agent is filled to an equal share at most. So how long an agent waits follows from its own tenant's
agents and quotas and from the number of tenants, not from what the others do (`wait_rounds`).

Agents that name no tenant belong to a last one without quotas. Steps of the last tick, in which all end, are not
charged.
"""

from __future__ import annotations

from collections import deque
from itertools import chain

from msgspec import UNSET

from runtime.journal import Event
from runtime.state import MESSAGE, OUTSIDE, TERMINATED, TOPIC, AgentSpec, AgentState, Config, State, TenantSpec

NO_LIMIT = 1 << 62


def number(config: Config, spec: AgentSpec) -> int:
    """The tenant that the agent belongs to; the last number is theirs who name none."""
    return spec.tenant if isinstance(spec.tenant, int) else len(config.tenants or ())


def quotas(config: Config) -> tuple[TenantSpec, ...]:
    """What each tenant has, by number; 0 is: no limit."""
    return (*(config.tenants or ()), TenantSpec(name=""))


def fits(state: State, spec: AgentSpec) -> bool:
    """Whether the agent may be spawned: its tenant is there, one step is within the tick's fuel, and memory is left."""
    config = state.config
    assert config is not None
    if config.tenants is UNSET:
        return spec.tenant is UNSET
    if not 0 <= number(config, spec) <= len(config.tenants):
        return False
    quota = quotas(config)[number(config, spec)]
    if quota.fuel and spec.limits.fuel > quota.fuel:
        return False
    mine = [agent.spec for agent in state.agents if agent.phase != TERMINATED]
    held = sum(one.limits.memory for one in mine if number(config, one) == number(config, spec))
    return not quota.memory or held + spec.limits.memory <= quota.memory


def share(state: State, config: Config, ordered: list[int], events: list[Event]) -> list[int]:
    """Who of the ready runs in this tick: tenants take turns, the one after the last of the tick before begins.

    Within a tenant it is the policy's order; `round_robin` is oldest first here, as a cursor over all agents would let
    one tenant turn another's order. Who does not fit closes the tick for its tenant, and nobody of it overtakes. On
    record is which tenant was cut short, and by what.
    """
    agents = state.agents
    queues = _queues(config, agents, ordered)
    steps = [quota.tasks or NO_LIMIT for quota in quotas(config)]
    fuel = [quota.fuel or NO_LIMIT for quota in quotas(config)]
    first = state.cursor % len(queues)
    turns = deque(n for n in chain(range(first, len(queues)), range(first)) if queues[n])
    chosen: list[int] = []
    while turns and len(chosen) < config.max_tasks_per_tick:
        tenant = turns.popleft()
        index = queues[tenant][0]
        needed = agents[index].spec.limits.fuel
        if not steps[tenant] or fuel[tenant] < needed:
            events.append(("deferred", tenant, "fuel" if steps[tenant] else "tasks"))
            continue
        chosen.append(queues[tenant].popleft())
        steps[tenant] -= 1
        fuel[tenant] -= needed
        if queues[tenant]:
            turns.append(tenant)
    events += [("deferred", tenant, "share") for tenant in sorted(turns)]
    if turns:
        state.cursor = turns[0]
    return chosen


def _queues(config: Config, agents: list[AgentState], ordered: list[int]) -> list[deque[int]]:
    queues: list[deque[int]] = [deque() for _ in quotas(config)]
    if config.policy == "round_robin":
        ordered = sorted(ordered, key=lambda index: (agents[index].ready_since, index))
    for index in ordered:
        queues[number(config, agents[index].spec)].append(index)
    return queues


def crowded(state: State, sender: int, target: int) -> bool:
    """Whether the sender's tenant has its share of this mailbox, which is another tenant's, already."""
    config = state.config
    assert config is not None
    if sender == OUTSIDE:
        return False
    agents, mailbox = state.agents, state.agents[target].mailbox
    most = mailbox_share(config)
    tenant = number(config, agents[sender].spec)
    if len(mailbox) < most or tenant == number(config, agents[target].spec):
        return False
    senders = [message.sender for message in mailbox if message.kind in (MESSAGE, TOPIC) and message.sender != OUTSIDE]
    return sum(number(config, agents[one].spec) == tenant for one in senders) >= most


def mailbox_share(config: Config) -> int:
    """Messages of one tenant that a mailbox of another's agent holds at most."""
    return max(1, config.mailbox // len(quotas(config)))


def wait_rounds(config: Config, specs: list[AgentSpec], tenant: int) -> int:
    """Ticks in which every agent of a tenant gets a turn, where all of them are always ready."""
    mine = [spec.limits.fuel for spec in specs if number(config, spec) == tenant]
    quota, all_ = quotas(config)[tenant], len(quotas(config))
    if not mine:
        return 0
    most = min(
        quota.tasks or NO_LIMIT, (quota.fuel or NO_LIMIT) // max(mine), max(1, config.max_tasks_per_tick // all_)
    )
    return -(-len(mine) // most) * -(-all_ // min(all_, config.max_tasks_per_tick))
