"""Function modules of any origin (WAS-2): load a file, call its exports, lend it functions and bytes.

    Engine().load("add.wat").call("add", 1, 2)

Guarantees: nothing that a module does ends the process or raises anything but `runtime.errors`; a call ends by its
results, a trap, or the name of the limit it exceeded (WAS-4); what a host function raises is raised again by the call.
One thread at a time is in an instance, none twice: a second one, a call from within a host function, and a closed
instance are refused before they reach wasmtime, which would end the process. No object of wasmtime leaves this file.
"""

from __future__ import annotations

import gc
import hashlib
import weakref
from collections.abc import Mapping
from types import TracebackType

import wasmtime
from msgspec import Struct

from runtime.errors import CallFailed, LimitExceeded, ModuleRefused, NoRoom, Refused
from runtime.lru import Pin
from runtime.wasm import growth, imports, linking, raw
from runtime.wasm.abi import I32, PAGE, Signature
from runtime.wasm.binary import Parsed
from runtime.wasm.checks import FUEL_MAX, TABLE_MAX
from runtime.wasm.compiled import DEFAULT, ModuleCache
from runtime.wasm.engine import engine
from runtime.wasm.exclusive import Exclusive
from runtime.wasm.imports import HostCall, WithMemory
from runtime.wasm.linear import Memory
from runtime.wasm.linking import Linkable, Part, check_types, planned
from runtime.wasm.names import shown
from runtime.wasm.running import SLICE, SLICE_MIN, Running, Value
from runtime.wasm.values import from_bits, to_bits, told

MEMORY_MAX = 1 << 32
TABLES_MAX = 16
_LIMITED = {"out_of_fuel": "fuel", "stack_overflow": "stack"}
_TODO = {
    "fuel": "raise limits.fuel, or look for a loop that does not end",
    "stack": "look for a recursion that does not end; the stack has 512 KiB",
    "memory": "raise limits.memory",
    "table": "raise limits.table",
}
_FUNCTION, _TABLE, _MEMORY = 0, 1, 2

Host = Mapping[str, HostCall | WithMemory]


class ModuleLimits(Struct, frozen=True, kw_only=True):
    """What one instance may use: fuel per call in wasmtime's units (some 10^9 a second), memory in bytes, elements of
    each table. The stack is the engine's, 512 KiB for all."""

    fuel: int = 1_000_000_000
    memory: int = 64 << 20
    table: int = 100_000

    def checked(self) -> ModuleLimits:
        """Itself; raises Refused for a value that no limit can have."""
        for name, most in (("fuel", FUEL_MAX), ("memory", MEMORY_MAX), ("table", TABLE_MAX)):
            value: object = getattr(self, name)
            if not isinstance(value, int) or not 0 <= value <= most:
                raise Refused(f"limit {name} is {told(value)}", "limits", f"give 0 to {most}")
        return self


def _check_limits(parsed: Parsed, limits: ModuleLimits, where: str) -> None:
    if len(parsed.memories) > 1:
        what = f"it has {len(parsed.memories)} memories, allowed is one"
        raise ModuleRefused("limit", what, where, "build it with one memory")
    begins = sum(memory[0] for memory in parsed.memories) * PAGE
    if begins > limits.memory:
        what = f"its memory begins with {begins} bytes, its limit is {limits.memory}"
        raise ModuleRefused("limit", what, where, _TODO["memory"])
    elements = sum(table[0] for table in parsed.tables)
    if elements > limits.table or len(parsed.tables) > TABLES_MAX:
        what = f"its {len(parsed.tables)} tables have {elements} elements, allowed are {TABLES_MAX} and {limits.table}"
        raise ModuleRefused("limit", what, where, _TODO["table"])


def format_refused(error: Exception, where: str) -> ModuleRefused:
    what = shown(" ".join(str(error).split()), 300)
    return ModuleRefused("format", what, where, "build it as a core wasm module (docs/modules.md)")


