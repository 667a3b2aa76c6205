"""Module signatures (SEC-1): the WebAssembly tool conventions in wasmsign2's encoding, signed and strictly verified.

What is accepted was signed, byte for byte, by a key that counts: every byte of the module is either under the hash or
has one value only. So no bit can be flipped, nothing appended, no part cut off, no length padded. Each refusal has a
name (`ERRORS`). Nothing of a module is executed or compiled here, and work is bounded: hashes are compared before any
signature is, and at most `SIGNATURES_MAX` signatures are tried.

    module  = 00 61 73 6d 01 00 00 00 | signature section | sections
    section = 00 | length | 09 "signature" | payload;  a detached file is the payload
    payload = 01 01 01 | number of sets | sets, each: length | number of hashes | hashes | number of signatures |
              signatures, each: length | key id's length | key id | 01 | 64 | 64 bytes
    signed  = "wasmsig" 01 01 01 | hashes

The hash is SHA-256 of every byte after the signature section; where a custom section "signature_delimiter" ends a
part it is taken and rolls on. Strictly, a set counts only if its hashes are those of all parts of the module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from runtime.errors import SignatureRefused
from runtime.wasm import ed25519
from runtime.wasm.binary import CUSTOM, encode_u32
from runtime.wasm.trust import KEY_ID_MAX, Key, TrustStore

HEADER = b"\x00asm\x01\x00\x00\x00"
HASHES_MAX, SIGNATURES_MAX, SECTIONS_MAX = 64, 256, 10_000
DELIMITER_BYTES = 16
REMEMBERED_MAX = 4_096
_DOMAIN = b"wasmsig\x01\x01\x01"
_NAME, _DELIMITER = b"signature", b"signature_delimiter"
_ALGORITHM = 1

ERRORS: Mapping[str, str] = {
    "not_wasm": "it does not begin as a wasm module does",
    "component": "its header is a component's; the header is not under the hash, so no other than a module's is taken",
    "wasm_version": "its header has another version than 1",
    "unsigned": "it has no signature section, and no detached signature was given",
    "misplaced": "a signature section stands elsewhere than first, or there are two",
    "both": "it has a signature section, and a detached signature was given as well",
    "truncated": "it ends, or a section, set or signature ends, before what it announces",
    "padded": "a length or number is not written in the fewest bytes",
    "number": "a length or number does not fit 32 bits",
    "sections": "it has too many sections",
    "delimiter": "a signature_delimiter section does not hold exactly 16 bytes",
    "specification": "the specification version is not 1",
    "content": "what is signed is not said to be a wasm module",
    "hash_function": "the hash function is not SHA-256",
    "too_many_hashes": "more than 64 sets, or hashes in a set, or parts",
    "too_many_signatures": "more than 256 signatures",
    "no_hashes": "a set without hashes",
    "no_signatures": "no set, or a set without signatures",
    "duplicate": "the same set, or the same signature in a set, twice",
    "junk": "bytes after the last record of the payload, of a set or of a signature",
    "long_key_id": "a key id longer than 64 bytes",
    "algorithm": "a signature that is not Ed25519",
    "signature_length": "a signature that does not have 64 bytes",
    "hash_mismatch": "the module is not the one that was signed",
    "cut": "the module ends after a part, and more parts were signed",
    "unsigned_part": "parts were added behind those that were signed",
    "unknown_key": "signed by nobody who is in the trust store",
    "revoked_key": "signed under a key that was revoked",
    "expired_key": "signed under a key whose time is over",
    "early_key": "signed under a key whose time has not begun",
    "weak_key": "signed under a key of small order, with which anybody can sign",
    "bad_key": "signed under a key that is no canonically encoded point",
    "s_range": "the signature's S is not below the group's order",
    "weak_r": "the signature's R is a point of small order",
    "bad_signature": "a trusted key's id, and not a signature by that key",
    "too_few_keys": "fewer different keys have signed than the trust store requires",
    "too_many_tries": "more signatures without a key id than may be tried",
}
# Which of several reasons is told: the one that came nearest to acceptance.
_NEAREST = (
    "revoked_key", "expired_key", "early_key", "bad_signature", "s_range", "weak_r", "weak_key", "bad_key",
    "unknown_key",
)  # fmt: skip
_TODO = "sign the module anew, with a key that is trusted (docs/signing.md)"


class Signature(NamedTuple):
    """`key_id` is empty where the signer named none."""

    key_id: bytes
    value: bytes


class SignedSet(NamedTuple):
    """Hashes of 32 bytes, one for each part, and who signed them."""

    hashes: tuple[bytes, ...]
    signatures: tuple[Signature, ...]


class Layout(NamedTuple):
    """A module's payload of the signature section (None: it has none), where what is hashed begins, and its hashes."""

    payload: bytes | None
    begins: int
    hashes: tuple[bytes, ...]


