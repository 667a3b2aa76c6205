"""How a campaign is led: plain runs, runs until all states were reached, all pairs of kinds, each kind so many times.

Whichever it is, a run's number says what its plan is, so that each can be repeated alone; and what comes next depends
on what has ended before in whole rounds only, never on the order in which processes answer.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from faults.profiles import Profile, find
from harness import pairing
from harness.campaign import RANGE, Campaign, Ended, Task, tasks_of
from harness.check import Checker
from harness.commands.common import progress
from harness.pairing import Pair
from harness.runner import DEFAULT_PROFILE
from reports import RunRow
from scenarios import get

Kinds = dict[str, tuple[str, ...]]  # by scenario, those that can happen there

ROUNDS = 12  # of runs for the kinds that are short
RUNS_EACH = 60  # of one kind in one round
MANY = 6  # the attempt at a pair from which on a run has four faults of each of its kinds
EFFECTS = 3  # of one kind that such a run is expected to have


class Asked(NamedTuple):
    """What was asked for: the scenarios, the profile, and the options of the command line."""

    names: list[str]
    runs: int
    until_covered: bool
    pairs: bool
    each: int
    only: int | None
    profile_name: str
    seed: int
    workers: int
    jobs: int
    shrink_runs: int
    prefer: str
    good: str
    store: str
    as_json: bool

    @property
    def profile(self) -> Profile:
        return find(self.profile_name)

    @property
    def led_by_kinds(self) -> bool:
        """Whether its numbers are those of `harness.pairing`."""
        return self.pairs or self.each > 0

    def task(self, name: str, runs: Sequence[int]) -> Task:
        sent = "" if self.profile == find(DEFAULT_PROFILE) else self.profile.model_dump_json()
        return Task(name, self.seed, tuple(runs), self.workers, profile=sent, pairs=self.led_by_kinds)


def kinds_of(asked: Asked) -> Kinds:
    """The kinds that can happen, by scenario: each of them has its own pairs and its own numbers of runs."""
    return {name: pairing.possible_kinds(Checker(get(name)), asked.profile, asked.seed) for name in asked.names}


def pairs_of(kinds: Kinds) -> tuple[Pair, ...]:
    """All pairs that can happen in one of the scenarios."""
    return tuple(sorted({pair for mine in kinds.values() for pair in pairing.pairs_of(mine)}))


def short_of(kinds: Iterable[str], rows: Iterable[RunRow], each: int) -> dict[str, int]:
    """How many effects each kind still lacks to `each`; those that lack none are left out. In order of name."""
    fired: Counter[str] = Counter()
    for row in rows:
        fired.update(row.faults_fired)
    return {kind: each - fired[kind] for kind in sorted(set(kinds)) if fired[kind] < each}


def plain(asked: Asked, wanted: tuple[str, ...], stopped: list[int]) -> list[Ended]:
    """All runs, or as many as it takes until each of the wanted properties has held."""
    tasks = tasks_of(asked.names, asked.runs, asked.seed, asked.workers, asked.task("", ()).profile)
    if asked.only is not None:
        tasks = [asked.task(name, (asked.only,)) for name in asked.names]
    missing = dict.fromkeys(wanted if asked.until_covered else ())
    until = bool(missing)

    def news(one: Ended) -> tuple[str, bool]:
        for name in one.row.reached:
            missing.pop(name, None)
        return f", {len(missing)} states to reach" if until else "", until and not missing

    return _campaign(asked, tasks, news, stopped, [])


def by_kinds(asked: Asked, kinds: Kinds, stopped: list[int]) -> list[Ended]:
    """A cover of all pairs in each scenario, then what is missing, as long as runs are left."""
    led = _Led(asked, kinds, stopped)
    led.round({name: range(len(pairing.sets_of(mine))) for name, mine in kinds.items()})
    if asked.pairs:
        led.until_met()
    if asked.each:
        led.until_each()
    return sorted(led.ended, key=lambda one: (one.row.scenario, one.row.run))


class _Led:
    """What has ended, and what is missing after it."""

    def __init__(self, asked: Asked, kinds: Kinds, stopped: list[int]) -> None:
        self._asked, self._kinds, self._stopped = asked, kinds, stopped
        self._pairs = dict.fromkeys(pairs_of(kinds) if asked.pairs else ())
        self._short = short_of((kind for mine in kinds.values() for kind in mine), (), asked.each)
        self._done: set[tuple[str, int]] = set()
        self.ended: list[Ended] = []

    def until_met(self) -> None:
        """Each pair that has not met alone, again and again."""
        for attempt in range(1, 1 + pairing.ATTEMPTS):
            if not self._pairs:
                break
            missing = list(self._pairs)
            self.round(
                {
                    name: [pairing.run_of(mine, pair, attempt) for pair in missing if set(pair) <= set(mine)]
                    for name, mine in self._kinds.items()
                }
            )

    def until_each(self) -> None:
        """Runs about two kinds that are short, until none is."""
        for _ in range(ROUNDS):
            if not self._short:
                break
            self.round(self._about_short())

    def _about_short(self) -> dict[str, list[int]]:
        """New runs by scenario, about each kind that is short: first those that few scenarios can have."""
        need = dict(self._short)
        where = {kind: [name for name, mine in self._kinds.items() if kind in mine] for kind in need}
        chosen: dict[str, list[int]] = {name: [] for name in self._kinds}
        for kind in sorted(need, key=lambda kind: (len(where[kind]), -need[kind], kind)):
            for name in itertools.islice(itertools.cycle(where[kind]), RUNS_EACH):
                if need[kind] <= 0:
                    break
                found = self._new_run(name, kind, need)
                if found is not None:
                    run, other = found
                    self._done.add((name, run))
                    chosen[name].append(run)
                    need[kind] -= EFFECTS
                    need[other] = need.get(other, 0) - EFFECTS
        return chosen

    def _new_run(self, name: str, kind: str, need: dict[str, int]) -> tuple[int, str] | None:
        """One about this kind and another, the one of which most is needed; None where all were done."""
        kinds = self._kinds[name]
        others = sorted((other for other in kinds if other != kind), key=lambda other: (-need.get(other, 0), other))
        for attempt in range(MANY, MANY + ROUNDS):
            for other in others:
                run = pairing.run_of(kinds, (min(kind, other), max(kind, other)), attempt)
                if (name, run) not in self._done:
                    return run, other
        return None

    def round(self, runs: Mapping[str, Sequence[int]]) -> None:
        """These runs of the scenarios, as many as are left; none once the campaign was interrupted."""
        left = 0 if self._stopped else self._asked.runs - len(self.ended)
        tasks = []
        for name, numbers in runs.items():
            numbers = numbers[:left]
            left -= len(numbers)
            self._done |= {(name, number) for number in numbers}
            tasks += [self._asked.task(name, numbers[at : at + RANGE]) for at in range(0, len(numbers), RANGE)]
        if tasks:
            self.ended += _campaign(self._asked, tasks, self._news, self._stopped, self.ended)

    def _news(self, one: Ended) -> tuple[str, bool]:
        fired = one.row.faults_fired
        for pair in pairing.met([(one.row.scenario, fired)]):
            self._pairs.pop(pair, None)
        for kind in [kind for kind in self._short if kind in fired]:
            self._short[kind] -= fired[kind]
            if self._short[kind] <= 0:
                del self._short[kind]
        pairs = f", {len(self._pairs)} pairs to meet" if self._asked.pairs else ""
        return pairs + (f", {len(self._short)} kinds to strike more" if self._asked.each else ""), False


def _campaign(
    asked: Asked,
    tasks: list[Task],
    news: Callable[[Ended], tuple[str, bool]],
    stopped: list[int],
    before: Sequence[Ended],
) -> list[Ended]:
    """Carries out the tasks; `news` says of each run what to show, and whether that is enough.

    An interrupt ends them, and `stopped` gets their number, with that of those `before`; one before the first run has
    ended is passed on.
    """
    ended: list[Ended] = []
    with progress("runs", sum(len(task.runs) for task in tasks)) as step:

        def on_end(one: Ended) -> bool:
            ended.append(one)
            failed = sum(e.row.verdict == "FAIL" for e in ended)
            more, stop = news(one)
            step(f"{failed} failed{more}")
            return stop

        try:
            Campaign(asked.jobs, on_end).run(tasks)
        except KeyboardInterrupt:
            if not ended and not before:
                raise
            stopped.append(len(before) + sum(len(task.runs) for task in tasks))
    return sorted(ended, key=lambda e: (e.row.scenario, e.row.run))
