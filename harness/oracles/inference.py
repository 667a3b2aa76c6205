"""Fallback equivalence (I24): a result is the same whichever device gave it, and whole from one device.

The device log says what each device got and gave; the journal what the runtime made of it; a computation on the CPU,
apart from any run, what is right. Against: a KV cache of another step after a failover, answers of a device that is
gone, results put together from two devices, a switch of devices that nobody was told of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from harness.history import DeviceEvent
from harness.oracles import admitted
from harness.oracles.conversations import Asked
from harness.oracles.judged import Judged
from harness.oracles.verdict import Unjudged
from runtime.frames import InferenceItem
from runtime.telemetry import Record

# What tells of a device that comes or goes: between two devices in a row there must be such a record.
_TOLD = (
    "device_spawned",
    "device_lost",
    "device_missing",
    "device_listed",
    "device_quarantined",
    "device_trusted",
    "infer_disagreed",
    "started",
)


def fallback(run: Judged) -> list[str]:
    """I24: what devices got follows from the journal, and each result in it is one device's, and the CPU's own."""
    if not run.history.inferences:
        raise Unjudged("there is no device log")
    if not run.history.trace:
        raise Unjudged("there is no trace")
    untrue = _untrue(run)
    given: dict[int, list[DeviceEvent]] = {}
    found: list[str] = []
    for index, event in enumerate(run.history.inferences):
        found += [f"device event {index}: {problem}" for problem in _input(run, event)]
        if event.token >= 0 and not _is_untrue(untrue, event):
            given.setdefault(event.request, []).append(event)
            found += [f"device event {index}: {problem}" for problem in _other(given[event.request][0], event)]
    for asked in run.conversations.values():
        if asked.answer is not None:
            found += _result(run, asked, given.get(asked.number, []))
    found += _served(run, given) + _switches(run.history.trace) + _after_loss(run.history.trace)
    return [*found, *admitted.tried()]


def _untrue(run: Judged) -> dict[int, list[tuple[int, int]]]:
    """What a fault made of results: process -> (from when, which request; -1 for all of them)."""
    marks: dict[int, list[tuple[int, int]]] = {}
    for injection in run.history.injections:
        kind = run.history.plan.faults[injection.fault].kind
        if kind in ("gpu.remove", "gpu.wrong"):
            request = injection.fields["request"] if kind == "gpu.wrong" else -1
            marks.setdefault(int(injection.fields["process"]), []).append((injection.at, int(request)))
    return marks


def _is_untrue(untrue: dict[int, list[tuple[int, int]]], event: DeviceEvent) -> bool:
    return any(event.at >= at and request in (-1, event.request) for at, request in untrue.get(event.process, ()))


def _input(run: Judged, event: DeviceEvent) -> list[str]:
    """What the device was given, against what the agent asked and the KV cache that the journal holds."""
    asked = run.conversations.get(event.request)
    if asked is None:
        return [f"request {event.request}, which no agent made"]
    found = []
    if event.model != run.config["models"][asked.sent.channel]["digest"]:
        found.append(f"request {event.request} with another model, {event.model[:12]}")
    if (event.position, event.tokens) != (asked.position, asked.tokens):
        what = f"{len(event.tokens)} tokens at position {event.position}"
        found.append(
            f"request {event.request}: {what}, {asked.sent.where} asked {len(asked.tokens)} at {asked.position}"
        )
    if event.kv_digest != hashlib.sha256(asked.kv).hexdigest():
        what = f"a KV cache that is not the {len(asked.kv)} bytes of the journal"
        found.append(f"request {event.request}: {what} (device {event.device}, process {event.process})")
    return found


def _other(first: DeviceEvent, event: DeviceEvent) -> list[str]:
    if (event.token, event.logits, event.added) == (first.token, first.logits, first.added):
        return []
    what = f"token {event.token}, device {first.device} gave {first.token}"
    return [f"request {event.request}: another result on device {event.device}: {what}"]


def _result(run: Judged, asked: Asked, given: Sequence[DeviceEvent]) -> list[str]:
    """The journal's result, against the devices' and against a computation of our own."""
    answer = asked.answer
    assert answer is not None
    ours = (answer.token, answer.logits, hashlib.sha256(asked.added).hexdigest())
    found = []
    if not given:
        found.append(f"{answer.where}: request {asked.number} has a result that no device gave")
    elif ours not in [(event.token, event.logits, event.added) for event in given]:
        parts = _parts(ours, given)
        found.append(f"{answer.where}: the result of request {asked.number} is no device's; its {parts}")
    if run.recompute is not None:
        digest = run.config["models"][asked.sent.channel]["digest"]
        right = run.recompute(digest, InferenceItem(asked.number, asked.position, asked.tokens, asked.kv))
        if (right.token, right.logits, right.kv) != (answer.token, answer.logits, asked.added):
            what = f"token {answer.token}, computed anew on the CPU {right.token}"
            found.append(f"{answer.where}: request {asked.number}: {what}")
    return found


def _parts(ours: tuple[int, str, str], given: Sequence[DeviceEvent]) -> str:
    """Which device gave which part of a result that no device gave as a whole."""
    sources = []
    for name, part, place in (("token", ours[0], 0), ("logits", ours[1], 1), ("KV cache", ours[2], 2)):
        devices = sorted({e.device for e in given if (e.token, e.logits, e.added)[place] == part})
        sources.append(f"{name} is device {devices[0]}'s" if devices else f"{name} is nobody's")
    return ", ".join(sources)


def _served(run: Judged, given: dict[int, list[DeviceEvent]]) -> list[str]:
    """What the trace says of who served a request, against the device log."""
    found = []
    told: set[int] = set()
    for index, record in enumerate(run.history.trace):
        if record.kind == "inferred":
            request, device = int(record.fields["request"]), int(record.fields["device"])
            told.add(request)
            events = [e for e in given.get(request, ()) if e.at <= record.at and e.incarnation == record.incarnation]
            if device not in [event.device for event in events]:
                found.append(f"trace record {index}: request {request} served by device {device}, which gave no result")
    for number, asked in run.conversations.items():
        if asked.answer is not None and number not in told:
            found.append(f"{asked.answer.where}: the trace does not say which device served request {number}")
    return found


def _switches(trace: Sequence[Record]) -> list[str]:
    """Between batches that two devices served the trace tells of one that came or went, or the one before is gone.

    A batch is served from when it is sent: what comes or goes while it is on its way is met by the next one. An answer
    that waits for the CPU to confirm it may be counted after its device was missed.
    """
    found = []
    told = -1  # the last record that tells of anything
    serving: int | str | None = None
    since = -1  # when the batch was sent that was served last
    sent: dict[int | str, int] = {}
    answered: dict[int | str, int] = {}
    gone: set[int | str] = set()
    for index, record in enumerate(trace):
        if record.kind in _TOLD:
            told = index
            if record.kind == "device_missing":
                gone.add(record.fields["device"])
            elif record.kind == "device_listed":
                gone.discard(record.fields["device"])
        elif record.kind == "infer_sent":
            sent[record.fields["device"]] = index
        elif record.kind == "infer_received":
            answered[record.fields["device"]] = sent.get(record.fields["device"], index)
        elif record.kind == "inferred":
            device = record.fields["device"]
            if serving not in (None, device) and told < since and serving not in gone:
                what = f"device {device} serves request {record.fields['request']} after device {serving}"
                found.append(f"trace record {index}: {what}; nothing tells of a switch")
            serving, since = device, answered.get(device, index)
    return found


def _after_loss(trace: Sequence[Record]) -> list[str]:
    """Nothing of a process counts once it is lost."""
    found = []
    lost: dict[object, int] = {}
    for index, record in enumerate(trace):
        if record.kind == "device_lost":
            lost.setdefault(record.fields["process"], index)
        elif record.kind == "infer_received" and record.fields["process"] in lost:
            process = record.fields["process"]
            found.append(f"trace record {index}: an answer of process {process}, lost in record {lost[process]}")
    return found
