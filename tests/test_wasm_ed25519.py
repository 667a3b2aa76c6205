"""Ed25519: RFC 8032's vectors, the cases on which verifiers differ, and the block list computed in another way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.wasm import ed25519

# RFC 8032, 7.1: seed, public key, message, signature.
RFC = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
)
P = 2**255 - 19


@pytest.mark.parametrize("vector", RFC, ids=["empty", "one byte", "two bytes"])
def test_the_vectors_of_the_rfc(vector: tuple[str, str, str, str]) -> None:
    seed, public, message, signature = (bytes.fromhex(text) for text in vector)
    assert ed25519.public_key(seed) == public
    assert ed25519.sign(seed, message) == signature
    assert ed25519.fault(public, message, signature) == ""
    assert ed25519.fault(public, message + b"x", signature) == "bad_signature"


def test_cases_on_which_verifiers_differ_are_judged_as_the_strictest_do() -> None:
    """Only case 3, an honest signature under a key of mixed order, is valid without cofactor and breaks no rule."""
    cases = json.loads((Path(__file__).parent / "speccheck.json").read_text("utf-8"))["cases"]
    told = [
        ed25519.fault(*(bytes.fromhex(case[name]) for name in ("pub_key", "message", "signature"))) for case in cases
    ]
    assert told == [
        *("weak_key", "weak_key", "weak_r", "", "bad_signature"),
        *("bad_signature", "s_range", "s_range", "weak_r", "weak_r"),
    ]


def test_the_block_list_is_every_encoding_of_a_point_whose_eightfold_is_the_identity() -> None:
    """In affine coordinates and by the curve's equation, with nothing of the module's own arithmetic."""
    d = -121665 * pow(121666, -1, P) % P

    def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        (x, y), (u, v) = a, b
        k = d * x * u % P * y % P * v % P
        return (x * v + u * y) * pow(1 + k, -1, P) % P, (y * v + x * u) * pow(1 - k, -1, P) % P

    def eightfold(point: tuple[int, int]) -> tuple[int, int]:
        for _ in range(3):
            point = add(point, point)
        return point

    found = set()
    for data in ed25519.SMALL_ORDER:
        number = int.from_bytes(data, "little")
        y, sign = number & (2**255 - 1), number >> 255
        square = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
        root = next(
            x
            for x in (pow(square, (P + 3) // 8, P) * k % P for k in (1, pow(2, (P - 1) // 4, P)))
            if x * x % P == square
        )
        x = root if root & 1 == sign else -root % P
        assert eightfold((x, y % P)) == (0, 1)
        found.add((x, y % P))
    assert len(found) == 8, "the group of small order has eight points"
    reduced = {y for _, y in found}
    encodings = {
        (value | sign << 255).to_bytes(32, "little")
        for y in reduced
        for value in (y, y + P)
        for sign in (0, 1)
        if value < 2**255
    }
    assert encodings == ed25519.SMALL_ORDER


def test_keys_that_are_no_canonical_points_are_refused() -> None:
    good = ed25519.public_key(bytes(32))
    assert ed25519.key_fault(good) == ""
    assert ed25519.key_fault(good[:31]) == ed25519.key_fault(good + b"\0") == ed25519.key_fault(b"") == "bad_key"
    assert ed25519.key_fault(b"\x02" + bytes(31)) == "bad_key", "no point has this y"
    assert ed25519.key_fault((P + 3).to_bytes(32, "little")) == "bad_key", "y is not reduced"


def test_no_flipped_bit_of_key_message_or_signature_is_accepted() -> None:
    seed, message = bytes(range(32)), b"message"
    public, signature = ed25519.public_key(seed), ed25519.sign(seed, message)
    whole = public + message + signature
    for bit in range(0, 8 * len(whole), 3):  # every third: the module's own test flips them all
        other = bytearray(whole)
        other[bit // 8] ^= 1 << bit % 8
        assert ed25519.fault(bytes(other[:32]), bytes(other[32:-64]), bytes(other[-64:]))


def test_lengths_that_cannot_be_are_refused() -> None:
    public = ed25519.public_key(bytes(32))
    assert ed25519.fault(public, b"", b"") == ed25519.fault(public, b"", bytes(65)) == "bad_signature"
    with pytest.raises(ValueError, match="32 bytes"):
        ed25519.sign(bytes(31), b"")
