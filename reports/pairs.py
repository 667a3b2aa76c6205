"""What a comparison of two builds hands over: one `Pair` per plan, each with the row of either build.

A pair is one plan run on BASE and on HEAD. Plans of a comparison share no workload, so pairs are independent trials.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from reports.frames import RunRow

Side = Literal["base", "head"]


class Difference(Struct, frozen=True, kw_only=True):
    """The first place at which two journals differ: block, tick, path in the block, and what stands there.

    `base` and `head` are JSON, cut to a line; "" where there is nothing on that side.
    """

    block: int
    tick: int
    path: str
    base: str
    head: str


class Pair(Struct, frozen=True, kw_only=True):
    """Plan `n` of a scenario on both builds. `plan` is its JSON where either row did not pass, else ""."""

    n: int
    scenario: str
    base: RunRow
    head: RunRow
    plan: str = ""
    difference: Difference | None = None

    def row(self, side: Side) -> RunRow:
        return self.base if side == "base" else self.head

    @property
    def judged(self) -> bool:
        """Whether both rows are verdicts, and a fault took effect on one build at least."""
        verdicts = {self.base.verdict, self.head.verdict}
        return "UNKNOWN" not in verdicts and verdicts != {"IDLE"}


class Failure(Struct, frozen=True, kw_only=True):
    """A failing run of one side with its fingerprint; `case` and `replay` where it was reduced to a case."""

    scenario: str
    n: int
    side: Side
    fingerprint: str
    oracle: str
    component: str
    detail: str
    case: str = ""
    replay: str = ""
