"""Time as the runtime counts it: it never goes back, and never further at once than the runtime asked to wait.

Guards leases, resends and every other wait against a clock that is set, leaps, strobes, stands or goes back, and
against a host that stood still: time in which nobody could be heard says nothing of whoever was waited for. A reading
before the last one counts for nothing; one beyond the earliest deadline ends that wait and no other. What is counted is
for waits alone; nothing logical depends on it.
"""

from __future__ import annotations

from runtime.ports import Clock


class SteadyClock:
    """The `Clock` port read once per call of the runtime; `now` is what has been counted, in ns."""

    def __init__(self, inner: Clock, slack_ns: int) -> None:
        """A call that comes up to `slack_ns` late is an ordinary one."""
        self._inner, self._slack_ns = inner, slack_ns
        self._read = inner.now()
        self._now = max(0, self._read)  # a wait that has not begun is over at 0, whatever the clock shows by then
        self._deadline: int | None = None

    def now(self) -> int:
        return self._now

    def read(self) -> int:
        """Count on. What was wrong with the clock, in ns: how far it went back (negative) or leapt; else 0."""
        reading = self._inner.now()
        passed = reading - self._read
        self._read = reading
        if passed < 0:
            return passed
        if passed > self._slack_ns:
            waited = passed if self._deadline is None else max(0, self._deadline - self._now)
            if passed > waited + self._slack_ns:
                self._now += waited
                return passed - waited
        self._now += passed
        return 0

    def until(self, deadline: int | None) -> int | None:
        """The deadline as the port's clock will show it; waiting for it is what may be counted next."""
        self._deadline = deadline
        return None if deadline is None else deadline + self._read - self._now
