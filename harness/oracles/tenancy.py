"""Tenants' quotas as the oracles account for them: for I18 (nothing beyond, nobody held back for nothing) and I12.

What a tenant used is counted from the journal's steps and the senders' calls, against the admitted configuration; the
runtime's own counters are not read. A deferral or a refusal is compared with what the tick had left when it was over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from harness.oracles.judged import Judged
from harness.oracles.reading import Block
from runtime.state import E_QUOTA, MESSAGE, OUTSIDE, TOPIC

_ENDED = ("terminated",)


class Member(NamedTuple):
    """One agent: its tenant, the fuel of one of its steps, its declared memory in bytes."""

    tenant: int
    fuel: int
    memory: int


class Tenants:
    """The declared tenants, and last the one of agents that name none. A quota of 0 is none."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.quotas: list[Mapping[str, Any]] = [*config.get("tenants", ()), {}]
        self.most = int(config["max_tasks_per_tick"])

    def member(self, spec: Mapping[str, Any]) -> Member:
        limits = spec.get("limits", {})
        return Member(spec.get("tenant", len(self.quotas) - 1), limits.get("fuel", 0), limits.get("memory", 0))

    def quota(self, tenant: int, what: str) -> int:
        return int(self.quotas[tenant].get(what, 0))

    def rounds(self, members: list[Member], tenant: int) -> int:
        """Ticks in which each of its agents gets a turn, whatever the others do."""
        mine = [member.fuel for member in members if member.tenant == tenant]
        per_tick = [max(1, self.most // len(self.quotas))]
        if self.quota(tenant, "tasks"):
            per_tick.append(self.quota(tenant, "tasks"))
        if self.quota(tenant, "fuel"):
            per_tick.append(max(1, self.quota(tenant, "fuel") // max(mine)))
        waiting = -(-len(self.quotas) // self.most) if self.most < len(self.quotas) else 1
        return -(-len(mine) // min(per_tick)) * waiting


def within_quotas(run: Judged) -> list[str]:
    """What tenants used in each tick against what they may, and whom the runtime held back though there was room."""
    if not run.config.get("tenants"):
        return []
    return [*_steps(run), *_messages(run), *_shares(run)]


def _spawned(block: Block, tenants: Tenants) -> Iterator[Member]:
    refused = [event[3] for event in block.events if event[0] == "illegal" and event[2] == "spawn"]
    for item in block.inputs:
        if item["action"]["do"] != "spawn":
            continue
        spec = item["action"]["spec"]
        if spec["name"] in refused:
            refused.remove(spec["name"])
        else:
            yield tenants.member(spec)


def _steps(run: Judged) -> Iterator[str]:
    """Steps, granted fuel and declared memory of every tick but the last, in which all end."""
    tenants, members = Tenants(run.config), list[Member]()
    ended: set[int] = set()  # membership only, never iterated
    for block in run.journal.blocks:
        members += _spawned(block, tenants)
        ended |= {event[1] for event in block.events if event[0] == "lifecycle" and event[3] in _ENDED}
        if block.tick >= run.config["last_tick"]:
            return
        steps = Counter(members[step.agent].tenant for step in block.steps if step.agent < len(members))
        fuel, memory = Counter[int](), Counter[int]()
        for step in block.steps:
            fuel[members[step.agent].tenant] += members[step.agent].fuel
        for agent, member in enumerate(members):
            memory[member.tenant] += 0 if agent in ended else member.memory
        for what, used in (("tasks", steps), ("fuel", fuel), ("memory", memory)):
            for tenant, number in sorted(used.items()):
                if number > tenants.quota(tenant, what) > 0:
                    most = tenants.quota(tenant, what)
                    yield f"block {block.block}: tenant {tenant} has {number} {what}, its quota is {most}"
        yield from _deferred(block, tenants, members, steps, fuel)


def _deferred(
    block: Block, tenants: Tenants, members: list[Member], steps: Counter[int], fuel: Counter[int]
) -> Iterator[str]:
    """Deferrals without a cause, and turns that were not shared alike."""
    for _, tenant, why in (event for event in block.events if event[0] == "deferred"):
        where = f"block {block.block}: tenant {tenant} is deferred by its {why}"
        if why == "tasks" and steps[tenant] < tenants.quota(tenant, "tasks"):
            yield f"{where}, and took {steps[tenant]} steps of {tenants.quota(tenant, 'tasks')}"
        largest = max((member.fuel for member in members if member.tenant == tenant), default=0)
        if why == "fuel" and fuel[tenant] + largest <= tenants.quota(tenant, "fuel"):
            yield f"{where}, and was granted {fuel[tenant]} of {tenants.quota(tenant, 'fuel')}"
        if why == "share" and len(block.steps) < tenants.most:
            yield f"{where}, in a tick of {len(block.steps)} steps of {tenants.most}"
        if why == "share":
            for other, number in sorted(steps.items()):
                if number > steps[tenant] + 1:
                    yield f"{where} with {steps[tenant]} steps, while tenant {other} has {number}"


def _messages(run: Judged) -> Iterator[str]:
    """Copies sent per tick; a message that was refused for its tenant's quota would not have fitted."""
    tenants, flows = Tenants(run.config), run.flows
    members = [member for block in run.journal.blocks for member in _spawned(block, tenants)]
    used = Counter[tuple[int, int]]()
    refused: list[int] = []
    for seq, sent in flows.sent.items():
        if sent.sender == OUTSIDE or sent.kind not in (MESSAGE, TOPIC):
            continue
        if flows.refusals.get(seq) == E_QUOTA:
            refused.append(seq)
        else:
            used[sent.tick, members[sent.sender].tenant] += max(1, len(sent.targets))
    for (tick, tenant), number in sorted(used.items()):
        most = tenants.quota(tenant, "messages")
        if number > most > 0:
            yield f"tick {tick}: tenant {tenant} sent {number} messages, its quota is {most}"
    for seq in refused:
        sent = flows.sent[seq]
        tenant = members[sent.sender].tenant
        number, most = used[sent.tick, tenant], tenants.quota(tenant, "messages")
        if sent.kind == MESSAGE and (not most or number < most):
            yield f"number {seq} ({sent.where}) was refused for a quota of {most}, of which {number} were used"


def _shares(run: Judged) -> Iterator[str]:
    """What an inbox holds of each other tenant, as the module was given it."""
    tenants = Tenants(run.config)
    members = [member for block in run.journal.blocks for member in _spawned(block, tenants)]
    most = max(1, run.config["mailbox"] // len(tenants.quotas))
    for step, execution in run.flows.taken:
        inbox = execution.inbox if execution else ()
        senders = [sender for kind, sender, *_ in inbox if kind in (MESSAGE, TOPIC) and sender < len(members)]
        for tenant, number in sorted(Counter(members[sender].tenant for sender in senders).items()):
            if tenant != members[step.agent].tenant and number > most:
                assert execution is not None
                yield (
                    f"guest event {execution.number}: agent {step.agent} has {number} messages of tenant {tenant} "
                    f"in its inbox, an equal share is {most}"
                )
