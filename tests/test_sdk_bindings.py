"""The bindings for C, Rust and AssemblyScript: they are the ABI, and in all three the same program does the same."""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path

import pytest
from sdk_kit import COMPILED, built, needs, played, there
from sdk_probe import ASKED, MIGRATING, PROBES, SHORT
from wasm_kit import arguments, spec_of

from harness.builds import ROOT
from harness.sdk.projects import FILES, LANGUAGES
from runtime import state
from runtime.carried import PAGE, pack
from runtime.errors import ModuleRefused
from runtime.ports import GuestStep
from runtime.state import AgentSpec, Change, Limits
from runtime.wasm import WasmGuest, WasmGuests, check_module
from runtime.wasm.abi import EXPORTS, GROUPS, HOST
from runtime.wasm.binary import outline

C = (FILES / "c" / "wasm_engine.h").read_text("utf-8")
RUST = (FILES / "rust" / "sdk" / "src" / "lib.rs").read_text("utf-8")
SCRIPT = (FILES / "assemblyscript" / "sdk" / "wasm_engine.ts").read_text("utf-8")
WIDTHS = {
    "uint32_t": "i32",
    "uint64_t": "i64",
    "const void *": "i32",
    "u32": "i32",
    "u64": "i64",
    "usize": "i32",
    "*const u8": "i32",
}


def declared(language: str) -> dict[str, str]:
    """Import -> type, as the bindings declare it."""
    if language == "c":
        found = re.findall(r'WE_IMPORT\("(\w+)"\) (\w+) \w+\(([^)]*)\);', C)
        split = [
            (name, [re.sub(r"\w+$", "", p).strip() for p in given.split(",") if p != "void"], back)
            for name, back, given in found
        ]
    elif language == "rust":
        found = re.findall(
            r"pub fn (\w+)\(([^)]*)\) -> (\w+);", RUST.split('wasm_import_module = "engine"')[1].split("\n    }\n")[0]
        )
        split = [
            (name.rstrip("_"), [p.split(": ")[1] for p in given.split(", ") if p], back) for name, given, back in found
        ]
    else:
        found = re.findall(r'@external\("engine", "(\w+)"\) declare function \w+\(([^)]*)\): (\w+);', SCRIPT)
        split = [(name, [p.split(": ")[1] for p in given.split(", ") if p], back) for name, given, back in found]
    return {name: f"({', '.join(WIDTHS[kind] for kind in given)}) -> ({WIDTHS[back]})" for name, given, back in split}


@pytest.mark.parametrize("language", COMPILED)
def test_the_bindings_declare_every_import_with_its_type(language: str) -> None:
    assert declared(language) == {name: str(function.signature) for name, function in HOST.items()}


_CODES = ("LIMIT", "TARGET", "SIZE", "FULL", "MEMBER", "QUOTA", "INVALID")
CODES = {f"E_{name}": getattr(state, f"E_{name}") for name in _CODES}
KINDS = ("MESSAGE", "TOPIC", "INPUT", "WAKE", "REFUSED", "BUFFER", "INFERENCE", "TASK", "READING")


def test_the_bindings_have_the_numbers_of_the_state_tree() -> None:
    numbers = CODES | {kind: getattr(state, kind) for kind in KINDS}
    for name, value in numbers.items():
        assert re.search(rf"\bWE_{name} = {value}\b", C), name
        assert f"export const {name}: u32 = {value};" in SCRIPT
    for name, value in CODES.items():
        assert f"pub const {name}: Failure = Failure({value});" in RUST
    for kind in KINDS:
        assert f"{getattr(state, kind)} => Kind::{kind.capitalize()}," in RUST
    assert "0xFFFFFFFFu" in C and "0xFFFF_FFFF" in RUST and "0xffffffff" in SCRIPT and state.OUTSIDE == 0xFFFFFFFF


def test_the_page_names_each_import_in_each_language_as_the_bindings_do() -> None:
    page = (ROOT / "docs" / "sdk.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| `(\w+)` \| `(\w+)\((.*?)\)` \| `(\w+)\((.*?)\)` \| `(\w+)\((.*?)\)` \|$", page)
    assert [row[0] for row in rows] == list(HOST)
    for name, c, given_c, rust, given_rust, script, given_script in rows:
        assert f'WE_IMPORT("{name}")' in C and re.search(rf"\b{c}\(", C)
        assert re.search(rf"pub fn {rust}\(&(?:mut )?self", RUST)
        assert re.search(rf"export function {script}\(", SCRIPT)
        spoken = {"bytes": 2, "tokens": 1, "anew": 1}
        for given in (given_rust, given_script):
            words = [word for word in given.split(", ") if word]
            if name != "infer":
                assert sum(spoken.get(word, 1) for word in words) == len(HOST[name].signature.parameters)
        assert len([word for word in given_c.split(", ") if word]) == len(HOST[name].signature.parameters)


GRANTED = tuple(GROUPS)


@pytest.mark.parametrize("language", COMPILED)
def test_a_program_that_uses_every_binding_does_what_is_written(language: str, tmp_path: Path) -> None:
    needs(language)
    wasm = built(language, PROBES[language])
    used = {entry.name: str(entry.signature) for entry in outline(wasm).imports}
    assert used == {name: str(function.signature) for name, function in HOST.items()}
    told = played(tmp_path, wasm, ASKED, *GRANTED)
    assert [str(difference) for difference in told.differences] == []


@pytest.mark.parametrize("language", COMPILED)
def test_a_reader_says_when_there_is_too_little(language: str, tmp_path: Path) -> None:
    needs(language)
    wasm = built(language, PROBES[language])
    for heard in (
        'text = "short"',
        "parts = [{ u8 = 1 }, { u32 = 2 }, { u64 = 3 }, { i64 = 4 }, { f64 = 5.0 }, { u32 = 9 }]",
    ):
        assert played(tmp_path, wasm, SHORT.replace("HEARD", heard), *GRANTED).differences == []


