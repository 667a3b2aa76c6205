"""The archive: snapshot files of agents and of the state tree, written behind the run, the newest few kept.

A file counts as durable when it and its directory entry are synced; only then do older ones of its kind go. Nothing
waits for it: a snapshot only saves work, and one that could not be synced is thrown away.
"""

from __future__ import annotations

from runtime import snapshot
from runtime.ports import Hazard, Storage, never
from runtime.snapshot import HeldImage
from runtime.telemetry import Telemetry

PREFIXES = ("agent-", "state-")


class Archive:
    """`keep` files of each kind stay: per agent, and of the state tree."""

    def __init__(self, storage: Storage, telemetry: Telemetry, keep: int, hazard: Hazard = never) -> None:
        self._storage, self._telemetry, self._keep, self._hazard = storage, telemetry, keep, hazard
        self._files: dict[int, str] = {}  # ticket of the file's sync
        self._synced: list[str] = []  # files whose bytes are durable, their directory entries not
        self._entering: list[str] = []  # those that the directory's sync under way covers
        self._ticket: int | None = None  # of that sync
        self._kept: dict[str, list[str]] = {}
        for name in sorted(storage.names()):
            if name.startswith(PREFIXES):
                self._kept.setdefault(_kind(name), []).append(name)

    def agent(self, agent: int, image: HeldImage) -> None:
        if self._hazard("archive.skip_image", agent, image.n):
            return
        content = snapshot.AgentFile(agent, image.image())
        self._write(snapshot.agent_name(agent, image.n), snapshot.pack_file(content))
        self._telemetry.emit("snapshot", agent=agent, n=image.n)

    def state(self, block: int, encoded: bytes) -> None:
        if self._hazard("archive.skip_state", block):
            return
        content = snapshot.StateFile(block, encoded)
        self._write(snapshot.state_name(block), snapshot.pack_file(content))
        self._telemetry.emit("snapshot", agent=-1, n=block)

    def completed(self, ticket: int) -> bool:
        """Whether the ticket was one of ours."""
        if ticket in self._files:
            self._synced.append(self._files.pop(ticket))
        elif ticket == self._ticket:
            self._ticket = None
            for name in self._entering:
                self._prune(name)
        else:
            return False
        if self._synced and self._ticket is None:
            self._entering, self._synced = self._synced, []
            self._ticket = self._storage.sync_dir()
        return True

    def failed(self, ticket: int) -> bool:
        """Whether the sync that failed was a snapshot's, which is gone then; a directory's is not ours to mend."""
        name = self._files.pop(ticket, "")
        if not name:
            return False
        kept = self._kept.get(_kind(name), [])
        if name in kept:
            kept.remove(name)
        self._storage.remove(name)
        self._telemetry.emit("discarded", file=name, reason="it could not be synced")
        return True

    def _write(self, name: str, data: bytes) -> None:
        if name in self._kept.get(_kind(name), []):
            self._storage.truncate(name, 0)  # a crash had taken back the step of which this is the image
        self._storage.write(name, 0, data)
        self._files[self._storage.sync(name)] = name

    def _prune(self, name: str) -> None:
        kept = self._kept.setdefault(_kind(name), [])
        if name not in kept:
            kept.append(name)
        while len(kept) > self._keep + self._hazard("archive.keep_more", len(kept)):
            self._storage.remove(kept.pop(0))


def _kind(name: str) -> str:
    return name.rpartition("-")[0]
