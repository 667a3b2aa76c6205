"""Planted bugs of the logic: scheduler, broker, fold, supervisor, lifecycle, snapshots, inference, releases, intake.

Each removes or reorders a line or two of what is there: a set iterated, a tie broken by arrival, an error swallowed, a
record forgotten. How often one shows was measured over random runs, never made; `one_in` says it where it is seldom.
"""

from __future__ import annotations

from faults.mutant import Edit, Mutant

LOGIC: tuple[Mutant, ...] = (
    Mutant(
        name="model_read_again",
        title="a device checks a model's digest, and loads what it then reads a second time",
        scenario="assistants",
        oracle="I25",
        edits=(
            Edit(
                "inference/cache.py",
                "                decoder = self._models.load(digest, onnx)\n",
                "                decoder = self._models.load(digest, self._artifacts.get(digest))\n",
            ),
        ),
    ),
    Mutant(
        name="newer_abi_accepted",
        title="a module made for a newer minor version of the ABI is loaded",
        scenario="hello",
        oracle="I35",
        edits=(Edit("wasm/abi.py", "    if minor > ABI_MINOR:\n", "    if minor > ABI_MINOR and major > ABI:\n"),),
    ),
    Mutant(
        name="control_mail_wakes_nobody",
        title="an agent that has nothing but wakes, refusals or results in its mailbox is not selected",
        scenario="frames",
        oracle="I12",
        edits=(
            Edit(
                "scheduler.py",
                "        if (agent.phase == ACTIVE and agent.mailbox) or agent.phase == STARTING:\n",
                "        unread = len(agent.mailbox) - agent.reserved\n"
                "        if (agent.phase == ACTIVE and unread) or agent.phase == STARTING:\n",
            ),
        ),
    ),
    Mutant(
        name="worker_numbers_outlive_the_pool",
        title="workers are numbered by a count that goes on from run to run of a process",
        scenario="hello",
        oracle="I1",
        edits=(
            Edit(
                "pool.py",
                'class Pool:\n    """Runs one tick',
                'SPAWNED = [0]\n\n\nclass Pool:\n    """Runs one tick',
            ),
            Edit(
                "pool.py",
                "        self._spawned += 1\n        worker = self._incarnation * 1_000_000 + self._spawned\n",
                "        SPAWNED[0] += 1\n        worker = self._incarnation * 1_000_000 + SPAWNED[0]\n",
            ),
        ),
    ),
    Mutant(
        name="committed_by_place",
        title="steps are committed place by place, so the number of workers decides the order",
        scenario="ledger",
        oracle="I3",
        edits=(
            Edit(
                "orchestrator.py",
                "        committed = fold.commit(self.state, opened, self._outcomes)\n",
                "        opened.records.sort(key=lambda record: record.agent % self.physical.workers)\n"
                "        committed = fold.commit(self.state, opened, self._outcomes)\n",
            ),
        ),
    ),
    Mutant(
        name="accelerator_answers_sorted",
        title="an accelerator's answers are matched to their requests in order of token, not of request",
        scenario="assistants",
        oracle="I5",
        edits=(
            Edit(
                "router.py",
                "        for request, result in zip(batch.requests, frame.results, strict=True):\n",
                "        answers = list(frame.results)\n"
                "        if device.number != CPU:\n"
                "            answers.sort(key=lambda result: result.token)\n"
                "        for request, result in zip(batch.requests, answers, strict=True):\n",
            ),
        ),
    ),
    Mutant(
        name="mailbox_newest_first",
        title="an agent reads its mailbox from the newest message on",
        scenario="hello",
        oracle="I9",
        edits=(
            Edit(
                "fold.py",
                "        inbox = tuple(agent.mailbox)\n",
                "        inbox = tuple(reversed(agent.mailbox))\n",
            ),
        ),
    ),
    Mutant(
        name="queue_lost_with_worker",
        title="what waited behind the batch of a lost worker is forgotten",
        scenario="edges",
        oracle="I19",
        edits=(
            Edit(
                "pool.py",
                "        slot.queue = [[key] for batch in [slot.sent, *slot.queue] for key in batch]\n",
                "        slot.queue = [[key] for key in slot.sent]\n",
            ),
        ),
    ),
    Mutant(
        name="encoded_before_bookkeeping",
        title="the state is encoded before its own next snapshot is noted in it",
        scenario="ledger",
        oracle="I20",
        edits=(
            Edit(
                "fold.py",
                "        state.root_due = (opened.tick // config.snapshot_every + 1) * config.snapshot_every\n"
                "        snapshot = encode(state)\n",
                "        snapshot = encode(state)\n"
                "        state.root_due = (opened.tick // config.snapshot_every + 1) * config.snapshot_every\n",
            ),
        ),
    ),
    Mutant(
        name="refusal_swallowed",
        title="a full mailbox refuses on record, and the sender is not told",
        scenario="edges",
        oracle="I34",
        edits=(
            Edit(
                "broker.py",
                "        deliver_control(state.agents[sender], Message(message.seq, REFUSED, target, status, "
                "message.payload))\n        return True\n",
                "        return True\n",
            ),
        ),
    ),
    Mutant(
        name="recovered_outputs_unnumbered",
        title="of a recovered block every output of a step has number 0",
        scenario="ledger",
        oracle="ledger",
        edits=(Edit("recovery.py", "                index += 1\n    final", "    final"),),
    ),
    Mutant(
        name="input_due_now_not_awaited",
        title="a tick does not wait for the inputs that are due in it",
        scenario="edges",
        oracle="twin",
        edits=(
            Edit(
                "intake.py",
                "            while n < len(schedule) and schedule[n] <= tick:\n",
                "            while n < len(schedule) and schedule[n] < tick:\n",
            ),
        ),
    ),
    Mutant(
        name="decrees_forgotten_by_successor",
        title="a new incarnation forgets the decrees of the tick that was open",
        scenario="edges",
        oracle="twin",
        edits=(
            Edit(
                "orchestrator.py",
                "        self._decrees = [d for d in found.decrees if d.tick > self.state.tick]\n",
                "        self._decrees = []\n",
            ),
        ),
    ),
    Mutant(
        name="watermark_ahead",
        title="the watermark names what is written by then, not what was synced before it",
        scenario="edges",
        oracle="I28",
        edits=(
            Edit(
                "durability.py",
                "            self._mark = self._group\n            offset",
                "            self._mark = Watermark(\n"
                "                self._group.serial, self._group.incarnation, self.written, self.hash\n"
                "            )\n            offset",
            ),
        ),
    ),
    Mutant(
        name="batch_lost_with_device",
        title="the batch of a failed device is not given to another",
        scenario="assistants",
        oracle="I19",
        edits=(
            Edit(
                "router.py",
                "            self._queue.insert(0, device.batch)\n            device.batch = None\n",
                "            device.batch = None\n",
            ),
        ),
    ),
    Mutant(
        name="failed_start_not_tried_again",
        title="a place whose worker could not be started is never tried again",
        scenario="edges",
        oracle="I19",
        edits=(
            Edit(
                "pool.py",
                "            self._back_off(slot)\n            return False\n",
                "            slot.respawn_at = 1 << 62\n            return False\n",
            ),
        ),
    ),
    Mutant(
        name="one_restart_too_many",
        title="an agent restarts once more than max_restarts before it is quarantined",
        scenario="edges",
        oracle="I32",
        edits=(
            Edit(
                "supervisor.py",
                "    if len(agent.restarts) >= config.max_restarts:\n",
                "    if len(agent.restarts) > config.max_restarts:\n",
            ),
        ),
        one_in=20,
    ),
    Mutant(
        name="growth_forgotten",
        title="an image of memory that has grown is compared over its former size",
        scenario="edges",
        oracle="replay",
        edits=(
            Edit(
                "snapshot.py",
                "        self._resize(len(now))\n        for index, start",
                "        for index, start",
            ),
        ),
    ),
    Mutant(
        name="dropped_without_record",
        title="a message to an agent that is gone is dropped without a record",
        scenario="edges",
        oracle="I34",
        edits=(
            Edit(
                "broker.py",
                "    if agent.phase in GONE:\n"
                '        events.append(("dropped", message.seq, target))\n'
                "        return told\n",
                "    if agent.phase in GONE:\n        return told\n",
            ),
        ),
        one_in=200,
    ),
    Mutant(
        name="watermark_checksum_skipped",
        title="a slot of the watermark counts without its checksum",
        scenario="edges",
        oracle="I19",
        edits=(
            Edit(
                "watermark.py",
                "    if not length or len(body) != length or google_crc32c.value(body) != checksum:\n",
                "    if not length or len(body) != length:\n",
            ),
        ),
        one_in=130,
    ),
    Mutant(
        name="written_slot_unchecked",
        title="what a writer filled is journaled as it lies there, without its checksum",
        scenario="frames",
        oracle="I15",
        edits=(
            Edit(
                "orchestrator.py",
                "        if google_crc32c.value(data) != crc:\n",
                "        if len(data) != length:\n",
            ),
        ),
    ),
    Mutant(
        name="session_survives_restart",
        title="a failed agent's sessions stay for its next life",
        scenario="assistants",
        oracle="I24",
        edits=(
            Edit(
                "requests.py",
                "    state.sessions = [s for s in state.sessions if s.agent != agent]\n",
                "",
            ),
        ),
    ),
    Mutant(
        name="mailbox_one_too_many",
        title="a mailbox takes one message more than its bound",
        scenario="edges",
        oracle="scenario",
        edits=(
            Edit(
                "broker.py",
                "    return len(agent.mailbox) - agent.reserved >= config.mailbox\n",
                "    return len(agent.mailbox) - agent.reserved > config.mailbox\n",
            ),
            Edit(
                "broker.py",
                " and len(receiver.mailbox) < box and",
                " and len(receiver.mailbox) <= box and",
            ),
        ),
    ),
)
