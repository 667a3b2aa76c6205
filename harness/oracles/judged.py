"""What oracles judge: one run's history, the runs it is compared with, and indexes over them that oracles share.

Each index is made on first use, in one pass over its record. The guests' side, the client's side and the journal's side
stay apart here: `executions` and `client` know nothing of the journal; only `flows` joins them, by sequence number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.history import GuestEvent, History
from harness.oracles import reading
from harness.oracles.conversations import Asked, follow
from harness.oracles.envelopes import Envelope, open_envelope
from harness.oracles.flows import Execution, Flows, Key, join
from harness.oracles.verdict import Unjudged
from runtime.frames import InferenceItem
from runtime.state import Inference, Input, State, decode

CUT_SHORT = ("died", "stopped")  # a crossing that a worker's death ended: what it did is a prefix of the step


@dataclass
class Judged:
    """One run and what it is compared with; what is missing leaves the oracles that need it UNKNOWN.

    `twin` is the plan without transparent faults, `baseline` also without visible ones, `repeat` the plan once more,
    `others` the plan under other numbers of workers, `devices` on other devices, by their names. `recompute` gives the
    result of a request, by the digest of its model, on the CPU and apart from any run. `replays` are (snapshot, final
    state's bytes) of recoveries from each snapshot. `bound_ns` bounds the time a tick may stay open after healing; 0
    is: not known.
    """

    history: History
    twin: History | None = None
    baseline: History | None = None
    repeat: History | None = None
    others: Mapping[int, History] = field(default_factory=dict)
    replays: tuple[tuple[str, bytes], ...] = ()
    bound_ns: int = 0
    invariant: Callable[[History], list[str]] | None = None
    devices: Mapping[str, History] = field(default_factory=dict)
    recompute: Callable[[str, InferenceItem], Inference] | None = None

    @cached_property
    def journal(self) -> reading.Journal:
        """The journal as far as it verifies; raises Unjudged when there is none."""
        if not self.history.journal:
            raise Unjudged("there is no journal")
        return reading.parse(self.history.journal, *self.chained)

    @cached_property
    def chained(self) -> tuple[int, list[reading.Chained], tuple[int, str] | None]:
        return reading.chain(self.history.journal)

    @cached_property
    def executions(self) -> dict[Key, Execution]:
        """Per step the first crossing that was not cut short; of a step that only ever died its first one."""
        found: dict[Key, Execution] = {}
        for index, event in enumerate(self.history.guests):
            key = (event.tick, event.agent, event.kind)
            old = found.get(key)
            if old is None or (old.event.status in CUT_SHORT and event.status not in CUT_SHORT):
                found[key] = Execution(index, event, self.opened(event))
        return found

    @cached_property
    def client(self) -> dict[tuple[str, int], Input]:
        """What the client sent, by (source, n); resent ones once."""
        return {(item.source, item.n): item for item in self.history.sent}

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration that the journal's first block admits."""
        for block in self.journal.blocks[:1]:
            for item in block.inputs:
                if item["action"]["do"] == "configure":
                    return dict(item["action"]["config"])
        raise Unjudged("the journal's first block does not configure the run")

    @cached_property
    def flows(self) -> Flows:
        return join(self.journal, self.executions, self.client, len(self.config["topics"]))

    @property
    def infers(self) -> bool:
        """Whether any inference is on record, on either side of the device port."""
        if self.history.inferences or not self.history.journal:
            return bool(self.history.inferences)
        return any(block.inferences for block in self.journal.blocks)

    @cached_property
    def conversations(self) -> dict[int, Asked]:
        return follow(self.journal, self.flows, self.history.blobs)

    @cached_property
    def final(self) -> State:
        """The state tree at the end; raises Unjudged when the run has none."""
        if not self.history.final_state:
            raise Unjudged("there is no final state")
        return decode(self.history.final_state)

    @cached_property
    def crossings(self) -> list[GuestEvent]:
        if not self.history.guests:
            raise Unjudged("there is no guest log")
        return self.history.guests

    @staticmethod
    def opened(event: GuestEvent) -> tuple[Envelope, ...]:
        return tuple([open_envelope(data) for data in event.inbox])
