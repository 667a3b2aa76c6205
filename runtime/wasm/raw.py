"""The one file that calls wasmtime's C API directly; wasmtime is pinned, and tests compare it with the safe calls.

It guarantees that no raw pointer leaves this layer (only `guest.py` uses it), that every trap and error is deleted,
that objects of one store never meet another store (a SIGABRT in wasmtime), and that memory which anybody still looks
at is not freed: a view keeps its store alive.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator, Sequence
from typing import Any

import wasmtime
from wasmtime import _bindings as B
from wasmtime._ffi import dll

_pointer, _size = ctypes.c_void_p, ctypes.c_size_t

# Prototypes of our own: arguments are plain addresses, which saves most of ctypes' conversions. What runs wasm lets
# other threads run (CFUNCTYPE); what returns at once keeps the interpreter's lock (PYFUNCTYPE).
_call = ctypes.CFUNCTYPE(_pointer, _pointer, _pointer, _pointer, _size, _pointer)(("wasmtime_func_call_unchecked", dll))
_set_fuel = ctypes.PYFUNCTYPE(_pointer, _pointer, ctypes.c_uint64)(("wasmtime_context_set_fuel", dll))
_get_fuel = ctypes.PYFUNCTYPE(_pointer, _pointer, _pointer)(("wasmtime_context_get_fuel", dll))
_data = ctypes.PYFUNCTYPE(_pointer, _pointer, _pointer)(("wasmtime_memory_data", dll))
_data_size = ctypes.PYFUNCTYPE(_size, _pointer, _pointer)(("wasmtime_memory_data_size", dll))
_memory_grow = ctypes.PYFUNCTYPE(_pointer, _pointer, _pointer, ctypes.c_uint64, _pointer)(("wasmtime_memory_grow", dll))
_global_get = ctypes.PYFUNCTYPE(None, _pointer, _pointer, _pointer)(("wasmtime_global_get", dll))
_global_set = ctypes.PYFUNCTYPE(_pointer, _pointer, _pointer, _pointer)(("wasmtime_global_set", dll))
_trap_code = ctypes.PYFUNCTYPE(ctypes.c_bool, _pointer, _pointer)(("wasmtime_trap_code", dll))
_trap_delete = ctypes.PYFUNCTYPE(None, _pointer)(("wasm_trap_delete", dll))
_error_delete = ctypes.PYFUNCTYPE(None, _pointer)(("wasmtime_error_delete", dll))

# A host function as wasmtime calls it: (env, caller, cells, number of cells) -> trap or null. Ours looks at none.
_crossing = ctypes.CFUNCTYPE(_size, _pointer)
_func_new = ctypes.PYFUNCTYPE(None, _pointer, _pointer, _crossing, _pointer, _pointer, _pointer)(
    ("wasmtime_func_new_unchecked", dll)
)
_trap_new = ctypes.PYFUNCTYPE(_pointer, ctypes.c_char_p, _size)(("wasmtime_trap_new", dll))

_TRAPS = {code.value: code.name.lower() for code in wasmtime.TrapCode}
_VALUE_AT = B.wasmtime_val_t.of.offset
_KINDS = {0x7F: 0, 0x7E: 1, 0x7D: 2, 0x7C: 3}  # value type in the binary format -> WASMTIME_I32, _I64, _F32, _F64
_WIDE = (1, 3)
_EXTERN_FUNC = 0  # WASMTIME_EXTERN_FUNC


class Unavailable(MemoryError):
    """The host could not give what an instance needs; the worker is lost, the agent is not to blame."""


class InstantiationTrap(Exception):
    """Instantiation trapped: an active segment lies outside its memory or table, or the start function did.

    `trap_name` is wasmtime's name of the code, in lower case.
    """

    def __init__(self, trap_name: str) -> None:
        self.trap_name = trap_name
        super().__init__(trap_name)


def image_bytes(module: wasmtime.Module) -> int:
    """How much memory a module's machine code takes."""
    start, end = ctypes.c_void_p(), ctypes.c_void_p()
    B.wasmtime_module_image_range(module.ptr(), ctypes.byref(start), ctypes.byref(end))
    return (end.value or 0) - (start.value or 0)


