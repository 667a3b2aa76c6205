"""Golden answers: what a model says to a fixed conversation, and whether a device says the same, bit for bit (INF-1).

Guards against a device that computes otherwise without an error: one that rounds, that uses fewer bits, that has other
weights, or that is wrong only with a KV cache, with a batch, or with several tokens at once; each of these is asked.
Recorded once on the CPU and kept beside the model; an exact model's answers hold for every device.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

from runtime.errors import ModelFailed, Refused
from runtime.frames import InferenceItem
from runtime.ports import Decoder
from runtime.state import Inference

VERSION = 1
PROMPT = (72, 101, 108, 108, 111)
STEPS = 6
BYTES_MAX = 1 << 20


class Answer(Struct, frozen=True, array_like=True):
    """One result: token, sha256 (hex) of the last position's logits, sha256 (hex) of what it adds to the KV cache."""

    token: int
    logits: str
    kv: str


class Golden(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`model` is the digest of the model's bytes; the answers are in the order of `conversation`."""

    answers: tuple[Answer, ...]
    model: str
    prompt: tuple[int, ...] = PROMPT
    version: int = VERSION


def conversation(decoder: Decoder, prompt: tuple[int, ...], steps: int) -> list[Inference]:
    """The prompt at once, then `steps` tokens one by one, then two requests of two tokens each in one batch.

    `len(prompt) + steps + 2` tokens of the context are used. Raises ModelFailed.
    """
    found = decoder.run([InferenceItem(1, 0, prompt, b"")])
    kv, held = found[0].kv, len(prompt)
    for _ in range(steps):
        found += decoder.run([InferenceItem(1, held, (found[-1].token,), kv)])
        kv, held = kv + found[-1].kv, held + 1
    pair = (found[-1].token, found[-2].token)
    return found + decoder.run([InferenceItem(1, held, pair, kv), InferenceItem(2, held, pair[::-1], kv)])


def record(decoder: Decoder, model: str, prompt: tuple[int, ...] = PROMPT, steps: int = STEPS) -> Golden:
    """The answers of this decoder, to which others are held; raises ModelFailed."""
    return Golden(answers=tuple(map(_answer, conversation(decoder, prompt, steps))), model=model, prompt=prompt)


def _answer(result: Inference) -> Answer:
    return Answer(result.token, result.logits, hashlib.sha256(result.kv).hexdigest())


def difference(golden: Golden, decoder: Decoder) -> str:
    """The first answer in which the decoder differs, in one line; "" when all are the golden ones, bit for bit."""
    try:
        found = [_answer(one) for one in conversation(decoder, golden.prompt, len(golden.answers) - 3)]
    except ModelFailed as failed:
        return f"it fails: {failed.reason}"
    for place, (ours, theirs) in enumerate(zip(golden.answers, found, strict=True), 1):
        if ours != theirs:
            named = (("token", ours.token, theirs.token), ("logits", ours.logits[:12], theirs.logits[:12]))
            parts = [f"{name} {theirs_}, not {ours_}" for name, ours_, theirs_ in named if ours_ != theirs_]
            parts += ["another KV cache"] if ours.kv != theirs.kv else []
            return f"golden answer {place} of {len(found)}: {'; '.join(parts)}"
    return ""


def to_json(golden: Golden) -> bytes:
    return msgspec.json.format(msgspec.json.encode(golden), indent=1) + b"\n"


def from_json(data: bytes, where: str) -> Golden:
    """The golden answers in a file's bytes; raises Refused."""
    todo = "record it again from the model"
    if len(data) > BYTES_MAX:
        raise Refused(f"{len(data)} bytes, at most {BYTES_MAX} are read", where, todo)
    try:
        golden = msgspec.json.decode(data, type=Golden)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"no golden answers: {error}", where, todo) from None
    if golden.version != VERSION:
        raise Refused(f"golden answers of version {golden.version}, this build reads {VERSION}", where, todo)
    if not golden.prompt or len(golden.answers) < 4:
        raise Refused("golden answers without a conversation", where, todo)
    return golden
