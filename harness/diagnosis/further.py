"""Where a run departs from the further run that it should equal: what the oracles of repetition and variation compare.

Such a run may equal its twin in everything, as what makes it differ is not in its plan: a hash seed, a clock, the
number of workers. The first record in which the two differ says more than the twin does then.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.check import Checked
from harness.diagnosis.difference import Difference, first_difference
from harness.history import History
from harness.oracles.judged import Judged

SAME_PLAN = ("I1", "I2", "I6", "I7", "I33")  # nothing simulated was varied: the traces must be equal as well


def first_further(checked: Checked, oracle: str) -> Difference | None:
    """The first difference from the first further run by which this oracle failed; None where there is none."""
    judged = checked.judged
    if judged is None or oracle not in checked.failed:
        return None
    ours = judged.twin if oracle in ("I4", "I7") else judged.history
    for _, other in sorted(_others(judged, oracle)):
        found = first_difference(ours, other) if ours is not None else Difference(where="nothing")
        if found.where in ("header", "journal") or (found.where != "nothing" and oracle in SAME_PLAN):
            return found
    return None


def _others(judged: Judged, oracle: str) -> Iterator[tuple[str, History]]:
    if oracle == "I1" and judged.repeat is not None:
        yield "", judged.repeat
    elif oracle == "I3":
        yield from ((str(workers), history) for workers, history in (judged.others or {}).items())
    elif oracle == "I5":
        yield from (judged.devices or {}).items()
    else:
        yield from judged.varied.get(oracle, {}).items()
