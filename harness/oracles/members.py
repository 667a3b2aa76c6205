"""Who gets what is published: subscribers of topics and members of channels, at each place of the commit order.

The oracles' own account, from the configuration, the operators' inputs and the calls that modules made; the runtime's
lists are not read. Numbers of channels go on from the topics'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Members:
    """One pass over the commit order: joins, leaves and publications as they come."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        channels = config.get("channels", [])
        self._topics = len(config["topics"])
        self._closed = [bool(channel["closed"]) for channel in channels]
        self._of: list[list[int]] = [[] for _ in config["topics"]] + [list(channel["members"]) for channel in channels]

    def is_channel(self, number: int) -> bool:
        return self._topics <= number < len(self._of)

    def may_post(self, sender: int, number: int) -> bool:
        """Whoever publishes on a topic, and members in their channels; what does not exist keeps nobody out."""
        return not self.is_channel(number) or sender in self._of[number]

    def targets(self, sender: int, number: int) -> tuple[int, ...]:
        """Who gets a copy of what `sender` publishes here and now."""
        if not 0 <= number < len(self._of) or not self.may_post(sender, number):
            return ()
        if self.is_channel(number):
            return tuple([member for member in self._of[number] if member != sender])
        return tuple(self._of[number])

    def join(self, agent: int, number: int, by_operator: bool = False) -> None:
        """A closed channel is joined by operators alone."""
        if not 0 <= number < len(self._of) or agent in self._of[number]:
            return
        if by_operator or not self.is_channel(number) or not self._closed[number - self._topics]:
            self._of[number].append(agent)

    def leave(self, agent: int, number: int) -> None:
        if 0 <= number < len(self._of) and agent in self._of[number]:
            self._of[number].remove(agent)
