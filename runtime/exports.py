"""Exports: a whole durable disk in one checked piece, which another runtime instance goes on from (SNP-1).

An export ends at a synced block, so it holds nothing that a crash could still take back. It guards against damage,
truncation, other versions and forged contents: all is verified before the first byte is written. Modules are not in
it; their digests are, and the other instance must have them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection

import msgspec
from msgspec import Struct

from runtime import journal, watermark
from runtime.archive import PREFIXES
from runtime.durability import BLOBS, JOURNAL
from runtime.errors import FailStop, Refused
from runtime.ports import Storage
from runtime.recovery import DECREES, decree_line
from runtime.state import Decree
from runtime.versions import ALL
from runtime.watermark import Watermark

EXPORT = 1
_HEAD = struct.Struct("<4sIQ32s")  # magic, version, length, sha256
_MAGIC = b"WEX1"
_READ_HERE = ("journal", "snapshot", "state")  # versions that must be this build's own


class Export(Struct, frozen=True):
    """`files` by name, the watermark left out: it is made of `incarnation`, `block` and `hash`."""

    block: int
    files: dict[str, bytes]
    hash: str
    incarnation: int
    versions: dict[str, int]


def take(storage: Storage, mark: Watermark, unsynced: Collection[Decree]) -> bytes:
    """The disk up to the block of `mark`, which is synced; `unsynced` are decrees that are not on it for sure."""
    names = storage.names()
    lines = journal.read(storage.read(JOURNAL)).lines[: mark.block]
    files = {name: storage.read(name) for name in names if name.startswith(PREFIXES)}
    files[JOURNAL] = storage.read(JOURNAL)[: lines[-1].end] if lines else b""
    files[BLOBS] = storage.read(BLOBS)
    kept = [line for line in storage.read(DECREES).splitlines(keepends=True) if line not in _lines(unsynced)]
    files[DECREES] = b"".join(kept)
    body = msgspec.msgpack.encode(Export(mark.block, files, mark.hash, mark.incarnation, ALL), order="sorted")
    return _HEAD.pack(_MAGIC, EXPORT, len(body), hashlib.sha256(body).digest()) + body


def _lines(decrees: Collection[Decree]) -> list[bytes]:
    return [decree_line(decree) for decree in decrees]


def read(data: bytes) -> Export:
    """The export's content, verified; raises Refused."""
    where, todo = "export", "export it again"
    if len(data) < _HEAD.size or data[:4] != _MAGIC:
        raise Refused("not an export of a runtime's state", where, todo)
    _, version, length, digest = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if version != EXPORT:
        raise Refused(f"export version {version}, this build reads {EXPORT}", where, todo)
    if len(body) != length or hashlib.sha256(body).digest() != digest:
        raise Refused("the export is damaged", where, todo)
    try:
        export = msgspec.msgpack.decode(body, type=Export)
    except msgspec.MsgspecError as error:
        raise Refused(f"the export holds something else: {error}", where, todo) from None
    for name in _READ_HERE:
        if export.versions.get(name) != ALL[name]:
            raise Refused(f"{name} version {export.versions.get(name)}, this build reads {ALL[name]}", where, todo)
    if not {JOURNAL, BLOBS, DECREES} <= export.files.keys():
        raise Refused("the export lacks a file", where, todo)
    for name in export.files:
        if name not in (JOURNAL, BLOBS, DECREES) and not name.startswith(PREFIXES):
            raise Refused(f"an unknown file {name!r}", where, todo)
    try:
        journal.recover(export.files[JOURNAL], (export.block, export.hash), journal.read_blobs(export.files[BLOBS])[0])
    except FailStop as stop:
        raise Refused(stop.what, where, todo) from None
    return export


def write(storage: Storage, data: bytes) -> None:
    """Put an export onto an empty disk; whoever boots from it makes it durable. Raises Refused.

    A machine that dies before that boot is over leaves a disk that is refused or empty: import it again.
    """
    export = read(data)
    if storage.names():
        raise Refused("the disk is not empty", "restore", "give an empty one")
    offset, slot = watermark.slot_bytes(Watermark(1, export.incarnation, export.block, export.hash))
    writes = [*((name, 0, export.files[name]) for name in sorted(export.files)), (watermark.NAME, offset, slot)]
    for name, at, content in writes:
        if storage.write(name, at, content) < len(content):
            raise Refused("the disk is full", f"restore, {name}", "make room, and import onto an empty disk")
