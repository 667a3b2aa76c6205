"""What the harness's own evidence costs: the guest log and the trace are there to be judged, not to run agents.

Inside `unobserved` a simulation keeps neither. Fault wrappers, journal, syncs and snapshots stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from harness import assembly
from runtime.ports import Guests
from runtime.telemetry import Hook, Telemetry


@contextmanager
def swapped(owner: Any, name: str, value: object) -> Iterator[None]:
    """Another value under this name while inside; the old one afterwards, whatever happens."""
    old = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, old)


def _bare_guests(inner: Guests, *observing: object) -> Guests:
    return inner


def _deaf(telemetry: Telemetry, hook: Hook, steps: bool = False) -> None:
    """No hook is registered, so no record is made."""


@contextmanager
def unobserved() -> Iterator[None]:
    """Simulations started in here keep no guest log and no trace."""
    with ExitStack() as stack:
        stack.enter_context(swapped(assembly, "ObservedGuests", _bare_guests))
        stack.enter_context(swapped(Telemetry, "register", _deaf))
        yield
