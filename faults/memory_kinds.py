"""Faults of shared memory beyond a single flip: torn reads, slots of another version, a second writer, a lost lease.

Each is repaired from the journaled bytes, or by the writer, before a reader uses what it found.
"""

from __future__ import annotations

from faults.kind import AGENT, OCCURRENCE, TICK, FaultKind, Form, Key

STALE_MODES = ("previous", "next", "wrap")
WRAP = 1 << 16  # a generation kept in 16 bits comes round after so many versions
STUCK_STORES_MAX = 4

_KEYS = (Key(name="buffer", meaning="shared buffer"), Key(name="version", meaning="its version", low=1))

MEMORY_KINDS: tuple[FaultKind, ...] = (
    FaultKind(
        slug="buffer.torn_read",
        rows=("F26",),
        class_="transparent",
        layer="shared memory",
        title="a reader's load of a slot comes between two halves of a write: a part of it is older than the rest",
        keys=(*_KEYS, OCCURRENCE),
        forms=(Form(needs=("buffer", "version"), may=("occurrence",)),),
        params=(
            Key(name="byte", meaning="where the halves meet, counted in the bytes of that load, modulo", default=0),
            Key(name="half", meaning="which half is old", words=("second", "first"), default="second"),
        ),
        counts_when="that version is repaired",
    ),
    FaultKind(
        slug="buffer.stuck",
        rows=("F28",),
        class_="transparent",
        layer="shared memory",
        title="a byte of a published slot changes and keeps its value through the next stores, then holds again",
        keys=_KEYS,
        forms=(Form(needs=("buffer", "version")),),
        params=(
            Key(name="byte", meaning="which byte, counted in what a reader verifies, modulo", default=0),
            Key(name="stores", meaning="how many stores it outlasts", low=1, high=STUCK_STORES_MAX, default=1),
        ),
        counts_when="that version is repaired more than once",
    ),
    FaultKind(
        slug="buffer.zero",
        rows=("F28",),
        class_="transparent",
        layer="shared memory",
        title="a page of a published slot is all zero before the first reader of that version loads it",
        keys=_KEYS,
        forms=(Form(needs=("buffer", "version")),),
        params=(
            Key(name="byte", meaning="first byte, counted in what a reader verifies, modulo", default=0),
            Key(name="length", meaning="how many bytes", low=1, high=4096, default=4096),
        ),
        counts_when="that version is repaired",
    ),
    FaultKind(
        slug="buffer.stale_handle",
        rows=("F33",),
        class_="transparent",
        layer="shared memory",
        title="a slot holds, whole and in order, another version than its handle says: reused, or a generation wrapped",
        keys=_KEYS,
        forms=(Form(needs=("buffer", "version")),),
        params=(
            Key(
                name="mode",
                meaning="the version before it, one written over it, or one 65,536 later",
                words=STALE_MODES,
                default="previous",
            ),
        ),
        counts_when="that version is repaired",
    ),
    FaultKind(
        slug="buffer.second_writer",
        rows=("F34",),
        class_="transparent",
        layer="shared memory",
        title="somebody without a lease fills the slot as a writer would, after its writer or after it is published",
        keys=_KEYS,
        forms=(Form(needs=("buffer", "version")),),
        params=(
            Key(
                name="when",
                meaning="before the orchestrator takes it over, or before the first reader",
                words=("private", "published"),
                default="private",
            ),
        ),
        counts_when="that version is written again, or repaired",
    ),
    FaultKind(
        slug="lock.abandon",
        rows=("F29",),
        class_="transparent",
        layer="shared memory",
        title="the worker that holds a step's lease is gone and nobody is told; its lease must run out",
        keys=(
            TICK,
            AGENT,
            Key(name="point", meaning="before it has the work, or before its result leaves", words=("idle", "after"),
                default="after"),
        ),
        forms=(Form(needs=("tick", "agent"), may=("point",)),),
        counts_when="its lease expires, and another worker takes over",
    ),
)  # fmt: skip
