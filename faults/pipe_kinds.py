"""Faults of pipes: whole links for a while, frames that are overtaken, and pipes that break.

A link is the pipe of one worker process, or that to the clients; a replaced worker has a new one. Rates are percent,
drawn for each frame from the run's seed and the frame's own address, so the same plan means the same everywhere.
"""

from __future__ import annotations

from faults.kind import AGENT, MS, OCCURRENCE, TICK, FaultKind, Form, Key

WAYS = ("both", "to", "from")
NOISES = ("lose", "duplicate", "delay", "corrupt")
NOISY_STEP_MAX = 2  # frames of one step that one noise takes: the next one passes, and no lease runs out for it
NOISY_BLOCK_MAX = 4  # the same of one released block
_LASTING = Key(name="for", meaning="how long", unit="ns", low=1, high=60_000 * MS, default=30 * MS)
_WAY = Key(name="way", meaning="to the worker or client, from it, or both", words=WAYS, default="both")
_FIRST = Key(name="tick", meaning="from the first frame of this tick on")

PIPE_KINDS: tuple[FaultKind, ...] = (
    FaultKind(
        slug="frame.reorder",
        rows=("F37",),
        class_="transparent",
        layer="messaging",
        title="a frame is held back until so many frames behind it on its link have passed, or a time is over",
        keys=(
            TICK,
            AGENT,
            Key(name="direction", meaning="which frame", words=("work", "done", "release")),
            Key(name="block", meaning="block of a release"),
            OCCURRENCE,
        ),
        forms=(
            Form(
                needs=("tick", "agent", "direction"), may=("occurrence",), only=("direction", ("work", "done"))
            ),
            Form(needs=("direction", "block"), may=("occurrence",), only=("direction", ("release",))),
        ),
        params=(
            Key(name="window", meaning="how many frames may overtake it", low=1, high=20, default=2),
            Key(name="for", meaning="how long at most", unit="ns", low=1, high=60_000 * MS, default=30 * MS),
        ),
        counts_when="a frame has overtaken it, and it was sent again before it arrived, or arrives stale",
    ),
    FaultKind(
        slug="link.noise",
        rows=("F35", "F36", "F38", "F41"),
        class_="transparent",
        layer="messaging",
        title="all links are bad for some ticks: each frame is lost, doubled, late or altered with a chance, in bursts",
        keys=(_FIRST, Key(name="direction", meaning="which frames", words=("work", "done", "release"))),
        forms=(Form(needs=("tick", "direction")),),
        params=(
            Key(name="verb", meaning="what becomes of a frame", words=NOISES, default="lose"),
            Key(name="percent", meaning="chance of a frame", low=1, high=100, default=30),
            Key(name="burst", meaning="chance in percent after a frame that was hit", high=100, default=0),
            Key(name="ticks", meaning="how many ticks", low=1, high=20, default=5),
            Key(name="for", meaning="how late a delayed frame is", unit="ns", low=1, high=200 * MS, default=8 * MS),
        ),
        counts_when="one of the frames that were hit counts as with frame.lose and the like",
    ),
    FaultKind(
        slug="link.clog",
        rows=("F39",),
        class_="transparent",
        layer="messaging",
        title="some links stand still, all at once or one by one, and go on in another order; nothing is lost",
        keys=(_FIRST,),
        forms=(Form(needs=("tick",)),),
        params=(
            Key(name="percent", meaning="how many of the links, one at least", low=1, high=100, default=50),
            Key(name="swizzle", meaning="one after the other, or all at once", words=("yes", "no"), default="yes"),
            _LASTING,
        ),
        counts_when="a frame that was held is sent again meanwhile, its lease expires, or it arrives stale",
    ),
    FaultKind(
        slug="link.partition",
        rows=("F40",),
        class_="transparent",
        layer="messaging",
        title="the link to the worker that has a step, or to the clients, is cut, in one way or both, and heals",
        keys=(TICK, AGENT),
        forms=(Form(needs=("tick", "agent")), Form(needs=("tick",))),
        params=(_WAY, _LASTING),
        counts_when="a frame that was lost is sent again, or its lease expires",
    ),
    FaultKind(
        slug="client.stall",
        rows=("F43",),
        class_="transparent",
        layer="messaging",
        title="the client stops reading at a block and reads its backlog later, or is away and comes back",
        keys=(Key(name="block", meaning="block of the first release that it does not read", low=1),),
        forms=(Form(needs=("block",)),),
        params=(
            Key(name="how", meaning="reads later what waits for it, or has to ask for it again", words=("slow", "away"),
                default="slow"),
            _LASTING,
        ),
        counts_when="a block that it did not get in time is released again",
    ),
    FaultKind(
        slug="pipe.errno",
        rows=("F42",),
        class_="transparent",
        layer="messaging",
        title="a worker's pipe breaks while a frame is written, though the worker lives: EPIPE, or after a short write",
        keys=(TICK, AGENT),
        forms=(Form(needs=("tick", "agent")),),
        params=(
            Key(name="error", meaning="nothing got through, or a part", words=("epipe", "short_write"),
                default="epipe"),
            Key(name="byte", meaning="how much of the frame a short write writes, modulo its length", default=8),
        ),
        counts_when="that worker is lost",
    ),
)  # fmt: skip
