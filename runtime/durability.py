"""Durability: append blocks, sync them, move the watermark, and only then let a block's release go.

Order for a group of blocks: blobs and journal written, both synced, watermark written, synced, released. At most one
group is under way; blocks that are committed meanwhile form the next. A crash anywhere leaves a journal of which
everything released is a prefix.
"""

from __future__ import annotations

from runtime import journal, watermark
from runtime.errors import FailStop
from runtime.fold import Committed
from runtime.ports import Storage
from runtime.watermark import Watermark

JOURNAL = "journal"
BLOBS = "blobs"


class Durability:
    """The journal's files of one incarnation. `written` and `durable` are block numbers."""

    def __init__(self, storage: Storage, mark: Watermark, header: bytes) -> None:
        self._storage = storage
        self._mark = mark
        self._header = header
        self.hash = mark.hash
        self.written = self.durable = mark.block
        self._end = 0
        self._blob_end = 0
        self._blobs_dirty = False
        self._known_blobs: set[str] = set()  # membership only, never iterated
        self._stage = ""
        self._tickets: list[int] = []
        self._group = mark
        self._synced = (mark.block, mark.hash)

    def resume(self, end: int, blob_end: int, blobs: dict[str, bytes]) -> None:
        """Go on behind what recovery kept: file ends in bytes."""
        self._end, self._blob_end = end, blob_end
        self._known_blobs = set(blobs)

    @property
    def synced(self) -> tuple[int, str]:
        """(block, hash) up to which all may leave."""
        return self._synced

    @property
    def idle(self) -> bool:
        return not self._stage and self.durable == self.written

    def append(self, committed: Committed) -> None:
        for digest, payload in committed.blobs:
            if digest not in self._known_blobs:
                data = journal.blob_bytes(digest, payload)
                self._storage.write(BLOBS, self._blob_end, data)
                self._blob_end += len(data)
                self._known_blobs.add(digest)
                self._blobs_dirty = True
        number = self.written + 1
        body = journal.encode_block(committed.block)
        hash_ = journal.link(self.hash, body)
        line = journal.line_bytes(number, body, hash_, self.hash)
        if self._end == 0:
            line = self._header + line
        self._storage.write(JOURNAL, self._end, line)
        self._end += len(line)
        self.hash, self.written = hash_, number

    def completed(self, ticket: int) -> bool:
        """Whether the ticket was one of ours."""
        if ticket not in self._tickets:
            return False
        self._tickets.remove(ticket)
        return True

    def pump(self) -> bool:
        """Do the next step of the pipeline if it is possible; True when blocks have become durable."""
        if self._tickets:
            return False
        if self._stage == "journal":
            self._stage = "watermark"
            self._mark = self._group
            offset, data = watermark.slot_bytes(self._mark)
            self._storage.write(watermark.NAME, offset, data)
            self._tickets = [self._storage.sync(watermark.NAME)]
            return False
        if self._stage == "watermark":
            self._stage = ""
            self.durable = self._mark.block
            self._synced = (self._mark.block, self._mark.hash)
            self._submit()
            return True
        self._submit()
        return False

    def _submit(self) -> None:
        if self.written == self.durable:
            return
        self._stage = "journal"
        self._group = Watermark(self._mark.serial + 1, self._mark.incarnation, self.written, self.hash)
        if self._blobs_dirty:
            self._tickets.append(self._storage.sync(BLOBS))
            self._blobs_dirty = False
        self._tickets.append(self._storage.sync(JOURNAL))


def check_growth(hash_: str, line: journal.Line) -> None:
    """A folded block must be the journal's, byte for byte."""
    if hash_ != line.hash:
        what = f"block {line.number} folds to other bytes than the journal holds"
        raise FailStop("fold", what, f"journal, block {line.number}", line.number)