class Verified(NamedTuple):
    """Whose signatures counted, in the order of the payload, and the SHA-256 of each part of the module."""

    keys: tuple[str, ...]
    hashes: tuple[bytes, ...]


def verify(
    wasm: bytes, trust: TrustStore, at: datetime, detached: bytes | None = None, where: str = "module"
) -> Verified:
    """Accepts the module, or raises SignatureRefused with the name of what is wrong."""
    layout = read_layout(wasm, where)
    if layout.payload is not None and detached is not None:
        raise refused("both", where)
    payload = detached if detached is not None else layout.payload
    if payload is None:
        raise refused("unsigned", where)
    signed = _matching(read_payload(payload, where), layout.hashes, where)
    names = _signers(signed, trust, at, where)
    return Verified(names, layout.hashes)


def sign(wasm: bytes, seed: bytes, key_id: bytes = b"", where: str = "module") -> bytes:
    """The module with a signature section, to whose signatures this one is added.

    Lengths that a compiler padded are written short, since only those can be verified. Raises SignatureRefused for
    what is no module, or has this very signature already.
    """
    plain = tidy(wasm, where)
    layout = read_layout(plain, where)
    payload = _added(layout, seed, key_id, where)
    section = encode_u32(len(_NAME)) + _NAME + payload
    return HEADER + b"\x00" + encode_u32(len(section)) + section + plain[layout.begins :]


def sign_detached(wasm: bytes, seed: bytes, key_id: bytes = b"", where: str = "module") -> bytes:
    """What a detached signature file holds. Raises SignatureRefused: the module must be one that can be verified."""
    layout = read_layout(wasm, where)
    if layout.payload is not None:
        raise refused("both", where, "it is signed already: sign the module as it was before")
    return _added(layout, seed, key_id, where)


def split(wasm: bytes, delimiters: Iterator[bytes], where: str = "module") -> bytes:
    """The unsigned module with a delimiter behind each section, the next 16 (random) bytes in each."""
    plain = tidy(wasm, where)
    out = [HEADER]
    for _, start, end in _sections(plain, where):
        inner = encode_u32(len(_DELIMITER)) + _DELIMITER + next(delimiters)[:DELIMITER_BYTES]
        out += [plain[start:end], b"\x00", encode_u32(len(inner)), inner]
    return b"".join(out)


def read_layout(wasm: bytes, where: str = "module") -> Layout:
    """Where the signature is and what is hashed; raises SignatureRefused for what could not be verified at all."""
    payload, begins, last_ended = None, len(HEADER), False
    rolling, hashes = hashlib.sha256(), []
    for number, (name, start, end) in enumerate(_sections(wasm, where)):
        if name == _NAME:
            if number:
                raise refused("misplaced", where)
            cursor = _Cursor(wasm, start + 1, end, where)
            cursor.number()
            cursor.take(cursor.number())
            payload, begins = wasm[cursor.at : end], end
            continue
        rolling.update(memoryview(wasm)[start:end])
        last_ended = name == _DELIMITER
        if last_ended:
            hashes.append(rolling.digest())
    if not last_ended:
        hashes.append(rolling.digest())
    if len(hashes) > HASHES_MAX:
        raise refused("too_many_hashes", where, "put it together from fewer parts")
    return Layout(payload, begins, tuple(hashes))


def tidy(wasm: bytes, where: str = "module") -> bytes:
    """The module with its sections' lengths, and their names' lengths, in the fewest bytes."""
    out = [HEADER]
    for name, start, end in _sections(wasm, where, padded=True):
        cursor = _Cursor(wasm, start + 1, end, where, padded=True)
        cursor.number()
        content = wasm[cursor.at : end]
        if name is not None:
            cursor.take(cursor.number())
            content = encode_u32(len(name)) + name + wasm[cursor.at : end]
        out += [wasm[start : start + 1], encode_u32(len(content)), content]
    return b"".join(out)


