"""Where each agent can be started from: the newest image held, and the step records since, with their outcomes.

What a step has observed is kept here until the agent's next image, so a lost worker costs a restore and a replay, and
a replay is compared step by step.
"""

from __future__ import annotations

from msgspec.structs import replace

from runtime.frames import Base, ImageDelta, Replay
from runtime.snapshot import HeldImage
from runtime.state import AgentSpec, Outcome, StepRecord, outcome_sum


class Residence:
    """`image` is None before the first one of a life; `replay` are the committed steps after it."""

    def __init__(self, spec: AgentSpec) -> None:
        self.spec = spec
        self.image: HeldImage | None = None
        self.since: list[StepRecord | Outcome] = []  # a record, its outcome, the next record, …

    @property
    def replay(self) -> list[Replay]:
        """The committed steps since the image; made when asked for, as most are never fed again."""
        replays = []
        for record, outcome in zip(self.since[::2], self.since[1::2], strict=True):
            assert isinstance(record, StepRecord) and isinstance(outcome, Outcome)
            replays.append(Replay(record, outcome_sum(outcome.status, outcome.effects), outcome.image))
        return replays

    def base(self) -> Base:
        return Base(self.spec, self.image.image() if self.image else None, tuple(self.replay))

    def next_image(self, delta: ImageDelta) -> HeldImage:
        """The image that `delta` makes of the one held; raises FrameRefused when it does not fit."""
        return (self.image or HeldImage()).apply(delta)

    def settle(self, record: StepRecord, outcome: Outcome, image: HeldImage | None, data: dict[int, bytes]) -> None:
        """Take a committed step in; `data` are the bytes of the buffer versions that it read, by buffer."""
        if outcome.status != "ok":
            self.image, self.since = None, []
            return
        if record.kind == "init":
            self.image, self.since = None, []
        if image:
            self.image, self.since = image, []
            return
        if record.views:
            record = replace(record, views=tuple(replace(view, data=data[view.buffer]) for view in record.views))
        self.since += (record, outcome)
