"""WebAssembly agents: load checks, instances, one crossing per step (docs/abi.md).

Start with `guest.py`; `raw.py` is the only file that calls wasmtime's C API directly.
"""

from runtime.wasm.checks import check_module
from runtime.wasm.guest import WasmGuest, WasmGuests
from runtime.wasm.text import assemble

__all__ = ["WasmGuest", "WasmGuests", "assemble", "check_module"]
