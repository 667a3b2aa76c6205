"""The chain of events between fault and failure: injected, detected, repaired, first difference, oracle.

Two records are told apart: what the fault layer did (injections) and what the runtime noticed (its trace). A fault that
nothing in the trace answers is said to be unnoticed, which is often the whole story.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from harness.check import Checked
from harness.diagnosis.difference import Difference
from runtime.telemetry import Record

DETECTED = frozenset(
    {
        *("lost", "garbled", "stale", "unanswered", "unable", "discarded", "failed"),
        *("device_lost", "device_missing", "infer_stale", "infer_disagreed"),
    }
)
REPAIRED = frozenset(
    {
        *("resent", "restored", "spawned", "repaired", "rewritten", "recovered", "decreed"),
        *("device_spawned", "device_trusted", "device_listed"),
    }
)
ORDER = ("injected", "detected", "repaired", "difference", "stopped", "oracle")
LINKS_MAX = 40
CLIENTS = -1


class Link(Struct, frozen=True, kw_only=True):
    """One event: `at` is virtual ns (-1 for what has no moment), `fault` the index in the plan or -1."""

    at: int
    kind: str
    text: str
    fault: int = -1
    times: int = 1


def chain(checked: Checked, oracle: str, necessary: Sequence[int], difference: Difference) -> list[Link]:
    """The events in their order, at most LINKS_MAX: the injections and the end are always among them."""
    history = checked.history
    chosen = set(necessary) or {index for index, effective in checked.effective.items() if effective}
    injected = [
        _injected(checked, index) for index in sorted(chosen) if any(i.fault == index for i in history.injections)
    ]
    since = min((link.at for link in injected), default=0)
    until = difference.at if difference.at >= 0 else history.virtual_ns
    clients = any(checked.plan.faults[index].get("direction") == "inputs" for index in chosen)
    noticed = _merged(_noticed(history.trace, since, until, clients)) if injected else []
    ends = [*_differs(difference), *_stopped(checked), *_oracle(checked, oracle)]
    room = LINKS_MAX - len(injected) - len(ends)
    middle = sorted([*injected, *noticed[: max(0, room)]], key=lambda link: (link.at, ORDER.index(link.kind)))
    return middle + ends


def _injected(checked: Checked, index: int) -> Link:
    first = next(injection for injection in checked.history.injections if injection.fault == index)
    touched = ", ".join(f"{name} {value}" for name, value in first.fields.items())
    seen = "" if checked.effective.get(index) else "; the runtime did not notice it"
    text = f"{checked.plan.faults[index]} ({touched}){seen}"
    return Link(at=first.at, kind="injected", text=text, fault=index)


def _noticed(trace: Sequence[Record], since: int, until: int, clients: bool) -> Iterator[Link]:
    """Clients repeat by themselves what is not acknowledged: that counts only where their frames were hit."""
    for record in trace:
        if record.kind == "stale" and record.fields.get("worker") == CLIENTS and not clients:
            continue
        if since <= record.at <= until:
            kind = "detected" if record.kind in DETECTED else "repaired" if record.kind in REPAIRED else ""
            if kind:
                yield Link(at=record.at, kind=kind, text=told(record))


def told(record: Record) -> str:
    """A trace record in a line."""
    return " ".join([record.kind, *(f"{name} {value}" for name, value in record.fields.items())])


def _merged(links: Iterator[Link]) -> list[Link]:
    """Neighbours that begin with the same word are one link, with how many they are."""
    merged: list[Link] = []
    for link in links:
        last = merged[-1] if merged else None
        if last and (last.kind, last.text.split()[0]) == (link.kind, link.text.split()[0]):
            merged[-1] = Link(at=last.at, kind=last.kind, text=last.text, times=last.times + 1)
        else:
            merged.append(link)
    return merged


def _differs(difference: Difference) -> list[Link]:
    what = f" ({', '.join(difference.fields)})" if difference.fields else ""
    return [Link(at=difference.at, kind="difference", text=f"{difference.place}{what}")]


def _stopped(checked: Checked) -> list[Link]:
    history = checked.history
    if not history.failure:
        return []
    return [Link(at=history.virtual_ns, kind="stopped", text=f"{history.failure}: {history.failure_detail}")]


def _oracle(checked: Checked, oracle: str) -> list[Link]:
    evidence = checked.findings[oracle].evidence
    return [Link(at=-1, kind="oracle", text=f"{oracle}: {line}") for line in evidence[:1]]
