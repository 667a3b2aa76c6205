"""Reloads, pools of another size, floods and graphs of tasks, and what struck while they were under way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from harness.sometimes.property import ALL, Property
from harness.sometimes.seen import Seen
from runtime.journal import Event
from runtime.state import OUTSIDE

CROWD = 100  # messages
SKIPPED = 3  # tasks: more than a job of `pipeline` has behind its failing one
_STRUCK = ("trap:", "fuel", "decree:")
_UPGRADE = ("upgrade",)
_GRAPHS = ("pipeline",)
_LOSSES = ("worker.*", "frame.*", "link.*", "lock.*", "pipe.*", "repair.*")
_DEATHS = ("orchestrator.*",)
_RESIZES = ("pool.*",)


def _events(seen: Seen, *names: str) -> Iterator[tuple[int, Event]]:
    """(tick, event) of the journal's events of these names."""
    return ((block.tick, event) for block in seen.blocks for event in block.events if event[0] in names)


def _amid_losses(seen: Seen, *names: str) -> bool:
    lost = {record.tick for record in seen.all("lost")}
    return any(tick in lost for tick, _ in _events(seen, *names))


def _amid_a_crash(seen: Seen, *names: str) -> bool:
    crashed = {crash.tick for crash in seen.history.crashes if crash.phase != "boot"}
    return any(tick in crashed for tick, _ in _events(seen, *names))


def _rolled_back(seen: Seen, *reasons: str) -> bool:
    return any(str(event[3]).startswith(reasons) for _, event in _events(seen, "rolled_back"))


def _downgraded(seen: Seen) -> bool:
    return any(int(event[3]) < int(event[2]) for _, event in _events(seen, "reloaded"))


def _resized_after_a_loss(seen: Seen) -> bool:
    """A worker was lost in the tick before the one that began with another pool."""
    opened = [record.tick for record in seen.all("opened")]
    before = {tick: last for last, tick in itertools.pairwise(opened)}
    lost = {(record.incarnation, record.tick) for record in seen.all("lost")}
    return any((record.incarnation, before.get(record.tick)) in lost for record in seen.all("resized"))


def _shrunk_in_recovery(seen: Seen) -> bool:
    """A successor's first tick began with a smaller pool than its predecessor had at the start."""
    committed = seen.placed("committed")
    for place, recovered in seen.placed("recovered"):
        mine = [p for p, record in committed if p > place and record.incarnation == recovered.incarnation]
        first = min(mine, default=1 << 62)
        for at, resized in seen.placed("resized"):
            fewer = int(resized.fields["workers"]) < seen.history.plan.physical.workers
            if place < at < first and resized.incarnation == recovered.incarnation and fewer:
                return True
    return False


def _crowded(seen: Seen) -> bool:
    """One tick in which a full mailbox refused clients so much."""
    for block in seen.blocks:
        refused = sum(event[0] == "refused" and event[2] == OUTSIDE for event in block.events)
        if refused >= CROWD:
            return True
    return False


def _many_skipped(seen: Seen) -> bool:
    return any(sum(event[0] == "task_skipped" for event in block.events) >= SKIPPED for block in seen.blocks)


def _came_after_a_failure(seen: Seen) -> bool:
    """A task was skipped for one that had not ended well in an earlier tick."""
    lost = {(event[3], tick) for tick, event in _events(seen, "task_failed", "task_skipped")}
    ended = dict(sorted(lost, key=lambda item: -item[1]))
    return any(ended.get(event[4], tick) < tick for tick, event in _events(seen, "task_skipped"))


PROPERTIES = (
    Property(
        "reload_amid_a_loss",
        "a worker died in the tick of a reload",
        lambda s: _amid_losses(s, "reloaded", "rolled_back"),
        _LOSSES,
        _UPGRADE,
    ),
    Property(
        "reload_amid_a_crash",
        "the orchestrator died in the tick of a reload",
        lambda s: _amid_a_crash(s, "reloaded", "rolled_back"),
        _DEATHS,
        _UPGRADE,
    ),
    Property(
        "migration_rolled_back",
        "a migration failed, and was rolled back",
        lambda s: _rolled_back(s, *_STRUCK, "agent_error"),
        ("*",),
        _UPGRADE,
    ),
    Property(
        "rollback_amid_a_loss",
        "a worker died in the tick of a reload that was rolled back",
        lambda s: _amid_losses(s, "rolled_back"),
        _LOSSES,
        _UPGRADE,
    ),
    Property("downgraded", "an agent was given an earlier version of its module", _downgraded, ("*",), _UPGRADE),
    Property("pool_resized", "the pool got another size", lambda s: s.any("resized"), _RESIZES, (*ALL, *_UPGRADE)),
    Property(
        "pool_of_one",
        "the pool shrank to one worker",
        lambda s: s.any("resized", workers=1),
        _RESIZES,
        (*ALL, *_UPGRADE),
    ),
    Property(
        "resized_after_a_loss",
        "a worker was lost in the tick before the pool got another size",
        _resized_after_a_loss,
        _RESIZES,
        (*ALL, *_UPGRADE),
    ),
    Property(
        "shrank_in_recovery",
        "the pool shrank while a recovery was under way",
        _shrunk_in_recovery,
        _RESIZES,
        (*ALL, *_UPGRADE),
    ),
    Property(
        "flood_refused",
        f"a full mailbox refused {CROWD} messages of clients, or more, in one tick",
        _crowded,
        ("agent.flood",),
        ("ledger",),
    ),
    Property(
        "flood_taken",
        f"a step took {CROWD} messages at once, or more",
        lambda s: s.counts.longest >= CROWD,
        ("agent.flood",),
        ("hello", "frames", "assistants", "upgrade"),
    ),
    Property(
        "cycle_refused",
        "tasks that need each other in a cycle were refused",
        lambda s: any(event[3] == "cycle" for _, event in _events(s, "refused_tasks")),
        ("*",),
        _GRAPHS,
    ),
    Property(
        "many_skipped", f"a failure skipped {SKIPPED} tasks, or more, in one tick", _many_skipped, ("dag.*",), _GRAPHS
    ),
    Property(
        "came_after_a_failure",
        "a task came when one that it needs had failed",
        _came_after_a_failure,
        ("dag.*",),
        _GRAPHS,
    ),
    Property(
        "task_failed_amid_a_crash",
        "the orchestrator died in the tick in which a task failed",
        lambda s: _amid_a_crash(s, "task_failed"),
        _DEATHS,
        _GRAPHS,
    ),
)
