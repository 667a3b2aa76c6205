"""What each tenant took of a run, from its journal alone: figures that are the same wherever the run is made (TEN-1).

Fuel is what was granted, memory what agents declared; a message is one call that sends or publishes. The last tick, in
which all agents end and nobody is charged, is left out.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from runtime.journal import Block
from runtime.state import E_QUOTA, OUTSIDE, AgentSpec, Config, Configure, Spawn, TenantSpec

OTHERS = "(none)"  # of agents that name no tenant
CAUSES = ("tasks", "fuel", "share")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant. `refused` are messages by cause: quota, or any other (no member, a full mailbox, a guard).

    `deferred` are ticks in which agents of it had to wait, by what was short; `busiest` are the most steps, fuel and
    messages of one tick, beside the quota.
    """

    name: str
    agents: int
    refused_agents: int
    memory: int
    steps: int
    failed: int
    fuel: int
    messages: int
    refused: dict[str, int]
    deferred: dict[str, int]
    busiest: dict[str, int]
    quota: TenantSpec


class _Tally:
    """One pass over the blocks. Counters are by (what, tenant), and by (what, tenant, tick) for the busiest one."""

    def __init__(self, config: Config) -> None:
        self.quotas = (*(config.tenants or ()), TenantSpec(name=OTHERS))
        self.total, self.by_tick = Counter[tuple[str, int]](), Counter[tuple[str, int, int]]()
        self._last = config.last_tick
        self._specs: list[AgentSpec] = []

    def block(self, block: Block) -> None:
        illegal = [event[3] for event in block.events if event[0] == "illegal" and event[2] == "spawn"]
        for item in block.inputs:
            if isinstance(item.action, Spawn):
                self._spawn(item.action.spec, illegal)
        if block.tick >= self._last:
            return
        for step in block.steps:
            tenant, tick = self._of(step.agent), block.tick
            self.total["failed", tenant] += step.status != "ok"
            sent = sum(effect.op in ("send", "publish") for effect in step.effects)
            for what, number in (("steps", 1), ("fuel", self._specs[step.agent].limits.fuel), ("messages", sent)):
                self.total[what, tenant] += number
                self.by_tick[what, tenant, tick] += number
        for event in block.events:
            self._event(event)

    def _spawn(self, spec: AgentSpec, illegal: list[str | int]) -> None:
        tenant = self._number(spec)
        if spec.name in illegal:
            illegal.remove(spec.name)
            self.total["refused_agents", tenant] += 1
        else:
            self._specs.append(spec)
            self.total["agents", tenant] += 1
            self.total["memory", tenant] += spec.limits.memory

    def _event(self, event: tuple[str | int, ...]) -> None:
        if event[0] == "deferred":
            self.total[f"deferred {event[2]}", int(event[1])] += 1
        elif event[0] == "refused_message":
            why = "quota" if event[3] == E_QUOTA else "other"
            self.total[f"refused {why}", self._of(int(event[2]))] += 1
        elif event[0] == "refused" and event[2] != OUTSIDE:
            self.total["refused other", self._of(int(event[2]))] += 1

    def _of(self, agent: int) -> int:
        return self._number(self._specs[agent])

    def _number(self, spec: AgentSpec) -> int:
        last = len(self.quotas) - 1
        return spec.tenant if isinstance(spec.tenant, int) and 0 <= spec.tenant < last else last


def accounts(blocks: list[Block]) -> list[Account]:
    """One account per declared tenant and a last one for everyone else; none for a run without tenants."""
    config = next((i.action.config for b in blocks for i in b.inputs if isinstance(i.action, Configure)), None)
    if config is None or not config.tenants:
        return []
    tally = _Tally(config)
    for block in blocks:
        tally.block(block)
    return [_account(tally, number, quota) for number, quota in enumerate(tally.quotas)]


def _account(tally: _Tally, tenant: int, quota: TenantSpec) -> Account:
    total = tally.total
    busiest = {
        what: max((n for (is_, of, _), n in tally.by_tick.items() if (is_, of) == (what, tenant)), default=0)
        for what in ("steps", "fuel", "messages")
    }
    return Account(
        name=quota.name,
        agents=total["agents", tenant],
        refused_agents=total["refused_agents", tenant],
        memory=total["memory", tenant],
        steps=total["steps", tenant],
        failed=total["failed", tenant],
        fuel=total["fuel", tenant],
        messages=total["messages", tenant],
        refused={why: total[f"refused {why}", tenant] for why in ("quota", "other")},
        deferred={why: total[f"deferred {why}", tenant] for why in CAUSES},
        busiest=busiest,
        quota=quota,
    )
