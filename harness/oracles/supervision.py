"""Supervision, recomputed from the journal (part of I32): who fails restarts when, from init, and how often (ORC-3).

The journal's failed steps, operator inputs and configuration say in which tick each agent must restart or be
quarantined. Its `failed`, `lifecycle`, `restart` and `quarantined` events and its init steps must say the same. Shares
no code with the runtime's. Against: agents that never come back, a limit that does not hold, a backoff cut short.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from harness.oracles.flows import place
from harness.oracles.grouped import Groups
from harness.oracles.judged import Judged
from harness.oracles.reading import Block, Step
from runtime.state import ACTIVE, BACKOFF, PAUSED, QUARANTINED, STARTING, TERMINATED

_KINDS = ("failed", "lifecycle", "restart", "quarantined")
_BY_OPERATOR = {
    ("pause", ACTIVE): PAUSED,
    ("resume", PAUSED): ACTIVE,
    ("release", QUARANTINED): STARTING,
    **{("terminate", phase): TERMINATED for phase in (STARTING, ACTIVE, PAUSED, BACKOFF, QUARANTINED)},
}


class _Life(Struct):
    """What is expected of one agent; `told` are the events that this block owes it."""

    phase: str = STARTING
    life: int = 0
    due: int = -1  # the tick of its restart, while in backoff
    restarts: list[int] = []
    told: list[tuple[Any, ...]] = []


class _Supervisor:
    def __init__(self, config: dict[str, Any]) -> None:
        self._most, self._window = config["max_restarts"], config["window_ticks"]
        self._backoff = max(1, config["backoff_ticks"])
        self._tasks = 0 if config.get("tenants") else config["max_tasks_per_tick"]  # how long a start may wait is I12's
        self._lives: list[_Life] = []
        self._groups = Groups(config)
        self.found: list[str] = []

    def block(self, block: Block) -> None:
        illegal = [event[3] for event in block.events if event[0] == "illegal" and event[2] == "spawn"]
        for item in block.inputs:
            action = item["action"]
            if action["do"] == "spawn" and action["spec"]["name"] in illegal:
                illegal.remove(action["spec"]["name"])
            elif action["do"] == "spawn":
                self._lives.append(_Life())
            elif action["do"] == "operate":
                self._operate(action["agent"], action["action"])
        for index, life in enumerate(self._lives):
            if life.phase == BACKOFF and life.due <= block.tick:
                self._restart(index, life, block)
        starting = {index for index, life in enumerate(self._lives) if life.phase == STARTING}
        active = {index for index, life in enumerate(self._lives) if life.phase == ACTIVE}
        closing = any(event[0] == "finished" for event in block.events)
        if closing:
            for index, life in enumerate(self._lives):
                if life.phase != TERMINATED:
                    self._move(index, life, TERMINATED)
        self._turns(block, set() if closing else starting, active)
        for step in block.steps:
            if step.agent < len(self._lives):
                self._settle(step, self._lives[step.agent])
        self._settle_groups(block)
        self._compare(block)

    def _move(self, index: int, life: _Life, phase: str) -> None:
        life.told.append(("lifecycle", index, life.phase, phase))
        life.phase = phase

    def _operate(self, index: int, action: str) -> None:
        life = self._lives[index] if 0 <= index < len(self._lives) else _Life(phase="unknown")
        phase = _BY_OPERATOR.get((action, life.phase))
        if phase is None:
            return
        if action == "release":
            life.restarts, life.life = [], life.life + 1
        self._move(index, life, phase)

    def _restart(self, index: int, life: _Life, block: Block) -> None:
        if life.due < block.tick:
            self.found.append(
                f"block {block.block}: agent {index} was to restart in tick {life.due}, which has no block"
            )
        life.life += 1
        self._move(index, life, STARTING)
        life.told.append(("restart", index, life.life))

    def _turns(self, block: Block, starting: set[int], active: set[int]) -> None:
        """Whoever starts takes its init step, and no other agent takes one; other steps are those of active agents.

        A reload takes its agent's turn, whatever it is in.
        """
        inits = {step.agent for step in block.steps if step.kind in ("init", "reload")}
        if len(self._lives) <= self._tasks:
            for agent in sorted(starting - inits):
                self.found.append(
                    f"block {block.block}: agent {agent} starts in tick {block.tick} without an init step"
                )
        for step in block.steps:
            if (step.kind == "init") > (step.agent in starting):
                self.found.append(f"{place(step.at)}: agent {step.agent} has an init step, and was not to start")
            elif step.kind not in ("init", "reload") and step.agent not in active:
                self.found.append(f"{place(step.at)}: agent {step.agent} takes a step, and is not active")

    def _settle(self, step: Step, life: _Life) -> None:
        if step.kind == "reload":  # one that fails is rolled back, and nothing of it counts
            return
        if step.status == "ok":
            if step.kind == "init" and life.phase == STARTING:
                self._move(step.agent, life, ACTIVE)
            return
        life.told.append(("failed", step.agent, step.status))
        if life.phase == TERMINATED or self._groups.has(step.agent):
            return
        life.restarts = [tick for tick in life.restarts if tick > step.tick - self._window]
        if len(life.restarts) >= self._most:
            self._move(step.agent, life, QUARANTINED)
            life.told.append(("quarantined", step.agent))
            return
        life.restarts.append(step.tick)
        life.due = step.tick + self._backoff
        self._move(step.agent, life, BACKOFF)

    def _settle_groups(self, block: Block) -> None:
        """Once all steps are settled: what the failures of grouped agents mean for their groups, first step first."""
        stopped: set[int] = set()
        owed: list[tuple[Any, ...]] = []
        for step in block.steps:
            agent = step.agent
            mine = step.status != "ok" and self._groups.has(agent) and agent not in stopped
            if not mine or self._lives[agent].phase in (QUARANTINED, TERMINATED):
                continue
            order = self._groups.failed(agent, block.tick)
            owed += order.events
            stopped.update(order.agents)
            for one in order.agents:
                if one < len(self._lives):
                    self._stop(one, self._lives[one], order.due)
        told = [event for event in block.events if event[0] in ("group_restart", "escalated")]
        if told != owed:
            texts = ["; ".join(" ".join(map(str, event)) for event in events) or "nothing" for events in (owed, told)]
            self.found.append(f"block {block.block}: of groups {texts[0]} is due; the journal has {texts[1]}")

    def _stop(self, agent: int, life: _Life, due: int) -> None:
        """A member's life ends, until tick `due` or (-1) until it is released; who is gone stays gone."""
        if life.phase in (QUARANTINED, TERMINATED):
            return
        life.due = due
        if due < 0:
            self._move(agent, life, QUARANTINED)
            life.told.append(("quarantined", agent))
        elif life.phase != BACKOFF:
            self._move(agent, life, BACKOFF)

    def _compare(self, block: Block) -> None:
        told: dict[int, list[tuple[Any, ...]]] = {}
        for event in block.events:
            if event[0] in _KINDS:
                told.setdefault(event[1], []).append(tuple(event))
        for index, life in enumerate(self._lives):
            ours, theirs = life.told, told.pop(index, [])
            life.told = []
            if ours != theirs:
                texts = [
                    ", ".join(" ".join(map(str, event)) for event in events) or "nothing" for events in (ours, theirs)
                ]
                self.found.append(f"block {block.block}: agent {index} is due {texts[0]}; the journal has {texts[1]}")
        for index in sorted(told):
            self.found.append(f"block {block.block}: event {told[index][0][0]} of agent {index}, which does not exist")


def supervised(run: Judged) -> list[str]:
    """The journal's failures, restarts and quarantines against those that its failed steps and configuration need."""
    supervisor = _Supervisor(run.config)
    for block in run.journal.blocks:
        supervisor.block(block)
        if supervisor.found:  # what follows from the first difference is no second one
            break
    return supervisor.found
