"""Files that people write, read into pydantic models: bounded, TOML, and everything wrong with one said at once.

Guards against a file that means something else than its author thinks: unknown keys are refused and the known ones
named, and one error never hides another in another place.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from runtime.errors import Refused

BYTES_MAX = 1 << 20
_SHOWN = 60

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path, model: type[Model], todo: str) -> Model:
    """What a TOML file holds; raises Refused."""
    return from_toml(read_bytes(path, BYTES_MAX), model, str(path), todo)


def from_toml(data: bytes, model: type[Model], where: str, todo: str) -> Model:
    """What a TOML text holds; raises Refused with all that is wrong in one line."""
    try:
        return model.model_validate(tree_of(data, where, todo))
    except ValidationError as error:
        raise Refused(problems(error, model), where, todo) from None


def tree_of(data: bytes, where: str, todo: str) -> dict[str, Any]:
    """What a TOML text says, not yet judged by a model; raises Refused."""
    if len(data) > BYTES_MAX:
        raise Refused(f"more than {BYTES_MAX} bytes", where, todo)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refused("not UTF-8", where, todo) from None
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError is a ValueError, as is an integer too long
        raise Refused(f"not TOML: {error}", where, todo) from None


def read_bytes(path: Path, longest: int) -> bytes:
    """A file's bytes; raises Refused where it cannot be read or has more than `longest`."""
    try:
        with path.open("rb") as file:
            data = file.read(longest + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Refused(f"cannot be read: {reason}", str(path), "give a file that can be read") from None
    if len(data) > longest:
        raise Refused(f"more than {longest} bytes", str(path), "give a smaller one")
    return data


def problems(error: ValidationError, model: type[BaseModel]) -> str:
    """All that is wrong, each with its place, in one line."""
    found = []
    for one in error.errors(include_url=False, include_context=False):
        place = ".".join(str(part) for part in one["loc"])
        what = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            what = unknown_key(str(one["loc"][-1]), _known(model, one["loc"]))
        elif place and one["type"] != "missing" and not isinstance(one["input"], dict | list):
            what = f"{shown(one['input'])}: {what[:1].lower()}{what[1:]}"
        found.append(f"{place}: {what}" if place else what)
    return "; ".join(dict.fromkeys(found))


def shown(value: object) -> str:
    """A value that somebody wrote, safe and short on one line."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def unknown_key(name: str, known: Sequence[str]) -> str:
    """What to say of a key that is none of those known."""
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"unknown key, did you mean {near[0]}"
    return f"unknown key; known are {', '.join(known)}" if known else "unknown key"


def _known(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The keys that the table at this place may have, from the model's schema."""
    schema = model.model_json_schema()
    node: Mapping[str, Any] = schema
    for part in place[:-1]:
        node = _resolved(node, schema)
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
    return sorted(_resolved(node, schema).get("properties", {}))


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    found: Mapping[str, Any] = schema["$defs"][name] if name else node
    return found
