"""Frames: length, CRC-32C, body. They guarantee that what is handled is what was sent, or is not handled at all.

A lost, repeated, late or altered frame is repaired by whoever waits for the answer (leases and resends in
`orchestrator`, the resending client); a frame by itself only proves its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeVar

import google_crc32c
import msgspec
from msgspec import Struct

from runtime.errors import FrameRefused
from runtime.state import AgentSpec, Change, Effect, Grant, Inference, Input, Message, StepRecord, View

_HEAD = struct.Struct("<II")
T = TypeVar("T")
MAX_FRAME = 1 << 26  # bytes of a body
TOLD, APART = 1, 2  # of an order: what its answer is compared with


class Image(Struct, frozen=True, array_like=True, gc=False):
    """An agent's memory and globals after step `n`: `size` bytes, of which only the 4 KiB pages that are not zero.

    Pages are (index, bytes) in order; digest as in `snapshot.image_digest`.
    """

    digest: str
    n: int
    size: int
    pages: tuple[tuple[int, bytes], ...]
    globals: tuple[int, ...]


class ImageDelta(Struct, frozen=True, array_like=True, gc=False):
    """An image as the 4 KiB pages that differ from the image with digest `base` ("" is: all zero, no pages)."""

    base: str
    digest: str
    n: int
    size: int
    pages: tuple[tuple[int, bytes], ...]
    globals: tuple[int, ...]


class Replay(Struct, frozen=True, array_like=True, gc=False):
    """A committed step to be fed again, the sum that its outcome must have, its image's digest ("" for none).

    `plain` is a step of its agent that read and wrote no buffers, and left no image: such may be fed in one crossing.
    """

    record: StepRecord
    sum: int
    image: str
    plain: bool = False


class Base(Struct, frozen=True, array_like=True, gc=False):
    """Where an agent starts from on a worker that does not hold it: an image, or nothing (its init replays)."""

    spec: AgentSpec
    image: Image | None
    replay: tuple[Replay, ...]


class Order(Struct, frozen=True, array_like=True, gc=False):
    """One step to run; `base` is there when the worker is not known to hold the agent at step n - 1.

    `check` is 0, TOLD (the answer tells the digest of the state too) or APART (that as well, and the step runs in an
    instance of its own, of which nothing is kept).
    """

    record: StepRecord
    fuel: int
    base: Base | None
    check: int = 0


class Result(Struct, frozen=True, array_like=True, gc=False):
    """One step's outcome, or why there is none: `unserved` is "", "behind", "corrupt", "diverged" or "refused".

    `fuel` (trace only) covers the replay as well. `detail` names the step or (buffer, version) concerned.
    `effects` of op buffer carry (crc u32, length u32) little-endian as payload; the bytes lie in the slot. `state` is
    the digest of memory and globals after the step, where the order asked for it and the step did not fail.
    """

    agent: int
    n: int
    status: str
    effects: tuple[Effect, ...]
    image: ImageDelta | None
    fuel: int
    replayed: int
    unserved: str = ""
    detail: tuple[int, int] = (0, 0)
    state: str = ""


class StepArguments(Struct, array_like=True, gc=False):
    """A StepRecord as a worker reads it, and what its instance is run with.

    `inbox` stays the msgpack array of messages that it is in the frame: the driver makes envelopes of it (docs/abi.md).
    `stop_at` > 0 traps the step on entering its host call of that number (counted from 1); 0 never. `listed` asks for
    the host calls as they were made, instead of for the effects that come of them. `carried` is the state that a new
    module takes over (`runtime.carried`); None in every step but a reload.
    """

    agent: int
    n: int
    kind: str
    tick: int
    now_ms: int
    random_key: int
    agents: int
    topics: int
    buffers: int
    models: int
    send_limit: int
    max_payload: int
    snapshot: bool
    inbox: msgspec.Raw
    views: tuple[View, ...]
    grants: tuple[Grant, ...]
    change: Change | None = None
    fuel: int = 0
    stop_at: int = 0
    listed: bool = False
    carried: bytes | None = None


class ReadReplay(Struct, frozen=True, array_like=True, gc=False):
    """A Replay as a worker reads it: of a plain one nothing is made in Python."""

    record: msgspec.Raw
    sum: int
    image: str
    plain: bool


class ReadBase(Struct, frozen=True, array_like=True, gc=False):
    """A Base as a worker reads it."""

    spec: AgentSpec
    image: Image | None
    replay: tuple[ReadReplay, ...]


class ReadOrder(Struct, frozen=True, array_like=True, gc=False):
    """An Order as a worker reads it."""

    record: StepArguments
    fuel: int
    base: ReadBase | None
    check: int = 0


class ReadWork(Struct, frozen=True, array_like=True, tag="work", gc=False):
    """A Work as a worker reads it: nothing is made of messages that only the driver looks at."""

    incarnation: int
    worker: int
    lease: int
    orders: tuple[ReadOrder, ...]


class Answer(Struct, frozen=True, array_like=True, gc=False):
    """A Result as a worker writes it: `effects` are the msgpack array that the driver made."""

    agent: int
    n: int
    status: str
    effects: msgspec.Raw
    image: ImageDelta | None
    fuel: int
    replayed: int
    unserved: str = ""
    detail: tuple[int, int] = (0, 0)
    state: str = ""


class Answers(Struct, frozen=True, array_like=True, tag="done", gc=False):
    """A Done as a worker writes it."""

    incarnation: int
    worker: int
    lease: int
    results: tuple[Answer, ...]


class Work(Struct, frozen=True, array_like=True, tag="work", gc=False):
    incarnation: int
    worker: int
    lease: int
    orders: tuple[Order, ...]


class Done(Struct, frozen=True, array_like=True, tag="done", gc=False):
    incarnation: int
    worker: int
    lease: int
    results: tuple[Result, ...]


class InferenceItem(Struct, frozen=True, array_like=True, gc=False):
    """One request of a batch; `kv` is the session's whole cache before it, `position` tokens long."""

    request: int
    position: int
    tokens: tuple[int, ...]
    kv: bytes


