"""Telemetry: what happened physically, told to hooks that cannot change the run (TEL-1).

A hook that raises is dropped and counted; nothing it does reaches a decision. The trace of a run is what one such
hook wrote down. Kinds and their fields (all integers or short strings):

started {block} · recovered {block, cut, folded} · opened {} · sent {worker, lease, orders} · resent {worker, lease} ·
received {worker, lease, orders} · stale {worker, lease, reason} · garbled {worker} · lost {worker, lease, cause} ·
unanswered {worker, lease, agent} · unable {worker, agent} ·
spawned {worker, slot} · retired {worker} · resized {workers} ·
spawn_failed {worker, slot} · checked {worker, agent, replayed} ·
disagreed {worker, agent} · restored {worker, agent, replayed} · repaired {buffer, version} ·
rewritten {buffer, version} · stepped {agent, n, status, fuel, replayed} ·
committed {block, steps, messages} · durable {block} · released {block} ·
snapshot {agent, n} · usage {cpu_ns, rss_bytes} · discarded {file, reason} ·
decreed {agent, reason} · failed {agent, reason} · reload {agent, version, status} · failstop {check, block} ·
full {file} · room {} · unsynced {file} · unreadable {file, at} ·
clock {ns}: it went back by so much, or leapt so far beyond what was waited for

Every record carries `at` (virtual or wall ns), the incarnation and the tick that was open. `usage` comes with each
state snapshot, and only where the driver gives the port: what this process has used so far, which no run repeats.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct


class Record(Struct, frozen=True, gc=False):
    at: int
    kind: str
    incarnation: int
    tick: int
    fields: dict[str, int | str]


Hook = Callable[[Record], None]


class Telemetry:
    """Fans records out to hooks; a failing hook is removed, and `dropped` says how many were."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._hooks: list[Hook] = []
        self._steps: list[Hook] = []  # those of them that are told of every step as well
        self.steps = False  # whether there is one
        self.dropped = 0
        self.incarnation = 0
        self.tick = -1

    def register(self, hook: Hook, steps: bool = False) -> None:
        """Tell `hook` from now on. `stepped` records, one for every step, go only to the hooks that ask for them: what
        one hook wants changes nothing of what another is told.
        """
        self._hooks.append(hook)
        if steps:
            self._steps.append(hook)
            self.steps = True

    def emit(self, kind: str, **fields: int | str) -> None:
        hooks = self._steps if kind == "stepped" else self._hooks
        if not hooks:
            return
        at = self._now()
        if len(hooks) == 1:
            try:
                hooks[0](Record(at, kind, self.incarnation, self.tick, fields))
            except Exception:
                self._drop(hooks[0])
            return
        last = hooks[-1]
        for hook in tuple(hooks):
            own = fields if hook is last else dict(fields)  # no hook sees another's changes
            try:
                hook(Record(at, kind, self.incarnation, self.tick, own))
            except Exception:
                self._drop(hook)

    def _drop(self, hook: Hook) -> None:
        """Once for each time that it was registered, as it fails; of steps it is told no more at once."""
        self._hooks.remove(hook)
        self._steps = [one for one in self._steps if one is not hook]
        self.steps = bool(self._steps)
        self.dropped += 1
