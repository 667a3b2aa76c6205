"""All pairs of kinds, systematically: plans whose faults are chosen so that each pair meets in one run.

First come sets of kinds that together hold every pair (a covering array of strength two, found greedily), then, for
what did not take effect together, plans of one pair alone, at other events of other workloads. Run n of a scenario is
a function of (profile, seed, n), like that of any campaign, so that one can be repeated by its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations

from msgspec.structs import replace

from faults.catalogue import kind_of
from faults.plan import Fault, Plan
from faults.profiles import Mix, Profile, everything
from faults.streams import draw
from harness import aims, expand
from harness.check import Checker
from harness.events import Chooser, Events
from runtime.physical import Physical

Pair = tuple[str, str]

SET_SIZE = 4
TRIES = 8  # addresses that are drawn for one kind until the fault budget lets one through
ATTEMPTS = 8  # plans of one pair alone
PICKS = 8  # integers for one address
APART = ("failstop",)  # the run ends there, so nothing can be met after it


def possible_kinds(checker: Checker, profile: Profile, seed: int) -> tuple[str, ...]:
    """The kinds of the profile that can happen in this scenario's own workload."""
    classes = [class_ for class_ in profile.classes if class_ not in APART]
    drawn = {slug for slug, _ in everything(profile, *classes).weights} if classes else set()
    return tuple(slug for slug in expand.possible(_events(checker, _bare(checker, seed, Physical()))) if slug in drawn)


def pairs_of(kinds: Iterable[str]) -> list[Pair]:
    """Each two different kinds, in order."""
    return list(combinations(sorted(kinds), 2))


@lru_cache(maxsize=64)
def sets_of(kinds: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Sets of at most `SET_SIZE` kinds such that each pair is in one of them."""
    missing = dict.fromkeys(pairs_of(kinds))
    found = []
    while missing:
        chosen = list(next(iter(missing)))
        while len(chosen) < SET_SIZE:
            gains = [(sum(_pair(kind, c) in missing for c in chosen), kind) for kind in kinds if kind not in chosen]
            gain, best = max(gains, key=lambda item: item[0], default=(0, ""))
            if not gain:
                break
            chosen.append(best)
        for pair in pairs_of(chosen):
            missing.pop(pair, None)
        found.append(tuple(chosen))
    return tuple(found)


def _pair(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)


def kinds_of_run(kinds: tuple[str, ...], n: int) -> tuple[tuple[str, ...], int]:
    """What run n is about, and the how-manieth attempt at it: a set of the cover, then each pair again and again."""
    sets, pairs = sets_of(kinds), pairs_of(kinds)
    if n < len(sets):
        return sets[n], 0
    return pairs[(n - len(sets)) % len(pairs)], 1 + (n - len(sets)) // len(pairs)


def run_of(kinds: tuple[str, ...], pair: Pair, attempt: int) -> int:
    """The number of the run that is the `attempt`-th one (from 1) about this pair alone."""
    pairs = pairs_of(kinds)
    return len(sets_of(kinds)) + (attempt - 1) * len(pairs) + pairs.index(pair)


def pair_plan(checker: Checker, profile: Profile, seed: int, n: int, physical: Physical) -> Plan:
    """The plan of run n; raises IndexError where the scenario has fewer than two kinds."""
    chosen, attempt = kinds_of_run(possible_kinds(checker, profile, seed), n)
    if any(kind_of(slug).class_ == "measured" for slug in chosen):
        physical = expand.checked(physical)
    plan = _bare(checker, (seed + attempt) % (1 << 32), physical)
    events = _events(checker, plan)
    mix = everything(profile)
    faults: list[Fault] = []
    for round_ in range(1 + attempt // 2):  # later attempts: more than one fault of each kind
        for slug in chosen:
            faults = _one_more(plan, faults, slug, events, mix, (seed, checker.scenario.name, n, round_))
    return replace(plan, faults=tuple(faults))


def _one_more(
    plan: Plan, faults: list[Fault], slug: str, events: Events, mix: Mix, key: tuple[int, str, int, int]
) -> list[Fault]:
    """The faults and one of this kind, at the first of some drawn events that the fault budget allows."""
    seed, scenario, n, round_ = key
    for attempt in range(TRIES):
        integers = [draw(seed, "pair", scenario, n, round_, slug, attempt, place) for place in range(PICKS)]
        chooser = Chooser(integers)
        wider = faults
        for fault in expand.aimed(slug, events, chooser, faults):
            wider = expand.within_budget(plan, wider, aims.narrowed(fault, mix, chooser))
        if sum(fault.kind == slug for fault in wider) > sum(fault.kind == slug for fault in faults):
            return wider
    return faults


def _bare(checker: Checker, seed: int, physical: Physical) -> Plan:
    scenario = checker.scenario
    return Plan(scenario=scenario.name, seed=seed, inputs=scenario.workload(seed), physical=physical)


def _events(checker: Checker, plan: Plan) -> Events:
    return expand.events_of(checker.clean(plan))


def met(fired: Sequence[tuple[str, dict[str, int]]]) -> set[Pair]:
    """The pairs of which both kinds took effect in one run: (scenario, faults that fired by kind) of each."""
    return {pair for _, kinds in fired for pair in pairs_of(kind for kind, n in kinds.items() if n)}
