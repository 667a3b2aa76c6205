"""Mutants of what is durable: syncs, short writes, starts in new files, and what recovery believes of the disk."""

from __future__ import annotations

from faults.mutant import Edit, Mutant

DISK: tuple[Mutant, ...] = (
    Mutant(
        name="failed_sync_counts",
        title="a sync that failed counts as one that is done",
        scenario="ledger",
        oracle="I29",
        edits=(
            Edit(
                "patience.py",
                "            raise SyncFailed(self._tickets.pop(failed.ticket), failed.file) from None\n",
                "            return [self._tickets.pop(failed.ticket)]\n",
            ),
        ),
    ),
    Mutant(
        name="failed_sync_repeated",
        title="a sync that failed is submitted again, for the same file",
        scenario="ledger",
        oracle="I29",
        edits=(
            Edit(
                "patience.py",
                "            raise SyncFailed(self._tickets.pop(failed.ticket), failed.file) from None\n",
                "            again = self._inner.sync(failed.file) if failed.file else self._inner.sync_dir()\n"
                "            self._tickets[again] = self._tickets.pop(failed.ticket)\n"
                "            return []\n",
            ),
        ),
    ),
    Mutant(
        name="short_write_unnoticed",
        title="how many bytes a write wrote is not looked at",
        scenario="ledger",
        oracle="I28",
        edits=(Edit("patience.py", "        if written < len(data):\n", "        if written < 0:\n"),),
    ),
    Mutant(
        name="blobs_not_synced",
        title="long payloads are written, but not synced before their block is released",
        scenario="frames",
        oracle="I28",
        edits=(
            Edit(
                "durability.py",
                "            self._tickets.append(self._storage.sync(BLOBS))\n            self._blobs_dirty = False\n",
                "            self._blobs_dirty = False\n",
            ),
        ),
    ),
    Mutant(
        name="damage_below_the_watermark_cut",
        title="recovery keeps the prefix that verifies, whatever was synced",
        scenario="ledger",
        oracle="I27",
        profile="failstop",
        edits=(Edit("journal.py", "    if len(lines) < block:\n", "    if len(lines) < block and not lines:\n"),),
    ),
    Mutant(
        name="synced_hash_not_compared",
        title="recovery asks how many blocks there are, and not whether they are those that were synced",
        scenario="ledger",
        oracle="I27",
        profile="failstop",
        edits=(Edit("journal.py", "    if block and lines[block - 1].hash != hash_:\n", "    if block < 0:\n"),),
    ),
    Mutant(
        name="damaged_block_misnamed",
        title="a stop names the last good block for the first bad one",
        scenario="ledger",
        oracle="I27",
        profile="failstop",
        edits=(
            Edit(
                "journal.py",
                "        first = len(lines) + 1 if verified.header else 0\n",
                "        first = len(lines)\n",
            ),
        ),
    ),
    Mutant(
        name="stop_without_a_name",
        title="an unreadable sector ends the orchestrator by whatever it raises",
        scenario="ledger",
        oracle="I30",
        profile="failstop",
        edits=(
            Edit(
                "recovery.py",
                "        return failed.readable, failed.what\n",
                "        raise\n",
            ),
        ),
    ),
    Mutant(
        name="snapshot_ahead_accepted",
        title="a snapshot of a block that the journal does not have is taken to begin with",
        scenario="ledger",
        oracle="twin",
        edits=(
            Edit(
                "recovery.py",
                "        if not 0 < number <= len(lines):\n",
                "        number = min(number, len(lines))\n        if not number:\n",
            ),
            Edit(
                "recovery.py",
                "        if lines[number - 1].block.root != hashlib.sha256(content.state).hexdigest():\n",
                "        if content.block == number and lines[number - 1].block.root"
                " != hashlib.sha256(content.state).hexdigest():\n",
            ),
        ),
    ),
    Mutant(
        name="watermark_in_one_slot",
        title="the watermark is written over its last one",
        scenario="ledger",
        oracle="replay",
        one_in=90,
        edits=(Edit("watermark.py", "    return mark.serial % 2 * SLOT, ", "    return 0, "),),
    ),
    Mutant(
        name="first_files_not_entered",
        title="the first start does not sync the directory, so that a crash of the machine may leave no files",
        scenario="hello",
        oracle="I14",
        edits=(
            Edit(
                "boot.py",
                "            return [storage.sync(watermark.NAME), storage.sync_dir()]\n",
                "            return [storage.sync(watermark.NAME)]\n",
            ),
        ),
        one_in=24,
    ),
    Mutant(
        name="incarnation_not_synced",
        title="a start does not wait for its watermark to be entered in the directory",
        scenario="hello",
        oracle="I28",
        edits=(
            Edit(
                "boot.py",
                "        self._storage.rename(watermark.NAME + NEW, watermark.NAME)\n"
                "        return [self._storage.sync_dir()]\n",
                "        self._storage.rename(watermark.NAME + NEW, watermark.NAME)\n        return []\n",
            ),
        ),
    ),
    Mutant(
        name="watermark_raised_first",
        title="a start puts the new watermark in place before the journal that it speaks of",
        scenario="hello",
        oracle="I19",
        edits=(
            Edit(
                "boot.py",
                "[self._read, self._write, self._settle_journal, self._raise_watermark]",
                "[self._read, self._write, self._raise_watermark, self._settle_journal]",
            ),
        ),
        one_in=5000,
    ),
    Mutant(
        name="sync_overtakes_a_waiting_write",
        title="a sync is submitted at once, also while the write before it waits for room",
        scenario="hello",
        oracle="I28",
        edits=(Edit("patience.py", "        self._in_turn(submitted)\n", "        submitted()\n"),),
        one_in=40,
    ),
    Mutant(
        name="export_without_blobs",
        title="an export has the journal, and not the long payloads that stand beside it",
        scenario="frames",
        oracle="I20",
        edits=(Edit("exports.py", "    files[BLOBS] = storage.read(BLOBS)\n", '    files[BLOBS] = b""\n'),),
    ),
)
