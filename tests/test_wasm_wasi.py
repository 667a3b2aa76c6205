"""WASI preview 1 for function modules (WAS-5), function by function, and its record (EXT-1)."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import LimitExceeded, ModuleRefused, Refused
from runtime.wasm import Engine, Instance, Module, ModuleLimits, folders, wasi
from runtime.wasm.abi import VALUE_NAMES
from runtime.wasm.folders import Folder, Folders
from runtime.wasm.readings import Readings
from runtime.wasm.wasi import FUNCTIONS, Exited, Wasi

ROOT = Path(__file__).resolve().parent.parent


def through(*names: str) -> Module:
    """A module that passes each of these functions on, under its own name."""
    parts, exports = [], []
    for name in names:
        signature = FUNCTIONS[name][0]
        params = " ".join(VALUE_NAMES[kind] for kind in signature.parameters)
        results = " ".join(VALUE_NAMES[kind] for kind in signature.results)
        parts.append(f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {params}) (result {results})))')
        gets = " ".join(f"local.get {at}" for at in range(len(signature.parameters)))
        exports.append(f'(func (export "{name}") (param {params}) (result {results}) {gets} call ${name})')
    return Engine().load_bytes(f'(module {" ".join(parts)} (memory (export "memory") 2) {" ".join(exports)})'.encode())


ALL = through(*FUNCTIONS)
PATH, OUT, BUFFER, VECTORS = 1024, 16, 4096, 512
READ, WRITE = 1 << 1, 1 << 6


class Guest:
    """The module above with its WASI, and the bookkeeping of a C library."""

    def __init__(self, **given: Any) -> None:
        self.wasi = Wasi(**given)
        self.held: Instance = ALL.instantiate(self.wasi.functions())

    def call(self, name: str, *arguments: int) -> int | None:
        found = self.held.call(name, *arguments)
        assert found is None or isinstance(found, int)
        return found

    def good(self, name: str, *arguments: int) -> None:
        assert self.call(name, *arguments) == 0, name

    def word(self, at: int = OUT) -> int:
        return int(struct.unpack("<I", self.held.memory.read(at, 4))[0])

    def path(self, text: str) -> tuple[int, int]:
        data = text.encode("utf-8", "surrogateescape")
        self.held.memory.write(PATH, data)
        return PATH, len(data)

    def open(self, path: str, flags: int = 0, rights: int = READ, fd: int = 3, status: int = 0) -> int:
        """The new number, or minus the error."""
        error = self.call("path_open", fd, 0, *self.path(path), flags, rights, 0, status, OUT)
        return -error if error else self.word()

    def read(self, fd: int, length: int = 100) -> bytes:
        self.held.memory.write(VECTORS, struct.pack("<II", BUFFER, length))
        self.good("fd_read", fd, VECTORS, 1, OUT)
        return self.held.memory.read(BUFFER, self.word())

    def write(self, fd: int, *pieces: bytes) -> int:
        """How many bytes were written, or minus the error."""
        at = BUFFER
        for number, piece in enumerate(pieces):
            self.held.memory.write(VECTORS + 8 * number, struct.pack("<II", at, len(piece)))
            self.held.memory.write(at, piece)
            at += len(piece)
        error = self.call("fd_write", fd, VECTORS, len(pieces), OUT)
        return -error if error else self.word()

    def names(self, fd: int) -> list[tuple[str, int]]:
        found, cookie = [], 0
        while True:
            self.good("fd_readdir", fd, BUFFER, 100, cookie, OUT)
            data = self.held.memory.read(BUFFER, self.word())
            if len(data) < 24:
                return found
            cookie, _, length, kind = struct.unpack_from("<QQIB", data)
            found.append((data[24 : 24 + length].decode(), kind))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with files, beside one with a secret."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "deep").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (inside / "one").write_text("the first file")
    (inside / "deep" / "two").write_text("2")
    return inside


# --- a program --------------------------------------------------------------------------------------------------------

HELLO = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1) (data (i32.const 8) "hello\\n") (data (i32.const 0) "\\08\\00\\00\\00\\06\\00\\00\\00")
  (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 100)))
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 100))) (call $exit (i32.const %d))))"""