class Infer(Struct, frozen=True, array_like=True, tag="infer", gc=False):
    """A batch for a device: requests of one model and of equal shape (number of tokens, position)."""

    incarnation: int
    device: int
    lease: int
    model: str
    items: tuple[InferenceItem, ...]


class Inferred(Struct, frozen=True, array_like=True, tag="inferred", gc=False):
    """A device's answer: results in the order of the items, or why there are none.

    `failure` is "", "load" (the model does not load), "memory" or "device" (its later answers mean nothing).
    """

    incarnation: int
    device: int
    lease: int
    failure: str
    results: tuple[Inference, ...]
    cost: int  # trace only: tokens computed


class Inputs(Struct, frozen=True, array_like=True, tag="inputs", gc=False):
    """A client's message: the newest block it has seen released, and inputs (new ones or unacknowledged ones)."""

    cursor: int
    inputs: tuple[Input, ...]


class Output(Struct, frozen=True, array_like=True, gc=False):
    """One output of an agent, tagged by where it arose: (tick, task, index) is unique in a run."""

    tick: int
    task: int
    index: int
    agent: int
    payload: bytes


class Release(Struct, frozen=True, array_like=True, tag="release", gc=False):
    """What leaves with one synced block: acknowledgements (source, n) and outputs. `final` ends the run."""

    block: int
    tick: int
    acknowledged: tuple[tuple[str, int], ...]
    outputs: tuple[Output, ...]
    final: bool


class Ask(Struct, frozen=True, array_like=True, gc=False):
    """A read that leaves with its block: who answers sends input `n` of this source, due then, for this request.

    `first` is the `n` with which the call began that it goes on with; its own where it begins one.
    """

    source: str
    n: int
    agent: int
    request: int
    first: int
    due: int
    payload: bytes


class Asking(Release, frozen=True, array_like=True, tag="asking", gc=False):
    """A Release of a block in which agents read outside; `closed` are calls, (source, first), that go no further."""

    asks: tuple[Ask, ...]
    closed: tuple[tuple[str, int], ...]


Frame = Work | Done | Inputs | Release | Asking | Infer | Inferred

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)
_work_decoder = msgspec.msgpack.Decoder(ReadWork)
_record_decoder = msgspec.msgpack.Decoder(StepArguments)
NO_EFFECTS = msgspec.Raw(b"\x90")
_OK: int = google_crc32c.value(b"\x92" + _encoder.encode("ok"))  # of all outcome sums of steps that ended well


def pack(frame: Frame | Answers) -> bytes:
    """The frame's bytes; raises FrameRefused when no reader would take it: a body of more than MAX_FRAME bytes."""
    body = _encoder.encode(frame)
    if len(body) > MAX_FRAME:
        kind = type(frame).__name__.lower()
        raise FrameRefused(f"a frame of {len(body)} bytes", f"frame {kind}", f"at most {MAX_FRAME} fit")
    return _HEAD.pack(len(body), google_crc32c.value(body)) + body


def unpack(data: bytes) -> Frame:
    """The frame that `data` holds, whole; raises FrameRefused on any other bytes."""
    return _unpacked(data, _decoder)


def unpack_work(data: bytes) -> ReadWork:
    """The same for a worker; its inboxes are checked by the frame's checksum alone until the driver reads them."""
    return _unpacked(data, _work_decoder)


def _unpacked(data: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    if len(data) < _HEAD.size:
        raise FrameRefused("frame shorter than its head", todo="it is sent again")
    length, checksum = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if length != len(body) or length > MAX_FRAME:
        raise FrameRefused("frame length does not match", todo="it is sent again")
    if google_crc32c.value(body) != checksum:
        raise FrameRefused("frame checksum does not match", todo="it is sent again")
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameRefused(f"frame content is not a frame: {error}", todo="it is sent again") from None


def packed_inbox(messages: Sequence[Message]) -> msgspec.Raw:
    """An inbox as it stands in a work frame."""
    return msgspec.Raw(_encoder.encode(messages))


def inbox_of(raw: bytes) -> list[Message]:
    """The inverse of `packed_inbox`."""
    return _inbox_decoder.decode(raw)


def packed_effects(effects: Sequence[Effect]) -> msgspec.Raw:
    """Effects as they stand in an answer."""
    return msgspec.Raw(_encoder.encode(effects))


def effects_of(raw: bytes) -> tuple[Effect, ...]:
    """The inverse of `packed_effects`."""
    return _effects_decoder.decode(raw)


_inbox_decoder = msgspec.msgpack.Decoder(list[Message])
_effects_decoder = msgspec.msgpack.Decoder(tuple[Effect, ...])


def arguments_of(record: bytes | msgspec.Raw) -> StepArguments:
    """The record of a replay."""
    return _record_decoder.decode(record)


def outcome_sum(status: str, effects: Sequence[Effect] | msgspec.Raw) -> int:
    """What a replayed step is compared by: CRC-32C over its status and effects, image left out.

    It tells a build that computes otherwise from one that does not; what it misses once in 2^32 times, the digest of
    the agent's next image finds.
    """
    checksum: int = google_crc32c.value(_encoder.encode((status, effects)))
    return checksum


def effects_sum(effects: bytes | msgspec.Raw) -> int:
    """`outcome_sum` of a step that ended well, of its effects as they stand in an answer."""
    checksum: int = google_crc32c.extend(_OK, effects)
    return checksum
