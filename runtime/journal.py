"""The journal: one block per tick, one JSON line per block, one link of a hash chain per line.

Guarantees (LOG-1): any flipped, cut, swapped or spliced line is found and the first bad block named; beyond the
synced watermark the longest prefix that verifies is kept. Guards against torn, lost and zero-filled writes.

A line is `{"block":N,"body":{…},"hash":H,"prev":P}` with H = sha256(P as hex + body bytes); the body is canonical
JSON (sorted keys, integers and strings). Line 0, the header, is checksummed but outside the chain. Effect payloads
over 256 bytes stand as `{"sha256":…,"size":…}` beside a blob.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

import msgspec
from msgspec import Struct

from runtime.errors import FailStop, Refused
from runtime.state import Decree, Effect, Inference, Input
from runtime.versions import ALL, JOURNAL

GENESIS = "0" * 64
INLINE_MAX = 256
_BLOB_HEAD = struct.Struct("<32sI")


class BlobRef(Struct, frozen=True, gc=False):
    sha256: str
    size: int


class JournalEffect(Struct, frozen=True, array_like=True, gc=False):
    op: str
    target: int
    payload: bytes | BlobRef


class StepEntry(Struct, frozen=True, gc=False):
    """One step: `inbox` are the sequence numbers it consumed, `seq` the first one given to its effects."""

    agent: int
    effects: tuple[JournalEffect, ...]
    image: str
    inbox: tuple[int, ...]
    kind: str
    n: int
    seq: int
    status: str
    views: tuple[tuple[int, int], ...]


class InferenceEntry(Struct, frozen=True, gc=False):
    """One inference result as the journal holds it: `kv` are the KV cache's bytes for the request's tokens."""

    kv: bytes | BlobRef
    logits: str
    request: int
    token: int


Event = tuple[str | int, ...]


class Block(Struct, frozen=True, gc=False):
    """One tick. `root` is the state's digest after it, where a state snapshot was due, else ""."""

    decrees: tuple[Decree, ...]
    events: tuple[Event, ...]
    inferences: tuple[InferenceEntry, ...]
    inputs: tuple[Input, ...]
    root: str
    steps: tuple[StepEntry, ...]
    tick: int


class _Header(Struct):
    """What a reader needs of line 0."""

    versions: dict[str, int] = {}


class Line(NamedTuple):
    """One verified line: number, hash, decoded block, the body's bytes, and the file offset of the line's end."""

    number: int
    hash: str
    block: Block
    body: bytes
    end: int


class Verified(NamedTuple):
    """The longest prefix that verifies, and what is wrong after it ("" when the file ends there)."""

    header: bytes
    lines: list[Line]
    damage: str


_BLOB_KEY = b'"sha256":'  # in the body of every block that refers to a blob
_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(Block, strict=True)


def encode_block(block: Block) -> bytes:
    return _encoder.encode(block)


def link(prev: str, body: bytes) -> str:
    return hashlib.sha256(prev.encode() + body).hexdigest()


def line_bytes(number: int, body: bytes, hash_: str, prev: str) -> bytes:
    return b'{"block":%d,"body":%b,"hash":"%b","prev":"%b"}\n' % (number, body, hash_.encode(), prev.encode())


def header_bytes(fields: dict[str, str | int]) -> bytes:
    return _header_line(_encoder.encode({"versions": ALL, **fields}))


def _header_line(body: bytes) -> bytes:
    return b'{"header":%b,"sum":"%b"}\n' % (body, hashlib.sha256(body).hexdigest().encode())


def stored(payload: bytes, blobs: list[tuple[str, bytes]]) -> bytes | BlobRef:
    """The payload as a line holds it; a long one is added to the blobs (digest, bytes) to be stored beside."""
    if len(payload) <= INLINE_MAX:
        return payload
    digest = hashlib.sha256(payload).hexdigest()
    blobs.append((digest, payload))
    return BlobRef(digest, len(payload))


def payload_of(held: bytes | BlobRef, blobs: dict[str, bytes]) -> bytes:
    """The inverse; raises KeyError when the blob is missing."""
    return held if isinstance(held, bytes) else blobs[held.sha256]


def journal_effects(effects: tuple[Effect, ...], blobs: list[tuple[str, bytes]]) -> tuple[JournalEffect, ...]:
    """A step's effects as a line holds them; short ones are that already, field by field."""
    for effect in effects:
        if len(effect.payload) > INLINE_MAX:
            return tuple([JournalEffect(e.op, e.target, stored(e.payload, blobs)) for e in effects])
    return effects  # type: ignore[return-value]  # field by field the same


def effect_of(entry: JournalEffect, blobs: dict[str, bytes]) -> Effect:
    return Effect(entry.op, entry.target, payload_of(entry.payload, blobs))


def inference_of(entry: InferenceEntry, blobs: dict[str, bytes]) -> Inference:
    return Inference(entry.request, entry.token, entry.logits, payload_of(entry.kv, blobs))


