"""Tasks that need each other, followed through a run: what must become of each, and which agent must have which when.

An account of its own, by the rules (docs/tasks.md) and nothing of the runtime's: batches as they were submitted, how
steps ended, which requests are open and who is gone. It says what each block must tell of tasks, and whom it gives one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from harness.oracles.reading import Block, Step

OVERTAKEN = 64  # by docs/tasks.md
KNOWN = 65_536
PRIORITY = (1 << 31) - 1
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_NUMBERED = ("send", "publish", "infer", "read")
_GONE = ("quarantined", "terminated")


class Node(Struct):
    """One task. `phase` is waiting, ready, given, taken, done, failed or skipped; `place` its order of submission."""

    name: str
    agent: int
    needs: tuple[str, ...]
    priority: int
    place: int
    level: int = 0
    phase: str = "waiting"
    waits: int = 0  # of its needs that have not ended
    since: int = 0  # tasks that its agent had been given when it became ready
    children: list[Node] = []


class Submitted(Struct, frozen=True):
    """One task of a batch as its submitter has it."""

    name: str
    agent: int
    needs: tuple[str, ...]
    priority: int
    size: int  # of its payload, bytes


Batches = Callable[[dict[str, Any]], Sequence[Submitted]]  # an input of a block -> its tasks


def cycle_of(needs: dict[str, tuple[str, ...]]) -> bool:
    """Whether names that are keys need each other in a cycle: depth first, with a stack of our own."""
    done: set[str] = set()
    for root in needs:
        path: dict[str, bool] = {}
        stack = [(root, False)]
        while stack:
            name, left = stack.pop()
            if left:
                del path[name]
                done.add(name)
            elif name in path:
                return True
            elif name not in done:
                path[name] = True
                stack.append((name, True))
                stack += [(need, False) for need in needs[name] if need in needs]
    return False


class Tasks:
    """One pass over a journal, block by block: `admit`, then `commit`. `owed` is what the block must tell of tasks.

    Both return the agents that got a task. `found` is what is wrong with refusals.
    """

    def __init__(self, config: dict[str, Any], batches: Batches) -> None:
        self.nodes: dict[str, Node] = {}
        self.current: dict[int, Node] = {}  # agent -> the task it has
        self.owed: list[tuple[Any, ...]] = []
        self.found: list[str] = []
        self._config, self._batches = config, batches
        self._ready: dict[int, list[Node]] = {}
        self._given: dict[int, int] = {}
        self._ended: list[str] = []
        self._open: dict[int, set[int]] = {}  # agent -> its requests without an answer
        self._gone: set[int] = set()
        self._agents = 0
        self._count = 0

    def admit(self, block: Block) -> list[int]:
        """The tick's inputs and results, in their order."""
        self.owed = []
        illegal = [event[3] for event in block.events if event[0] == "illegal" and event[2] == "spawn"]
        refused = {(e[1], e[2]): e[3:] for e in block.events if e[0] == "refused_tasks"}
        moved = [(event[1], event[3]) for event in block.events if event[0] == "lifecycle"]
        for item in block.inputs:
            action = item["action"]
            do = action["do"]
            if do == "spawn" and action["spec"]["name"] in illegal:
                illegal.remove(action["spec"]["name"])
            elif do == "spawn":
                self._agents += 1
            elif do == "answer":
                self._open.get((action["request"] >> 32) - 1, set()).discard(action["request"])
            elif do == "submit":
                self._submit(block, self._batches(item), refused.pop((item["source"], item["n"]), None))
            elif do == "operate" and action["action"] == "terminate" and (action["agent"], "terminated") in moved:
                self._leave(action["agent"])
            elif do == "operate" and action["action"] == "release" and (action["agent"], "starting") in moved:
                self._gone.discard(action["agent"])
        self.found += [f"block {block.block}: refuses tasks of {s} {n}, which submits none" for s, n in refused]
        for entry in block.inferences:
            self._open.get((entry["request"] >> 32) - 1, set()).discard(entry["request"])
        return self._give()

    def commit(self, block: Block) -> list[int]:
        """What the steps did, in their order, and who was stopped with them."""
        refused = {event[1] for event in block.events if event[0] in ("refused_request", "cancelled")}
        for step in block.steps:
            if step.status != "ok":
                self._open.pop(step.agent, None)
            elif step.effects:
                self._asked(step, refused)
            if step.kind == "step":
                self._stepped(step)
        for event in block.events:
            if event[0] == "dropped_result":
                self._open.get(event[2], set()).discard(event[1])
        for event in block.events:
            if event[0] == "lifecycle" and event[3] == "quarantined":
                self._leave(event[1])
            elif event[0] == "lifecycle" and event[3] == "backoff" and self._holds(event[1]):
                self._fail(self.current.pop(event[1]), "restarted")
        return self._give()

    # --- submission -------------------------------------------------------------------------------------------------

    def _submit(self, block: Block, batch: Sequence[Submitted], refusal: tuple[Any, ...] | None) -> None:
        wrong = self._wrong(batch)
        if refusal is not None:
            if not self._is_true(batch, [str(part) for part in refusal]):
                text = " ".join(map(str, refusal))[:120]
                self.found.append(f"block {block.block}: tasks are refused as {text!r}, which is not so")
            return
        if wrong:
            self.found.append(f"block {block.block}: tasks are taken though {wrong}")
            return
        for task in batch:
            self.nodes[task.name] = Node(task.name, task.agent, task.needs, task.priority, self._count)
            self._count += 1
        waiting = {task.name: task for task in batch}
        stack = [task.name for task in reversed(batch)]
        while stack:  # what a task needs is attached before it
            before = [need for need in self.nodes[stack[-1]].needs if need in waiting] if stack[-1] in waiting else []
            stack += before
            if not before and stack[-1] in waiting:
                del waiting[stack[-1]]
                self._attach(self.nodes[stack.pop()])
            elif not before:
                stack.pop()
        surplus = max(0, len(self.nodes) - KNOWN)
        for name in self._ended[:surplus]:
            del self.nodes[name]
        del self._ended[:surplus]

    def _attach(self, node: Node) -> None:
        needs = [self.nodes[name] for name in dict.fromkeys(node.needs)]
        node.level = max((need.level + 1 for need in needs), default=0)
        for need in needs:
            if need.phase not in ("done", "failed", "skipped"):
                need.children.append(node)
                node.waits += 1
        if any(need.phase in ("failed", "skipped") for need in needs):
            self._skip(node)
        elif not node.waits:
            self._get_ready(node)

    def _wrong(self, batch: Sequence[Submitted]) -> str:
        inside = {task.name for task in batch}
        if len(inside) < len(batch):
            return "a name is there twice"
        for task in batch:
            if not _NAME.fullmatch(task.name) or task.name in self.nodes:
                return f"{task.name[:64]!r} is no new name"
            if not 0 <= task.agent < self._agents or task.size > self._config["max_payload"]:
                return f"{task.name} has no agent, or too long a payload"
            if abs(task.priority) > PRIORITY:
                return f"{task.name} has priority {task.priority}"
            for need in task.needs:
                if need == task.name or (need not in inside and need not in self.nodes):
                    return f"{task.name} needs {need}"
        if len(self.nodes) - len(self._ended) + len(batch) > KNOWN:
            return "there is no room for them"
        return "they need each other in a cycle" if cycle_of({task.name: task.needs for task in batch}) else ""

    def _is_true(self, batch: Sequence[Submitted], said: list[str]) -> bool:
        """Whether a refusal's reason holds for the tasks that it names."""
        what, names = said[0], said[1:]
        named = {task.name: task for task in batch}
        if what == "cycle":
            links = itertools.pairwise(names)
            return (
                len(names) > 2 and names[0] == names[-1] and all(a in named and b in named[a].needs for a, b in links)
            )
        if what == "room":
            return len(self.nodes) - len(self._ended) + len(batch) > KNOWN
        if what == "name":
            return any(not _NAME.fullmatch(name) and repr(name[:64]) == names[0] for name in named)
        if not names or names[0] not in named:
            return False
        task = named[names[0]]
        return {
            "itself": task.name in task.needs,
            "twice": sum(one.name == task.name for one in batch) > 1,
            "known": task.name in self.nodes,
            "unknown": names[-1] in task.needs and names[-1] not in self.nodes and names[-1] not in named,
            "agent": not 0 <= task.agent < self._agents,
            "payload": any(one.size > self._config["max_payload"] for one in batch if one.name == task.name),
            "priority": any(abs(one.priority) > PRIORITY for one in batch if one.name == task.name),
        }.get(what, False)

    # --- steps ------------------------------------------------------------------------------------------------------

    def _asked(self, step: Step, refused: set[int]) -> None:
        number = step.seq
        for effect in step.effects:
            if effect.op in ("infer", "read") and number not in refused:
                self._open.setdefault(step.agent, set()).add(number)
            number += effect.op in _NUMBERED

    def _stepped(self, step: Step) -> None:
        node = self.current.get(step.agent)
        if node is None:
            return
        node.phase = "taken"
        if step.status != "ok":
            self._fail(self.current.pop(step.agent), step.status)
        elif not self._open.get(step.agent):
            del self.current[step.agent]
            self._end(node, "done")
            self.owed.append(("task_done", node.agent, node.name))
            for child in node.children:
                child.waits -= 1
                if child.phase == "waiting" and not child.waits:
                    self._get_ready(child)

    def _holds(self, agent: int) -> bool:
        return agent in self.current and self.current[agent].phase == "taken"

    def _leave(self, agent: int) -> None:
        self._gone.add(agent)
        self._open.pop(agent, None)
        if agent in self.current:
            self._fail(self.current.pop(agent), "gone")
        for node in self._ready.pop(agent, []):
            self._fail(node, "gone")

    def _fail(self, node: Node, reason: str) -> None:
        self._end(node, "failed")
        self.owed.append(("task_failed", node.agent, node.name, reason))
        lost = [node]
        for parent in lost:  # grows while it is read
            for child in parent.children:
                if child.phase == "waiting":
                    self._skip(child)
                    lost.append(child)

    def _skip(self, node: Node) -> None:
        self._end(node, "skipped")
        self.owed.append(("task_skipped", node.agent, node.name))

    def _end(self, node: Node, phase: str) -> None:
        node.phase = phase
        self._ended.append(node.name)

    # --- whose turn it is -------------------------------------------------------------------------------------------

    def _get_ready(self, node: Node) -> None:
        node.phase, node.since = "ready", self._given.get(node.agent, 0)
        if node.agent in self._gone:
            self._fail(node, "gone")
        else:
            self._ready.setdefault(node.agent, []).append(node)

    def _give(self) -> list[int]:
        """Each agent without a task gets its next one."""
        got = []
        for agent in sorted(self._ready):
            waiting = self._ready[agent]
            if agent in self.current or not waiting:
                continue
            count = self._given.get(agent, 0)
            oldest = min(waiting, key=lambda one: (one.since, one.place))
            node = oldest if count - oldest.since >= OVERTAKEN else min(waiting, key=rank)
            waiting.remove(node)
            node.phase = "given"
            self.current[agent], self._given[agent] = node, count + 1
            got.append(agent)
        return got


def rank(node: Node) -> tuple[int, int, int]:
    """The order of policy `dag`."""
    return node.level, -node.priority, node.place


def journaled(item: dict[str, Any]) -> list[Submitted]:
    """The tasks of an input as the journal has them; sizes from the length of their base64."""
    return [
        Submitted(
            task["id"],
            task["agent"],
            tuple(task["needs"]),
            task["priority"],
            len(task["payload"]) // 4 * 3 - task["payload"].count("="),
        )
        for task in item["action"]["tasks"]
    ]
