"""Aiming a kind of fault by its address forms alone: each key is filled with something that happened in the twin.

So a kind needs no code to be drawn. Recipes in `harness.expand` aim some kinds better than their forms can say.
"""

from __future__ import annotations

from collections.abc import Sequence

from faults.kinds import MS, FaultKind, Form, Key, Value
from faults.plan import Fault, canonical
from faults.profiles import Mix
from harness.events import Chooser, Events, StepEvent, step_of

OF_INFERENCE = ("inference/GPU", "models/cache")
SMALL = 64  # an integer whose meaning is not known here is drawn from so many
OCCURRENCES = 4
HELD_MAX = 60 * MS  # a time, where the profile names none: runs last some 50 ms


def is_of_crash(kind: FaultKind) -> bool:
    """Whether every form of this kind names a crash of the orchestrator, which must be in the plan."""
    return all("crash" in form.needs for form in kind.forms)


def needs_requests(kind: FaultKind) -> bool:
    """Whether this kind can strike only where there is inference."""
    return kind.layer in OF_INFERENCE


def by_form(kind: FaultKind, events: Events, chooser: Chooser, so_far: Sequence[Fault]) -> Fault | None:
    """A fault of this kind, by one of its forms at random; None where nothing that its form names has happened."""
    first = chooser.below(len(kind.forms))
    for form in (*kind.forms[first:], *kind.forms[:first]):
        at = _address(kind, form, events, chooser, so_far)
        if at is not None:
            return Fault(kind=kind.slug, at=at, with_={key.name: _parameter(key, chooser) for key in kind.params})
    return None


def narrowed(fault: Fault, mix: Mix, chooser: Chooser) -> Fault:
    """The fault in canonical form, its parameters within what the profile allows."""
    with_ = dict(fault.with_)
    for name, span in mix.spans.get(fault.kind, {}).items():
        if span.words:
            with_[name] = span.words[chooser.below(len(span.words))]
        else:
            with_[name] = span.low + chooser.below(span.high - span.low + 1)
    return canonical(Fault(kind=fault.kind, at=fault.at, with_=with_))


def _address(
    kind: FaultKind, form: Form, events: Events, chooser: Chooser, so_far: Sequence[Fault]
) -> dict[str, Value] | None:
    names = [key.name for key in kind.keys if key.name in form.needs or (key.name in form.may and chooser.below(2))]
    known = _known(names, events, chooser, so_far)
    if known is None:
        return None
    at: dict[str, Value] = {}
    for key in kind.keys:
        if key.name not in names:
            continue
        words = form.only[1] if form.only[0] == key.name else key.words
        if key.name in known:
            at[key.name] = known[key.name]
        elif words:
            at[key.name] = words[chooser.below(len(words))]
        else:
            at[key.name] = _small(key, chooser)
    return at


def _known(names: list[str], events: Events, chooser: Chooser, so_far: Sequence[Fault]) -> dict[str, int] | None:
    """The keys that name an event of the run, all of the same one; None where there is no such event."""
    found: dict[str, int] = {}
    if "request" in names:
        if not events.requests:
            return None
        one = events.requests[chooser.below(len(events.requests))]
        found |= {"request": one.request, "tick": one.tick, "agent": one.agent}
    elif "agent" in names or "hostcall" in names or "byte" in names:
        step = _step(names, events, chooser)
        if step is None:
            return None
        found |= {"tick": step.tick, "agent": step.agent}
        found |= {"hostcall": 1 + chooser.below(max(1, step.calls)), "byte": chooser.below(step.stored + SMALL)}
    elif "tick" in names and events.ticks:
        found["tick"] = events.ticks[chooser.below(len(events.ticks))]
    if "buffer" in names or "version" in names:
        if not events.read:
            return None
        found["buffer"], found["version"] = events.read[chooser.below(len(events.read))]
    if "block" in names:
        found["block"] = 1 + chooser.below(max(1, events.blocks))
    if "crash" in names:
        kills = sum(fault.kind == "orchestrator.kill" for fault in so_far)
        taken = [fault.at.get("crash") for fault in so_far]
        free = [crash for crash in range(1, kills + 1) if crash not in taken]
        if not free:
            return None
        found["crash"] = free[0]
    return found


def _step(names: list[str], events: Events, chooser: Chooser) -> StepEvent | None:
    steps = events.calling if "hostcall" in names else events.writing if "byte" in names else events.steps
    return step_of(steps, chooser)


def _small(key: Key, chooser: Chooser) -> int:
    width = OCCURRENCES if key.name == "occurrence" else SMALL
    return key.low + chooser.below(min(width, key.high - key.low + 1))


def _parameter(key: Key, chooser: Chooser) -> Value:
    if key.words:
        return key.words[chooser.below(len(key.words))]
    if key.unit:
        return key.low + chooser.below(max(1, min(HELD_MAX, key.high) - key.low + 1))
    return key.low + chooser.below(min(1 << 16, key.high - key.low + 1))
