"""Module signatures (SEC-1, I26): golden bytes, independent vectors, every flipped bit, signing, the load path."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from wasm_kit import spec_of, wat

from runtime.errors import ModuleRefused, SignatureRefused
from runtime.wasm import WasmGuests, assemble, check_module
from runtime.wasm.signatures import (
    ERRORS,
    Demand,
    read_layout,
    read_payload,
    sign,
    sign_detached,
    split,
    verify,
    write_payload,
)
from runtime.wasm.trust import Key, TrustStore, default_key_id, ed25519, moment, trusting

SEED = bytes(range(32))
PUBLIC = ed25519.public_key(SEED)
STORE = trusting(PUBLIC)
NOW = moment(1_700_000_000_000)
PLAIN = assemble('(module (func (export "f") (param i32) (result i32) local.get 0 i32.const 1 i32.add))')
AGENT = assemble(wat())
VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "signature_vectors.json").read_text("utf-8"))[
    "cases"
]


def error_of(wasm: bytes, store: TrustStore = STORE, at: datetime = NOW, detached: bytes | None = None) -> str:
    try:
        verify(wasm, store, at, detached)
    except SignatureRefused as refused:
        assert refused.check == "signature" and refused.error in ERRORS and refused.todo
        return refused.error
    return ""


def judged(case: dict[str, Any]) -> str:
    """The error of a vector, "" where it is accepted; a key that no store may hold is judged as `--key` does."""
    at = datetime.fromisoformat(case["at"])
    detached = None if case["detached"] is None else bytes.fromhex(case["detached"])
    try:
        store = TrustStore(version=1, required=case["required"], key=tuple(Key(**key) for key in case["keys"]))
    except ValidationError:
        try:
            store = trusting(bytes.fromhex(case["keys"][0]["public"]))
        except SignatureRefused as refused:
            return refused.error
    return error_of(bytes.fromhex(case["module"]), store, at, detached)


def test_the_golden_module_is_signed_byte_for_byte() -> None:
    """I26's first vector is what another tool and an independent writer made of the same seed and module."""
    signed = sign(PLAIN, SEED)
    assert signed.hex() == next(case["module"] for case in VECTORS if case["name"] == "golden")
    payload = read_layout(signed).payload
    assert payload is not None and sign_detached(PLAIN, SEED) == payload
    [one] = read_payload(payload)
    assert one.hashes[0].hex().startswith("46512438d357a3e6")
    assert one.signatures[0].value.hex().startswith("1162eb6633eefe1b")
    assert "1b414a11" in one.signatures[0].value.hex()[-10:] and "55101430" in payload.hex()


@pytest.mark.parametrize("case", VECTORS, ids=[case["name"] for case in VECTORS])
def test_the_accept_set_is_the_strict_one_on_independent_vectors(case: dict[str, Any]) -> None:
    """I26. The vectors were written by an encoder of its own with OpenSSL's Ed25519."""
    assert judged(case) == case["error"]


def test_every_named_error_has_a_vector() -> None:
    """`sections` and `too_many_tries` have tests of their own: their inputs are long."""
    assert {case["error"] for case in VECTORS} == {"", *ERRORS} - {"sections", "too_many_tries"}


