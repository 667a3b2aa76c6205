"""Signed modules as vectors: their bytes are put together here, apart from the runtime's own writer and verifier.

The signatures were made by OpenSSL, so a runtime that is wrong in signing and verifying alike is found. The module is
an agent that ends every step with one status: where that is in the journal, the module was loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.plan import Fault
from faults.signed_kinds import ACCEPTED
from runtime.errors import SignatureRefused
from runtime.ports import Guest
from runtime.state import AgentSpec

if TYPE_CHECKING:
    from runtime.wasm.trust import TrustStore

KINDS = ("module.signature", "key.trust")
LOADED, REFUSED = "agent_error:64", "refused:signature"

_HEADER, _COMPONENT = bytes.fromhex("0061736d01000000"), bytes.fromhex("0061736d0d000100")
_BODY = bytes.fromhex(
    "0110036000017f60017f017f60027f7f017f0307060001000201000503010001075306066d656d6f727902000b6167656e745f616c6c6f630001"
    "0a6167656e745f696e697400020d6167656e745f7265636569766500030a6167656e745f7374657000040e6167656e745f73687574646f776e00"
    "050a2106050041c0000b05004180080b040010000b040041000b040010000b040010000b000d046e616d650106010003656e64"
)
_HASH = bytes.fromhex("523649c77f454ac24367f0ba006f73d929fd370ec83835c9f3916018dae6a12e")
_KEY, _OTHER = (
    bytes.fromhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"),
    bytes.fromhex("29acbae141bccaf0b22e1a94d34d0bc7361e526d0bfe12c89794bc9322966dd7"),
)
_BY_KEY, _BY_OTHER, _WEAK_R = (
    bytes.fromhex(
        "84b3d005d77920f06d851ed02738e0f3fa0170d88b428e659e7776d4370ed12aef63d31c5a9fd0793b2ebb50f85b54ef7d556f00f7aeb301"
        "242204a5b413fb05"
    ),
    bytes.fromhex(
        "3c2e5e76b8056cf31f8b512042fc93d9b5c3e26095dc47735e0d190a92269c4b565a82d200a8973e9a68e897f92d6e47bb85bc0aebc2a295"
        "c4ed3b44c510e10e"
    ),
    bytes.fromhex(
        "01000000000000000000000000000000000000000000000000000000000000004e29eb34ddf8d6a443bb7add31ab098ea12997cafef939be"
        "141c7eb608be6006"
    ),
)
# Two parts: the module and a delimiter, then a note. Both hashes, and the signature over them.
_DELIMITER = b"\x00\x24\x13signature_delimiter" + bytes(range(16))
_PARTS = (
    bytes.fromhex("6c25b314f1db4e52c8f65142fc1005b9ed88c7ed99a8bd90bcc306f3ed4d7499"),
    bytes.fromhex("d9b4375727215033880c5932745e389c4e4efed921497a04bb4ba507bc33bb5c"),
)
_BY_KEY_PARTS = bytes.fromhex(
    "398987841e1fbb6618dc3cb3eb59b3f87734edb9e4eb910da41bb139872fe1814d2e0fa7a435efdce17b885a162dd538561638c918f38b90ce88"
    "95ba951bfe0b"
)
_ORDER = 2**252 + 27742317777372353535851937790883648493
_IDENTITY = b"\x01" + bytes(31)
_BY_IDENTITY = b"\x58" + b"\x66" * 31 + b"\x01" + bytes(31)  # R the base point, S = 1: valid for every message


def endings(fault: Fault) -> tuple[str, ...]:
    """How the step ends that waits for the module."""
    return (LOADED,) if fault.get("what") in ACCEPTED else (REFUSED,)


def module(fault: Fault) -> bytes:
    """The bytes that are to be loaded."""
    what = fault.get("what")
    if fault.kind == "key.trust":
        if what == "weak":
            return _signed(_payload([_HASH], _BY_IDENTITY))
        return _signed(_payload([_HASH], _BY_OTHER if what in ("unknown", "successor") else _BY_KEY))
    good = _payload([_HASH], _BY_KEY)
    if what == "missing":
        return _HEADER + _BODY
    if what == "cut":
        return _signed(_payload(_PARTS, _BY_KEY_PARTS), _BODY + _DELIMITER)
    made = {
        "altered": lambda: _signed(good, _BODY.replace(b"\x41\xc0\x00", b"\x41\xc1\x00")),
        "padded": lambda: _signed(_payload([_HASH], _BY_KEY, b"\x81\x00")),
        "junk": lambda: _signed(good + b"\x00"),
        "header": lambda: _COMPONENT + _signed(good)[8:],
        "key": lambda: _signed(_payload([_HASH], _BY_OTHER)),
        "s_range": lambda: _signed(_payload([_HASH], _beyond(_BY_KEY))),
        "weak_r": lambda: _signed(_payload([_HASH], _WEAK_R)),
        "good": lambda: _signed(good),
    }
    return made[str(what)]()


def store(fault: Fault, now_ms: int) -> TrustStore:
    """Whom the load trusts at that time; raises SignatureRefused for a key that nobody may trust."""
    from runtime.wasm.trust import (
        Key,
        TrustStore,
        moment,
        trusting,
    )  # a build from before signatures has no such module

    now, sooner = moment(now_ms), moment(now_ms - 1)
    what = fault.get("what") if fault.kind == "key.trust" else "trusted"
    if what == "weak":
        return trusting(_IDENTITY)
    first, second = Key(name="first", public=_KEY.hex()), Key(name="second", public=_OTHER.hex(), not_before=sooner)
    if what in ("replaced", "successor"):
        first = Key(name="first", public=_KEY.hex(), not_after=now, replaced_by="second")
        return TrustStore(version=1, key=(first, second))
    changed: dict[object, dict[str, object]] = {
        "revoked": {"revoked": "stolen"},
        "expired": {"not_after": now},
        "early": {"not_before": moment(now_ms + 1)},
    }
    return TrustStore(version=1, key=(first.model_copy(update=changed.get(what, {})),))


def load(fault: Fault, agent: int, spec: AgentSpec, wasm: bytes, now_ms: int) -> Guest:
    """The instance, where the build under test accepts the module; raises ModuleRefused."""
    from runtime.wasm import WasmGuests
    from runtime.wasm.signatures import Demand
    from runtime.wasm.trust import moment

    try:
        trust = store(fault, now_ms)
    except ValueError as error:  # a build that says in another way that no key may be trusted
        raise SignatureRefused("weak_key", str(error), "trust store") from None
    return WasmGuests(demand=Demand(trust, moment(now_ms))).instantiate(agent, spec, wasm)


def _payload(hashes: tuple[bytes, ...] | list[bytes], signature: bytes, sets: bytes = b"\x01") -> bytes:
    record = b"\x00\x01\x40" + signature
    one = bytes([len(hashes)]) + b"".join(hashes) + b"\x01" + bytes([len(record)]) + record
    return b"\x01\x01\x01" + sets + _length(one) + one


def _signed(payload: bytes, body: bytes = _BODY) -> bytes:
    section = b"\x09signature" + payload
    return _HEADER + b"\x00" + _length(section) + section + body


def _length(data: bytes) -> bytes:
    low = len(data)
    return bytes([low]) if low < 128 else bytes([low & 127 | 128, low >> 7])


def _beyond(signature: bytes) -> bytes:
    """The same signature with S raised by the group's order."""
    return signature[:32] + (int.from_bytes(signature[32:], "little") + _ORDER).to_bytes(32, "little")
