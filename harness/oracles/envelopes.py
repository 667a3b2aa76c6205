"""Messages as they were handed to an agent's driver (docs/abi.md), read by a decoder of the oracles' own."""

from __future__ import annotations

import msgspec

# One message at its receiver: kind, sender, sequence number or version, channel, payload. Kind 0 is bytes that are no
# inbox at all, with all of them as payload. Plain tuples: a run has as many as messages.
Envelope = tuple[int, int, int, int, bytes]

_decode = msgspec.msgpack.Decoder(list[tuple[int, int, int, int, bytes]], strict=True).decode


def open_inbox(given: bytes) -> tuple[Envelope, ...]:
    """The messages of an inbox; bytes that are none are one message of kind 0."""
    try:
        found = _decode(given)
    except msgspec.MsgspecError:
        return ((0, 0, 0, 0, given),)
    return tuple([(kind, sender, seq, channel, payload) for seq, kind, sender, channel, payload in found])
