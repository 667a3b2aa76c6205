"""Planted bugs of validators that guard admission and mailboxes."""

from __future__ import annotations

from faults.mutant import Edit, Mutant

GUARDS: tuple[Mutant, ...] = (
    Mutant(
        name="admission_unguarded",
        title="the run's guard is asked, and its verdict recorded, and the input admitted all the same",
        scenario="guarded",
        oracle="scenario",
        edits=(Edit("broker.py", "    return not reason\n", "    return True\n"),),
    ),
    Mutant(
        name="refused_by_a_guard_untold",
        title="the sender of a message that a guard refused is told that the mailbox was full",
        scenario="guarded",
        oracle="scenario",
        edits=(Edit("broker.py", "            status = E_INVALID\n", "            status = E_FULL\n"),),
    ),
    Mutant(
        name="guard_draws_by_count",
        title="what a validator draws depends on how many messages this process has had judged",
        scenario="guarded",
        oracle="twin",
        edits=(
            Edit(
                "guards.py",
                "        self._known: dict[str, Validator | str] = {}\n",
                "        self._known: dict[str, Validator | str] = {}\n        self._asked = 0\n",
            ),
            Edit("guards.py", 'b"%d/%d" % (config.seed, number)', 'b"%d/%d" % (config.seed, self._asked)'),
            Edit(
                "guards.py",
                "        if isinstance(validator, str):\n",
                "        self._asked += 1\n        if isinstance(validator, str):\n",
            ),
        ),
    ),
)
