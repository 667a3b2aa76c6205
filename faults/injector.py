"""The injector: one per run, shared by all wrappers of all incarnations; it knows which faults have not fired yet.

It fires each fault at most once, in plan order, and tells the harness what was touched through `record`. It holds no
randomness and no clock, so a plan without faults changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from faults.plan import Fault
from runtime.ports import Arrival

Fields = dict[str, int | str]
Record = Callable[[int, Fields], None]  # (index of the fault in the plan, what it touched)
Later = Callable[[int, Callable[[], None]], None]  # run it so many ns from now, then let the orchestrator advance
Step = tuple[int, int]  # (tick, agent)
NEVER = 1 << 62  # a tick that no run reaches


class Undead(Struct):
    """A worker that is stopped with a step: the fault, the step, what it has written since, whether it has woken."""

    fault: int
    step: Step
    held: list[Arrival] = []
    woken: bool = False


class Injector:
    """Faults by kind and by step; `crashes` counts the orchestrator's deaths.

    `absent` says until when (ns) a device is gone, `undead` which workers are stopped and will wake, `looping` how
    many workers a crash loop (by its index) has taken, `full_until` until when the disk has `room` bytes left:
    incarnations come and go, the machine stays as it is.
    """

    def __init__(self, faults: Sequence[Fault], record: Record, seed: int = 0) -> None:
        self.seed = seed
        self.crashes = 0
        self.absent: dict[int, int] = {}
        self.undead: dict[int, Undead] = {}
        self.looping: dict[int, int] = {}
        self.full_until = 0
        self.room = 0
        self.fired = 0  # how many have
        self._record = record
        self._faults = tuple(faults)
        self._of_kinds: dict[tuple[str, ...], tuple[tuple[int, Fault], ...]] = {}  # what `faults` was asked for
        self._armed: dict[int, Fault] = dict(enumerate(faults))
        self._kinds: dict[str, dict[int, Fault]] = {}  # the armed ones of each kind, in plan order
        self._counts: dict[tuple[int | str, ...], int] = {}
        self._steps: dict[tuple[str, int, int], list[int]] = {}
        self._owed: dict[tuple[int | str, ...], list[int]] = {}
        self._first = self._first_tick()
        for index, fault in self._armed.items():
            self._kinds.setdefault(fault.kind, {})[index] = fault
            if "tick" in fault.at and "agent" in fault.at:
                step = (fault.kind, fault.number("tick"), fault.number("agent"))
                self._steps.setdefault(step, []).append(index)
        self._places = {(tick, agent) for _, tick, agent in self._steps}  # membership only

    def _first_tick(self) -> int:
        """The first tick at a step of which a fault waits."""
        at = (fault.number("tick") for fault in self._armed.values() if "tick" in fault.at and "agent" in fault.at)
        return min(at, default=NEVER)

    def is_due(self, tick: int) -> bool:
        """Whether a fault waits at any step of this tick or of one before: asked for every frame."""
        return self._first <= tick

    def addressed(self, steps: Iterable[Step]) -> list[Step]:
        """Those of the steps at which the plan has any fault, whether it has fired or not."""
        places = self._places
        return [step for step in steps if step in places]

    def armed(self, *kinds: str) -> list[tuple[int, Fault]]:
        """Faults of these kinds that have not fired, in plan order."""
        if len(kinds) == 1:
            one = self._kinds.get(kinds[0])
            return list(one.items()) if one else []
        here = [self._kinds[kind] for kind in kinds if kind in self._kinds]
        return sorted([item for one in here for item in one.items()], key=lambda item: item[0])

    def faults(self, *kinds: str) -> tuple[tuple[int, Fault], ...]:
        """Faults of these kinds, in plan order, whether they have fired or not: for what lasts."""
        found = self._of_kinds.get(kinds)
        if found is None:
            found = tuple([(index, fault) for index, fault in enumerate(self._faults) if fault.kind in kinds])
            self._of_kinds[kinds] = found
        return found

    def armed_at(self, kind: str, tick: int, agent: int) -> list[tuple[int, Fault]]:
        """Faults of this kind at that step that have not fired, in plan order."""
        indices = self._steps.get((kind, tick, agent))
        if indices is None:
            return []
        return [(index, self._armed[index]) for index in indices if index in self._armed]

    def is_armed_at(self, kind: str, tick: int, agent: int) -> bool:
        """Whether `armed_at` has any, at less cost: asked for every step."""
        return (kind, tick, agent) in self._steps and bool(self.armed_at(kind, tick, agent))

    def is_armed_kind(self, *kinds: str) -> bool:
        """Whether `armed` has any, at less cost: asked at every port call."""
        left = self._kinds
        if left:
            for kind in kinds:
                if kind in left:
                    return True
        return False

    def is_armed(self, index: int) -> bool:
        return index in self._armed

    def fire(self, index: int, fields: Fields) -> None:
        """The fault has been carried out; it never fires again."""
        kind = self._armed.pop(index).kind
        del self._kinds[kind][index]
        if not self._kinds[kind]:
            del self._kinds[kind]
        self._first = self._first_tick()
        self.fired += 1
        self._record(index, fields)

    def note(self, index: int, fields: Fields) -> None:
        """Something more about a fault: a visible one at work again, or what answered one that fired."""
        self._record(index, fields)

    def count(self, *key: int | str) -> int:
        """How often this has been asked with this key, this time included; over the whole run."""
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key]

    def owe(self, index: int, *key: int | str) -> None:
        """This fault took what `key` names from the other side, who should send it again; over the whole run."""
        self._owed.setdefault(key, []).append(index)

    def settle(self, key: tuple[int | str, ...], fields: Fields) -> None:
        """What `key` names is there again: told of each fault that took it."""
        for index in self._owed.pop(key, ()):
            self._record(index, fields)

    @property
    def is_owed(self) -> bool:
        return bool(self._owed)


class Watch:
    """Whether one of these faults may strike by a tick: asked at every call, so that most of them cost no more."""

    def __init__(self, injector: Injector, faults: Iterable[tuple[int, Fault]]) -> None:
        self._injector = injector
        self._ticks = [(index, max(fault.number("tick"), 0)) for index, fault in faults]
        self._as_of = -1
        self._first = NEVER

    @property
    def first(self) -> int:
        """The first tick that an armed one waits for, 0 for one that names none; NEVER where none is left."""
        if self._as_of != self._injector.fired:
            self._as_of = self._injector.fired
            self._first = min((tick for index, tick in self._ticks if self._injector.is_armed(index)), default=NEVER)
        return self._first