def test_the_same_program_lets_out_the_same_bytes_in_every_language(tmp_path: Path) -> None:
    languages = [language for language in COMPILED if there(language)]
    if len(languages) < 2:
        pytest.skip(f"compilers for {languages or 'no language'} alone; nothing to compare")
    outputs = []
    for language in languages:
        told = played(tmp_path, built(language, PROBES[language]), ASKED, *GRANTED)
        outputs.append([out.payload for receipt in told.history.receipts for out in receipt.outputs])
    assert all(one == outputs[0] for one in outputs) and len(outputs[0]) == 11


@pytest.mark.parametrize("language", COMPILED)
def test_room_beyond_the_limit_fails_the_step_and_room_is_used_again(language: str, tmp_path: Path) -> None:
    """10 inputs of 2,000 bytes fit into 256 KiB, forty times over; 100 of 8,000 at once do not."""
    needs(language)
    wasm = built(language)
    options, limits = "send_limit = 200\n", Limits(fuel=20_000_000, memory=256 << 10)
    often = options + "".join(turn(tick, 10, 2000) for tick in range(1, 41))
    assert played(tmp_path, wasm, often, "messages", "output", limits=limits).differences == []
    found = played(tmp_path, wasm, options + turn(1, 100, 8000), "messages", "output", limits=limits).differences[0]
    assert (found.what, found.expected) == ("how the step ended", "ok")
    assert found.got in ("alloc", "trap:unreachable", "agent_error:3")


DEEP = """
#include "sdk/wasm_engine.h"
static volatile uint32_t kept[64] = {1, 2, 3};
__attribute__((noinline)) static uint32_t deep(uint32_t n, volatile uint32_t *before) {
  volatile uint32_t room[256];
  room[0] = n;
  room[n % 256] = before[0];
  return n ? deep(n - 1, room) + room[n % 7] : 0;
}
uint32_t we_on_init(void) { return 0; }
uint32_t we_on_receive(const we_envelope *message) { return deep(message->length, kept), kept[1] == 2 ? 0 : 9; }
uint32_t we_on_step(const we_context *context) { return context->flags; }
uint32_t we_on_shutdown(void) { return 0; }
"""


def test_a_stack_that_runs_over_ends_the_step_and_touches_no_state(tmp_path: Path) -> None:
    needs("c")
    wasm = built("c", DEEP)
    for length, status in ((10, "ok"), (100, "trap:memory_out_of_bounds"), (4000, "trap:memory_out_of_bounds")):
        text = turn(1, 1, length).rpartition("does")[0] + f'status = "{status}"'
        assert played(tmp_path, wasm, text).differences == []


def turn(tick: int, count: int, length: int) -> str:
    heard = ", ".join(['{ from = "outside", text = "' + "x" * length + '" }'] * count)
    done = ", ".join(['{ call = "output", any = true }'] * count)
    return f"[[turn]]\ntick = {tick}\nhears = [{heard}]\ndoes = [{done}]\n"


@pytest.mark.parametrize("language", COMPILED)
def test_what_the_example_needs_is_what_its_manifest_grants(language: str) -> None:
    needs(language)
    wasm = built(language)
    spec = AgentSpec(capabilities=("messages",), limits=Limits(), module=hashlib.sha256(wasm).hexdigest(), name="x")
    with pytest.raises(ModuleRefused, match=r"engine\.output is not granted"):
        check_module(spec, wasm)
    assert {export.name for export in outline(wasm).exports} >= {"memory", *EXPORTS}
    assert struct.calcsize("<IIQII") == 24


# --- migration --------------------------------------------------------------------------------------------------------


def reloaded(wasm: bytes, state: bytes, before: int) -> tuple[WasmGuest, GuestStep]:
    """A fresh instance of this version, which has taken the state over."""
    spec = spec_of(wasm, capabilities=("output",), memory=4 << 20)
    one = WasmGuests().instantiate(0, spec, wasm)
    change = Change(spec, before + 1, before, True)
    return one, one.run(arguments(kind="reload", carried=state, change=change, fuel=20_000_000))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_takes_over_the_state_of_another_version_through_its_binding(language: str) -> None:
    needs(language)
    memory = bytearray(2 * PAGE)
    struct.pack_into("<Q", memory, 8, 0x1122_3344_5566_7788)
    state = pack((0x7F, 0x7E), (6, 2**63), memoryview(memory))
    one, step = reloaded(built(language, MIGRATING[language]), state, 41)
    assert step.status == "ok" and [call.op for call in step.calls] == ["output"]
    [call] = step.calls
    told = bytes(one.memory()[call.pointer : call.pointer + call.length])
    assert struct.unpack("<IIQIQ", told) == (41, 2, 6, 2 * PAGE, 0x1122_3344_5566_7788)
    again = one.run(arguments())
    assert again.status == "ok" and bytes(one.memory()[again.calls[0].pointer :][:4]) == bytes.fromhex("88776655")


@pytest.mark.parametrize("language", COMPILED)
def test_a_state_that_is_cut_short_fails_the_migration_by_its_code(language: str) -> None:
    needs(language)
    state = pack((0x7F,), (6,), memoryview(bytes(PAGE)))[:-1]
    _, step = reloaded(built(language, MIGRATING[language]), state, 1)
    assert step.status in ("agent_error:1", "agent_error:100")


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_agent_that_does_not_say_that_it_migrates_has_no_such_export(language: str) -> None:
    needs(language)
    assert "agent_migrate" not in {export.name for export in outline(built(language)).exports}
