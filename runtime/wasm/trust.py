"""Whose signatures count: a trust store of public keys with ids, validity, revocation and successors.

Guards against a store that means something else than its author thinks: unknown fields, keys that no signature may be
trusted under (small order, not canonical), two keys with one id, a successor that takes over too late. All that is
wrong is said at once. No clock is read here: whoever asks says for which time.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from runtime.errors import Refused, SignatureRefused
from runtime.validated import read_bytes, read_toml
from runtime.wasm import ed25519

KEYS_MAX = 1_000
KEY_ID_MAX = 64  # bytes
PUBLIC_TAG, SECRET_TAG = b"\x01", b"\x81"

_Hex = Annotated[str, Field(pattern=r"^(?:[0-9a-f]{2})+$")]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_NEW_KEY = "make one with wasm-engine module keygen"
_KEY_PROBLEMS = {
    "weak_key": "is a point of small order, under which anybody can sign",
    "bad_key": "is no canonically encoded point of the curve",
}


def default_key_id(public: bytes) -> bytes:
    """12 bytes that stand for a public key where nobody chose an id (what wasmsign2 writes)."""
    return hmac.digest(public, b"key_id", "sha256")[:12]


class Key(BaseModel):
    """One key. `public` is 32 bytes in hex; a signature is by it only within `not_before` <= time < `not_after`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    public: _Hex
    key_id: _Hex | None = Field(default=None, max_length=2 * KEY_ID_MAX)
    not_before: AwareDatetime | None = None
    not_after: AwareDatetime | None = None
    revoked: str | None = Field(default=None, min_length=1, max_length=200, description="Why nothing by it counts.")
    replaced_by: _Name | None = None

    @field_validator("public")
    @classmethod
    def _strong(cls, public: str) -> str:
        problem = ed25519.key_fault(bytes.fromhex(public))
        if problem:
            raise ValueError(f"{problem}: it {_KEY_PROBLEMS[problem]}")
        return public

    @model_validator(mode="after")
    def _usable(self) -> Key:
        if self.not_before and self.not_after and self.not_before >= self.not_after:
            raise ValueError("not_before is not before not_after")
        if self.replaced_by and not (self.not_after or self.revoked):
            raise ValueError("a key that is replaced has a not_after, or is revoked")
        return self

    @cached_property
    def point(self) -> bytes:
        return bytes.fromhex(self.public)

    @cached_property
    def id(self) -> bytes:
        """What its signatures carry as key id (one without an id may be by any key)."""
        return bytes.fromhex(self.key_id) if self.key_id is not None else default_key_id(self.point)

    def standing(self, at: datetime) -> str:
        """ "" where its signatures count at that time, else `revoked_key`, `early_key` or `expired_key`."""
        if self.revoked:
            return "revoked_key"
        if self.not_before and at < self.not_before:
            return "early_key"
        return "expired_key" if self.not_after and at >= self.not_after else ""


class TrustStore(BaseModel):
    """All keys, and how many different ones must have signed a module."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(ge=1, le=1)
    required: int = Field(default=1, ge=1, le=16)
    keys: tuple[Key, ...] = Field(min_length=1, max_length=KEYS_MAX, alias="key")

    @model_validator(mode="after")
    def _consistent(self) -> TrustStore:
        found = [
            f"two keys have the same {what}"
            for what, values in (
                ("name", [key.name for key in self.keys]),
                ("public", [key.public for key in self.keys]),
                ("key_id", [key.id for key in self.keys]),
            )
            if len(set(values)) < len(values)
        ]
        if self.required > len(self.keys):
            found.append(f"required is {self.required}, and there are {len(self.keys)} keys")
        found += self._successions()
        if found:
            raise ValueError("; ".join(found))
        return self

    def _successions(self) -> list[str]:
        named = {key.name: key for key in self.keys}
        found = []
        for key in self.keys:
            heir = named.get(key.replaced_by or key.name)
            if heir is None:
                found.append(f"key {key.name}: its successor {key.replaced_by} is not there")
            elif key.replaced_by and heir is key:
                found.append(f"key {key.name} replaces itself")
            elif heir is not key and heir.not_before and key.not_after and heir.not_before > key.not_after:
                found.append(f"key {key.name} ends before its successor {heir.name} begins")
        return found


def trusting(public: bytes) -> TrustStore:
    """A store of this one key, for ever; raises SignatureRefused for a key that nothing may be trusted under."""
    problem = ed25519.key_fault(public)
    if problem:
        raise SignatureRefused(problem, f"the key {_KEY_PROBLEMS[problem]}", "public key", _NEW_KEY)
    return TrustStore(version=1, key=(Key(name="key", public=public.hex()),))


def read_store(path: Path) -> TrustStore:
    """The store in a TOML file; raises Refused with everything that is wrong."""
    return read_toml(path, TrustStore, "see docs/signing.md")


def read_public(path: Path) -> bytes:
    """The key of a public key file: the byte 01 and 32 bytes. Raises Refused, SignatureRefused for a weak key."""
    data = read_bytes(path, 1 + ed25519.KEY_BYTES)
    if len(data) != 1 + ed25519.KEY_BYTES or data[:1] != PUBLIC_TAG:
        raise Refused("no public key file (byte 01 and 32 bytes)", str(path), _NEW_KEY)
    problem = ed25519.key_fault(data[1:])
    if problem:
        raise SignatureRefused(problem, f"the key {_KEY_PROBLEMS[problem]}", str(path), _NEW_KEY)
    return data[1:]


def read_secret(path: Path) -> bytes:
    """The seed of a secret key file: the byte 81, the seed, the public key. Raises Refused."""
    length = 1 + ed25519.SEED_BYTES + ed25519.KEY_BYTES
    data = read_bytes(path, length)
    if len(data) != length or data[:1] != SECRET_TAG:
        raise Refused("no secret key file (byte 81 and 64 bytes)", str(path), _NEW_KEY)
    seed, public = data[1:33], data[33:]
    if not hmac.compare_digest(ed25519.public_key(seed), public):
        raise Refused("its public key is not its seed's", str(path), "the file is damaged: take a copy of it")
    return seed


def key_files(seed: bytes) -> tuple[bytes, bytes]:
    """(secret, public): what the two key files hold for a seed of 32 random bytes."""
    public = ed25519.public_key(seed)
    return SECRET_TAG + seed + public, PUBLIC_TAG + public


def moment(ms: int) -> datetime:
    """Milliseconds since 1970, as agents' time is counted."""
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
