"""The intake: inputs that have arrived and are not admitted yet, and which of them a tick waits for.

The schedule says per source in which tick each of its inputs is due; what was read outside is due as its request
said. Inputs of unknown sources are not kept; actions of this instance's own calls come from source "local" and are due
at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runtime import reads
from runtime.state import Action, Input, State

LOCAL = "local"
GENESIS = "genesis"


class Intake:
    """`due`: source -> ticks of its inputs 1, 2, …"""

    def __init__(self, genesis: Sequence[Input], due: dict[str, tuple[int, ...]]) -> None:
        self._due = {**due, GENESIS: tuple(0 for _ in genesis)}
        self._owed = dict(self._due)  # of the sources that have not had all of it admitted, as was last seen
        self._inputs: dict[tuple[str, int], Input] = {(i.source, i.n): i for i in genesis}
        self._local = 0

    def offer(self, item: Input, state: State) -> bool:
        """Keep an input from outside; False when it was here before, or is in no schedule."""
        if item.source.startswith(reads.PREFIX):
            return self._answer(item, state)
        if not 0 < item.n <= len(self._due.get(item.source, ())):
            return False
        new = item.n > state.admitted.get(item.source, 0) and (item.source, item.n) not in self._inputs
        if item.source != GENESIS:
            self._inputs[item.source, item.n] = item
        return new

    def _answer(self, item: Input, state: State) -> bool:
        """An answer to what was read outside: the first one counts, and only what somebody waits for."""
        new = reads.waiting_for(state, item) is not None and (item.source, item.n) not in self._inputs
        if new:
            self._inputs[item.source, item.n] = item
        return new

    def submit(self, action: Action, state: State) -> tuple[str, int]:
        """An action of this instance's own; its id."""
        self._local = max(self._local, state.admitted.get(LOCAL, 0)) + 1
        self._inputs[LOCAL, self._local] = Input(action, self._local, LOCAL, 0)
        return LOCAL, self._local

    def next_tick(self, state: State) -> int | None:
        """The tick of the next input that any source owes, or that is waiting here."""
        if not (self._owed or self._inputs or state.reads):
            return None
        ticks = [due for _, _, due in reads.expected(state)]
        for source, schedule in list(self._owed.items()):
            admitted = state.admitted.get(source, 0)
            if admitted < len(schedule):
                ticks.append(schedule[admitted])
            else:
                del self._owed[source]
        if self._inputs and any(source == LOCAL for source, _ in self._inputs):
            ticks.append(state.tick + 1)
        return min(ticks, default=None)

    def due_at(self, tick: int, state: State) -> list[Input] | None:
        """The inputs of a tick, or None while a source still owes one."""
        if not (self._owed or self._inputs or state.reads):
            return []
        for source, schedule in self._owed.items():
            n = state.admitted.get(source, 0)
            while n < len(schedule) and schedule[n] <= tick:
                n += 1
                if (source, n) not in self._inputs:
                    return None
        answers = [(source, n) for source, n, due in reads.expected(state) if due <= tick]
        if not self._inputs:
            return None if answers else []
        if any(key not in self._inputs for key in answers):
            return None
        return [self._inputs[key] for key in sorted(self._inputs) if self._is_due(key, tick) or key in answers]

    def admitted(self, items: Iterable[Input]) -> None:
        for item in items:
            self._inputs.pop((item.source, item.n), None)

    def _is_due(self, key: tuple[str, int], tick: int) -> bool:
        source, n = key
        schedule = self._due.get(source, ())
        return source == LOCAL or (n <= len(schedule) and schedule[n - 1] <= tick)
