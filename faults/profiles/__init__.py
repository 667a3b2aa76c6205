"""Profiles: which kinds of faults a campaign draws, how often, how many in a plan, and with what parameters.

A profile is a TOML file, the built-in ones too. It never lists all kinds: one that it does not name has the default
weight, so a kind that is added to the catalogue is drawn by every profile that has such a default. Reading is strict:
all that is wrong with a file is refused at once, in one line.
"""

from faults.profiles.mix import Mix, everything, mix_of
from faults.profiles.profile import Profile, Rate, Span
from faults.profiles.reading import BUILT_IN, describe, find, from_json, from_toml

__all__ = [
    "BUILT_IN",
    "Mix",
    "Profile",
    "Rate",
    "Span",
    "describe",
    "everything",
    "find",
    "from_json",
    "from_toml",
    "mix_of",
]
