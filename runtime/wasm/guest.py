"""Agents' instances: one crossing into wasm per step, whatever the agent does in it.

Guarantees: nothing that a module does raises in Python or ends the process; an agent is held to its memory and fuel
limits exactly; statuses, calls and memory depend on the module, the state and the step's arguments alone; memory +
globals, put into a fresh instance, continue identically. One store per agent, hidden in this class; a second thread or
a closed instance is refused before it reaches wasmtime (which would abort).
"""

from __future__ import annotations

import functools
import struct
import weakref
from collections.abc import Sequence

import msgspec

from runtime.carried import Carried, unpack
from runtime.errors import Refused
from runtime.frames import StepArguments
from runtime.lru import Pin
from runtime.ports import Call, GuestStep, Replayed
from runtime.state import AgentSpec
from runtime.wasm import raw
from runtime.wasm.abi import AGENT_ERROR, KINDS, LISTED, OPS, PAGE, UNGROWN
from runtime.wasm.agent_wasi import AgentLine, Log, drained
from runtime.wasm.capabilities import Capability, by_name
from runtime.wasm.checks import FUEL_MAX, MODULE_BYTES, Loaded, join, load_pinned
from runtime.wasm.compiled import DEFAULT, ModuleCache
from runtime.wasm.exclusive import Exclusive
from runtime.wasm.linear import Memory
from runtime.wasm.modules import HEADER, LIST_AT, RECORDED, RECORDED_AT
from runtime.wasm.replaying import DRIVER_FUEL, done, first_of, laid, lay
from runtime.wasm.signatures import Demand
from runtime.wasm.spares import Instance

_IDLE, _RUNNING, _CLOSED = 0, 1, 2
_MASK32, _MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_RECORD = 16
_SLACK = 8  # the driver reads numbers eight bytes at a time
_NONE = b"\x90"  # no effects
_NO_VIEW = memoryview(b"")
_BLANK = (0,) * 18  # a header in which nothing is asked for
_new_call = _new_step = tuple.__new__  # what Call(...) does in the end, without its detour through a Python function


