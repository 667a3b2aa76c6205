"""Deaths as exceptions that nothing in the runtime catches: neither `except Exception` nor a fault handler sees them."""

from __future__ import annotations


class Killed(BaseException):
    """The orchestrator is dead. Every further port call of its incarnation raises it again, so no `finally` tidies up."""


class WorkerDied(BaseException):
    """The worker is dead, in the middle of `WorkerCore.handle`; the adapter turns it into a death at that moment."""

    def __init__(self, worker: int) -> None:
        self.worker = worker
        super().__init__(worker)
