"""What is said between the runtime and a device's own process, over two pipes: length, CRC-32C, msgpack.

The process is ours and its answers are still checked: it can die in the middle of one, and a driver can write to
whatever is open. A message that is not whole or not one of these means that the process is lost.
"""

from __future__ import annotations

import struct
from typing import IO, TypeVar

import google_crc32c
import msgspec
from msgspec import Struct

from runtime.errors import FrameRefused
from runtime.frames import InferenceItem
from runtime.inference.golden import Golden
from runtime.inference.providers import Provider
from runtime.state import Inference

MESSAGE_MAX = 1 << 31  # bytes; a model's weights travel in one
T = TypeVar("T")
_HEAD = struct.Struct("<II")


class Begin(Struct, frozen=True, array_like=True, tag="begin"):
    """The first message: which provider this process is for."""

    provider: Provider


class Load(Struct, frozen=True, array_like=True, tag="load"):
    """Load these bytes, whose sha256 (hex) is `digest`, and hold their answers against the golden ones."""

    digest: str
    onnx: bytes
    golden: Golden


class Run(Struct, frozen=True, array_like=True, tag="run"):
    digest: str
    items: tuple[InferenceItem, ...]


class Drop(Struct, frozen=True, array_like=True, tag="drop"):
    """Let go of the model."""

    digest: str


Message = Begin | Load | Run | Drop


class Reply(Struct, frozen=True, array_like=True):
    """To each message one. `failure` is "" or what ModelFailed says, `stage` where an admission ended, `what` why.

    `nodes` are those that were read back as placed on the provider, `spent_ns` the wall time that the work took.
    """

    failure: str = ""
    stage: str = ""
    what: str = ""
    results: tuple[Inference, ...] = ()
    nodes: int = 0
    spent_ns: int = 0


_encoder = msgspec.msgpack.Encoder()
_messages: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_replies = msgspec.msgpack.Decoder(Reply)


def write(pipe: IO[bytes], message: Message | Reply) -> None:
    """Raises OSError where the other end is gone."""
    body = _encoder.encode(message)
    pipe.write(_HEAD.pack(len(body), google_crc32c.value(body)))
    pipe.write(body)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> Message | None:
    """The next message; None at the end of the pipe. Raises FrameRefused for anything else."""
    body = _read(pipe)
    return None if body is None else _decoded(body, _messages)


def read_reply(pipe: IO[bytes]) -> Reply | None:
    """The next reply; None at the end of the pipe. Raises FrameRefused for anything else."""
    body = _read(pipe)
    return None if body is None else _decoded(body, _replies)


def _read(pipe: IO[bytes]) -> bytes | None:
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    length, checksum = _HEAD.unpack(head)
    if length > MESSAGE_MAX:
        raise FrameRefused(f"a message of {length} bytes", "device process", "its process is lost")
    body = pipe.read(length)
    if len(body) < length:
        return None
    if google_crc32c.value(body) != checksum:
        raise FrameRefused("a message's checksum does not match", "device process", "its process is lost")
    return body


def _decoded(body: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameRefused(f"no message of a device: {error}", "device process", "its process is lost") from None