@functools.cache
def _words(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")


def _instance(loaded: Loaded) -> Instance:
    joined = join(loaded)
    return Instance(joined.host, joined.agent, loaded.mutable, joined.served, joined.log)


class _Keeper:
    """What views of an instance's memory keep alive; once it is gone, nobody looks at that memory any more."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance


class WasmGuest:
    """One agent's instance (`ports.Guest`). `pin` keeps its module in the cache."""

    pin: Pin | None = None

    def __init__(self, loaded: Loaded) -> None:
        instance = loaded.spares.take(lambda: _instance(loaded))
        self._loaded, self._spares, self._instance = loaded, loaded.spares, instance
        self._host, self._agent, self._entry = instance.host, instance.agent, instance.entry
        self._globals = instance.globals
        self._keeper = self._agent.keeper = _Keeper(instance)
        self._list = self._host.view()
        self._view = self._agent.view()
        self._size = len(self._view)  # what the agent's memory has now; the view may be older
        self._state = _IDLE
        self._fresh = True
        self._whole = True  # whether no step has ended in a trap

        if instance.served is not None:
            instance.served.service.memory = Memory(self._agent, Exclusive("agent"), "agent")

    def run(self, arguments: StepArguments) -> GuestStep:
        """One crossing. Raises Refused only for arguments that no step can have, MemoryError if the host has none.

        The driver's copy of the inbox costs a unit of fuel per byte; it is granted on top, so that a full mailbox
        takes nothing from what the agent may compute. A trap costs all that was granted: wasmtime loses the count.
        """
        limit, inbox, fuel = arguments.send_limit, arguments.inbox, arguments.fuel
        if self._state:
            raise self._unusable()
        at = self._list
        if not 0 <= fuel <= FUEL_MAX:
            raise Refused(f"fuel {fuel} for one step", f"agent {arguments.agent}", f"give 0 to {FUEL_MAX}")
        self._state = _RUNNING
        try:
            inbox_at = LIST_AT + limit * _RECORD
            copied = len(inbox)
            end = inbox_at + copied
            if end + _SLACK > len(at):
                at = self._reserve(end + _SLACK)
            at[inbox_at:end] = inbox
            HEADER.pack_into(
                at, 0, arguments.now_ms, arguments.random_key & _MASK64, arguments.tick, 0, arguments.stop_at,
                KINDS[arguments.kind], arguments.listed, inbox_at, arguments.agent, arguments.agents, arguments.topics,
                arguments.buffers, limit, arguments.max_payload, 0, 0, 0, arguments.models,
            )  # fmt: skip
            self._fresh = False
            entry = self._entry
            result = entry.call(fuel + copied)
            if result < 0:
                return self._trapped(fuel)
            size = self._size = (result >> 40) * PAGE
            used = fuel - entry.fuel_left()
            low = result & _MASK32
            how = result >> 32 & 0xFF
            if not how:
                if not low:
                    return _new_step(GuestStep, ("ok", (), used, _NONE, size))
                if inbox_at + low > len(at):
                    at = self._list = self._host.view()
                return _new_step(GuestStep, ("ok", (), used, at[inbox_at : inbox_at + low].tobytes(), size))
            return self._unusual(how, low, used)
        except KeyError:  # what the driver does not do: no step is looked at for it
            return self._other(arguments)
        except struct.error as error:
            what = f"no step has these arguments ({error})"
            raise Refused(what, f"agent {arguments.agent}", "give unsigned values") from None
        finally:
            self._state = _IDLE

    def replay(self, records: Sequence[bytes | msgspec.Raw], fuel: int) -> Replayed | None:
        """All of them in one crossing, in which they share their fuel; None for a module with host functions.

        Raises as `run` does.
        """
        if self._state:
            raise self._unusable()
        if not self._loaded.plain:
            return None
        first = first_of(records)
        place = laid(records, LIST_AT + first.send_limit * _RECORD)
        # What the driver needs: each record is copied twice, at a unit for each byte, and read.
        copied = 2 * sum(map(len, records))
        own = copied + DRIVER_FUEL * len(records)
        granted = min(fuel * len(records), FUEL_MAX - own)
        self._state = _RUNNING
        try:
            at = self._reserve(place.room)
            HEADER.pack_into(at, 0, *_BLANK)
            lay(at, place, records)
            self._fresh = False
            entry = self._instance.replays()
            result = entry.call(granted + own)
            at = self._list = self._host.view()
            made = done(at, place, _NONE)
            if result < 0:
                return Replayed(made, granted, self._trapped(granted, entry))
            self._size = (result >> 40) * PAGE
            used = min(granted, granted + own - copied - entry.fuel_left())
            how, low = result >> 32 & 0xFF, result & _MASK32
            return Replayed(made, used, self._unusual(how, low, 0) if how else None)
        finally:
            self._state = _IDLE

    def _other(self, arguments: StepArguments) -> GuestStep:
        """A reload: take over the state of another version's instance, by `agent_migrate` or as it is."""
        state, change, limit = arguments.carried, arguments.change, arguments.send_limit
        if state is None or change is None:
            what = f"a step of kind {arguments.kind!r}"
            raise Refused(what, f"agent {arguments.agent}", f"give one of {', '.join(KINDS)}")
        entry = self._instance.migration()
        if entry is None:
            return self._adopt(unpack(state))
        state_at = LIST_AT + limit * _RECORD
        at = self._reserve(state_at + len(state) + _SLACK)
        at[state_at : state_at + len(state)] = state
        HEADER.pack_into(
            at, 0, arguments.now_ms, arguments.random_key & _MASK64, arguments.tick, 0, arguments.stop_at,
            change.before, len(state), state_at, arguments.agent, arguments.agents, arguments.topics,
            arguments.buffers, limit, arguments.max_payload, 0, 0, 0, arguments.models,
        )  # fmt: skip
        self._fresh = False
        result = entry.call(arguments.fuel + len(state))
        if result < 0:
            return self._trapped(arguments.fuel, entry)
        self._size = (result >> 40) * PAGE
        return self._unusual(result >> 32 & 0xFF, result & _MASK32, max(0, arguments.fuel - entry.fuel_left()))

    def _adopt(self, state: Carried) -> GuestStep:
        """The state as it is, where the module has the same mutable globals and begins with no larger a memory."""
        fits = self._size <= len(state.memory) <= self._loaded.most
        if state.types != tuple(self.types()) or not fits:
            return GuestStep("layout", (), 0)
        self._state = _IDLE
        self.restore(state.memory, state.globals)
        self._fresh = False
        return GuestStep("ok", (), 0, _NONE)

    def _unusual(self, how: int, low: int, used: int) -> GuestStep:
        """A step that returned, and whose effects the driver did not make."""
        if how == LISTED:
            recorded, _ = RECORDED.unpack_from(self._list, RECORDED_AT)
            return GuestStep("ok", self._calls(recorded), used)
        if how == UNGROWN:
            raise raw.Unavailable("no memory for what a step sends")
        return self._failed(f"agent_error:{low}" if how == AGENT_ERROR else "alloc", used)

    def memory(self) -> memoryview:
        """The whole linear memory, writable; do not release it. What you hold of it stays readable after `close`."""
        view = self._view
        if len(view) != self._size:
            view = self._view = self._agent.view()
        elif not view and self._state == _CLOSED:
            raise self._unusable()
        return view

    def globals(self) -> list[int]:
        if self._state:
            raise self._unusable()
        return [cell.get() for cell in self._globals]

    def types(self) -> list[int]:
        """The value types of the mutable globals, in index order."""
        return [kind for _, kind in self._loaded.mutable]

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
            self._state, self._size = _CLOSED, 0
            instance, watched = self._instance, weakref.ref(self._keeper)
            self._view, self._agent.keeper = _NO_VIEW, instance.store
            del self._host, self._agent, self._entry, self._globals, self._list, self._instance, self._keeper
            if self._whole and watched() is None:
                self._spares.put(instance)
            if self.pin is not None:
                self.pin.release()

    def _reserve(self, size: int) -> memoryview:
        """Grows the shim's memory; it stays in place, and only the view of it is longer."""
        view = self._host.view()  # the driver may have grown it
        if size > len(view):
            self._host.grow(-(-(size - len(view)) // PAGE))
            view = self._host.view()
        self._list = view
        return view

    def _calls(self, count: int) -> list[Call]:
        words = _words(4 * count).unpack_from(self._list, LIST_AT)
        return [
            _new_call(Call, (OPS[words[at]], words[at + 1], words[at + 2], words[at + 3]))
            for at in range(0, 4 * count, 4)
        ]

    def _failed(self, status: str, fuel: int) -> GuestStep:
        recorded, _ = RECORDED.unpack_from(self._list, RECORDED_AT)
        return GuestStep(status, self._calls(recorded), max(0, fuel))

    def _trapped(self, granted: int, entry: raw.Entry | None = None) -> GuestStep:
        self._size, self._whole = self._agent.size(), False
        _, stopped = RECORDED.unpack_from(self._list, RECORDED_AT)
        name = (entry or self._entry).trap_name
        status = "stopped" if stopped else "fuel" if name == "out_of_fuel" else f"trap:{name}"
        served = self._instance.served
        if served is not None and served.raised:
            error = served.raised[0]
            served.raised.clear()
            if not isinstance(error, Exception) or isinstance(error, MemoryError):
                raise error
            status = "host_function"
        return self._failed(status, granted)

    def _unusable(self) -> Refused:
        what = "a closed instance is used" if self._state == _CLOSED else "a second thread uses an instance"
        return Refused(what, "guest", "one thread uses an instance, until it closes it")


class WritingGuest(WasmGuest):
    """An agent that may write to stdout and stderr (`runtime.wasm.agent_wasi`): its writes go to `log`."""

    log: Log | None = None

    def run(self, arguments: StepArguments) -> GuestStep:
        try:
            return super().run(arguments)
        finally:
            if self._state == _IDLE and self._instance.log is not None:
                for stream, data in drained(self._instance.log):
                    if self.log is not None:
                        self.log(AgentLine(arguments.agent, arguments.tick, arguments.kind, stream, data))


class WasmGuests:
    """`ports.Guests` over wasmtime. Modules are checked and compiled once per process, whatever asks for them.

    `max_module_bytes` bounds what the size check accepts; with a `demand` every module must be signed. Compiled
    modules are kept in `cache`, each at least as long as an instance of it is there. `capabilities` are offered beside
    those of the ABI, to agents that are granted them by name; their functions are pure. `log` is told what agents write
    to stdout and stderr.
    """

    def __init__(
        self,
        max_module_bytes: int = MODULE_BYTES,
        demand: Demand | None = None,
        cache: ModuleCache = DEFAULT,
        capabilities: Sequence[Capability] = (),
        log: Log | None = None,
    ) -> None:
        self._log = log
        self._max_module_bytes, self._demand, self._cache = max_module_bytes, demand, cache
        self._offered = by_name(capabilities, agents=True)

    def instantiate(self, agent: int, spec: AgentSpec, wasm: bytes, libraries: Sequence[bytes] = ()) -> WasmGuest:
        """A fresh instance; raises ModuleRefused, or MemoryError where the host has no room for it."""
        longest, demand = self._max_module_bytes, self._demand
        loaded, pin = load_pinned(spec, wasm, longest, demand, self._cache, self._offered, libraries)
        guest = WasmGuest(loaded) if loaded.plain else WritingGuest(loaded)
        guest.pin = pin
        if isinstance(guest, WritingGuest):
            guest.log = self._log
        return guest