def read_payload(payload: bytes, where: str = "module") -> tuple[SignedSet, ...]:
    """The sets of a payload; raises SignatureRefused for everything that is not in its one encoding."""
    cursor = _Cursor(payload, 0, len(payload), where)
    for error in ("specification", "content", "hash_function"):
        if cursor.byte() != 1:
            raise refused(error, where)
    count = cursor.number()
    if count > HASHES_MAX:
        raise refused("too_many_hashes", where)
    if not count:
        raise refused("no_signatures", where)
    sets: list[SignedSet] = []
    for _ in range(count):
        found = _read_set(cursor.inner())
        if any(found.hashes == known.hashes for known in sets):
            raise refused("duplicate", where)
        sets.append(found)
        if sum(len(known.signatures) for known in sets) > SIGNATURES_MAX:
            raise refused("too_many_signatures", where)
    cursor.finished()
    return tuple(sets)


def write_payload(sets: tuple[SignedSet, ...]) -> bytes:
    """The one encoding of these sets."""
    out = [b"\x01\x01\x01", encode_u32(len(sets))]
    for one in sets:
        parts = [encode_u32(len(one.hashes)), *one.hashes, encode_u32(len(one.signatures))]
        for signature in one.signatures:
            record = encode_u32(len(signature.key_id)) + signature.key_id + bytes([_ALGORITHM])
            record += encode_u32(len(signature.value)) + signature.value
            parts += [encode_u32(len(record)), record]
        body = b"".join(parts)
        out += [encode_u32(len(body)), body]
    return b"".join(out)


def refused(error: str, where: str, todo: str = _TODO) -> SignatureRefused:
    return SignatureRefused(error, ERRORS[error], where, todo)


def _read_set(cursor: _Cursor) -> SignedSet:
    where = cursor.where
    count = cursor.number()
    if count > HASHES_MAX:
        raise refused("too_many_hashes", where)
    if not count:
        raise refused("no_hashes", where)
    hashes = tuple(cursor.take(32) for _ in range(count))
    count = cursor.number()
    if count > SIGNATURES_MAX:
        raise refused("too_many_signatures", where)
    if not count:
        raise refused("no_signatures", where)
    signatures = tuple(_read_signature(cursor.inner()) for _ in range(count))
    if len(set(signatures)) < len(signatures):
        raise refused("duplicate", where)
    cursor.finished()
    return SignedSet(hashes, signatures)


def _read_signature(cursor: _Cursor) -> Signature:
    length = cursor.number()
    if length > KEY_ID_MAX:
        raise refused("long_key_id", cursor.where)
    key_id = cursor.take(length)
    if cursor.byte() != _ALGORITHM:
        raise refused("algorithm", cursor.where)
    if cursor.number() != ed25519.SIGNATURE_BYTES:
        raise refused("signature_length", cursor.where)
    value = cursor.take(ed25519.SIGNATURE_BYTES)
    cursor.finished()
    return Signature(key_id, value)


def _matching(sets: tuple[SignedSet, ...], hashes: tuple[bytes, ...], where: str) -> SignedSet:
    """The set that is about this module, all of it."""
    for one in sets:
        if one.hashes == hashes:
            return one
    if any(one.hashes[: len(hashes)] == hashes for one in sets):
        raise refused("cut", where)
    if any(hashes[: len(one.hashes)] == one.hashes for one in sets):
        raise refused("unsigned_part", where)
    raise refused("hash_mismatch", where)


def _signers(signed: SignedSet, trust: TrustStore, at: datetime, where: str) -> tuple[str, ...]:
    """Names of the keys that count; a signature without a key id may be by any key."""
    message = _DOMAIN + b"".join(signed.hashes)
    names: list[str] = []
    reasons: list[str] = []
    tries = 0
    for signature in signed.signatures:
        keys = [key for key in trust.keys if signature.key_id in (key.id, b"")]
        tries += len(keys)
        if tries > SIGNATURES_MAX:
            raise refused("too_many_tries", where)
        found = [(key.name, _judged(key, message, signature.value, at)) for key in keys]
        names += [name for name, reason in found if not reason and name not in names]
        # without an id, a key that does not fit says nothing about the others
        reasons += [reason for _, reason in found if reason] or ["unknown_key"]
    if len(names) >= trust.required:
        return tuple(names)
    if names:
        raise refused("too_few_keys", where)
    raise refused(min(reasons, key=_NEAREST.index), where)


