"""The agent ABI, version 1, as data: what modules export, what they may import, and where our own modules keep things.

The page for authors of agents is docs/abi.md; a test compares the two.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from runtime.versions import ABI, ABI_MINOR

I32, I64 = 0x7F, 0x7E  # value types in the binary format
VALUE_NAMES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", 0x70: "funcref", 0x6F: "externref"}

SECTION = "wasm-engine.abi"  # optional custom section: the ABI version as ascii text
RESERVED = "wasm-engine."  # names of exports that start so are the loader's
GLOBAL_NAME = "wasm-engine.global."  # + index: where the loader exports a mutable global

PAGE = 65_536


_VERSION = re.compile(rb"(\d{1,9})(?:\.(\d{1,9}))?(?:\.\d{1,9})?")


def incompatible(target: bytes) -> str:
    """ "" where a module made for this version runs here, else what is wrong (SEC-2).

    Versions are semantic: another major version is another interface, a newer minor one may have functions that are
    not here, and the patch number means nothing. `1` is `1.0`.
    """
    version = _VERSION.fullmatch(target)
    if version is None:
        return f"{target[:20].decode('latin-1')!a} is no version; write one like {ABI}.{ABI_MINOR}"
    major, minor = int(version[1]), int(version[2] or 0)
    if major != ABI:
        return f"built for ABI {target.decode()}, this runtime has {ABI}.{ABI_MINOR}; build it for ABI {ABI}"
    if minor > ABI_MINOR:
        return f"built for ABI {target.decode()}, this runtime has {ABI}.{ABI_MINOR}; use a newer runtime"
    return ""


class Signature(NamedTuple):
    """A function's type: value types of parameters and results, one byte each."""

    parameters: bytes
    results: bytes

    def __str__(self) -> str:
        names = [VALUE_NAMES.get(kind, hex(kind)) for kind in self.parameters]
        results = [VALUE_NAMES.get(kind, hex(kind)) for kind in self.results]
        return f"({', '.join(names)}) -> ({', '.join(results)})"


def _signature(parameters: int, *results: int) -> Signature:
    return Signature(bytes([I32] * parameters), bytes(results))


# What an agent exports besides its memory.
EXPORTS: dict[str, Signature] = {
    "agent_alloc": _signature(1, I32),
    "agent_init": _signature(0, I32),
    "agent_receive": _signature(2, I32),
    "agent_step": _signature(1, I32),
    "agent_shutdown": _signature(0, I32),
}

# What it may export as well: it takes over the state of another version (from 1.1 on).
OPTIONAL: dict[str, Signature] = {"agent_migrate": _signature(3, I32)}


class HostFunction(NamedTuple):
    """One import of module `engine`.

    `group` is the capability that grants it ("" is always granted). `kind`: "pure" depends on nothing but the agent,
    "recorded" answers from the step record, "effect" appends to the step's list under the name `op`.
    """

    group: str
    kind: str
    signature: Signature
    op: str = ""


HOST: dict[str, HostFunction] = {
    "send": HostFunction("messages", "effect", _signature(3, I32), "send"),
    "publish": HostFunction("topics", "effect", _signature(3, I32), "publish"),
    "subscribe": HostFunction("topics", "effect", _signature(1, I32), "subscribe"),
    "unsubscribe": HostFunction("topics", "effect", _signature(1, I32), "unsubscribe"),
    "wake": HostFunction("timers", "effect", _signature(1, I32), "wake"),
    "buffer_write": HostFunction("buffers", "effect", _signature(3, I32), "buffer"),
    "output": HostFunction("output", "effect", _signature(2, I32), "output"),
    "infer": HostFunction("inference", "effect", _signature(3, I32), "infer"),
    "read": HostFunction("outside", "effect", _signature(3, I32), "read"),
    "cancel": HostFunction("outside", "effect", _signature(1, I32), "cancel"),
    "now": HostFunction("time", "recorded", _signature(0, I64)),
    "random": HostFunction("random", "recorded", _signature(0, I64)),
    "self": HostFunction("", "pure", _signature(0, I32)),
}

# `wasi` grants functions of another module (`runtime.wasm.agent_wasi`).
GROUPS: tuple[str, ...] = tuple(sorted({function.group for function in HOST.values() if function.group} | {"wasi"}))

# Codes of the effects in the shim's list; position is the code.
OPS: tuple[str, ...] = (
    "send",
    "publish",
    "subscribe",
    "unsubscribe",
    "wake",
    "buffer",
    "output",
    "infer",
    "read",
    "cancel",
)

KINDS: dict[str, int] = {"init": 1, "step": 2, "shutdown": 3}

# Results of the driver's `run`: bits 32..39 of what it returns. LISTED: the entries tell; UNGROWN: no memory for them.
DONE, ALLOC, AGENT_ERROR, LISTED, UNGROWN = 0, 1, 2, 3, 4
