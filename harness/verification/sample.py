"""What a run leaves that can be compared: its journal's chain, block by block, and its trace, record by record.

The journal is read by the oracles' own reader, which shares no code with the runtime's. The trace has no chain of its
own; one is made here, over pieces of `PIECE` records, so that both are searched in the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property

from harness.oracles import reading

PIECE = 64  # records of a trace that make one link


class Sample:
    """One run's journal and trace (JSON lines, None where there is none). `failure` says what stopped the run."""

    def __init__(
        self, journal: bytes, trace: bytes | None = None, failure: str = "", told: tuple[str, ...] = ()
    ) -> None:
        self.failure, self.told = failure, told
        _, lines, damage = reading.chain(journal) if journal else (0, [], (0, "there is no journal"))
        if damage and not failure:
            self.failure = f"the journal does not verify: block {damage[0]}: {damage[1]}"
        self.links = [line.hash for line in lines]
        self.bodies = [line.body for line in lines]
        self._trace = trace

    @property
    def journal_digest(self) -> str:
        """The last link of the chain; "" where the run failed or left none."""
        return self.links[-1] if self.links and not self.failure else ""

    @cached_property
    def trace_digest(self) -> str:
        return "" if self._trace is None or self.failure else hashlib.sha256(self._trace).hexdigest()

    @cached_property
    def records(self) -> list[bytes]:
        """The trace's lines."""
        return (self._trace or b"").splitlines()

    @cached_property
    def trace_links(self) -> list[str]:
        pieces = (b"\n".join(self.records[at : at + PIECE]) for at in range(0, len(self.records), PIECE))
        return chained(pieces)


def chained(pieces: Iterable[bytes]) -> list[str]:
    """One link per piece, each the sha256 of its predecessor and the piece: links that differ differ ever after."""
    links: list[str] = []
    previous = ""
    for piece in pieces:
        previous = hashlib.sha256(previous.encode() + piece).hexdigest()
        links.append(previous)
    return links


def sample_of(journal: bytes, trace: bytes | None = None) -> Sample:
    return Sample(journal, trace)
