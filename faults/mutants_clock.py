"""Planted bugs of waiting: clocks that are believed, deadlines by the wrong clock, calls and arrivals that decide."""

from __future__ import annotations

from faults.mutant import Edit, Mutant


def _mutant(name: str, title: str, oracle: str, *edits: Edit, scenario: str = "ledger") -> Mutant:
    return Mutant(name=name, title=title, scenario=scenario, oracle=oracle, edits=edits, profile="clock")


CLOCK: tuple[Mutant, ...] = (
    _mutant(
        "backwards_clock_believed",
        "a clock that goes back takes the time that was counted with it, so leases last as much longer",
        "I19",
        Edit("steady.py", "        if passed < 0:\n            return passed\n", ""),
    ),
    _mutant(
        "leaping_clock_believed",
        "a clock that leaps ends every wait at once, leases that had most of their time before them as well",
        "I19",
        Edit(
            "steady.py",
            "            self._now += waited\n            return passed - waited\n",
            "            self._now += passed\n            return passed - waited\n",
        ),
    ),
    _mutant(
        "deadline_by_the_wrong_clock",
        "a deadline is told as what was counted, not as the clock will show it",
        "I19",
        Edit("steady.py", "None if deadline is None else deadline + self._read - self._now", "deadline"),
    ),
    _mutant(
        "tick_counted_by_calls",
        "a call that finds an input missing counts as a tick",
        "I33",
        Edit(
            "orchestrator.py",
            "        if inputs is None:\n            return False\n",
            "        if inputs is None:\n            self.state.tick = tick\n            return False\n",
        ),
    ),
    _mutant(
        "inputs_as_they_came",
        "the inputs of a tick are admitted in the order in which they came",
        "twin",
        Edit("intake.py", "for key in sorted(self._inputs) if", "for key in self._inputs if"),
        Edit("fold.py", "in sorted(inputs, key=lambda i: (i.source != GENESIS, i.source, i.n)):", "in inputs:"),
    ),
)
