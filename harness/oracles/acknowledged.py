"""No false acknowledgement (I29): what a failed sync covered counts only once another file has it.

The disk's own log of its syncs is compared with what the client received. After a sync of a file has failed, a further
one of the same file says nothing about the bytes of the first. Against: the error swallowed, or the sync repeated.
"""

from __future__ import annotations

from harness.history import Receipt, SyncEvent
from harness.oracles.judged import Judged
from harness.oracles.verdict import Unjudged

JOURNAL = "journal"
COUNTING = ("journal", "blobs", "watermark", "decrees")  # files without which nothing may leave


def no_false_ack(run: Judged) -> list[str]:
    """I29: each received block was synced in a file none of whose earlier syncs had failed for it.

    Nor does anything new leave after a file has been synced again of which a sync had failed.
    """
    history = run.history
    if not history.syncs or not history.receipts:
        raise Unjudged("the client received nothing" if history.syncs else "there is no record of the syncs")
    _, lines, damage = run.chained
    if damage is not None:
        raise Unjudged("the journal does not verify")
    failed = [sync for sync in history.syncs if not sync.good]
    if not failed:
        return []
    found = []
    good = {role: [s for s in history.syncs if s.good and _role(s) == role] for role in COUNTING}
    for index, receipt in enumerate(history.receipts):
        if receipt.at < failed[0].at:
            continue
        again = _again(good, failed, receipt)
        if again:
            found.append(f"receipt {index}: block {receipt.block} was received {again}")
        elif 0 < receipt.block <= len(lines) and not _proved(
            good[JOURNAL], failed, receipt, lines[receipt.block - 1].end
        ):
            found.append(f"receipt {index}: block {receipt.block} was received, and no good sync covers it")
    return found


def _role(sync: SyncEvent) -> str:
    return sync.name.removesuffix(".new")


def _again(good: dict[str, list[SyncEvent]], failed: list[SyncEvent], receipt: Receipt) -> str:
    """Which sync of a file that had failed before made this receipt possible; "" for none."""
    for syncs in good.values():
        newest = next((sync for sync in reversed(syncs) if sync.at <= receipt.at), None)
        if newest is None:
            continue
        earlier = next((f for f in failed if f.file == newest.file and f.at <= newest.at), None)
        if earlier is not None:
            what = f"after the sync of {newest.name} at {newest.at} ns"
            return f"{what}, and the one of the same file at {earlier.at} ns had failed"
    return ""


def _proved(syncs: list[SyncEvent], failed: list[SyncEvent], receipt: Receipt, end: int) -> bool:
    """Whether the journal's first `end` bytes were synced by then, in a file that had not lost any of them.

    The newest of `syncs`, the good ones of the journal, are the likeliest to have.
    """
    return any(
        sync.at <= receipt.at
        and sync.size >= end
        and not any(f.file == sync.file and f.at <= sync.at and f.low < end for f in failed)
        for sync in reversed(syncs)
    )
