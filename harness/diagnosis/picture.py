"""From two histories to lanes over virtual time: what the page of `why` draws.

Lanes are the orchestrator and its disk, workers by the place that they fill, devices, and agents; of these, those that
the failure touches are kept first, as lanes are capped. The twin's events go into the same lanes, marked as the twin's.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.adapters.accelerators import DEVICE_NAMES
from harness.diagnosis.chain import DETECTED, REPAIRED, told
from harness.diagnosis.explain import Why
from harness.history import History
from reports.timeline import Accused, Bar, Lane, Mark, Step, Strike, Timeline
from runtime.telemetry import Record
from scenarios import get

AGENTS_MAX = 16
MARGIN = 8  # the window is larger than what happens in it by one part in so many


def timeline(why: Why, title: str, replay: str) -> Timeline:
    """What the page shows of a failed case."""
    run, twin = why.checked.history, why.checked.twin
    difference = why.difference
    agents = _agents(why)
    lanes = [_orchestrator(run, twin), _disk(run, twin), *_workers(run, twin), *_devices(run, twin)]
    lanes += [_agent(why, run, twin, agent) for agent in agents[:AGENTS_MAX]]
    return Timeline(
        title=title,
        oracle=why.oracle,
        evidence=next(iter(why.checked.findings[why.oracle].evidence), ""),
        place=difference.place,
        here=difference.here,
        there=difference.there,
        fields=difference.fields,
        difference_at=difference.at,
        window=_window(why),
        end=run.virtual_ns,
        twin_end=twin.virtual_ns,
        lanes=tuple(lane for lane in lanes if lane.bars or lane.marks),
        strikes=tuple(_strikes(why)),
        chain=tuple(Step(at=link.at, kind=link.kind, text=link.text, times=link.times) for link in why.chain),
        accused=tuple(Accused(component=s.component, permille=s.permille, because=s.because) for s in why.suspects),
        notes=tuple(why.notes),
        replay=replay,
        twin_at=_committed(twin, difference.block) if difference.where == "journal" else -1,
        lanes_left=max(0, len(agents) - AGENTS_MAX),
    )


def _committed(history: History, block: int) -> int:
    """When the run committed this block; -1 if it never did."""
    found = (r.at for r in history.trace if r.kind == "committed" and r.fields.get("block") == block)
    return next(found, -1)


def _window(why: Why) -> tuple[int, int]:
    """From the first necessary fault to the first difference or the failure, with a margin on both sides."""
    history = why.checked.history
    chosen = set(why.necessity.necessary)
    struck = [i.at for i in history.injections if i.fault in chosen]
    ends = [why.difference.at] if why.difference.at >= 0 else []
    if history.failure:
        ends.append(history.virtual_ns)
    moments = struck + ends
    if not moments:
        return 0, max(1, history.virtual_ns)
    low, high = min(moments), max(moments)
    tick = _tick_length(history)
    margin = max(tick, (high - low) // MARGIN)
    return max(0, low - margin), min(max(history.virtual_ns, high), high + margin)


def _tick_length(history: History) -> int:
    """A handful of ticks, in virtual ns."""
    commits = [record.at for record in history.trace if record.kind == "committed"]
    return 3 * (commits[-1] - commits[0]) // max(1, len(commits) - 1) if commits else 1


def _strikes(why: Why) -> Iterable[Strike]:
    first: dict[int, int] = {}
    for injection in why.checked.history.injections:
        first.setdefault(injection.fault, injection.at)
    needs = why.necessity
    for index, fault in enumerate(why.checked.plan.faults):
        necessary = True if index in needs.necessary else False if index in needs.needless else None
        noticed = why.checked.effective.get(index, False)
        yield Strike(at=first.get(index, -1), text=str(fault), number=index + 1, necessary=necessary, noticed=noticed)


def _agents(why: Why) -> list[int]:
    """All agents that had a step; those that faults, difference or failures name come first."""
    history = why.checked.history
    named = [injection.fields.get("agent") for injection in history.injections]
    named += [guest.agent for guest in history.guests if guest.tick == why.difference.tick]
    named += [record.fields.get("agent") for record in history.trace if record.kind in ("failed", "decreed")]
    present = {event.agent for event in [*history.guests, *why.checked.twin.guests]}
    first = [agent for agent in dict.fromkeys(named) if agent in present and isinstance(agent, int)]
    chosen = [*first, *sorted(present - set(first))]
    return sorted(chosen[:AGENTS_MAX]) + chosen[AGENTS_MAX:]


def _agent(why: Why, run: History, twin: History, agent: int) -> Lane:
    specs = get(why.checked.plan.scenario).agents
    name = specs[agent].name if agent < len(specs) else ""
    marks: list[Mark] = []
    for history in (run, twin):
        done: set[tuple[int, str]] = set()
        for event in history.guests:
            if event.agent != agent:
                continue
            key = (event.tick, event.kind)
            shape = "redone" if key in done else "step" if event.status == "ok" else "failed"
            done.add(key)
            label = f"agent {agent}: {event.kind} of tick {event.tick} at worker {event.worker}, {event.status}"
            marks.append(Mark(at=event.at, shape=shape, label=label, twin=history is twin))
    return Lane(name=f"{agent} {name}".strip(), group="agents", marks=tuple(marks))


def _noted(record: Record, twin: bool) -> Mark | None:
    if twin:
        return None
    shape = "detected" if record.kind in DETECTED else "repaired" if record.kind in REPAIRED else ""
    return Mark(at=record.at, shape=shape, label=told(record)) if shape else None


def _orchestrator(run: History, twin: History) -> Lane:
    """Incarnations as bars, deaths, and what the runtime noticed of its clients' frames and files."""
    bars: list[Bar] = []
    marks: list[Mark] = []
    for history in (run, twin):
        aside = history is twin
        deaths = [*(crash.at for crash in history.crashes), history.virtual_ns]
        births = [0, *(r.at for r in history.trace if r.kind == "started" and r.incarnation > 1)]
        for number, (start, end) in enumerate(zip(births, deaths, strict=False), 1):
            label = f"incarnation {number}"
            bars.append(Bar(start=start, end=end, tone="alive", label=label, twin=aside))
        for record in history.trace:
            if record.kind == "committed":
                shape = Mark(at=record.at, shape="note", label=f"block {record.fields['block']} committed", twin=aside)
                marks.append(shape)
            elif not {"worker", "process", "device", "agent"} & set(record.fields) or record.fields.get("worker") == -1:
                mark = _noted(record, aside)
                marks += [mark] if mark else []
    for crash in run.crashes:
        marks.append(Mark(at=crash.at, shape="crash", label=f"killed in tick {crash.tick}, phase {crash.phase}"))
    return Lane(name="orchestrator", group="orchestrator", bars=tuple(bars), marks=tuple(marks))


