"""A mix: the kinds that one run draws from. Swarm testing: each run enables a random subset with random weights.

A run that draws from everything never holds many faults of one kind, nor goes without another; subsets do both. All
is drawn from named streams, keyed by (seed, scenario, run, kind): a kind that is added changes no other's draws.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from faults.catalogue import kind_of
from faults.profiles.profile import Profile, Span
from faults.streams import draw

KINDS_MIN = 3  # enabled in a run, where there are so many
FACTOR_MAX = 4  # a weight is multiplied by 1 to this
FINE = 12  # weights are multiplied by this as well, so that shares of them stay integers
SHARE = 4  # in a run whose turn it is, a class that is not in all runs gets one fault in so many


@dataclass(frozen=True)
class Mix:
    """(slug, weight) of the enabled kinds, in the catalogue's order; and the parameters that the profile narrows."""

    weights: tuple[tuple[str, int], ...]
    spans: Mapping[str, Mapping[str, Span]] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        """Whether it may draw what is let through unless every answer is checked."""
        return any(kind_of(slug).class_ == "measured" for slug, _ in self.weights)

    def only(self, possible: Collection[str]) -> Mix:
        """The same without the kinds that cannot happen."""
        return Mix(tuple(item for item in self.weights if item[0] in possible), self.spans)

    def pick(self, share: int, of: int) -> str:
        """The kind at `share` of `of` along the weights; "" when none is enabled."""
        place = share % of * sum(weight for _, weight in self.weights) // of
        for slug, weight in self.weights:
            if place < weight:
                return slug
            place -= weight
        return ""


def everything(profile: Profile, *classes: str) -> Mix:
    """All kinds of the profile that are of these classes (all that it draws, when none are given)."""
    weights = [(kind.slug, weight) for kind, weight in profile.kinds() if not classes or kind.class_ in classes]
    return _mix(profile, dict(weights))


def mix_of(profile: Profile, seed: int, scenario: str, n: int, possible: Collection[str]) -> Mix:
    """The kinds of run n, out of those that can happen in it."""
    now = [c for c, one_in in profile.classes.items() if one_in and draw(seed, "class", scenario, n, c) % one_in == 0]
    chosen = {k.slug: w for k, w in profile.kinds() if w and k.class_ in now and k.slug in possible}
    if profile.swarm:
        order = sorted(chosen, key=lambda slug: draw(seed, "swarm", scenario, n, slug))
        enabled = [slug for slug in order if draw(seed, "swarm", scenario, n, slug) % 2 == 0]
        enabled = enabled if len(enabled) >= KINDS_MIN else order[:KINDS_MIN]
        factors = {slug: FINE * (1 + draw(seed, "swarm weight", scenario, n, slug) % FACTOR_MAX) for slug in enabled}
        chosen = {slug: weight * factors[slug] for slug, weight in chosen.items() if slug in enabled}
        chosen = _with_rare(profile, seed, scenario, n, now, possible, chosen)
    return _mix(profile, chosen)


def _with_rare(
    profile: Profile,
    seed: int,
    scenario: str,
    n: int,
    now: Sequence[str],
    possible: Collection[str],
    chosen: dict[str, int],
) -> dict[str, int]:
    """A class whose turn comes in one run of many is not left out of that run as well, nor lost among the others."""
    for class_ in now:
        of_class = [(k.slug, w) for k, w in profile.kinds() if w and k.class_ == class_ and k.slug in possible]
        if profile.one_in(class_) <= 1 or not of_class:
            continue
        mine = [item for item in of_class if item[0] in chosen]
        if not mine:
            mine = [of_class[draw(seed, "swarm class", scenario, n, class_) % len(of_class)]]
        others = sum(weight for slug, weight in chosen.items() if kind_of(slug).class_ != class_)
        total = sum(weight for _, weight in mine)
        wanted = max(total, others // (SHARE - 1))
        chosen |= {slug: max(1, weight * wanted // total) for slug, weight in mine}
    return chosen


def _mix(profile: Profile, weights: Mapping[str, int]) -> Mix:
    ordered = tuple((kind.slug, weights[kind.slug]) for kind, _ in profile.kinds() if weights.get(kind.slug))
    return Mix(ordered, {slug: profile.spans(slug) for slug, _ in ordered if slug in profile.ranges})
