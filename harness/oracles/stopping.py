"""Fail-stop (I30): what cannot be repaired ends the run under a name, and nothing wrong or partial has left.

What the driver saw is compared with the trace, what the client received with the undamaged run, block by block, and
the block that the stop names with what the oracles' own reader finds in the bytes that recovery read. A module that no
load may accept ends its step under a name, and leaves nothing of it. Against: damage that is passed over, a stop
without a cause, a wrong block named, outputs of a damaged history.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from harness.history import Receipt
from harness.oracles import refusals
from harness.oracles.judged import UNNAMED, Judged
from harness.oracles.reading import Block, Chained, blob_places, blobs_of, chain, newest_mark, parse
from harness.oracles.verdict import Unjudged


def fail_stop(run: Judged) -> list[str]:
    """I30: a stop has a name and a cause, and every block that the client received is the undamaged run's."""
    history = run.history
    refused = refusals.ended(run, refusals.UNUSABLE)
    if not run.damaged and not history.failure:
        if refusals.tried(run, refusals.UNUSABLE):
            return refused
        raise Unjudged("nothing was damaged, and nothing stopped")
    if run.twin is None or not run.twin.finished:
        raise Unjudged("there is no undamaged run")
    found = refused + (_stopped(run) if history.failure else [])
    theirs = {receipt.block: receipt for receipt in run.twin.receipts}
    for index, receipt in enumerate(history.receipts):
        other = theirs.get(receipt.block)
        if other is None:
            found.append(f"receipt {index}: block {receipt.block} is not in the undamaged run")
        elif _content(receipt) != _content(other):
            found.append(f"receipt {index}: block {receipt.block} is not what it is in the undamaged run")
    return found


def _content(receipt: Receipt) -> tuple[object, ...]:
    return receipt.tick, receipt.acknowledged, receipt.outputs, receipt.final


def _stopped(run: Judged) -> list[str]:
    history = run.history
    if history.failure in UNNAMED:
        return [f"the run ended as '{history.failure}', by no check: {history.failure_detail}"]
    found = []
    if not run.damaged:
        found.append(f"stopped by check '{history.failure}', and nothing had been damaged: {history.failure_detail}")
    last = len(history.trace) - 1
    told = [index for index, record in enumerate(history.trace) if record.kind == "failstop"]
    if not told:
        found.append(f"stopped by check '{history.failure}', and the trace does not say so")
    elif history.trace[told[-1]].fields["check"] != history.failure:
        check = history.trace[told[-1]].fields["check"]
        found.append(f"trace record {told[-1]}: check '{check}', the run stopped by '{history.failure}'")
    late = [i for i in range(told[-1] + 1, last + 1) if history.trace[i].kind == "released"] if told else []
    return found + [f"trace record {index}: a block was released after the stop" for index in late]


def first_bad(seen: dict[str, bytes], run: Judged | None = None) -> int | None:
    """The first bad block among those that were synced, as these files were read; None where all of them are good.

    0 is the header. Without a watermark that verifies nothing says how many were synced: then it is None as well.
    Where `run` has a journal that begins with the bytes that were read, they are parsed as its own.
    """
    data = seen.get("journal", b"")
    mark = newest_mark(seen.get("watermark", b""))
    if mark is None or not mark[0]:
        return None
    lines, damage, blocks = _read(data, run)
    places = blob_places(seen.get("blobs", b""))
    bad = damage[0] if damage else len(lines) + 1
    lacking = (block.block for block in blocks if not places.keys() >= set(blobs_of(block)))
    bad = min(bad, next(lacking, bad))
    if bad <= mark[0]:
        return bad
    return None if _is(lines[mark[0] - 1], mark[1]) else mark[0]


def _read(data: bytes, run: Judged | None) -> tuple[list[Chained], tuple[int, str] | None, Sequence[Block]]:
    """The lines of these bytes, the first that is damaged, and the blocks."""
    if run is not None and len(data) >= (whole := run.chained)[0] > 0 and run.history.journal.startswith(data):
        count = bisect_right(whole[1], len(data), key=lambda line: line.end)
        if count and whole[1][count - 1].end == len(data) and run.journal.damage is None:
            return whole[1][:count], None, run.journal.blocks[:count]
    head, lines, damage = chain(data)
    return lines, damage, parse(data, head, lines, damage).blocks


def _is(line: Chained, hash_: str) -> bool:
    return line.hash == hash_


def named(run: Judged) -> list[str]:
    """Whether recovery stopped at the first bad block of what it read, named that one, and went on from no other."""
    history = run.history
    if "watermark" not in history.seen:
        return []
    bad = first_bad(history.seen, run)
    if not run.stopped:
        return [] if bad is None else [f"block {bad}: it was bad when it was read, and recovery went on"]
    told = [int(record.fields["block"]) for record in history.trace if record.kind == "failstop"]
    said = told[-1] if told else -1
    if said != (-1 if bad is None else bad):
        whose = "no block is" if bad is None else f"block {bad} is the first"
        return [f"{whose} bad as the journal was read, the stop names {'none' if said < 0 else f'block {said}'}"]
    return []
