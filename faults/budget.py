"""The fault budget: plans that no correct runtime could survive are refused, or their failures would mean nothing.

Visible faults have no budget: an agent that traps until it is quarantined is a defined outcome, in the twin as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from faults.injector import Step
from faults.kinds import SILENT_ENDS
from faults.plan import Fault, Plan, canonical
from runtime.errors import Refused
from runtime.physical import Physical

FAULTS_MAX = 10_000
ORCHESTRATOR_KILLS_MAX = 32
SAME_FRAME_MAX = 8
SAME_VERSION_MAX = 8
SILENT_DEVICES_MAX = 6
CPU_LOADS_MAX = 8
_UNANSWERED = ("frame.lose", "frame.corrupt", "frame.delay")


def check(plan: Plan) -> None:
    """Raises Refused for a plan with a fault the catalogue does not know, or with more than can be survived.

    - Physical options out of bounds: a pool without workers, a time that is not positive.
    - One step may lose one worker less than `lost_workers_max`: with one more it is ended by decree, which only
      physical evidence can give. Kills and stalls cost a worker each; frames lost, altered or held back cost one as
      often as all sends within a lease go unanswered.
    - Orchestrator kills are bounded: each costs a recovery, and the liveness bound counts them.
    - A client's frame may be hit `SAME_FRAME_MAX` times: each costs one round of resending.
    - A crash leaves one disk: two disk faults of one crash contradict each other.
    - Devices may fall silent or slow `SILENT_DEVICES_MAX` times: each costs a lease, which doubles for the same batch.
    - Loads on the CPU, the last resort, may fail `CPU_LOADS_MAX` times: nothing can be computed meanwhile.
    - A device may compute wrong only where every answer is checked; else nothing could tell.
    - One version of a buffer may be altered `SAME_VERSION_MAX` times: each costs a repair and a new lease.
    """
    if len(plan.faults) > FAULTS_MAX:
        raise Refused(f"{len(plan.faults)} faults", "plan", f"at most {FAULTS_MAX}")
    faults = [canonical(fault) for fault in plan.faults]
    _check_physical(plan.physical)
    _check_workers(faults, plan.physical)
    kills = sum(fault.kind == "orchestrator.kill" for fault in faults)
    if kills > ORCHESTRATOR_KILLS_MAX:
        raise Refused(f"{kills} kills of the orchestrator", "fault budget", f"at most {ORCHESTRATOR_KILLS_MAX}")
    _check_clients(faults)
    _check_devices(faults, plan.physical)
    _check_same(faults, ("disk.lose", "disk.tear"), ("crash",), 1, "a crash leaves one disk")
    _check_same(faults, ("buffer.flip",), ("buffer", "version"), SAME_VERSION_MAX, "alter other versions")


def _check_physical(physical: Physical) -> None:
    """At least one of everything that is counted, and times that pass."""
    bounds = {"workers": (1, 1024), "lost_workers_max": (1, 64), "sync_ahead": (1, 1 << 16), "keep_snapshots": (1, 64)}
    bounds |= {"batch_max": (1, 1024), "check_ppm": (0, 1_000_000)}
    times = ("lease_ns", "step_ns", "worst_ns_per_fuel", "resend_ns", "respawn_ns", "inference_lease_ns", "probe_ns")
    bounds |= dict.fromkeys(times, (1, 3600 * 10**9))
    for name, (low, high) in bounds.items():
        value = getattr(physical, name)
        if not low <= value <= high:
            raise Refused(f"{name} is {value}", "plan, physical", f"give one from {low} to {high}")


def silent_devices(faults: Iterable[Fault]) -> int:
    """How many leases of inference batches these faults can cost."""
    return sum(fault.kind == "gpu.slow" or fault.get("how") in SILENT_ENDS for fault in faults)


def failed_loads(faults: Iterable[Fault], device: str) -> int:
    """How many loads fail on the devices of this name ("cpu" or "accel")."""
    failing = [fault for fault in faults if fault.kind == "model.load_fail" and fault.get("device") == device]
    return sum(fault.number("attempts") for fault in failing)


def _check_devices(faults: list[Fault], physical: Physical) -> None:
    where = "fault budget"
    silent, loads = silent_devices(faults), failed_loads(faults, "cpu")
    if silent > SILENT_DEVICES_MAX:
        raise Refused(f"devices would be silent or slow {silent} times", where, f"at most {SILENT_DEVICES_MAX}")
    if loads > CPU_LOADS_MAX:
        raise Refused(f"{loads} loads would fail on the CPU", where, f"at most {CPU_LOADS_MAX}")
    if not physical.check_answers and any(fault.kind == "gpu.wrong" for fault in faults):
        raise Refused("a device would compute wrong unseen", where, "set physical.check_answers in the plan")


def workers_lost_to_silence(unanswered: int, physical: Physical) -> int:
    """How many workers one step loses when this many of its frames in a row go unanswered.

    Work is sent at 0, r, 3r, 7r, … within a lease L, and L doubles with each expiry (`runtime.pool`), so expiry i
    takes as many losses as there are such times below L * 2**i. The shortest possible lease is assumed.
    """
    lost, lease = 0, physical.lease_ns
    while True:
        sends, wait, at = 0, physical.resend_ns, 0
        while at < lease:
            sends, at, wait = sends + 1, at + wait, wait * 2
        if unanswered < sends:
            return lost
        unanswered -= sends
        lost += 1
        lease *= 2


def _check_workers(faults: list[Fault], physical: Physical) -> None:
    taken: Counter[Step] = Counter()
    unanswered: Counter[Step] = Counter()
    for fault in faults:
        step = (fault.number("tick"), fault.number("agent"))
        if fault.kind in ("worker.kill", "worker.stall"):
            taken[step] += 1
        elif fault.kind in _UNANSWERED and fault.get("direction") in ("work", "done"):
            # A frame held back longer than the first lease is worth a worker by itself.
            late = fault.kind == "frame.delay" and fault.number("for") >= physical.lease_ns
            (taken if late else unanswered)[step] += 1
    for step in sorted(set(taken) | set(unanswered)):
        cost = taken[step] + workers_lost_to_silence(unanswered[step], physical)
        if cost > physical.lost_workers_max - 1:
            where = f"fault budget, tick {step[0]}, agent {step[1]}"
            todo = f"at most {physical.lost_workers_max - 1} (lost_workers_max - 1), or it ends by decree"
            raise Refused(f"this step would lose {cost} workers", where, todo)


def _check_clients(faults: list[Fault]) -> None:
    frames = tuple(kind for kind in {fault.kind for fault in faults} if kind in _UNANSWERED)
    released = [fault for fault in faults if fault.get("direction") == "release"]
    _check_same(released, frames, ("block",), SAME_FRAME_MAX, "let the client see this block")
    hit = sorted({f.number("occurrence") for f in faults if f.kind in frames and f.get("direction") == "inputs"})
    for first, last in zip(hit, hit[SAME_FRAME_MAX:], strict=False):
        if last - first == SAME_FRAME_MAX:
            what = f"{SAME_FRAME_MAX + 1} client frames in a row would be hit, from number {first}"
            raise Refused(what, "fault budget", f"at most {SAME_FRAME_MAX} in a row")


def _check_same(faults: list[Fault], kinds: tuple[str, ...], keys: tuple[str, ...], bound: int, todo: str) -> None:
    """No more than `bound` faults of these kinds may share one address."""
    counts = Counter(tuple(fault.number(key) for key in keys) for fault in faults if fault.kind in kinds)
    for address, count in sorted(counts.items()):
        if count > bound:
            named = ", ".join(f"{key} {value}" for key, value in zip(keys, address, strict=True))
            raise Refused(f"{count} faults at {named}", "fault budget", f"at most {bound}; {todo}")