def test_all_single_bit_flips_of_a_signed_module_are_refused() -> None:
    signed = sign(PLAIN, SEED)
    told = []
    for bit in range(8 * len(signed)):
        other = bytearray(signed)
        other[bit // 8] ^= 1 << bit % 8
        told.append(error_of(bytes(other)))
    assert len(told) == 1_256 and "" not in told


def test_all_flips_of_a_key_id_and_all_prefixes_are_refused() -> None:
    """The key id is not under the signature, so it must be the trusted key's."""
    signed = sign(PLAIN, SEED, default_key_id(PUBLIC))
    assert error_of(signed) == ""
    at = signed.index(default_key_id(PUBLIC))
    for bit in range(8 * at, 8 * (at + 12)):
        other = bytearray(signed)
        other[bit // 8] ^= 1 << bit % 8
        assert error_of(bytes(other)) == "unknown_key"
    assert all(error_of(signed[:length]) for length in range(len(signed)))
    assert error_of(signed + b"\0") == "truncated" and error_of(signed + b"\0\1\0") == "hash_mismatch"


def test_what_a_compiler_padded_is_signed_in_short_form_and_runs_the_same() -> None:
    padded = PLAIN[:8] + b"\x01\x86\x80\x00" + PLAIN[10:] + b"\x00\x85\x00\x83\x00ann"
    assert error_of(padded, detached=b"\1\1\1\0") == "padded"
    signed = sign(padded, SEED)
    assert error_of(signed) == "" and signed.endswith(PLAIN[8:] + b"\x00\x04\x03ann")
    with pytest.raises(SignatureRefused) as refused:
        sign_detached(padded, SEED)
    assert refused.value.error == "padded"


def test_signatures_are_added_and_each_counts_once() -> None:
    other = bytes(range(32, 64))
    both = sign(sign(PLAIN, SEED), other, default_key_id(ed25519.public_key(other)))
    store = TrustStore(
        version=1,
        required=2,
        key=tuple(Key(name=name, public=ed25519.public_key(seed).hex()) for name, seed in (("a", SEED), ("b", other))),
    )
    assert verify(both, store, NOW).keys == ("a", "b")
    assert error_of(sign(PLAIN, SEED), store) == "too_few_keys"
    with pytest.raises(SignatureRefused) as refused:
        sign(both, SEED)
    assert refused.value.error == "duplicate"
    payload = read_layout(both).payload
    assert payload is not None and write_payload(read_payload(payload)) == payload


def test_a_module_in_parts_is_whole_or_refused() -> None:
    parts = split(PLAIN, (bytes([n] * 16) for n in count()))
    signed = sign(parts, SEED)
    layout = read_layout(signed)
    assert len(layout.hashes) == 4 and verify(signed, STORE, NOW).hashes == layout.hashes
    ends = [signed.index(bytes([n] * 16)) + 16 for n in range(4)]
    assert ends[-1] == len(signed)
    assert [error_of(signed[:end]) for end in ends] == ["cut", "cut", "cut", ""]
    assert error_of(signed + PLAIN[8:16]) == "unsigned_part"


def test_what_could_not_be_verified_is_not_signed() -> None:
    def refusal(make: Callable[[], bytes]) -> str:
        with pytest.raises(SignatureRefused) as refused:
            make()
        return refused.value.error

    signed = sign(PLAIN, SEED)
    parts = PLAIN[:8] + b"".join(b"\x00\x24\x13signature_delimiter" + bytes([n] * 16) for n in range(65))
    assert refusal(lambda: sign_detached(signed, SEED)) == "both"
    assert refusal(lambda: sign(parts, SEED)) == refusal(lambda: sign_detached(parts, SEED)) == "too_many_hashes"
    assert error_of(parts, detached=sign_detached(PLAIN, SEED)) == "too_many_hashes"
    assert refusal(lambda: sign(PLAIN, SEED, bytes(65))) == "long_key_id"
    assert refusal(lambda: sign(b"junk", SEED)) == "not_wasm"


def test_a_key_id_that_is_longer_than_its_record_is_refused_as_such() -> None:
    record = b"\x10" + bytes(9)
    one = b"\x01" + bytes(32) + b"\x01" + bytes([len(record)]) + record
    assert error_of(PLAIN, detached=b"\1\1\1\1" + bytes([len(one)]) + one) == "truncated"


def test_work_is_bounded_whatever_a_payload_holds() -> None:
    keys = tuple(Key(name=f"k{n}", public=ed25519.public_key(bytes([n] * 32)).hex()) for n in range(9))
    store = TrustStore(version=1, key=keys)
    [one] = read_payload(sign_detached(PLAIN, SEED))
    value = one.signatures[0].value
    many = tuple(one.signatures[0]._replace(value=value[:-2] + bytes([n, 0])) for n in range(29))
    assert error_of(PLAIN, store, detached=write_payload((one._replace(signatures=many),))) == "too_many_tries"
    assert error_of(PLAIN[:8] + b"\x00\x02\x01x" * 10_001) == "sections"


def test_a_load_that_demands_signatures_refuses_before_anything_is_parsed() -> None:
    """WAS-3: the signature over the very bytes that are used comes before their format."""
    demand = Demand(STORE, NOW)
    signed = sign(AGENT, SEED)
    check_module(spec_of(signed), signed, demand=demand)
    WasmGuests(demand=demand).instantiate(0, spec_of(signed), signed).close()
    for wasm in (AGENT, sign(AGENT, SEED[::-1]), signed[:-1], b"\0asm junk"):
        with pytest.raises(SignatureRefused) as refused:
            WasmGuests(demand=demand).instantiate(0, spec_of(wasm), wasm)
        assert refused.value.check == "signature"
    with pytest.raises(ModuleRefused, match=r"\[digest\]"):
        check_module(spec_of(signed), AGENT, demand=demand)
    broken = sign(b"\0asm\1\0\0\0\x0a\x01\x07", SEED)
    with pytest.raises(ModuleRefused, match=r"\[format\]"):
        check_module(spec_of(broken), broken, demand=demand)


def test_a_detached_signature_serves_a_load_and_a_rotated_store_refuses_it() -> None:
    spec = spec_of(AGENT)
    files = {spec.module: sign_detached(AGENT, SEED)}
    check_module(spec, AGENT, demand=Demand(STORE, NOW, files))
    with pytest.raises(SignatureRefused) as refused:
        check_module(spec, AGENT, demand=Demand(STORE, NOW))
    assert refused.value.error == "unsigned"
    successor = trusting(ed25519.public_key(bytes(range(32, 64))))
    with pytest.raises(SignatureRefused) as refused:
        check_module(spec, AGENT, demand=Demand(successor, NOW, files))
    assert refused.value.error == "bad_signature"
    check_module(spec, AGENT)  # without a demand a signature is neither needed nor looked at


def test_the_page_lists_every_error_and_its_store_is_one() -> None:
    page = (Path(__file__).parent.parent / "docs" / "signing.md").read_text("utf-8")
    assert dict(re.findall(r"(?m)^\| `([a-z0-9_]+)` \| (.+) \|$", page.split("| error |")[1])) == ERRORS
    [example] = re.findall(r"```toml\n(.*?)```", page, re.S)
    store = TrustStore.model_validate(tomllib.loads(example))
    assert [key.name for key in store.keys] == ["release-2026", "release-2027"] and store.keys[0].point == PUBLIC
