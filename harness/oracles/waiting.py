"""I12, bounded wait: who is ready runs within the bound that the policy promises, judged from the journal alone.

Ready is: to be started, or active with mail. When an agent became so follows from what blocks say: copies sent and not
refused, inputs, results, wakes asked for, tasks, and the agent's life. The scheduler's own note of it (`ready_since`)
and its formula are not read. Against: a ready agent that is passed over, mail that wakes nobody, a due tick left out.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from harness.oracles.flows import place
from harness.oracles.graphs import Tasks, journaled
from harness.oracles.judged import Judged
from harness.oracles.members import Members
from harness.oracles.reading import Block, Step
from harness.oracles.tenancy import Member, Tenants
from runtime.state import OUTSIDE

_NUMBERED = ("send", "publish", "infer", "read")  # the effects that take a number
_GONE = ("quarantined", "terminated")
_PRIORITIES, _AGING = 7, 4  # the highest priority, and the ticks that one step of it is worth
_LOW = 2**32 - 1


def bounded_wait(run: Judged) -> list[str]:
    """I12: no agent is ready in more ticks in a row, the one in which it runs included, than the policy allows."""
    return run.settled_by_journal(_waited)


def bound(agents: int, most: int, policy: str) -> int:
    """The ticks in which a ready agent may be seen, its own included: rounds of at most `most` of `agents` steps.

    In turn nobody is before it twice. By priority, a round may wait for it and one be under way, and it is overtaken by
    who becomes ready within as many ticks as its priority is worth. By graph, it may be passed over for a round, and
    then only those are before it that were so as well, or have been ready for longer.
    """
    rounds = -(-agents // most)
    aging = {"round_robin": 0, "priority": rounds + _PRIORITIES * _AGING, "dag": rounds}
    return rounds + aging[policy]


def _waited(run: Judged) -> list[str]:
    config = run.config
    waits = _Waits(config)
    for block in run.journal.blocks:
        waits.block(block)
    return waits.found


class _Agent:
    """`mail` and `phased` are the ticks since which it has mail (None: none) and is in its phase."""

    def __init__(self, tick: int, member: Member) -> None:
        self.phase, self.phased, self.member = "starting", tick, member
        self.mail: int | None = None
        self.wakes: list[int] = []
        self.tasks: list[int] = []

    def got(self, tick: int) -> None:
        if self.phase not in _GONE and (self.mail is None or tick < self.mail):
            self.mail = tick

    def moved(self, phase: str, tick: int) -> None:
        """Who fails forgets its wakes; who is gone loses its mail."""
        self.phase, self.phased = phase, tick
        if phase in ("backoff", *_GONE):
            self.wakes = []
        if phase in _GONE:
            self.mail = None

    def ready_since(self) -> int | None:
        if self.phase == "starting":
            return self.phased
        return max(self.mail, self.phased) if self.phase == "active" and self.mail is not None else None


class _Waits:
    """One pass over the journal. A block is taken in two parts, as its tick was: admission, then what steps did."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.found: list[str] = []
        self._config = config
        self._agents: list[_Agent] = []
        self._members, self._tenants = Members(config), Tenants(config)
        self._bounds: dict[int, int] = {}  # by tenant, for the agents that there are
        self._tasks = Tasks(config, journaled)
        self._told: set[tuple[int, int]] = set()  # (agent, since) that are in `found`
        self._reads: set[int] = set()  # those that the block's steps made; membership only
        self._ended: set[int] = set()  # reads that nobody waits for any more; membership only
        self._tick = -1

    def block(self, block: Block) -> None:
        if block.tick > self._tick + 1:  # ticks without a block, in which nobody may have been ready
            self._deliver(block.tick - 1)
            self._judge(block.tick - 1, f"block {block.block - 1}", ())
        self._tick = block.tick
        lost = {(e[1] if e[1] > _LOW else 0, e[-1]) for e in block.events if e[0] in ("refused", "dropped")}
        barred = {e[1] for e in block.events if e[0] == "refused_message"}  # membership only, never iterated
        refused = {(e[1], e[2]) for e in block.events if e[0] == "refused_task"}
        illegal = [e[3] for e in block.events if e[0] == "illegal" and e[2] == "spawn"]
        for item in block.inputs:
            self._input(item["action"], block.tick, lost, refused, illegal)
        for entry in block.inferences:
            self._got((entry["request"] >> 32) - 1, block.tick)
        for agent in self._tasks.admit(block):
            self._got(agent, block.tick)
        moves = [(e[1], e[2], e[3]) for e in block.events if e[0] == "lifecycle"]
        for agent, before, after in moves:
            if not _committed(before, after):
                self._moved(agent, after, block.tick)
        self._deliver(block.tick)
        self._judge(block.tick, f"block {block.block}", block.steps)
        self._reads.clear()
        for step in block.steps:
            self._effects(step, lost, barred)
        for event in block.events:
            self._answered(event, block.tick + 1)
        for agent in self._tasks.commit(block):
            self._got(agent, block.tick + 1)
        for agent, before, after in moves:
            if _committed(before, after):
                self._moved(agent, after, block.tick + 1)

    def _input(
        self,
        action: dict[str, Any],
        tick: int,
        lost: set[tuple[int, int]],
        refused: set[tuple[int, str]],
        illegal: list[str],
    ) -> None:
        """An input that was refused, or one like it in the same block, is taken to have reached nobody."""
        do, agent = action["do"], action.get("agent", 0)
        if do == "spawn" and action["spec"]["name"] in illegal:
            illegal.remove(action["spec"]["name"])
        elif do == "spawn":
            self._agents.append(_Agent(tick, self._tenants.member(action["spec"])))
            self._bounds = {}
        elif do == "send" and (0, agent) not in lost:
            self._got(agent, tick)
        elif do == "answer" and action["request"] not in self._ended:
            self._got((action["request"] >> 32) - 1, tick)
        elif do == "publish":
            for subscriber in self._members.targets(OUTSIDE, action["topic"]):
                if (0, subscriber) not in lost:
                    self._got(subscriber, tick)
        elif do == "schedule" and 0 <= agent < len(self._agents):
            name = hashlib.sha256(base64.b64decode(action["payload"])).hexdigest()[:16]
            if (agent, name) not in refused:
                self._agents[agent].tasks.append(tick + action["ticks"])
        elif do == "join" and 0 <= agent < len(self._agents):
            self._members.join(agent, action["topic"], by_operator=True)
        elif do == "leave":
            self._members.leave(agent, action["topic"])

    def _deliver(self, tick: int) -> None:
        for one in self._agents:
            if one.phase == "active" and (one.wakes or one.tasks):
                _due(one, tick)

    def _judge(self, tick: int, where: str, steps: Sequence[Step]) -> None:
        """Who is ready in this tick, against who runs in it; a step empties its agent's mailbox."""
        ran = {step.agent: step for step in steps}
        for agent, one in enumerate(self._agents):
            since, step = one.ready_since(), ran.get(agent)
            most = self._bound(one.member.tenant)
            if (
                since is not None
                and tick - since + 1 > (most if step else most - 1)
                and (agent, since) not in self._told
            ):
                self._told.add((agent, since))
                at, runs = (place(step.at), "runs") if step else (where, "does not run")
                self.found.append(f"{at}: agent {agent}, ready since tick {since}, {runs} in tick {tick}, bound {most}")
            if step is not None and step.kind == "step":
                one.mail = None
            elif step is not None and step.kind == "reload":  # it has taken the turn
                one.phased = tick + 1

    def _bound(self, tenant: int) -> int:
        """By its own tenant's agents and quotas where there are tenants, else by all agents."""
        if tenant not in self._bounds:
            policy = self._config["policy"]
            every = bound(len(self._agents), self._tenants.most, policy)
            if self._config.get("tenants"):
                rounds = self._tenants.rounds([one.member for one in self._agents], tenant)
                self._bounds[tenant] = bound(rounds, 1, policy) + (every if policy == "dag" else 0)
            else:
                self._bounds[tenant] = every
        return self._bounds[tenant]

    def _effects(self, step: Step, lost: set[tuple[int, int]], barred: set[int]) -> None:
        """What a step that ended well sent, asked for and joined, from the next tick on."""
        if step.status != "ok":
            return
        number = step.seq
        for effect in step.effects:
            op, target = effect.op, effect.target
            if op in ("send", "publish") and number not in barred:
                for receiver in (target,) if op == "send" else self._members.targets(step.agent, target):
                    if (number, receiver) not in lost:
                        self._got(receiver, step.tick + 1)
            elif op == "subscribe":
                self._members.join(step.agent, target)
            elif op == "unsubscribe":
                self._members.leave(step.agent, target)
            elif op == "wake":
                self._agents[step.agent].wakes.append(step.tick + max(1, target))
            elif op == "read":
                self._reads.add(number)
            number += op in _NUMBERED

    def _answered(self, event: tuple[Any, ...], tick: int) -> None:
        """Refusals come back to the agent that sent; a wake that was refused never comes."""
        if (event[0] == "refused" and event[1] > _LOW and 0 <= event[3] < len(self._agents)) or event[0] in (
            "refused_request",
            "refused_message",
        ):
            self._got(event[2], tick)
        elif event[0] == "dropped_result":  # of a read the answer comes all the same, and reaches nobody
            self._ended.add(event[1])
        elif event[0] == "cancelled" and event[1] in self._reads:  # asked for in this block
            self._got(event[2], tick)
        elif event[0] == "refused_wake" and event[2] in self._agents[event[1]].wakes:
            self._agents[event[1]].wakes.remove(event[2])

    def _got(self, agent: int, tick: int) -> None:
        if 0 <= agent < len(self._agents):
            self._agents[agent].got(tick)

    def _moved(self, agent: int, phase: str, tick: int) -> None:
        if 0 <= agent < len(self._agents):
            self._agents[agent].moved(phase, tick)


def _committed(before: str, after: str) -> bool:
    """Whether this transition is a step's doing; all others are made before the tick's agents are chosen."""
    return after in ("backoff", "quarantined") or (before, after) == ("starting", "active")


def _due(one: _Agent, tick: int) -> None:
    """Mail of wakes and tasks that are due by now, since when they were, or since the agent was there to get them."""
    for at in (*one.wakes, *one.tasks):
        if at <= tick:
            one.got(max(at, one.phased))
    one.wakes = [at for at in one.wakes if at > tick]
    one.tasks = [at for at in one.tasks if at > tick]
