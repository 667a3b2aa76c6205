"""The one engine of a process, in the profile that makes wasm deterministic, and its compiled modules.

Floats give one NaN, relaxed SIMD is off, nothing compiles in another thread (a forked child would hang), threads, GC,
exceptions and 64-bit memories are refused. A memory's address space is reserved in full (4 GiB, the most a 32-bit
memory may declare) and never moves: lack of address space fails an instantiation, which is a lost worker, and not a
grow below the agent's limit, which the agent would see. About 16,000 instances fit into one process.
"""

from __future__ import annotations

import contextlib
import functools
import json
import platform
import sys
from importlib.metadata import version

import wasmtime

from runtime.wasm import raw
from runtime.wasm.migration import MIGRATOR
from runtime.wasm.modules import DRIVER, SHIM

STACK = 512 << 10  # bytes; how deep an agent may recurse depends on the build, so depth is never compared
ASYNC_STACK = 8 << 20  # of calls in slices: what a thread has, since the host functions that they call run on it
RESERVATION = 1 << 32


# All of the profile; what is compiled under other settings is other code, so they are part of every artefact's key.
SETTINGS: dict[str, bool | int | str] = {
    "consume_fuel": True,
    "cranelift_nan_canonicalization": True,
    "cranelift_opt_level": "speed",
    "epoch_interruption": False,  # driven by the wall clock
    "max_wasm_stack": STACK,
    "memory_may_move": False,
    "memory_reservation": RESERVATION,
    "parallel_compilation": False,
    "wasm_component_model": False,
    "wasm_custom_page_sizes": False,
    "wasm_exceptions": False,
    "wasm_function_references": False,
    "wasm_gc": False,
    "wasm_memory64": False,
    "wasm_multi_memory": True,  # for our driver; binary.py refuses agents with several
    "wasm_relaxed_simd": False,
    "wasm_stack_switching": False,
    "wasm_threads": False,
    "wasm_wide_arithmetic": False,
}


def _create() -> wasmtime.Engine:
    config = wasmtime.Config()
    for name, value in SETTINGS.items():
        assert isinstance(getattr(type(config), name), property), name  # a misspelt one would set nothing
        setattr(config, name, value)
    raw.set_async_stack(config, ASYNC_STACK)
    return wasmtime.Engine(config)


def _processor() -> str:
    """What machine code depends on besides the settings: compiled code uses whatever instructions are there."""
    flags = ""
    with contextlib.suppress(OSError, UnicodeDecodeError), open("/proc/cpuinfo", encoding="ascii") as file:
        flags = next((line for line in file if line.startswith(("flags", "Features"))), "")
    return f"{sys.platform} {platform.machine()} {flags.strip() or platform.processor()}"


FINGERPRINT = json.dumps([version("wasmtime"), SETTINGS, _processor()])


_ENGINE = _create()  # at import, so that no two threads make one each: wasmtime aborts where engines are mixed


def engine() -> wasmtime.Engine:
    return _ENGINE


@functools.cache
def shim() -> wasmtime.Module:
    return wasmtime.Module(engine(), SHIM)


@functools.cache
def driver() -> wasmtime.Module:
    return wasmtime.Module(engine(), DRIVER)


@functools.cache
def migrator() -> wasmtime.Module:
    return wasmtime.Module(engine(), MIGRATOR)
