"""Whether a fault took effect: an adapter carried it out, and the runtime's own record shows that it was noticed.

Two independent records are compared: injections, written by the wrappers outside the ports, and the trace or the
journal, written by the runtime inside. A lost write that was synced anyway, or a delay shorter than the resend, leaves
no such record, and did not take effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from faults.catalogue import kind_of
from faults.clock_rules import CLOCK_RULES
from faults.disk_rules import DISK_RULES, succeeded
from faults.evidence import Performed, Rule, Trace, lease_of, seen, sent_again
from faults.injector import Step
from faults.pipe_rules import PIPE_RULES
from faults.plan import Fault, Plan
from faults.worker_effect import WORKER_RULES, found_wrong, lost
from faults.workload_rules import BLOCK_RULES, NOTHING, Told
from faults.wrappers.guests import endings
from faults.wrappers.models import CPU
from runtime.telemetry import Record

SHOWN = ("visible", "refused")  # classes whose faults end a step under a defined name
CLIENTS = -1  # the `worker` of a trace record about a client's frame
MET_NS = 1_000_000  # a frame that has arrived is handled within this time


def effective(
    plan: Plan,
    injections: Sequence[Performed],
    records: Trace | Sequence[Record],
    journal_steps: Mapping[Step, str],
    told: Told = NOTHING,
) -> dict[int, bool]:
    """Per fault of the plan, by index. `journal_steps` are (tick, agent) -> the step's status in the journal.

    `told` is what workload faults are judged by.
    """
    trace = Trace.over(records)
    performed: dict[int, list[Performed]] = {index: [] for index in range(len(plan.faults))}
    for injection in injections:
        performed[injection.fault].append(injection)
    verdicts = {}
    for index, fault in enumerate(plan.faults):
        mine = performed[index]
        if not mine:
            verdicts[index] = False
        elif fault.kind in BLOCK_RULES:
            verdicts[index] = BLOCK_RULES[fault.kind](fault, index, told)
        elif kind_of(fault.kind).class_ in SHOWN:
            step = (fault.number("tick"), fault.number("agent"))
            verdicts[index] = journal_steps.get(step) in endings(fault)
        else:
            verdicts[index] = _RULES[fault.kind](fault, mine, trace)
    return verdicts


def detections(plan: Plan, injections: Sequence[Performed], records: Trace | Sequence[Record]) -> tuple[int, int]:
    """Wrong results that reached the runtime, and how many of them it found: the detection rate of measured kinds.

    One whose worker or device was lost before it could answer has reached nobody.
    """
    trace = Trace.over(records)
    answered = found = 0
    for one in injections:
        if plan.faults[one.fault].kind == "gpu.wrong":
            about = {name: one.fields[name] for name in ("request", "device")}
            told = bool(seen(trace, "infer_disagreed", about, one.at))
            met = seen(trace, "infer_received", _infer_lease(one), one.at)
        elif plan.faults[one.fault].kind == "worker.wrong":
            told = found_wrong(one, trace)
            met = seen(trace, "received", {"worker": one.fields["worker"]}, one.at)
        else:
            continue
        found += told
        answered += bool(told or met)
    return answered, found


def _worker_stalled(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    lease = lease_of(mine[0])
    lost = seen(trace, "lost", {**lease, "cause": "lease"}, mine[0].at)
    return bool(lost and seen(trace, "stale", lease, lost[0].at))


def _frame_lost(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    return _client_again(fault, mine, trace) if _is_client(fault) else sent_again(mine[0], trace)


def _frame_duplicated(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """The surplus copy, or the answer to it, must have been met: thrown away, or received with nothing left to do."""
    if fault.get("direction") == "release":
        return any("discarded" in injection.fields for injection in mine)
    if fault.get("direction") == "inputs":
        # Clients repeat by themselves what is not acknowledged, so only what is met at once is this copy.
        second = mine[0].at + int(mine[0].fields["for"])
        return bool(seen(trace, "stale", {"worker": CLIENTS}, second, second + MET_NS))
    answers = [seen(trace, kind, lease_of(mine[0]), mine[0].at) for kind in ("stale", "received")]
    return bool(answers[0]) or len(answers[1]) > 1


def _frame_delayed(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """What answers a delay comes while the frame is held back, or refuses it when it arrives."""
    until = mine[0].at + int(mine[0].fields["for"])
    if _is_client(fault):
        return _client_again(fault, mine, trace, until)
    return sent_again(mine[0], trace, until) or bool(seen(trace, "stale", lease_of(mine[0]), until))


def _frame_corrupted(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """Who receives it says that it is garbled, or it is sent again."""
    about = mine[0].fields.get("worker", CLIENTS)
    if fault.get("direction") != "release" and seen(trace, "garbled", {"worker": about}, mine[0].at):
        return True
    return _client_again(fault, mine, trace) if _is_client(fault) else sent_again(mine[0], trace)


def _buffer_flipped(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    version = {"buffer": fault.number("buffer"), "version": fault.number("version")}
    return bool(seen(trace, "repaired", version, mine[0].at) or seen(trace, "rewritten", version, mine[0].at))


def _buffer_stuck(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """It was repaired, and again when the repair had not lasted."""
    version = {"buffer": fault.number("buffer"), "version": fault.number("version")}
    repairs = [record for kind in ("repaired", "rewritten") for record in seen(trace, kind, version, mine[0].at)]
    return len(repairs) > 1


def _lock_abandoned(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    return bool(seen(trace, "lost", {**lease_of(mine[0]), "cause": "lease"}, mine[0].at))


def _orchestrator_killed(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    return succeeded(trace, mine[0].at)


def _disk_damaged(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    removed = sum(int(injection.fields.get("removed", 0)) for injection in mine)
    return removed > 0 and succeeded(trace, mine[0].at)


def _device_removed(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """Its process is lost, and if it answered late, that answer is thrown away after it."""
    process = {"process": mine[0].fields["process"]}
    lost = seen(trace, "device_lost", process, mine[0].at)
    if fault.get("how") != "late":
        return bool(lost)
    return bool(lost and seen(trace, "infer_stale", _infer_lease(mine[0]), lost[0].at))


def _device_absent(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    until = mine[0].at + int(mine[0].fields["for"])
    return bool(seen(trace, "infer_sent", {"device": CPU}, mine[0].at, until))


def _device_short_of_memory(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    about = {"process": mine[0].fields["process"], "cause": "memory"}
    return bool(seen(trace, "device_lost", about, mine[0].at))


def _device_slowed(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """The answer came no sooner than the slowed work was over, or its lease ran out first."""
    until = mine[0].at + int(mine[0].fields["takes"])
    lost = {"process": mine[0].fields["process"], "cause": "lease"}
    answered = seen(trace, "infer_received", _infer_lease(mine[0]), until)
    return bool(answered or seen(trace, "device_lost", lost, mine[0].at, until))


def _device_wrong(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    about = {"request": mine[0].fields["request"], "device": mine[0].fields["device"]}
    return bool(seen(trace, "infer_disagreed", about, mine[0].at))


def _load_failed(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    about = {"process": mine[0].fields["process"], "cause": "load"}
    return bool(seen(trace, "device_lost", about, mine[0].at))


def _bad_output_met(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """The process is lost for it at once: by its results, or as the session does not open."""
    lost = seen(trace, "device_lost", {"process": mine[0].fields["process"]}, mine[0].at)
    return any(record.fields["cause"] in ("device", "load") for record in lost)


def _evicted(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    """At once: what is loaded leaves for the one that is needed."""
    return bool(seen(trace, "model_evicted", {"worker": mine[0].fields["process"]}, mine[0].at, mine[0].at))


def _infer_lease(injection: Performed) -> dict[str, int | str]:
    return {"process": injection.fields["process"], "lease": injection.fields["lease"]}


def _is_client(fault: Fault) -> bool:
    return fault.get("direction") in ("inputs", "release")


def _client_again(fault: Fault, mine: Sequence[Performed], trace: Trace, until: int | None = None) -> bool:
    """The client sent the same inputs again, or the runtime released the same block again, while it was missed."""
    if fault.get("direction") == "release":
        return bool(seen(trace, "released", {"block": fault.number("block")}, mine[0].at + 1, until))
    return any("again" in injection.fields and (until is None or injection.at <= until) for injection in mine[1:])


def _resized(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    return bool(seen(trace, "resized", {"workers": fault.number("workers")}, mine[0].at))


def _repairer_lost(fault: Fault, mine: Sequence[Performed], trace: Trace) -> bool:
    if "process" not in mine[0].fields:
        return lost(fault, mine, trace)
    return bool(seen(trace, "device_lost", {"process": mine[0].fields["process"]}, mine[0].at))


_RULES: dict[str, Rule] = {
    "repair.kill": _repairer_lost,
    "pool.resize": _resized,
    **CLOCK_RULES,
    **PIPE_RULES,
    **WORKER_RULES,
    **DISK_RULES,
    "worker.kill": lost,
    "worker.stall": _worker_stalled,
    "frame.lose": _frame_lost,
    "frame.duplicate": _frame_duplicated,
    "frame.delay": _frame_delayed,
    "frame.corrupt": _frame_corrupted,
    "buffer.flip": _buffer_flipped,
    "buffer.zero": _buffer_flipped,
    "buffer.stale_handle": _buffer_flipped,
    "buffer.second_writer": _buffer_flipped,
    "buffer.torn_read": _buffer_flipped,
    "buffer.stuck": _buffer_stuck,
    "lock.abandon": _lock_abandoned,
    "orchestrator.kill": _orchestrator_killed,
    "disk.lose": _disk_damaged,
    "disk.tear": _disk_damaged,
    "gpu.remove": _device_removed,
    "gpu.absent": _device_absent,
    "gpu.oom": _device_short_of_memory,
    "gpu.slow": _device_slowed,
    "gpu.wrong": _device_wrong,
    "model.load_fail": _load_failed,
    "model.flip": _load_failed,
    "model.swap": _load_failed,
    "model.bad_output": _bad_output_met,
    "model.evict": _evicted,
}
