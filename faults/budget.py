"""The fault budget: plans that no correct runtime could survive are refused, or their failures would mean nothing.

Visible faults have no budget: an agent that traps until it is quarantined is a defined outcome, in the twin as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from faults.clock_rules import leaps
from faults.injector import Step
from faults.kinds import SILENT_ENDS, TOP
from faults.pipe_kinds import NOISY_STEP_MAX
from faults.plan import Fault, Plan, canonical
from faults.worker_budget import anywhere, check_endings, taken_of
from runtime.config import MODELS_MAX
from runtime.errors import Refused
from runtime.physical import Physical

FAULTS_MAX = 10_000
ORCHESTRATOR_KILLS_MAX = 32
SAME_FRAME_MAX = 8
SAME_VERSION_MAX = 8
SILENT_DEVICES_MAX = 6
CPU_LOADS_MAX = 8
CLIENT_STALLS_MAX = 4
ADDED_MAX = 20_000
NO_AGENT = -1
ANY_TICK = TOP  # later than what any fault names
_OF_LINKS = ("link.noise", "link.clog", "link.partition", "tick.repeat", "clock.jump", "clock.strobe", "clock.drift")
_UNANSWERED = ("frame.lose", "frame.corrupt", "frame.delay", "frame.reorder")
_LOADS = ("model.load_fail", "model.flip", "model.swap")
_ALTERED = (
    "buffer.flip",
    "buffer.zero",
    "buffer.stuck",
    "buffer.stale_handle",
    "buffer.second_writer",
    "buffer.torn_read",
)


def check(plan: Plan) -> None:
    """Raises Refused for a plan with a fault the catalogue does not know, or with more than can be survived.

    - Physical options out of bounds: a pool without workers, a time that is not positive.
    - One step may lose one worker less than `lost_workers_max`: with one more it is ended by decree, which only
      physical evidence can give. Kills and stalls cost a worker each; frames lost, altered or held back cost one as
      often as all sends within a lease go unanswered; loops may cost any step some (`faults.worker_budget`).
      A link that is clogged or cut costs each step on it a worker; noise hits a bounded number of a step's frames.
    - A clock may leap as often as devices may be silent: each leap may end one lease before its time.
    - The client may be stalled or cut off `CLIENT_STALLS_MAX` times: each costs what it lasts.
    - Steps that nobody can finish are few, and nothing else strikes them: they end by decree.
    - A worker may compute wrong only where every step runs a second time; else nothing could tell.
    - Orchestrator kills and failing syncs are bounded: each costs a recovery.
    - A client's frame may be hit `SAME_FRAME_MAX` times: each costs one round of resending.
    - A crash leaves one disk: two disk faults of one crash contradict each other.
    - Devices may fall silent or slow `SILENT_DEVICES_MAX` times: each costs a lease, which doubles for the same batch.
    - Loads on the CPU, the last resort, may fail `CPU_LOADS_MAX` times: nothing can be computed meanwhile.
    - A device may compute wrong only where every answer is checked; else nothing could tell.
    - What faults add to the workload is bounded: a run takes time and memory for each message and task.
    - One version of a buffer may be altered `SAME_VERSION_MAX` times: each costs a repair and a new lease.
    """
    if len(plan.faults) > FAULTS_MAX:
        raise Refused(f"{len(plan.faults)} faults", "plan", f"at most {FAULTS_MAX}")
    faults = [canonical(fault) for fault in plan.faults]
    _check_physical(plan.physical)
    _check_workers(faults, plan.physical)
    check_endings(faults, plan.physical)
    ends = sum(fault.kind in ("orchestrator.kill", "disk.sync_error") for fault in faults)
    if ends > ORCHESTRATOR_KILLS_MAX:
        raise Refused(f"{ends} ends of the orchestrator", "fault budget", f"at most {ORCHESTRATOR_KILLS_MAX}")
    added = sum(max(0, fault.number("count"), fault.number("size")) for fault in faults)
    if added > ADDED_MAX:
        raise Refused(f"{added} messages and tasks would be added", "fault budget", f"at most {ADDED_MAX}")
    _check_clients(faults)
    _check_devices(faults, plan.physical)
    _check_same(faults, ("disk.lose", "disk.tear"), ("crash",), 1, "a crash leaves one disk")
    altered = [fault for fault in faults if fault.kind in _ALTERED for _ in range(max(1, fault.number("stores")))]
    _check_same(altered, _ALTERED, ("buffer", "version"), SAME_VERSION_MAX, "alter other versions")


def _check_physical(physical: Physical) -> None:
    """At least one of everything that is counted, and times that pass."""
    bounds = {"workers": (1, 1024), "lost_workers_max": (1, 64), "sync_ahead": (1, 1 << 16), "keep_snapshots": (1, 64)}
    bounds |= {"batch_max": (1, 1024), "check_ppm": (0, 1_000_000)}
    times = ("lease_ns", "step_ns", "worst_ns_per_fuel", "resend_ns", "respawn_ns", "inference_lease_ns", "probe_ns")
    bounds |= dict.fromkeys(times, (1, 3600 * 10**9))
    bounds |= dict.fromkeys(("host_models", "device_models"), (1, MODELS_MAX))
    for name, (low, high) in bounds.items():
        value = getattr(physical, name)
        if not low <= value <= high:
            raise Refused(f"{name} is {value}", "plan, physical", f"give one from {low} to {high}")


def silent_devices(faults: Iterable[Fault]) -> int:
    """How many leases of inference batches these faults can cost; a clock that leaps may end one before its time."""
    silent = sum(fault.kind == "gpu.slow" or fault.get("how") in SILENT_ENDS for fault in faults)
    return silent + sum(leaps(fault) for fault in faults)


def failed_loads(faults: Iterable[Fault], device: str) -> int:
    """How many loads fail on the devices of this name ("cpu" or "accel"), by themselves or for what they read."""
    failing = [fault for fault in faults if fault.kind in _LOADS and fault.get("device") == device]
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
    """Each step may lose one worker less than its bound: by faults of its own, of its tick, and of any tick's links."""
    taken: Counter[Step] = Counter()
    unanswered: Counter[Step] = Counter()
    for fault in faults:
        step = (fault.number("tick"), fault.number("agent"))
        if taken_of(fault):
            taken[step] += 1
        elif fault.kind in _UNANSWERED and fault.get("direction") in ("work", "done"):
            # A frame held back longer than the first lease is worth a worker by itself.
            late = fault.kind in ("frame.delay", "frame.reorder") and fault.number("for") >= physical.lease_ns
            (taken if late else unanswered)[step] += 1
    links = [fault for fault in faults if fault.kind in _OF_LINKS]
    ticks = {tick for fault in links for tick in _ticks_of(fault)}
    steps = set(taken) | set(unanswered) | {(tick, NO_AGENT) for tick in ticks}
    agents = [fault.number("agent") for fault in faults if anywhere(fault, fault.number("agent"))]
    steps |= {(tick, agent) for tick in (*ticks, ANY_TICK) for agent in agents}
    for step in sorted(steps):
        lost, silent = _cost_of_links(links, step[0], physical)
        lost += sum(anywhere(fault, step[1]) for fault in faults)
        cost = taken[step] + lost + workers_lost_to_silence(unanswered[step] + silent, physical)
        if cost > physical.lost_workers_max - 1:
            where = f"fault budget, tick {step[0]}" if step[0] != ANY_TICK else "fault budget, any tick"
            where += f", agent {step[1]}" if step[1] != NO_AGENT else ""
            todo = f"at most {physical.lost_workers_max - 1} (lost_workers_max - 1), or it ends by decree"
            raise Refused(f"this step would lose {cost} workers", where, todo)