def _judged(key: Key, message: bytes, value: bytes, at: datetime) -> str:
    return ed25519.fault(key.point, message, value) or key.standing(at)


def _added(layout: Layout, seed: bytes, key_id: bytes, where: str) -> bytes:
    """The payload with one more signature over the module's hashes."""
    if len(key_id) > KEY_ID_MAX:
        raise refused("long_key_id", where, "give a shorter key id")
    sets = read_payload(layout.payload, where) if layout.payload is not None else ()
    fresh = Signature(key_id, ed25519.sign(seed, _DOMAIN + b"".join(layout.hashes)))
    for place, one in enumerate(sets):
        if one.hashes == layout.hashes:
            if fresh in one.signatures:
                raise refused("duplicate", where, "it is signed by this key already")
            one = SignedSet(one.hashes, (*one.signatures, fresh))
            sets = (*sets[:place], one, *sets[place + 1 :])
            break
    else:
        sets = (*sets, SignedSet(layout.hashes, (fresh,)))
    payload = write_payload(sets)
    read_payload(payload, where)  # the limits hold for what is written as well
    return payload


def _sections(wasm: bytes, where: str, padded: bool = False) -> Iterator[tuple[bytes | None, int, int]]:
    """(name of a custom section or None, start, end), id and length included in the range."""
    if wasm[:8] != HEADER:
        component = wasm[:8] == b"\x00asm\x0d\x00\x01\x00"
        known = wasm[:4] == HEADER[:4]
        raise refused("component" if component else "wasm_version" if known else "not_wasm", where)
    cursor = _Cursor(wasm, len(HEADER), len(wasm), where, padded)
    for _ in range(SECTIONS_MAX):
        if cursor.at == cursor.end:
            return
        start = cursor.at
        kind = cursor.byte()
        inner = cursor.inner()
        name = None
        if kind == CUSTOM:
            name = inner.take(inner.number())
            if name == _DELIMITER and inner.end - inner.at != DELIMITER_BYTES:
                raise refused("delimiter", where)
        yield name, start, cursor.at
    if cursor.at < cursor.end:
        raise refused("sections", where)


class _Cursor:
    """Reads `data[at:end]` in its one encoding, or refuses."""

    def __init__(self, data: bytes, at: int, end: int, where: str, padded: bool = False) -> None:
        self.data, self.at, self.end, self.where, self._padded = data, at, end, where, padded

    def byte(self) -> int:
        if self.at >= self.end:
            raise refused("truncated", self.where)
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        """An unsigned LEB128 of at most 32 bits."""
        value = 0
        for shift in (0, 7, 14, 21, 28):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > 0xFFFFFFFF:
                    break
                if shift and not byte and not self._padded:
                    raise refused("padded", self.where)
                return value
        raise refused("number", self.where)

    def take(self, length: int) -> bytes:
        if length > self.end - self.at:
            raise refused("truncated", self.where)
        self.at += length
        return self.data[self.at - length : self.at]

    def inner(self) -> _Cursor:
        """A reader of the next record, behind its length."""
        length = self.number()
        if length > self.end - self.at:
            raise refused("truncated", self.where)
        self.at += length
        return _Cursor(self.data, self.at - length, self.at, self.where, self._padded)

    def finished(self) -> None:
        if self.at != self.end:
            raise refused("junk", self.where)


class Demand:
    """The load check that demands a signature which counts at one time (WAS-3, SEC-1).

    `detached` holds signature files by the SHA-256 of their module. What passed is remembered by its digest, so a
    change of the store needs a new demand; modules that run go on, since they were accepted when they were loaded.
    """

    def __init__(self, trust: TrustStore, at: datetime, detached: Mapping[str, bytes] | None = None) -> None:
        self._trust, self._at, self._detached = trust, at, dict(detached or {})
        self._passed: set[str] = set()

    def check(self, wasm: bytes, digest: str, where: str) -> None:
        """`digest` is the SHA-256 of these very bytes; raises SignatureRefused."""
        if digest in self._passed:
            return
        verify(wasm, self._trust, self._at, self._detached.get(digest), where)
        if len(self._passed) >= REMEMBERED_MAX:
            self._passed.clear()
        self._passed.add(digest)