def _trap_name(trap: int | None) -> str:
    """Of a trap, which is deleted."""
    code = ctypes.c_uint8()
    name = _TRAPS.get(code.value, "engine_error") if _trap_code(trap, ctypes.addressof(code)) else "engine_error"
    _trap_delete(trap)
    return name


class Linear:
    """One linear memory. Views are over the bytes themselves; growing never moves them (memory_may_move=False)."""

    def __init__(self, instance: Linked, extern: Any) -> None:
        self.keeper: object = instance.store  # what each view keeps alive: the store, or who has it
        self._store = instance.store
        self._context = instance.context
        self._struct = extern.of.memory
        self._extern = extern  # the struct is a part of it
        self._at = ctypes.addressof(self._struct)

    def view(self) -> memoryview:
        """The whole memory at its present size, writable."""
        size = _data_size(self._context, self._at)
        if not size:
            return memoryview(bytearray())
        array: Any = (ctypes.c_ubyte * size).from_address(_data(self._context, self._at))
        array.owner = self.keeper  # the view holds the array, and the array the store
        return memoryview(array).cast("B")

    def size(self) -> int:
        """Bytes."""
        size: int = _data_size(self._context, self._at)
        return size

    def grow(self, pages: int) -> None:
        """Raises Unavailable where the host (or the memory's maximum) does not allow it."""
        before = ctypes.c_uint64()
        error = _memory_grow(self._context, self._at, pages, ctypes.addressof(before))
        if error:
            _error_delete(error)
            raise Unavailable(f"a memory cannot grow by {pages} pages")


class GlobalCell:
    """One mutable global, read and written as raw bits: a float passed as a float would lose NaN bits."""

    def __init__(self, instance: Linked, extern: Any, kind: int) -> None:
        self._context = instance.context
        self._extern = extern  # the struct is a part of it
        self._at = ctypes.addressof(extern.of.global_)
        self._kind = _KINDS[kind]
        self._value = B.wasmtime_val_t()
        word = ctypes.c_uint64 if self._kind in _WIDE else ctypes.c_uint32
        self._value_at = ctypes.addressof(self._value)
        self._bits: Any = word.from_address(self._value_at + _VALUE_AT)

    def get(self) -> int:
        _global_get(self._context, self._at, self._value_at)
        bits: int = self._bits.value
        return bits

    def holds(self, bits: int) -> bool:
        """Whether these bits fit into the global."""
        return 0 <= bits < 1 << (64 if self._kind in _WIDE else 32)

    def set(self, bits: int) -> None:
        self._value.kind = self._kind  # type: ignore[assignment]  # a ctypes field takes an int
        self._bits.value = bits
        error = _global_set(self._context, self._at, self._value_at)
        if error:
            raise wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, ctypes.POINTER(B.wasmtime_error_t)))


class Linked:
    """One instance in `store`, its imports given in their order."""

    def __init__(self, store: wasmtime.Store, module: wasmtime.Module, imports: Sequence[Any]) -> None:
        self.store = store
        pointer = store._context()
        self.context: int = ctypes.cast(pointer, _pointer).value or 0
        self._struct = B.wasmtime_instance_t()
        given = (B.wasmtime_extern_t * len(imports))(*imports)
        trap: Any = ctypes.POINTER(B.wasm_trap_t)()
        error: Any = B.wasmtime_instance_new(
            pointer, module.ptr(), given, len(imports), ctypes.byref(self._struct), ctypes.byref(trap)
        )
        if trap:
            raise InstantiationTrap(_trap_name(ctypes.cast(trap, _pointer).value))
        if error:
            raise Unavailable(str(wasmtime.WasmtimeError._from_ptr(error)).splitlines()[0])

    def export(self, name: str) -> Any:
        """The export as an extern, to be an import of another instance in the same store."""
        raw = name.encode()
        extern = B.wasmtime_extern_t()
        if not B.wasmtime_instance_export_get(
            self.store._context(), ctypes.byref(self._struct), raw, len(raw), ctypes.byref(extern)
        ):
            raise KeyError(name)
        return extern

    def memory(self, name: str) -> Linear:
        return Linear(self, self.export(name))

    def global_cell(self, name: str, kind: int) -> GlobalCell:
        return GlobalCell(self, self.export(name), kind)

    def entry(self, name: str) -> Entry:
        return Entry(self, self.export(name))