def _ticks_of(fault: Fault) -> range:
    first = fault.number("tick")
    return range(first, first + (fault.number("ticks") if fault.kind == "link.noise" else 1))


def _cost_of_links(links: list[Fault], tick: int, physical: Physical) -> tuple[int, int]:
    """(workers, unanswered frames) that faults of links can cost any one step of this tick.

    A link that stands still or is cut costs its worker, and the next worker has another link. A clog begins at its
    tick or later, and may begin on one link after the other. A clock that leaps ends a wait before its time, so it is
    as if a frame had not been answered; it strikes at its tick or later. So does a call that is left out, for a while.
    """
    lost = silent = 0
    for fault in links:
        if fault.kind == "link.clog":
            lost += fault.number("tick") <= tick
        elif fault.kind == "link.partition":
            lost += fault.number("tick") == tick and "agent" in fault.at
        elif fault.kind == "tick.repeat":
            silent += fault.number("tick") <= tick and fault.get("how") == "skipped"
        elif fault.kind != "link.noise":
            silent += leaps(fault) if fault.number("tick") <= tick else 0
        elif tick in _ticks_of(fault) and fault.get("direction") != "release" and fault.get("verb") != "duplicate":
            late = fault.get("verb") == "delay" and fault.number("for") >= physical.lease_ns
            lost += NOISY_STEP_MAX if late else 0
            silent += 0 if late else NOISY_STEP_MAX
    return lost, silent


def _check_clients(faults: list[Fault]) -> None:
    stalls = [f for f in faults if f.kind == "client.stall" or (f.kind == "link.partition" and "agent" not in f.at)]
    if len(stalls) > CLIENT_STALLS_MAX:
        raise Refused(
            f"the client would be cut off {len(stalls)} times", "fault budget", f"at most {CLIENT_STALLS_MAX}"
        )
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
