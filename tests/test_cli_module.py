"""`wasm-engine module`: calls, inspection, refusals, exit codes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cli_kit import here, refused
from modules_kit import ADD, MEMORY, RECURSE, SPIN, UPPER
from wasm_kit import imports, wat

from runtime.wasm import assemble
from runtime.wasm.binary import encode_u32

HOST = '(import "env" "log" (func (param i32 i32)))'
WASI = '(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))'
FLOATS = '(func (export "div") (param f64 f64) (result f64 i64) local.get 0 local.get 1 f64.div i64.const -3)'


def written(folder: Path, *parts: str, name: str = "m.wat") -> str:
    path = folder / name
    path.write_text(f"(module {' '.join(parts)})", "utf-8")
    return str(path)


def test_call_prints_results_and_tells_them_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, ADD, FLOATS)
    assert here(capsys, "module", "call", file, "add", "0x10", "-17") == (0, "-1\n", "")
    assert here(capsys, "module", "call", file, "div", "1", "4").out == "0.25\n-3\n"
    told = here(capsys, "module", "call", file, "div", "-1", "0", "--json")
    assert told.code == 0 and told.json["results"] == ["-inf", -3] and told.json["types"] == ["f64", "i64"]
    assert told.json["ended"] == "returned" and told.json["error"] is None and told.json["fuel"] > 0


@pytest.mark.parametrize(
    ("name", "options", "ended"),
    [
        ("spin", ("--fuel", "10000"), "limit:fuel"),
        ("recurse", (), "limit:stack"),
        ("trap", (), "trap:unreachable"),
    ],
)
def test_a_call_that_does_not_return_ends_with_1_and_its_reason(
    name: str, options: tuple[str, ...], ended: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, SPIN, RECURSE, '(func (export "trap") unreachable)')
    text = here(capsys, "module", "call", file, name, *options)
    assert (text.code, text.out) == (1, "") and f"[{ended}]" in text.err and text.err.count("\n") == 1
    told = here(capsys, "module", "call", file, name, *options, "--json")
    assert told.code == 1 and told.json["ended"] == ended and told.json["results"] == []


def test_bytes_go_in_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, MEMORY, UPPER)
    (tmp_path / "in").write_bytes(b"abc\xff")
    (tmp_path / "text").write_text("abc\x1b[2J")
    (tmp_path / "long").write_bytes(bytes(70_000))
    assert here(capsys, "module", "call", file, "upper", "--input", str(tmp_path / "in")).out == "414243ff\n"
    assert here(capsys, "module", "call", file, "upper64", "--input", str(tmp_path / "text")).out == "ABC\\x1b[2J\n"
    told = here(capsys, "module", "call", file, "upper", "--input", str(tmp_path / "in"), "--json").json
    assert told["bytes"] == "414243ff" and told["results"] == []
    long = here(capsys, "module", "call", file, "upper", "--input", str(tmp_path / "long"))
    assert long.code == 1 and "[alloc]" in long.err
    refused(here(capsys, "module", "call", file, "upper", "--input", str(tmp_path / "nosuch")), "nosuch")
    refused(here(capsys, "module", "call", file, "upper", "1", "--input", str(tmp_path / "in")), "--input")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("call",), ("FILE",)),
        (("call", "nosuch.wat", "f"), ("nosuch.wat", "cannot be read")),
        (("call", ".", "f"), ("Is a directory",)),
        (("call", "FILE", "nosuch"), ("'nosuch'", "add")),
        (("call", "FILE", "add", "1"), ("takes 2", "(i32, i32) -> (i32)")),
        (("call", "FILE", "add", "1", "x\x1b"), ("'x\\x1b'",)),
        (("call", "FILE", "add", "1", "1.5"), ("'1.5'", "i32")),
        (("call", "FILE", "add", "1", str(2**32)), ("does not fit i32",)),
        (("call", "FILE", "add", "1", "9" * 5000), ("argument 2",)),
        (("call", "FILE", "add", "1", "2", "--fuel", "-1"), ("limit fuel", "give 0 to")),
        (("call", "FILE", "add", "1", "2", "--memory", str(2**40)), ("limit memory",)),
        (("inspect",), ("FILE",)),
        (("inspect", "nosuch.wat"), ("nosuch.wat",)),
        (("nosuch",), ("nosuch",)),
    ],
)
def test_what_is_typed_wrong_is_refused_in_one_line(
    arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [written(tmp_path, ADD) if each == "FILE" else each for each in arguments]
    refused(here(capsys, "module", *given), *words)
    if arguments[0] != "nosuch":
        refused(here(capsys, "module", *given, "--json"), *words)


def test_a_module_that_imports_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(here(capsys, "module", "call", written(tmp_path, HOST, ADD), "add", "1", "2"), "[import]", "env.log")
    refused(here(capsys, "module", "call", written(tmp_path, WASI, ADD), "add", "1", "2"), "fd_write", "not granted")


def test_text_that_does_not_assemble_is_refused_with_line_and_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.wat").write_text("(module\n  (func foo))")
    for command in (("call", str(tmp_path / "bad.wat"), "f"), ("inspect", str(tmp_path / "bad.wat"))):
        refused(here(capsys, "module", *command), "bad.wat, line 2, column 9")


def test_inspect_tells_everything_and_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, HOST, WASI, '(table 2 funcref) (memory (export "memory") 1 3)', ADD, SPIN, "(start 3)")
    told = here(capsys, "module", "inspect", file, "--json")
    assert told.code == 0
    wasm = assemble(Path(file).read_text())
    found = told.json
    assert found["digest"] == hashlib.sha256(wasm).hexdigest() and found["bytes"] == len(wasm)
    assert [(entry["name"], entry["of"]) for entry in found["imports"]] == [("log", "host"), ("fd_write", "WASI")]
    assert found["imports"][0]["type"] == "(i32, i32) -> ()"
    assert {entry["name"]: entry.get("type") for entry in found["exports"]} == {
        "memory": None, "add": "(i32, i32) -> (i32)", "spin": "() -> ()",
    }  # fmt: skip
    assert found["memory"] == [{"minimum": 65536, "maximum": 3 * 65536}] and found["tables"][0]["minimum"] == 2
    assert (found["start"], found["signed"], found["abi"]) == (True, False, [])
    assert "start section" in found["refused"]["agent"] and found["refused"]["function"] is None
    text = here(capsys, "module", "inspect", file).out
    for word in ("env.log", "fd_write", "spin", "no signature", "as function   accepted", found["digest"][:16]):
        assert word in text


def test_inspect_says_why_something_would_be_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def why(*parts: str, options: tuple[str, ...] = ()) -> dict[str, str | None]:
        told = here(capsys, "module", "inspect", written(tmp_path, *parts), *options, "--json")
        refusals: dict[str, str | None] = told.json["refused"]
        return refusals

    assert "env.m is a memory" in str(why('(import "env" "m" (memory 1))')["function"])
    assert "[limit]" in str(why("(memory 2)", options=("--memory", "65536"))["function"])
    (tmp_path / "agent.wat").write_text(wat(before=imports("send", "now")))
    agent = here(capsys, "module", "inspect", str(tmp_path / "agent.wat"), "--json").json
    assert agent["refused"]["agent"] is None and agent["capabilities"] == ["messages", "time"]
    assert {entry["of"] for entry in agent["imports"]} == {"agent ABI"}


def test_inspect_names_signature_and_abi_sections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def section(name: bytes, content: bytes) -> bytes:
        body = encode_u32(len(name)) + name + content
        return b"\x00" + encode_u32(len(body)) + body

    plain = assemble(f"(module {ADD})")
    (tmp_path / "m.wasm").write_bytes(
        plain[:8] + section(b"signature", b"x") + plain[8:] + section(b"wasm-engine.abi", b"1.0")
    )
    found = here(capsys, "module", "inspect", str(tmp_path / "m.wasm"), "--json").json
    assert found["signed"] is True and found["abi"] == ["1.0"] and found["sections"] == ["signature"]
    assert "signed, ABI 1.0" in here(capsys, "module", "inspect", str(tmp_path / "m.wasm")).out
