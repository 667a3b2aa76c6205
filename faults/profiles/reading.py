"""Profiles from files: the built-in ones beside this module, or a user's; and the text that shows one.

A file is data with a schema and a bound on its size. Everything wrong with it is said in one line, with its places.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from faults.catalogue import near, shown, time_text
from faults.kinds import KINDS
from faults.profiles.profile import Profile
from runtime.errors import Refused

BUILT_IN = ("stress", "field", "storm", "none", "transparent", "measured", "failstop", "refused", "clock")
BYTES_MAX = 1 << 20
TODO = "see docs/profiles.md"
_HERE = Path(__file__).parent
_cache: dict[str, Profile] = {}


def find(name: str) -> Profile:
    """The built-in profile of this name, or the one in the TOML file of this path; raises Refused."""
    if name in BUILT_IN:
        if name not in _cache:
            _cache[name] = _read(_HERE / f"{name}.toml")
        return _cache[name]
    if "/" in name or name.endswith(".toml"):
        return _read(Path(name))
    raise Refused(f"unknown profile {shown(name)}", "", f"{near(name, BUILT_IN)}; or give the path of a .toml file")


def _read(path: Path) -> Profile:
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}", str(path), TODO) from None
    return from_toml(data, str(path))


def from_toml(data: bytes, where: str = "profile") -> Profile:
    """The profile in a TOML text; raises Refused with all that is wrong."""
    if len(data) > BYTES_MAX:
        raise Refused(f"more than {BYTES_MAX} bytes", where, TODO)
    try:
        tree = tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise Refused("not UTF-8", where, TODO) from None
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise Refused(f"not TOML: {error}", where, TODO) from None
    try:
        return Profile.model_validate(tree)
    except ValidationError as error:
        raise Refused(problems(error), where, TODO) from None


def from_json(text: str) -> Profile:
    """The inverse of `Profile.model_dump_json`, between our own processes; raises Refused."""
    try:
        return Profile.model_validate_json(text)
    except ValidationError as error:
        raise Refused(problems(error), "profile", TODO) from None


def problems(error: ValidationError) -> str:
    """All that is wrong, in one line: each with its place."""
    found = []
    for one in error.errors(include_url=False, include_input=True):
        place = ".".join(str(part) for part in one["loc"] if not str(part).startswith("constrained-"))
        what = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            what = f"unknown key; known are {', '.join(sorted(Profile.model_fields))}"
        elif place and one["type"] != "missing" and not isinstance(one["input"], dict | list):
            what = f"{shown(one['input'])}: {what[0].lower()}{what[1:]}"
        found.append(f"{place}: {what}" if place else what)
    return "; ".join(dict.fromkeys(found))


def describe(profile: Profile) -> dict[str, object]:
    """Everything that a profile decides, kind by kind, as data."""
    kinds = []
    for kind in KINDS:
        one_in, weight = profile.one_in(kind.class_), profile.weight(kind.slug)
        spans = profile.spans(kind.slug)
        told: dict[str, object] = {"kind": kind.slug, "class": kind.class_, "weight": weight if one_in else 0}
        told["ranges"] = {
            key.name: list(span.words) or [time_text(n) if key.unit else str(n) for n in (span.low, span.high)]
            for key in kind.params
            if (span := spans.get(key.name)) is not None
        }
        if kind.slug in profile.rates:
            told["source"] = profile.rates[kind.slug].source
        kinds.append(told)
    return {
        "name": profile.name,
        "title": profile.title,
        "faults": list(profile.faults),
        "swarm": profile.swarm,
        "classes": {class_: profile.one_in(class_) for class_ in sorted({kind.class_ for kind in KINDS})},
        "hours_per_fault": profile.hours_per_fault() or None,
        "kinds": kinds,
    }
