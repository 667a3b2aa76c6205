"""The planted bugs, all of them: those of frames, workers and devices here, those of disk, logic and pool beside.

What a mutant is, and how it is planted, stands in `faults.mutant`.
"""

from __future__ import annotations

from faults.mutant import MARK, RARE, Edit, Mutant, plant
from faults.mutants_clock import CLOCK
from faults.mutants_disk import DISK
from faults.mutants_guards import GUARDS
from faults.mutants_libraries import LIBRARIES
from faults.mutants_loads import LOADS
from faults.mutants_logic import LOGIC
from faults.mutants_models import MODELS
from faults.mutants_modules import MODULES
from faults.mutants_plugins import PLUGINS
from faults.mutants_ports import PORTS
from faults.mutants_reads import READS
from faults.mutants_reloads import RELOADS
from faults.mutants_replays import REPLAYS
from faults.mutants_shared_out import SHARED_OUT
from faults.mutants_signed import SIGNED
from faults.mutants_tasks import TASKS
from faults.mutants_wasi import WASI
from faults.mutants_workers import WORKERS
from faults.mutants_workload import WORKLOAD

__all__ = ["MARK", "MUTANTS", "RARE", "Edit", "Mutant", "plant"]

MUTANTS: tuple[Mutant, ...] = (
    *PORTS,
    *READS,
    *RELOADS,
    *LIBRARIES,
    *MODULES,
    *WASI,
    *WORKLOAD,
    Mutant(
        name="frame_checksum_skipped",
        title="a frame's checksum is not compared",
        scenario="ledger",
        oracle="I11",
        edits=(Edit("frames.py", "    if google_crc32c.value(body) != checksum:\n", "    if not body:\n"),),
    ),
    Mutant(
        name="late_result_accepted",
        title="a result is matched by its agent alone, so that of a lost worker counts for a later step",
        scenario="ledger",
        oracle="twin",
        edits=(
            Edit(
                "pool.py",
                "            elif not self._current(slot, worker, frame):\n",
                "            elif not any(r.agent in self._pending for r in frame.results):\n",
            ),
            Edit(
                "pool.py",
                "                assert slot is not None\n",
                "                slot = self._slots[frame.results[0].agent % len(self._slots)]\n",
            ),
            Edit(
                "pool.py",
                "            if result is not None and result.n == record.n:\n",
                "            if result is not None:\n",
            ),
        ),
    ),
    Mutant(
        name="redelivery_applied_twice",
        title="an input that arrives again after its admission is applied again",
        scenario="ledger",
        oracle="I8",
        edits=(
            Edit(
                "fold.py",
                "        if item.n <= state.admitted.get(item.source, 0):\n",
                "        if item.n <= 0:\n",
            ),
        ),
    ),
    Mutant(
        name="committed_in_arrival_order",
        title="completions are committed in the order in which they arrived",
        scenario="ledger",
        oracle="twin",
        edits=(
            Edit(
                "orchestrator.py",
                "        committed = fold.commit(self.state, opened, self._outcomes)\n",
                "        arrived = list(self._outcomes)\n"
                "        opened.records.sort(key=lambda record: arrived.index(record.agent))\n"
                "        committed = fold.commit(self.state, opened, self._outcomes)\n",
            ),
        ),
    ),
    Mutant(
        name="acknowledged_before_sync",
        title="a block is released when it is written, before it is synced",
        scenario="ledger",
        oracle="I28",
        edits=(
            Edit(
                "orchestrator.py",
                "        self._releases.send(cursor, self._durability.durable)\n",
                "        self._releases.send(cursor, self._durability.written)\n",
            ),
        ),
    ),
    Mutant(
        name="snapshot_without_globals",
        title="an image holds no mutable globals",
        scenario="ledger",
        oracle="replay",
        edits=(
            Edit(
                "worker.py",
                "            guest.restore(memory_of(base.image), base.image.globals)\n"
                "            hosted.image.take(base.image.n, guest.memory(), guest.globals())\n",
                "            guest.restore(memory_of(base.image), guest.globals())\n"
                "            hosted.image.take(base.image.n, guest.memory(), ())\n",
            ),
            Edit(
                "worker.py",
                "            image = hosted.image.take(record.n, hosted.guest.memory(), hosted.guest.globals())\n",
                "            image = hosted.image.take(record.n, hosted.guest.memory(), ())\n",
            ),
        ),
    ),
    Mutant(
        name="range_check_skipped",
        title="a host call's range is not compared with the memory's length",
        scenario="ledger",
        oracle="I32",
        edits=(Edit("worker.py", "        if pointer + length > size:\n", "        if length > size:\n"),),
    ),
    Mutant(
        name="torn_buffer_accepted",
        title="a reader does not compare the bytes of a slot with its checksum",
        scenario="frames",
        oracle="I15",
        edits=(
            Edit("buffers.py", "    if google_crc32c.value(data) != view.crc:\n", "    if len(data) != view.length:\n"),
        ),
    ),
    Mutant(
        name="recovered_tail_not_synced",
        title="what recovery kept beyond the watermark is not synced before it counts",
        scenario="ledger",
        oracle="I28",
        edits=(
            Edit(
                "boot.py",
                "        return [storage.sync(name + NEW) for name in (*found.kept, watermark.NAME)]\n",
                "        return [storage.sync(watermark.NAME + NEW)]\n",
            ),
        ),
    ),
    Mutant(
        name="watermark_not_synced",
        title="blocks are released when the watermark is written, before it is synced",
        scenario="ledger",
        oracle="I28",
        edits=(
            Edit(
                "durability.py",
                "            self._tickets = [self._storage.sync(watermark.NAME)]\n            return False\n",
                "            self._storage.sync(watermark.NAME)\n            return False\n",
            ),
        ),
    ),
    Mutant(
        name="lost_worker_not_killed",
        title="a worker whose lease ran out is replaced, but not killed",
        scenario="frames",
        oracle="I14",
        edits=(
            Edit(
                "pool.py",
                "        self._workers.kill(slot.worker)\n",
                "        self._by_worker.pop(slot.worker, None)\n"
                "        slot.worker, slot.dying = -1, False\n"
                "        self._back_off(slot)\n",
            ),
        ),
    ),
    Mutant(
        name="stale_kv_after_failover",
        title="a batch that is redone elsewhere has the last token's KV cache of one step before",
        scenario="assistants",
        oracle="I24",
        edits=(
            Edit(
                "router.py",
                "            self._queue.insert(0, device.batch)\n            device.batch = None\n",
                "            items = []\n"
                "            for item in device.batch.items:\n"
                "                row = len(item.kv) // max(1, item.position)\n"
                "                kv = item.kv[:-row] + item.kv[-2 * row : -row] if item.position > 1 else item.kv\n"
                "                items.append(InferenceItem(item.request, item.position, item.tokens, kv))\n"
                "            device.batch.items = tuple(items)\n"
                "            self._queue.insert(0, device.batch)\n            device.batch = None\n",
            ),
        ),
    ),
    Mutant(
        name="answer_of_a_lost_device_used",
        title="an answer that a device gave before it was lost counts when it arrives",
        scenario="assistants",
        oracle="I24",
        edits=(
            Edit(
                "router.py",
                '                self._telemetry.emit("infer_stale", process=process, '
                'lease=getattr(frame, "lease", 0))\n',
                '                for result in getattr(frame, "results", ()):\n'
                "                    self._results.setdefault(result.request, result)\n",
            ),
            Edit(
                "router.py",
                "            self._results[request.id] = result\n",
                "            self._results.setdefault(request.id, result)\n",
            ),
        ),
    ),
    Mutant(
        name="header_tail_unchecked",
        title="of the journal's header only the body and the digits of its sum are compared",
        scenario="hello",
        oracle="I27",
        edits=(
            Edit(
                "journal.py",
                "    if header != _header_line(body):\n",
                "    if hashlib.sha256(body).hexdigest().encode() != header[-67:-3]:\n",
            ),
        ),
    ),
    Mutant(
        name="message_numbers_global",
        title="message numbers come from one count for all agents",
        scenario="ledger",
        oracle="I32",
        edits=(
            Edit(
                "fold.py",
                "        first = (index + 1) << 32 | agents[index].sent + 1  # as `sequence` has it\n",
                "        first = state.outside + sum(agent.sent for agent in agents) + 1\n",
            ),
        ),
    ),
    Mutant(
        name="work_sent_to_a_dying_worker",
        title="the next batch goes to a worker that has been killed and is not reaped yet",
        scenario="ledger",
        oracle="replay",
        edits=(
            Edit(
                "pool.py",
                "        while slot.queue and not slot.sent and not slot.dying:\n",
                "        while slot.queue and not slot.sent:\n",
            ),
        ),
    ),
    Mutant(
        name="late_result_of_the_same_step",
        title="a result is matched by agent and step, whichever worker and lease it comes from",
        scenario="ledger",
        oracle="I14",
        edits=(
            Edit(
                "pool.py",
                "            elif not self._current(slot, worker, frame):\n",
                "            elif not any(r.agent in self._pending for r in frame.results):\n",
            ),
            Edit(
                "pool.py",
                "                assert slot is not None\n",
                "                slot = self._slots[frame.results[0].agent % len(self._slots)]\n",
            ),
        ),
    ),
    Mutant(
        name="decree_after_one_loss",
        title="a step is ended by decree when it has taken one worker with it",
        scenario="ledger",
        oracle="I32",
        edits=(Edit("pool.py", "        limit = self._physical.lost_workers_max\n", "        limit = 1\n"),),
    ),
    Mutant(
        name="agent_never_restarted",
        title="a failed agent stays in backoff for ever",
        scenario="ledger",
        oracle="I32",
        edits=(
            Edit(
                "supervisor.py",
                "    if agent.phase == BACKOFF and agent.restart_at <= tick:\n",
                "    if agent.phase == BACKOFF and agent.restart_at < 0:\n",
            ),
        ),
    ),
    Mutant(
        name="ties_broken_by_hash",
        title="tasks of a tick are ordered by hash() of their agents' names",
        scenario="ledger",
        oracle="I2",
        edits=(
            Edit(
                "scheduler.py",
                "    chosen = ordered[: config.max_tasks_per_tick]\n",
                "    ordered = sorted(ordered, key=lambda i: hash(agents[i].spec.name))\n"
                "    chosen = ordered[: config.max_tasks_per_tick]\n",
            ),
        ),
    ),
    Mutant(
        name="first_answer_recorded",
        title="a block tells whose answer came first",
        scenario="ledger",
        oracle="I4",
        edits=(
            Edit(
                "orchestrator.py",
                "        committed = fold.commit(self.state, opened, self._outcomes)\n",
                '        opened.events.insert(0, ("first", next(iter(self._outcomes), -1)))\n'
                "        committed = fold.commit(self.state, opened, self._outcomes)\n",
            ),
        ),
    ),
    Mutant(
        name="day_recorded",
        title="a block tells the day on which it was made",
        scenario="hello",
        oracle="I33",
        edits=(
            Edit("fold.py", "import hashlib\n", "import hashlib\nimport time\n"),
            Edit(
                "fold.py",
                "    events: list[Event] = []\n    asked",
                '    events: list[Event] = [("day", int(time.time()) // 86_400)]\n    asked',
            ),
        ),
    ),
    Mutant(
        name="closed_one_step_early",
        title="a tick is closed while one of many steps is still out, which counts as one without effects",
        scenario="ledger",
        oracle="I13",
        edits=(
            Edit(
                "orchestrator.py",
                "        if self._open and len(self._outcomes) == len(self._open.records):\n",
                "        if self._open and len(self._open.records) - len(self._outcomes) <= "
                "(len(self._open.records) > 4):\n"
                "            for record in self._open.records:\n"
                "                if record.agent not in self._outcomes:\n"
                '                    self._outcomes[record.agent] = Outcome("ok", ())\n'
                "                    self._pool.done(record.agent)\n",
            ),
        ),
    ),
    *CLOCK,
    *DISK,
    *LOADS,
    *LOGIC,
    *MODELS,
    *PLUGINS,
    *SIGNED,
    *TASKS,
    *WORKERS,
    *REPLAYS,
    *GUARDS,
    *SHARED_OUT,
)
