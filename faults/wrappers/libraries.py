"""Libraries that a load must refuse by name, and the agents that import from them, with what each must end as.

The agent ends every step with what a library gives it, and is good; so are some of the libraries, as controls. What the
load must say was written down beside each, from docs/modules.md.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import NamedTuple

from faults.plan import Fault
from runtime.state import Library
from runtime.wasm import assemble

KIND = "module.library"
_LOADED = "agent_error:64"
_FORMAT, _LINK, _LIMIT, _DIGEST = "refused:format", "refused:import", "refused:limit", "refused:digest"
_GIVES = '(func (export "code") (result i32) (i32.const 64))'
_SHARED = '(import "agent" "memory" (memory {}))'


class _Case(NamedTuple):
    """`ends` is the step's status, `libraries` are texts by name."""

    ends: str
    libraries: dict[str, str]


_CASES: dict[str, _Case] = {
    "type": _Case(_LINK, {"lib": _GIVES.replace("result i32", "result i64").replace("i32.const", "i64.const")}),
    "function": _Case(_LINK, {"lib": _GIVES.replace('"code"', '"cod"')}),
    "kind": _Case(_LINK, {"lib": '(global (export "code") i32 (i32.const 64))'}),
    "digest": _Case(_DIGEST, {"lib": _GIVES}),
    "state": _Case(_FORMAT, {"lib": f"{_GIVES} (global (mut i32) (i32.const 0))"}),
    "memory": _Case(_FORMAT, {"lib": f"{_GIVES} (memory 1)"}),
    "data": _Case(_FORMAT, {"lib": f'{_SHARED.format(1)} {_GIVES} (data (i32.const 0) "x")'}),
    "start": _Case(_FORMAT, {"lib": f"{_GIVES} (func $begin unreachable) (start $begin)"}),
    "segment": _Case(_FORMAT, {"lib": f"{_GIVES} (table 1 funcref) (func $f) (elem (i32.const 1) $f)"}),
    "host": _Case(_LINK, {"lib": f'(import "engine" "self" (func (result i32))) {_GIVES}'}),
    "size": _Case(_LINK, {"lib": f"{_SHARED.format(2)} {_GIVES}"}),
    "tables": _Case(_LIMIT, {"lib": f"{_GIVES} (table 4000000000 funcref)"}),
    "circle": _Case(
        _LINK,
        {
            "lib": f'(import "other" "code" (func $f (result i32))) {_GIVES}',
            "other": f'(import "lib" "code" (func $f (result i32))) {_GIVES}',
        },
    ),
    "undeclared": _Case(_LINK, {"other": _GIVES}),
    "good": _Case(_LOADED, {"lib": _GIVES}),
    "good_memory": _Case(
        _LOADED,
        {
            "lib": f"""{_SHARED.format(1)} (import "other" "code" (func $f (result i32)))
              (func (export "code") (result i32) (i32.store (i32.const 8) (call $f)) (i32.load (i32.const 8)))""",
            "other": _GIVES,
        },
    ),
}


def endings(fault: Fault) -> tuple[str, ...]:
    """How the step ends that waits for the module."""
    return (_case(fault).ends,)


def module() -> bytes:
    """The agent that is to be loaded, the same for all."""
    return _made(
        """(import "lib" "code" (func $code (result i32))) (memory (export "memory") 1)
        (func (export "agent_alloc") (param i32) (result i32) (i32.const 1024))
        (func (export "agent_init") (result i32) (call $code))
        (func (export "agent_receive") (param i32 i32) (result i32) (i32.const 0))
        (func (export "agent_step") (param i32) (result i32) (call $code))
        (func (export "agent_shutdown") (result i32) (call $code))"""
    )


def given(fault: Fault) -> tuple[tuple[Library, ...], tuple[bytes, ...]]:
    """The libraries as the agent declares them, and the bytes that the load is given."""
    modules = {name: _made(text) for name, text in _case(fault).libraries.items()}
    declared = tuple(Library(name=name, module=hashlib.sha256(data).hexdigest()) for name, data in modules.items())
    if fault.get("what") == "digest":
        return declared, tuple(data[:-1] + bytes([data[-1] ^ 1]) for data in modules.values())
    return declared, tuple(modules.values())


def _case(fault: Fault) -> _Case:
    return _CASES[str(fault.get("what"))]


@cache
def _made(parts: str) -> bytes:
    return assemble(f"(module {parts})")
