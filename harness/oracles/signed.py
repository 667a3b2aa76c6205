"""Signatures (I26): what a load accepts is what a strict verifier accepts.

The verdict on each vector was made elsewhere, with another encoder and OpenSSL's Ed25519, and is in the plan by name;
it is compared with what the module's side and the journal say. Against: rules that are not checked, keys that count
although they are revoked, and a load that refuses everything.
"""

from __future__ import annotations

from faults.effect import SHOWN
from faults.wrappers import signed
from harness.oracles.judged import CUT_SHORT, Judged, class_of
from harness.oracles.verdict import Unjudged


def tried(run: Judged) -> bool:
    """Whether any signature of the plan was put before a load."""
    faults = run.history.plan.faults
    return any(faults[injection.fault].kind in signed.KINDS for injection in run.history.injections)


def signatures(run: Judged) -> list[str]:
    """I26: per vector that was tried, the crossing and the step end as the vector's verdict says."""
    if not tried(run):
        raise Unjudged("no signature was put before a load")
    found = []
    steps = {
        (block.tick, step.agent): (block.block, step.status) for block in run.journal.blocks for step in block.steps
    }
    for index in sorted({injection.fault for injection in run.history.injections}):
        fault = run.history.plan.faults[index]
        if fault.kind not in signed.KINDS or class_of(fault.kind) not in SHOWN:
            continue
        tick, agent = fault.number("tick"), fault.number("agent")
        [expected] = signed.endings(fault)
        what = f"fault {index} ({fault.kind}, {fault.get('what')}) must end as {expected}"
        for number, event in enumerate(run.history.guests):
            mine = event.tick == tick and event.agent == agent and event.kind == "step"
            if mine and event.status not in (expected, *CUT_SHORT):
                found.append(f"guest event {number}: {event.status}, {what}")
        block, status = steps.get((tick, agent), (-1, "no step"))
        if status != expected and not status.startswith("decree"):
            found.append(f"block {block}: {status}, {what}")
    return found
