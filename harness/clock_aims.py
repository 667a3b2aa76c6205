"""Recipes for faults of the clock and of calls: by the catalogue's distributions, where a wait is there to be struck.

Waits are short in a run where nothing is late: half of the faults bring a frame that is lost at the step they strike,
so that a resend is waited for while the clock is wrong.
"""

from __future__ import annotations

from faults.clock_kinds import HOW, JUMP_POWERS, STROBE_POWERS
from faults.plan import Fault
from harness.events import Chooser, Events, Recipe, at_step, step_of
from runtime.physical import MS

READS = 12  # readings of one tick among which one is chosen
CALLS = 4
LEAPS = 4  # of a strobe, at most


def _power(base: tuple[int, int], powers: tuple[int, int], chooser: Chooser) -> int:
    """(numerator / denominator) to a power that is drawn evenly, in ms, as ns."""
    power = powers[0] + chooser.below(powers[1] - powers[0] + 1)
    return MS * int(base[0] ** power) // int(base[1] ** power)


def _struck(fault: Fault, events: Events, chooser: Chooser, tick: int) -> tuple[Fault, ...]:
    steps = [step for step in events.steps if step.tick == tick]
    if not steps or chooser.below(2):
        return (fault,)
    lost = {**at_step(steps[chooser.below(len(steps))]), "direction": "done"}
    return (fault, Fault(kind="frame.lose", at=lost))


def _at(events: Events, chooser: Chooser) -> dict[str, int | str] | None:
    step = step_of(events.steps, chooser)
    return {"tick": step.tick, "occurrence": 1 + chooser.below(READS)} if step else None


def jump(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    at = _at(events, chooser)
    if at is None:
        return None
    way = ("forwards", "backwards")[chooser.below(2)]
    fault = Fault(kind="clock.jump", at=at, with_={"way": way, "by": _power((3, 2), JUMP_POWERS, chooser)})
    return _struck(fault, events, chooser, int(at["tick"]))


def strobe(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    """Periods of 1 to 8 ms: runs last some 50 ms of virtual time."""
    at = _at(events, chooser)
    if at is None:
        return None
    delta, period = _power((2, 1), STROBE_POWERS, chooser), MS << chooser.below(4)
    lasting = period * (2 + chooser.below(2 * LEAPS - 3))
    fault = Fault(kind="clock.strobe", at=at, with_={"delta": delta, "period": period, "for": lasting})
    return _struck(fault, events, chooser, int(at["tick"]))


def drift(events: Events, chooser: Chooser, so_far: list[Fault]) -> tuple[Fault, ...] | None:
    at = _at(events, chooser)
    if at is None:
        return None
    with_: dict[str, int | str] = {"how": HOW[chooser.below(len(HOW))], "for": (5 + chooser.below(50)) * MS}
    if with_["how"] == "freeze":
        with_["catch_up"] = ("no", "yes")[chooser.below(2)]
    return _struck(Fault(kind="clock.drift", at=at, with_=with_), events, chooser, int(at["tick"]))


def call_otherwise(events: Events, chooser: Chooser, so_far: list[Fault]) -> Fault | None:
    step = step_of(events.steps, chooser)
    if step is None:
        return None
    at: dict[str, int | str] = {"tick": step.tick, "occurrence": 1 + chooser.below(CALLS)}
    if chooser.below(2):
        return Fault(kind="tick.repeat", at=at, with_={"times": 1 + chooser.below(4)})
    return Fault(kind="tick.repeat", at=at, with_={"how": "skipped", "for": (1 + chooser.below(10)) * MS})


CLOCK_AIMS: dict[str, tuple[Recipe, ...]] = {
    "clock.jump": (jump,),
    "clock.strobe": (strobe,),
    "clock.drift": (drift,),
    "tick.repeat": (call_otherwise,),
}  # scheduler.permute: by its address form
