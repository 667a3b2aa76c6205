"""Instances that were closed whole, to be used again: making one costs ten times as much as wiping one.

Guarantees: what is taken is as a fresh instance would be. Memory and mutable globals are all that an instance has
(`runtime.wasm.binary`), and both are overwritten in full; one that trapped, grew, or whose memory anybody still looks
at is never used again. At most `SPARES_MAX` wait in a process, the oldest leave first.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable

import wasmtime

from runtime.wasm import raw
from runtime.wasm.abi import GLOBAL_NAME
from runtime.wasm.engine import driver, migrator
from runtime.wasm.imports import Served
from runtime.wasm.migration import MIGRATOR_CALLS
from runtime.wasm.modules import DRIVER_CALLS

SPARES_MAX = 64
WIPED_MAX = 1 << 20  # bytes of memory; to wipe more costs more than a new instance


class Instance:
    """One agent's module, the shim before it and the driver behind it, in a store of their own."""

    def __init__(
        self,
        host: raw.Linked,
        agent: raw.Linked,
        mutable: tuple[tuple[int, int], ...],
        served: Served | None = None,
        log: raw.Linear | None = None,
    ) -> None:
        self.served = served  # its user's host functions, alive as long as anything may call them
        self.log = log  # where WASI keeps what the agent writes
        self.store: wasmtime.Store = host.store
        self.host = host.memory("memory")
        self.agent = agent.memory("memory")
        imports = [agent.export("memory"), host.export("memory"), *(agent.export(name) for name in DRIVER_CALLS)]
        self._driver = raw.Linked(host.store, driver(), imports)
        self.entry = self._driver.entry("run")
        self._linked = agent, host
        self._replays: raw.Entry | None = None
        self._migration: raw.Entry | None = None
        self.globals = [agent.global_cell(f"{GLOBAL_NAME}{index}", kind) for index, kind in mutable]

    def replays(self) -> raw.Entry:
        """What feeds several steps again; most instances never do."""
        if self._replays is None:
            self._replays = self._driver.entry("replay")
        return self._replays

    def migration(self) -> raw.Entry | None:
        """What gives the module another version's state; None where it exports no `agent_migrate`."""
        if self._migration is None:
            agent, host = self._linked
            try:
                imports = [agent.export(name) for name in ("memory", *MIGRATOR_CALLS)]
            except KeyError:
                return None
            imports.insert(1, host.export("memory"))
            self._migration = raw.Linked(host.store, migrator(), imports).entry("run")
        return self._migration


class Spares:
    """Those of one compiled module. `first` and `bits` are the memory and the globals that an instance begins with."""

    def __init__(self) -> None:
        self._first = b""
        self._bits: list[int] = []
        self._waiting: list[Instance] = []
        self._self = weakref.ref(self)

    def take(self, make: Callable[[], Instance]) -> Instance:
        """One that nobody has used, or that cannot be told from it."""
        if not self._waiting:
            instance = make()
            if not self._first:
                self._first = bytes(instance.agent.view())
                self._bits = [cell.get() for cell in instance.globals]
            return instance
        instance = self._waiting.pop()
        _order.remove(self._self)
        instance.agent.view()[:] = self._first
        for cell, bits in zip(instance.globals, self._bits, strict=True):
            cell.set(bits)
        return instance

    def put(self, instance: Instance) -> None:
        """Keep it, if it can be wiped; nobody else may use it or look at its memory any more."""
        if instance.agent.size() != len(self._first) or len(self._first) > WIPED_MAX:
            return
        self._waiting.append(instance)
        _order.append(self._self)
        if len(_order) > SPARES_MAX:
            oldest = _order.popleft()()
            if oldest is not None:  # its module may have left the cache, and its spares with it
                oldest._waiting.pop(0)


class NoSpares(Spares):
    """Of modules whose instances have more to be wiped: none is kept, and none takes the place of one that is."""

    def put(self, instance: Instance) -> None:
        pass


_order: deque[weakref.ref[Spares]] = deque()  # whose spares wait, the oldest first
