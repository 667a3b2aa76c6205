"""The first place at which two journals differ, read as plain JSON, so that no build has to know the other's records.

The chain's links are left out, as one differing record changes all that follow. Between journals of one version every
difference counts. Between versions only what both know is compared: keys that both objects have, and of positional
records the places that both have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from reports.pairs import Difference

SHOWN_MAX = 120
_NOTHING: Any = object()


def first_difference(base: bytes, head: bytes) -> Difference | None:
    """None where the journals say the same; a line that is no JSON counts as nothing."""
    mine, theirs = _blocks(base), _blocks(head)
    common = _version(base) != _version(head)
    for number, (one, other) in enumerate(zip_longest(mine, theirs, fillvalue=_NOTHING), 1):
        found = next(_differences(one, other, common, ""), None)
        if found is not None:
            path, left, right = found
            tick = next((b["tick"] for b in (one, other) if isinstance(b, dict) and "tick" in b), -1)
            return Difference(block=number, tick=tick, path=path, base=_shown(left), head=_shown(right))
    return None


def _lines(journal: bytes) -> list[Any]:
    found = []
    for line in journal.splitlines():
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            found.append(None)
    return found


def _version(journal: bytes) -> object:
    header = _lines(journal[: journal.find(b"\n") + 1])
    try:
        return header[0]["header"]["versions"]["journal"]
    except (IndexError, KeyError, TypeError):
        return None


def _blocks(journal: bytes) -> list[Any]:
    """The blocks' bodies; the header is outside the chain, and says what may differ."""
    return [line.get("body") if isinstance(line, dict) else None for line in _lines(journal)[1:]]


def _differences(one: Any, other: Any, common: bool, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ, in order of keys and places, as (path, one, other)."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() & other.keys() if common else one.keys() | other.keys())
        for key in keys:
            place = f"{path}.{key}" if path else key
            yield from _differences(one.get(key, _NOTHING), other.get(key, _NOTHING), common, place)
    elif isinstance(one, list) and isinstance(other, list):
        positional = common and all(not isinstance(value, dict | list) for value in one[:1] + other[:1])
        pairs = zip(one, other, strict=False) if positional else zip_longest(one, other, fillvalue=_NOTHING)
        for index, (left, right) in enumerate(pairs):
            yield from _differences(left, right, common, f"{path}[{index}]")
    elif one is _NOTHING or other is _NOTHING or one != other or isinstance(one, bool) != isinstance(other, bool):
        yield path, one, other


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return ""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"
