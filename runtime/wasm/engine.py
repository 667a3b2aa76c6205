"""The one engine of a process, in the profile that makes wasm deterministic, and its compiled modules.

Floats give one NaN, relaxed SIMD is off, nothing compiles in another thread (a forked child would hang), threads, GC,
exceptions and 64-bit memories are refused. A memory's address space is reserved in full (4 GiB, the most a 32-bit
memory may declare) and never moves: lack of address space fails an instantiation, which is a lost worker, and not a
grow below the agent's limit, which the agent would see. About 16,000 instances fit into one process.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import Generic, TypeVar

import wasmtime

from runtime.wasm.modules import DRIVER, SHIM

STACK = 512 << 10  # bytes; how deep an agent may recurse depends on the build, so depth is never compared
RESERVATION = 1 << 32
CACHE_BYTES = 64 << 20  # of wasm, not of machine code, which is several times that


def _create() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True
    config.cranelift_opt_level = "speed"
    config.epoch_interruption = False  # driven by the wall clock
    config.max_wasm_stack = STACK
    config.memory_may_move = False
    config.memory_reservation = RESERVATION
    config.parallel_compilation = False
    config.wasm_component_model = False
    config.wasm_custom_page_sizes = False
    config.wasm_exceptions = False
    config.wasm_function_references = False
    config.wasm_gc = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = True  # for our driver; binary.py refuses agents with several
    config.wasm_relaxed_simd = False
    config.wasm_stack_switching = False
    config.wasm_threads = False
    config.wasm_wide_arithmetic = False
    return wasmtime.Engine(config)


_ENGINE = _create()  # at import, so that no two threads make one each: wasmtime aborts where engines are mixed


def engine() -> wasmtime.Engine:
    return _ENGINE


@functools.cache
def shim() -> wasmtime.Module:
    return wasmtime.Module(engine(), SHIM)


@functools.cache
def driver() -> wasmtime.Module:
    return wasmtime.Module(engine(), DRIVER)


V = TypeVar("V")


class Cache(Generic[V]):
    """Values by content, the least recently used leave first; bounded by the bytes they were made of."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held = 0
        self._entries: OrderedDict[tuple[str, int], tuple[V, int]] = OrderedDict()

    def get(self, key: tuple[str, int]) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: tuple[str, int], value: V, size: int) -> None:
        """`size` in bytes. The newest entry stays even when it is larger than the capacity."""
        _, freed = self._entries.pop(key, (None, 0))
        self._held -= freed
        self._entries[key] = (value, size)
        self._held += size
        while self._held > self._capacity and len(self._entries) > 1:
            _, (_, freed) = self._entries.popitem(last=False)
            self._held -= freed
