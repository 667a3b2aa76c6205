"""Planted bugs of reads of the outside and of calls in parts."""

from __future__ import annotations

from faults.mutant import Edit, Mutant

READS: tuple[Mutant, ...] = (
    Mutant(
        name="reading_of_an_earlier_life",
        title="a life that ends leaves its reads open, and the next one is told what it never asked",
        scenario="readings",
        oracle="reads",
        edits=(
            Edit(
                "requests.py",
                "    if state.reads is not UNSET:\n        reads.forget(state, agent, events)\n",
                "",
            ),
        ),
    ),
    Mutant(
        name="part_of_anothers_call",
        title="the next part of a call is given to whoever reads that source next",
        scenario="readings",
        oracle="reads",
        edits=(
            Edit(
                "reads.py",
                "    return next((call for call in reads.calls if call[:2] == (agent, source)), None)\n",
                "    return next((call for call in reads.calls if call[1] == source), None)\n",
            ),
        ),
    ),
    Mutant(
        name="cancelled_call_goes_on",
        title="a call that its agent has ended is still its call, and the next read is told to go on with it",
        scenario="readings",
        oracle="reads",
        edits=(
            Edit(
                "reads.py",
                "    if call is not None:\n        reads.calls.remove(call)\n        _closed(",
                "    if call is not None:\n        _closed(",
            ),
        ),
    ),
    Mutant(
        name="read_while_unanswered",
        title="a source may be read again while an earlier read of it by the same agent is unanswered",
        scenario="readings",
        oracle="reads",
        edits=(
            Edit(
                "reads.py",
                "    elif any(r.agent == agent and r.source == source and r.wanted for r in reads.open):\n"
                "        status = E_FULL\n",
                "",
            ),
        ),
    ),
    Mutant(
        name="readers_unchecked",
        title="whoever has the capability reads every source, also one that is for others",
        scenario="readings",
        oracle="reads",
        edits=(
            Edit(
                "reads.py",
                "    return spec.readers is UNSET or agent in spec.readers\n",
                "    return spec.readers is UNSET or bool(spec.readers)\n",
            ),
        ),
    ),
    Mutant(
        name="answer_one_tick_early",
        title="an answer is due a tick before the source's delay is over, where that is more than one tick",
        scenario="readings",
        oracle="reads",
        edits=(
            Edit(
                "reads.py",
                "record.tick + max(1, specs[source].delay_ticks)",
                "record.tick + max(1, specs[source].delay_ticks - 1)",
            ),
        ),
    ),
    Mutant(
        name="cancelled_reading_told_whole",
        title="what an operator has ended reaches its agent as if nothing had happened",
        scenario="readings",
        oracle="I11",
        edits=(
            Edit(
                "reads.py",
                '    if found.cancelled:\n        status, data = CANCELLED, b""\n    elif len',
                "    if len",
            ),
        ),
    ),
    Mutant(
        name="read_leaves_before_its_block",
        title="what is asked of the outside leaves when its block is written, before that is durable",
        scenario="readings",
        oracle="reads",
        edits=(
            Edit(
                "orchestrator.py",
                "        self._releases.add(recovery.release_of(block, committed.block, dict(committed.blobs)))\n",
                "        self._releases.add(recovery.release_of(block, committed.block, dict(committed.blobs)))\n"
                '        if any(event[0] == "asked" for event in committed.block.events):\n'
                "            self._releases.send(block - 1, block)\n",
            ),
        ),
    ),
    Mutant(
        name="refused_read_is_made",
        title="a read that is refused leaves all the same",
        scenario="readings",
        oracle="I8",
        edits=(
            Edit(
                "reads.py",
                "        return\n    if (agent, source) in reads.cancelled:\n",
                "        if status == E_TARGET:\n            return\n    if (agent, source) in reads.cancelled:\n",
            ),
        ),
    ),
    Mutant(
        name="answers_left_out_of_recovery",
        title="recovery folds blocks without the answers that they hold, as if the outside were there to be read again",
        scenario="readings",
        oracle="replay",
        edits=(
            Edit(
                "recovery.py",
                "        opened = fold.begin(state, block.tick, block.inputs, block.decrees, inferences, guards)\n",
                "        inputs = [item for item in block.inputs if not item.source.startswith(reads.PREFIX)]\n"
                "        opened = fold.begin(state, block.tick, inputs, block.decrees, inferences, guards)\n",
            ),
        ),
    ),
)
