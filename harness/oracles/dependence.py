"""What an agent's fate reaches without a message: who needs its tasks, and who is restarted with it (part of I32)."""

from __future__ import annotations

from harness.oracles.graphs import journaled
from harness.oracles.grouped import Groups
from harness.oracles.judged import Judged

Way = tuple[int, int, int, tuple[int, ...]]  # tick, 0, the agent, those that differ from the next tick on


def ways(judged: Judged) -> list[Way]:
    """Conservative: the end of a task reaches all who need it, a failure all who are supervised in the same tree."""
    needed: dict[str, list[int]] = {}
    found: list[Way] = []
    groups = Groups(judged.config)
    for block in judged.journal.blocks:
        for item in block.inputs:
            if item["action"]["do"] == "submit":
                for task in journaled(item):
                    for need in task.needs:
                        needed.setdefault(need, []).append(task.agent)
        for event in block.events:
            if event[0] in ("task_done", "task_failed", "task_skipped"):
                found.append((block.tick, 0, event[2], tuple(needed.get(event[3], ()))))
            elif event[0] == "failed":
                found.append((block.tick, 0, event[1], tuple(groups.root(event[1]))))
    return found
