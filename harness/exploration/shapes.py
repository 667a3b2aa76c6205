"""What exploration draws, and how it becomes a plan: a workload, and faults one after the other.

A fault is a kind, a place (anywhere, or within a tick of an earlier fault, as that is where faults meet the handling of
faults) and integers that pick an event there. Kinds stand in a menu as often as they are wanted. A shape may grow out
of one that met something rare: some of its faults, and new ones. All of it goes through the public strategies of
Hypothesis, so that it can follow its targets; what is kept of a run is the expanded plan, never a shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from faults.catalogue import kind_of
from faults.plan import Fault, Plan
from harness import aims
from harness.events import Chooser, Events
from harness.expand import STRESS, aimed, possible, within_budget
from runtime.physical import Physical
from scenarios.strategies import Draft
from scenarios.streams import Stream

FAULTS_MIN, FAULTS_MAX = 3, 20
KEPT_MAX = 8  # faults of an earlier shape that a new one may keep
WORKLOADS = 4  # in one round; each needs a twin
INTEGERS = 6
WORD_MAX = (1 << 32) - 1
PLACES = 2  # one of them is "anywhere"
WIDTH = 3  # how many ticks after an earlier fault are still near it
WEIGHT_MAX = 6
VISIBLE_EVERY = 4


class Slot(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One fault before it has an address. `near` is 0 for anywhere, else it counts back through the earlier faults.

    `word` is what the integers that pick an event come from, together with the place in the shape: faults that
    Hypothesis repeats within a shape are then different ones.
    """

    kind: str
    near: int
    word: int


class Shape(Struct, frozen=True, forbid_unknown_fields=True):
    """`workload` numbers the workloads of the round that drew it; `visible` lets in faults that may show."""

    workload: int
    visible: bool
    slots: tuple[Slot, ...]


def menu_of(kinds: Sequence[str], counts: Mapping[str, int]) -> tuple[str, ...]:
    """Each kind at least once, those whose pairs were met seldom more often. `counts` are by pair (state x fault)."""
    often: dict[str, list[int]] = {kind: [] for kind in kinds}
    for pair, count in counts.items():
        kind = pair.rpartition(" x ")[2]
        if kind in often:
            often[kind].append(count)
    menu: list[str] = []
    for kind in kinds:
        # A kind whose last pairs are all new promises more of them; one that meets what it has met promises little.
        fresh = sum(count == 1 for count in often[kind])
        met = sum(often[kind])
        weight = WEIGHT_MAX if not met else 1 + (WEIGHT_MAX - 1) * fresh // met
        menu += [kind] * weight
    return tuple(menu)


def shapes(menu: Sequence[str], corpus: Sequence[Shape], salt: int) -> st.SearchStrategy[Shape]:
    """Shapes with 3 to 20 faults of the kinds in the menu, half of them grown out of one of the corpus, if any.

    Hypothesis begins each round with the simplest shape; `salt` makes it another one each time.
    """
    words = st.integers(0, WORD_MAX).map(lambda word: Stream(salt, f"explore/word/{word}").u64() & WORD_MAX)

    def with_kinds(visible: bool) -> st.SearchStrategy[Shape]:
        wanted = [kind for kind in menu if visible or kind_of(kind).class_ != "visible"]
        slot = st.builds(Slot, st.sampled_from(wanted), st.integers(0, PLACES - 1), words)
        slots = st.integers(FAULTS_MIN, FAULTS_MAX).flatmap(lambda n: st.tuples(*[slot] * n))
        return st.builds(Shape, st.integers(0, WORKLOADS - 1), st.just(visible), slots)

    fresh = st.integers(0, VISIBLE_EVERY - 1).flatmap(lambda n: with_kinds(n == VISIBLE_EVERY - 1))
    if not corpus:
        return fresh

    def grown(base: Shape, keep: int, new: Shape) -> Shape:
        kept = tuple(s for place, s in enumerate(base.slots[-KEPT_MAX:]) if keep >> place & 1)
        return replace(new, visible=base.visible or new.visible, slots=(*kept, *new.slots)[:FAULTS_MAX])

    mask = st.integers(0, (1 << KEPT_MAX) - 1)
    return st.one_of(fresh, st.builds(grown, st.sampled_from(list(corpus)), mask, fresh))


def kinds_for(events: Events) -> tuple[str, ...]:
    """What the default profile draws and can happen here."""
    there = possible(events)
    return tuple(slug for slug, _ in STRESS.weights if slug in there)


def planned(shape: Shape, draft: Draft, events: Events, physical: Physical) -> Plan:
    """The shape as a plan of the draft's workload, within the fault budget; what does not fit is left out."""
    plan = Plan(scenario=draft.scenario, seed=draft.seed, inputs=draft.inputs, physical=physical)
    faults: list[Fault] = []
    for place, slot in enumerate(shape.slots):
        stream = Stream(slot.word, f"explore/{place}")
        chooser = Chooser([stream.u64() for _ in range(INTEGERS)])
        for fault in aimed(slot.kind, _near(events, faults, slot.near), chooser, faults):
            faults = within_budget(plan, faults, aims.narrowed(fault, STRESS, chooser))
    return replace(plan, faults=tuple(faults))


def _near(events: Events, faults: Sequence[Fault], back: int) -> Events:
    """The events within a tick of an earlier fault; all of them where it has no tick or nothing happened there."""
    ticked = [fault.number("tick") for fault in faults if "tick" in fault.at]
    if not back or not ticked:
        return events
    first = ticked[-min(back, len(ticked))]
    window = range(first, first + WIDTH + 1)
    ticks = tuple(tick for tick in events.ticks if tick in window)
    steps = tuple(step for step in events.steps if step.tick in window)
    if not ticks or not steps:
        return events
    return Events(
        steps=steps,
        calling=tuple(step for step in events.calling if step.tick in window),
        writing=tuple(step for step in events.writing if step.tick in window),
        read=events.read,
        blocks=events.blocks,
        ticks=ticks,
        requests=tuple(one for one in events.requests if one.tick in window),
    )
