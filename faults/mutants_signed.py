"""Planted bugs of the load checks of signed modules: rules that are not checked, and keys that count too long."""

from __future__ import annotations

from faults.mutant import Edit, Mutant


def _mutant(name: str, title: str, file: str, before: str, after: str) -> Mutant:
    return Mutant(
        name=name,
        title=title,
        scenario="hello",
        oracle="I26",
        edits=(Edit(file, before, after),),
        profile="refused",
    )


_SIGNATURES, _CURVE, _TRUST = "wasm/signatures.py", "wasm/ed25519.py", "wasm/trust.py"

SIGNED: tuple[Mutant, ...] = (
    _mutant(
        "signature_not_demanded",
        "a load that demands signatures does not look at them",
        "wasm/checks.py",
        "    if demand is not None:\n",
        "    if demand is not None and not wasm:\n",
    ),
    _mutant(
        "signature_padding_accepted",
        "a length that is padded is read as if it were not",
        _SIGNATURES,
        "                if shift and not byte and not self._padded:\n",
        "                if shift > 28:\n",
    ),
    _mutant(
        "signature_junk_accepted",
        "bytes behind the last record of a payload are not looked at",
        _SIGNATURES,
        "        if self.at != self.end:\n",
        "        if self.at > self.end:\n",
    ),
    _mutant(
        "signature_cut_accepted",
        "a module is whole if its parts are the first of those that were signed",
        _SIGNATURES,
        "        if one.hashes == hashes:\n            return one\n",
        "        if one.hashes[: len(hashes)] == hashes:\n            return one\n",
    ),
    _mutant(
        "signature_header_unchecked",
        "the header, which is not under the hash, is looked at by its magic number alone",
        _SIGNATURES,
        "    if wasm[:8] != HEADER:\n",
        "    if wasm[:4] != HEADER[:4]:\n",
    ),
    _mutant(
        "signature_scalar_unbounded",
        "a signature's S may be at or above the group's order, so there are several for one message",
        _CURVE,
        "    if s >= _L:\n",
        "    if s >= 1 << 256:\n",
    ),
    _mutant(
        "signature_weak_commitment",
        "a signature's R may be a point of small order",
        _CURVE,
        "    if commitment in SMALL_ORDER:\n",
        "    if commitment in ():\n",
    ),
    _mutant(
        "weak_key_trusted",
        "a public key may be a point of small order, under which anybody can sign",
        _CURVE,
        "    if public in SMALL_ORDER:\n",
        "    if public in ():\n",
    ),
    _mutant(
        "revoked_key_counts",
        "what a revoked key signed still counts",
        _TRUST,
        "        if self.revoked:\n",
        '        if self.revoked == "":\n',
    ),
    _mutant(
        "expired_key_counts",
        "a key's last moment is one too late",
        _TRUST,
        "self.not_after and at >= self.not_after",
        "self.not_after and at > self.not_after",
    ),
)
