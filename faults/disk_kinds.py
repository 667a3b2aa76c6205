"""The kinds of faults that strike the disk, and the stall that a slow one causes."""

from __future__ import annotations

from faults.kind import MS, OCCURRENCE, FaultKind, Form, Key

LAYER = "log/snapshot"
FILES = ("journal", "blobs", "watermark", "decrees", "snapshot")
STALL_PHASES = ("dispatch", "commit", "sync", "release", "snapshot")

_TICK = Key(name="tick", meaning="first such call at this tick or later")
_AFTER = Key(name="crash", meaning="first such call of who recovers from this crash, counted from 1", low=1)
_FOR = Key(name="for", meaning="how long", unit="ns", low=1, high=60_000 * MS, default=30 * MS)


def _file(meaning: str, words: tuple[str, ...]) -> Key:
    return Key(name="file", meaning=meaning, words=words)


_SYNC_KEYS = (_TICK, _AFTER, _file("what is synced, the directory too", (*FILES, "directory")), OCCURRENCE)
_SYNC_FORMS = (Form(needs=("tick", "file"), may=("occurrence",)), Form(needs=("crash", "file"), may=("occurrence",)))

DISK_KINDS: tuple[FaultKind, ...] = (
    FaultKind(
        slug="orchestrator.stall",
        rows=("F02",),
        class_="transparent",
        layer="scheduler",
        title="the orchestrator stops between a decision and its record, before a port call, and goes on later",
        keys=(_TICK, Key(name="phase", meaning="in this phase", words=STALL_PHASES), OCCURRENCE),
        forms=(Form(needs=("tick", "phase"), may=("occurrence",)),),
        params=(_FOR,),
        counts_when="the next block becomes durable, or is released again, only after that time",
    ),
    FaultKind(
        slug="disk.slow",
        rows=("F68",),
        class_="transparent",
        layer=LAYER,
        title="a sync takes longer",
        keys=_SYNC_KEYS,
        forms=_SYNC_FORMS,
        params=(_FOR,),
        counts_when="a successor starts, or a block becomes durable, only after that time",
    ),
    FaultKind(
        slug="disk.sync_error",
        rows=("F66",),
        class_="transparent",
        layer=LAYER,
        title="a sync reports an error; its bytes can be read, are not on the disk, and count as clean from then on",
        keys=_SYNC_KEYS,
        forms=_SYNC_FORMS,
        counts_when="the incarnation ends for it and a successor starts; a snapshot is thrown away",
    ),
    FaultKind(
        slug="disk.full",
        rows=("F67",),
        class_="transparent",
        layer=LAYER,
        title="no space is left, or less than a write needs: writes are short or write nothing until there is room",
        keys=(_TICK, _AFTER, _file("to which file the first such write goes", FILES), OCCURRENCE),
        forms=_SYNC_FORMS,
        params=(
            Key(name="fits", meaning="bytes for which there still is room", high=1 << 30, default=0),
            _FOR,
        ),
        counts_when="the runtime says that it is full, and later that there is room",
    ),
)
