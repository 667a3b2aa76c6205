"""Where each agent can be started from: the newest image held, and the step records since, with their outcomes.

What a step has observed is kept here until the agent's next image, so a lost worker costs a restore and a replay, and
a replay is compared step by step.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from runtime.frames import Base, ImageDelta, Replay, effects_sum, outcome_sum
from runtime.snapshot import HeldImage
from runtime.state import AgentSpec, Change, Outcome, StepRecord


class _Kept(Struct, array_like=True, gc=False):
    """The Outcome of a plain step as it is kept; its status is "ok", and it left no image."""

    status: str
    effects: msgspec.Raw


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[msgspec.Raw, _Kept])


def kept(record: StepRecord, outcome: Outcome) -> bytes:
    """A plain committed step as it is kept: one object in place of twenty, of which most are dropped unread."""
    return _encoder.encode((record, outcome))


class Residence:
    """`image` is None before the first one of a life; `replay` are the committed steps after it.

    `spec` is the one that it starts from; `newest` is another where a reload is among the steps. `since` are the steps
    since the image, in order; plain ones as `kept` packs them.
    """

    __slots__ = ("_replays", "image", "newest", "since", "spec")  # one for every agent, met in every tick

    def __init__(self, spec: AgentSpec) -> None:
        self.spec = self.newest = spec
        self.image: HeldImage | None = None
        self.since: list[bytes | Replay] = []
        self._replays: list[Replay] = []  # of the first of them: those that have been asked for

    @property
    def replay(self) -> list[Replay]:
        """The committed steps since the image; made when asked for, as most are never fed again."""
        replays = self._replays
        for step in self.since[len(replays) :]:
            if isinstance(step, Replay):
                replays.append(step)
            else:  # the record stays as it is packed: a frame takes it so, and who feeds it again as well
                record, outcome = _decoder.decode(step)
                replays.append(Replay(record, effects_sum(outcome.effects), "", True))  # type: ignore[arg-type]
        return replays

    def base(self) -> Base:
        return Base(self.spec, self.image.image() if self.image else None, tuple(self.replay))

    def next_image(self, delta: ImageDelta) -> HeldImage:
        """The image that `delta` makes of the one held; raises FrameRefused when it does not fit."""
        return (self.image or HeldImage()).apply(delta)

    def settle(self, record: StepRecord, outcome: Outcome, image: HeldImage | None, data: dict[int, bytes]) -> None:
        """Take a committed step in; `data` are the bytes of the buffer versions that it read, by buffer."""
        if record.change is not None:
            self._change(record, record.change, outcome, image)
            return
        if outcome.status != "ok":
            self.begin(None)
            return
        if record.kind == "init":
            self.begin(None)
        if image:
            self.begin(image)
            return
        if not (record.snapshot or record.views or record.grants):
            self.since.append(kept(record, outcome))
            return
        if record.views:
            record = replace(record, views=tuple(replace(view, data=data[view.buffer]) for view in record.views))
        self._keep(record, outcome)

    def _keep(self, record: StepRecord, outcome: Outcome) -> None:
        self.since.append(Replay(record, outcome_sum(outcome.status, outcome.effects), outcome.image))

    def begin(self, image: HeldImage | None) -> None:
        """Start from this image, or from nothing, from now on."""
        self.image, self.since, self.spec = image, [], self.newest
        self._replays = []

    def reload(self, spec: AgentSpec) -> None:
        """The agent's module is this spec's, in the image that is held already."""
        self.spec = self.newest = spec

    def _change(self, record: StepRecord, change: Change, outcome: Outcome, image: HeldImage | None) -> None:
        """A reload: it begins anew with its image; one that was rolled back is a step that does nothing."""
        if outcome.status != "ok":
            if change.carried:
                self._keep(replace(record, change=None), Outcome("ok", ()))
            return
        self.newest = change.spec
        if image or not change.carried:
            self.begin(image)
        else:  # recovered without its image: it is made again, of the one before
            self._keep(record, outcome)
