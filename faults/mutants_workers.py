"""Planted bugs of the pool, of second executions and of decrees: what the faults of workers are there to find."""

from __future__ import annotations

from faults.mutant import Edit, Mutant

WORKERS: tuple[Mutant, ...] = (
    Mutant(
        name="stale_incarnation_accepted",
        title="workers and leases are compared without the incarnation that they belong to",
        scenario="hello",
        oracle="I14",
        edits=(
            Edit(
                "pool.py",
                "            slot = self._by_worker.get(worker)\n            if data is None:\n",
                "            slot = self._by_worker.get(self._incarnation * 1_000_000 + worker % 1_000_000)\n"
                "            if data is None:\n",
            ),
            Edit(
                "pool.py",
                "        if slot is None or slot.worker != worker or slot.dying:\n            return False\n"
                "        return frame.incarnation == self._incarnation and frame.worker == worker and "
                "frame.lease == slot.lease\n",
                "        if slot is None or slot.dying:\n            return False\n"
                "        return frame.lease == slot.lease\n",
            ),
        ),
    ),
    Mutant(
        name="decree_not_synced",
        title="a decree is in force when it is written, before it is synced",
        scenario="ledger",
        oracle="I28",
        edits=(
            Edit(
                "orchestrator.py",
                "            self._decree_tickets[self._storage.sync(recovery.DECREES)] = decree\n",
                "            self._storage.sync(recovery.DECREES)\n"
                "            assert self._open is not None\n"
                "            self._open.decrees += (decree,)\n"
                "            self._outcomes[agent] = Outcome(decree.reason, ())\n",
            ),
        ),
    ),
    Mutant(
        name="decree_one_loss_late",
        title="a step may take one worker more with it than is configured",
        scenario="ledger",
        oracle="I19",
        edits=(Edit("pool.py", "if self._losses[a] >= limit and", "if self._losses[a] > limit and"),),
    ),
    Mutant(
        name="lease_not_doubled",
        title="the lease of a step that ran out of its last one is no longer than that was",
        scenario="ledger",
        oracle="I19",
        edits=(
            Edit(
                "pool.py",
                "        slot.deadline = now + (budget << min(doublings, MAX_DOUBLINGS))\n",
                "        slot.deadline = now + budget\n",
            ),
        ),
    ),
    Mutant(
        name="expiries_forgotten_with_the_worker",
        title="with a lost worker the expiries of its steps are forgotten, so that a lease doubles only once",
        scenario="ledger",
        oracle="I19",
        edits=(
            Edit(
                "pool.py",
                "                self._expiries[agent] = self._expiries.get(agent, 0) + 1\n",
                "                self._expiries = {agent: 1}\n",
            ),
        ),
    ),
    Mutant(
        name="batch_of_a_failed_start_forgotten",
        title="when no worker can be started the batch that was meant for it is dropped",
        scenario="ledger",
        oracle="I19",
        edits=(
            Edit(
                "pool.py",
                "            if slot.worker < 0 and "
                "(self._leaving or now < slot.respawn_at or not self._spawn(slot)):\n"
                "                return\n",
                "            if slot.worker < 0 and (self._leaving or now < slot.respawn_at):\n"
                "                return\n"
                "            if slot.worker < 0 and not self._spawn(slot):\n"
                "                slot.queue.pop(0)\n                return\n",
            ),
        ),
    ),
    Mutant(
        name="worker_loss_counted_as_restart",
        title="an agent that is restored on another worker counts as restarted",
        scenario="ledger",
        oracle="I31",
        edits=(
            Edit(
                "orchestrator.py",
                "            outcome = Outcome(result.status, result.effects)\n",
                "            outcome = Outcome(result.status, result.effects)\n"
                "            if result.replayed:\n"
                "                self.state.agents[result.agent].restarts.append(self.tick)\n",
            ),
        ),
    ),
    Mutant(
        name="no_backoff",
        title="a place in the pool waits no longer after several losses in a row than after one",
        scenario="ledger",
        oracle="I31",
        edits=(
            Edit(
                "pool.py",
                "        wait = self._physical.respawn_ns << min(slot.failures, RESPAWN_DOUBLINGS)\n",
                "        wait = self._physical.respawn_ns\n",
            ),
        ),
    ),
    Mutant(
        name="second_execution_not_compared",
        title="a second execution counts as the same when it ended in the same way, whatever it did",
        scenario="ledger",
        oracle="twin",
        edits=(
            Edit(
                "second.py",
                "            if same(opinion.first, result):\n                self.drop(result.agent)\n"
                "                return Ruling(settled=opinion.first)\n",
                "            if opinion.first.status == result.status:\n                self.drop(result.agent)\n"
                "                return Ruling(settled=opinion.first)\n",
            ),
        ),
    ),
    Mutant(
        name="state_of_a_step_not_compared",
        title="two executions are compared by their effects, not by the memory that they leave",
        scenario="ledger",
        oracle="twin",
        edits=(
            Edit(
                "second.py",
                "    return (one.status, one.effects, one.state) == (other.status, other.effects, other.state)\n",
                "    return (one.status, one.effects) == (other.status, other.effects)\n",
            ),
        ),
    ),
    Mutant(
        name="first_answer_wins",
        title="when two executions differ the first one counts, and no third is asked",
        scenario="ledger",
        oracle="twin",
        edits=(
            Edit(
                "second.py",
                "            opinion.second, opinion.other = result, worker\n"
                '            return Ruling(ask="third", suspect=opinion.by)\n',
                "            self.drop(result.agent)\n"
                "            return Ruling(settled=opinion.first, wrong=(worker,))\n",
            ),
        ),
    ),
    Mutant(
        name="instance_of_a_check_kept",
        title="the instance that a second execution ran in is not closed",
        scenario="ledger",
        oracle="I21",
        edits=(
            Edit(
                "worker.py",
                "            self._discard(agent)\n            if kept:\n",
                "            self._hosted.pop(agent, None)\n            if kept:\n",
            ),
        ),
    ),
    Mutant(
        name="spare_keeps_globals",
        title="an instance that is used again begins with the globals that it ended with",
        scenario="ledger",
        oracle="I1",
        edits=(
            Edit(
                "wasm/spares.py",
                "        for cell, bits in zip(instance.globals, self._bits, strict=True):\n"
                "            cell.set(bits)\n",
                "",
            ),
        ),
    ),
    Mutant(
        name="spare_keeps_memory",
        title="an instance that is used again begins with the memory that it ended with",
        scenario="ledger",
        oracle="I1",
        edits=(Edit("wasm/spares.py", "        instance.agent.view()[:] = self._first\n", ""),),
    ),
    Mutant(
        name="hazard_asked_whether_it_is_there",
        title="a tick's steps are sent one by one wherever something could ask for that, whether it does or not",
        scenario="ledger",
        oracle="I7",
        edits=(
            Edit("pool.py", "from runtime.ports import Ports\n", "from runtime.ports import Ports, never\n"),
            Edit(
                "pool.py",
                'self._hazard("pool.tiny_batch", records[0].tick, slot.index)\n',
                "self._hazard is not never\n",
            ),
        ),
    ),
    Mutant(
        name="descriptors_told",
        title="the trace tells how many descriptors the process has, of which whoever watches it makes more",
        scenario="hello",
        oracle="I6",
        edits=(
            Edit(
                "orchestrator.py",
                "from collections.abc import Container, Sequence\n",
                "import os\nfrom collections.abc import Container, Sequence\n",
            ),
            Edit(
                "orchestrator.py",
                'self.telemetry.emit("started", block=self.state.block)\n',
                'self.telemetry.emit("started", block=self.state.block, descriptors=len(os.listdir("/dev/fd")))\n',
            ),
        ),
    ),
    Mutant(
        name="decrees_in_order_of_sync",
        title="two decrees of one tick stand in the block in the order in which they were synced",
        scenario="hello",
        oracle="I3",
        one_in=5000,  # not measured: none of 2,000 runs showed it, of which I3 judges one in ten
        edits=(
            Edit(
                "fold.py",
                "        decrees=tuple(sorted(opened.decrees, key=lambda decree: decree.agent)),",
                "        decrees=opened.decrees,",
            ),
        ),
    ),
    Mutant(
        name="cancelled_step_told_as_lost",
        title="the decree that ends a cancelled step says that it lost its workers",
        scenario="readings",
        oracle="I32",
        edits=(
            Edit(
                "orchestrator.py",
                'DECREED = {"lease": "decree:deadline", "cancel": "decree:cancelled"}',
                'DECREED = {"lease": "decree:deadline"}',
            ),
        ),
    ),
)
