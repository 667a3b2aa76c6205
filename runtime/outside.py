"""What is outside and can be read, as data: sources, answers, and what of it is logical state (EXT-1).

Here are its forms; what is done with them is in `runtime.reads`, and who answers in `runtime.sources`.
"""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType


class SourceSpec(Struct, frozen=True, kw_only=True, gc=False):
    """One source outside that agents may read (EXT-1): an answer is due `delay_ticks` after it was asked for.

    `readers` are the agents that may; unset: all that have the capability `outside`.
    """

    delay_ticks: int = 2
    name: str
    readers: tuple[int, ...] | UnsetType = UNSET


class Answer(Struct, frozen=True, tag_field="do", tag="answer", gc=False):
    """What was read outside for the agent's request with this number; `status` is END, MORE or FAILED of `reads`.

    Its input comes from source `read:` and the name of what was read, and is due when the request said.
    """

    data: bytes
    request: int
    status: int


class Read(Struct, frozen=True, array_like=True, gc=False):
    """What an agent has asked a source for: its message number, and the number `n` of the input that answers.

    `due` is the tick that waits for it; `first` the `n` with which the call began of which this is the next part, or
    its own. One that is not `wanted` any more is admitted in its tick all the same, and delivered to nobody; of one
    that an operator has `cancelled` the agent gets that alone.
    """

    request: int
    agent: int
    source: int
    n: int
    due: int
    first: int
    wanted: bool = True
    cancelled: bool = False


class Reads(Struct):
    """`given` counts what each source was asked for; `calls` are (agent, source, first) of those with parts to come.

    `cancelled` are (agent, source) of calls that an operator ended, whose agents have not been told yet.
    """

    given: list[int] = []
    open: list[Read] = []
    calls: list[tuple[int, int, int]] = []
    cancelled: list[tuple[int, int]] = []
