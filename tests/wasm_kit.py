"""Small agents and step arguments with defaults, for the tests of the wasm layer."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

from msgspec.structs import replace

from runtime.frames import StepArguments, packed_inbox
from runtime.state import AgentSpec, Limits, Message
from runtime.wasm import WasmGuest, WasmGuests, assemble
from runtime.wasm.abi import GROUPS, HOST, VALUE_NAMES


def imports(*names: str) -> str:
    """Import lines; a function is called by `$` and its name."""
    lines = []
    for name in names:
        parameters, results = HOST[name].signature
        params = " ".join(VALUE_NAMES[kind] for kind in parameters)
        lines.append(f'(import "engine" "{name}" (func ${name} (param {params}) (result {VALUE_NAMES[results[0]]})))')
    return "\n".join(lines)


def wat(
    *,
    before: str = "",
    memory: str = '(memory (export "memory") 1)',
    alloc: str = "(i32.const 1024)",
    init: str = "(i32.const 0)",
    receive: str = "(i32.const 0)",
    step: str = "(i32.const 0)",
    shutdown: str = "(i32.const 0)",
    after: str = "",
) -> str:
    """A whole agent; each argument is the body of one function."""
    return f"""(module {before} {memory}
      (func (export "agent_alloc") (param i32) (result i32) {alloc})
      (func (export "agent_init") (result i32) {init})
      (func (export "agent_receive") (param i32 i32) (result i32) {receive})
      (func (export "agent_step") (param i32) (result i32) {step})
      (func (export "agent_shutdown") (result i32) {shutdown}) {after})"""


def spec_of(wasm: bytes, **changes: Any) -> AgentSpec:
    limits = Limits(**{key: changes.pop(key) for key in ("memory", "table") if key in changes})
    fields = {"capabilities": GROUPS, "module": hashlib.sha256(wasm).hexdigest(), "name": "a", "limits": limits}
    return AgentSpec(**(fields | changes))


def guest(text: str, **changes: Any) -> WasmGuest:
    wasm = assemble(text)
    return WasmGuests().instantiate(0, spec_of(wasm, **changes), wasm)


def arguments(**changes: Any) -> StepArguments:
    """Of a step whose host calls are listed; `inbox` are envelopes."""
    defaults = StepArguments(
        kind="step", tick=7, agent=3, n=1, now_ms=1_700_000_000_070, random_key=42, agents=10, topics=4, buffers=2,
        models=0, send_limit=8, max_payload=100, snapshot=False, inbox=packed_inbox([]), views=(), grants=(),
        fuel=1_000_000, stop_at=0, listed=True,
    )  # fmt: skip
    if "inbox" in changes:
        changes["inbox"] = packed_inbox([opened(data) for data in changes["inbox"]])
    return replace(defaults, **changes)


def opened(data: bytes) -> Message:
    """The message that an envelope holds."""
    kind, sender, seq, channel, _ = struct.unpack_from("<IIQII", data)
    return Message(seq, kind, sender, channel, data[24:])


def envelope(payload: bytes, kind: int = 1, sender: int = 2, seq: int = 1, channel: int = 0) -> bytes:
    return struct.pack("<IIQII", kind, sender, seq, channel, len(payload)) + payload
