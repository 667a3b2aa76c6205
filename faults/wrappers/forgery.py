"""A journal edited by another hand: blocks from elsewhere, gone, swapped, doubled, or altered and chained anew.

All of it lies in the synced part: what lies behind the watermark proves nothing, and a forger who can rewrite the
watermark as well is not kept out by checksums.
"""

from __future__ import annotations

import msgspec

from runtime import journal


def forged(data: bytes, synced: int, how: str, block: int) -> bytes | None:
    """The journal after `how` at one of its first `synced` blocks; None where that cannot be done."""
    lines = data.splitlines(keepends=True)
    if synced < 3 or len(lines) <= synced:
        return None
    at = 1 + block % (synced - 1)  # and there is one behind it that was synced
    other = at + 1 if at + 1 < synced else 1
    if how == "cut":
        del lines[at]
    elif how == "swap":
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
    elif how == "dup":
        lines.insert(at, lines[at])
    elif how == "splice":
        lines[at] = lines[other].replace(b'{"block":%d,' % other, b'{"block":%d,' % at, 1)
    else:
        return _chained_anew(data, at)
    return b"".join(lines)


def _chained_anew(data: bytes, at: int) -> bytes | None:
    """One block says something else, and every link from it on is right."""
    verified = journal.read(data)
    if verified.damage or len(verified.lines) < at:
        return None
    made, prev = [verified.header], journal.GENESIS
    for line in verified.lines:
        body = line.body
        if line.number == at:
            root = "" if line.block.root else "0" * 64
            body = journal.encode_block(msgspec.structs.replace(line.block, root=root))
        link = journal.link(prev, body)
        made.append(journal.line_bytes(line.number, body, link, prev))
        prev = link
    return b"".join(made)
