"""The messages of a tick against the tenants' quotas (TEN-1), in task order: what is too many is refused as a whole.

A message costs as many as it has receivers, and one where it has none. It is refused with E_QUOTA where its tenant has
not that many left in this tick; a refused one costs nothing, so a smaller one after it may still pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runtime import broker, channels, tenants
from runtime.guards import Guards
from runtime.journal import Event
from runtime.state import E_QUOTA, MESSAGE, Config, Effect, Message, State


class Meter:
    """One tick's account, made when its outcomes are committed."""

    def __init__(self, state: State, config: Config, guards: Guards) -> None:
        self._state, self._config, self._guards = state, config, guards
        self._left = [quota.messages or tenants.NO_LIMIT for quota in tenants.quotas(config)]

    def passed(self, sender: int, effects: Sequence[Effect], events: list[Event]) -> Iterator[Effect]:
        """The step's effects but the messages refused here; each is asked for when those before it are applied."""
        tenant = tenants.number(self._config, self._state.agents[sender].spec)
        for effect in effects:
            cost = self._cost(sender, effect)
            if cost > self._left[tenant]:
                broker.bar(self._state, sender, E_QUOTA, effect.payload, events)
                continue
            self._left[tenant] -= cost
            if effect.op == "send" and self._crowded(sender, effect.target):
                seq = broker.take_sequence(self._state, sender)
                message = Message(seq, MESSAGE, sender, 0, effect.payload)
                broker.deliver(self._state, effect.target, message, sender, events, guards=self._guards)
            else:
                yield effect

    def _cost(self, sender: int, effect: Effect) -> int:
        if effect.op == "send":
            return 1
        return max(1, channels.receivers(self._state, sender, effect.target)) if effect.op == "publish" else 0

    def _crowded(self, sender: int, target: int) -> bool:
        return target < len(self._state.agents) and tenants.crowded(self._state, sender, target)
