"""What a module was told from outside, recorded when it was read, and given again from the record (EXT-1).

Guarantees: a call that is repeated from its record touches nothing outside, and sees exactly what the first one saw.
One that asks for something else than the first did is refused, with the number of the reading. Answers are kept as they
went to the module; of what was asked a digest is enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
from msgspec import Struct

from runtime.errors import Refused

VERSION = 1
READINGS_MAX = 1_000_000
_WHERE = "record of readings"


class Reading(Struct, frozen=True, array_like=True):
    """`asked` is the name of what was asked, `digest` (16 bytes) that of its arguments; `answer` as it was encoded."""

    asked: str
    digest: bytes
    answer: bytes


class _File(Struct, frozen=True, array_like=True):
    version: int
    readings: tuple[Reading, ...]


class Readings:
    """A record that is being made; from `recorded`, one that is given again."""

    def __init__(self, given: tuple[Reading, ...] | None = None) -> None:
        self._given = given
        self._made: list[Reading] = []

    @classmethod
    def recorded(cls, data: bytes) -> Readings:
        """From what `encoded` gave; raises Refused for other bytes and other versions."""
        body, seal = data[:-32], data[-32:]
        if len(data) < 32 or hashlib.sha256(body).digest() != seal:
            raise Refused("its checksum is not that of its bytes", _WHERE, "make the record again")
        try:
            version, *_ = msgspec.msgpack.decode(body, type=list)
            if version != VERSION:
                raise Refused(f"it has version {version}, read is {VERSION}", _WHERE, "make the record again")
            return cls(msgspec.msgpack.decode(body, type=_File).readings)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Refused(f"it is none ({error})", _WHERE, "make the record again") from None

    def encoded(self) -> bytes:
        """The record as bytes, with a version and a checksum."""
        body = msgspec.msgpack.encode(_File(VERSION, tuple(self._made)))
        return body + hashlib.sha256(body).digest()

    @property
    def repeats(self) -> bool:
        """Whether the answers come from a record."""
        return self._given is not None

    @property
    def left(self) -> int:
        """How many readings of the record nobody has asked for again."""
        return len(self._given or ()) - len(self._made)

    def read(self, asked: str, arguments: tuple[object, ...], outside: Callable[[], bytes]) -> bytes:
        """The answer: of `outside`, which is asked now and recorded, or of the record, and then `outside` is not asked.

        `arguments` are numbers, texts and bytes. Raises Refused where the record has another question here.
        """
        digest = hashlib.sha256(msgspec.msgpack.encode(arguments)).digest()[:16]
        number = len(self._made)
        if number >= READINGS_MAX:
            raise Refused(f"more than {READINGS_MAX} readings", asked, "read more at once")
        if self._given is None:
            reading = Reading(asked, digest, outside())
        else:
            if number >= len(self._given):
                raise Refused(f"reading {number} is {asked}, the record has no more", _WHERE, "it is of another call")
            reading = self._given[number]
            if (reading.asked, reading.digest) != (asked, digest):
                what = f"reading {number} is {asked}, in the record it is {reading.asked}"
                same = ", with other arguments" if reading.asked == asked else ""
                raise Refused(what + same, _WHERE, "it is of another call")
        self._made.append(reading)
        return reading.answer
