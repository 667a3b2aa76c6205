"""The events of a twin at which faults can strike, and the integers of a pick that choose among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from faults.plan import Fault
from harness.history import History
from runtime import journal
from runtime.journal import Block
from runtime.state import Configure, Reload, Send, Submit


class StepEvent(NamedTuple):
    """A step of the twin: host calls with an effect, bytes stored into shared segments, fuel used (-1: not known)."""

    tick: int
    agent: int
    kind: str
    calls: int
    stored: int
    fuel: int = -1


class RequestEvent(NamedTuple):
    """An inference request of the twin that got a result, in order of admission."""

    tick: int
    agent: int
    request: int


@dataclass(frozen=True)
class Events:
    """What happened in a twin, in logical order.

    Agents that were sent messages from outside (`addressed`), given tasks (`submitted`), had a reload (`reloaded`), and
    the ticks in which clients may ask for something (`open`); agents that read outside (`reading`). `models` are those
    that the run declares.
    """

    steps: tuple[StepEvent, ...]
    calling: tuple[StepEvent, ...]
    writing: tuple[StepEvent, ...]
    read: tuple[tuple[int, int], ...]
    blocks: int
    ticks: tuple[int, ...]
    requests: tuple[RequestEvent, ...] = ()
    addressed: tuple[int, ...] = ()
    submitted: tuple[int, ...] = ()
    reloaded: tuple[int, ...] = ()
    open: tuple[int, ...] = ()
    models: int = 0
    reading: tuple[int, ...] = ()


def events_of(twin: History) -> Events:
    """The addressable events of a run without faults."""
    seen: dict[tuple[int, int, str], StepEvent] = {}
    for event in twin.guests:
        stored = sum(call.length for call in event.calls if call.op == "buffer")
        seen[event.tick, event.agent, event.kind] = StepEvent(
            event.tick, event.agent, event.kind, len(event.calls), stored, event.used
        )
    steps = tuple(seen[key] for key in sorted(seen))
    blocks = [line.block for line in journal.read(twin.journal).lines]
    asked = [item.action for block in blocks for item in block.inputs]
    read = sorted({view for block in blocks for step in block.steps for view in step.views})
    return Events(
        steps=steps,
        calling=tuple(s for s in steps if s.calls and s.kind == "step"),
        writing=tuple(s for s in steps if s.stored),
        read=tuple(read),
        blocks=len(blocks),
        ticks=tuple(block.tick for block in blocks),
        requests=_requests(blocks),
        addressed=tuple(sorted({action.agent for action in asked if isinstance(action, Send)})),
        submitted=tuple(sorted({task.agent for a in asked if isinstance(a, Submit) for task in a.tasks})),
        open=_open(blocks),
        reloaded=tuple(sorted({action.agent for action in asked if isinstance(action, Reload)})),
        models=sum(len(action.config.models) for action in asked if isinstance(action, Configure)),
        reading=tuple(sorted({int(e[3]) for block in blocks for e in block.events if e[0] == "asked"})),
    )


def _open(blocks: Sequence[Block]) -> tuple[int, ...]:
    """The ticks from the first input of a client to the last."""
    asked = [block.tick for block in blocks if block.tick and block.inputs]
    return tuple(block.tick for block in blocks if asked and asked[0] <= block.tick <= asked[-1])


def _requests(blocks: Sequence[Block]) -> tuple[RequestEvent, ...]:
    answered = {entry.request for block in blocks for entry in block.inferences}
    found = []
    for block in blocks:
        for step in block.steps:
            numbered = [effect.op for effect in step.effects if effect.op in ("send", "publish", "infer", "read")]
            for number, op in enumerate(numbered, step.seq):
                if op == "infer" and number in answered:
                    found.append(RequestEvent(block.tick, step.agent, number))
    return tuple(found)


class Chooser:
    """One pick's integers, taken one after the other."""

    def __init__(self, integers: Sequence[int]) -> None:
        self._integers = list(integers)

    def below(self, bound: int) -> int:
        return self._integers.pop(0) % bound if self._integers else 0


Recipe = Callable[[Events, Chooser, list[Fault]], Fault | tuple[Fault, ...] | None]


def step_of(events: Sequence[StepEvent], chooser: Chooser) -> StepEvent | None:
    return events[chooser.below(len(events))] if events else None


def at_step(step: StepEvent) -> dict[str, int | str]:
    return {"tick": step.tick, "agent": step.agent}
