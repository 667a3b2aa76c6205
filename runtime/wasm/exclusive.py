"""Who may use an instance: one thread at a time, never twice, never after it is closed, never too deep.

wasmtime ends the process where one store is used by two threads; and nested calls through host functions take a part
of the native stack each, which wasmtime does not count together. Both are refused here, by an atomic step.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.errors import Refused

NESTED_MAX = 4  # instances that call each other through host functions, each with up to 512 KiB of native stack
STACK_MIN = 2 << 20  # bytes of native stack that a thread must have been given

_thread = threading.local()


class Exclusive:
    """The right to use one instance. `closed` once it is gone, `suspended` between the slices of a call."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lock = threading.Lock()
        self._owner = 0
        self.closed = False
        self.suspended = False

    @contextmanager
    def entered(self, between: bool = False) -> Iterator[None]:
        """For a call; raises Refused to a second thread, to a host function of this very call, after the close.

        And while a call in slices is not at its end, except to what may come `between` its slices.
        """
        me = threading.get_ident()
        if not self._lock.acquire(blocking=False):
            raise self._busy(me)
        try:
            self._check()
            if self.suspended and not between:
                raise Refused("a call of it is not at its end", self._where, "go on with that call, or cancel it")
            depth: int = getattr(_thread, "depth", 0)
            if depth >= NESTED_MAX:
                what = f"{depth} instances call each other"
                raise Refused(what, self._where, "call the next one after the host function has returned")
            _thread.depth = depth + 1
            self._owner = me
            try:
                yield
            finally:
                self._owner = 0
                _thread.depth = depth
        finally:
            self._lock.release()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """For a look at the memory: as `entered`, and open to the host functions of the call that runs."""
        if self._owner == threading.get_ident():
            yield
            return
        with self.entered(between=True):
            yield

    def _check(self) -> None:
        if self.closed:
            raise Refused("the instance is closed", self._where, "make another one")
        size = threading.stack_size()
        if 0 < size < STACK_MIN and threading.current_thread() is not threading.main_thread():
            what = f"threads have {size} bytes of stack here"
            raise Refused(what, self._where, f"give threading.stack_size at least {STACK_MIN}")

    def _busy(self, me: int) -> Refused:
        if self._owner == me:
            return Refused("it is called from within its own call", self._where, "return from the host function first")
        return Refused("a second thread uses the instance", self._where, "one thread at a time, or an instance each")
