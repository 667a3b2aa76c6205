"""An independent reader of the journal's bytes: its own framing, hashing and types, nothing of the runtime's reader.

It guarantees that a fault in the runtime's code for framing, hashing or reading shows as a difference. It reads any
bytes: damage ends the reading, and `Journal.damage` names the first block that does not verify and why. A body counts
only if it is canonical: written anew from what was read it is the same bytes, so no key came twice, none is unknown.
"""

from __future__ import annotations

import binascii
import hashlib
import struct
from functools import cached_property
from typing import Any

import google_crc32c
import msgspec
from msgspec import Struct

GENESIS = b"0" * 64
_HASH, _PREV = b',"hash":"', b'","prev":"'
_HEAD, _SUM = b'{"header":', len(',"sum":""}') + 64
_SUFFIX = len(_HASH) + 64 + len(_PREV) + 64 + len('"}')


class JournalEffect(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """`payload` as the journal holds it: base64 text, or {"sha256": hex, "size": bytes}."""

    op: str
    target: int
    payload: str | dict[str, Any]

    def is_of(self, data: bytes) -> bool:
        """Whether the payload stands for exactly these bytes; a payload of any other form stands for none."""
        if isinstance(self.payload, str):
            return self.payload == binascii.b2a_base64(data, newline=False).decode("ascii")
        return self.payload == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


class _Entry(Struct, frozen=True, gc=False):
    """A step as the body of a block has it."""

    agent: int
    effects: tuple[JournalEffect, ...]
    image: str
    inbox: tuple[int, ...]
    kind: str
    n: int
    seq: int
    status: str
    views: tuple[tuple[int, int], ...]


class _Body(Struct, frozen=True, gc=False):
    decrees: tuple[dict[str, Any], ...]
    events: tuple[tuple[Any, ...], ...]
    inferences: tuple[dict[str, Any], ...]
    inputs: tuple[dict[str, Any], ...]
    root: str
    steps: tuple[_Entry, ...]
    tick: int


class Step(Struct, frozen=True, gc=False):
    """One executed step: `at` is its place (block, record), `seq` the first sequence number of its effects."""

    at: tuple[int, int]
    tick: int
    agent: int
    n: int
    kind: str
    status: str
    effects: tuple[JournalEffect, ...]
    inbox: tuple[int, ...]
    views: tuple[tuple[int, int], ...]
    seq: int
    image: str

    def same_but_for_place(self, other: Step) -> bool:
        """Whether both are the same step wherever they stand in a journal; their images count."""
        return msgspec.structs.astuple(self)[1:] == msgspec.structs.astuple(other)[1:]


class Block(Struct, frozen=True, gc=False):
    """One line that verified; `start` and `end` are its bytes in the file, `end` behind the line feed."""

    block: int
    tick: int
    start: int
    end: int
    hash: str
    inputs: tuple[dict[str, Any], ...]
    decrees: tuple[dict[str, Any], ...]
    steps: tuple[Step, ...]
    events: tuple[tuple[Any, ...], ...]
    root: str
    inferences: tuple[dict[str, Any], ...] = ()


Tag = tuple[int, int, int, int]  # tick, task, index, agent


class Released(Struct, frozen=True, gc=False):
    """What a client must receive with a block: the inputs acknowledged, and its outputs in order."""

    acknowledged: tuple[tuple[str, int], ...]
    final: bool
    tags: list[Tag]
    effects: list[JournalEffect]


class Journal:
    """`head` is the length of line 0 in bytes; `damage` is (block, reason) of the first bad line, None when whole."""

    def __init__(
        self, header: dict[str, Any], head: int, blocks: tuple[Block, ...], damage: tuple[int, str] | None
    ) -> None:
        self.header, self.head, self.blocks, self.damage = header, head, blocks, damage

    @cached_property
    def released(self) -> list[Released]:
        """Per block what leaves with it."""
        return [_released(block) for block in self.blocks]


def _released(block: Block) -> Released:
    tags: list[Tag] = []
    effects: list[JournalEffect] = []
    for task, step in enumerate(block.steps):
        outputs = [effect for effect in step.effects if effect.op == "output"]
        tags += [(block.tick, task, index, step.agent) for index in range(len(outputs))]
        effects += outputs
    acknowledged = tuple([(item["source"], item["n"]) for item in block.inputs])
    return Released(acknowledged, any(event[0] == "finished" for event in block.events), tags, effects)


_decode = msgspec.json.Decoder(_Body, strict=True).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def _block(line: Chained) -> Block:
    """Raises ValueError when its body is not a block, or not written in the one way that a block is."""
    body = _decode(line.body)
    if _encode(body) != line.body:
        raise ValueError("its body is not canonical")
    tick = body.tick
    steps = [
        Step((line.block, i), tick, e.agent, e.n, e.kind, e.status, e.effects, e.inbox, e.views, e.seq, e.image)
        for i, e in enumerate(body.steps)
    ]
    return Block(
        line.block,
        tick,
        line.start,
        line.end,
        line.hash,
        body.inputs,
        body.decrees,
        tuple(steps),
        body.events,
        body.root,
        body.inferences,
    )


def problem(body: bytes) -> str:
    """What is wrong with the body of a line as the body of a block, "" when nothing is."""
    try:
        return "" if _encode(_decode(body)) == body else "its body is not canonical"
    except (ValueError, RecursionError) as error:
        return " ".join(str(error).split())[:120]


def _unframe(line: bytes, number: int, previous: bytes) -> tuple[bytes, bytes]:
    """The body of one line and its hash; raises ValueError naming what does not verify."""
    prefix = b'{"block":%d,"body":' % number
    if not line.startswith(prefix):
        raise ValueError("its number is not the next one")
    if len(line) < len(prefix) + _SUFFIX:
        raise ValueError("it is not a whole line")
    body, suffix = line[len(prefix) : -_SUFFIX], line[-_SUFFIX:]
    link, before = suffix[len(_HASH) : len(_HASH) + 64], suffix[-66:-2]
    if suffix != b'%b%b%b%b"}' % (_HASH, link, _PREV, before):
        raise ValueError("it is not a whole line")
    if before != previous:
        raise ValueError("its prev is not the hash of the block before it")
    digest = hashlib.sha256(previous)
    digest.update(body)
    if digest.hexdigest().encode("ascii") != link:
        raise ValueError("its hash is not that of its body")
    return body, link


def _header(line: bytes) -> dict[str, Any]:
    inner, suffix = line[len(_HEAD) : -_SUM], line[-_SUM:]
    if not line.startswith(_HEAD) or suffix != b',"sum":"%b"}' % hashlib.sha256(inner).hexdigest().encode("ascii"):
        raise ValueError("its sum is not that of its bytes")
    header = msgspec.json.decode(inner)
    if not isinstance(header, dict):
        raise ValueError("it is not an object")
    return header


class Chained(Struct, frozen=True, gc=False):
    """One verified line, its body not yet parsed."""

    block: int
    start: int
    end: int
    body: bytes
    hash: str


def chain(data: bytes) -> tuple[int, list[Chained], tuple[int, str] | None]:
    """Length of line 0, the lines that verify, and (block, reason) of the first bad one; the header is block 0."""
    head = data.find(b"\n") + 1
    try:
        _header(data[: head - 1] if head else data + b"?")
    except ValueError as error:
        return 0, [], (0, str(error))
    found: list[Chained] = []
    start, previous = head, GENESIS
    while start < len(data):
        number, end = len(found) + 1, data.find(b"\n", start) + 1
        if not end:
            return head, found, (number, "it does not end with a line feed")
        try:
            body, previous = _unframe(data[start : end - 1], number, previous)
        except ValueError as error:
            return head, found, (number, str(error))
        found.append(Chained(number, start, end, body, previous.decode("ascii")))
        start = end
    return head, found, None


def read(data: bytes) -> Journal:
    """All of a journal up to the first line that does not verify; a body that is not a block counts as damage."""
    return parse(data, *chain(data))


def parse(data: bytes, head: int, lines: list[Chained], damage: tuple[int, str] | None) -> Journal:
    """The blocks of lines that verified already, as `chain` returned them."""
    blocks: list[Block] = []
    for line in lines:
        try:
            blocks.append(_block(line))
        except (ValueError, KeyError, TypeError) as error:
            damage = (line.block, f"its body is no block: {error!r}")
            break
    return Journal(_header(data[: head - 1]) if head else {}, head, tuple(blocks), damage)


def blobs_of(block: Block) -> list[str]:
    """The digests of the payloads that stand beside this block."""
    held = [effect.payload for step in block.steps for effect in step.effects]
    held += [entry["kv"] for entry in block.inferences]
    return [str(payload["sha256"]) for payload in held if isinstance(payload, dict)]


def blob_places(data: bytes) -> dict[str, int]:
    """Digest -> end, for the blobs of a file as far as they verify: 32 bytes of sha256, 4 of length, the payload."""
    places: dict[str, int] = {}
    at = 0
    while at + 36 <= len(data):
        end = at + 36 + int.from_bytes(data[at + 32 : at + 36], "little")
        if end > len(data) or hashlib.sha256(data[at + 36 : end]).digest() != data[at : at + 32]:
            break
        places[data[at : at + 32].hex()] = end
        at = end
    return places


def newest_mark(data: bytes) -> tuple[int, str] | None:
    """(block, hash) that a watermark's file vouches for; None when neither of its two slots verifies."""
    best: tuple[int, int, str] | None = None
    for start in (0, 512):
        head, body = data[start : start + 8], b""
        if len(head) == 8:
            length, checksum = struct.unpack("<II", head)
            body = data[start + 8 : start + 8 + length]
        if body and len(body) == length and google_crc32c.value(body) == checksum:
            serial, _, block, hash_ = msgspec.msgpack.decode(body)
            if best is None or int(serial) > best[0]:
                best = (int(serial), int(block), str(hash_))
    return best[1:] if best else None