def _disk(run: History, twin: History) -> Lane:
    marks: list[Mark] = []
    for history in (run, twin):
        aside = history is twin
        for record in history.trace:
            if record.kind == "durable":
                label = f"durable up to block {record.fields['block']}"
                marks.append(Mark(at=record.at, shape="durable", label=label, twin=aside))
            elif record.kind == "snapshot":
                marks.append(Mark(at=record.at, shape="durable", label=told(record), twin=aside))
        for receipt in history.receipts:
            label = f"block {receipt.block} received, {receipt.durable_bytes} B of the journal were durable"
            marks.append(Mark(at=receipt.at, shape="released", label=label, twin=aside))
    return Lane(name="disk and client", group="orchestrator", marks=tuple(marks))


def _workers(run: History, twin: History) -> list[Lane]:
    """One lane per place of the pool, whichever workers filled it; work is a bar from sending to the answer."""
    bars: dict[int, list[Bar]] = {}
    marks: dict[int, list[Mark]] = {}
    for history in (run, twin):
        aside = history is twin
        slots: dict[int, int] = {}
        open_: dict[int, Record] = {}
        for record in history.trace:
            worker = record.fields.get("worker", -1)
            if not isinstance(worker, int) or worker < 0:
                continue
            if record.kind == "spawned":
                slots[worker] = int(record.fields["slot"])
            slot = slots.get(worker)
            if slot is None:
                continue
            if record.kind == "sent":
                open_[worker] = record
            elif record.kind in ("received", "lost") and worker in open_:
                sent = open_.pop(worker)
                tone = "busy" if record.kind == "received" else "lost"
                label = f"worker {worker}: {told(sent)}, then {told(record)}"
                bar = Bar(start=sent.at, end=record.at, tone=tone, label=label, twin=aside)
                bars.setdefault(slot, []).append(bar)
            mark = _noted(record, aside)
            if mark is not None:
                marks.setdefault(slot, []).append(mark)
    return [
        Lane(name=f"worker {slot}", group="workers", bars=tuple(bars.get(slot, ())), marks=tuple(marks.get(slot, ())))
        for slot in sorted({*bars, *marks})
    ]


def _devices(run: History, twin: History) -> list[Lane]:
    """One lane per device; a batch is a bar from sending to the answer or the device's end."""
    bars: dict[int, list[Bar]] = {}
    marks: dict[int, list[Mark]] = {}
    for history in (run, twin):
        aside = history is twin
        open_: dict[int, Record] = {}
        for record in history.trace:
            device = record.fields.get("device")
            if not isinstance(device, int):
                continue
            if record.kind == "infer_sent":
                open_[device] = record
            elif record.kind in ("infer_received", "device_lost") and device in open_:
                sent = open_.pop(device)
                tone = "busy" if record.kind == "infer_received" else "lost"
                label = f"{told(sent)}, then {told(record)}"
                bars.setdefault(device, []).append(
                    Bar(start=sent.at, end=record.at, tone=tone, label=label, twin=aside)
                )
            mark = _noted(record, aside)
            if mark is not None:
                marks.setdefault(device, []).append(mark)
    return [
        Lane(
            name=DEVICE_NAMES.get(device, f"device {device}").split(" (")[0],
            group="devices",
            bars=tuple(bars.get(device, ())),
            marks=tuple(marks.get(device, ())),
        )
        for device in sorted({*bars, *marks})
    ]
