"""Function modules that agents call: bytes in, bytes out; whatever one does, its answer is all that comes of it."""

from __future__ import annotations

import hashlib

import pytest
from wasm_kit import arguments, envelope

from runtime.errors import ModuleRefused, NoRoom, Refused
from runtime.state import AgentSpec
from runtime.wasm import Engine, Module, ModuleLimits, WasmGuests, assemble, plugin
from runtime.wasm.plugins import LIMITED, NO_ROOM, TOO_LONG, TRAPPED

# Bytes back as they are, one i64; what they begin with makes it misbehave.
PLUGIN = """(module
  (memory (export "memory") 1)
  (global $calls (mut i32) (i32.const 0))
  (func (export "allocate") (param i32) (result i32)
    (select (i32.const 0) (i32.const 16) (i32.gt_u (local.get 0) (i32.const 1000))))
  (func $pair (export "pair") (param $at i32) (param $n i32) (result i32 i32) (local $first i32)
    (local.set $first (i32.load8_u (local.get $at)))
    (if (i32.eq (local.get $first) (i32.const 116)) (then (unreachable)))                      ;; t
    (if (i32.eq (local.get $first) (i32.const 115)) (then (loop $l (br $l))))                  ;; s
    (if (i32.eq (local.get $first) (i32.const 114)) (then (return (i32.const 65530) (i32.const 99)))) ;; r
    (if (i32.eq (local.get $first) (i32.const 109)) (then (drop (memory.grow (i32.const 500))))) ;; m
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (if (i32.eq (local.get $first) (i32.const 99)) (then                                         ;; c
      (i32.store8 (i32.const 8) (i32.add (i32.const 48) (global.get $calls)))
      (return (i32.const 8) (i32.const 1))))
    (local.get $at) (local.get $n))
  (func (export "wide") (param i32 i32) (result i64) (local i32 i32)
    (call $pair (local.get 0) (local.get 1)) (local.set 3) (local.set 2)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 2)) (i64.const 32)) (i64.extend_i32_u (local.get 3))))
  (func (export "number") (param i32) (result i32) (local.get 0)))"""

# Asks the plugin about each payload, with room for 64 bytes at 2048, and lets out {answer i32, what is in the room}.
AGENT = """(module
  (import "tool" "EXPORT" (func $tool (param i32 i32 i32 i32) (result i32)))
  (import "engine" "output" (func $output (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 4096))
  (func (export "agent_alloc") (param i32) (result i32)
    (global.set $free (i32.add (global.get $free) (local.get 0)))
    (i32.sub (global.get $free) (local.get 0)))
  (func (export "agent_init") (result i32) (i32.const 0))
  (func (export "agent_receive") (param $at i32) (param i32) (result i32)
    (memory.fill (i32.const 2048) (i32.const 46) (i32.const 64))
    (i32.store (i32.const 2044) (call $tool
      (i32.add (local.get $at) (i32.const 24)) LENGTH ROOM (i32.const 64)))
    (call $output (i32.const 2044) (i32.const 12)))
  (func (export "agent_step") (param i32) (result i32) (i32.const 0))
  (func (export "agent_shutdown") (result i32) (i32.const 0)))"""


def module(text: str = PLUGIN) -> Module:
    return Engine().load_bytes(text.encode())


SENT = "(i32.load offset=20 (local.get $at))"


def agent(export: str = "wide", room: str = "(i32.const 2048)", length: str = SENT) -> bytes:
    return assemble(AGENT.replace("EXPORT", export).replace("ROOM", room).replace("LENGTH", length))


def granted(wasm: bytes, *capabilities: str) -> AgentSpec:
    return AgentSpec(capabilities=capabilities, module=hashlib.sha256(wasm).hexdigest(), name="agent")


def asked(wasm: bytes, *payloads: bytes) -> list[tuple[str, int, bytes]]:
    """For each payload: the step's status, the plugin's answer, and the first bytes of the room."""
    tool = plugin("tool", module(), "pair", "wide", limits=ModuleLimits(fuel=100_000, memory=1 << 20))
    guest = WasmGuests(capabilities=(tool,)).instantiate(0, granted(wasm, "tool", "output"), wasm)
    guest.run(arguments(kind="init"))
    found = []
    for payload in payloads:
        step = guest.run(arguments(inbox=[envelope(payload)]))
        memory = bytes(guest.memory()[2044:2056])
        found.append((step.status, int.from_bytes(memory[:4], "little", signed=True), memory[4:]))
    return found


@pytest.mark.parametrize("export", ["pair", "wide"])
def test_an_agent_gets_a_plugin_s_bytes_into_its_own_memory(export: str) -> None:
    assert asked(agent(export), b"hello", b"", b"x") == [
        ("ok", 5, b"hello..."),
        ("ok", 0, b"........"),
        ("ok", 1, b"x......."),
    ]


def test_each_call_meets_a_fresh_instance() -> None:
    assert asked(agent(), b"c", b"c", b"c") == [("ok", 1, b"1.......")] * 3


@pytest.mark.parametrize(
    ("payload", "answer"),
    [(b"t", TRAPPED), (b"r", TRAPPED), (b"s", LIMITED), (b"m", LIMITED), (b"x" * 1001, NO_ROOM), (b"x" * 65, TOO_LONG)],
)
def test_what_goes_wrong_in_a_plugin_is_an_answer_and_writes_nothing(payload: bytes, answer: int) -> None:
    assert asked(agent(), payload, b"after") == [("ok", answer, b"........"), ("ok", 5, b"after...")]


@pytest.mark.parametrize(
    "wasm",
    [
        agent(room="(i32.const -4)"),
        agent(room="(i32.const 131070)"),
        agent(length="(i32.const 200000)"),
        agent(length="(i32.const -1)"),
    ],
)
def test_a_range_that_is_not_the_agent_s_fails_its_step(wasm: bytes) -> None:
    assert asked(wasm, b"hello")[0][0] == "host_function"


def test_a_machine_without_room_gives_no_answer_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Module, **limits: object) -> None:
        raise NoRoom("no room for an instance")

    monkeypatch.setattr(Module, "instantiate", full)
    with pytest.raises(MemoryError, match="no room"):
        asked(agent(), b"hello")


def test_an_agent_that_was_not_granted_a_plugin_does_not_load() -> None:
    wasm = agent()
    with pytest.raises(ModuleRefused, match="tool"):
        WasmGuests(capabilities=(plugin("tool", module(), "wide"),)).instantiate(0, granted(wasm, "output"), wasm)


@pytest.mark.parametrize(
    ("text", "exports", "said"),
    [
        (PLUGIN, ("number",), "number has type"),
        (PLUGIN, ("nosuch",), "nosuch"),
        (PLUGIN.replace('"allocate"', '"alloc"'), ("wide",), "allocate"),
        (PLUGIN.replace("(module", '(module (import "env" "clock" (func))', 1), ("wide",), "env.clock"),
        (PLUGIN.replace(") 1)", ") 999)", 1), ("wide",), "limit"),
        (PLUGIN, (), "no functions"),
        (PLUGIN.replace('(export "memory")', ""), ("wide",), "exports no memory"),
    ],
)
def test_a_module_that_is_no_plugin_is_refused(text: str, exports: tuple[str, ...], said: str) -> None:
    with pytest.raises(Refused, match=said):
        plugin("tool", module(text), *exports)
