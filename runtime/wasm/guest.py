"""Agents' instances: one crossing into wasm per step, whatever the agent does in it.

Guarantees: nothing that a module does raises in Python or ends the process; an agent is held to its memory and fuel
limits exactly; statuses, calls and memory depend on the module, the state and the step's arguments alone; memory +
globals, put into a fresh instance, continue identically. One store per agent, hidden in this class; a second thread or
a closed instance is refused before it reaches wasmtime (which would abort).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence

from runtime.errors import Refused
from runtime.ports import Call, GuestStep, StepArguments
from runtime.state import AgentSpec
from runtime.wasm import raw
from runtime.wasm.abi import AGENT_ERROR, GLOBAL_NAME, KINDS, OPS, PAGE
from runtime.wasm.checks import FUEL_MAX, MODULE_BYTES, Loaded, link, load
from runtime.wasm.engine import driver
from runtime.wasm.modules import DRIVER_CALLS, HEADER, LIST_AT, RECORDED, RECORDED_AT

_IDLE, _RUNNING, _CLOSED = 0, 1, 2
_MASK32, _MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_RECORD = 16
_new_call = tuple.__new__  # what Call(...) does in the end, without its detour through a Python function


@functools.cache
def _words(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")


class WasmGuest:
    """One agent's instance (`ports.Guest`)."""

    def __init__(self, loaded: Loaded) -> None:
        host, agent = link(loaded)
        self._host = host.memory("memory")
        self._agent = agent.memory("memory")
        imports = [agent.export("memory"), host.export("memory"), *(agent.export(name) for name in DRIVER_CALLS)]
        self._entry = raw.Linked(host.store, driver(), imports).entry("run")
        self._globals = [agent.global_cell(f"{GLOBAL_NAME}{index}", kind) for index, kind in loaded.mutable]
        self._list = self._host.view()
        self._view = self._agent.view()
        self._size = len(self._view)  # what the agent's memory has now; the view may be older
        self._state = _IDLE
        self._fresh = True

    def run(self, arguments: StepArguments) -> GuestStep:
        """One crossing. Raises Refused only for arguments that no step can have, MemoryError if the host has none.

        The driver's copy of the inbox costs a unit of fuel per byte; it is granted on top, so that a full mailbox
        takes nothing from what the agent may compute. A trap costs all that was granted: wasmtime loses the count.
        """
        kind, tick, agent, now, key, agents, topics, buffers, limit, payload, fuel, inbox, stop_at, models = arguments
        if self._state:
            raise self._unusable()
        if not 0 <= fuel <= FUEL_MAX:
            raise Refused(f"fuel {fuel} for one step", f"agent {agent}", f"give 0 to {FUEL_MAX}")
        self._state = _RUNNING
        try:
            inbox_at = LIST_AT + limit * _RECORD
            if inbox and kind == "step":
                count = len(inbox)
                copied = self._put_inbox(inbox, inbox_at)
            else:
                count = copied = 0
                if inbox_at > len(self._list):
                    self._reserve(inbox_at)
            HEADER.pack_into(
                self._list, 0, now, key & _MASK64, tick, 0, stop_at,
                KINDS[kind], count, inbox_at, agent, agents, topics, buffers, limit, payload, 0, 0, 0, models,
            )  # fmt: skip
            self._fresh = False
            result = self._entry.call(fuel + copied)
            if result < 0:
                return self._trapped(fuel)
            self._size = (result >> 40) * PAGE
            used = fuel - self._entry.fuel_left()
            low = result & _MASK32
            failure = result >> 32 & 0xFF
            if failure:
                return self._failed(f"agent_error:{low}" if failure == AGENT_ERROR else "alloc", used)
            return GuestStep("ok", self._calls(low) if low else [], used)
        except (struct.error, KeyError) as error:
            raise Refused(f"no step has these arguments ({error})", f"agent {agent}", "give unsigned values") from None
        finally:
            self._state = _IDLE

    def memory(self) -> memoryview:
        """The whole linear memory, writable; do not release it. It stays readable after `close`."""
        view = self._view
        if len(view) != self._size:
            if self._state == _CLOSED:
                return view
            view = self._view = self._agent.view()
        return view

    def globals(self) -> list[int]:
        if self._state:
            raise self._unusable()
        return [cell.get() for cell in self._globals]

    def restore(self, memory: bytes, globals: Sequence[int]) -> None:
        """Raises Refused for an image that is not of this module, MemoryError if the host cannot give its size."""
        if self._state:
            raise self._unusable()
        more = len(memory) - self._size
        if not self._fresh:
            raise Refused("restore into an instance that has run", "restore", "use a fresh instance")
        if more < 0 or more % PAGE or len(globals) != len(self._globals):
            raise Refused(
                f"an image of {len(memory)} bytes and {len(globals)} globals is not of this module", "restore",
                f"it begins with {self._size} bytes and has {len(self._globals)} mutable globals",
            )  # fmt: skip
        if not all(cell.holds(bits) for cell, bits in zip(self._globals, globals, strict=True)):
            raise Refused("a global of the image does not fit its type", "restore", "use the image of this module")
        if more:
            self._agent.grow(more // PAGE)
            self._size = self._agent.size()
        self.memory()[:] = memory
        for cell, bits in zip(self._globals, globals, strict=True):
            cell.set(bits)

    def close(self) -> None:
        """Frees the instance, at once or when the last view of its memory is gone; a second call does nothing."""
        if self._state == _RUNNING:
            raise self._unusable()
        if self._state == _IDLE:
            self._state = _CLOSED
            self._size = len(self._view)
            del self._host, self._agent, self._entry, self._globals, self._list

    def _put_inbox(self, inbox: Sequence[bytes], at: int) -> int:
        count = len(inbox)
        envelopes = b"".join(inbox)
        copied = len(envelopes)
        start = at + 4 * count
        if start + copied > len(self._list):
            self._reserve(start + copied)
        _words(count).pack_into(self._list, at, *map(len, inbox))
        self._list[start : start + copied] = envelopes
        return copied

    def _reserve(self, size: int) -> None:
        """Grows the shim's memory; it stays in place, and only the view of it is longer."""
        missing = size - len(self._list)
        self._host.grow(-(-missing // PAGE))
        self._list = self._host.view()

    def _calls(self, count: int) -> list[Call]:
        words = _words(4 * count).unpack_from(self._list, LIST_AT)
        return [
            _new_call(Call, (OPS[words[at]], words[at + 1], words[at + 2], words[at + 3]))
            for at in range(0, 4 * count, 4)
        ]

    def _failed(self, status: str, fuel: int) -> GuestStep:
        recorded, _ = RECORDED.unpack_from(self._list, RECORDED_AT)
        return GuestStep(status, self._calls(recorded), max(0, fuel))

    def _trapped(self, granted: int) -> GuestStep:
        self._size = self._agent.size()
        _, stopped = RECORDED.unpack_from(self._list, RECORDED_AT)
        name = self._entry.trap_name
        status = "stopped" if stopped else "fuel" if name == "out_of_fuel" else f"trap:{name}"
        return self._failed(status, granted)

    def _unusable(self) -> Refused:
        what = "a closed instance is used" if self._state == _CLOSED else "a second thread uses an instance"
        return Refused(what, "guest", "one thread uses an instance, until it closes it")


class WasmGuests:
    """`ports.Guests` over wasmtime. Modules are checked and compiled once per process, whatever asks for them.

    `max_module_bytes` bounds what the size check accepts.
    """

    def __init__(self, max_module_bytes: int = MODULE_BYTES) -> None:
        self._max_module_bytes = max_module_bytes

    def instantiate(self, agent: int, spec: AgentSpec, wasm: bytes) -> WasmGuest:
        """A fresh instance; raises ModuleRefused, or MemoryError where the host has no room for it."""
        return WasmGuest(load(spec, wasm, self._max_module_bytes))
