"""WebAssembly: agents, with one crossing per step (docs/abi.md), and function modules of any origin (docs/modules.md).

Start with `guest.py` for agents, with `functions.py` for function modules; `raw.py` is the only file that calls
wasmtime's C API directly.
"""

from runtime.wasm.checks import check_module
from runtime.wasm.functions import Instance, Module, ModuleLimits
from runtime.wasm.guest import WasmGuest, WasmGuests
from runtime.wasm.imports import with_memory
from runtime.wasm.linear import Memory
from runtime.wasm.loader import Engine
from runtime.wasm.plugins import plugin
from runtime.wasm.text import assemble

__all__ = [
    "Engine",
    "Instance",
    "Memory",
    "Module",
    "ModuleLimits",
    "WasmGuest",
    "WasmGuests",
    "assemble",
    "check_module",
    "plugin",
    "with_memory",
]
