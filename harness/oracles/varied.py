"""Runs in which only what must not matter is another: hash seed (I2), speeds (I4), observers (I6), idle faults (I7),
clocks (I33).

Each compares this run's journal, or its twin's, with those of the further runs that `Judged.varied` brings, as bytes
behind the header; where nothing physical was varied inside the simulation, the traces as well.
"""

from __future__ import annotations

from itertools import pairwise

from harness.history import History
from harness.oracles.judged import Judged
from harness.oracles.sameness import compare, traces
from harness.oracles.verdict import Unjudged


def hash_seeds(run: Judged) -> list[str]:
    """I2: interpreters with other values of PYTHONHASHSEED give the same journal and the same trace."""
    return _same(run.history, _others(run, "I2", "under another hash seed"), True)


def host_speeds(run: Judged) -> list[str]:
    """I4: workers of other speeds give the twin's journal."""
    others = _others(run, "I4", "at another speed")
    if run.twin is None:
        raise Unjudged("there is no twin")
    return _same(run.twin, others, False)


def observed(run: Judged) -> list[str]:
    """I6: with processes that tail its files while they are written, a run leaves the same journal and trace."""
    return _same(run.history, _others(run, "I6", "with an observer"), True)


def purity(run: Judged) -> list[str]:
    """I7: a plan whose faults never strike gives the journal and the trace of the plan without them."""
    others = _others(run, "I7", "with faults that never strike")
    if run.twin is None:
        raise Unjudged("there is no twin")
    for label, other in others.items():
        struck = sorted({i.fault for i in other.injections} - {i.fault for i in run.twin.injections})
        if struck:
            raise Unjudged(f"fault {struck[0]} of the {label} struck, so the plan injects something")
    return _same(run.twin, others, True)


def mistimed(run: Judged) -> bool:
    """Whether a fault struck the clock of this run, or the calls that drive it."""
    struck = {one.fault for one in run.history.injections}
    faults = [fault for index, fault in enumerate(run.history.plan.faults) if index in struck]
    return any(fault.kind.startswith(("clock.", "tick.")) for fault in faults)


def time(run: Judged) -> list[str]:
    """I33: under other clocks the journal and the trace are the same; ticks of the journal only grow.

    A run whose own clock was wrong, or that was called otherwise, has the journal of its twin.
    """
    others = _others(run, "I33", "under another clock") if not mistimed(run) else run.varied.get("I33", {})
    blocks = run.journal.blocks
    found = [
        f"block {after.block}: tick {after.tick} does not follow tick {before.tick}"
        for before, after in pairwise(blocks)
        if after.tick <= before.tick
    ]
    if mistimed(run) and run.twin is not None:
        found += _same(run.history, {"run with a right clock": run.twin}, False)
    return found + _same(run.history, dict(others), True)


def _others(run: Judged, oracle: str, what: str) -> dict[str, History]:
    others = dict(run.varied.get(oracle, {}))
    if not others:
        raise Unjudged(f"there is no run {what}")
    return others


def _same(ours: History, others: dict[str, History], traced: bool) -> list[str]:
    found = []
    for label, other in others.items():
        found += compare(ours, other, label)
        if traced:
            found += traces(ours, other, label)
    return found
