"""Devices for inference: lost, mistrusted, trusted again, and the requests that went on elsewhere."""

from __future__ import annotations

from harness.sometimes.property import Property
from harness.sometimes.seen import Seen

CPU = 0
_GONE = ("gpu.*", "model.*")
_WHERE = ("assistants",)


def _mid_generation(seen: Seen) -> bool:
    """A later token of a session was computed on an accelerator that was then lost, and came from the CPU."""
    lost = {record.fields["process"] for record in seen.all("device_lost") if record.fields["device"] != CPU}
    tried = {e.request for e in seen.history.inferences if e.position and e.process in lost and e.device != CPU}
    served = {record.fields["request"] for record in seen.all("inferred", device=CPU)}
    return bool(tried & served)


def _failed_on_trial(seen: Seen) -> bool:
    """A device that had failed was given work and failed again before it was trusted."""
    mistrusted: set[object] = set()
    working: set[object] = set()
    for _, record in seen.placed("device_lost", "device_trusted", "infer_sent", "started"):
        device = record.fields.get("device")
        if record.kind == "started":
            mistrusted, working = set(), set()
        elif record.kind == "device_trusted":
            mistrusted.discard(device)
            working.discard(device)
        elif record.kind == "infer_sent":
            working |= {device} & mistrusted
        elif device != CPU:
            if device in working:
                return True
            mistrusted.add(device)
    return False


def _no_device_left(seen: Seen) -> bool:
    """The CPU's process and an accelerator's were lost in one tick."""
    cpu: set[tuple[int, int]] = set()
    others: set[tuple[int, int]] = set()
    for record in seen.all("device_lost"):
        (cpu if record.fields["device"] == CPU else others).add((record.incarnation, record.tick))
    return bool(cpu & others)


def _several_requests(seen: Seen) -> bool:
    """A device was lost with a batch of two requests or more."""
    last: dict[object, int] = {}
    for _, record in seen.placed("infer_sent", "infer_received", "device_lost"):
        process = record.fields["process"]
        if record.kind == "infer_sent":
            last[process] = int(record.fields["requests"])
        elif last.pop(process, 0) >= 2 and record.kind == "device_lost":
            return True
    return False


def _requests_survive(seen: Seen) -> bool:
    """A recovered orchestrator asked a device for what its predecessor owed, before it opened a tick."""
    waiting = False
    for _, record in seen.placed("recovered", "opened", "infer_sent"):
        if record.kind == "infer_sent" and waiting:
            return True
        waiting = record.kind == "recovered"
    return False


def _worker_and_device(seen: Seen) -> bool:
    return bool(set(seen.ticks("lost")) & set(seen.ticks("device_lost")))


def _repairer(seen: Seen, during: str) -> bool:
    """The device that repaired a loss was lost in turn, at this."""
    return any(fault.get("during") == during for _, fault in seen.effective("repair.kill"))


def _confirmed_by_cpu(seen: Seen) -> bool:
    """An accelerator on trial answered, and the CPU gave the same."""
    return seen.any("device_trusted")


PROPERTIES = (
    Property(
        "failover_failed",
        "the device that took a request over was lost with it",
        lambda s: _repairer(s, "failover"),
        ("repair.*",),
        _WHERE,
    ),
    Property(
        "trial_failed",
        "a device that was tried again was lost with its first batch",
        lambda s: _repairer(s, "probe"),
        ("repair.*",),
        _WHERE,
    ),
    Property(
        "device_lost",
        "an accelerator was lost",
        lambda s: any(r.fields["device"] != CPU for r in s.all("device_lost")),
        _GONE,
        _WHERE,
    ),
    Property(
        "failover_in_mid_generation",
        "failover in mid-generation: a session went on elsewhere",
        _mid_generation,
        _GONE,
        _WHERE,
    ),
    Property(
        "device_lost_in_load",
        "a device was lost while it loaded a model",
        lambda s: s.any("device_lost", cause="load"),
        _GONE,
        _WHERE,
    ),
    Property(
        "device_out_of_memory",
        "a device had no memory left",
        lambda s: s.any("device_lost", cause="memory"),
        _GONE,
        _WHERE,
    ),
    Property("device_silent", "a device's lease ran out", lambda s: s.any("device_lost", cause="lease"), _GONE, _WHERE),
    Property(
        "late_answer_refused",
        "an answer of a device that had been given up was refused",
        lambda s: s.any("infer_stale"),
        _GONE,
        _WHERE,
    ),
    Property(
        "device_trusted_again",
        "a device that had failed was tried, checked, and trusted again",
        _confirmed_by_cpu,
        _GONE,
        _WHERE,
    ),
    Property(
        "device_failed_on_trial",
        "a device that had failed was tried, and failed again",
        _failed_on_trial,
        _GONE,
        _WHERE,
    ),
    Property(
        "device_missing", "an accelerator was not listed any more", lambda s: s.any("device_missing"), _GONE, _WHERE
    ),
    Property(
        "cpu_lost",
        "the process that computes on the CPU was lost",
        lambda s: s.any("device_lost", device=CPU),
        _GONE,
        _WHERE,
    ),
    Property(
        "no_device_left", "an accelerator and the CPU's process were lost in one tick", _no_device_left, _GONE, _WHERE
    ),
    Property("batch_lost", "a device was lost with a batch of several requests", _several_requests, _GONE, _WHERE),
    Property(
        "device_and_worker_lost", "a device and a worker were lost in one tick", _worker_and_device, _GONE, _WHERE
    ),
    Property(
        "requests_survived_a_crash",
        "a recovered orchestrator asked again for what was owed",
        _requests_survive,
        ("orchestrator.*",),
        _WHERE,
    ),
    Property(
        "wrong_answer_caught",
        "a wrong result of an accelerator was caught",
        lambda s: s.any("infer_disagreed"),
        ("gpu.wrong",),
        _WHERE,
    ),
)
