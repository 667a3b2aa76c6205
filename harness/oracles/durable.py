"""What is kept: the chain (I27), durability of the acknowledged prefix (I28), the client's ledger.

The journal is read by the oracles' own reader; receipts were written on the client's side, crashes by the simulated
disk. Against: acknowledgements that leave early, a verifier that overlooks damage, lost or repeated releases.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right

from harness.history import History, Receipt
from harness.oracles.judged import Judged
from harness.oracles.pooled import hasty_decrees
from harness.oracles.reading import Block, Chained, Released, chain, newest_mark
from harness.oracles.stopping import named
from harness.oracles.verdict import Unjudged
from runtime import journal as runtime_journal

NEAR = 64
BEHIND = 4
HEADER_FLIPS = 8


def chained(run: Judged) -> list[str]:
    """I27: the chain verifies, and a flip, a cut, a swap and a splice are each found at their block by both readers.

    So is what was damaged on the disk: a recovery that read it stopped, and named the first bad block.
    """
    if not run.history.journal:
        raise Unjudged("there is no journal")
    if run.stopped:
        return named(run)
    _, lines, damage = run.chained
    if damage is not None:
        return [f"block {damage[0]}: {damage[1]}"]
    found = named(run) + run.settled_by_journal(_read_alike)
    if len(lines) < 2:
        raise Unjudged("the journal has fewer than two blocks to swap")
    # The same journal of the same scenario and seed is damaged in the same places.
    return found + run.settled_by_journal(_damage_found)


def _damage_found(run: Judged) -> list[str]:
    head, lines, _ = run.chained
    bounds = [(0, head)] + [(line.start, line.end) for line in lines]
    return [
        one
        for name, data, expected in tampered(run.history, bounds)
        for one in _disagreement(name, data, expected, chain(data)[2])
    ]


def _read_alike(run: Judged) -> list[str]:
    return _disagreement("the journal as it is", run.history.journal, None, run.chained[2])


def _disagreement(name: str, data: bytes, expected: int | None, damage: tuple[int, str] | None) -> list[str]:
    """`damage` is the first that the oracle's reader finds."""
    ours = damage[0] if damage else None
    try:
        theirs = runtime_journal.verify(data)
    except Exception as error:
        return [f"{name}: verify raises {type(error).__name__} instead of naming block {expected}"]
    return [
        f"{name}: the first bad block is {expected}, {whose} says {said}"
        for whose, said in (("the oracle's reader", ours), ("the runtime's verify", theirs))
        if said != expected
    ]


