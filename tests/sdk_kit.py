"""Agents for tests of the SDK: made, built and run against a conversation, where the language's compiler is there."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest

from harness.sdk.compilers import HOW, build, compiler_of
from harness.sdk.conversations import Conversation, read_conversation
from harness.sdk.playing import Played, play
from harness.sdk.projects import LANGUAGES, MAIN, create, find
from runtime.state import Limits
from runtime.wasm import assemble
from scenarios import agent

COMPILED = tuple(language for language in LANGUAGES if language != "wat")


@functools.cache
def there(language: str) -> bool:
    return compiler_of(language, Path("/")) is not None


def needs(language: str) -> None:
    """Skips, and says so, where the language's compiler is missing."""
    if not there(language):
        pytest.skip(f"no compiler for {language}; {HOW[language]}")


def project(folder: Path, language: str, source: str | None = None, name: str = "agent") -> Path:
    """A new agent's folder, with another source where one is given."""
    create(name, language, folder)
    place = folder / name
    if source is not None:
        (place / MAIN[language]).write_text(source, "utf-8")
    return place


@functools.cache
def built(language: str, source: str | None = None) -> bytes:
    """The module that a source gives; compilers are slow, so each source is compiled once."""
    with tempfile.TemporaryDirectory() as folder:
        return build(find(project(Path(folder), language, source)))[0]


def conversation(folder: Path, text: str) -> Conversation:
    file = folder / "said.toml"
    file.write_text(text, "utf-8")
    return read_conversation(file)


def played(folder: Path, module: str | bytes, text: str, *capabilities: str, limits: Limits | None = None) -> Played:
    """The agent (WAT or a module) with these capabilities, against the conversation in `text`."""
    one = agent("agent", assemble(module) if isinstance(module, str) else module, capabilities, limits)
    return play(one.spec, one.wasm, conversation(folder, text))


def wat(receive: str = "(i32.const 0)", *parts: str, init: str = "(i32.const 0)", step: str = "(i32.const 0)") -> str:
    """A small agent: what it does with one envelope (at $at), in its first call, and in a turn."""
    return f"""(module {" ".join(parts)}
      (memory (export "memory") 2) (data (i32.const 8) "hello")
      (global $seen (mut i32) (i32.const 0))
      (global $free (mut i32) (i32.const 1024))
      (func (export "agent_alloc") (param i32) (result i32)
        (global.set $free (i32.add (global.get $free) (local.get 0)))
        (i32.sub (global.get $free) (local.get 0)))
      (func (export "agent_init") (result i32) {init})
      (func (export "agent_receive") (param $at i32) (param i32) (result i32)
        (global.set $seen (i32.add (global.get $seen) (i32.const 1))) {receive})
      (func (export "agent_step") (param i32) (result i32) (global.set $free (i32.const 1024)) {step})
      (func (export "agent_shutdown") (result i32) (i32.const 0)))"""


SEND = '(import "engine" "send" (func $send (param i32 i32 i32) (result i32)))'
OUTPUT = '(import "engine" "output" (func $output (param i32 i32) (result i32)))'
WAKE = '(import "engine" "wake" (func $wake (param i32) (result i32)))'
