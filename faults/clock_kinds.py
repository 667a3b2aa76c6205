"""Faults of the machine's clock, and of who calls the runtime: jumps, strobes, drift; calls repeated or left out.

The runtime's waits, leases and resends rest on that clock and on those calls; nothing logical may. Also the order in
which what came at the same time is met, before anything is put in order.
"""

from __future__ import annotations

from faults.kind import MS, FaultKind, Form, Key

# Jepsen, time.clj: a jump is 1.5^(6..31) ms either way, a strobe's 2^(2..18) ms every 2^(0..10) ms.
JUMP_POWERS, STROBE_POWERS, PERIOD_POWERS = (6, 31), (2, 18), (0, 10)
PPM = 500
HOW = ("freeze", "slow", "fast", "leap_second", "year_2038")
_HOUR = 3_600_000 * MS
_LATEST = 10 * MS  # two resends
_TICK = Key(name="tick", meaning="the first reading at this tick or later")
_READ = Key(name="occurrence", meaning="which such reading, counted from 1", low=1, default=1)
_FOR = Key(name="for", meaning="how long it lasts", low=MS, high=32_000 * MS, unit="ns", default=30 * MS)
_AT = (Form(needs=("tick",), may=("occurrence",)),)


CLOCK_KINDS: tuple[FaultKind, ...] = (
    FaultKind(
        slug="scheduler.permute",
        rows=("F03",),
        class_="transparent",
        layer="scheduler",
        title="answers that come within a moment, and the inputs of a client's frame, are met in another order",
        keys=(Key(name="tick", meaning="from the first answer of this tick on"),),
        forms=(Form(needs=("tick",)),),
        params=(
            Key(name="ticks", meaning="how many ticks", low=1, high=20, default=5),
            Key(name="for", meaning="how long a moment is", low=1, high=3 * MS, unit="ns", default=MS),
        ),
        counts_when="two answers are received the other way round",
    ),
    FaultKind(
        slug="tick.repeat",
        rows=("F04",),
        class_="transparent",
        layer="scheduler",
        title="the runtime is called again with nothing new, or not called although something has come",
        keys=(
            Key(name="tick", meaning="a call while this tick is open, or a later one"),
            Key(name="occurrence", meaning="which such call, counted from 1", low=1, default=1),
        ),
        forms=(Form(needs=("tick",), may=("occurrence",)),),
        params=(
            Key(name="how", meaning="called again at once, or not at all", words=("again", "skipped"), default="again"),
            Key(name="times", meaning="how many further calls", low=1, high=16, default=1),
            Key(
                name="for",
                meaning="when a call that was left out is made at last",
                low=1,
                high=_LATEST,
                unit="ns",
                default=5 * MS,
            ),
        ),
        counts_when="the tick is open at that call; where it is left out, until the next call finds something",
    ),
    FaultKind(
        slug="clock.jump",
        rows=("F71",),
        class_="transparent",
        layer="clock",
        title="the machine's clock jumps, forwards or backwards",
        keys=(_TICK, _READ),
        forms=_AT,
        params=(
            Key(name="way", meaning="where to", words=("forwards", "backwards"), default="forwards"),
            Key(name="by", meaning="how far", low=1, high=_HOUR, unit="ns", default=1000 * MS),
        ),
        counts_when="the runtime says so",
    ),
    FaultKind(
        slug="clock.strobe",
        rows=("F72",),
        class_="transparent",
        layer="clock",
        title="the machine's clock goes back and forth between two times",
        keys=(_TICK, _READ),
        forms=_AT,
        params=(
            Key(name="delta", meaning="how far", low=1, high=_HOUR, unit="ns", default=200 * MS),
            Key(name="period", meaning="how long at each", low=100_000, high=1024 * MS, unit="ns", default=4 * MS),
            _FOR,
        ),
        counts_when="the runtime says so of both ways",
    ),
    FaultKind(
        slug="clock.drift",
        rows=("F73",),
        class_="transparent",
        layer="clock",
        title="the machine's clock stands, is too slow or fast, goes back by a second, or meets 2038",
        keys=(_TICK, _READ),
        forms=_AT,
        params=(
            Key(name="how", meaning="what it does", words=HOW, default=HOW[0]),
            Key(name="ppm", meaning="how much slower or faster", low=1, high=100_000, default=PPM),
            Key(
                name="catch_up",
                meaning="whether a clock that stood goes on as if it had not",
                words=("yes", "no"),
                default="no",
            ),
            _FOR,
        ),
        counts_when="the runtime says so; or a time that it waits for is over while its clock stands or drifts",
    ),
)
