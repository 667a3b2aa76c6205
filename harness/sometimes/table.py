"""All properties by name, which of them a campaign can reach, and which a run did."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from faults.profiles import Profile
from harness.sometimes import agents, devices, recoveries, workers, workload
from harness.sometimes.property import Property
from harness.sometimes.seen import Seen

PROPERTIES: dict[str, Property] = {
    one.name: one
    for one in (
        *workers.PROPERTIES,
        *recoveries.PROPERTIES,
        *agents.PROPERTIES,
        *devices.PROPERTIES,
        *workload.PROPERTIES,
    )
}


def reached(seen: Seen) -> tuple[str, ...]:
    """The names of the properties that hold in this run, in the table's order."""
    return tuple(name for name, one in PROPERTIES.items() if _holds(one, seen))


def _holds(one: Property, seen: Seen) -> bool:
    """A trace is what the build under test says: one whose records lack what is read has not shown the state."""
    try:
        return one.holds(seen)
    except (KeyError, TypeError, ValueError):
        return False


def reachable(scenarios: Iterable[str], profile: Profile) -> tuple[str, ...]:
    """The properties that a campaign over these scenarios, under this profile, can reach."""
    names = set(scenarios)
    drawn = [kind.slug for kind, weight in profile.kinds() if weight and profile.faults[1]]
    return tuple(
        name
        for name, one in PROPERTIES.items()
        if not names.isdisjoint(one.scenarios)
        and any(fnmatchcase(slug, pattern) for slug in drawn for pattern in one.kinds)
    )
