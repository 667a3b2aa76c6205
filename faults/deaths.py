"""Deaths as exceptions that no `except Exception` of the runtime sees."""

from __future__ import annotations


class Killed(BaseException):
    """The orchestrator is dead; every further port call of its incarnation raises it, so no `finally` tidies up."""


class WorkerDied(BaseException):
    """The worker is dead, in the middle of `WorkerCore.handle`; the adapter turns it into a death at that moment."""

    def __init__(self, worker: int) -> None:
        self.worker = worker
        super().__init__(worker)


class WorkerHung(WorkerDied):
    """The worker is in a call that never returns: it lives, answers nothing more, and ends when it is killed."""


class DeviceDied(BaseException):
    """The device's process is dead, in the middle of `DeviceCore.handle`; as `WorkerDied`."""

    def __init__(self, process: int) -> None:
        self.process = process
        super().__init__(process)
