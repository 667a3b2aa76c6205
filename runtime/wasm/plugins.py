"""Function modules that agents call: a capability whose functions are a module's exports, bytes in and bytes out.

    packing = plugin("packing", Engine().load("pack.wasm"), "pack", "unpack")

An agent that is granted `packing` imports `packing.pack: (pointer, length, room, capacity) -> i32`, all i32, and gets
the length of what was written into the room, or a negative number: the plugin trapped, exceeded a limit, had no room
for the bytes, or gave more than fits. Guards against a plugin that reaches its agent (it has a memory of its own and is
lent nothing), that takes the step with it (a trap or a limit is an answer), and against state that a replay would not
have: each call meets a fresh instance.
"""

from __future__ import annotations

from runtime.errors import CallFailed, LimitExceeded, ModuleRefused, NoRoom, Refused
from runtime.wasm.abi import Signature
from runtime.wasm.capabilities import Capability, Offered, pure
from runtime.wasm.functions import Module, ModuleLimits
from runtime.wasm.imports import with_memory
from runtime.wasm.linear import Memory

TRAPPED, LIMITED, NO_ROOM, TOO_LONG = -1, -2, -3, -4
TYPE = "i32 i32 i32 i32 -> i32"
LIMITS = ModuleLimits(fuel=5_000_000, memory=4 << 20)
_FUNCTION, _MEMORY = 0, 2
_RANGE, _BYTES = b"\x7f\x7f", (b"\x7e", b"\x7f\x7f")  # (i32, i32); i64 or (i32, i32)


def plugin(name: str, module: Module, *exports: str, limits: ModuleLimits = LIMITS) -> Capability:
    """The capability `name`: these exports, each called in a fresh instance held to `limits`.

    The module exports a memory and `allocate(size) -> pointer`, imports nothing, and each export takes (pointer,
    length) and answers the same way, as two i32 or as one i64 with the pointer in its high half. Raises Refused.
    """
    if module.parsed.imports:
        first = module.parsed.imports[0]
        what = f"a plugin imports nothing, it imports {first.module}.{first.name}"
        raise ModuleRefused("import", what, module.name, "build it without")
    if not any(export.kind == _MEMORY for export in module.parsed.exports):
        raise Refused("it exports no memory", module.name, "export one, best under the name 'memory'")
    if module.signature("allocate") != (b"\x7f", b"\x7f"):
        raise Refused(f"allocate has type {module.signature('allocate')}", module.name, "give it type (i32) -> (i32)")
    for export in exports:
        signature = module.signature(export)
        if not _takes_bytes(signature):
            todo = "give it type (i32, i32) -> (i64) or (i32, i32) -> (i32, i32)"
            raise Refused(f"{export} has type {signature}", module.name, todo)
    module.check(limits)
    return Capability(name, **{export: _offered(module, export, limits) for export in exports})


def _takes_bytes(signature: Signature) -> bool:
    return signature.parameters == _RANGE and signature.results in _BYTES


def callable_exports(module: Module) -> tuple[str, ...]:
    """The exports that an agent could call, in the module's order."""
    functions = (export.name for export in module.parsed.exports if export.kind == _FUNCTION)
    return tuple(name for name in functions if _takes_bytes(module.signature(name)))


def _offered(module: Module, export: str, limits: ModuleLimits) -> Offered:
    def call(memory: Memory, pointer: int, length: int, room: int, capacity: int) -> int:
        pointer, length, room, capacity = (value & 0xFFFFFFFF for value in (pointer, length, room, capacity))
        data = memory.read(pointer, length)
        try:
            with module.instantiate(limits=limits) as instance:
                answer = instance.call_bytes(export, data)
        except NoRoom as error:
            raise MemoryError(str(error)) from None  # this machine's fault: no answer, the worker is lost
        except LimitExceeded:
            return LIMITED
        except CallFailed as error:
            return NO_ROOM if error.reason == "alloc" else TRAPPED
        except Refused:
            return TRAPPED  # its answer is a range that is not inside its memory
        if len(answer) > capacity:
            return TOO_LONG
        memory.write(room, answer)
        return len(answer)

    return pure(TYPE, with_memory(call))
