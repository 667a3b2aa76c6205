"""`wasm-engine module run`: output, exit codes, lent folders, the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_kit import child, here
from test_wasm_wasi import HELLO

# Copies the file that its first lent folder has under the name "in" to its standard output, 100 bytes at most.
CAT = """(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1) (data (i32.const 8) "in") (data (i32.const 16) "\\00\\01\\00\\00\\64\\00\\00\\00")
  (func (export "_start") (local $error i32)
    (local.set $error (call $open (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 2) (i32.const 0) (i64.const 2)
      (i64.const 0) (i32.const 0) (i32.const 4)))
    (if (local.get $error) (then (call $exit (local.get $error))))
    (drop (call $read (i32.load (i32.const 4)) (i32.const 16) (i32.const 1) (i32.const 20)))
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cat.wat").write_text(CAT)
    (tmp_path / "lent").mkdir()
    (tmp_path / "lent" / "in").write_text("what is in it")
    return tmp_path


@pytest.mark.parametrize("code", [0, 3])
def test_its_output_and_its_end_are_told(code: int, tmp_path: Path) -> None:
    (tmp_path / "hello.wat").write_text(HELLO % code)
    ended = child("module", "run", str(tmp_path / "hello.wat"), "-x", "--own")  # behind FILE they are its own
    assert (ended.code, ended.out, ended.err) == (int(code != 0), "hello\n", "hello\n")


def test_a_lent_folder_is_read_recorded_and_given_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = str(folder / "record")
    run = ("module", "run", "--json")
    ended = here(capsys, *run, "--dir", f"/={folder / 'lent'}", "--record", record, str(folder / "cat.wat"))
    assert (ended.code, ended.json["exit"]) == (0, 0) and ended.json["stdout"].startswith("what is in it")
    (folder / "lent" / "in").unlink()
    again = here(capsys, *run, "--dir", f"/={folder / 'lent'}", "--replay", record, str(folder / "cat.wat"))
    assert again.json == ended.json
    missing = here(capsys, *run, "--dir", f"/={folder / 'lent'}", str(folder / "cat.wat"))
    assert (missing.code, missing.json["exit"]) == (1, 44)
    assert here(capsys, *run, str(folder / "cat.wat")).json["exit"] == 8  # nothing was lent


def test_a_limit_ends_it_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spin.wat").write_text('(module (func (export "_start") (loop br 0)))')
    ended = here(capsys, "module", "run", "--fuel", "1000", "--json", str(tmp_path / "spin.wat"))
    assert (ended.code, ended.json["ended"], ended.json["exit"]) == (1, "limit:fuel", None)
    assert json.dumps(ended.json)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--env", "novalue"), "is no NAME=VALUE"),
        (("--dir", "nowhere"), "is no NAME=VALUE"),
        (("--dir", "/=/nowhere/at/all"), "cannot be lent"),
        (("--stdin", "/nowhere"), "/nowhere"),
        (("--replay", "cat.wat"), "checksum"),
        (("--record", "/nowhere/at/all"), "cannot be written"),
    ],
)
def test_wrong_input_is_one_line_and_exit_4(
    options: tuple[str, str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (options[0], str(folder / "cat.wat") if options[1] == "cat.wat" else options[1])
    ended = here(capsys, "module", "run", *options, str(folder / "cat.wat"))
    assert ended.code == 4 and words in ended.err and ended.err.count("\n") == 1
