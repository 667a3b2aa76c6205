"""A glance at a frame between orchestrator and worker: the steps that it carries, the rest is skipped, not built."""

from __future__ import annotations

import struct
from functools import lru_cache

import google_crc32c
import msgspec
from msgspec import Struct


class _Record(Struct, array_like=True, gc=False):
    agent: int
    n: int
    kind: str
    tick: int


class _Order(Struct, array_like=True, gc=False):
    record: _Record


class _Result(Struct, array_like=True, gc=False):
    agent: int


class WorkGlance(Struct, array_like=True, tag="work", gc=False):
    """What faults are addressed by, of a Work: the rest of the frame is skipped, not built."""

    incarnation: int
    worker: int
    lease: int
    orders: tuple[_Order, ...]


class DoneGlance(Struct, array_like=True, tag="done", gc=False):
    """The same of a Done."""

    incarnation: int
    worker: int
    lease: int
    results: tuple[_Result, ...]


_glances = msgspec.msgpack.Decoder(WorkGlance | DoneGlance)
_HEAD = 8


@lru_cache(maxsize=4)
def glance(frame: bytes) -> object:
    """The addresses in a frame between orchestrator and worker; None for what is not one, or does not verify.

    Each wrapper on a frame's way looks at it, one right after the other; what it sees is for reading only.
    """
    body = frame[_HEAD:]
    if struct.unpack_from("<II", frame.ljust(_HEAD, b"\0")) != (len(body), google_crc32c.value(body)):
        return None
    try:
        return _glances.decode(body)
    except msgspec.MsgspecError:
        return None
