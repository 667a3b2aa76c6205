"""Envelopes as they lie in an agent's memory (docs/abi.md), read by a decoder of the oracles' own."""

from __future__ import annotations

import struct

_HEAD = struct.Struct("<IIQII")  # kind, sender, sequence number or version, channel, length
_SIZE = _HEAD.size


# One message at its receiver: kind, sender, sequence number or version, channel, payload. Kind 0 is bytes that are no
# envelope at all, with all of them as payload. Plain tuples: a run has as many as messages.
Envelope = tuple[int, int, int, int, bytes]


def open_envelope(data: bytes) -> Envelope:
    """The envelope that `data` is; a length that does not match its bytes makes it kind 0."""
    if len(data) >= _SIZE:
        kind, sender, seq, channel, length = _HEAD.unpack_from(data)
        if length == len(data) - _SIZE:
            return kind, sender, seq, channel, data[_SIZE:]
    return 0, 0, 0, 0, data