class Instance:
    """One instance with a store of its own. `used` is the fuel of the last call that returned.

    After a trap the module may have left its own work half done, so a fresh instance is the better choice then.
    """

    def __init__(self, module: Module, host: Host, limits: ModuleLimits, modules: Mapping[str, Module]) -> None:
        self._module, self._limits = module, limits
        self._exclusive = Exclusive(module.name)
        self._functions: dict[str, tuple[raw.Function, Signature]] = {}
        self._served: list[imports.Served] = []
        self._notes: list[raw.GlobalCell] = []
        self._running: weakref.ref[Running] | None = None
        self.used = 0
        raw.headroom(60)
        parts = planned(module, modules, host)
        linked = [module if part.name == "" else modules[part.name] for part in parts]
        for each in linked:
            each.check(limits)
        self._uses = [each.use() for each in linked]
        check_types(parts, [compiled for (compiled, _), _ in self._uses])
        with self._exclusive.entered():
            try:
                self._linked = self._link(parts)
            except raw.Unavailable:  # instances that are dropped and lie in a cycle still hold address space
                gc.collect()
                self._linked = self._retried(parts)
            self.memory = self._memory(module, self._linked)

    def call(self, name: str, *arguments: Value) -> Value | tuple[Value, ...] | None:
        """The export's results: None, one value, or a tuple; integers signed.

        Raises Refused for a name, a number or a type that is not the export's, CallFailed or LimitExceeded where the
        call did not return, and whatever a host function raised.
        """
        raw.headroom()
        with self._exclusive.entered():
            signature, words = self._words(name, arguments)
            function = self._functions[name][0]
            return self._ended(name, signature, function.call_with(self._limits.fuel, words), function)

    def _words(self, name: str, arguments: tuple[Value, ...]) -> tuple[Signature, list[int]]:
        """The export's type, and the arguments as raw bits."""
        signature = self._function(name)[1]
        if len(arguments) != len(signature.parameters):
            what = f"{shown(name)} takes {len(signature.parameters)} arguments, given are {len(arguments)}"
            raise Refused(what, self._module.name, f"its type is {signature}")
        return signature, [
            to_bits(kind, value, f"argument {number} of {shown(name)}", self._module.name)
            for number, (kind, value) in enumerate(zip(signature.parameters, arguments, strict=True), 1)
        ]

    def _ended(
        self, name: str, signature: Signature, found: list[int] | None, call: raw.Function | raw.Sliced
    ) -> Value | tuple[Value, ...] | None:
        """What a call gives, or why it gives nothing, raised."""
        if found is None:
            for note in self._notes:
                limit = growth.LIMITS.get(note.get())
                if limit:
                    note.set(0)
                    raise LimitExceeded(limit, f"{shown(name)} grew beyond it", self._module.name, _TODO[limit])
            raise self._failed(call.trap_name, f"{shown(name)} ended")
        self.used = max(0, self._limits.fuel - call.fuel_left())
        values = tuple(from_bits(kind, bits) for kind, bits in zip(signature.results, found, strict=True))
        return None if not values else values[0] if len(values) == 1 else values

    def start(self, name: str, *arguments: Value, slice: int = SLICE) -> Running:
        """The call, to be carried out in slices of so much fuel; not a step of it is made yet.

        Until it has ended the instance takes no other call. Raises as `call` does before it runs.
        """
        raw.headroom()
        with self._exclusive.entered():
            if not SLICE_MIN <= slice <= FUEL_MAX:
                raise Refused(f"a slice of {told(slice)}", self._module.name, f"give {SLICE_MIN} to {FUEL_MAX}")
            signature, words = self._words(name, arguments)
            sliced = raw.Sliced(self._linked, self._linked.export(name), (*signature,), words, self._limits.fuel, slice)
            self._exclusive.suspended = True
            running = Running(sliced, self._exclusive, lambda found: self._ended(name, signature, found, sliced))
            self._running = weakref.ref(running)
            return running

    def put(self, data: bytes | bytearray | memoryview) -> int:
        """The bytes, in room that the module's `allocate(size)` gives; where they are. Raises CallFailed if it is 0."""
        pointer = self.call("allocate", len(data))
        if not isinstance(pointer, int) or not pointer:
            raise CallFailed("alloc", f"allocate({len(data)}) gave {pointer}", self._module.name, "send less")
        pointer &= 0xFFFFFFFF
        self.memory.write(pointer, data)
        return pointer

    def extend(self, data: bytes) -> int:
        """The bytes, behind all that the memory holds now, which grows for them; where they are.

        For a module that offers no `allocate`. Raises LimitExceeded ("memory") where its limit, or its own maximum,
        does not allow it.
        """
        at = self.memory.extended(-(-len(data) // PAGE))
        if at < 0:
            what = f"no room for {len(data)} bytes behind its own"
            raise LimitExceeded("memory", what, self._module.name, _TODO["memory"])
        self.memory.write(at, data)
        return at

    def call_bytes(self, name: str, data: bytes | bytearray | memoryview) -> bytes:
        """Bytes in, bytes out: `put`, then the export with (pointer, length), which answers the same way.

        Its results are two i32 (pointer, length), or one i64 with the pointer in its high half.
        """
        found = self.call(name, self.put(data), len(data))
        if isinstance(found, tuple) and len(found) == 2 and all(isinstance(value, int) for value in found):
            pointer, length = int(found[0]), int(found[1])
        elif isinstance(found, int) and self._function(name)[1].results == b"\x7e":
            pointer, length = found >> 32, found
        else:
            todo = "let it give (i32, i32), or an i64 with the pointer in its high half"
            raise Refused(f"{shown(name)} gives no range of bytes", self._module.name, todo)
        return self.memory.read(pointer & 0xFFFFFFFF, length & 0xFFFFFFFF)

    def close(self) -> None:
        """Frees it; a second call does nothing. Refused within a call; one in slices is cancelled."""
        if self._exclusive.closed:
            return
        running = self._running() if self._running is not None else None
        if running is not None:
            running.cancel()
        with self._exclusive.entered():
            self._exclusive.closed = True
            self._functions.clear()
            self.memory = Memory(None, self._exclusive, self._module.name)
            self._served, self._notes = [], []
            del self._linked
            for _, pin in self._uses:
                pin.release()
            self._uses = []

    def __enter__(self) -> Instance:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _link(self, parts: tuple[Part, ...]) -> raw.Linked:
        """All parts in one store, in their order; the last one is what is called."""
        limits, count = self._limits, len(parts)
        store = wasmtime.Store(engine())
        store.set_fuel(limits.fuel)
        try:
            self._notes = []
            services = [imports.Served(store, part.host, part.module.name) if part.host else None for part in parts]
            self._served = [served for served in services if served]
            store.set_limits(
                memory_size=limits.memory,
                table_elements=limits.table,
                instances=2 * count,
                tables=TABLES_MAX * count,
                memories=2 * count,
            )
            made: list[raw.Linked] = []
            for part, served, ((compiled, noted), _) in zip(parts, services, self._uses, strict=True):
                lent = iter(served.externs if served else ())
                given = [
                    made[source.part].export(source.name) if source.part >= 0 else next(lent) for source in part.sources
                ]
                made.append(raw.Linked(store, compiled, given))
                if served:
                    served.service.memory = self._memory(part.module, made[-1])
                if noted:
                    self._notes.append(made[-1].global_cell(growth.NOTE, I32))
            return made[-1]
        except raw.InstantiationTrap as trap:
            raise self._failed(trap.trap_name, "instantiation ended") from None
        except raw.Unavailable:
            if any(served.raised for served in self._served):
                raise self._failed("", "instantiation ended") from None
            raise

    def _retried(self, parts: tuple[Part, ...]) -> raw.Linked:
        try:
            return self._link(parts)
        except raw.Unavailable as error:
            todo = "close instances that are done"
            raise NoRoom(f"no room for an instance ({error})", self._module.name, todo) from None

    def _memory(self, module: Module | Linkable, linked: raw.Linked) -> Memory:
        names = [export.name for export in module.parsed.exports if export.kind == _MEMORY]
        name = "memory" if "memory" in names else names[0] if names else ""
        return Memory(linked.memory(name) if names else None, self._exclusive, module.name)

    def _function(self, name: str) -> tuple[raw.Function, Signature]:
        known = self._functions.get(name)
        if known is None:
            signature = self._module.signature(name)
            cells = max(len(signature.parameters), len(signature.results))
            function = raw.Function(self._linked, self._linked.export(name), cells, len(signature.results))
            known = self._functions[name] = function, signature
        return known

    def _failed(self, trap: str, what: str) -> BaseException:
        for served in self._served:
            if served.raised:
                error = served.raised[0]
                served.raised.clear()
                return error
        limit = _LIMITED.get(trap)
        if limit is not None:
            told = f" of {self._limits.fuel}" if limit == "fuel" else ""
            return LimitExceeded(limit, f"{what} at its limit{told}", self._module.name, _TODO[limit])
        return CallFailed(f"trap:{trap}", f"{what} by a trap", self._module.name, "use a fresh instance")


class Module:
    """A module that passed the checks of size and format. `wasm` are the bytes that are compiled, `digest` theirs."""

    def __init__(self, wasm: bytes, parsed: Parsed, name: str, cache: ModuleCache = DEFAULT) -> None:
        self.wasm, self.parsed, self.name, self._cache = wasm, parsed, name, cache
        self.digest = hashlib.sha256(wasm).hexdigest()

    def call(self, name: str, *arguments: Value) -> Value | tuple[Value, ...] | None:
        """Calls the export in a fresh instance with the default limits; as `Instance.call`."""
        with self.instantiate() as instance:
            return instance.call(name, *arguments)

    def instantiate(
        self,
        host: Host | None = None,
        limits: ModuleLimits | None = None,
        modules: Mapping[str, Module] | None = None,
    ) -> Instance:
        """An instance whose imports are served by `host` ("module.name" to a function), held to `limits`.

        What it imports from one of the names in `modules` is that module's export; those are instantiated beside it,
        fresh, and may import from each other and from the host. Fuel is for all together, other limits for each.

        Raises ModuleRefused for an import that is not given and for a size beyond the limits, Refused for a host
        that is none, NoRoom where this machine has none. Start functions, if there are any, run here, and may end as
        any call may.
        """
        if host is not None and not isinstance(host, Mapping):
            raise Refused(f"host is a {type(host).__name__}", self.name, 'give {"module.name": function}')
        if limits is not None and not isinstance(limits, ModuleLimits):
            raise Refused(f"limits is a {type(limits).__name__}", self.name, "give ModuleLimits(…)")
        linking.checked(modules or {}, Module, self.name)
        return Instance(self, host or {}, limits or ModuleLimits(), modules or {})

    def check(self, limits: ModuleLimits) -> None:
        """Raises ModuleRefused where what it declares is beyond the limits, Refused for limits that are none."""
        _check_limits(self.parsed, limits.checked(), self.name)

    def signature(self, name: str) -> Signature:
        """The type of an exported function; raises Refused for anything else."""
        where = self.name
        functions = {export.name: export.place for export in self.parsed.exports if export.kind == _FUNCTION}
        if name not in functions:
            some = ", ".join(shown(each, 40) for each in list(functions)[:8]) or "none"
            raise Refused(f"it exports no function '{shown(str(name))}'", where, f"its functions are {some}")
        signature = self.parsed.functions[functions[name]]
        if not imports.numbers_only(signature):
            raise Refused(f"{shown(name)} has type {signature}", where, "only i32, i64, f32 and f64 can be passed")
        return signature

    def compiled(self) -> wasmtime.Module:
        """Compiled, or taken from the cache. Raises ModuleRefused where the compiler gives up."""
        return self.use()[0][0]

    def use(self) -> tuple[tuple[wasmtime.Module, bool], Pin]:
        """As `compiled`, with whether it notes which limit its growth met (`runtime.wasm.growth`), and a pin."""
        noting: list[bytes] = []

        def source() -> bytes:
            shared = any(entry.kind in (_TABLE, _MEMORY) for entry in self.parsed.imports)
            noting.append(self.wasm if shared else growth.noting(self.wasm, self.parsed))
            return noting[0]

        try:
            return self._cache.use((self.digest, "function"), source, lambda made: (made, noting[0] != self.wasm))
        except wasmtime.WasmtimeError as error:
            raise format_refused(error, self.name) from None