class Entry:
    """A function of type () -> i64, called without any check of types: who makes an Entry has checked them."""

    __slots__ = (
        "_cell", "_cell_at", "_context", "_extern", "_fuel", "_fuel_at", "_function", "_store", "_trap", "_trap_at",
        "trap_name",
    )  # fmt: skip

    def __init__(self, instance: Linked, extern: Any) -> None:
        self._store = instance.store  # alive as long as this is
        self._context = instance.context
        self._extern = extern
        self._function = ctypes.addressof(extern.of.func)
        self._cell = (ctypes.c_uint64 * 2)()  # one wasmtime_val_raw_t: 16 bytes
        self._cell_at = ctypes.addressof(self._cell)
        self._trap = ctypes.c_void_p()
        self._trap_at = ctypes.addressof(self._trap)
        self._fuel = (ctypes.c_uint64 * 1)()
        self._fuel_at = ctypes.addressof(self._fuel)
        self.trap_name = ""  # of the last trap: wasmtime's name of the code, in lower case

    def call(self, fuel: int) -> int:
        """Runs with `fuel` units; the result as 64 unsigned bits, or -1 when it trapped (`trap_name` tells)."""
        _set_fuel(self._context, fuel)
        error = _call(self._context, self._function, self._cell_at, 1, self._trap_at)
        if error is not None or self._trap.value is not None:
            return self._failed(error)
        return self._cell[0]

    def fuel_left(self) -> int:
        """Units left after a call that returned; after a trap the number means nothing (wasmtime#13802)."""
        _get_fuel(self._context, self._fuel_at)
        return self._fuel[0]

    def _failed(self, error: int | None) -> int:
        trap = self._trap.value
        self._trap.value = None
        self.trap_name = "engine_error"
        if trap is not None:
            self.trap_name = _trap_name(trap)
        if error is not None:
            _error_delete(error)
        return -1


class Function(Entry):
    """A function of number types, called with raw bits. Who makes it has checked the types and passes as many words.

    `cells` is the larger of the numbers of parameters and results; `results` how many words come back.
    """

    def __init__(self, instance: Linked, extern: Any, cells: int, results: int) -> None:
        super().__init__(instance, extern)
        self._count, self._results = cells, results
        self._cell = (ctypes.c_uint64 * (2 * max(1, cells)))()
        self._cell_at = ctypes.addressof(self._cell)

    def call_with(self, fuel: int, words: Sequence[int]) -> list[int] | None:
        """Runs with `fuel` units; the results as 64 unsigned bits each, or None when it trapped (`trap_name` tells)."""
        for at, bits in enumerate(words):
            self._cell[2 * at] = bits
        _set_fuel(self._context, fuel)
        error = _call(self._context, self._function, self._cell_at, self._count, self._trap_at)
        if error is not None or self._trap.value is not None:
            self._failed(error)
            return None
        return [self._cell[2 * at] for at in range(self._results)]


