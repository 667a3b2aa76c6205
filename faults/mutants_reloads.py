"""Planted bugs of hot reload and of a pool that is resized."""

from __future__ import annotations

from faults.mutant import Edit, Mutant

RELOADS: tuple[Mutant, ...] = (
    Mutant(
        name="switched_half_way",
        title="a reload that ends well changes what the agent is said to be, and leaves the old instance in its place",
        scenario="upgrade",
        oracle="I36",
        edits=(
            Edit(
                "worker.py",
                "            old.close()\n"
                "            hosted.spec, hosted.guest, hosted.image = change.spec, fresh.guest, HeldImage()\n",
                "            fresh.guest.close()\n            hosted.spec, hosted.image = change.spec, HeldImage()\n",
            ),
        ),
    ),
    Mutant(
        name="rollback_forgets_globals",
        title="a reload that fails puts a new instance of the old module in its place, with its memory alone",
        scenario="upgrade",
        oracle="I36",
        edits=(
            Edit(
                "worker.py",
                "        return status, effects\n\n    def _discard",
                "        else:\n"
                "            again = self._instance(record.agent, hosted.spec)\n"
                "            again.restore(bytes(old.memory()), again.globals())\n"
                "            old.close()\n"
                "            hosted.guest = again\n"
                "        return status, effects\n\n    def _discard",
            ),
        ),
    ),
    Mutant(
        name="recovered_with_the_old_module",
        title="recovery has the image that a reload left, and restores it into the module before",
        scenario="upgrade",
        oracle="I36",
        edits=(
            Edit(
                "recovery.py",
                '        if record.change is not None and outcome.status == "ok":\n',
                '        if record.change is not None and outcome.status != "ok":\n',
            ),
        ),
    ),
    Mutant(
        name="failed_reload_ends_the_life",
        title="a reload that fails is told as rolled back, and counted as a failure of the agent",
        scenario="upgrade",
        oracle="I32",
        edits=(
            Edit(
                "fold.py",
                "            reloads.rolled_back(record, record.change, outcome.status, events)\n"
                "            return 0\n",
                "            reloads.rolled_back(record, record.change, outcome.status, events)\n",
            ),
        ),
    ),
    Mutant(
        name="resized_pool_keeps_its_workers",
        title="a pool of another size starts its workers while those before live on, and has their agents twice",
        scenario="ledger",
        oracle="I3",
        edits=(
            Edit(
                "pool.py",
                "                if not slot.dying:\n"
                '                    self._telemetry.emit("retired", worker=slot.worker)\n'
                "                    self.retire(slot)\n                self._leaving[slot.worker] = slot\n",
                '                self._telemetry.emit("retired", worker=slot.worker)\n',
            ),
        ),
    ),
)
