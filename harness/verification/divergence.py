"""The first record in which two runs differ, found by bisection of the hash chain: first the block, then the record.

Links differ from the first differing block on, so halving finds it in log2(blocks) comparisons without reading a body;
only that one block is parsed, its records are chained in their logical order, and halved again. Against: a search that
names a consequence instead of the first cause.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from harness.verification.sample import PIECE, Sample, chained

SECTIONS = ("inputs", "inferences", "decrees", "steps", "events")  # in the order in which a tick makes them
SHOWN = 600  # characters of a record that are shown


class Divergence(Struct, frozen=True, kw_only=True):
    """The first difference of two runs. `block` counts from 1 (pieces of the trace likewise), `index` in `section`.

    `record` is the place among all records of that block, or of the trace. `here` and `there` are the two records as
    JSON, "" where a side has none; `field` leads to the first value that differs, which both sides show.
    """

    part: str  # "journal" or "trace"
    block: int
    record: int
    section: str
    index: int
    field: str
    here: str
    there: str
    value_here: Any
    value_there: Any
    probes: int  # comparisons that the bisection took

    @property
    def place(self) -> tuple[int, int]:
        return self.block, self.record

    @property
    def name(self) -> str:
        if self.part == "trace":
            return f"trace record {self.record}"
        return f"block {self.block} {self.section}" + (f" {self.index}" if self.section in SECTIONS else "")


def bisect(ours: Sequence[str], theirs: Sequence[str]) -> tuple[int | None, int]:
    """The first place where two chains differ (the shorter one's end counts), None when equal; and how many probes."""
    low, high, probes = 0, min(len(ours), len(theirs)), 0
    while low < high:
        middle = (low + high) // 2
        probes += 1
        if ours[middle] == theirs[middle]:
            low = middle + 1
        else:
            high = middle
    if low == len(ours) == len(theirs):
        return None, probes
    return low, probes


def first_divergence(ours: Sample, theirs: Sample, traces: bool = True) -> Divergence | None:
    """Of the journals, and where these are equal of the traces (if both have one and `traces`)."""
    block, probes = bisect(ours.links, theirs.links)
    if block is not None:
        return _in_block(ours, theirs, block, probes)
    if not traces or not ours.records or not theirs.records:
        return None
    piece, probes = bisect(ours.trace_links, theirs.trace_links)
    if piece is None:
        return None
    at = piece * PIECE
    sides = [side.records[at : at + PIECE] for side in (ours, theirs)]
    record, more = bisect(*map(chained, sides))
    assert record is not None
    texts = [_text(side, record) for side in sides]
    return _made("trace", piece + 1, at + record, ("record", record), texts, probes + more)


def _in_block(ours: Sample, theirs: Sample, block: int, probes: int) -> Divergence:
    sides = [_records(side.bodies[block]) if block < len(side.bodies) else [] for side in (ours, theirs)]
    record, more = bisect(*(chained(text.encode() for _, _, text in side) for side in sides))
    if record is None:  # bodies of other bytes and equal content: only their encoding differs
        return _made("journal", block + 1, 0, ("encoding", 0), ["", ""], probes + more)
    # Where one side lacks a record, the other's next one is further on in the order of a tick.
    section, index = min((side[record][:2] for side in sides if record < len(side)), key=_order)
    texts = [side[record][2] if record < len(side) and side[record][:2] == (section, index) else "" for side in sides]
    return _made("journal", block + 1, record, (section, index), texts, probes + more)


def _records(body: bytes) -> list[tuple[str, int, str]]:
    """A block's records in logical order: its tick, what was admitted, its steps, events, and its root."""
    tree = json.loads(body)
    records = [("tick", 0, _canonical(tree.get("tick")))]
    for section in SECTIONS:
        records += [(section, index, _canonical(item)) for index, item in enumerate(tree.get(section, ()))]
    return [*records, ("root", 0, _canonical(tree.get("root")))]


def _order(where: tuple[str, int]) -> tuple[int, int]:
    return ("tick", *SECTIONS, "root").index(where[0]), where[1]


def _canonical(item: Any) -> str:
    return json.dumps(item, sort_keys=True, separators=(",", ":"))


def _text(lines: Sequence[bytes], at: int) -> str:
    return lines[at].decode("utf-8", "replace") if at < len(lines) else ""


def _made(part: str, block: int, record: int, where: tuple[str, int], texts: list[str], probes: int) -> Divergence:
    field, values = "", (None, None)
    if all(texts):
        field, *both = first_leaf(json.loads(texts[0]), json.loads(texts[1]))
        values = (both[0], both[1])
    return Divergence(
        part=part,
        block=block,
        record=record,
        section=where[0],
        index=where[1],
        field=field,
        here=_cut(texts[0]),
        there=_cut(texts[1]),
        value_here=values[0],
        value_there=values[1],
        probes=probes,
    )


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def first_leaf(here: Any, there: Any, path: str = "") -> tuple[str, Any, Any]:
    """Where two JSON values first differ: the path, and both values; lists of the same items stay whole."""
    if isinstance(here, dict) and isinstance(there, dict) and here.keys() == there.keys():
        for name in sorted(here):
            if here[name] != there[name]:
                return first_leaf(here[name], there[name], f"{path}.{name}" if path else name)
    if isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        if sorted(map(_canonical, here)) == sorted(map(_canonical, there)):
            return path, here, there
        for index, (one, other) in enumerate(zip(here, there, strict=True)):
            if one != other:
                return first_leaf(one, other, f"{path}[{index}]")
    return path, here, there
