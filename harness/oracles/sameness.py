"""Runs that must be equal: with and without faults (twin), repeated (I1), other workers (I3), devices (I5), recovered
(I20).

Journals are compared as bytes behind the header, so nothing is trusted to normalise them; the first block and record
that differ are named with both sides. Against: whatever lets something physical reach the logical history.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from harness.history import History
from harness.oracles.judged import Judged
from harness.oracles.reading import chain
from harness.oracles.shared import held_once
from harness.oracles.verdict import Unjudged

_SECTIONS = ("inputs", "inferences", "decrees", "steps", "events")


def twin(run: Judged) -> list[str]:
    """The journal and the set of blobs are those of the same plan without its transparent faults."""
    if run.twin is None:
        raise Unjudged("there is no twin")
    return compare(run.history, run.twin, "twin") + _blobs(run.history, run.twin)


def repeated(run: Judged) -> list[str]:
    """I1: the same plan once more gives the same journal and the same trace."""
    if run.repeat is None:
        raise Unjudged("there is no repetition")
    return compare(run.history, run.repeat, "repetition") + traces(run.history, run.repeat, "repetition")


def traces(history: History, other: History, whose: str) -> list[str]:
    """The first record in which two traces differ, as one line; none when they are equal."""
    ours, theirs = history.trace, other.trace
    if not ours or not theirs:
        raise Unjudged("there is no trace")
    if ours == theirs:
        return []
    first = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    at = min(len(ours), len(theirs)) if first is None else first
    sides = [repr(trace[at])[:160] if at < len(trace) else "nothing" for trace in (ours, theirs)]
    return [f"trace record {at}: here {sides[0]}, in the {whose} {sides[1]}"]


def worker_counts(run: Judged) -> list[str]:
    """I3: other numbers of workers give the same journal; a resized pool as well, and no agent is in it twice."""
    if not run.others:
        raise Unjudged("there is no run with another number of workers")
    found = [line for n in sorted(run.others) for line in compare(run.history, run.others[n], f"run with {n} workers")]
    for name, resized in run.varied.get("I3", {}).items():
        found += compare(run.history, resized, name) + [f"{name}: {line}" for line in held_once(resized)]
    return found


def devices(run: Judged) -> list[str]:
    """I5: on the CPU alone, on the accelerator, and with it removed in mid-run the journal is the same."""
    if not run.devices:
        raise Unjudged("there is no run on other devices")
    found = []
    for name in sorted(run.devices):
        other = run.devices[name]
        if not other.finished:
            found.append(f"the run on {name} did not finish: {other.failure or 'it was cut short'}")
        found += compare(run.history, other, f"run on {name}")
    return found


def recovered(run: Judged) -> list[str]:
    """I20: each recovery from a snapshot ends in the state of the straight run, byte for byte."""
    if not run.replays:
        raise Unjudged("there is no recovery from a snapshot")
    if not run.history.final_state:
        raise Unjudged("there is no final state")
    ours = run.history.final_state
    return [
        f"snapshot {name}: its replay ends in state {_digest(state)}, the straight run in {_digest(ours)}"
        for name, state in run.replays
        if state != ours
    ]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _behind_header(journal: bytes, whose: str) -> bytes:
    head = journal.find(b"\n") + 1
    if not head:
        raise Unjudged(f"there is no journal of {whose}")
    return journal[head:]


def compare(history: History, other: History, whose: str) -> list[str]:
    """The first difference of two journals behind their headers, as one line; none when they are equal bytes."""
    ours, theirs = _behind_header(history.journal, "this run"), _behind_header(other.journal, f"the {whose}")
    if ours == theirs:
        return []
    here, there = ours.split(b"\n"), theirs.split(b"\n")
    number = next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), min(len(here), len(there)))
    a, b = (lines[number] if number < len(lines) else b"" for lines in (here, there))
    return [f"block {number + 1} {_first_record(a, b, whose)}"]


def _first_record(ours: bytes, theirs: bytes, whose: str) -> str:
    if not ours or not theirs:
        return f"is only in {'this run' if ours else 'the ' + whose}"
    try:
        here, there = json.loads(ours)["body"], json.loads(theirs)["body"]
        if here["tick"] != there["tick"]:
            return f"is tick {here['tick']}, in the {whose} tick {there['tick']}"
        for name in _SECTIONS:
            lists = [body.get(name, []) for body in (here, there)]
            place = _first_of(*lists)
            if place is not None:
                sides = [_text(records[place]) if place < len(records) else "nothing" for records in lists]
                return f"{name[:-1]} {place}: here {sides[0]}, in the {whose} {sides[1]}"
        return f"root: here {here['root'][:16]}, in the {whose} {there['root'][:16]}"
    except (ValueError, KeyError, TypeError):
        return f"differs as bytes from the {whose}"


def _first_of(here: list[Any], there: list[Any]) -> int | None:
    if here == there:
        return None
    pairs = zip(here, there, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(here), len(there)))


def _text(record: Any) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return text if len(text) <= 200 else text[:199] + "…"


def _blobs(history: History, other: History) -> list[str]:
    found = []
    for digest in sorted(set(history.blobs) ^ set(other.blobs)):
        found.append(f"blob {digest[:16]} is only in {'this run' if digest in history.blobs else 'the twin'}")
    for digest in sorted(set(history.blobs) & set(other.blobs)):
        if history.blobs[digest] != other.blobs[digest]:
            found.append(f"blob {digest[:16]} holds other bytes than the twin's")
    return found


def same_prefix(ours: bytes, theirs: bytes, blocks: int) -> int | None:
    """The first of the first `blocks` blocks that two journals do not both hold with the same hash; None if all are."""
    _, here, _ = chain(ours)
    _, there, _ = chain(theirs)
    for number in range(blocks):
        if number >= len(here) or number >= len(there) or here[number].hash != there[number].hash:
            return number + 1
    return None