@pytest.mark.parametrize("code", [0, 3])
def test_a_program_writes_and_says_how_it_ended(code: int) -> None:
    with Wasi() as given:
        assert given.run(Engine().load_bytes((HELLO % code).encode())) == code
        assert (given.stdout, given.stderr) == (b"hello\n", b"hello\n")


def test_a_program_that_returns_ends_with_0_and_one_called_by_hand_says_its_code() -> None:
    assert Wasi().run(Engine().load_bytes(b'(module (func (export "_start")))')) == 0
    module = Engine().load_bytes((HELLO % 7).encode())
    with module.instantiate(Wasi().functions()) as held, pytest.raises(Exited) as caught:
        held.call("_start")
    assert (caught.value.code, caught.value.reason) == (7, "exit:7")


def test_a_start_function_has_no_memory_to_lend_yet() -> None:
    text = (HELLO % 5).replace('(func (export "_start")', '(start $s) (func $s (export "_start")')
    with pytest.raises(Refused, match="let it do that in an export"):
        Wasi().run(Engine().load_bytes(text.encode()))


# --- what is not granted ----------------------------------------------------------------------------------------------


def test_what_is_not_offered_is_refused_by_name_before_anything_runs() -> None:
    for name in ("sock_recv", "poll_oneoff", "path_symlink", "path_link", "proc_raise", "nonsense"):
        text = f'(module (import "wasi_snapshot_preview1" "{name}" (func)) (func $s unreachable) (start $s))'
        with pytest.raises(ModuleRefused, match=f"wasi_snapshot_preview1.{name} .* a WASI function, not granted"):
            Engine().load_bytes(text.encode()).instantiate(Wasi().functions())
    for module in ("wasi_unstable", "wasi:cli/stdout"):
        text = f'(module (import "{module}" "fd_write" (func)))'
        with pytest.raises(ModuleRefused, match="not granted"):
            Engine().load_bytes(text.encode()).instantiate(Wasi().functions())


