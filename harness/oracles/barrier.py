"""I13, the barrier: nothing of a tick happens before the tick in front of it is closed.

The journal's ticks grow, and what a step consumed was sent in an earlier tick (inputs: not in a later one). The trace
opens a tick only when the one before is committed, in every incarnation. And the guest log, written on the other side
of the worker port, has no crossing of a tick before the trace opened it, and the accepted crossing of no step after
its tick was committed. Against: work that overtakes a commit, and messages that arrive in the tick that sent them.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

from harness.oracles.flows import place
from harness.oracles.judged import Judged
from harness.oracles.verdict import Unjudged
from runtime.state import OUTSIDE

LISTED = 5
_NEVER = 1 << 62


def barrier(run: Judged) -> list[str]:
    """I13: the records of each tick lie behind the close of the tick before, on every side."""
    if not run.history.trace:
        raise Unjudged("there is no trace")
    if not run.crossings:
        raise Unjudged("there is no guest log")
    return run.settled_by_journal(_ticks) + run.settled(_sent_before) + _opened(run) + _crossed(run)


def _ticks(run: Judged) -> list[str]:
    blocks = run.journal.blocks
    return [
        f"block {after.block} is tick {after.tick}, behind tick {before.tick} of block {before.block}"
        for before, after in pairwise(blocks)
        if after.tick <= before.tick
    ]


def _sent_before(run: Judged) -> list[str]:
    """A message is consumed in a later tick than the one that sent it; an input from outside not in an earlier one."""
    found = []
    for step, _ in run.flows.taken:
        for seq in step.inbox:
            sent = run.flows.sent.get(seq)
            if sent is None:
                continue  # who consumed what nobody sent is another oracle's finding
            first = sent.tick + (sent.sender != OUTSIDE)
            if step.tick < first:
                found.append(
                    f"{place(step.at)} consumes in tick {step.tick} what {sent.where} sent in tick {sent.tick}"
                )
    return found


def _opened(run: Judged) -> list[str]:
    """In the trace a tick opens when the one before is closed, by the same or by an earlier incarnation."""
    found: list[str] = []
    open_, closed = -1, -1
    ticks = {block.block: block.tick for block in run.journal.blocks}
    for number, record in run.trace.of("started", "opened", "committed"):
        if record.kind == "started":
            open_, closed = -1, ticks.get(int(record.fields["block"]), -1)
        elif record.kind == "opened":
            if open_ >= 0:
                found.append(f"trace record {number} opens tick {record.tick} while tick {open_} is open")
            elif record.tick <= closed:
                found.append(f"trace record {number} opens tick {record.tick}, behind the closed tick {closed}")
            open_ = record.tick
        elif record.kind == "committed":
            if record.tick != open_:
                found.append(f"trace record {number} commits tick {record.tick} while tick {open_} is open")
            open_, closed = -1, record.tick
    return found


def _crossed(run: Judged) -> list[str]:
    """No crossing of a tick before it is open; no accepted one of an undisturbed step after it is closed."""
    times: list[int] = []
    highest: list[int] = []
    first: dict[int, int] = {}  # tick -> when it was opened, of those behind all that were opened before
    for _, record in run.trace.of("opened"):
        if not highest or record.tick > highest[-1]:
            first[record.tick] = record.at
        times.append(record.at)
        highest.append(max(record.tick, highest[-1] if highest else -1))
    found = []
    crossings = run.crossings
    for number in [n for n, event in enumerate(crossings) if event.at < first.get(event.tick, _NEVER)]:
        event = crossings[number]
        place_ = bisect_right(times, event.at)
        tick = highest[place_ - 1] if place_ else -1
        if event.tick > tick:
            found.append(
                f"guest event {number} is a crossing of tick {event.tick} while tick {tick} is the last opened"
            )
    return found[:LISTED] + _late(run)


def _late(run: Judged) -> list[str]:
    """Steps of the journal, those that a decree ended apart, that no crossing had carried out when their tick closed.

    A crossing that a worker's death cut short has carried out nothing.
    """
    closes = {record.tick: record.at for _, record in run.trace.of("committed")}
    late = {key: at for key, at in run.done_at.items() if at > closes.get(key[0], at)}
    if not late:
        return []
    return [
        f"{place(step.at)} was run at {late[key]} ns, after tick {step.tick} was committed"
        for block in run.journal.blocks
        for step in block.steps
        if (key := (step.tick, step.agent, step.kind)) in late and not step.status.startswith("decree")
    ]
