"""Smaller values, by Hypothesis: addresses and parameters of faults, and the orders that the inputs are made from.

Each fault by itself, as values of different faults seldom depend on each other: its keys are drawn between the least
value and the present one, words from the first to the present one. Hypothesis finds a failing choice and shrinks it.
Inputs are then composed anew from small orders, all of them, as a drawn workload would be: never a payload that no
order gives, which agents could rightly refuse. Uses the public interface only; which choices are drawn depends on
Hypothesis's version, what is kept is a plan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, Verbosity, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from msgspec.structs import replace

from faults.catalogue import default_of, key_of, kind_of
from faults.kinds import Value
from faults.plan import Fault, Plan, canonical
from runtime.errors import Refused
from scenarios.base import Scenario

EXAMPLES = 20  # choices that Hypothesis draws before it gives a fault, or the orders, up
ORDERS_MAX = 12  # more inputs than these are not composed anew: too many values at once

Holds = Callable[[Plan], bool]
T = TypeVar("T")

_SETTINGS = settings(
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=EXAMPLES,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
    verbosity=Verbosity.quiet,
)


def smaller(plan: Plan, scenario: Scenario, holds: Holds, spent: Callable[[], bool] = lambda: False) -> Plan:
    """The plan with smaller values for which `holds` still says yes; itself where there are none. `spent` ends it."""
    for index in range(len(plan.faults)):
        if spent():
            return plan
        plan = _smaller_fault(plan, index, holds)
    return plan if spent() else _smaller_orders(plan, scenario, holds)


def _found(strategy: st.SearchStrategy[T], condition: Callable[[T], bool]) -> T | None:
    try:
        return find(strategy, condition, settings=_SETTINGS)
    except NoSuchExample:
        return None


def _smaller_fault(plan: Plan, index: int, holds: Holds) -> Plan:
    """All keys at once, since a tick and an agent belong together; then each alone, down to its least value."""
    names = [*plan.faults[index].at, *plan.faults[index].with_]
    plan = _smaller_keys(plan, index, names, holds)
    for name in names:
        plan = _smaller_keys(plan, index, [name], holds)
    return plan


def _smaller_keys(plan: Plan, index: int, names: list[str], holds: Holds) -> Plan:
    fault = plan.faults[index]
    ranges = {name: choices for name in names if (choices := _up_to(fault, name)) is not None}
    if not ranges:
        return plan

    def changed(values: dict[str, Value]) -> Plan | None:
        at = {name: values.get(name, value) for name, value in fault.at.items()}
        with_ = {name: values.get(name, value) for name, value in fault.with_.items()}
        try:
            other = canonical(Fault(kind=fault.kind, at=at, with_=with_))
        except Refused:
            return None
        return replace(plan, faults=(*plan.faults[:index], other, *plan.faults[index + 1 :]))

    def condition(values: dict[str, Value]) -> bool:
        candidate = changed(values)
        return candidate is not None and (candidate == plan or holds(candidate))

    values = _found(st.fixed_dictionaries(ranges), condition)
    return (changed(values) if values is not None else None) or plan


def _up_to(fault: Fault, name: str) -> st.SearchStrategy[Value] | None:
    """Values of this key from the least to the present one; None where there is no smaller one.

    The present one is a choice of its own besides, so it is drawn often; and a long one, as Hypothesis takes the
    choice with the fewest draws for the simplest.
    """
    key, _ = key_of(kind_of(fault.kind), name)
    value = fault.get(name)
    if isinstance(value, int):
        present = st.tuples(st.booleans(), st.booleans()).map(lambda _: value)
        return st.one_of(st.integers(key.low, value), present) if value > key.low else None
    words = [word for word in (default_of(fault.kind, name), *key.words) if isinstance(word, str)]
    known = list(dict.fromkeys(words))
    before = known[: known.index(value)] if value in known else []
    return st.sampled_from([*before, value]) if value is not None and before else None


def _smaller_orders(plan: Plan, scenario: Scenario, holds: Holds) -> Plan:
    """As many inputs, or fewer, each made from an order near the least one that the scenario's bounds allow."""
    fixed = len(scenario.fixed(plan.seed))
    count = len(plan.inputs) - fixed
    last = plan.last_tick or scenario.config(plan.seed).last_tick
    if not 0 < count <= ORDERS_MAX:
        return plan
    bounds = [(scenario.bounds[0][0], min(scenario.bounds[0][1], last)), *scenario.bounds[1:]]
    if any(low > high for low, high in bounds):
        return plan
    order = st.tuples(*(st.integers(low, high) for low, high in bounds))

    def composed(orders: tuple[tuple[int, ...], ...]) -> Plan:
        return replace(plan, inputs=scenario.inputs(plan.seed, orders))

    orders = _found(st.tuples(*[order] * count), lambda orders: holds(composed(orders)))
    return plan if orders is None else composed(orders)