class Sliced:
    """One call that stops after every `interval` units of fuel, and goes on when it is polled.

    While it is there the store is armed for such calls alone; `end` disarms it. It must be ended before its store goes,
    and never while its wasm runs. Words are those of `Function.call_with`.
    """

    def __init__(
        self, instance: Linked, extern: Any, kinds: tuple[bytes, bytes], words: Sequence[int], fuel: int, interval: int
    ) -> None:
        self._store, self._context, self._extern = instance.store, instance.context, extern  # alive as long as this is
        parameters, self._results = kinds
        self._given = (B.wasmtime_val_t * max(1, len(parameters)))()
        self._found = (B.wasmtime_val_t * max(1, len(self._results)))()
        for value, kind, bits in zip(self._given, parameters, words, strict=False):
            value.kind = _KINDS[kind]
            _bits_of(value).value = bits
        self._trap: Any = ctypes.POINTER(B.wasm_trap_t)()
        self._error: Any = ctypes.POINTER(B.wasmtime_error_t)()
        self.trap_name = ""
        _set_fuel(self._context, fuel)
        pointer = instance.store._context()
        B.wasmtime_context_fuel_async_yield_interval(pointer, interval)
        self._future: Any = B.wasmtime_func_call_async(
            pointer, ctypes.byref(extern.of.func), self._given, len(parameters), self._found, len(self._results),
            ctypes.byref(self._trap), ctypes.byref(self._error),
        )  # fmt: skip

    def poll(self) -> bool:
        """One slice; whether the call has come to its end, by its results or by a trap."""
        ended: bool = B.wasmtime_call_future_poll(self._future)
        return ended

    def results(self) -> list[int] | None:
        """Of a call that has come to its end: as unsigned bits, or None when it trapped (`trap_name` tells)."""
        if self._trap or self._error:
            self.trap_name = "engine_error"
            if self._trap:
                self.trap_name = _trap_name(ctypes.cast(self._trap, _pointer).value)
            if self._error:
                _error_delete(ctypes.cast(self._error, _pointer).value)
            self._trap = self._error = None
            return None
        wide = [_KINDS[kind] in _WIDE for kind in self._results]
        return [
            int(_bits_of(value).value) & (0xFFFFFFFFFFFFFFFF if whole else 0xFFFFFFFF)
            for value, whole in zip(self._found, wide, strict=False)
        ]

    def fuel_left(self) -> int:
        fuel = ctypes.c_uint64()
        _get_fuel(self._context, ctypes.addressof(fuel))
        return fuel.value

    def end(self) -> None:
        """Frees it, which ends a call that is under way; a second call does nothing."""
        future, self._future = self._future, None
        if future is not None:
            B.wasmtime_call_future_delete(future)
            B.wasmtime_context_fuel_async_yield_interval(self._store._context(), 0)


def _bits_of(value: Any) -> Any:
    return ctypes.c_uint64.from_address(ctypes.addressof(value) + _VALUE_AT)


def set_async_stack(config: wasmtime.Config, size: int) -> None:
    """How much stack calls in slices have, those of host functions that they call included."""
    B.wasmtime_config_async_stack_size_set(config.ptr(), size)


class Crossing:
    """A function of type () -> () in `store` that runs `serve`; it traps when that raises, and `raised` holds what.

    ctypes answers with whatever lies on the stack when a callback raises, and wasmtime would take that for a trap's
    address. So the callback is a generator that is resumed inside its `try`: a signal or a tracer that raises as it is
    entered is caught like anything else. What is left is a Python stack that is full: `headroom` first.
    """

    def __init__(self, store: wasmtime.Store, serve: Callable[[], None]) -> None:
        self.raised: list[BaseException] = []
        serving = _serving(serve, self.raised)
        next(serving)
        self._held = _crossing(serving.send)  # alive as long as anything may call it
        self.extern = B.wasmtime_extern_t()
        self.extern.kind = _EXTERN_FUNC  # type: ignore[assignment]  # a ctypes field takes an int
        kind = wasmtime.FuncType([], [])
        _func_new(store._context(), kind.ptr(), self._held, None, None, ctypes.addressof(self.extern.of.func))


def headroom(frames: int = 30) -> None:
    """Raises RecursionError here, where it does no harm, if Python has no room for so many calls."""
    if frames:
        headroom(frames - 1)


def _serving(serve: Callable[[], None], raised: list[BaseException]) -> Generator[int, int | None, None]:
    """Each `send` is one call from wasm; yields 0 or a new trap's address, which is wasmtime's from then on.

    Every way round the loop comes to the `yield`. Where even a trap could not be made it answers 0, and the proof that
    `runtime.wasm.imports` asks for is missing.

    No statement between a failure and its answer calls anything, so no signal can come between; the second `try` is
    for one that comes in the jump back.
    """
    trap, answer, within = 0, 0, False
    while True:
        try:
            while True:
                try:
                    while True:
                        yield answer
                        within = True
                        trap = trap or int(_trap_new(b"host", 4))
                        serve()
                        within, answer = False, 0
                except BaseException as error:
                    if not within and isinstance(error, GeneratorExit):
                        if trap:
                            _trap_delete(trap)
                        return
                    within, answer, trap = False, trap, 0
                    raised += (error,)
        except BaseException as error:
            answer, trap = trap or answer, 0
            raised += (error,)
