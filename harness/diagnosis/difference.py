"""The first record in which two runs differ, and in what way: the journal first, as all else follows from it.

Where the journals are equal the difference lies in what left (receipts), in the final state, or only in the trace; a
run that equals its twin in all of them shares the bug with it, and that is said instead of a record.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Any

import msgspec
from msgspec import Struct

from harness.history import History
from harness.inspection import differences
from runtime.state import decode

SECTIONS = ("inputs", "inferences", "decrees", "steps", "events")
TEXT_MAX = 2000
WHERE = ("header", "journal", "state", "released", "trace", "nothing")


class Difference(Struct, frozen=True, kw_only=True):
    """`where` is one of WHERE; `block`, `section`, `record` say which of the journal's, `fields` what differs in it.

    `here` and `there` are the two sides as text, "" for a record that is missing. `at` is virtual ns, -1 if unknown.
    """

    where: str
    block: int = 0
    tick: int = -1
    section: str = ""
    record: int = -1
    fields: tuple[str, ...] = ()
    here: str = ""
    there: str = ""
    at: int = -1

    @property
    def place(self) -> str:
        """In words, e.g. "block 42 step 3"."""
        if self.where == "journal":
            inside = f" {self.section[:-1]} {self.record}" if self.section else ""
            return f"journal, block {self.block}{inside}"
        if self.where == "nothing":
            return "no record: the run equals its twin, so the bug is in both"
        return f"{self.where}, record {self.record}" if self.record >= 0 else self.where


def first_difference(run: History, twin: History) -> Difference:
    """Where `run` first departs from `twin`."""
    for find in (_journal, _state, _released, _trace):
        found = find(run, twin)
        if found is not None:
            return found
    return Difference(where="nothing")


def _text(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(", ", ": ")) if not isinstance(value, str) else value
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"


def _journal(run: History, twin: History) -> Difference | None:
    ours, theirs = (history.journal.split(b"\n") for history in (run, twin))
    if ours[0] != theirs[0]:
        return Difference(where="header", here=_text(ours[0].decode("utf-8", "replace")), there="")
    for number, (a, b) in enumerate(zip_longest(ours, theirs, fillvalue=b"")):
        if a != b:
            at = next((r.at for r in run.trace if r.kind == "committed" and r.fields.get("block") == number), -1)
            return msgspec.structs.replace(_block(number, a, b), at=at)
    return None


def _body(line: bytes) -> dict[str, Any]:
    try:
        body = json.loads(line)["body"]
    except (ValueError, KeyError, TypeError):
        return {}
    return body if isinstance(body, dict) else {}


def _block(number: int, ours: bytes, theirs: bytes) -> Difference:
    here, there = _body(ours), _body(theirs)
    tick = int((here or there).get("tick", -1))
    if not here or not there:
        sides = [f"tick {side['tick']}" if side else "" for side in (here, there)]
        fields = ("cut short",) if not here else ("longer",)
        return Difference(where="journal", block=number, tick=tick, fields=fields, here=sides[0], there=sides[1])
    if here["tick"] != there["tick"]:
        sides = [f"tick {side['tick']}" for side in (here, there)]
        return Difference(where="journal", block=number, tick=tick, fields=("tick",), here=sides[0], there=sides[1])
    for section in SECTIONS:
        mine, other = here.get(section, []), there.get(section, [])
        if mine != other:
            return _section(number, tick, section, mine, other)
    sides = [str(side.get("root", ""))[:16] for side in (here, there)]
    return Difference(where="journal", block=number, tick=tick, fields=("root",), here=sides[0], there=sides[1])


def _section(number: int, tick: int, section: str, mine: list[Any], other: list[Any]) -> Difference:
    place = next(i for i, (a, b) in enumerate(zip_longest(mine, other)) if a != b)
    here, there = (side[place] if place < len(side) else None for side in (mine, other))
    return Difference(
        where="journal",
        block=number,
        tick=tick,
        section=section,
        record=place,
        fields=_fields(section, mine, other, here, there),
        here="" if here is None else _text(here),
        there="" if there is None else _text(there),
    )


def _fields(section: str, mine: list[Any], other: list[Any], here: Any, there: Any) -> tuple[str, ...]:
    """What is different about the first record that differs: its place, its being there, or some of its fields."""

    def keyed(records: list[Any]) -> list[str]:
        return sorted(json.dumps(_identity(record)) for record in records)

    if section == "events":
        return tuple(sorted({str(side[0]) for side in (here, there) if side}))
    if keyed(mine) == keyed(other) and _identity(here) != _identity(there):
        return ("order",)
    if here is None or there is None or _identity(here) != _identity(there):
        return ("missing" if len(mine) < len(other) else "surplus",)
    if isinstance(here, dict) and isinstance(there, dict):
        return tuple(sorted(name for name in {*here, *there} if here.get(name) != there.get(name)))
    return ("value",)


def _identity(record: Any) -> Any:
    """What makes a record the one that it is, whatever it says."""
    if isinstance(record, dict):
        return [record.get(name) for name in ("agent", "n", "kind", "source", "request")]
    return record


def _state(run: History, twin: History) -> Difference | None:
    if run.final_state == twin.final_state or not run.final_state or not twin.final_state:
        return None
    try:
        trees = [msgspec.to_builtins(decode(history.final_state)) for history in (run, twin)]
    except msgspec.MsgspecError:
        return Difference(where="state", fields=("bytes",))
    found = differences(*trees)
    if not found:
        return Difference(where="state", fields=("bytes",))
    path, here, there = found[0]
    return Difference(where="state", fields=(path,), here=_text(str(here)), there=_text(str(there)), at=run.virtual_ns)


def _released(run: History, twin: History) -> Difference | None:
    """Blocks as the client first received them; released again after a crash or a loss is no difference."""
    ours, theirs = (_first_receipts(history) for history in (run, twin))
    for place, (a, b) in enumerate(zip_longest(ours, theirs)):
        if a is None or b is None or a[1:] != b[1:]:
            sides = [_text(str(side[1:])) if side else "" for side in (a, b)]
            at = a[0] if a else run.virtual_ns
            return Difference(where="released", record=place, here=sides[0], there=sides[1], at=at)
    return None


def _first_receipts(history: History) -> list[tuple[Any, ...]]:
    seen: dict[int, tuple[Any, ...]] = {}
    for receipt in history.receipts:
        value = (receipt.at, receipt.block, receipt.tick, receipt.acknowledged, receipt.outputs, receipt.final)
        seen.setdefault(receipt.block, value)
    return [seen[block] for block in sorted(seen)]


def _trace(run: History, twin: History) -> Difference | None:
    for place, (a, b) in enumerate(zip_longest(run.trace, twin.trace)):
        if a != b:
            here, there = (_text(msgspec.to_builtins(side)) if side else "" for side in (a, b))
            kinds = tuple(sorted({side.kind for side in (a, b) if side}))
            at = a.at if a else run.virtual_ns
            return Difference(where="trace", record=place, fields=kinds, here=here, there=there, at=at)
    return None
