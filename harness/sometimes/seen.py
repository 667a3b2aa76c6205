"""One run's records, indexed for predicates: the trace by kind, crashes, effective faults, the journal's blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from faults.evidence import Trace
from faults.plan import Fault
from harness.history import History, Injection
from runtime.journal import Block
from runtime.telemetry import Record

PROCESSES = 500_000  # numbers of device processes begin here, those of workers below (`runtime.router`)
PER_INCARNATION = 1_000_000


class Counts(NamedTuple):
    """What a journal's blocks hold, counted once for all runs that have the same: steps, messages that they consumed,
    the longest inbox, and by tick how many steps failed.
    """

    steps: int
    messages: int
    longest: int
    failed: dict[int, int]


def counts_of(blocks: Sequence[Block]) -> Counts:
    inboxes = [len(step.inbox) for block in blocks for step in block.steps]
    failed: dict[int, int] = defaultdict(int)
    for block in blocks:
        for step in block.steps:
            if step.status != "ok":
                failed[block.tick] += 1
    return Counts(len(inboxes), sum(inboxes), max(inboxes, default=0), dict(failed))


class Seen:
    """The records of one run. `effective` tells per fault of the plan whether it took effect.

    `trace` and `counts` are the same records, where somebody has looked them through already.
    """

    def __init__(
        self,
        history: History,
        blocks: Sequence[Block],
        effective: Mapping[int, bool],
        trace: Trace | None = None,
        counts: Counts | None = None,
    ) -> None:
        self.history, self.blocks = history, blocks
        self.faults = history.plan.faults
        self.counts = counts or counts_of(blocks)
        self._effective = effective
        self._trace = trace or Trace(history.trace)

    def all(self, *kinds: str, **fields: int | str) -> list[Record]:
        """Records of these kinds with these fields, in the trace's order."""
        return [record for _, record in self.placed(*kinds, **fields)]

    def placed(self, *kinds: str, **fields: int | str) -> list[tuple[int, Record]]:
        """The same with their places in the trace: what comes later has a higher one, at the same instant as well."""
        found = self._trace.of(*kinds)
        if fields:
            found = [(p, r) for p, r in found if all(r.fields.get(name) == v for name, v in fields.items())]
        return found

    def any(self, *kinds: str, **fields: int | str) -> bool:
        return bool(self.placed(*kinds, **fields))

    def effective(self, *slugs: str) -> Iterator[tuple[int, Fault]]:
        """The faults of these kinds that took effect, with their index in the plan."""
        for index, fault in enumerate(self.faults):
            if fault.kind in slugs and self._effective.get(index):
                yield index, fault

    def injections(self, index: int) -> list[Injection]:
        return [injection for injection in self.history.injections if injection.fault == index]

    def ticks(self, kind: str, **fields: int | str) -> dict[tuple[int, int], int]:
        """How many such records each (incarnation, tick) has."""
        counts: dict[tuple[int, int], int] = defaultdict(int)
        for record in self.all(kind, **fields):
            counts[record.incarnation, record.tick] += 1
        return counts


def is_worker(number: object) -> bool:
    """Whether a record's `worker` is one of the pool's: not a client (-1), not a device's process."""
    return isinstance(number, int) and number >= 0 and number % PER_INCARNATION < PROCESSES