def tampered(history: History, bounds: list[tuple[int, int]]) -> list[tuple[str, bytes, int]]:
    """Damaged copies: (what was done, the bytes, the first bad block).

    Places follow from scenario and seed alone: a plan that lost faults or inputs is damaged alike, so what this finds
    can be reduced. One flip is anywhere and `HEADER_FLIPS` are in the header; whole blocks are moved among the first
    `NEAR`, as the chain's rule is the same everywhere. A copy ends `BEHIND` whole blocks after its damage: a reader
    that overlooks the damage accepts what is left, or names a later block, and no other reads on.
    """
    key = hashlib.shake_256(f"{history.plan.scenario}/{history.plan.seed}/tampered".encode())
    picks = struct.unpack(f">{4 + HEADER_FLIPS}Q", key.digest(8 * (4 + HEADER_FLIPS)))
    data, last = history.journal, min(len(bounds) - 1, NEAR)
    cut = 1 + picks[1] % (last - 1)  # a cut of the last block leaves a whole, shorter journal: the watermark's to find
    swap = 1 + picks[2] % (last - 1)
    into = 1 + picks[3] % last
    other = 1 + (into + picks[3] // last % (last - 1)) % last

    def line(number: int) -> bytes:
        return data[slice(*bounds[number])]

    def without(first: int, behind: int, put: bytes) -> bytes:
        return b"".join((data[: bounds[first][0]], put, data[bounds[behind][1] : _end(bounds, behind)]))

    def flipped(pick: int, length: int) -> tuple[str, bytes, int]:
        where = pick // 8 % length
        hit = next(i for i, (start, end) in enumerate(bounds) if start <= where < end)
        copy = bytearray(data[: _end(bounds, hit)])
        copy[where] ^= 1 << pick % 8
        return f"bit flipped in byte {where}", bytes(copy), hit

    renamed = line(other).replace(b'{"block":%d,' % other, b'{"block":%d,' % into, 1)
    return [
        flipped(picks[0], len(data)),
        (f"block {cut} cut out", without(cut, cut, b""), cut),
        (f"blocks {swap} and {swap + 1} swapped", without(swap, swap + 1, line(swap + 1) + line(swap)), swap),
        (f"block {other} spliced in as block {into}", without(into, into, renamed), into),
        *(flipped(pick, bounds[0][1]) for pick in picks[4:]),
    ]


def _end(bounds: list[tuple[int, int]], block: int) -> int:
    return bounds[min(block + BEHIND, len(bounds) - 1)][1]


def watermark(data: bytes) -> int:
    """The block that a watermark file vouches for; 0 when neither of its two slots verifies."""
    mark = newest_mark(data)
    return mark[0] if mark else 0


def prefix_durable(run: Judged) -> list[str]:
    """I28: a block's receipt comes after its bytes and a watermark that covers it are durable, and outlives crashes.

    A decree is durable before any block counts on it.
    """
    history = run.history
    if not history.receipts:
        raise Unjudged("the client received nothing")
    _, lines, _ = run.chained
    found = _undurable(run) + hasty_decrees(run)
    for number, crash in enumerate(history.crashes):
        received = max((r.block for r in history.receipts if r.at <= crash.at), default=0)
        kept, written = _lines(run, crash.kept), _lines(run, crash.journal)
        if len(kept) < received:
            found.append(f"crash {number}: {len(kept)} blocks were kept, block {received} had been received")
        for place in range(len(kept)):
            if place >= len(written) or kept[place].hash != written[place].hash:
                found.append(f"crash {number}: kept block {place + 1} is not the one that was written")
                break
        for place in range(min(received, len(kept))):
            if place >= len(lines) or kept[place].hash != lines[place].hash:
                found.append(f"crash {number}: block {place + 1} was received, and is another one in the end")
                break
    return found


def _undurable(run: Judged) -> list[str]:
    """Receipts that came before all that their block needs was on the disk."""
    _, lines, _ = run.chained
    found = []
    synced = {mark: watermark(mark) for mark in {receipt.watermark for receipt in run.history.receipts}}
    for index, receipt in enumerate(run.history.receipts):
        if not 0 < receipt.block <= len(lines):
            found.append(f"receipt {index}: block {receipt.block} is not in the journal")
        elif receipt.block > (marked := synced[receipt.watermark]):
            found.append(f"receipt {index}: block {receipt.block} was received, the synced watermark said {marked}")
        elif lines[receipt.block - 1].end > receipt.durable_bytes:
            found.append(
                f"receipt {index}: block {receipt.block} ends at byte {lines[receipt.block - 1].end}, "
                f"{receipt.durable_bytes} were durable when it was received"
            )
        elif run.blob_ends[receipt.block - 1] > receipt.durable_blobs:
            found.append(
                f"receipt {index}: block {receipt.block} needs {run.blob_ends[receipt.block - 1]} bytes of the blobs, "
                f"{receipt.durable_blobs} were durable when it was received"
            )
    return found


def _lines(run: Judged, data: bytes) -> list[Chained]:
    """The lines of these bytes that verify; where the journal begins with them, they are the journal's own."""
    head, lines, _ = run.chained
    if len(data) < head or not run.history.journal.startswith(data):
        return chain(data)[1]
    return lines[: bisect_right(lines, len(data), key=lambda line: line.end)]


def ledger(run: Judged) -> list[str]:
    """The client's ledger: each receipt says what its block says; blocks arrive in order, all of them in the end."""
    history = run.history
    if not history.receipts:
        raise Unjudged("the client received nothing")
    found: list[str] = []
    blocks, released = run.journal.blocks, run.journal.released
    first: dict[int, int] = {}
    newest = 0
    for index, receipt in enumerate(history.receipts):
        if receipt.block in first:
            earlier = history.receipts[first[receipt.block]]
            if _content(receipt) != _content(earlier):
                found.append(f"receipt {index}: block {receipt.block} is not what receipt {first[receipt.block]} held")
            continue
        first[receipt.block] = index
        if receipt.block != newest + 1:
            found.append(f"receipt {index}: block {receipt.block} follows block {newest}")
        newest = max(newest, receipt.block)
        if not 0 < receipt.block <= len(blocks):
            found.append(f"receipt {index}: block {receipt.block} is not in the journal")
        else:
            found += [
                f"receipt {index}: {line}"
                for line in _differs(receipt, blocks[receipt.block - 1], released[receipt.block - 1])
            ]
    if history.finished:
        found += [f"block {b.block} was never received" for b in blocks if b.block not in first]
    return found + _outputs_once(history)


def _content(receipt: Receipt) -> tuple[object, ...]:
    return receipt.tick, receipt.acknowledged, receipt.outputs, receipt.final


def _differs(receipt: Receipt, block: Block, due: Released) -> list[str]:
    """What in the receipt is not what the journal's block says."""
    found = []
    if receipt.tick != block.tick:
        found.append(f"tick {receipt.tick}, block {block.block} is tick {block.tick}")
    if receipt.acknowledged != due.acknowledged:
        found.append(f"acknowledges {list(receipt.acknowledged)[:4]}, not the inputs of block {block.block}")
    if receipt.final != due.final:
        found.append(f"final is {receipt.final}, block {block.block} says otherwise")
    tags = [(o.tick, o.task, o.index, o.agent) for o in receipt.outputs]
    if tags != due.tags:
        found.append(f"outputs {tags[:4]}, block {block.block} has {due.tags[:4]}")
    else:
        for tag, output, effect in zip(tags, receipt.outputs, due.effects, strict=True):
            if not effect.is_of(output.payload):
                found.append(f"output {tag} has other bytes than block {block.block} step {tag[1]}")
    return found


def _outputs_once(history: History) -> list[str]:
    """An output's tag arises in one block only; the same block received again does not count."""
    found, seen = [], dict[tuple[int, int, int], int]()
    for index, receipt in enumerate(history.receipts):
        for output in receipt.outputs:
            tag = (output.tick, output.task, output.index)
            if seen.setdefault(tag, receipt.block) != receipt.block:
                found.append(f"receipt {index}: output {tag} was received with block {seen[tag]} already")
    return found
