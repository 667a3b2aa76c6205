"""Ed25519 (RFC 8032), strict: signs, and tells by name why a signature is not accepted.

Guards against signatures that one verifier accepts and another refuses: a key or an R of small order (the identity
among them, which some libraries accept), points that are not canonically encoded, S not below the group's order. The
equation is checked without cofactor, on the encoded R. So whoever can alter a signature cannot make another valid one.

Python's integers take a time that depends on their values. The same additions are made for every scalar, but whoever
can time this process to the microsecond while it signs may learn something: sign where nobody watches. Verifying
involves no secret. A signature takes about 1 ms, a verification about 3 (docs/decisions/0021-ed25519-in-python.md).
"""

from __future__ import annotations

import functools
import hashlib
from typing import TypeAlias

SEED_BYTES, KEY_BYTES, SIGNATURE_BYTES = 32, 32, 64

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493  # the order of the base point
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)  # of -1
_WINDOWS, _BITS = 64, 4

# Extended coordinates: x = X/Z, y = Y/Z, T = XY/Z (RFC 8032, 5.1.4).
_Point: TypeAlias = "tuple[int, int, int, int]"
_IDENTITY: _Point = (0, 1, 1, 0)

# Every encoding of the eight points of small order, those that are not canonical as well. Any message has a valid
# signature under such a key, or nearly any.
SMALL_ORDER: frozenset[bytes] = frozenset(
    bytes.fromhex(text)
    for text in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
)


def public_key(seed: bytes) -> bytes:
    """The 32 bytes of the public key that belongs to a seed of 32 bytes."""
    scalar, _ = _secret(seed)
    return _encode(_times_base(scalar))


def sign(seed: bytes, message: bytes) -> bytes:
    """64 bytes; the same for the same seed and message. The public key is computed, never taken from a caller."""
    scalar, prefix = _secret(seed)
    public = _encode(_times_base(scalar))
    nonce = _reduced(prefix, message)
    commitment = _encode(_times_base(nonce))
    s = (nonce + _reduced(commitment, public, message) * scalar) % _L
    return commitment + s.to_bytes(32, "little")


def key_fault(public: bytes) -> str:
    """ "" for a public key that may be trusted, else `weak_key` (small order) or `bad_key` (no canonical point)."""
    if public in SMALL_ORDER:
        return "weak_key"
    return "" if len(public) == KEY_BYTES and _decode(public) is not None else "bad_key"


def fault(public: bytes, message: bytes, signature: bytes) -> str:
    """ "" for a valid signature, else why not: what `key_fault` says, or `s_range`, `weak_r`, `bad_signature`."""
    refused = key_fault(public)
    point = _decode(public) if not refused else None
    if point is None:
        return refused
    if len(signature) != SIGNATURE_BYTES:
        return "bad_signature"
    commitment, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= _L:
        return "s_range"
    if commitment in SMALL_ORDER:
        return "weak_r"
    x, y, z, t = point
    challenge = _reduced(commitment, public, message)
    found = _encode(_add(_times_base(s), _times((-x % _P, y, z, -t % _P), challenge)))
    return "" if found == commitment else "bad_signature"


def _secret(seed: bytes) -> tuple[int, bytes]:
    """(scalar, prefix) of a seed."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    return scalar, digest[32:]


def _reduced(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % _L


def _add(a: _Point, b: _Point) -> _Point:
    """Complete: it holds for equal points and for the identity as well, so no case is told from another."""
    m = (a[1] - a[0]) * (b[1] - b[0]) % _P
    n = (a[1] + a[0]) * (b[1] + b[0]) % _P
    c = 2 * a[3] * b[3] * _D % _P
    d = 2 * a[2] * b[2] % _P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(a: _Point) -> _Point:
    x, y, z, _ = a
    m, n = x * x % _P, y * y % _P
    h = m + n
    e = h - (x + y) * (x + y)
    g = m - n
    f = 2 * z * z + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiples(point: _Point) -> tuple[_Point, ...]:
    """0 to 15 times a point."""
    found = [_IDENTITY]
    for _ in range(15):
        found.append(_add(found[-1], point))
    return tuple(found)


def _times(point: _Point, scalar: int) -> _Point:
    multiples, total = _multiples(point), _IDENTITY
    for window in reversed(range(_WINDOWS)):
        total = _double(_double(_double(_double(total))))
        total = _add(total, multiples[scalar >> _BITS * window & 15])
    return total


@functools.cache
def _base_table() -> tuple[tuple[_Point, ...], ...]:
    """Row w: 0 to 15 times 16^w times the base point."""
    y = 4 * pow(5, _P - 2, _P) % _P
    point = _decode(y.to_bytes(32, "little"))
    assert point is not None
    rows = []
    for _ in range(_WINDOWS):
        rows.append(_multiples(point))
        point = _add(rows[-1][15], point)
    return tuple(rows)


def _times_base(scalar: int) -> _Point:
    total = _IDENTITY
    for window, row in enumerate(_base_table()):
        total = _add(total, row[scalar >> _BITS * window & 15])
    return total


def _encode(point: _Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, _P - 2, _P)
    return (y * inverse % _P | (x * inverse % _P & 1) << 255).to_bytes(32, "little")


def _decode(data: bytes) -> _Point | None:
    """The point, or None where the bytes are not the one canonical encoding of a point (RFC 8032, 5.1.3)."""
    number = int.from_bytes(data, "little")
    y, sign = number & ((1 << 255) - 1), number >> 255
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P != u:
        x = x * _ROOT % _P
        if v * x * x % _P != u:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P
