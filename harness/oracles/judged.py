"""What oracles judge: one run's history, the runs it is compared with, and indexes over them that oracles share.

Each index is made on first use, in one pass over its record. The guests' side, the client's side and the journal's side
stay apart here: `executions` and `client` know nothing of the journal; only `flows` joins them, by sequence number.

Much of what oracles find is a pure function of a few records. Where another run has been judged (`known`) and has the
same ones, byte for byte, what was found there holds here as well: `settled` says for which records. The records are
compared, never assumed: a guest log that differs in one byte of one crossing is judged anew, and so is every record
that differs from run to run (trace, receipts, stores, injections, crashes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from operator import attrgetter
from typing import Any

from msgspec.structs import replace

from faults.catalogue import kind_of
from faults.evidence import Trace
from harness.history import GuestCall, GuestEvent, History
from harness.oracles import reading
from harness.oracles.conversations import Asked, follow
from harness.oracles.flows import Execution, Flows, Key, join
from harness.oracles.verdict import Unjudged
from runtime.errors import Refused
from runtime.frames import InferenceItem, Output
from runtime.state import Inference, Input, State, Submit, decode

Part = Callable[["Judged"], list[str]]  # a part of an oracle: the violations that it finds in some of the records

_Content = tuple[str, bytes, bytes | tuple[GuestCall, ...]]
_content_of: Callable[[GuestEvent], _Content] = attrgetter("status", "given", "made")

_MISCOMPUTED = "worker.wrong"
UNNAMED = ("exception", "liveness", "process")  # ends that no check of the runtime gives
CUT_SHORT = ("died", "stopped")  # a crossing that a worker's death ended: what it did is a prefix of the step


def class_of(kind: str) -> str:
    """The fault's class (DESIGN's words), "" for a kind that the catalogue does not know."""
    try:
        return kind_of(kind).class_
    except Refused:
        return ""


@dataclass
class Judged:
    """One run and what it is compared with; what is missing leaves the oracles that need it UNKNOWN.

    `twin` is the plan without transparent faults, `baseline` also without visible ones, `repeat` the plan once more,
    `others` the plan under other numbers of workers, `devices` on other devices, by their names. `recompute` gives the
    result of a request, by the digest of its model, on the CPU and apart from any run. `replays` are (snapshot, final
    state's bytes) of recoveries, by what each began with. `bound_ns` bounds the time a tick stays open after healing; 0
    is: not known. `varied` are runs in which only what must not matter is another, by oracle and by what it is.
    `known` is another run, judged with the same oracles. `modules` are the scenario's, by digest; `models` the sizes of
    its models in bytes, likewise.
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
    varied: dict[str, dict[str, History]] = field(default_factory=dict)
    known: Judged | None = None
    modules: Mapping[str, bytes] = field(default_factory=dict)
    models: Mapping[str, int] = field(default_factory=dict)
    _clean: dict[Part, bool] = field(default_factory=dict)

    # --- damage -----------------------------------------------------------------------------------------------------

    @cached_property
    def damaged(self) -> bool:
        """Whether a fault was carried out that may stop the run."""
        return any(class_of(self.history.plan.faults[i.fault].kind) == "failstop" for i in self.history.injections)

    @property
    def stopped(self) -> bool:
        """Whether the run ended where it may end: what it left is damaged, and is judged by its receipts alone."""
        return self.damaged and bool(self.history.failure) and self.history.failure not in UNNAMED

    # --- what another run has settled -------------------------------------------------------------------------------

    def settled(self, part: Part) -> list[str]:
        """What `part` finds, without a look where the known run has the same records and it found nothing there.

        A part may read the journal, the blobs, what the client sent, the accepted crossing of each step, and the final
        state; of crossings not when and where they ran.
        """
        return self._unless(self.same_records, part)

    def settled_by_journal(self, part: Part) -> list[str]:
        """`settled` for a part that reads nothing but the journal's bytes."""
        return self._unless(self.same_journal, part)

    def settled_by_outcome(self, part: Part) -> list[str]:
        """`settled` for a part that reads nothing but journal, blobs, final state, and outputs that left."""
        known = self.known
        same = self.same_end and known is not None and self.outputs == known.outputs
        return self._unless(same and known is not None and known.invariant == self.invariant, part)

    def _unless(self, same: bool, part: Part) -> list[str]:
        return [] if same and self.known is not None and self.known.is_clean(part) else part(self)

    def is_clean(self, part: Part) -> bool:
        """Whether `part` finds nothing in this run; a part that cannot judge it has not found nothing."""
        if part not in self._clean:
            try:
                self._clean[part] = not part(self)
            except Exception:  # the run at hand is judged on its own then, and says so itself
                self._clean[part] = False
        return self._clean[part]

    def forget(self) -> None:
        """Drop the indexes that are large and of use for one run only; they are made again when asked for."""
        for name in ("keys", "_as_known", "_as_known_at", "executions", "flows", "conversations", "repeats"):
            self.__dict__.pop(name, None)

    @cached_property
    def same_journal(self) -> bool:
        return self.known is not None and self.history.journal == self.known.history.journal

    @cached_property
    def same_end(self) -> bool:
        """The same journal, blobs and final state."""
        if self.known is None or not self.same_journal:
            return False
        ours, theirs = self.history, self.known.history
        return ours.final_state == theirs.final_state and ours.blobs == theirs.blobs

    @cached_property
    def same_records(self) -> bool:
        return self.same_end and self.known is not None and self.client == self.known.client and self._met is not None

    @cached_property
    def _met(self) -> list[tuple[int, GuestEvent, GuestEvent]] | None:
        """The crossings that differ from the known run's accepted one of their step; None unless all accepted are same.

        Each with its place in the guest log and with that one. A crossing that was not cut short before the accepted
        one has come would be the accepted one itself.
        """
        known = self.known.accepted if self.known is not None else None
        if known is None:
            return None
        guests, keys, same = self.guests, self.keys, self._as_known
        if len(self._as_known_at) != len(known[1]):
            return None
        odd: list[tuple[int, GuestEvent, GuestEvent]] = []
        index = -1
        for _ in range(same.count(False)):
            index = same.index(False, index + 1)
            event, key = guests[index], keys[index]
            if key not in known[0] or (event.status not in CUT_SHORT and key not in compress(keys[:index], same)):
                return None
            odd.append((index, event, known[0][key]))
        return odd

    @cached_property
    def _as_known(self) -> list[bool]:
        """Per crossing whether it got and did what the known run's accepted one of its step did."""
        known = self.known.accepted if self.known is not None else None
        content = known[1].get if known is not None else dict[Key, _Content]().get
        return [content(key) == (e.status, e.given, e.made) for key, e in zip(self.keys, self.guests, strict=True)]

    @cached_property
    def _as_known_at(self) -> dict[Key, int]:
        """When each step first crossed as in the known run; steps that did not are left out."""
        same, at = self._as_known[::-1], [event.at for event in reversed(self.guests)]
        return dict(zip(compress(reversed(self.keys), same), compress(at, same), strict=True))  # the first one stays

    # --- the records, indexed ---------------------------------------------------------------------------------------

    @cached_property
    def journal(self) -> reading.Journal:
        """The journal as far as it verifies; raises Unjudged when there is none."""
        if not self.history.journal:
            raise Unjudged("there is no journal")
        if self.known is not None and self.same_journal:
            return self.known.journal
        return reading.parse(self.history.journal, *self.chained)

    @cached_property
    def chained(self) -> tuple[int, list[reading.Chained], tuple[int, str] | None]:
        if self.known is not None and self.same_journal:
            return self.known.chained
        return reading.chain(self.history.journal)

    @cached_property
    def blob_ends(self) -> list[int]:
        """Per block, up to which byte of the file of blobs it needs them; raises Unjudged when one is not there."""
        known, file = self.known, self.history.files.get("blobs", b"")
        if known is not None and self.same_journal and known.history.files.get("blobs", b"") == file:
            return known.blob_ends
        places = reading.blob_places(file)
        ends = []
        for block in self.journal.blocks:
            needed = reading.blobs_of(block)
            if any(digest not in places for digest in needed):
                raise Unjudged(f"block {block.block} needs a blob that is not in the file of blobs")
            ends.append(max((places[digest] for digest in needed), default=0))
        return ends

    @cached_property
    def outputs(self) -> list[Output]:
        """What left, in the order in which the client received it."""
        return [output for receipt in self.history.receipts for output in receipt.outputs]

    @cached_property
    def guests(self) -> list[GuestEvent]:
        """The guest log, in which a crossing that computed wrong, as the fault layer knows, is one that was cut short.

        What it did must count for nothing, as of a worker that died in it.
        """
        faults = self.history.plan.faults
        wrong = {
            (i.fields["worker"], i.fields["tick"], i.fields["agent"])
            for i in self.history.injections
            if faults[i.fault].kind == _MISCOMPUTED
        }
        if not wrong:
            return self.history.guests
        return [
            replace(event, status=CUT_SHORT[0], made=()) if (event.worker, event.tick, event.agent) in wrong else event
            for event in self.history.guests
        ]

    @cached_property
    def trace(self) -> Trace:
        return Trace(self.history.trace)

    @cached_property
    def keys(self) -> list[Key]:
        """Per crossing of `guests` the step that it is of."""
        return [(event.tick, event.agent, event.kind) for event in self.guests]

    @cached_property
    def executions(self) -> dict[Key, Execution]:
        """Per step the first crossing that was not cut short; of a step that only ever died its first one."""
        found: dict[Key, Execution] = {}
        for index, (key, event) in enumerate(zip(self.keys, self.guests, strict=True)):
            old = found.get(key)
            if old is None or (old.event.status in CUT_SHORT and event.status not in CUT_SHORT):
                found[key] = Execution(index, event)
        return found

    @property
    def done_at(self) -> dict[Key, int]:
        """When each step was carried out: its accepted crossing. Steps that were only ever cut short are left out."""
        if self.same_records:
            return self._as_known_at
        executions = self.executions.items()
        return {key: done.event.at for key, done in executions if done.event.status not in CUT_SHORT}

    @cached_property
    def accepted(self) -> tuple[dict[Key, GuestEvent], dict[Key, _Content]] | None:
        """The accepted crossing per step, and what it got and did; None when there are none, or one was cut short."""
        found = {key: execution.event for key, execution in self.executions.items()}
        if not found or any(event.status in CUT_SHORT for event in found.values()):
            return None
        return found, {key: _content_of(event) for key, event in found.items()}

    @cached_property
    def steps_crossed(self) -> int:
        """How many different steps crossed into a module, whole or in part."""
        if self._met is not None and self.known is not None and self.known.accepted is not None:
            return len(self.known.accepted[0])
        return len(self.executions)

    @cached_property
    def repeats(self) -> list[tuple[int, GuestEvent, GuestEvent]]:
        """The crossings that are not the accepted one of their step, nor the same: place in the log, it, the accepted.

        Of the accepted one only what it got and did counts: it may be the known run's.
        """
        if self.same_records and self._met is not None:
            return self._met
        found = []
        for index, event in enumerate(self.guests):
            accepted = self.executions[event.tick, event.agent, event.kind].event
            if event is not accepted and _content_of(event) != _content_of(accepted):
                found.append((index, event, accepted))
        return found

    def accepted_at(self, event: GuestEvent) -> int:
        """The place in the guest log of the accepted crossing of this one's step."""
        return self.executions[event.tick, event.agent, event.kind].number

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
        return join(self.journal, self.executions, self.client, self.config)

    @property
    def infers(self) -> bool:
        """Whether any inference is on record, on either side of the device port."""
        if self.history.inferences or not self.history.journal:
            return bool(self.history.inferences)
        return any(block.inferences for block in self.journal.blocks)

    @property
    def submits(self) -> bool:
        """Whether tasks that need each other were submitted, by the client or by the journal."""
        if any(isinstance(item.action, Submit) for item in self.history.sent):
            return True
        return bool(self.history.journal) and any(
            item["action"]["do"] == "submit" for block in self.journal.blocks for item in block.inputs
        )

    @property
    def shares(self) -> bool:
        """Whether there are shared buffers; a run that does not say so is taken to have some, and is UNKNOWN then."""
        if self.history.stores:
            return True
        try:
            return bool(self.config["buffers"])
        except Exception:  # no journal, or one that cannot be read
            return True

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
        return self.guests
