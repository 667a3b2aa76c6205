"""Releases: what leaves, block by block, only when the block is durable; a client's cursor says where to go on.

A block is sent once when it becomes durable, and again to a client whose cursor stays behind it for `resend_ns`.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.frames import Release, pack
from runtime.ports import Gateway, Hazard, never
from runtime.telemetry import Telemetry


class Releases:
    """The stream of one incarnation; it begins with what its predecessors may have sent."""

    def __init__(
        self,
        gateway: Gateway,
        now: Callable[[], int],
        resend_ns: int,
        telemetry: Telemetry,
        recovered: list[Release],
        hazard: Hazard = never,
    ) -> None:
        self._gateway, self._now, self._resend_ns, self._telemetry = gateway, now, resend_ns, telemetry
        self._blocks, self._hazard = recovered, hazard
        self._sent_at = [-resend_ns] * len(recovered)
        self._unsent = len(recovered)  # index of the first block that this incarnation has not sent
        self.cursor = 0

    def add(self, release: Release) -> None:
        self._blocks.append(release)
        self._sent_at.append(0)

    def seen(self, cursor: int) -> None:
        """A client reports the newest block that it has."""
        self.cursor = max(self.cursor, cursor)

    def send(self, cursor: int, durable: int) -> None:
        """Every durable block that was not sent yet, and those that a client at `cursor` seems to have missed."""
        now = self._now()
        for index in range(min(cursor, self._unsent), durable):
            late = now - self._sent_at[index] >= self._resend_ns
            if index >= self._unsent or late or self._hazard("releases.again", index):
                self._sent_at[index] = now
                self._gateway.send(pack(self._blocks[index]))
                self._telemetry.emit("released", block=index + 1)
        self._unsent = max(self._unsent, durable)
