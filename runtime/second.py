"""Second executions: a sampled share of steps runs once more, apart, and the two answers are compared.

Against a core that computes wrong and says nothing (F15): on a disagreement both workers are suspects. The one that has
the agent is retired and its replacement decides; whoever stands alone is retired, and its answer never counts. All of
it is physical: which steps are sampled, who ran them and what was thrown away are in the trace alone.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from runtime.frames import APART, TOLD, Order, Result
from runtime.state import StepRecord

MILLION = 1_000_000


class Opinion(Struct):
    """One step's answers so far, and the workers that gave them; `second` is None until the check has come."""

    first: Result
    by: int
    second: Result | None = None
    other: int = -1


class Ruling(Struct, frozen=True):
    """What follows from one more answer: the settled result, whom to ask next, whom to retire.

    `ask` is "" for nobody, "second" for a worker that does not have the agent, "third" for a fresh one that takes it
    over. `wrong` are workers whose answer stands alone, `suspect` the one that may.
    """

    settled: Result | None = None
    ask: str = ""
    wrong: tuple[int, ...] = ()
    suspect: int = -1


class Checks:
    """The steps of one tick that are checked; `ppm` of a million steps are, by (tick, agent) alone."""

    def __init__(self, ppm: int) -> None:
        self.ppm = ppm
        self._sampled: set[int] = set()  # membership only, never iterated
        self._open: dict[int, Opinion] = {}

    def open(self, records: Sequence[StepRecord]) -> None:
        self._open = {}
        self._sampled = {record.agent for record in records if _drawn(record) < self.ppm}

    def marked(self, order: Order, apart: bool) -> Order:
        """The order with what its answer must tell for a comparison."""
        if apart:
            return replace(order, check=APART)
        return replace(order, check=TOLD) if order.record.agent in self._sampled else order

    def waiting(self, agent: int) -> bool:
        """Whether the step's answer is there and its check is not."""
        opinion = self._open.get(agent)
        return opinion is not None and opinion.second is None

    def drop(self, agent: int) -> None:
        self._open.pop(agent, None)

    def take(self, result: Result, worker: int) -> Ruling:
        """One more answer to a step, and what follows from it."""
        opinion = self._open.get(result.agent)
        if result.agent not in self._sampled:
            return Ruling(settled=result)
        if opinion is None:
            self._open[result.agent] = Opinion(result, worker)
            return Ruling(ask="second")
        if opinion.second is None:
            if same(opinion.first, result):
                self.drop(result.agent)
                return Ruling(settled=opinion.first)
            opinion.second, opinion.other = result, worker
            return Ruling(ask="third", suspect=opinion.by)
        if same(opinion.second, result):
            self.drop(result.agent)
            return Ruling(settled=result, wrong=(opinion.by,))
        if same(opinion.first, result):
            self.drop(result.agent)
            return Ruling(settled=result, wrong=(opinion.other,))
        wrong = (opinion.by, opinion.other)
        self._open[result.agent] = Opinion(result, worker)
        return Ruling(ask="second", wrong=wrong)


def same(one: Result, other: Result) -> bool:
    """Whether two executions of a step did the same: status, effects, and the state they left."""
    return (one.status, one.effects, one.state) == (other.status, other.effects, other.state)


def _drawn(record: StepRecord) -> int:
    """A number below a million, uniform over steps; no step of a run has another's."""
    digest = hashlib.sha256(struct.pack("<QI", record.tick, record.agent)).digest()
    return int.from_bytes(digest[:8], "little") % MILLION
