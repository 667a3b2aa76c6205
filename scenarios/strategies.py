"""Hypothesis strategies for plans: a seed, edits of the scenario's own workload, and picks of faults.

A pick is integers only; the harness runs the twin and turns each pick into the address of an event that exists there.
What is stored is the expanded plan, never the draft: drawing depends on the pinned version of Hypothesis, a plan does
not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

from hypothesis import Verbosity, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from runtime.errors import Refused
from runtime.state import Input
from scenarios.base import Order, Scenario
from scenarios.registry import get

Pick = tuple[int, ...]
T = TypeVar("T")

PICK_KINDS = 1 << 16  # the first integer of a pick: the kind, modulo what the profile has
PICK_INTEGERS = 6  # and so many more, each below 2**32, for its address and parameters
EDITS_MAX = 12
ADD, DROP, RETIME, REPLACE = range(4)

_BYTES = 4096  # more than a draft uses beside its picks
_PICK_BYTES = 80
_ATTEMPTS = 64


class Draft(Struct, frozen=True):
    """One drawn plan before its faults have addresses. `inputs` are those from outside, genesis left out."""

    scenario: str
    seed: int
    inputs: tuple[Input, ...]
    picks: tuple[Pick, ...]


def edited(orders: Sequence[Order], edits: Sequence[tuple[int, int, Order]]) -> list[Order]:
    """The orders after the edits (verb, index, order) one by one; an index counts modulo the orders there are."""
    result = list(orders)
    for verb, index, order in edits:
        place = index % len(result) if result else 0
        if verb == ADD or not result:
            result.append(order)
        elif verb == DROP:
            del result[place]
        elif verb == RETIME:
            result[place] = (order[0], *result[place][1:])
        else:
            result[place] = order
    return result


def _order(scenario: Scenario) -> st.SearchStrategy[Order]:
    return st.tuples(*(st.integers(low, high) for low, high in scenario.bounds))


def _counted(element: st.SearchStrategy[T], low: int, high: int) -> st.SearchStrategy[tuple[T, ...]]:
    """Tuples whose length is drawn first: a list's own lengths would be short on average."""
    return st.integers(low, high).flatmap(lambda n: st.tuples(*[element] * n))


def plans(scenario: str | Scenario, picks_min: int = 3, picks_max: int = 12) -> st.SearchStrategy[Draft]:
    """Drafts for a scenario or the built-in one of that name, with `picks_min` to `picks_max` faults.

    About half of the drafts keep the whole workload, the others a first part of it; then come up to 12 edits. Raises
    Refused for an unknown name.
    """
    return _plans(get(scenario) if isinstance(scenario, str) else scenario, picks_min, picks_max)


def _plans(scenario: Scenario, picks_min: int, picks_max: int) -> st.SearchStrategy[Draft]:
    pick = st.tuples(st.integers(0, PICK_KINDS - 1), *[st.integers(0, (1 << 32) - 1)] * PICK_INTEGERS)
    edit = st.tuples(st.integers(ADD, REPLACE), st.integers(0, (1 << 16) - 1), _order(scenario))

    def build(seed: int, kept: int, edits: tuple[tuple[int, int, Order], ...], picks: tuple[Pick, ...]) -> Draft:
        orders = scenario.orders(seed)
        part = orders[: 1 + kept % (2 * len(orders))]
        return Draft(scenario.name, seed, scenario.inputs(seed, edited(part, edits)), picks)

    return st.builds(
        build,
        st.integers(0, (1 << 32) - 1),
        st.integers(0, (1 << 16) - 1),
        _counted(edit, 0, EDITS_MAX),
        _counted(pick, picks_min, picks_max),
    )


@lru_cache(maxsize=32)
def _drawer(name: str, picks_min: int, picks_max: int) -> Callable[[bytes], Draft | None]:
    """bytes -> draft, or None where the bytes are not one; writes no file."""
    drawn: list[Draft] = []

    @settings(database=None, deadline=None, verbosity=Verbosity.quiet)
    @given(plans(name, picks_min, picks_max))
    def take(draft: Draft) -> None:
        drawn.append(draft)

    fuzz = take.hypothesis.fuzz_one_input  # type: ignore[attr-defined]

    def draw(data: bytes) -> Draft | None:
        drawn.clear()
        fuzz(data)
        return drawn[-1] if drawn else None

    return draw


def draft_from_seed(name: str, seed: int, n: int, picks_min: int = 3, picks_max: int = 12) -> Draft:
    """The n-th draft of a campaign: SHAKE-256 of (seed, name, n), through Hypothesis's `fuzz_one_input`.

    The same arguments give the same draft in every process, for one version of Hypothesis. Raises Refused for an
    unknown scenario, and when no attempt gives a draft.
    """
    draw = _drawer(name, picks_min, picks_max)
    length = _BYTES + _PICK_BYTES * picks_max
    for attempt in range(_ATTEMPTS):
        data = hashlib.shake_256(b"%d/plans/%b/%d/%d" % (seed, name.encode(), n, attempt)).digest(length)
        draft = draw(data)
        if draft is not None:
            return draft
    raise Refused(f"no draft in {_ATTEMPTS} attempts", f"{name}, seed {seed}, run {n}", "report this as a bug")
