"""The process around a run, changed on purpose: its clocks, its entropy, its threads, its cycle collector.

Each is a context manager that puts everything back. A child interpreter enters them before it imports the runtime, so
that no module holds the real ones. `shifted` shows that no wall clock reaches a journal; the others are the targeted
runs by which a divergence is classified: with the clocks frozen (or the entropy seeded, or threads run inline) a run
that repeats has shown what it depended on. What C code reads by itself is out of reach.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime as datetimes
import gc
import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

SHIFT_NS = 400 * 86_400_000_000_000 + 12_345_678_901  # more than a year, and no round number of anything
FROZEN_NS = 1_000_000_000_000_000_000
EAGER = (31, 2, 2)  # thresholds of the collector: every 31 allocations

_CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time")


@contextlib.contextmanager
def _patched(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _clocks(reading: Callable[[int], int]) -> contextlib.AbstractContextManager[None]:
    """Every clock of `time` and `datetime` gives `reading` of what it would have given."""

    def in_ns(real: Callable[[], int]) -> Callable[[], int]:
        return lambda: reading(real())

    def in_seconds(real: Callable[[], int]) -> Callable[[], float]:
        return lambda: reading(real()) / 1e9

    changes: list[tuple[Any, str, Any]] = []
    for name in _CLOCKS:
        real = getattr(time, f"{name}_ns")
        changes += [(time, f"{name}_ns", in_ns(real)), (time, name, in_seconds(real))]
    wall = time.time_ns

    class Moved(datetimes.datetime):
        @classmethod
        def now(cls, tz: datetimes.tzinfo | None = None) -> Moved:
            return cls.fromtimestamp(reading(wall()) / 1e9, tz)

        @classmethod
        def utcnow(cls) -> Moved:
            return cls.fromtimestamp(reading(wall()) / 1e9, datetimes.UTC).replace(tzinfo=None)

    return _patched(*changes, (datetimes, "datetime", Moved))


def shifted() -> contextlib.AbstractContextManager[None]:
    """All clocks are more than a year ahead, and run three times as fast."""
    return _clocks(lambda real: 3 * real + SHIFT_NS)


def frozen() -> contextlib.AbstractContextManager[None]:
    """All clocks stand still, but for one µs per reading, so that who waits for them does not wait for ever."""
    readings = iter(range(1 << 62))
    return _clocks(lambda real: FROZEN_NS + 1_000 * next(readings))


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """The process's entropy is a fixed stream: `os.urandom`, `random`, and what is built on them."""
    count = iter(range(1 << 62))

    def urandom(size: int) -> bytes:
        return hashlib.shake_256(b"%d" % next(count)).digest(size)

    state = random.getstate()
    random.seed(0)
    with _patched((os, "urandom", urandom), (random, "_urandom", urandom)):
        try:
            yield
        finally:
            random.setstate(state)


def inline() -> contextlib.AbstractContextManager[None]:
    """Threads run to their end when they are started, pools' work when it is submitted: no two at a time."""

    def start(thread: threading.Thread) -> None:
        thread._started.set()  # type: ignore[attr-defined]  # so that `join` takes it for one that has ended
        thread.run()

    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        return None

    def submit(pool: Any, work: Callable[..., Any], /, *given: Any, **named: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(work(*given, **named))
        except Exception as error:  # what a pool does: the caller gets it from the future
            future.set_exception(error)
        return future

    return _patched(
        (threading.Thread, "start", start),
        (threading.Thread, "join", join),
        (concurrent.futures.ThreadPoolExecutor, "submit", submit),
    )


@contextlib.contextmanager
def collecting(eagerly: bool) -> Iterator[None]:
    """The cycle collector runs all the time, or not at all, whatever it was set to before."""
    enabled, thresholds = gc.isenabled(), gc.get_threshold()
    try:
        if eagerly:
            gc.set_threshold(*EAGER)
            gc.enable()
        else:
            gc.disable()
        yield
    finally:
        gc.set_threshold(*thresholds)
        (gc.enable if enabled else gc.disable)()


CHANGES: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "shifted": shifted,
    "frozen": frozen,
    "seeded": seeded,
    "inline": inline,
}