def _parse(line: bytes, number: int, prev: str) -> tuple[str, Block, bytes] | str:
    """One line's (hash, block, body), or what is wrong with it."""
    head = b'{"block":%d,"body":' % number
    tail = b',"hash":"'
    if not line.startswith(head) or len(line) < len(head) + 150:
        return f"block {number} does not start as block {number}"
    end = len(line) - (len(tail) + 64 + 10 + 64 + 2)  # ,"hash":"…","prev":"…"}
    body = line[len(head) : end]
    hash_ = link(prev, body)
    if line != line_bytes(number, body, hash_, prev)[:-1]:
        return f"block {number} does not continue the chain"
    try:
        return hash_, _decoder.decode(body), body
    except msgspec.MsgspecError as error:
        return f"block {number} is chained but not a block: {error}"


def read(data: bytes) -> Verified:
    """Verify a journal file from its first byte; the header's damage leaves no lines."""
    if not data:
        return Verified(b"", [], "")
    first = data.find(b"\n")
    header = data[: first + 1]
    problem = _check_header(header)
    if problem:
        return Verified(b"", [], problem)
    lines: list[Line] = []
    prev, position = GENESIS, first + 1
    while position < len(data):
        number = len(lines) + 1
        newline = data.find(b"\n", position)
        if newline < 0:
            return Verified(header, lines, f"block {number} is cut short")
        parsed = _parse(data[position:newline], number, prev)
        if isinstance(parsed, str):
            return Verified(header, lines, parsed)
        prev, position = parsed[0], newline + 1
        lines.append(Line(number, parsed[0], parsed[1], parsed[2], position))
    return Verified(header, lines, "")


def _check_header(header: bytes) -> str:
    if not header.endswith(b"\n") or len(header) < 90 or not header.startswith(b'{"header":'):
        return "the header is damaged"
    body = header[10:-75]
    if header != _header_line(body):
        return "the header is damaged"
    try:
        versions = msgspec.json.decode(body, type=_Header).versions
    except msgspec.MsgspecError:
        return "the header is checksummed but not a header"
    if versions.get("journal") != JOURNAL:
        raise Refused(
            f"journal version {versions.get('journal')} is not readable here",
            "journal header",
            f"this build reads version {JOURNAL}",
        )
    return ""


def versions(data: bytes) -> dict[str, int]:
    """What the header of a journal file says it was written with; nothing when it does not verify."""
    header = data[: data.find(b"\n") + 1]
    if _check_header(header):
        return {}
    return msgspec.json.decode(header[10:-75], type=_Header).versions


def verify(data: bytes) -> int | None:
    """The number of the first bad block (0 is the header), None when the whole file verifies."""
    verified = read(data)
    if not verified.damage:
        return None
    return len(verified.lines) + 1 if verified.header else 0


def recover(data: bytes, watermark: tuple[int, str], blobs: dict[str, bytes], cut_short: str = "") -> Verified:
    """The prefix to go on from; raises FailStop when anything up to the watermark (block, hash) is damaged.

    `cut_short` says why no more than `data` could be read, "" where that is the whole file.
    """
    verified = read(data)
    lines, damage = verified.lines, cut_short or verified.damage
    for index, line in enumerate(lines):
        missing = _missing_blob(line.block, blobs) if _BLOB_KEY in line.body else ""
        if missing:
            lines, damage = lines[:index], f"block {line.number} lacks blob {missing[:12]}"
            break
    block, hash_ = watermark
    if len(lines) < block:
        reason = damage or "the journal ends earlier"
        first = len(lines) + 1 if verified.header else 0
        raise FailStop("watermark", f"synced up to block {block}, but {reason}", f"journal, block {first}", first)
    if block and lines[block - 1].hash != hash_:
        raise FailStop("watermark", f"block {block} is not the one that was synced", f"journal, block {block}", block)
    return Verified(verified.header, lines, damage)


def _missing_blob(block: Block, blobs: dict[str, bytes]) -> str:
    held = [effect.payload for step in block.steps for effect in step.effects]
    held += [entry.kv for entry in block.inferences]
    for payload in held:
        if isinstance(payload, BlobRef) and payload.sha256 not in blobs:
            return payload.sha256
    return ""


def digest(data: bytes) -> str:
    """The journal's digest: the last link of its chain, or the genesis when it has no block."""
    verified = read(data)
    if verified.damage:
        raise FailStop("chain", verified.damage, "journal")
    return verified.lines[-1].hash if verified.lines else GENESIS


def blob_bytes(digest_: str, payload: bytes) -> bytes:
    return _BLOB_HEAD.pack(bytes.fromhex(digest_), len(payload)) + payload


def read_blobs(data: bytes) -> tuple[dict[str, bytes], int]:
    """All blobs that verify, from the first byte on, and the offset at which the first bad one begins."""
    blobs: dict[str, bytes] = {}
    position = 0
    while position + _BLOB_HEAD.size <= len(data):
        raw, size = _BLOB_HEAD.unpack_from(data, position)
        payload = data[position + _BLOB_HEAD.size : position + _BLOB_HEAD.size + size]
        if len(payload) != size or hashlib.sha256(payload).digest() != raw:
            break
        blobs[raw.hex()] = payload
        position += _BLOB_HEAD.size + size
    return blobs, position
