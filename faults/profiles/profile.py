"""What a profile holds, and everything that can be wrong with one.

Weights are integers, relative to each other. `classes` says in one of how many runs kinds of a class are drawn: 1 in
all, 0 in none. A rate is a measured one, in failures per 10^9 hours with its source; it is the weight of its kind, so
that the mix is that of the field. No rate says how often anything fails here: a plan always has faults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from faults.catalogue import near, shown
from faults.kinds import KINDS, UNITS, FaultKind, Key

DRAWN = ("transparent", "visible", "refused", "measured", "failstop", "workload")  # the classes of kinds that are drawn
WEIGHT_MAX = 1_000_000
FAULTS_MAX = 60  # in one plan; what goes beyond the fault budget is left out
ONE_IN_MAX = 1000
GIGAHOURS = 10**9
_TIME = re.compile(r"([0-9]{1,15})(ns|us|ms|s)")

Weight = Annotated[int, Field(strict=True, ge=0, le=WEIGHT_MAX)]
OneIn = Annotated[int, Field(strict=True, ge=0, le=ONE_IN_MAX)]
Count = Annotated[int, Field(strict=True, ge=0, le=FAULTS_MAX)]
Item = Annotated[int, Field(strict=True)] | Annotated[str, Field(strict=True)]
Text = Annotated[str, Field(strict=True, max_length=400)]


class Span(NamedTuple):
    """What a parameter may be: an integer from `low` to `high`, or one of `words` where there are any."""

    low: int = 0
    high: int = 0
    words: tuple[str, ...] = ()


class Rate(BaseModel):
    """A measured rate: failures per 10^9 hours of one machine, and where that was published."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_1e9_hours: Weight
    source: Text


class Profile(BaseModel):
    """One profile. `weights` and `ranges` are by kind; a weight's name may be a pattern (`gpu.*`), the last one holds.

    `swarm`: each run enables a random subset of the kinds, with random weights. `faults` is how many are drawn for a
    plan, at least and at most.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(strict=True, pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    title: Text
    faults: tuple[Count, Count]
    swarm: Annotated[bool, Field(strict=True)] = True
    classes: dict[Literal["transparent", "visible", "refused", "measured", "failstop", "workload"], OneIn] = {
        "transparent": 1
    }
    weights: dict[str, Weight] = {"default": 1}
    rates: dict[str, Rate] = {}
    ranges: dict[str, dict[str, tuple[Item, ...]]] = {}

    @field_validator("faults")
    @classmethod
    def _in_order(cls, value: tuple[int, int]) -> tuple[int, int]:
        if value[0] > value[1]:
            raise ValueError(f"at least {value[0]} and at most {value[1]}; give the smaller number first")
        return value

    @field_validator("weights")
    @classmethod
    def _patterns(cls, value: dict[str, int]) -> dict[str, int]:
        known = [kind.slug for kind in KINDS]
        _raise(_unknown(n) for n in value if n != "default" and not any(fnmatchcase(slug, n) for slug in known))
        return value

    @field_validator("rates")
    @classmethod
    def _rated(cls, value: dict[str, Rate]) -> dict[str, Rate]:
        _raise(_unknown(name) for name in value if _kind(name) is None)
        return value

    @field_validator("ranges")
    @classmethod
    def _in_bounds(cls, value: dict[str, dict[str, tuple[Item, ...]]]) -> dict[str, dict[str, tuple[Item, ...]]]:
        _raise(_bad_ranges(value))
        return value

    @model_validator(mode="after")
    def _draws(self) -> Profile:
        if self.rates and any(self.weights.values()):
            raise ValueError("rates and weights are both there, but a rate is a weight; set weights.default to 0")
        if self.faults[1] and not any(weight for _, weight in self.kinds()):
            what = "faults are to be drawn, but no kind has a weight in a class that is drawn"
            raise ValueError(f"{what}; set weights.default or classes")
        return self

    def weight(self, slug: str) -> int:
        """How often a kind is drawn, relative to the others."""
        if self.rates:
            return self.rates[slug].per_1e9_hours if slug in self.rates else 0
        found = self.weights.get("default", 0)
        for name, weight in self.weights.items():
            if name != "default" and fnmatchcase(slug, name):
                found = weight
        return found

    def kinds(self) -> list[tuple[FaultKind, int]]:
        """The kinds of the classes that this profile draws in any run, with their weights, in the catalogue's order."""
        return [(kind, self.weight(kind.slug)) for kind in KINDS if self.one_in(kind.class_)]

    def one_in(self, class_: str) -> int:
        """In one of how many runs kinds of this class are drawn; 0: never."""
        return next((n for name, n in self.classes.items() if name == class_), 0)

    def spans(self, slug: str) -> Mapping[str, Span]:
        """The parameters of a kind that this profile narrows."""
        kind = _kind(slug)
        found = {}
        for name, items in self.ranges.get(slug, {}).items():
            key = _key(kind, name) if kind else None
            span = read_span(key, items) if key else ""
            assert not isinstance(span, str)
            found[name] = span
        return found

    def hours_per_fault(self) -> int:
        """How many hours of one machine a fault of this profile stands for; 0 where it has no rates."""
        total = sum(rate.per_1e9_hours for rate in self.rates.values())
        return GIGAHOURS // total if total else 0


def _kind(slug: str) -> FaultKind | None:
    return next((kind for kind in KINDS if kind.slug == slug), None)


def _unknown(name: str) -> str:
    return f"no kind of fault is called {shown(name)}, {near(name, [kind.slug for kind in KINDS])}"


def _raise(problems: Iterable[str]) -> None:
    if found := list(problems):
        raise ValueError("; ".join(found))


def _bad_ranges(ranges: Mapping[str, Mapping[str, tuple[int | str, ...]]]) -> Iterator[str]:
    for slug, params in ranges.items():
        kind = _kind(slug)
        if kind is None:
            yield _unknown(slug)
            continue
        for name, items in params.items():
            key = _key(kind, name)
            if key is None:
                there = ", ".join(param.name for param in kind.params) or "none"
                yield f"{slug} has no parameter {shown(name)}, there is {there}"
            elif isinstance(span := read_span(key, items), str):
                yield f"{slug}, {name}: {span}"


def _key(kind: FaultKind, name: str) -> Key | None:
    return next((key for key in kind.params if key.name == name), None)


def read_span(key: Key, items: tuple[int | str, ...]) -> Span | str:
    """What `items` allow for a parameter, or what is wrong with them."""
    if key.words:
        wrong = [shown(item) for item in items if item not in key.words]
        if wrong or not items:
            return f"{', '.join(wrong) or 'nothing'} is no value; there is {', '.join(key.words)}"
        return Span(words=tuple(str(item) for item in items))
    numbers = [_number(key, item) for item in items]
    if len(numbers) != 2 or None in numbers:
        unit = " or times such as 30ms" if key.unit else ""
        return f"{shown(list(items))} is no range; give two integers{unit}"
    low, high = (number or 0 for number in numbers)
    if not key.low <= low <= high <= key.high:
        return f"from {low} to {high} is out of bounds; from {key.low} to {key.high} is allowed"
    return Span(low, high)


def _number(key: Key, item: int | str) -> int | None:
    if isinstance(item, int):
        return item
    match = _TIME.fullmatch(item)
    return int(match[1]) * UNITS[match[2]] if match and key.unit else None