def test_functions_are_granted_one_by_one() -> None:
    module = Engine().load_bytes((HELLO % 0).encode())
    assert Wasi(only=("fd_write", "proc_exit")).run(module) == 0
    for missing in ("fd_write", "proc_exit"):
        with pytest.raises(ModuleRefused, match=missing):
            Wasi(only={"fd_write", "proc_exit"} - {missing}).run(module)
    with pytest.raises(Refused, match="no WASI function 'sock_recv'"):
        Wasi(only=["sock_recv"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_another_type_than_the_functions_own_is_refused(name: str) -> None:
    text = f'(module (import "wasi_snapshot_preview1" "{name}" (func (param f64))) (func $s unreachable) (start $s))'
    with pytest.raises(ModuleRefused, match=r"is imported as \(f64\) -> \(\); its type is"):
        Engine().load_bytes(text.encode()).instantiate(Wasi().functions())


# --- arguments, time, randomness --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["args", "environ"])
def test_arguments_and_environment_arrive_whole(what: str) -> None:
    guest = Guest(arguments=("tool", "", "gr\u00fc\u00df"), environment={"B": "2", "A": "x=y"})
    texts = [b"tool", b"", "gr\u00fc\u00df".encode()] if what == "args" else [b"A=x=y", b"B=2"]
    guest.good(f"{what}_sizes_get", 0, 4)
    assert (guest.word(0), guest.word(4)) == (len(texts), sum(len(text) + 1 for text in texts))
    guest.good(f"{what}_get", 64, 200)
    pointers = [guest.word(64 + 4 * number) for number in range(len(texts))]
    memory = guest.held.memory
    assert [memory.read(at, len(text) + 1) for at, text in zip(pointers, texts, strict=True)] == [
        text + b"\0" for text in texts
    ]
    with pytest.raises(Refused, match="NUL"):
        Wasi(arguments=("a\0b",))
    with pytest.raises(Refused, match="NUL"):
        Wasi(environment={"a": "\0"})


def test_clocks_show_what_is_given_and_go_on_by_looks_alone() -> None:
    seen = []
    for _ in range(2):
        guest = Guest(now_ns=1_700_000_000_000_000_000)
        for clock in (0, 1, 1):
            guest.good("clock_time_get", clock, 0, OUT)
            seen.append(int.from_bytes(guest.held.memory.read(OUT, 8), "little"))
        guest.good("clock_res_get", 0, OUT)
        assert guest.word() == wasi.STEP_NS
        assert guest.call("clock_time_get", 9, 0, OUT) == 28
    assert seen[:3] == seen[3:] == [1_700_000_000_000_000_000 + number * wasi.STEP_NS for number in range(3)]


def test_random_bytes_follow_from_the_seed_alone() -> None:
    def drawn(seed: int, *lengths: int) -> list[bytes]:
        guest = Guest(seed=seed)
        found = []
        for length in lengths:
            guest.good("random_get", BUFFER, length)
            found.append(guest.held.memory.read(BUFFER, length))
        return found

    assert drawn(1, 100, 8) == drawn(1, 100, 8) != drawn(2, 100, 8)
    assert drawn(1, 8, 8)[0] != drawn(1, 8, 8)[1] and drawn(1, 0) == [b""]


# --- streams ----------------------------------------------------------------------------------------------------------


def test_output_is_kept_in_its_order_and_bounded() -> None:
    guest = Guest(stdin=b"what comes in")
    assert guest.write(1, b"one ", b"", b"two") == 7 and guest.write(2, b"error") == 5
    assert (guest.wasi.stdout, guest.wasi.stderr) == (b"one two", b"error")
    assert guest.read(0, 6) == b"what c" and guest.read(0) == b"omes in" and guest.read(0) == b""
    assert guest.write(0, b"x") == -8 and guest.write(9, b"x") == -8
    for _ in range(9):
        for _ in range(2):
            guest.write(1, bytes(60_000))
    while guest.write(1, bytes(60_000)) > 0:
        pass
    assert len(guest.wasi.stdout) == wasi.LOG_MAX and guest.write(1, b"x") == -51 and guest.write(2, b"x") == 1


def test_a_stream_is_told_as_what_it_is_and_cannot_be_sought() -> None:
    guest = Guest()
    guest.good("fd_fdstat_get", 1, OUT)
    kind, _, rights = struct.unpack("<BxHxxxxQ", guest.held.memory.read(OUT, 16))
    assert kind == 2 and not rights & (1 << 2)
    assert guest.call("fd_seek", 1, 0, 0, OUT) == 70
    guest.good("fd_close", 1)
    assert guest.write(1, b"x") == -8 and guest.call("fd_close", 1) == 8


# --- files ------------------------------------------------------------------------------------------------------------


def test_lent_folders_are_told_with_their_names_and_their_files_are_read(place: Path) -> None:
    guest = Guest(folders=(Folder("/data", place), Folder("more", place / "deep")))
    for number, name in ((3, b"/data"), (4, b"more")):
        guest.good("fd_prestat_get", number, OUT)
        assert (guest.word(), guest.word(OUT + 4)) == (0, len(name))
        guest.good("fd_prestat_dir_name", number, BUFFER, len(name))
        assert guest.held.memory.read(BUFFER, len(name)) == name
        assert guest.call("fd_prestat_dir_name", number, BUFFER, len(name) - 1) == 37
    assert [guest.call("fd_prestat_get", number, OUT) for number in (5, 0, 99)] == [8, 8, 8]
    one, two = guest.open("one"), guest.open("two", fd=4)
    assert (one, two) == (5, 6)
    assert guest.read(one, 3) + guest.read(one) == b"the first file" and guest.read(two) == b"2"
    assert guest.read(guest.open("./deep/../deep//two")) == b"2"
    guest.good("fd_close", one)
    assert guest.open("one") == one  # the lowest free number


def test_seeking_telling_and_reading_at_a_place(place: Path) -> None:
    guest = Guest(folders=(Folder("/", place),))
    one = guest.open("one")
    for offset, whence, at in ((4, 0, 4), (2, 1, 6), (-4, 2, 10), (0, 0, 0), (50, 0, 50)):
        guest.good("fd_seek", one, offset, whence, OUT)
        assert guest.word() == at
        guest.good("fd_tell", one, OUT)
        assert guest.word() == at
    assert guest.read(one) == b""
    assert [guest.call("fd_seek", one, *bad, OUT) for bad in ((-1, 0), (0, 3), (2**63 - 1, 1))] == [28, 28, 28]
    guest.held.memory.write(VECTORS, struct.pack("<IIII", BUFFER, 5, BUFFER + 5, 100))
    guest.good("fd_pread", one, VECTORS, 2, 4, OUT)
    assert guest.held.memory.read(BUFFER, guest.word()) == b"first file"
    guest.good("fd_filestat_get", one, BUFFER)
    told = struct.unpack("<QQB7xQQQQQ", guest.held.memory.read(BUFFER, 64))
    assert told == (0, 0, 4, 1, 14, 0, 0, 0)  # no time of this machine
    guest.good("path_filestat_get", 3, 0, *guest.path("deep"), BUFFER)
    assert guest.held.memory.read(BUFFER + 16, 1) == b"\3"


def test_a_folder_is_listed_in_the_order_of_names_whatever_the_disk_says(place: Path) -> None:
    for name in ("z", "a", "m" * 60):
        (place / name).write_text("")
    os.symlink("one", place / "link")
    os.mkfifo(place / "pipe")
    guest = Guest(folders=(Folder("/", place),))
    found = guest.names(3)
    assert [name for name, _ in found] == sorted(["z", "a", "m" * 60, "link", "pipe", "one", "deep"])
    assert dict(found)["deep"] == 3 and dict(found)["one"] == 4 and dict(found)["link"] == dict(found)["pipe"] == 0
    assert guest.names(guest.open("deep", folders.MUST_BE_DIRECTORY)) == [("two", 4)]
    assert guest.call("fd_readdir", guest.open("one"), BUFFER, 40, 0, OUT) == folders.NOTDIR


ESCAPES = {
    "../outside/secret": folders.NOTCAPABLE,
    "deep/../../outside/secret": folders.NOTCAPABLE,
    "..": folders.NOTCAPABLE,
    "/etc/passwd": folders.NOTCAPABLE,
    "a\0b": folders.NOTCAPABLE,
    "link": folders.LOOP,
    "linked/secret": folders.NOTDIR,
    "deep/up": folders.LOOP,
    "pipe": folders.ACCES,
    "missing": folders.NOENT,
    "one/two": folders.NOTDIR,
    "x" * 300: 37,
    "bad\udcff": folders.INVAL,
}


@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leads_out_and_what_is_no_file_is_not_opened(place: Path, path: str) -> None:
    os.symlink(place.parent / "outside" / "secret", place / "link")
    os.symlink("../outside", place / "linked")
    os.symlink("../../outside/secret", place / "deep" / "up")
    os.mkfifo(place / "pipe")
    guest = Guest(folders=(Folder("/", place, writable=True),))
    expected = -ESCAPES[path]
    assert guest.open(path) == expected
    if path not in ("missing", "pipe"):
        assert guest.open(path, folders.CREATE, WRITE) in (expected, -folders.ISDIR)
        for name in ("path_create_directory", "path_unlink_file", "path_remove_directory"):
            if "link" not in path or "/" in path:
                assert guest.call(name, 3, *guest.path(path)) != 0 or path == "deep/up"
    assert (place.parent / "outside" / "secret").read_text() == "secret"
    assert sorted(os.listdir(place.parent)) == ["inside", "outside"]


def test_a_folder_is_read_only_unless_it_is_granted(place: Path) -> None:
    guest = Guest(folders=(Folder("/", place),))
    assert guest.open("one", rights=WRITE) == guest.open("new", folders.CREATE) == -folders.ROFS
    assert guest.open("one", folders.TRUNCATE) == -folders.ROFS
    for name in ("path_create_directory", "path_unlink_file", "path_remove_directory"):
        assert guest.call(name, 3, *guest.path("one")) == folders.ROFS
    assert guest.call("path_rename", 3, *guest.path("one"), 3, PATH, 3) == folders.ROFS
    one = guest.open("one")
    assert guest.write(one, b"x") == -8 and guest.call("fd_filestat_set_size", one, 0) == 8
    guest.held.memory.write(VECTORS, struct.pack("<II", BUFFER, 1))
    assert guest.call("fd_pwrite", one, VECTORS, 1, 0, OUT) == 8
    assert (place / "one").read_text() == "the first file"


def test_a_granted_folder_is_written(place: Path) -> None:
    guest = Guest(folders=(Folder("/", place, writable=True),))
    new = guest.open("new", folders.CREATE | folders.EXCLUSIVE, READ | WRITE)
    assert guest.open("new", folders.CREATE | folders.EXCLUSIVE, WRITE) == -folders.EXIST
    assert guest.write(new, b"some", b" bytes") == 10
    guest.good("fd_seek", new, 0, 0, OUT)
    assert guest.read(new) == b"some bytes"
    guest.held.memory.write(BUFFER, b"SOME")
    guest.held.memory.write(VECTORS, struct.pack("<II", BUFFER, 4))
    guest.good("fd_pwrite", new, VECTORS, 1, 0, OUT)
    guest.good("fd_filestat_set_size", new, 8)
    log = guest.open("new", rights=WRITE, status=1)
    assert guest.write(log, b"!") == 1 and (place / "new").read_text() == "SOME byt!"
    for name, path in (("path_create_directory", "made"), ("path_unlink_file", "one")):
        guest.good(name, 3, *guest.path(path))
    guest.held.memory.write(2048, b"made/moved")
    guest.good("path_rename", 3, *guest.path("new"), 3, 2048, 10)
    assert guest.call("path_remove_directory", 3, *guest.path("made")) == 55
    assert sorted(os.listdir(place)) == ["deep", "made"] and os.listdir(place / "made") == ["moved"]
    guest.good("path_unlink_file", 3, *guest.path("made/moved"))
    guest.good("path_remove_directory", 3, *guest.path("made"))
    for name in ("fd_sync", "fd_datasync"):
        guest.good(name, new)
    guest.good("fd_advise", new, 0, 0, 0)
    guest.good("fd_fdstat_set_flags", new, 1)
    guest.good("sched_yield")


def test_so_many_files_and_no_more_are_open_and_closing_frees_them(place: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    guest = Guest(folders=(Folder("/", place),))
    opened = [guest.open("one") for _ in range(folders.OPEN_MAX)]
    assert guest.open("one") == -folders.MFILE
    guest.good("fd_close", opened[0])
    assert guest.open("one") == opened[0]
    guest.wasi.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
    assert guest.call("fd_prestat_get", 3, OUT) == 0 and guest.open("one") == -8


def test_a_folder_that_is_none_is_refused(place: Path) -> None:
    for path in (place / "missing", place / "one", "a\0b"):
        with pytest.raises(Refused, match="cannot be lent") as caught:
            Wasi(folders=(Folder("/", place), Folder("/x", path)))
        assert "\n" not in str(caught.value)
    assert Folders(()).ask("read", (1, 0, 1)).error == 8


# --- misuse -----------------------------------------------------------------------------------------------------------

BAD = (0, -1, 2**31 - 1, -(2**31), 131_072, 131_071, 65_536, 7)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_no_argument_ends_more_than_the_call(name: str, place: Path) -> None:
    guest = Guest(folders=(Folder("/", place, writable=True),), arguments=("a",), stdin=b"x" * 100)
    count = len(FUNCTIONS[name][0].parameters)
    for number, value in enumerate(BAD):
        for kept in range(count + 1):
            arguments = [value if at != kept else (3, 1, 0, 64)[number % 4] for at in range(count)]
            if name == "proc_exit":
                with pytest.raises(Exited):
                    guest.call(name, *arguments)
                continue
            error = guest.call(name, *arguments)
            assert error is not None and 0 <= error <= 76
    assert (place.parent / "outside" / "secret").read_text() == "secret"
    assert guest.write(2, b"alive") in (5, -8)


def test_what_a_program_asks_of_the_host_has_a_limit_beside_its_fuel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wasi, "MOVED_MAX", 100_000)
    guest = Guest()
    guest.good("random_get", BUFFER, 60_000)
    with pytest.raises(LimitExceeded, match="limit:wasi"):
        guest.call("random_get", BUFFER, 60_000)
    monkeypatch.setattr(wasi, "CALLS_MAX", 3)
    looped = through("sched_yield")
    text = looped.wasm
    guest = Guest()
    for _ in range(3):
        guest.good("sched_yield")
    with pytest.raises(LimitExceeded, match="more than 3 calls"):
        guest.call("sched_yield")
    assert text


# --- the record -------------------------------------------------------------------------------------------------------


def session(guest: Guest) -> list[object]:
    """Reads, writes and errors; what the guest saw of them."""
    one = guest.open("one")
    seen: list[object] = [
        guest.read(one, 5),
        guest.read(one),
        guest.names(3),
        guest.open("missing"),
        guest.open("../x"),
    ]
    new = guest.open("new", folders.CREATE, WRITE)
    seen += [guest.write(new, b"written"), guest.open("deep/two"), guest.call("fd_close", one)]
    guest.good("random_get", BUFFER, 4)
    return [*seen, guest.held.memory.read(BUFFER, 4)]


def test_a_call_is_repeated_from_its_record_without_its_files(place: Path) -> None:
    first = Guest(folders=(Folder("/", place, writable=True),), seed=5)
    seen = session(first)
    record = first.wasi.readings.encoded()
    (place / "one").write_text("changed since")
    (place / "new").unlink()
    (place / "deep" / "two").unlink()
    again = Guest(folders=(Folder("/", "/nowhere"),), seed=5, readings=Readings.recorded(record))
    assert session(again) == seen and again.wasi.readings.left == 0
    assert again.wasi.readings.encoded() == record
    assert sorted(os.listdir(place)) == ["deep", "one"]  # the second one wrote nothing


def test_a_call_that_asks_otherwise_than_its_record_is_refused(place: Path) -> None:
    first = Guest(folders=(Folder("/", place),))
    first.read(first.open("one"), 5)
    record = first.wasi.readings.encoded()

    def again() -> Guest:
        return Guest(folders=(Folder("/", place),), readings=Readings.recorded(record))

    with pytest.raises(Refused, match=r"reading 0 is open, in the record it is open, with other arguments"):
        again().open("two")
    with pytest.raises(Refused, match=r"reading 0 is stat, in the record it is open"):
        guest = again()
        guest.call("path_filestat_get", 3, 0, *guest.path("one"), BUFFER)
    with pytest.raises(Refused, match="the record has no more"):
        guest = again()
        one = guest.open("one")
        guest.read(one, 5)
        guest.read(one, 5)


def test_a_damaged_record_and_one_of_another_version_are_refused(place: Path) -> None:
    first = Guest(folders=(Folder("/", place),))
    first.open("one")
    good = first.wasi.readings.encoded()
    for at in range(len(good)):
        with pytest.raises(Refused, match="record of readings"):
            Readings.recorded(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.raises(Refused, match="record of readings"):
            Readings.recorded(good[:at])
    body = b"\x92\x02\x90"
    with pytest.raises(Refused, match="it has version 2"):
        Readings.recorded(body + hashlib.sha256(body).digest())


def test_the_page_lists_every_function() -> None:
    page = (ROOT / "docs" / "modules.md").read_text("utf-8")
    listed = re.findall(r"`([a-z_]+)`", page[page.index("## WASI") : page.index("## ", page.index("## WASI") + 5)])
    assert set(FUNCTIONS) <= set(listed)


def test_limits_hold_for_programs_too() -> None:
    module = Engine().load_bytes(b'(module (func (export "_start") (loop br 0)))')
    with pytest.raises(LimitExceeded, match="limit:fuel"):
        Wasi().run(module, ModuleLimits(fuel=1000))
