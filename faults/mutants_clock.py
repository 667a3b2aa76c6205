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
            "                self._now += waited\n                return passed - waited\n",
            "                self._now += passed\n                return passed - waited\n",
        ),
    ),
    _mutant(
        "count_begins_at_the_clock",
        "a successor counts from where the clock stands, below 0 after a step back: waits that never began last till 0",
        "I19",
        Edit("steady.py", "max(0, self._read)", "self._read"),
    ),
    _mutant(
        "agents_told_the_machines_time",
        "what an agent is told as now is so much later as the machine's clock shows",
        "I33",
        Edit(
            "orchestrator.py",
            "            residence = residences[record.agent]\n            base = ",
            "            shown = self.ports.clock.now() // 1_000_000\n"
            "            record = replace(record, now_ms=record.now_ms + shown)\n"
            "            residence = residences[record.agent]\n            base = ",
        ),
        Edit(
            "orchestrator.py", "import google_crc32c\n", "import google_crc32c\nfrom msgspec.structs import replace\n"
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
