"""An independent reader of the journal's bytes: json and hashlib, nothing of the runtime's own reader and verifier.

It guarantees that a fault in the runtime's code for framing, hashing or reading shows as a difference. It reads any
bytes: damage ends the reading, and `Journal.damage` names the first block that does not verify and why.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from typing import Any, NamedTuple

GENESIS = "0" * 64
_HASH, _PREV = ',"hash":"', '","prev":"'
_HEAD, _SUM = b'{"header":', len(',"sum":""}') + 64
_SUFFIX = len(_HASH) + 64 + len(_PREV) + 64 + len('"}')


class JournalEffect(NamedTuple):
    """`payload` as the journal holds it: base64 text, or {"sha256": hex, "size": bytes}."""

    op: str
    target: int
    payload: str | dict[str, Any]

    def is_of(self, data: bytes) -> bool:
        """Whether the payload stands for exactly these bytes; a payload of any other form stands for none."""
        if isinstance(self.payload, str):
            return self.payload == binascii.b2a_base64(data, newline=False).decode("ascii")
        return self.payload == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


class Step(NamedTuple):
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


class Block(NamedTuple):
    """One line that verified; `start` and `end` are its bytes in the file, `end` behind the line feed."""

    block: int
    tick: int
    start: int
    end: int
    body: dict[str, Any]
    hash: str
    inputs: tuple[dict[str, Any], ...]
    decrees: tuple[dict[str, Any], ...]
    steps: tuple[Step, ...]
    events: tuple[tuple[Any, ...], ...]
    root: str
    inferences: tuple[dict[str, Any], ...] = ()


class Journal(NamedTuple):
    """`head` is the length of line 0 in bytes; `damage` is (block, reason) of the first bad line, None when whole."""

    header: dict[str, Any]
    head: int
    blocks: tuple[Block, ...]
    damage: tuple[int, str] | None


def _step(at: tuple[int, int], tick: int, raw: dict[str, Any]) -> Step:
    return Step(
        at,
        tick,
        raw["agent"],
        raw["n"],
        raw["kind"],
        raw["status"],
        tuple(map(JournalEffect._make, raw["effects"])),
        tuple(raw["inbox"]),
        tuple(map(tuple, raw["views"])),
        raw["seq"],
        raw["image"],
    )


def _block(number: int, start: int, end: int, body: dict[str, Any], link: str) -> Block:
    tick = body["tick"]
    return Block(
        number,
        tick,
        start,
        end,
        body,
        link,
        tuple(body["inputs"]),
        tuple(body["decrees"]),
        tuple([_step((number, i), tick, raw) for i, raw in enumerate(body["steps"])]),
        tuple([tuple(event) for event in body["events"]]),
        body["root"],
        tuple(body.get("inferences", ())),
    )


def _unframe(line: bytes, number: int, previous: str) -> tuple[bytes, str]:
    """The body of one line and its hash; raises ValueError naming what does not verify."""
    prefix = b'{"block":%d,"body":' % number
    if not line.startswith(prefix):
        raise ValueError("its number is not the next one")
    suffix = line[-_SUFFIX:].decode("ascii", "replace")
    link, before = suffix[len(_HASH) : len(_HASH) + 64], suffix[-66:-2]
    if len(line) < len(prefix) + _SUFFIX or suffix != f'{_HASH}{link}{_PREV}{before}"}}':
        raise ValueError("it is not a whole line")
    if before != previous:
        raise ValueError("its prev is not the hash of the block before it")
    body = line[len(prefix) : -_SUFFIX]
    if hashlib.sha256(previous.encode("ascii") + body).hexdigest() != link:
        raise ValueError("its hash is not that of its body")
    return body, link


def _header(line: bytes) -> dict[str, Any]:
    inner, suffix = line[len(_HEAD) : -_SUM], line[-_SUM:]
    if not line.startswith(_HEAD) or suffix != b',"sum":"%b"}' % hashlib.sha256(inner).hexdigest().encode("ascii"):
        raise ValueError("its sum is not that of its bytes")
    header = json.loads(inner)
    if not isinstance(header, dict):
        raise ValueError("it is not an object")
    return header


class Chained(NamedTuple):
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
        found.append(Chained(number, start, end, body, previous))
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
            blocks.append(_block(line.block, line.start, line.end, json.loads(line.body), line.hash))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            damage = (line.block, f"its body is no block: {error!r}")
            break
    return Journal(_header(data[: head - 1]) if head else {}, head, tuple(blocks), damage)
