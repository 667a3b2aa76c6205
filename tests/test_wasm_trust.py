"""The trust store and the key files: what is wrong is said at once, and nothing weak gets in."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import Refused, SignatureRefused
from runtime.wasm.trust import (
    default_key_id,
    ed25519,
    key_files,
    moment,
    read_public,
    read_secret,
    read_store,
    trusting,
)

A, B = (ed25519.public_key(bytes([n] * 32)).hex() for n in (1, 2))
IDENTITY = "01" + "00" * 31


def store(folder: Path, text: str) -> Path:
    place = folder / "trust.toml"
    place.write_text(text, "utf-8")
    return place


GOOD = f"""
version = 1
required = 1

[[key]]
name = "release-2026"
public = "{A}"
not_after = 2026-12-31T00:00:00Z
replaced_by = "release-2027"

[[key]]
name = "release-2027"
public = "{B}"
key_id = "2027"
not_before = 2026-12-01T00:00:00Z
"""


def test_a_store_of_keys_in_succession_is_read(tmp_path: Path) -> None:
    old, new = read_store(store(tmp_path, GOOD)).keys
    assert (old.id, new.id) == (default_key_id(bytes.fromhex(A)), b"\x20\x27")
    moments = [moment(ms) for ms in (1_796_083_199_999, 1_796_083_200_000, 1_798_675_199_999, 1_798_675_200_000)]
    assert [old.standing(at) for at in moments] == ["", "", "", "expired_key"]
    assert [new.standing(at) for at in moments] == ["early_key", "", "", ""]


WRONG = {
    "unknown field": (GOOD + 'owner = "me"\n', ("key.1.owner", "unknown key; known are key_id, name")),
    "no version": (GOOD.replace("version = 1", ""), ("version",)),
    "another version": (GOOD.replace("version = 1", "version = 2"), ("version",)),
    "no keys": ("version = 1\nkey = []\n", ("key",)),
    "weak key": (GOOD.replace(B, IDENTITY), ("key.1.public", "weak_key")),
    "no point": (GOOD.replace(B, "02" + "00" * 31), ("key.1.public", "bad_key")),
    "short key": (GOOD.replace(B, "0102"), ("key.1.public", "bad_key")),
    "upper case": (GOOD.replace(B, B.upper()), ("key.1.public",)),
    "time without a zone": (GOOD.replace("12-31T00:00:00Z", "12-31T00:00:00"), ("key.0.not_after", "timezone")),
    "ends before it begins": (GOOD + "not_after = 2026-11-01T00:00:00Z\n", ("not_before is not before",)),
    "same name": (GOOD.replace('name = "release-2027"', 'name = "release-2026"'), ("two keys have the same name",)),
    "same key": (GOOD.replace(B, A), ("two keys have the same public",)),
    "same id": (
        GOOD.replace('"2027"', f'"{default_key_id(bytes.fromhex(A)).hex()}"'),
        ("two keys have the same key_id",),
    ),
    "no successor": (GOOD.replace('replaced_by = "release-2027"', 'replaced_by = "next"'), ("next is not there",)),
    "successor of itself": (GOOD.replace('replaced_by = "release-2027"', 'replaced_by = "release-2026"'), ("itself",)),
    "a gap": (GOOD.replace("2026-12-01", "2027-12-01"), ("ends before its successor",)),
    "replaced without an end": (GOOD.replace("not_after = 2026-12-31T00:00:00Z\n", ""), ("key.0", "not_after")),
    "too many required": (GOOD.replace("required = 1", "required = 3"), ("required is 3", "2 keys")),
    "long id": (GOOD.replace('"2027"', f'"{"20" * 65}"'), ("key.1.key_id",)),
    "no TOML": ("version = ", ("not TOML",)),
    "deep": ("version = " + "[" * 5_000, ("not TOML",)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_store_that_is_wrong_is_refused_with_the_place(name: str, tmp_path: Path) -> None:
    text, words = WRONG[name]
    with pytest.raises(Refused) as refused:
        read_store(store(tmp_path, text))
    assert all(word in str(refused.value) for word in ("trust.toml", *words)), refused.value


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("version = 1", "version = 9").replace(B, IDENTITY).replace('"release-2026"', '"a b"', 1)
    with pytest.raises(Refused) as refused:
        read_store(store(tmp_path, text + "more = 1\n"))
    assert all(
        word in str(refused.value) for word in ("version", "key.0.name", "key.1.public", "weak_key", "key.1.more")
    )


def test_key_files_are_read_back_and_damaged_ones_refused(tmp_path: Path) -> None:
    secret, public = key_files(bytes(range(32)))
    assert (len(secret), len(public), secret[0], public[0]) == (65, 33, 0x81, 0x01)
    places = tmp_path / "k.secret", tmp_path / "k.public"

    def written(secret: bytes = secret, public: bytes = public) -> tuple[Path, Path]:
        places[0].write_bytes(secret)
        places[1].write_bytes(public)
        return places

    written()
    assert read_secret(places[0]) == bytes(range(32)) and read_public(places[1]) == public[1:]
    for bad in (secret[:-1], secret + b"x", b"\x80" + secret[1:], b"", public):
        with pytest.raises(Refused, match=r"no secret key file|more than"):
            read_secret(written(secret=bad)[0])
    with pytest.raises(Refused, match="not its seed's"):  # signing under another public key gives the seed away
        read_secret(written(secret=secret[:-1] + bytes([secret[-1] ^ 1]))[0])
    for bad in (public[:-1], public + b"x", b"\x02" + public[1:], b""):
        with pytest.raises(Refused, match=r"no public key file|more than"):
            read_public(written(public=bad)[1])
    with pytest.raises(SignatureRefused) as refused:
        read_public(written(public=b"\x01" + bytes.fromhex(IDENTITY))[1])
    assert refused.value.error == "weak_key"
    with pytest.raises(Refused, match="cannot be read"):
        read_public(tmp_path)


def test_a_single_key_is_trusted_only_if_it_is_strong() -> None:
    assert trusting(bytes.fromhex(A)).keys[0].standing(moment(0)) == ""
    with pytest.raises(SignatureRefused) as refused:
        trusting(bytes.fromhex(IDENTITY))
    assert refused.value.error == "weak_key"
