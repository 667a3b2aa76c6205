"""Refusals: what a load accepts, and what it refuses under which name, is what the vector's verdict says.

Each vector is a module that an agent's step waited for; its verdict stands beside it in the fault layer, made apart
from the runtime (signatures by OpenSSL), and is compared with what the module's side and the journal say. What was
refused has left nothing of its step. Against: rules that are not checked, checks that come too late or under another
name, keys that count although they are revoked, and a load that refuses everything.
"""

from __future__ import annotations

from collections.abc import Sequence

from faults.effect import SHOWN
from faults.wrappers import signed
from faults.wrappers.intruders import endings
from harness.oracles.judged import CUT_SHORT, Judged, class_of
from harness.oracles.reading import Step
from harness.oracles.verdict import Unjudged

ALTERED = ("module.flip", "module.malformed")  # I25
FOREIGN = ("module.abi",)  # I35
HEAVY = ("module.bomb",)  # I18
UNUSABLE = ("module.malformed", "module.unlinkable", "module.library")  # I30


def tried(run: Judged, kinds: Sequence[str]) -> bool:
    """Whether any vector of these kinds was put before a load."""
    faults = run.history.plan.faults
    return any(faults[injection.fault].kind in kinds for injection in run.history.injections)


def signatures(run: Judged) -> list[str]:
    """I26: per vector that was tried, the crossing and the step end as the vector's verdict says."""
    if not tried(run, signed.KINDS):
        raise Unjudged("no signature was put before a load")
    return ended(run, signed.KINDS)


def ended(run: Judged, kinds: Sequence[str]) -> list[str]:
    """Where a step that waited for a vector of these kinds did not end as its verdict says, on either side."""
    if not tried(run, kinds):
        return []
    found = []
    steps = {(block.tick, step.agent): step for block in run.journal.blocks for step in block.steps}
    for index in sorted({injection.fault for injection in run.history.injections}):
        fault = run.history.plan.faults[index]
        if fault.kind not in kinds or class_of(fault.kind) not in SHOWN:
            continue
        tick, agent = fault.number("tick"), fault.number("agent")
        [expected] = endings(fault)
        what = f"fault {index} ({fault.kind}, {fault.get('what') or fault}) must end as {expected}"
        for number, event in enumerate(run.history.guests):
            mine = event.tick == tick and event.agent == agent and event.kind == "step"
            if mine and event.status not in (expected, *CUT_SHORT):
                found.append(f"guest event {number}: {event.status}, {what}")
        step = steps.get((tick, agent))
        if step is not None or not run.stopped:
            found += _step(step, expected, what)
    return found


def _step(step: Step | None, expected: str, what: str) -> list[str]:
    if step is None:
        return [f"no block holds the step: {what}"]
    if step.status.startswith("decree"):
        return []
    if step.status != expected:
        return [f"block {step.at[0]}: {step.status}, {what}"]
    if step.effects or step.image:
        return [f"block {step.at[0]}: {len(step.effects)} effects and image {step.image[:12]!r}, {what}, with nothing"]
    return []
