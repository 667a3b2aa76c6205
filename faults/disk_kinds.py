"""The kinds of faults that strike the disk, and the stall that a slow one causes."""

from __future__ import annotations

from faults.kind import MS, OCCURRENCE, FaultKind, Form, Key

LAYER = "log/snapshot"
FILES = ("journal", "blobs", "watermark", "decrees", "snapshot")
STALL_PHASES = ("dispatch", "commit", "sync", "release", "snapshot")

_TICK = Key(name="tick", meaning="first such call at this tick or later")
_AFTER = Key(name="crash", meaning="first such call of who recovers from this crash, counted from 1", low=1)
_FOR = Key(name="for", meaning="how long", unit="ns", low=1, high=60_000 * MS, default=30 * MS)

_CRASH = Key(name="crash", meaning="crash of the orchestrator in this run, counted from 1", low=1)
_PLACE = Key(name="at", meaning="which byte, modulo the file's", high=1 << 30, default=0)
_MET = "the runtime stops, discards that file, or cuts what does not verify"


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
    FaultKind(
        slug="disk.read_error",
        rows=("F62",),
        class_="failstop",
        layer=LAYER,
        title="a sector cannot be read when a successor reads its file",
        keys=(_AFTER, _file("what is read; of snapshots the first one", FILES)),
        forms=(Form(needs=("crash", "file")),),
        params=(_PLACE,),
        counts_when="the runtime says that it cannot be read",
    ),
    FaultKind(
        slug="disk.misdirect",
        rows=("F63",),
        class_="failstop",
        layer=LAYER,
        title="the last write of a sync goes to another sector or nowhere, or a read gets another sector",
        keys=(_TICK, _AFTER, _file("what is written and synced, or read after that crash", FILES), OCCURRENCE),
        forms=(Form(needs=("tick", "file"), may=("occurrence",)), Form(needs=("crash", "file"))),
        params=(
            Key(
                name="how",
                meaning="of a write: nowhere, or elsewhere",
                words=("phantom", "elsewhere"),
                default="phantom",
            ),
            Key(name="sectors", meaning="how many sectors of 512 B away, modulo", low=1, high=1 << 20, default=1),
            _PLACE,
        ),
        counts_when=_MET,
    ),
    FaultKind(
        slug="disk.rot",
        rows=("F64",),
        class_="failstop",
        layer=LAYER,
        title="bits in a run of bytes flip while the orchestrator is down, about one in eight",
        keys=(_CRASH, _file("which; of snapshots the newest", FILES)),
        forms=(Form(needs=("crash", "file")),),
        params=(_PLACE, Key(name="bytes", meaning="how many bytes in a row", low=1, high=1 << 16, default=64)),
        counts_when=_MET,
    ),
    FaultKind(
        slug="disk.rollback",
        rows=("F65",),
        class_="failstop",
        layer=LAYER,
        title="every fifth chunk of 4 KiB is as it was when the file was shorter",
        keys=(_CRASH, _file("which", ("journal", "blobs"))),
        forms=(Form(needs=("crash", "file")),),
        params=(
            Key(name="share", meaning="of its bytes it had then, in percent", high=99, default=50),
            Key(name="chunk", meaning="which of five, counted from 0", high=4, default=0),
        ),
        counts_when=_MET,
    ),
    FaultKind(
        slug="journal.forge",
        rows=("F69",),
        class_="failstop",
        layer=LAYER,
        title="while the orchestrator is down somebody edits the synced part of its journal",
        keys=(_CRASH,),
        forms=(Form(needs=("crash",)),),
        params=(
            Key(
                name="how",
                meaning="a block from elsewhere, one gone, two swapped, one twice, one altered and all chained anew",
                words=("splice", "cut", "swap", "dup", "rechain"),
                default="splice",
            ),
            Key(name="block", meaning="which, modulo the synced ones", low=1, high=1 << 20, default=1),
        ),
        counts_when=_MET,
    ),
    FaultKind(
        slug="snapshot.damage",
        rows=("F70",),
        class_="transparent",
        layer=LAYER,
        title="while the orchestrator is down a snapshot is damaged or exchanged",
        keys=(_CRASH,),
        forms=(Form(needs=("crash",)),),
        params=(
            Key(name="what", meaning="an agent's image, or the state", words=("agent", "state"), default="agent"),
            Key(
                name="how",
                meaning="a bit flips; cut short; of a later or an earlier version; an older one under its name; "
                "one of a block that the journal has not",
                words=("flip", "cut", "future", "older", "stale", "ahead"),
                default="flip",
            ),
            Key(name="pick", meaning="which, counted from the newest, modulo", high=1 << 20, default=0),
        ),
        counts_when="the runtime discards that file",
    ),
)
