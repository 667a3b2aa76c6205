"""A written conversation: what is said to an agent, tick by tick, and what it must do; a TOML file, read whole.

Guards against a test that says something else than its author thinks: unknown keys and names are refused with the
known ones, what could not arrive as written is refused, and all that is wrong is said at once.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from runtime.config import COUNT_MAX, PAYLOAD_MAX, TICK_MAX
from runtime.errors import Refused
from runtime.state import OUTSIDE, Config
from runtime.validated import BYTES_MAX, problems, read_bytes, tree_of
from runtime.wasm.abi import HOST

TODO = "see docs/sdk.md"
SELF, OUT, OPERATOR = "self", "outside", "operator"
DEFAULTS = Config(last_tick=1, seed=0)
TURNS_MAX, PEERS_MAX = 10_000, 64
SENDS_MAX = PAYLOAD_MAX // DEFAULTS.max_payload  # what one frame holds
_U32 = Annotated[int, Field(ge=0, le=OUTSIDE)]
_U64 = Annotated[int, Field(ge=0, lt=1 << 64)]
_I64 = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
_STATUS = (
    r"^(ok|alloc|bad_length|bad_pointer|fuel|not_writer|second_write|decree:lost_workers|decree:deadline|decree:cancelled"
    r"|trap:[a-z_0-9]+|agent_error:\d{1,10})$"
)
_NAME = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


def _hex(value: str) -> str:
    try:
        bytes.fromhex(value)
    except ValueError:
        raise ValueError("give pairs of hex digits") from None
    return value


_Hex = Annotated[str, AfterValidator(_hex)]


def _known(kind: str) -> AfterValidator:
    """A name that the file itself has declared, under `kind`."""

    def check(value: str, info: ValidationInfo) -> str:
        names: Sequence[str] = (info.context or {}).get(kind, ())
        if value not in names:
            raise ValueError(f"it is none of {kind}: {', '.join(names) or 'there are none'}")
        return value

    return AfterValidator(check)


class Part(_Table):
    """One piece of a payload, as the SDKs' writers write it: numbers little-endian; `string` and `bytes` with their
    length (u32) before them, `text` and `hex` as they are."""

    u8: Annotated[int, Field(ge=0, le=255)] | None = None
    u32: _U32 | None = None
    u64: _U64 | None = None
    i64: _I64 | None = None
    f64: float | None = None
    string: str | None = None
    bytes_: _Hex | None = Field(default=None, alias="bytes")
    text: str | None = None
    hex: _Hex | None = None

    @model_validator(mode="after")
    def _one(self) -> Part:
        if len(self.model_fields_set) != 1:
            raise ValueError("give one value to a part")
        return self

    def data(self) -> bytes:
        for name, form in (("u8", "<B"), ("u32", "<I"), ("u64", "<Q"), ("i64", "<q"), ("f64", "<d")):
            value = getattr(self, name)
            if value is not None:
                return struct.pack(form, value)
        counted = self.string if self.string is not None else None
        raw = counted.encode() if counted is not None else bytes.fromhex(self.bytes_ or "")
        if counted is not None or self.bytes_ is not None:
            return struct.pack("<I", len(raw)) + raw
        return self.text.encode() if self.text is not None else bytes.fromhex(self.hex or "")


class _Payload(_Table):
    """Bytes: `text`, `hex`, or `parts`; without one of them none."""

    text: str | None = None
    hex: _Hex | None = None
    parts: Annotated[tuple[Part, ...], Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _at_most_one(self) -> _Payload:
        given = [name for name in ("text", "hex", "parts") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: give one of them")
        if len(self.payload) > PAYLOAD_MAX:
            raise ValueError(f"a payload of more than {PAYLOAD_MAX} bytes")
        return self

    @property
    def payload(self) -> bytes:
        if self.parts is not None:
            return b"".join(part.data() for part in self.parts)
        return self.text.encode() if self.text is not None else bytes.fromhex(self.hex or "")


class Heard(_Payload):
    """Something that the agent is given in a turn: a message from a peer or input from outside, either of them to a
    topic; a peer's new version of a buffer; or an operator's action."""

    from_: Annotated[str, _known("those who speak")] = Field(alias="from")
    topic: Annotated[str, _known("topics")] | None = None
    buffer: Annotated[str, _known("buffers")] | None = None
    action: Literal["pause", "resume", "terminate", "release"] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Heard:
        if (self.from_ == OPERATOR) != (self.action is not None):
            raise ValueError(f"an action is what from = '{OPERATOR}' has, and nobody else")
        if self.action is not None and self.model_fields_set - {"from_", "action"}:
            raise ValueError("an operator's action has nothing beside it")
        if self.topic is not None and self.buffer is not None:
            raise ValueError("topic and buffer: give one of them")
        if self.buffer is None and len(self.payload) > DEFAULTS.max_payload:
            raise ValueError(f"a payload of more than {DEFAULTS.max_payload} bytes")
        if self.buffer is not None and self.from_ == OUT:
            raise ValueError("only agents write buffers")
        return self


_FIELDS: dict[str, str] = {  # call -> what it is addressed to
    "send": "to",
    "publish": "topic",
    "subscribe": "topic",
    "unsubscribe": "topic",
    "wake": "ticks",
    "buffer_write": "buffer",
    "output": "",
    "infer": "model",
    "read": "source",
    "cancel": "source",
}
_BARE = ("subscribe", "unsubscribe", "wake", "cancel")
assert set(_FIELDS) == {name for name, function in HOST.items() if function.kind == "effect"}


class Done(_Payload):
    """One host call with an effect, as the agent must make it. `any`: its payload may be whatever it is."""

    call: Literal[
        "send", "publish", "subscribe", "unsubscribe", "wake", "buffer_write", "output", "infer", "read", "cancel"
    ]
    to: Annotated[str, _known("agents")] | None = None
    topic: Annotated[str, _known("topics")] | None = None
    ticks: _U32 | None = None
    buffer: Annotated[str, _known("buffers")] | None = None
    model: Annotated[str, _known("models")] | None = None
    source: Annotated[str, _known("sources")] | None = None
    any: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Done:
        needed = _FIELDS[self.call]
        for name in dict.fromkeys(filter(None, _FIELDS.values())):
            if (getattr(self, name) is not None) != (name == needed):
                raise ValueError(f"{self.call} needs {name}" if name == needed else f"{self.call} has no {name}")
        told = self.model_fields_set & {"text", "hex", "parts"}
        if told and (self.any or self.call in _BARE):
            what = "any says it all" if self.any else "it has no payload"
            raise ValueError(f"{', '.join(sorted(told))}: {what}")
        return self


class _Ended(_Table):
    """How a step ended, and what it did: nothing, where nothing is said."""

    does: Annotated[tuple[Done, ...], Field(strict=False)] = ()
    status: Annotated[str, Field(pattern=_STATUS)] = "ok"

    @model_validator(mode="after")
    def _whole(self) -> _Ended:
        if self.status != "ok" and self.does:
            raise ValueError("a step that fails does nothing: leave out does")
        return self


class Turn(_Ended):
    """One tick of the agent's: what it hears, and what its step then does."""

    tick: Annotated[int, Field(ge=1, lt=TICK_MAX)]
    hears: Annotated[tuple[Heard, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _in_order(self, info: ValidationInfo) -> Turn:
        peers: Sequence[str] = (info.context or {}).get("peers", ())
        late = len(peers) + 1
        places = [
            late if heard.buffer else peers.index(heard.from_) if heard.from_ in peers else late - 1
            for heard in self.hears
        ]
        if places != sorted(places):
            raise ValueError(
                "hears: they arrive in another order; first peers as in `peers`, then outside, then buffers"
            )
        if self.tick == 1 and any(heard.from_ in peers for heard in self.hears):
            raise ValueError("a peer speaks in tick 2 at the earliest")
        return self


class Source(_Table):
    """What the agent may read outside, and what it is told, read after read; then reading it fails."""

    name: _NAME
    says: Annotated[tuple[_Payload, ...], Field(strict=False, max_length=TURNS_MAX)] = ()


class Buffer(_Table):
    """A shared buffer: its bytes, and who writes it."""

    name: _NAME
    capacity: Annotated[int, Field(ge=1, le=PAYLOAD_MAX)]
    writer: Annotated[str, _known("agents")]


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    names = [getattr(value, "name", value) for value in values]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(map(str, twice))} is there twice")
    return values


def _not_taken(name: str) -> str:
    if name in (SELF, OUT, OPERATOR):
        raise ValueError("this name means something else")
    return name


def _increasing(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    for before, after in itertools.pairwise(turns):
        if after.tick <= before.tick:
            raise ValueError(f"tick {after.tick} comes after tick {before.tick}: one turn for each tick, in order")
    return turns


_Names = Annotated[tuple[_NAME, ...], Field(strict=False, max_length=PEERS_MAX), AfterValidator(_distinct)]


class Conversation(_Table):
    """The whole file. The agent has number 0, `peers` 1 and on; topics and buffers count from 0, in their order.

    `end` is the tick in which the agent is shut down, by default the one after the last turn.
    """

    peers: Annotated[
        tuple[Annotated[_NAME, AfterValidator(_not_taken)], ...],
        Field(strict=False, max_length=PEERS_MAX),
        AfterValidator(_distinct),
    ] = ()
    topics: _Names = ()
    buffers: Annotated[tuple[Buffer, ...], Field(strict=False, max_length=PEERS_MAX), AfterValidator(_distinct)] = ()
    reads: Annotated[tuple[Annotated[str, _known("buffers")], ...], Field(strict=False), AfterValidator(_distinct)] = ()
    models: Annotated[tuple[Literal["small"], ...], Field(strict=False), AfterValidator(_distinct)] = ()
    sources: Annotated[tuple[Source, ...], Field(strict=False, max_length=PEERS_MAX), AfterValidator(_distinct)] = ()
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 1
    end: Annotated[int, Field(ge=2, le=TICK_MAX)] | None = None
    mailbox: Annotated[int, Field(ge=1, le=COUNT_MAX)] = DEFAULTS.mailbox
    send_limit: Annotated[int, Field(ge=1, le=SENDS_MAX)] = DEFAULTS.send_limit
    init: _Ended = Field(default_factory=_Ended)
    shutdown: _Ended = Field(default_factory=_Ended)
    turn: Annotated[
        tuple[Turn, ...], Field(strict=False, min_length=1, max_length=TURNS_MAX), AfterValidator(_increasing)
    ]

    @model_validator(mode="after")
    def _ends(self) -> Conversation:
        if self.end is not None and self.end <= self.turn[-1].tick:
            raise ValueError(f"end: {self.end} is not after the last turn, tick {self.turn[-1].tick}")
        return self

    @property
    def last_tick(self) -> int:
        return self.end or self.turn[-1].tick + 1

    def agent(self, name: str) -> int:
        return 0 if name == SELF else 1 + self.peers.index(name)


def read_conversation(path: Path) -> Conversation:
    """The conversation in a TOML file; raises Refused with everything that is wrong."""
    tree = tree_of(read_bytes(path, BYTES_MAX), str(path), TODO)
    try:
        return Conversation.model_validate(tree, context=_declared(tree))
    except ValidationError as error:
        raise Refused(problems(error, Conversation), str(path), TODO) from None


def _declared(tree: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """The names that a file declares, so that what uses them can be judged together with the rest."""
    peers, topics = _texts(tree.get("peers")), _texts(tree.get("topics"))
    return {
        "peers": peers,
        "agents": (SELF, *peers),
        "those who speak": (OUT, OPERATOR, *peers),
        "topics": topics,
        "buffers": _named(tree.get("buffers")),
        "models": _texts(tree.get("models")),
        "sources": _named(tree.get("sources")),
    }


def _named(listed: object) -> tuple[str, ...]:
    return _texts([one.get("name") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else [])


def _texts(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
